"""The commit ablation: tokens fed back say the chain, averages do not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.kernels.test_commitment import chance
from tests.kernels.test_markov_chain import CHAIN
from tests.refusals import refusals
from tests.significance import check_mean
from theory.commitment import bisection, left_to_right
from theory.feedback import feed_back, quality
from theory.forward_backward import gaussian_evidence, token_posteriors
from theory.language import Language, dirichlet_pairs
from theory.markov_chain import dirichlet_chain

FAILURE = 1e-9
TABLE = 2 * np.eye(3)
SPOKEN = Language(CHAIN, jnp.asarray(TABLE))
COUNT = 1 << 15


def fresh(number: int) -> jax.Array:
    return jax.random.fold_in(jax.random.key(41), number)


def said(number: int, order, **options) -> np.ndarray:
    latents = feed_back(fresh(number), SPOKEN, order, sequences=COUNT, **options)
    return np.asarray(SPOKEN.read(latents))


@pytest.mark.parametrize("order", [bisection, left_to_right], ids=lambda order: order.__name__)
def test_hard_feedback_has_the_law_of_the_chain(order):
    assert chance(said(0, order(4))) > FAILURE


@pytest.mark.parametrize("options", [{"softness": 1.0, "prompt": 1}, {"read": 4.0}], ids=str)
def test_soft_feedback_and_blurred_reading_do_not(options: dict):
    assert chance(said(1, bisection(4), **options)) < FAILURE


@pytest.mark.slow
def test_soft_feedback_draws_nothing_but_its_prompt():
    latents = np.asarray(feed_back(fresh(2), SPOKEN, bisection(4), sequences=50, softness=1.0))
    np.testing.assert_array_equal(latents, np.broadcast_to(latents[:1], latents.shape))
    mean = np.asarray(CHAIN.initial) @ np.linalg.matrix_power(CHAIN.transition, 2) @ TABLE
    np.testing.assert_allclose(latents[0, 2], mean, atol=1e-9)
    begun = feed_back(fresh(3), SPOKEN, left_to_right(4), sequences=200, softness=1.0, prompt=1)
    tokens = np.asarray(SPOKEN.read(begun))
    assert len(np.unique(tokens, axis=0)) == len(np.unique(tokens[:, 0])) > 1
    np.testing.assert_array_equal(np.asarray(begun)[:, 0], TABLE[tokens[:, 0]])
    seen = gaussian_evidence(begun[:, :1], TABLE, 1.0, 0.25)
    evidence = jnp.concatenate([seen, jnp.zeros_like(seen)], axis=1)
    mean = np.asarray(token_posteriors(CHAIN, evidence))[:, 1] @ TABLE
    np.testing.assert_allclose(np.asarray(begun)[:, 1], mean, atol=1e-9)


def test_between_hard_and_soft_the_latent_is_between():
    part, hard, soft = (
        np.asarray(feed_back(fresh(4), SPOKEN, [np.arange(1)], sequences=20, softness=x))
        for x in (0.25, 0.0, 1.0)
    )
    np.testing.assert_allclose(part, 0.75 * hard + 0.25 * soft, atol=1e-12)


@pytest.mark.slow
def test_quality_of_hard_and_soft():
    """Hard has the truth; soft, which always says the same after the same, loses entropy."""
    language = Language(dirichlet_chain(fresh(5), 12, 0.3), 3 * jnp.eye(12))
    latents = [
        feed_back(fresh(6), language, bisection(8), sequences=4096, softness=x, prompt=1)
        for x in (0.0, 1.0)
    ]
    hard, soft = (quality(language, language.read(z)) for z in latents)
    check_mean(hard.perplexity, language.truth(8), resolution=0.1)
    law = language.unigram()
    check_mean(hard.entropy, -(law * np.log(law)).sum(), resolution=0.05)
    assert soft.entropy.interval().upper < hard.entropy.interval().lower


@pytest.mark.slow
def test_a_language_of_pairs_is_read_through_its_tokens():
    language = Language(dirichlet_pairs(fresh(7), 3, 0.5), 3 * jnp.eye(3), order=2)
    tokens = language.read(feed_back(fresh(8), language, left_to_right(6), sequences=4096))
    check_mean(quality(language, tokens).perplexity, language.truth(6), resolution=0.1)


def refused(order=None, **options):
    options = {"sequences": 4} | options
    return feed_back(fresh(0), SPOKEN, bisection(3) if order is None else order, **options)


BAD = {
    "sequences must be an integer ≥ 1, got 0": lambda: refused(sequences=0),
    "every position 0 … L−1 once, got [0, 2]": lambda: refused([np.array([0, 2])]),
    "every position 0 … L−1 once, got []": lambda: refused([]),
    "softness lies in [0, 1], got 1.5": lambda: refused(softness=1.5),
    "softness lies in [0, 1], got nan": lambda: refused(softness=float("nan")),
    "read must be a positive finite number, got 0": lambda: refused(read=0),
    "prompt must be an integer ≥ 0, got -1": lambda: refused(prompt=-1),
    "no sequence of the chain is near these latents": lambda: refused(softness=1.0, read=1e-200),
}


test_bad_input_is_named_on_one_line = refusals(BAD)
