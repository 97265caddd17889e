"""Markov chains of tokens: a language whose law, entropy rate and perplexity are known exactly.

    P(y_1 … y_L) = π_{y_1} Π_t P_{y_t y_{t+1}},   h = −Σ_i π_i Σ_j P_ij log P_ij  (nats a token).

A sampler is judged by its distance to this truth, not by a low perplexity: below the truth is an
error too.
"""

import math
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray
from scipy import optimize
from scipy.special import softmax, xlogy

from theory.check import check_count, check_scale
from theory.devices import spread
from theory.estimate import Estimate, from_samples

Tokens = Int[Array, "sequences length"] | Int[np.ndarray, "sequences length"]


class MarkovChain(eqx.Module):
    """Tokens 0 … V−1 with the law of the first one and the law of each given the one before.

    Fields:
        initial: π, shape (V,).
        transition: P, shape (V, V), rows sum to 1.

    Raises:
        ValueError: on other shapes, V < 2, entries that are negative or not finite, or masses
            that do not sum to 1.
    """

    initial: Float[Array, " V"]
    transition: Float[Array, "V V"]

    def __init__(self, initial: object, transition: object) -> None:
        first, rows = (np.asarray(a, np.float64) for a in (initial, transition))
        size = len(first) if first.ndim == 1 else 0
        if size < 2 or rows.shape != (size, size):
            raise ValueError(
                f"expected π of shape (V,) and P of shape (V, V), V ≥ 2, got {first.shape}, "
                f"{rows.shape}"
            )
        for name, law in (("π", first), ("P", rows)):
            if not (np.isfinite(law).all() and law.min() >= 0):
                raise ValueError(f"{name} must be finite and ≥ 0, got a least entry {law.min()}")
            off = np.abs(law.sum(axis=-1) - 1).max()
            if off > 1e-9:
                raise ValueError(f"masses of {name} must sum to 1, got a sum {off:.3g} away")
        self.initial, self.transition = jnp.asarray(first), jnp.asarray(rows)

    @property
    def vocabulary(self) -> int:
        """V."""
        return self.initial.shape[0]

    def sample(self, key: PRNGKeyArray, sequences: int, length: int) -> Tokens:
        """Independent sequences, shape (sequences, length).

        Raises:
            ValueError: when either is not an integer ≥ 1.
        """
        check_count("sequences", sequences, 1)
        check_count("length", length, 1)
        return _sample(self, key, sequences, length)

    def log_likelihood(self, tokens: object, least: float = 0.0) -> Float[Array, " sequences"]:
        """log P(y) of every sequence, in nats; −∞ for one that the chain never says.

        With `least` > 0 no factor π_{y_1}, P_{y_t y_{t+1}} counts as less than that.

        Raises:
            ValueError: on another shape than (sequences, length), a token not in 0 … V−1, or
                least not in [0, 1).
        """
        found = check_tokens(tokens, self.vocabulary)
        if not 0 <= least < 1:
            raise ValueError(f"the least chance lies in [0, 1), got {least}")
        return _log_likelihood(self, found, least)

    def perplexity(self, tokens: object) -> Estimate:
        """exp(−E log P(y)/L) over independent sequences, its error to first order; ∞ if any is −∞.

        Raises:
            ValueError: as `log_likelihood`, or on fewer than two sequences.
        """
        found = check_tokens(tokens, self.vocabulary)
        return perplexity_of(-np.asarray(self.log_likelihood(found)) / found.shape[1])

    def transition_perplexity(self, tokens: object) -> Estimate:
        """exp(−E log P_{y_t y_{t+1}}), e^h of the stationary chain; ∞ if one is impossible.

        Raises:
            ValueError: as `log_likelihood`, or on fewer than two sequences or tokens of each.
        """
        found = check_tokens(tokens, self.vocabulary)
        check_count("length", found.shape[1], 2)
        steps = _log_transitions(self, found, 0.0)
        return perplexity_of(-np.asarray(steps).mean(axis=1))


def check_tokens(tokens: object, vocabulary: int) -> Int[np.ndarray, "sequences length"]:
    """The tokens, or a ValueError unless they are integers 0 … V−1 of shape (sequences, length)."""
    found = np.asarray(tokens)
    if found.ndim != 2 or found.size == 0 or not np.issubdtype(found.dtype, np.integer):
        raise ValueError(
            f"tokens are integers of shape (sequences, length), got {found.dtype} {found.shape}"
        )
    if found.min() < 0 or found.max() >= vocabulary:
        raise ValueError(f"tokens lie in 0 … {vocabulary - 1}, got {found.min()} to {found.max()}")
    return found


def perplexity_of(nats: object) -> Estimate:
    """exp of the mean of independent nats a token, its error to first order; ∞ if one is ∞.

    Raises:
        ValueError: on fewer than two.
    """
    values = np.asarray(nats, np.float64)
    if np.isinf(values).any():
        return Estimate(math.inf, math.inf, 0.0, len(values))
    mean = from_samples(values)
    with np.errstate(over="ignore"):
        value = float(np.exp(mean.value))
    return Estimate(value, value * float(mean.sem), 0.0, mean.count)


