"""The Fréchet distance: closed forms, 0 for the language's own latents, more for wrong ones."""

from functools import cache

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.refusals import refusals
from tests.strategies import reals, rotations
from theory.fidelity import Moments, frechet, frechet_distance, pair_moments
from theory.language import Language, dirichlet_pairs, random_embeddings
from theory.markov_chain import dirichlet_chain


@cache
def language() -> Language:
    chain = dirichlet_chain(jax.random.key(0), 12, 0.3)
    return Language(chain, random_embeddings(jax.random.key(1), 12, 4))


@cache
def latents() -> np.ndarray:
    tokens = np.asarray(language().sample(jax.random.key(2), 2000, 16))
    return np.asarray(language().embeddings)[tokens]


spreads = reals((3,), 2.0).map(np.exp)


@given(rotations(3), spreads, spreads, reals((3,), 2.0), reals((3,), 2.0))
def test_commuting_covariances_have_the_closed_form(q, a, b, m, k):
    laws = [Moments(mean, (q * s) @ q.T) for mean, s in ((m, a), (k, b))]
    wanted = ((m - k) ** 2).sum() + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert frechet_distance(*laws) == pytest.approx(wanted, abs=1e-10)
    assert frechet_distance(*laws[::-1]) == pytest.approx(wanted, abs=1e-10)


@given(reals((2, 2), 2.0), reals((2, 2), 2.0))
def test_the_plane_has_its_own_formula(first, second):
    """tr (CC')^{1/2} = √(tr CC' + 2√(det C det C')) of 2 × 2 matrices."""
    c, d = first @ first.T, second @ second.T
    product = np.trace(c @ d) + 2 * abs(np.linalg.det(first) * np.linalg.det(second))
    wanted = np.trace(c) + np.trace(d) - 2 * np.sqrt(product)
    assert frechet_distance(*(Moments(np.zeros(2), e) for e in (c, d))) == pytest.approx(
        wanted, abs=1e-6
    )


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, 2])
def test_moments_are_those_of_many_pairs(order):
    states = language().states if order == 1 else dirichlet_pairs(jax.random.key(3), 12, 0.5)
    spoken = Language(states, language().embeddings, order)
    tokens = np.asarray(spoken.sample(jax.random.key(4), 20_000, 2))
    pairs = np.asarray(spoken.embeddings)[tokens].reshape(len(tokens), -1)
    mean, covariance = pair_moments(spoken)
    reach = 6.2 / np.sqrt(len(pairs))
    assert np.abs(pairs.mean(axis=0) - mean).max() < reach * np.sqrt(np.diag(covariance).max())
    assert np.abs(np.cov(pairs.T) - covariance).max() < 2 * reach * np.abs(pairs).max() ** 2


def test_the_languages_own_latents_are_at_zero():
    found = frechet(latents(), language())
    assert found.interval().contains(0)
    assert 0 <= found.value < 1e-3
    assert found.bias == pytest.approx(found.value, rel=0.8)  # all of it is bias


def test_the_bias_is_that_of_few_sequences():
    """Sets of 100 lie above 0 by their bias on average, and it falls as 1/N."""
    few = [frechet(part, language()) for part in np.split(latents(), 20)]
    mean = np.mean([one.value for one in few])
    assert np.mean([one.bias for one in few]) == pytest.approx(mean, rel=0.3)
    assert mean == pytest.approx(20 * frechet(latents(), language()).bias, rel=0.6)


@given(st.floats(-1.0, 2.0))
def test_latents_on_another_scale_are_at_one_minus_it_squared(scale):
    found = frechet(scale * latents()[:400], language())
    assert found.interval().contains((1 - scale) ** 2 if scale >= 0 else _turned(scale))


def _turned(scale):
    """cz with c < 0 has the covariance of |c|z and the opposite mean."""
    mean, covariance = pair_moments(language())
    first, second = (mean**2).sum(), np.trace(covariance)
    return ((1 - scale) ** 2 * first + (1 + scale) ** 2 * second) / (first + second)


def test_tokens_without_their_order_are_refuted():
    """The same tokens shuffled: single latents are right, pairs are not."""
    mixed = np.random.default_rng(0).permuted(latents().reshape(-1, 4), axis=0)
    assert frechet(mixed.reshape(latents().shape), language()).interval().lower > 1e-3


@pytest.mark.parametrize("seed", range(4))
def test_latents_at_one_point_are_as_far_as_the_point_but_for_rounding(seed):
    """d² = ‖m − m'‖² + tr C: the roots of C' are those of its rounding."""
    point = np.random.default_rng(seed).normal(size=4)
    got, exact = frechet(np.tile(point, (300, 6, 1)), language()), pair_moments(language())
    mean, unit = np.tile(point, 2), exact.mean @ exact.mean + np.trace(exact.covariance)
    wanted = (((mean - exact.mean) ** 2).sum() + np.trace(exact.covariance)) / unit
    assert abs(float(got.value) - wanted) <= float(got.bias) <= 1e-6
    assert float(got.sem) <= float(got.bias)


def test_latents_at_zero_are_at_one():
    found = frechet(np.zeros((8, 3, 4)), language())
    assert found.interval().contains(1)


BAD = {
    "latents have shape (N ≥ 4, L ≥ 2, 4), got (8, 4)": lambda: frechet(
        np.zeros((8, 4)), language()
    ),
    "got (3, 5, 4)": lambda: frechet(np.zeros((3, 5, 4)), language()),
    "got (8, 1, 4)": lambda: frechet(np.zeros((8, 1, 4)), language()),
    "got (8, 5, 3)": lambda: frechet(np.zeros((8, 5, 3)), language()),
    "must be finite": lambda: frechet(np.full((8, 5, 4), np.nan), language()),
    "of one k, got [(2,), (2, 2), (3,), (3, 3)]": lambda: frechet_distance(
        Moments(np.zeros(2), np.eye(2)), Moments(np.zeros(3), np.eye(3))
    ),
}


test_bad_input_is_named = refusals(BAD)
