"""Markov chains: entropy rates by enumeration, samples with the chain's own law."""

import itertools
import math

import jax
import numpy as np
import pytest
from scipy import stats

from tests.refusals import refusals
from tests.significance import check_mean, check_rejects
from theory.estimate import from_samples
from theory.markov_chain import (
    MarkovChain,
    dirichlet_chain,
    entropy_rate,
    sequence_perplexity,
    stationary,
    tempered,
)

ROWS = np.array([[0.7, 0.2, 0.1], [0.0, 0.5, 0.5], [0.3, 0.3, 0.4]])
CHAIN = MarkovChain([0.2, 0.5, 0.3], ROWS)
FAILURE = 1e-10


def every_sequence(modes: int, length: int) -> np.ndarray:
    return np.array(list(itertools.product(range(modes), repeat=length)))


def test_probabilities_of_all_sequences_sum_to_1():
    for length in (1, 2, 4):
        logs = np.asarray(CHAIN.log_likelihood(every_sequence(3, length)))
        assert np.exp(logs).sum() == pytest.approx(1, rel=1e-12)
    assert CHAIN.log_likelihood([[0, 1, 2]])[0] == pytest.approx(math.log(0.2 * 0.2 * 0.5))
    assert CHAIN.log_likelihood([[1, 0]])[0] == -math.inf


@pytest.mark.parametrize("length", [1, 2, 5])
def test_sequence_perplexity_is_the_entropy_of_all_sequences(length: int):
    logs = np.asarray(CHAIN.log_likelihood(every_sequence(3, length)))
    said = logs[np.isfinite(logs)]
    entropy = -np.sum(np.exp(said) * said)
    assert sequence_perplexity(CHAIN, length) == pytest.approx(math.exp(entropy / length))


def test_from_the_stationary_law_the_entropy_is_that_of_one_and_h_for_each_other():
    law = stationary(ROWS)
    np.testing.assert_allclose(law @ ROWS, law, atol=1e-14)
    chain, h = MarkovChain(law, ROWS), entropy_rate(CHAIN)
    first = stats.entropy(law)
    assert sequence_perplexity(chain, 7) == pytest.approx(math.exp((first + 6 * h) / 7))


def test_equality_cases():
    uniform = MarkovChain(np.full(4, 0.25), np.full((4, 4), 0.25))
    assert entropy_rate(uniform) == pytest.approx(math.log(4))
    cycle = MarkovChain([1, 0, 0], np.roll(np.eye(3), 1, axis=1))
    assert entropy_rate(cycle) == 0
    np.testing.assert_array_equal(cycle.sample(jax.random.key(0), 2, 5), [[0, 1, 2, 0, 1]] * 2)


def test_samples_have_the_law_of_the_chain():
    count = 1 << 17
    tokens = np.asarray(CHAIN.sample(jax.random.key(1), count, 3))
    place = tokens @ [9, 3, 1]
    want = np.exp(np.asarray(CHAIN.log_likelihood(every_sequence(3, 3))))
    seen = np.bincount(place, minlength=27)
    assert seen[want == 0].sum() == 0
    said = want > 0
    assert stats.chisquare(seen[said], count * want[said]).pvalue > FAILURE
    wrong = np.where(said, want + 0.1 * want * np.cos(np.arange(27)), 0)
    assert stats.chisquare(seen[said], count * (wrong / wrong.sum())[said]).pvalue < FAILURE


def test_perplexity_of_samples_is_the_truth():
    chain = dirichlet_chain(jax.random.key(2), 16, 0.3)
    tokens = chain.sample(jax.random.key(3), 4000, 16)
    nats = -np.asarray(chain.log_likelihood(tokens)) / 16
    truth = math.log(sequence_perplexity(chain, 16))
    check_mean(from_samples(nats), truth, FAILURE)
    check_rejects(check_mean, from_samples(nats), 1.05 * truth, FAILURE)
    found = chain.perplexity(tokens)
    assert found.value == pytest.approx(math.exp(nats.mean()))
    assert found.interval(FAILURE).contains(math.exp(truth))
    assert CHAIN.perplexity([[1, 0], [1, 1]]).value == math.inf


def test_transition_perplexity_is_that_of_the_transitions_alone():
    tokens = [[0, 1, 2], [1, 1, 2], [2, 0, 0]]
    nats = -np.log([0.2 * 0.5, 0.5 * 0.5, 0.3 * 0.7]) / 2
    found = CHAIN.transition_perplexity(tokens)
    assert found.value == pytest.approx(math.exp(nats.mean()), rel=1e-12)
    assert found.sem == pytest.approx(found.value * nats.std(ddof=1) / math.sqrt(3), rel=1e-12)
    assert CHAIN.transition_perplexity([[1, 0], [1, 1]]).value == math.inf


@pytest.mark.parametrize("entropy", [0.3, 1.0, 2.0])
def test_a_tempered_chain_has_the_entropy_rate_asked_for(entropy: float):
    chain = dirichlet_chain(jax.random.key(4), 16, 0.2)
    heated = tempered(chain, entropy)
    assert entropy_rate(heated) == pytest.approx(entropy, abs=1e-9)
    np.testing.assert_allclose(heated.initial, stationary(heated.transition), atol=1e-12)
    same = tempered(chain, entropy_rate(chain))
    np.testing.assert_allclose(same.transition, chain.transition, atol=1e-7)


def test_dirichlet_rows_grow_even_with_the_concentration():
    rates = [entropy_rate(dirichlet_chain(jax.random.key(5), 16, c)) for c in (0.02, 0.2, 20.0)]
    assert 0 < rates[0] < rates[1] < rates[2] < math.log(16)


BAD = {
    "π of shape (V,) and P of shape (V, V), V ≥ 2, got (2,), (3, 3)": lambda: MarkovChain(
        [0.5, 0.5], ROWS
    ),
    "got (1,), (1, 1)": lambda: MarkovChain([1.0], [[1.0]]),
    "masses of P must sum to 1, got a sum 0.3 away": lambda: MarkovChain([1, 0, 0], 0.7 * ROWS),
    "π must be finite and ≥ 0, got a least entry nan": lambda: MarkovChain([math.nan, 1, 0], ROWS),
    "P must be finite and ≥ 0, got a least entry -": lambda: MarkovChain([1, 0], [[2, -1], [1, 0]]),
    "more than one stationary law": lambda: stationary(np.eye(2)),
    "sequences must be an integer ≥ 1, got 0": lambda: CHAIN.sample(jax.random.key(0), 0, 3),
    "length must be an integer ≥ 1, got 0": lambda: sequence_perplexity(CHAIN, 0),
    "tokens lie in 0 … 2, got 0 to 3": lambda: CHAIN.log_likelihood([[0, 3]]),
    "integers of shape (sequences, length), got float64": lambda: CHAIN.log_likelihood([[0.0]]),
    "vocabulary must be an integer ≥ 2, got 1": lambda: dirichlet_chain(jax.random.key(0), 1, 1.0),
    "concentration must be a positive finite number": lambda: dirichlet_chain(
        jax.random.key(0), 4, 0.0
    ),
    "nats, got 9.0": lambda: tempered(CHAIN, 9.0),
    "nats, got -1.0": lambda: tempered(CHAIN, -1.0),
}


test_bad_input_is_named_on_one_line = refusals(BAD)
