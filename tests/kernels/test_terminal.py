"""Schedules, and the terminal step against Bayes by quadrature and against each other."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.significance import check_mean, check_rejects
from tests.strategies import scales
from theory.estimate import from_samples
from theory.gaussian import composite_legendre
from theory.mixture import Mixture
from theory.terminal import (
    RECTIFIED_FLOW,
    SCHEDULES,
    VARIANCE_PRESERVING,
    noise_to_signal,
    noised,
    terminal_step,
    time_of,
)

LAW = Mixture(np.array([[-1.0], [0.5], [2.0]]), np.array([0.3, 0.6, 0.2]), [0.5, 0.2, 0.3])
PLANE = Mixture(np.array([[-1.0, 0.0], [0.5, 1.0]]), np.array([0.3, 0.6]))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name)
def test_the_step_is_bayes_rule(schedule):
    """E[Z | z_t] = ∫ z p(z) N(z_t; α z, σ²) dz over the same without z."""
    z, weights = composite_legendre(-8.0, 9.0, panels=400)
    density = np.exp(np.asarray(LAW.log_density(jnp.asarray(z[:, None])))) * weights
    for time, seen in ((0.05, -0.8), (0.4, 0.9), (0.9, 0.3)):
        alpha, sigma = schedule.signal(time), schedule.noise(time)
        posterior = density * np.exp(-((seen - alpha * z) ** 2) / (2 * sigma**2))
        exact = float(z @ posterior / posterior.sum())
        got = terminal_step(LAW, jnp.array([seen]), schedule, time)
        assert float(got[0]) == pytest.approx(exact, abs=1e-9)


@given(scale=scales(2.0))
def test_schedules_agree_at_equal_noise_to_signal(scale: float):
    times = [time_of(schedule, scale) for schedule in SCHEDULES]
    x = jnp.array([[0.3, -0.7], [1.4, 0.2]])
    steps = []
    for schedule, time in zip(SCHEDULES, times, strict=True):
        assert noise_to_signal(schedule, time) == pytest.approx(scale, rel=1e-9)
        noisy = schedule.signal(time) * x
        steps.append(np.asarray(terminal_step(PLANE, noisy, schedule, time)))
    np.testing.assert_allclose(steps[0], steps[1], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(steps[0], np.asarray(PLANE.posterior_mean(x, scale)), atol=1e-9)


@given(time=st.floats(0.01, 0.99))
def test_schedules_are_what_they_are_called(time: float):
    assert RECTIFIED_FLOW.signal(time) + RECTIFIED_FLOW.noise(time) == pytest.approx(1)
    square = VARIANCE_PRESERVING.signal(time) ** 2 + VARIANCE_PRESERVING.noise(time) ** 2
    assert square == pytest.approx(1)


def test_noised_latents_have_the_variance_of_their_schedule():
    latents = jnp.ones((200_000, 1))
    for number, schedule in enumerate(SCHEDULES):
        noisy = np.asarray(noised(jax.random.key(number), latents, schedule, 0.3))[:, 0]
        residual = (noisy - schedule.signal(0.3)) ** 2
        check_mean(from_samples(residual), schedule.noise(0.3) ** 2, resolution=0.05)
        check_rejects(check_mean, from_samples(residual), 1.1 * schedule.noise(0.3) ** 2)


@pytest.mark.parametrize("time", [0.0, 1.0, -0.1, math.nan])
def test_times_out_of_range_are_refused(time: float):
    calls = (
        lambda: noise_to_signal(RECTIFIED_FLOW, time),
        lambda: terminal_step(LAW, jnp.zeros(1), RECTIFIED_FLOW, time),
        lambda: noised(jax.random.key(0), jnp.zeros(1), RECTIFIED_FLOW, time),
    )
    for call in calls:
        with pytest.raises(ValueError, match=r"^time must lie in \(0, 1\), got"):
            call()


@pytest.mark.usefixtures("unchecked")
def test_other_bad_input_is_refused():
    with pytest.raises(ValueError, match="scale must be a positive finite number"):
        time_of(RECTIFIED_FLOW, 0.0)
    with pytest.raises(ValueError, match=r"latents must be floating, at least one, got int"):
        noised(jax.random.key(0), jnp.zeros(1, jnp.int32), RECTIFIED_FLOW, 0.5)
    with pytest.raises(ValueError, match=r"expected points of shape \(…, 1\)"):
        terminal_step(LAW, jnp.zeros(3), RECTIFIED_FLOW, 0.5)
