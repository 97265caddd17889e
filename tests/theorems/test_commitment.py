"""Commitment: L sampled tokens of a first-order chain in ⌈log₂(L+1)⌉ rounds, exactly.

Hypotheses: y_1 … y_L is a Markov chain of first order; the tokens of a round are drawn
independently, each from its exact law given all rounds before. Conclusion: where between any two
positions of a round a committed one lies, the sequence has the law of the chain; the middles of
the gaps need ⌈log₂(L+1)⌉ rounds, and no order has fewer. Without memory one round will do.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.kernels.test_markov_chain import every_sequence
from tests.significance import check_likely, check_rejects
from tests.theorems.keys import root
from theory.commitment import bisection, commit, commit_by_confidence
from theory.language import Language, dirichlet_pairs
from theory.markov_chain import MarkovChain, dirichlet_chain

FAILURE = 1e-10
EACH = 1e-11  # a drawn chain
COUNT = 1 << 15
LENGTH = 7
FEWEST = 3  # ⌈log₂ 8⌉
SHARP = dirichlet_chain(jax.random.key(0), 3, 0.5)


def spoken(chain: MarkovChain, order: int = 1) -> Language:
    return Language(chain, jnp.eye(round(chain.vocabulary ** (1 / order))), order)


def chance(language: Language, tokens: np.ndarray) -> float:
    """Of the counts of all trigrams at the start, χ² against all sequences of three."""
    digits = language.vocabulary ** np.arange(3)[::-1]
    said = every_sequence(language.vocabulary, 3)
    want = np.exp(language.log_likelihood(said))
    seen = np.bincount(np.asarray(tokens)[:, :3] @ digits, minlength=len(want))
    likely = want * len(tokens) > 5  # for χ²; the others are one class
    rest = [seen[~likely].sum()], [len(tokens) * want[~likely].sum() + 1e-9]
    counts = np.concatenate([seen[likely], rest[0]])
    expected = np.concatenate([len(tokens) * want[likely], rest[1]])
    return float(stats.chi2.sf(((counts - expected) ** 2 / expected).sum(), len(counts) - 1))


# Equality


def test_bisection_has_the_law_of_the_chain():
    tokens = commit(root(1), spoken(SHARP), bisection(LENGTH), sequences=COUNT)
    check_likely(chance(spoken(SHARP), np.asarray(tokens)), FAILURE)
    last = np.asarray(tokens)[:, ::-1]  # the end of a stationary chain, read backwards
    check_likely(chance(spoken(reversed_chain(SHARP)), last), FAILURE)


def reversed_chain(chain: MarkovChain) -> MarkovChain:
    law, rows = np.asarray(chain.initial), np.asarray(chain.transition)
    back = (law[:, None] * rows).T / law[:, None]
    return MarkovChain(law, back / back.sum(axis=1, keepdims=True))


def test_tokens_without_memory_need_one_round():
    law = np.array([0.2, 0.3, 0.5])
    language = spoken(MarkovChain(law, np.tile(law, (3, 1))))
    tokens = commit(root(2), language, [np.arange(LENGTH)], sequences=COUNT)
    check_likely(chance(language, np.asarray(tokens)), FAILURE)


# Property


@settings(max_examples=5)
@given(seed=st.integers(0, 2**31), concentration=st.sampled_from([0.3, 1.0, 3.0]))
def test_any_chain_is_said_by_bisection(seed: int, concentration: float):
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet(np.full(3, concentration), 4)
    rows = (rows + 1e-9) / (rows + 1e-9).sum(axis=1, keepdims=True)
    language = spoken(MarkovChain(rows[0], rows[1:]))
    tokens = commit(jax.random.key(seed), language, bisection(LENGTH), sequences=COUNT)
    check_likely(chance(language, np.asarray(tokens)), EACH)


# Tightness


def test_no_order_of_fewer_rounds_separates_neighbours():
    """k rounds reach 2^k − 1 positions at most: one token, and on both sides what k − 1 reach."""
    assert len(bisection(LENGTH)) == FEWEST == math.ceil(math.log2(LENGTH + 1))
    reached = {0}
    for _ in range(FEWEST - 1):  # gaps that the rounds left can fill, and one token between them
        reached = {2 * longest + 1 for longest in reached}
    assert max(reached) < LENGTH
    pairs = np.array_split(np.arange(LENGTH), FEWEST - 1)
    tokens = commit(root(3), spoken(SHARP), pairs, sequences=COUNT)
    check_rejects(check_likely, chance(spoken(SHARP), np.asarray(tokens)), FAILURE)


# Falsification


def test_other_orders_and_languages_are_told_apart():
    tokens = commit_by_confidence(root(4), spoken(SHARP), FEWEST, sequences=COUNT, length=LENGTH)
    check_rejects(check_likely, chance(spoken(SHARP), np.asarray(tokens)), FAILURE)
    second = spoken(dirichlet_pairs(jax.random.key(5), 3, 0.5), 2)
    tokens = commit(root(6), second, bisection(LENGTH), sequences=COUNT)
    check_rejects(check_likely, chance(second, np.asarray(tokens)), FAILURE)
    warm = MarkovChain(SHARP.initial, 0.95 * np.asarray(SHARP.transition) + 0.05 / 3)
    tokens = commit(root(7), spoken(warm), bisection(LENGTH), sequences=COUNT)
    check_rejects(check_likely, chance(spoken(SHARP), np.asarray(tokens)), FAILURE)
