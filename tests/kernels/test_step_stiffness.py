"""Stiffness of sampler steps: against differences, and the chain rule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.kernels.test_sampler import CHAIN, TABLE
from tests.refusals import refusals
from theory.denoiser import MixtureDenoiser
from theory.language import Language
from theory.mixture import Mixture
from theory.sampler import plan, roll, times
from theory.step_stiffness import step_stiffness
from theory.terminal import RECTIFIED_FLOW

LANGUAGE = Language(CHAIN, TABLE)
Z = jax.random.normal(jax.random.key(0), (5, 4, 2))


def differenced(steps, z: jax.Array) -> float:
    """The largest ‖D‖ by central differences."""
    moves = np.concatenate([np.eye(8), -np.eye(8)]).reshape(16, 4, 2) * 1e-5
    largest = 0.0
    for one in z:
        ends = roll(jax.random.key(1), LANGUAGE.denoiser(), steps, one + jnp.asarray(moves))
        rows = np.asarray(ends).reshape(16, 8)
        largest = max(largest, float(np.linalg.norm((rows[:8] - rows[8:]) / 2e-5, 2)))
    return largest


@pytest.mark.slow
def test_norms_are_those_of_differences_and_obey_the_chain_rule():
    steps = plan("exact", RECTIFIED_FLOW, times("uniform", 3))
    found = step_stiffness(LANGUAGE.denoiser(), steps, Z)
    z = Z
    for step, got in zip(steps, found.steps, strict=True):
        np.testing.assert_allclose(got, differenced([step], z), rtol=1e-6)
        z = roll(jax.random.key(3), LANGUAGE.denoiser(), [step], z)
    np.testing.assert_allclose(found.whole, differenced(steps, Z), rtol=1e-6)
    np.testing.assert_allclose(found.ends, z, rtol=1e-6)
    assert found.whole <= np.prod(found.steps)
    assert found.peak == found.steps.max()


def test_of_gaussian_data_it_is_the_contraction():
    gaussian = MixtureDenoiser(Mixture(jnp.zeros((1, 3)), 1.0))
    steps = plan("exact", RECTIFIED_FLOW, [1.0, 0.5, 0.0])
    z = jax.random.normal(jax.random.key(4), (4, 1, 3))
    found = step_stiffness(gaussian, steps, z)
    np.testing.assert_allclose(found.steps, [0.5, 1.0], rtol=1e-6)


BAD = {
    "expected steps of a deterministic sampler": lambda: step_stiffness(
        LANGUAGE.denoiser(),
        plan("ancestral", RECTIFIED_FLOW, times("uniform", 2)),
        Z,
    )
}
test_bad_input_is_named_on_one_line = refusals(BAD)
