"""Synthetic languages with an exact denoiser: a Markov chain of states, each saying a token.

Of order 1 a state is its token; of order 2 it is the pair (token before, token), numbered
before·V + token, so that the law of a token depends on the two before it. A position's latent is
the embedding of its token; what a sampler ends with is read by the nearest embedding.
"""

import math
from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from theory.check import check_count, check_scale
from theory.denoiser import ChainDenoiser
from theory.estimate import Estimate
from theory.gaussian import normal
from theory.markov_chain import (
    MarkovChain,
    Tokens,
    check_tokens,
    entropy_rate,
    perplexity_of,
    sequence_entropy,
    stationary,
)
from theory.mixture import code, simplex

Embeddings = Float[Array, "V n"]


class Language(eqx.Module):
    """Sequences of tokens 0 … V−1, embedded in R^n.

    Fields:
        states: the chain of states, S = V^order of them.
        embeddings: W, shape (V, n).
        order: tokens of a state, 1 or 2.

    Raises:
        ValueError: when the chain does not have V^order states, order is another number, or the
            embeddings are no finite floating matrix.
    """

    states: MarkovChain
    embeddings: Embeddings
    order: int = eqx.field(static=True)

    def __init__(self, states: MarkovChain, embeddings: object, order: int = 1) -> None:
        table = jnp.asarray(embeddings)
        if table.ndim != 2 or not jnp.issubdtype(table.dtype, jnp.floating):
            raise ValueError(f"embeddings are floating, (V, n), got {table.dtype} {table.shape}")
        if not np.isfinite(table).all():
            raise ValueError("embeddings must be finite, got NaN or infinity")
        if order not in (1, 2) or states.vocabulary != len(table) ** order:
            raise ValueError(
                f"{len(table)} embeddings need {len(table)}^order states, order 1 or 2, got "
                f"{states.vocabulary} states of order {order}"
            )
        self.states, self.embeddings, self.order = states, table, order

    @property
    def vocabulary(self) -> int:
        """V."""
        return self.embeddings.shape[0]

    @property
    def dimension(self) -> int:
        """n."""
        return self.embeddings.shape[1]

    @property
    def said(self) -> Int[np.ndarray, " S"]:
        """The token of every state."""
        return np.arange(self.states.vocabulary) % self.vocabulary

    def denoiser(self, floor: float = 0.0) -> ChainDenoiser:
        """The exact E[z_0 | z_t], or that at a noise floor."""
        return ChainDenoiser(self.states, np.asarray(self.embeddings)[self.said], floor)

    def token_law(self, law: Float[Array, "*p S"]) -> Float[Array, "*p V"]:
        """The law of tokens behind a law of states."""
        return _of_tokens(law, self.vocabulary)

    def read(self, latents: object) -> Int[Array, " *p"]:
        """The token whose embedding is nearest: argmax ⟨z, W_v⟩ − ‖W_v‖²/2."""
        return _read(jnp.asarray(latents), self.embeddings)

    def sample(self, key: PRNGKeyArray, sequences: int, length: int) -> Tokens:
        """Independent sequences of tokens, shape (sequences, length).

        Raises:
            ValueError: when either is not an integer ≥ 1.
        """
        return self.states.sample(key, sequences, length) % self.vocabulary

    def log_likelihood(self, tokens: object, least: float = 0.0) -> Float[np.ndarray, " N"]:
        """log P(y) of every sequence, in nats; conditional chances count as at least `least`.

        Raises:
            ValueError: as `MarkovChain.log_likelihood`, or on one token where the order is 2.
        """
        found = check_tokens(tokens, self.vocabulary)
        if self.order == 2:
            if found.shape[1] < 2:
                raise ValueError("sequences of order 2 need two tokens at least")
            found = found[:, :-1] * self.vocabulary + found[:, 1:]
        return np.asarray(self.states.log_likelihood(found, least))

    def perplexity(self, tokens: object, least: float = 0.0) -> Estimate:
        """exp(−E log P(y)/L), to be compared with `truth`; ∞ if a sequence is impossible.

        A sampler's rare but next to impossible transitions (rows of Dirichlet laws have chances
        of e⁻³⁰⁰) decide this number; with `least` they cost −log least at most.

        Raises:
            ValueError: as `log_likelihood`, or on fewer than two sequences.
        """
        found = check_tokens(tokens, self.vocabulary)
        return perplexity_of(-self.log_likelihood(found, least) / found.shape[1])

    def truth(self, length: int) -> float:
        """The perplexity of the language itself: exp of the entropy of L tokens over L.

        Raises:
            ValueError: when L is not an integer ≥ order.
        """
        check_count("length", length, self.order)
        states = length - self.order + 1  # the first pair is drawn as one
        return math.exp(sequence_entropy(self.states, states) / length)

    def unigram(self) -> Float[np.ndarray, " V"]:
        """The law of a token of the stationary language."""
        return np.asarray(self.token_law(jnp.asarray(stationary(self.states.transition))))

    def bigram(self) -> Float[np.ndarray, "V V"]:
        """The law of two tokens in a row of the stationary language."""
        law = stationary(self.states.transition)
        if self.order == 2:
            return law.reshape(self.vocabulary, self.vocabulary)
        return law[:, None] * np.asarray(self.states.transition)

    def rate(self) -> float:
        """h, the entropy rate in nats a token."""
        return entropy_rate(self.states)


