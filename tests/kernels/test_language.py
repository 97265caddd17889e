"""Languages: laws of both orders against all sequences, embeddings, n-grams."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp, xlogy

from tests.kernels.test_markov_chain import CHAIN, every_sequence
from tests.refusals import refusals
from theory.language import EMBEDDINGS, Language, dirichlet_pairs
from theory.markov_chain import MarkovChain
from theory.ngram import bigram_distance, bigram_law, unigram_entropy

FAILURE = 1e-10
PAIRS = dirichlet_pairs(jax.random.key(0), 3, 0.7)
FIRST, SECOND = Language(CHAIN, jnp.eye(3)), Language(PAIRS, jnp.eye(3), 2)


def chance_of(language: Language, tokens: np.ndarray) -> float:
    """Of the counts of all sequences, by χ²."""
    modes, length = language.vocabulary, tokens.shape[1]
    want = np.exp(language.log_likelihood(every_sequence(modes, length)))
    seen = np.bincount(tokens @ modes ** np.arange(length)[::-1], minlength=len(want))
    said = want > 0
    if seen[~said].any():
        return 0.0
    return float(stats.chisquare(seen[said], len(tokens) * want[said]).pvalue)


@pytest.mark.parametrize(
    "language",
    [pytest.param(FIRST, marks=pytest.mark.slow, id="first"), pytest.param(SECOND, id="second")],
)
def test_samples_and_chances_are_of_one_law(language: Language):
    said = every_sequence(3, 4)
    logs = language.log_likelihood(said)
    assert logsumexp(logs) == pytest.approx(0, abs=1e-12)
    entropy = -np.sum(xlogy(np.exp(logs), np.exp(logs)))
    assert language.truth(4) == pytest.approx(math.exp(entropy / 4), rel=1e-9)
    tokens = np.asarray(language.sample(jax.random.key(1), 20_000, 4))
    assert chance_of(language, tokens) > FAILURE
    assert language.perplexity(tokens).interval(FAILURE).contains(language.truth(4))
    assert chance_of(language, tokens[:, ::-1]) < FAILURE  # neither chain is reversible


@pytest.mark.parametrize("language", [FIRST, SECOND], ids=["first", "second"])
def test_grams_are_those_of_the_enumeration(language: Language):
    said = every_sequence(3, 4)
    law = np.exp(language.log_likelihood(said))
    if language.order == 1:  # CHAIN does not begin with its stationary law
        assert language.unigram() @ np.asarray(CHAIN.transition) == pytest.approx(
            language.unigram()
        )
        return
    pairs = np.bincount(said[:, 2] * 3 + said[:, 3], law, 9).reshape(3, 3)
    np.testing.assert_allclose(language.bigram(), pairs, atol=1e-12)
    np.testing.assert_allclose(language.unigram(), pairs.sum(axis=1), atol=1e-12)
    third = np.bincount(said[:, 1:] @ [9, 3, 1], law, 27)
    rate = -np.sum(xlogy(third, third)) + np.sum(xlogy(pairs, pairs))
    assert language.rate() == pytest.approx(rate, rel=1e-9)


def test_the_posterior_of_pairs_is_that_of_all_sequences():
    rng = np.random.default_rng(0)
    z = jnp.asarray(rng.normal(size=(1, 4, 3)))
    language = Language(PAIRS, jnp.asarray(rng.normal(size=(3, 3))), 2)
    denoiser = language.denoiser()
    at = jnp.asarray(0.6), jnp.asarray(0.7)
    said = every_sequence(3, 4)
    logs = np.asarray(language.log_likelihood(said))
    apart = np.asarray(z)[0] - 0.6 * np.asarray(language.embeddings)[said]
    logs = logs - (apart**2).sum(axis=(1, 2)) / (2 * 0.7**2)
    law = np.exp(logs - logsumexp(logs))
    tokens = np.asarray(language.token_law(denoiser.posterior(z, *at)))[0]
    for place in range(4):
        want = np.bincount(said[:, place], law, 3)
        np.testing.assert_allclose(tokens[place], want, atol=1e-10)
        got = np.asarray(denoiser(z, *at))[0, place]
        np.testing.assert_allclose(got, want @ np.asarray(language.embeddings), atol=1e-10)


def test_least_bounds_what_an_impossible_transition_costs():
    chain = np.asarray(CHAIN.transition)
    one, never = np.argwhere(chain == 0)[0]
    tokens = np.array([[one, never], [one, never]])
    assert FIRST.log_likelihood(tokens)[0] == -math.inf
    got = FIRST.log_likelihood(tokens, 1e-6)[0]
    assert got == pytest.approx(math.log(np.asarray(CHAIN.initial)[one]) + math.log(1e-6))
    assert math.isfinite(float(FIRST.perplexity(tokens, 1e-6).value))


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_embeddings_have_norm_root_n_and_are_read_back(name: str):
    table = EMBEDDINGS[name](jax.random.key(2), 64, 64)  # a shape that is compiled for cosines too
    np.testing.assert_allclose(jnp.linalg.norm(table, axis=1), 8, rtol=1e-6)
    chain = np.full((64, 64), 1 / 64)
    language = Language(uniform_chain(chain), table)
    tokens = np.arange(64).reshape(8, 8)
    np.testing.assert_array_equal(language.read(np.asarray(table)[tokens]), tokens)


def uniform_chain(rows: np.ndarray):
    return MarkovChain(rows[0], rows)


def test_clusters_are_tighter_than_random_and_a_simplex_is_even():
    def cosines(name: str) -> np.ndarray:
        table = np.asarray(EMBEDDINGS[name](jax.random.key(3), 64, 64)) / 8
        return (table @ table.T)[np.triu_indices(64, 1)]

    assert np.ptp(cosines("simplex")) < 1e-6
    assert (cosines("clustered") > 0.6).sum() > 64 * 2
    assert not (cosines("random") > 0.6).any()


# n-grams


def test_entropy_and_distance_of_the_language_itself():
    tokens = np.asarray(SECOND.sample(jax.random.key(4), 4000, 12))
    found = unigram_entropy(tokens, 3)
    want = -np.sum(xlogy(SECOND.unigram(), SECOND.unigram()))
    assert found.interval(FAILURE).contains(want)
    assert not found.interval(FAILURE).contains(1.05 * want)
    apart = bigram_distance(tokens, SECOND.bigram())
    assert apart.interval(FAILURE).contains(0)
    assert apart.value < 0.02


def test_distance_of_another_language_is_its_total_variation():
    other = FIRST.bigram()
    tokens = np.asarray(SECOND.sample(jax.random.key(5), 4000, 12))
    want = float(np.abs(SECOND.bigram() - other).sum() / 2)
    found = bigram_distance(tokens, other)
    assert found.interval(FAILURE).contains(want)
    assert not found.interval(FAILURE).contains(1.1 * want)
    assert bigram_law(tokens, 3).sum() == pytest.approx(1)


def test_of_one_token_said_again_and_again_there_is_no_entropy():
    found = unigram_entropy(np.ones((4, 5), int), 3)
    assert (found.value, found.sem) == (0, 0)


BAD = {
    "3 embeddings need 3^order states, order 1 or 2, got 3 states of order 2": lambda: Language(
        CHAIN, jnp.eye(3), 2
    ),
    "embeddings are floating, (V, n), got float64 (3,)": lambda: Language(CHAIN, jnp.ones(3)),
    "embeddings must be finite": lambda: Language(CHAIN, jnp.full((3, 2), jnp.nan)),
    "order 2 need two tokens": lambda: SECOND.log_likelihood(np.zeros((2, 1), int)),
    "length must be an integer ≥ 2, got 1": lambda: SECOND.truth(1),
    "least chance lies in [0, 1), got 1": lambda: FIRST.log_likelihood(np.zeros((2, 2), int), 1),
    "vocabulary must be an integer ≥ 2, got 1": lambda: dirichlet_pairs(jax.random.key(0), 1, 1.0),
    "concentration must be a positive": lambda: dirichlet_pairs(jax.random.key(0), 2, -1.0),
    "tokens lie in 0 … 2, got 0 to 3": lambda: bigram_law(np.array([[0, 3]]), 3),
    "pairs need sequences of two tokens": lambda: bigram_law(np.zeros((2, 1), int), 3),
    "too few of them came": lambda: unigram_entropy(np.zeros((1, 4), int), 3),
    "a law of pairs has shape (V, V), got (3,)": lambda: bigram_distance(
        np.zeros((4, 4), int), np.ones(3)
    ),
    "sum to 1, got a sum of 9": lambda: bigram_distance(np.zeros((4, 4), int), np.ones((3, 3))),
}
test_bad_input_is_named_on_one_line = refusals(BAD)
