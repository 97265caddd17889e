"""Categorical commitment: sequences made in rounds of sampled tokens, each known to the next.

Within a round the tokens of its positions are drawn independently, each from its exact law given
all tokens committed before. For a chain that is exact when between any two positions of a round a
committed one lies (Markov property): the middle first, then the middles of the gaps, makes L tokens
in ⌈log₂(L+1)⌉ rounds, and no order needs fewer.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from theory.check import check_count
from theory.forward_backward import token_posteriors
from theory.markov_chain import MarkovChain, Tokens

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
    check_count("length", length, 1)
    check_count("rounds", rounds, 1)
    if rounds > length:
        raise ValueError(f"a round has a position at least: rounds ≤ {length}, got {rounds}")
    return np.array_split(np.asarray(jax.random.permutation(key, length)), rounds)


def commit(key: PRNGKeyArray, chain: MarkovChain, order: Order, *, sequences: int) -> Tokens:
    """Sequences of the chain, made in the rounds of `order`; shape (sequences, length).

    Raises:
        ValueError: when the order does not have every position once, sequences is not an integer
            ≥ 1, or an order that is not exact commits tokens which the chain never says together.
    """
    check_count("sequences", sequences, 1)
    places = np.concatenate([np.zeros(0, int), *order])
    length = len(places)
    if length == 0 or not np.array_equal(np.sort(places), np.arange(length)):
        raise ValueError(f"an order has every position 0 … L−1 once, got {places.tolist()}")
    tokens = jnp.zeros((sequences, length), jnp.int32)
    known = np.zeros(length, bool)
    for number, positions in enumerate(order):
        law = token_posteriors(chain, _evidence(tokens, known, chain.vocabulary))
        drawn = _draw(jax.random.fold_in(key, number), law[:, positions])
        tokens = tokens.at[:, positions].set(drawn)
        known[positions] = True
    return tokens


def _evidence(tokens: Tokens, known: np.ndarray, vocabulary: int) -> Array:
    """0 for what is committed and for all where nothing is, −∞ for what was not chosen."""
    chosen = tokens[..., None] == jnp.arange(vocabulary)
    return jnp.where(chosen | ~jnp.asarray(known)[:, None], 0.0, -jnp.inf)


def _draw(key: PRNGKeyArray, law: Array) -> Tokens:
    return jax.random.categorical(key, jnp.log(law), axis=-1).astype(jnp.int32)
