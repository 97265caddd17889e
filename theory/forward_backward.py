"""Exact posteriors of a Markov chain's tokens given evidence at every position.

    P(y_t = v | evidence) ∝ a_t(v)·b_t(v),   a_t ∝ (a_{t−1}P)·e_t,   b_t ∝ P(e_{t+1}·b_{t+1}).

The evidence stays in logarithms; at every step e_t is scaled by its greatest entry among the tokens
that are possible there, and the product by its sum, so that evidence of any strength neither
overflows nor ends in 0/0. A token that is less likely than another by more than the range of the
dtype (1e-308, in float32 1e-38) at a step is dropped there; steps of the chain as rare as that
cost digits. Work: 4·V² flops a position of a sequence; memory: one array of the size of the
evidence beside it, which the way back turns into the posteriors in place.
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
    if np.isnan(law[..., 0]).any():  # then the whole row is
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
    return _product(law, jnp.asarray(embeddings, law.dtype))


@jax.jit
def evidence_of(z: Array, table: Array, signal: Array, noise: Array) -> Evidence:
    """`gaussian_evidence` without its checks, for use where the numbers are traced."""
    half = signal * jnp.sum(table**2, axis=1, keepdims=True) / 2
    rates = signal / noise**2 * jnp.concatenate([table, -half], axis=1)  # one product, no sum after
    return _product(jnp.concatenate([z, jnp.ones_like(z[..., :1])], axis=-1), rates.T)


@jax.jit
def posteriors_of(chain: MarkovChain, evidence: Evidence) -> Evidence:
    """`token_posteriors` without its checks, for use where the numbers are traced."""
    rows, length = chain.transition.astype(evidence.dtype), evidence.shape[1]

    def forward(t: Array, state: tuple[Array, Evidence]) -> tuple[Array, Evidence]:
        prior, laws = state
        law = _conditioned(prior, _at(evidence, t))
        return _product(law, rows), _put(laws, law, t)

    def backward(step: Array, state: tuple[Array, Evidence]) -> tuple[Array, Evidence]:
        t = length - 1 - step
        behind, laws = state
        law = _at(laws, t)
        behind = jnp.where(law > 0, behind, 0)  # of what the way there left possible
        before = _product(_conditioned(behind, _at(evidence, t)), rows.T)
        return before, _put(laws, _normalised(law * behind), t)

    first = jnp.broadcast_to(chain.initial.astype(evidence.dtype), evidence[:, 0].shape)
    _, laws = lax.fori_loop(0, length, forward, (first, jnp.zeros_like(evidence)))
    return lax.fori_loop(0, length, backward, (jnp.ones_like(first), laws))[1]


def _conditioned(weights: Float[Array, "sequences V"], logs: Array) -> Array:
    """weights·exp(logs) of sum 1; a token of weight 0 has no say in the scale."""
    greatest = jnp.max(jnp.where(weights > 0, logs, -jnp.inf), axis=-1, keepdims=True)
    return _normalised(weights * jnp.exp(jnp.minimum(logs - greatest, 0)))


def _normalised(weights: Float[Array, "sequences V"]) -> Array:
    return weights / jnp.sum(weights, axis=-1, keepdims=True)


def _product(left: Array, right: Array) -> Array:
    return jnp.matmul(left, right, precision="highest")


def _at(values: Evidence, t: Array) -> Float[Array, "sequences V"]:
    return lax.dynamic_index_in_dim(values, t, 1, keepdims=False)


def _put(values: Evidence, one: Array, t: Array) -> Evidence:
    return lax.dynamic_update_index_in_dim(values, one, t, 1)