@partial(jax.jit, static_argnames="vocabulary")
def _of_tokens(law: Float[Array, "*p S"], vocabulary: int) -> Float[Array, "*p V"]:
    return law.reshape(*law.shape[:-1], -1, vocabulary).sum(axis=-2)


@jax.jit
def _read(z: Array, table: Array) -> Array:
    table = table.astype(z.dtype)
    half = jnp.sum(table**2, axis=1) / 2
    return jnp.argmax(jnp.matmul(z, table.T, precision="highest") - half, axis=-1)


def dirichlet_pairs(key: PRNGKeyArray, vocabulary: int, concentration: float) -> MarkovChain:
    """The chain of pairs of a second-order language with rows P(· | y, y') from Dirichlet(c, …).

    Raises:
        ValueError: when V < 2, c is not positive and finite, or the pairs fall apart.
    """
    check_count("vocabulary", vocabulary, 2)
    check_scale("concentration", concentration)
    laws = jax.random.dirichlet(
        key, jnp.full(vocabulary, float(concentration)), (vocabulary, vocabulary)
    )
    table = np.zeros((vocabulary,) * 4)  # from (y, y') to (y', y'')
    middle = np.arange(vocabulary)
    table[:, middle, middle] = np.asarray(laws, np.float64)
    rows = table.reshape(vocabulary**2, vocabulary**2)
    rows = rows / rows.sum(axis=1, keepdims=True)
    return MarkovChain(stationary(rows), rows)


def random_embeddings(key: PRNGKeyArray, vocabulary: int, dimension: int) -> Embeddings:
    """Independent and uniform on the sphere of radius √n: of unit variance a coordinate."""
    return code(key, vocabulary, dimension, math.sqrt(dimension))


def simplex_embeddings(key: PRNGKeyArray, vocabulary: int, dimension: int) -> Embeddings:
    """V ≤ n + 1 points of norm √n, as far from each other as they can be; the key is not used."""
    del key
    return simplex(vocabulary, dimension, math.sqrt(2 * dimension * vocabulary / (vocabulary - 1)))


def clustered_embeddings(key: PRNGKeyArray, vocabulary: int, dimension: int) -> Embeddings:
    """Norm √n, in ⌈√V⌉ clusters as learned embeddings have: cosine about 0.8 within one."""
    centre_key, own_key, place_key = jax.random.split(key, 3)
    groups = math.ceil(math.sqrt(vocabulary))
    centres = random_embeddings(centre_key, groups, dimension)
    own = normal(own_key, (vocabulary, dimension), centres.dtype.name)
    rows = centres[jax.random.permutation(place_key, vocabulary) % groups] + own / 2
    return rows * math.sqrt(dimension) / jnp.linalg.norm(rows, axis=1, keepdims=True)


EMBEDDINGS: dict[str, Callable[[PRNGKeyArray, int, int], Embeddings]] = {
    "random": random_embeddings,
    "simplex": simplex_embeddings,
    "clustered": clustered_embeddings,
}
