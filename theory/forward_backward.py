"""Exact posteriors of a Markov chain's tokens given evidence at every position.

    P(y_t = v | evidence) ∝ a_t(v)·b_t(v),   a_t = (a_{t−1}P)·e_t,   b_t = P(e_{t+1}·b_{t+1}).

a and b are kept as logarithms and scaled by their greatest entry before each product with P, so
that evidence of any strength neither overflows nor ends in 0/0. A token that is less likely than
another by more than the range of the dtype (1e-308, in float32 1e-38) at a step is dropped there.
Work: 4·V² flops a position of a sequence; memory: two arrays of the size of the evidence.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from theory.devices import spread
from theory.markov_chain import MarkovChain

Evidence = Float[Array, "sequences length V"]
Latents = Float[Array, "sequences length n"]


def token_posteriors(chain: MarkovChain, evidence: object) -> Evidence:
    """P(y_t = v | evidence) for every position of every sequence; rows sum to 1.

    Args:
        chain: the law of the tokens.
        evidence: log-likelihoods log p(observed at t | y_t = v), shape (sequences, length, V),
            each position up to a constant of its own; −∞ rules a token out.

    Raises:
        ValueError: on another shape, NaN or +∞, a position that rules all tokens out, or evidence
            that leaves no sequence of the chain (in the range of the dtype).
    """
    found = spread(jnp.asarray(evidence))
    if found.ndim != 3 or found.shape[-1] != chain.vocabulary or 0 in found.shape:
        raise ValueError(
            f"evidence has shape (sequences, length, {chain.vocabulary}), got {found.shape}"
        )
    greatest = np.asarray(jnp.max(found, axis=-1))
    if not np.isfinite(greatest).all():
        raise ValueError("every position needs a finite log-likelihood and none may be NaN or +∞")
    law = posteriors_of(chain, found)
    if np.isnan(law).any():
        raise ValueError("the evidence leaves no sequence that the chain says: use float64?")
    return law


def gaussian_evidence(latents: object, embeddings: object, signal: float, noise: float) -> Evidence:
    """log p(z | y = v) of z = αW_v + σε, up to a constant: (α⟨z, W_v⟩ − α²‖W_v‖²/2)/σ².

    Args:
        latents: z, shape (sequences, length, n).
        embeddings: W, shape (V, n).
        signal: α ≥ 0, finite.
        noise: σ > 0, finite.

    Raises:
        ValueError: on other shapes, numbers out of range, or entries that are not finite.
    """
    z, table = jnp.asarray(latents), jnp.asarray(embeddings)
    if z.ndim != 3 or table.ndim != 2 or z.shape[-1] != table.shape[-1]:
        raise ValueError(
            f"expected latents (sequences, length, n) and embeddings (V, n), got {z.shape} and "
            f"{table.shape}"
        )
    if not (0 <= signal < math.inf and 0 < noise < math.inf):
        raise ValueError(f"expected α ≥ 0 and σ > 0, finite, got α = {signal}, σ = {noise}")
    if not (np.isfinite(z).all() and np.isfinite(table).all()):
        raise ValueError("latents and embeddings must be finite, got NaN or infinity")
    return evidence_of(z, table, signal, noise)


def posterior_mean(
    chain: MarkovChain, embeddings: object, latents: object, signal: float, noise: float
) -> Latents:
    """E[W_{y_t} | z] at every position: the exact denoiser of z_t = αW_{y_t} + σε_t.

    Raises:
        ValueError: as `gaussian_evidence` and `token_posteriors`.
    """
    law = token_posteriors(chain, gaussian_evidence(latents, embeddings, signal, noise))
    return jnp.matmul(law, jnp.asarray(embeddings, law.dtype), precision="highest")


@jax.jit
def evidence_of(z: Array, table: Array, signal: Array, noise: Array) -> Evidence:
    """`gaussian_evidence` without its checks, for use where the numbers are traced."""
    along = jnp.matmul(z, table.T, precision="highest")
    half = jnp.sum(table**2, axis=1) / 2
    return (signal * along - signal**2 * half) / noise**2


@jax.jit
def posteriors_of(chain: MarkovChain, evidence: Evidence) -> Evidence:
    """`token_posteriors` without its checks, for use where the numbers are traced."""
    rows = chain.transition.astype(evidence.dtype)
    steps = jnp.moveaxis(evidence - jnp.max(evidence, axis=-1, keepdims=True), 1, 0)

    def forward(before: Array, here: Array) -> tuple[Array, Array]:
        now = _through(before, rows) + here
        return now, now

    def backward(after: Array, there: Array) -> tuple[Array, Array]:
        now = _through(after + there, rows.T)
        return now, now

    first = jnp.log(chain.initial.astype(evidence.dtype)) + steps[0]
    _, others = lax.scan(forward, first, steps[1:])
    _, before = lax.scan(backward, jnp.zeros_like(first), steps[1:], reverse=True)
    ahead = jnp.concatenate([first[None], others])
    behind = jnp.concatenate([before, jnp.zeros_like(first)[None]])
    return jnp.moveaxis(jax.nn.softmax(ahead + behind, axis=-1), 0, 1)


def _through(logs: Float[Array, "sequences V"], rows: Float[Array, "V V"]) -> Array:
    """log(exp(logs)·P) up to a constant a sequence."""
    scaled = jnp.exp(logs - jnp.max(logs, axis=-1, keepdims=True))
    return jnp.log(jnp.matmul(scaled, rows, precision="highest"))