def stationary(transition: object) -> np.ndarray:
    """π with πP = π.

    Raises:
        ValueError: when there is more than one.
    """
    rows = np.asarray(transition, np.float64)
    size = len(rows)
    system = np.vstack([rows.T - np.eye(size), np.ones(size)])
    found, _, rank, _ = np.linalg.lstsq(system, np.eye(size + 1)[-1], rcond=1e-13)
    if rank < size:
        raise ValueError("the chain has more than one stationary law: it is not irreducible")
    return np.maximum(found, 0) / np.maximum(found, 0).sum()


def dirichlet_chain(key: PRNGKeyArray, vocabulary: int, concentration: float) -> MarkovChain:
    """Rows drawn from Dirichlet(c, …, c), the first token from the stationary law.

    Raises:
        ValueError: when V < 2, or c is not positive and finite.
    """
    check_count("vocabulary", vocabulary, 2)
    check_scale("concentration", concentration)
    drawn = jax.random.dirichlet(key, jnp.full(vocabulary, float(concentration)), (vocabulary,))
    rows = np.asarray(drawn, np.float64)
    rows = rows / rows.sum(axis=1, keepdims=True)
    return MarkovChain(stationary(rows), rows)


def tempered(chain: MarkovChain, entropy: float) -> MarkovChain:
    """Rows in proportion to P^β, with the β > 0 whose entropy rate is `entropy` nats.

    Raises:
        ValueError: when no β from e⁻⁸ to e⁸ has it.
    """
    with np.errstate(divide="ignore"):
        logs = np.log(np.asarray(chain.transition))  # what is never said stays so

    def heated(log_power: float) -> MarkovChain:
        rows = softmax(math.exp(log_power) * logs, axis=1)
        return MarkovChain(stationary(rows), rows)

    def excess(log_power: float) -> float:
        return entropy_rate(heated(log_power)) - entropy

    end, reached = (8.0 if excess(0.0) > 0 else -8.0), entropy_rate(chain)
    near = 0.0
    for far in np.linspace(0.0, end, 17)[1:].tolist():
        try:
            reached = excess(far) + entropy
        except ValueError:  # so cold that the chain falls apart
            break
        if (reached - entropy) * end <= 0:
            return heated(float(optimize.brentq(excess, *sorted((near, far)), xtol=1e-13)))
        near = far
    raise ValueError(f"rows ∝ P^β reach an entropy rate of {reached:.4g} nats, got {entropy}")


def entropy_rate(chain: MarkovChain) -> float:
    """h of the stationary chain, nats a token; e^h is the perplexity a transition."""
    rows = np.asarray(chain.transition)
    return float(-stationary(rows) @ xlogy(rows, rows).sum(axis=1))


def sequence_perplexity(chain: MarkovChain, length: int) -> float:
    """exp of the entropy of L tokens over L: exp((H(π) + (L−1)h)/L) from the stationary law.

    Raises:
        ValueError: when L is not an integer ≥ 1.
    """
    return math.exp(sequence_entropy(chain, length) / length)


def sequence_entropy(chain: MarkovChain, length: int) -> float:
    """The entropy of L tokens in nats, H(π) + (L−1)h from the stationary law.

    Raises:
        ValueError: when L is not an integer ≥ 1.
    """
    check_count("length", length, 1)
    rows, law = np.asarray(chain.transition), np.asarray(chain.initial)
    total, each = -xlogy(law, law).sum(), -xlogy(rows, rows).sum(axis=1)
    for _ in range(length - 1):
        total, law = total + law @ each, law @ rows
    return float(total)


@partial(jax.jit, static_argnames=("sequences", "length"))
def _sample(chain: MarkovChain, key: PRNGKeyArray, sequences: int, length: int) -> Tokens:
    first, rest = jax.random.split(key)
    uniform = spread(jax.random.uniform(rest, (length - 1, sequences)), axis=1)
    edges = _edges(chain.transition)

    def following(edges: Array, draw: Array) -> Array:
        """The token in whose share of [0, 1) a draw lies."""
        return jnp.sum(edges <= draw[:, None], axis=1, dtype=jnp.int32)

    def step(token: Array, draw: Array) -> tuple[Array, Array]:
        now = following(edges[token], draw)
        return now, now

    token = following(_edges(chain.initial), spread(jax.random.uniform(first, (sequences,))))
    _, others = lax.scan(step, token, uniform)
    return jnp.concatenate([token[None], others]).T


@jax.jit
def _log_likelihood(chain: MarkovChain, tokens: Tokens, least: Array) -> Array:
    first = jnp.log(jnp.maximum(chain.initial, least))[tokens[:, 0]]
    return first + jnp.sum(_log_transitions(chain, tokens, least), axis=1)


@jax.jit
def _log_transitions(chain: MarkovChain, tokens: Tokens, least: Array) -> Array:
    return jnp.log(jnp.maximum(chain.transition, least))[tokens[:, :-1], tokens[:, 1:]]


def _edges(law: Array) -> Array:
    """Cumulative sums that end at 1 whatever their rounding, so that no draw passes them all."""
    sums = jnp.cumsum(law, axis=-1)
    return sums / sums[..., -1:]
