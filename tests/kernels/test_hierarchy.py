"""Hierarchies against their definition, leaks of steps against a count on the same points."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kernels.test_compilation import compilations
from tests.refusals import refusals
from tests.significance import check_proportion, check_rejects
from theory import batches
from theory.estimate import Estimate
from theory.hierarchy import (
    Hierarchy,
    level_leaks,
    sparsemax_hierarchy,
    step_leak,
    total_leak,
)
from theory.transport import SparsemaxMap, sparsemax, sparsemax_leak

RNG = np.random.default_rng(71)

images = jax.jit(jax.vmap(lambda transport, x: transport(x), (None, 0)))


def image(transport, x: np.ndarray) -> np.ndarray:
    return np.asarray(images(transport, jnp.asarray(x)))


class Level(eqx.Module):
    """x ↦ sparsemax(Ax)."""

    matrix: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        return sparsemax(self.matrix @ x)


def levels() -> tuple[Level, Level]:
    """Two maps onto 3 vertices, of R² and of R⁴."""
    return tuple(Level(jnp.asarray(2 * RNG.normal(size=(3, n)))) for n in (2, 4))


def drawn(key: jax.Array, samples: int, dimension: int) -> np.ndarray:
    """The points that a count of so many is made on."""
    dtype = jnp.zeros(()).dtype
    parts = [np.asarray(x)[:live] for x, live in batches.draws(key, samples, dimension, dtype)]
    return np.concatenate(parts)


# The map


def test_a_block_hierarchy_puts_its_steps_side_by_side():
    one, two = levels()
    hierarchy, x = Hierarchy([one, two], [2, 4]), RNG.normal(size=(20, 6))
    assert hierarchy.dimension == 6
    wanted = np.concatenate([image(one, x[:, :2]), image(two, x[:, 2:])], axis=1)
    np.testing.assert_allclose(image(hierarchy, x), wanted, rtol=1e-13, atol=1e-15)
    steps = hierarchy.steps(jnp.asarray(x[0]))
    np.testing.assert_allclose(np.concatenate(steps), wanted[0], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("ratio", [0.1, 0.49])
def test_a_nested_hierarchy_adds_its_steps_ever_smaller(ratio: float):
    one, two = levels()
    maps, cuts = (one, two, one), np.cumsum([2, 4])
    hierarchy, x = Hierarchy(maps, [2, 4, 2], ratio), RNG.normal(size=(20, 8))
    parts = zip(maps, np.split(x, cuts, axis=1), strict=True)
    wanted = sum(ratio**k * image(level, part) for k, (level, part) in enumerate(parts))
    np.testing.assert_allclose(image(hierarchy, x), wanted, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("ratio", [None, 0.4])
def test_sparsemax_hierarchies_have_levels_of_m_branches(ratio: float | None):
    hierarchy, x = sparsemax_hierarchy(125, 3, 2.5, ratio), RNG.normal(size=(10, 15))
    assert hierarchy.sizes == (5, 5, 5)
    assert hierarchy.ratio == ratio
    steps = [image(SparsemaxMap(2.5), part) for part in np.split(x, 3, axis=1)]
    sizes = [1, 0.4, 0.16]
    wanted = np.concatenate(steps, 1) if ratio is None else sum(map(np.multiply, sizes, steps))
    np.testing.assert_allclose(image(hierarchy, x), wanted, rtol=1e-13, atol=1e-15)


def test_one_level_is_its_map():
    x = RNG.normal(size=(10, 4))
    wanted = image(SparsemaxMap(3.0), x)
    for ratio in (None, 0.4):
        np.testing.assert_array_equal(image(sparsemax_hierarchy(4, 1, 3.0, ratio), x), wanted)


# The leaks


@pytest.mark.parametrize("radius", [0.0, 0.3])
@pytest.mark.parametrize(
    "samples", [*(pytest.param(n, marks=pytest.mark.slow) for n in (2, 700)), 2500]
)
def test_leaks_are_counted_on_all_of_the_points_drawn(radius: float, samples: int):
    """2500 points are three chunks and a part of one that does not count."""
    one, two = levels()
    found = level_leaks(
        jax.random.key(3), Hierarchy([one, two], [2, 4]), samples=samples, radius=radius
    )
    x = drawn(jax.random.key(3), samples, 6)
    assert len(x) == samples
    off = []
    for level, part in ((one, x[:, :2]), (two, x[:, 2:])):
        apart = np.linalg.norm(image(level, part)[:, None] - np.eye(3), axis=2).min(axis=1)
        off.append(apart > radius + 1e-6)
    rates = np.mean(off, axis=1)
    np.testing.assert_allclose(found.steps.value, rates, rtol=1e-14)
    np.testing.assert_allclose(found.steps.sem, np.sqrt(rates * (1 - rates) / samples), rtol=1e-14)
    assert float(found.total.value) == pytest.approx(np.any(off, axis=0).mean(), rel=1e-14)
    assert found.steps.count == found.total.count == samples
    if samples > 2:
        assert 0 < rates.min() < rates.max() < 1


def test_longer_runs_begin_with_shorter_ones():
    """A chunk of 1024 rows is drawn by its number, so the first ones are common."""
    short, long = (drawn(jax.random.key(4), samples, 6) for samples in (1500, 4000))
    np.testing.assert_array_equal(long[:1500], short)


def test_a_nested_hierarchy_leaks_as_its_blocks():
    found = [
        level_leaks(jax.random.key(5), sparsemax_hierarchy(16, 2, 6.0, ratio), samples=5000)
        for ratio in (None, 0.2, 0.4)
    ]
    for one in found[1:]:
        np.testing.assert_array_equal(one.steps.value, found[0].steps.value)
        assert float(one.total.value) == float(found[0].total.value)


@pytest.mark.parametrize("x64", [False, True])
def test_float32_meets_its_vertices_too(x64: bool):
    with jax.enable_x64(x64):
        hierarchy = sparsemax_hierarchy(8, 3, 20.0)
        got = level_leaks(jax.random.key(6), hierarchy, samples=100_000)
        assert drawn(jax.random.key(7), 2, 6).dtype == (np.float64 if x64 else np.float32)
    wanted = sparsemax_leak(2, 20.0)
    for rate in got.steps.value:
        check_proportion(Estimate(rate, count=100_000), wanted, resolution=0.15)
    check_proportion(got.total, total_leak(wanted, 3), resolution=0.1)
    check_rejects(check_proportion, got.total, wanted)


def test_other_values_compile_nothing():
    with jax.debug_key_reuse(False):  # the checker itself traces at every call
        level_leaks(jax.random.key(8), sparsemax_hierarchy(9, 2, 3.0), samples=2000)
        with compilations() as said:
            hierarchy = sparsemax_hierarchy(9, 2, 7.0)
            level_leaks(jax.random.key(9), hierarchy, samples=1500)
    assert [line for line in said if "_missed" in line] == []


# Putting leaks together


@given(log=st.floats(-300, -0.01), depth=st.integers(1, 40))
def test_sharing_out_is_inverse_to_putting_together(log: float, depth: int):
    leak = 10.0**log
    assert total_leak(step_leak(leak, depth), depth) == pytest.approx(leak, rel=1e-13)
    assert leak / depth <= step_leak(leak, depth) * (1 + 1e-15)


@pytest.mark.parametrize("leak", [0.3, 1e-9, 1e-200])
@pytest.mark.parametrize("depth", [1, 2, 7])
def test_small_leaks_keep_their_digits(leak: float, depth: int):
    with mpmath.workdps(250):
        step = 1 - (1 - mpmath.mpf(leak)) ** (mpmath.mpf(1) / depth)
        total = 1 - (1 - mpmath.mpf(leak)) ** depth
    assert step_leak(leak, depth) == pytest.approx(float(step), rel=1e-14)
    assert total_leak(leak, depth) == pytest.approx(float(total), rel=1e-14)


PAIR = sparsemax_hierarchy(4, 2, 1.0)
LEVEL = SparsemaxMap(1.0)
KEY = jax.random.key(0)
BAD = {
    "expected a size for each level, got 0 and 0": lambda: Hierarchy([], []),
    "expected a size for each level, got 1 and 2": lambda: Hierarchy([LEVEL], [2, 2]),
    "unless 0 < ratio < 1/2, got 0.5": lambda: Hierarchy([LEVEL], [2], 0.5),
    "unless 0 < ratio < 1/2, got 0.0": lambda: sparsemax_hierarchy(4, 2, 1.0, 0.0),
    "unless 0 < ratio < 1/2, got -0.1": lambda: sparsemax_hierarchy(4, 2, 1.0, -0.1),
    "unless 0 < ratio < 1/2, got nan": lambda: sparsemax_hierarchy(4, 2, 1.0, math.nan),
    "m ≥ 2, got modes=10, depth=2": lambda: sparsemax_hierarchy(10, 2, 1.0),
    "m ≥ 2, got modes=4, depth=3": lambda: sparsemax_hierarchy(4, 3, 1.0),
    "modes must be an integer ≥ 2, got 1": lambda: sparsemax_hierarchy(1, 1, 1.0),
    "modes must be an integer ≥ 2, got 4.0": lambda: sparsemax_hierarchy(4.0, 2, 1.0),
    "depth must be an integer ≥ 1, got 0": lambda: sparsemax_hierarchy(4, 0, 1.0),
    "depth must be an integer ≥ 1, got True": lambda: sparsemax_hierarchy(4, True, 1.0),
    "stiffness must be a positive finite number, got 0.0": lambda: sparsemax_hierarchy(4, 2, 0.0),
    "stiffness must be a positive finite number, got inf": lambda: sparsemax_hierarchy(
        4, 2, math.inf
    ),
    "samples must be an integer ≥ 2, got 1": lambda: level_leaks(KEY, PAIR, samples=1),
    "samples must be an integer ≥ 2, got 2.5": lambda: level_leaks(KEY, PAIR, samples=2.5),
    "overlapping modes: need 0 ≤ radius < 0.7071, got 0.75": lambda: level_leaks(
        KEY, PAIR, samples=9, radius=0.75
    ),
    "need 0 ≤ radius < 0.7071, got -0.1": lambda: level_leaks(KEY, PAIR, samples=9, radius=-0.1),
    "need 0 ≤ radius < 0.7071, got nan": lambda: level_leaks(KEY, PAIR, samples=9, radius=math.nan),
    "leak must lie in (0, 1), got 0.0": lambda: step_leak(0.0, 2),
    "leak must lie in (0, 1), got 1.0": lambda: total_leak(1.0, 2),
    "leak must lie in (0, 1), got nan": lambda: total_leak(math.nan, 2),
    "leak must lie in (0, 1), got -0.1": lambda: step_leak(-0.1, 2),
    "depth must be an integer ≥ 1, got -1": lambda: step_leak(0.1, -1),
    "depth must be an integer ≥ 1, got -2": lambda: total_leak(0.1, -2),
}


test_bad_input_is_named = refusals(BAD)
