"""Cases that only a nearly right kernel gets wrong: those that `make mutants` found unguarded."""

import jax
import numpy as np
import pytest

from tests.kernels.test_bridge_byte_pairs import byte_pairs
from theory import latent_law
from theory.bridge.torch_tensors import named
from theory.mixture import Mixture


def test_a_held_out_latent_that_differs_in_the_sign_of_a_zero_is_a_repetition():
    rng = np.random.default_rng(0)
    training, held_out = rng.normal(size=(6, 2)), rng.normal(size=(5, 2))
    training[0, 0], held_out[0] = -0.0, [0.0, training[0, 1]]
    training[1, 0], held_out[1] = 0.0, [-0.0, training[1, 1]]
    assert latent_law.fit(training, held_out).repeated == 2


def test_the_score_is_the_slope_of_the_log_density_and_what_tweedie_adds():
    """At variances v_i that are neither 1 nor equal, so that v and 1/v are told apart."""
    law = Mixture(
        np.array([[0.0, 1.0], [-2.0, 0.5], [1.5, -1.0]]), [0.3, 0.8, 1.6], [0.2, 0.5, 0.3]
    )
    x, scale = np.array([0.4, -0.7]), 0.6
    score = np.asarray(law.score(x, scale))
    slope = jax.grad(lambda point: law.log_density(point, scale))(x)
    np.testing.assert_allclose(score, slope, rtol=1e-12)
    moved = np.asarray(law.posterior_mean(x, scale)) - x
    np.testing.assert_allclose(scale**2 * score, moved, rtol=1e-12)


def test_no_token_is_negative():
    pairs = byte_pairs()
    assert pairs.decode([0])
    with pytest.raises(ValueError, match=r"tokens lie in \[0, \d+\), got -1 to 0"):
        pairs.decode([0, -1])


def test_a_walk_through_containers_has_as_many_steps_as_it_says():
    """One into the list, one an entry, one out of each of two levels: 2²⁰ in all, or one more."""
    assert named([None] * (2**20 - 3)) == {}
    with pytest.raises(ValueError, match="more than 1048576 steps"):
        named([None] * (2**20 - 2))
