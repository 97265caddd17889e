"""Categorical commitment: sequences made in rounds of sampled tokens, each known to the next.

Within a round the tokens of its positions are drawn independently, each from its exact law given
all tokens committed before. For a chain that is exact when between any two positions of a round a
committed one lies (Markov property): the middle first, then the middles of the gaps, makes L tokens
in ⌈log₂(L+1)⌉ rounds, and no order needs fewer.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, PRNGKeyArray

from theory.check import check_count
from theory.devices import spread
from theory.forward_backward import token_posteriors
from theory.language import Language
from theory.markov_chain import Tokens

CELLS = 1 << 22  # the most numbers of an array of a chunk
Order = Sequence[np.ndarray]  # the positions of every round


def bisection(length: int) -> list[np.ndarray]:
    """Positions round by round: the middle, then the middles of the gaps that are left.

    Raises:
        ValueError: when the length is not an integer ≥ 1.
    """
    check_count("length", length, 1)
    gaps, rounds = [(0, length)], []
    while gaps:
        middles = [(low + high) // 2 for low, high in gaps]
        rounds.append(np.array(middles))
        halves = [
            half
            for (low, high), middle in zip(gaps, middles, strict=True)
            for half in ((low, middle), (middle + 1, high))
        ]
        gaps = [(low, high) for low, high in halves if low < high]
    return rounds


def left_to_right(length: int) -> list[np.ndarray]:
    """A position a round, from the first on: exact in L rounds.

    Raises:
        ValueError: when the length is not an integer ≥ 1.
    """
    check_count("length", length, 1)
    return list(np.arange(length)[:, None])


def random_order(key: PRNGKeyArray, length: int, rounds: int) -> list[np.ndarray]:
    """All positions in random order, split evenly: not exact unless K = L.

    Raises:
        ValueError: when the numbers are not integers with 1 ≤ rounds ≤ length.
    """
    parts = _rounds(rounds, length)
    return np.array_split(np.asarray(jax.random.permutation(key, length)), parts)


def masks(order: Order) -> Bool[np.ndarray, "rounds length"]:
    """Which positions every round has.

    Raises:
        ValueError: when the order does not have every position once.
    """
    places = np.concatenate([np.zeros(0, int), *order])
    length = len(places)
    if length == 0 or not np.array_equal(np.sort(places), np.arange(length)):
        raise ValueError(f"an order has every position 0 … L−1 once, got {places.tolist()}")
    return np.array([np.isin(np.arange(length), positions) for positions in order])


def commit(key: PRNGKeyArray, language: Language, order: Order, *, sequences: int) -> Tokens:
    """Sequences of the language, made in the rounds of `order`; shape (sequences, length).

    Raises:
        ValueError: when the order does not have every position once, sequences is not an integer
            ≥ 1, or an order that is not exact commits tokens which are never said together.
    """
    check_count("sequences", sequences, 1)
    rounds = masks(order)

    def chosen(number: int, law: Array, known: Array) -> Array:
        del law
        return jnp.broadcast_to(rounds[number], known.shape)

    return _in_rounds(key, language, len(rounds), chosen, (sequences, rounds.shape[1]))


def commit_by_confidence(
    key: PRNGKeyArray, language: Language, rounds: int, *, sequences: int, length: int
) -> Tokens:
    """The positions with the largest max_v P(y_t = v | committed) first, of every sequence its own.

    L positions are split evenly over the rounds, as in `random_order`. Not exact: positions of a
    round may be neighbours, and what is sure says little of which of them are.

    Raises:
        ValueError: as `commit`, or unless 1 ≤ rounds ≤ length.
    """
    check_count("sequences", sequences, 1)
    parts = [len(part) for part in np.array_split(np.arange(length), _rounds(rounds, length))]

    def chosen(number: int, law: Array, known: Array) -> Array:
        sure = jnp.where(known, -1.0, jnp.max(law, axis=-1))
        rank = jnp.argsort(jnp.argsort(-sure, axis=1), axis=1)
        return rank < parts[number]

    return _in_rounds(key, language, rounds, chosen, (sequences, length))


def _rounds(rounds: int, length: int) -> int:
    check_count("length", length, 1)
    check_count("rounds", rounds, 1)
    if rounds > length:
        raise ValueError(f"a round has a position at least: rounds ≤ {length}, got {rounds}")
    return rounds


def _in_rounds(
    key: PRNGKeyArray,
    language: Language,
    rounds: int,
    chosen: Callable[[int, Array, Array], Array],
    shape: tuple[int, int],
) -> Tokens:
    """Chunk by chunk: the law of every position, and draws where the round is to commit."""
    sequences, length = shape
    size = min(sequences, max(1, CELLS // (length * language.states.vocabulary)))
    made = []
    for part, first in enumerate(range(0, sequences, size)):
        tokens = spread(jnp.zeros((size, length), jnp.int32))
        known = spread(jnp.zeros((size, length), bool))
        own = jax.random.fold_in(key, part)
        for number in range(rounds):
            evidence = _evidence(tokens, known, language.said)
            law = language.token_law(token_posteriors(language.states, evidence))
            drawn = _draw(jax.random.fold_in(own, number), law)
            tokens, known = _committed(tokens, known, chosen(number, law, known), drawn)
        made.append(tokens[: sequences - first])
    return jnp.concatenate(made)


@jax.jit
def _evidence(tokens: Tokens, known: Array, said: Array) -> Array:
    """0 for the states of what is committed and for all where nothing is, −∞ for the others."""
    chosen = tokens[..., None] == said
    return jnp.where(chosen | ~known[..., None], 0.0, -jnp.inf)


@jax.jit
def _committed(tokens: Tokens, known: Array, chosen: Array, drawn: Tokens) -> tuple[Tokens, Array]:
    return jnp.where(chosen & ~known, drawn, tokens), known | chosen


@jax.jit
def _draw(key: PRNGKeyArray, law: Array) -> Tokens:
    return jax.random.categorical(key, jnp.log(law), axis=-1).astype(jnp.int32)
