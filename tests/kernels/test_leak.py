"""Leak and masses of ramps in closed form, and counts of points in balls."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.kernels.maps import Matrix, Ramp, network
from tests.refusals import refusals
from tests.significance import check_proportion, check_rejects
from theory.estimate import Estimate, proportion_interval
from theory.leak import count_leak, leak

RNG = np.random.default_rng(21)
ENDS = np.array([[0.0], [1.0]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("radius", [0.0, 0.2])
def test_leak_of_a_ramp(dtype: type, radius: float):
    slope, samples = 3.0, 300_000
    exact = 2 * stats.norm.cdf((0.5 - radius) / slope) - 1
    got = leak(
        jax.random.key(9),
        Ramp(jnp.asarray(slope, dtype)),
        ENDS.astype(dtype),
        radius=radius,
        samples=samples,
        dimension=1,
    )
    assert got.count == samples == got.leak.count
    check_proportion(got.leak, exact, resolution=0.05)
    check_rejects(check_proportion, got.leak, 1.06 * exact)
    assert got.leak_interval().contains(exact)
    assert got.mass_intervals().contains((1 - exact) / 2).all()
    assert not got.mass_intervals().contains((1 - exact) / 2 + 0.01).any()
    assert got.leak.value + got.masses.value.sum() == pytest.approx(1, abs=1e-12)


def test_mass_intervals_share_the_failure_probability():
    got = count_leak(Ramp(jnp.asarray(1.0)), ENDS, RNG.normal(size=(500, 1)), 0.1)
    single = proportion_interval(Estimate(got.masses.value[1], count=500), 0.01)
    both = got.mass_intervals(0.02)
    assert (both.lower[1], both.upper[1]) == single


def test_leak_counts_points_in_balls():
    transport, modes = network(RNG, 5, 20, 3), RNG.normal(size=(4, 3))
    x = RNG.normal(size=(3000, 5))
    distance = np.linalg.norm(
        np.asarray(jax.vmap(transport)(jnp.asarray(x)))[:, None] - modes, axis=2
    )
    radius = 0.49 * min(np.linalg.norm(modes[i] - modes[j]) for i in range(4) for j in range(i))
    got = count_leak(transport, modes, x, radius)
    np.testing.assert_allclose(
        got.masses.value * 3000, (distance <= radius).sum(axis=0), rtol=1e-12
    )
    assert got.leak.value * 3000 == pytest.approx((distance > radius).all(axis=1).sum())


@pytest.mark.parametrize("x64", [False, True])
def test_point_modes_are_met_through_float32_rounding(x64: bool):
    with jax.enable_x64(x64):
        vertices = (10 * RNG.normal(size=(8, 30))).astype(np.float32)

        def commit(x: jax.Array) -> jax.Array:
            chosen = jax.nn.one_hot(jnp.argmax(x), 8, dtype=x.dtype)
            return (jnp.asarray(vertices).T @ (0.3 * chosen)) / 0.3

        x = RNG.normal(size=(500, 8)).astype(np.float32)
        assert not np.isin(np.asarray(jax.vmap(commit)(x)), vertices).all()
        assert count_leak(commit, vertices, x, 0.0).leak.value == 0
        assert count_leak(lambda x: 1.0001 * commit(x), vertices, x, 0.0).leak.value == 1


def test_a_single_mode_overlaps_none():
    got = count_leak(Ramp(jnp.asarray(1.0)), ENDS[:1], np.array([[-9.0], [9.0]]), 0.9)
    assert (got.leak.value, got.masses.value.tolist()) == (0.5, [0.5])


KEY, POINTS, FLAT = jax.random.key(12), np.zeros((2, 3)), Matrix(jnp.zeros((2, 3)))
PAIR = np.array([[0.0, 0.0], [1.0, 0.0]])
BAD: dict[str, Callable] = {
    "radius must be a finite number ≥ 0, got -0.1": lambda: count_leak(FLAT, PAIR, POINTS, -0.1),
    "overlapping modes: radius 0.5, and centres 1 apart": lambda: count_leak(
        FLAT, PAIR, POINTS, 0.5
    ),
    "centres 0 apart": lambda: count_leak(FLAT, np.zeros((2, 2)), POINTS, 0.0),
    "modes must be finite": lambda: count_leak(FLAT, np.full((2, 2), math.inf), POINTS, 0.0),
    "modes lie in R^3, but T maps to R^2": lambda: count_leak(FLAT, np.eye(3), POINTS, 0.1),
    "T must be finite": lambda: count_leak(lambda x: jnp.log(x[:2]), PAIR, POINTS - 1, 0.1),
    "samples must be an integer ≥ 2, got 1": lambda: leak(
        KEY, FLAT, PAIR, radius=0.1, samples=1, dimension=3
    ),
}


test_bad_input_is_named = refusals(BAD)
