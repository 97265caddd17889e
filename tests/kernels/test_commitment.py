"""Commitment: bisection says what the chain says, fewer rounds do not."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.kernels.test_markov_chain import CHAIN, every_sequence
from tests.refusals import refusals
from theory.commitment import bisection, commit, left_to_right, random_order
from theory.language import Language
from theory.markov_chain import MarkovChain, dirichlet_chain, sequence_perplexity

FAILURE = 1e-10
COUNT = 1 << 16


def spoken(chain: MarkovChain) -> Language:
    return Language(chain, jnp.eye(chain.vocabulary))


def chance(tokens: np.ndarray, chain: MarkovChain = CHAIN) -> float:
    """That sequences of the chain are as far from its law of all sequences, by χ²."""
    length = tokens.shape[1]
    want = np.exp(np.asarray(chain.log_likelihood(every_sequence(3, length))))
    seen = np.bincount(tokens @ 3 ** np.arange(length)[::-1], minlength=len(want))
    if seen[want == 0].any():
        return 0.0
    said = want > 0
    return float(stats.chisquare(seen[said], len(tokens) * want[said]).pvalue)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 7, 8, 31, 32, 33])
def test_bisection_has_every_position_once_in_the_fewest_rounds(length: int):
    rounds = bisection(length)
    assert len(rounds) == math.ceil(math.log2(length + 1))
    assert sorted(np.concatenate(rounds).tolist()) == list(range(length))
    known: set[int] = set()
    for positions in rounds:
        for near, far in zip(sorted(positions)[:-1], sorted(positions)[1:], strict=True):
            assert known & set(range(near + 1, far))
        known |= set(positions.tolist())


@pytest.mark.parametrize("order", [bisection, left_to_right], ids=lambda order: order.__name__)
def test_an_exact_order_has_the_law_of_the_chain(order):
    tokens = np.asarray(commit(jax.random.key(0), spoken(CHAIN), order(4), sequences=COUNT))
    assert chance(tokens) > FAILURE


@pytest.mark.parametrize("rounds", [1, 2])
def test_two_neighbours_in_a_round_do_not(rounds: int):
    order = np.array_split(np.arange(4), rounds)
    chain = MarkovChain(CHAIN.initial, 0.9 * np.asarray(CHAIN.transition) + 0.1 / 3)
    tokens = np.asarray(commit(jax.random.key(1), spoken(chain), order, sequences=COUNT))
    assert chance(tokens, chain) < FAILURE
    drawn = random_order(jax.random.key(2), 4, 2)
    assert sorted(np.concatenate(drawn).tolist()) == [0, 1, 2, 3]


@pytest.mark.slow
def test_perplexity_in_six_rounds_is_the_truth():
    chain = dirichlet_chain(jax.random.key(3), 64, 0.05)
    tokens = commit(jax.random.key(4), spoken(chain), bisection(32), sequences=4096)
    found = chain.perplexity(tokens).interval(FAILURE)
    truth = sequence_perplexity(chain, 32)
    assert found.contains(truth)
    assert found.upper - found.lower < 0.05 * truth
    assert not found.contains(1.05 * truth)
    once = commit(jax.random.key(5), spoken(chain), [np.arange(32)], sequences=100)
    assert chain.perplexity(once).value > 3 * truth


BAD = {
    "length must be an integer ≥ 1, got 0": lambda: bisection(0),
    "length must be an integer ≥ 1, got 2.5": lambda: left_to_right(2.5),
    "a round has a position at least: rounds ≤ 3, got 4": lambda: random_order(
        jax.random.key(0), 3, 4
    ),
    "rounds must be an integer ≥ 1, got 0": lambda: random_order(jax.random.key(0), 3, 0),
    "every position 0 … L−1 once, got [0, 2]": lambda: commit(
        jax.random.key(0), spoken(CHAIN), [np.array([0, 2])], sequences=1
    ),
    "every position 0 … L−1 once, got []": lambda: commit(
        jax.random.key(0), spoken(CHAIN), [], sequences=1
    ),
    "leaves no sequence that the chain says": lambda: commit(
        jax.random.key(0), spoken(CHAIN), [np.arange(3), np.array([3])], sequences=1000
    ),
    "sequences must be an integer ≥ 1, got 0": lambda: commit(
        jax.random.key(0), spoken(CHAIN), bisection(2), sequences=0
    ),
}


test_bad_input_is_named_on_one_line = refusals(BAD)
