"""Leads against sorted entries on the same points, the least Λ against order statistics."""

import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.kernels.test_compilation import compilations
from tests.refusals import refusals
from tests.significance import check_proportion, check_rejects
from tests.strategies import scales
from theory import batches
from theory.estimate import proportion
from theory.leak import leads, leak, reaching_stiffness
from theory.transport import SparsemaxMap, sparsemax_leak, sparsemax_stiffness

RNG = np.random.default_rng(72)


class Matrix(eqx.Module):
    """x ↦ Ax."""

    matrix: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.matrix @ x


TALL = Matrix(jnp.asarray(RNG.normal(size=(5, 3))))


def drawn(key: jax.Array, samples: int, dimension: int, dtype: str) -> np.ndarray:
    """The points of which so many leads are."""
    fresh = batches.draws(key, samples, dimension, jnp.dtype(dtype))
    return np.concatenate([np.asarray(x)[:live] for x, live in fresh])


# Leads


@pytest.mark.parametrize("samples", [2, 700, 2500])
def test_leads_are_the_gap_between_the_two_largest_entries(samples: int):
    """2500 points are three chunks, and of the last one only a part counts."""
    got = leads(jax.random.key(1), TALL, samples=samples, dimension=3)
    x = drawn(jax.random.key(1), samples, 3, "float64")
    ordered = np.sort(x @ np.asarray(TALL.matrix).T, axis=1)
    assert got.shape == (samples,)
    np.testing.assert_allclose(got, ordered[:, -1] - ordered[:, -2], atol=1e-14)


def test_longer_runs_begin_with_shorter_ones():
    short, long = (leads(jax.random.key(2), TALL, samples=n, dimension=3) for n in (1500, 4000))
    np.testing.assert_array_equal(long[:1500], short)


@pytest.mark.parametrize("stiffness", [0.5, 3.0, 40.0])
def test_a_lead_of_one_over_the_stiffness_is_a_vertex(stiffness: float):
    """On the same points, so that the counts are equal and not only near."""
    found = leads(jax.random.key(3), lambda x: x, samples=5000, dimension=4)
    options = {"radius": 0.0, "samples": 5000, "dimension": 4}
    lost = leak(jax.random.key(3), SparsemaxMap(stiffness), np.eye(4), **options).leak
    assert np.min(np.abs(found * stiffness - 1)) > 1e-5  # the allowance of a vertex is 1e-6
    assert float(lost.value) == np.mean(found < 1 / stiffness)
    check_proportion(
        proportion(int(np.sum(found < 1 / stiffness)), 5000), sparsemax_leak(4, stiffness)
    )


@pytest.mark.parametrize(("shift", "lead"), [((0, 0, -1), 0), ((0, -2, -2), 2)])
def test_leads_where_entries_are_equal(shift: tuple[int, ...], lead: float):
    features = lambda x: x[0] + jnp.asarray(shift)  # noqa: E731
    got = leads(jax.random.key(4), features, samples=9, dimension=1)
    np.testing.assert_allclose(got, lead, rtol=1e-14)


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("dtype", ["float32", None])
def test_leads_follow_the_dtype_asked_for(x64: bool, dtype: str | None):
    with jax.enable_x64(x64):
        narrow = dtype == "float32" or not x64
        got = leads(jax.random.key(6), lambda x: x, samples=3000, dimension=8, dtype=dtype)
        assert got.dtype == (np.float32 if narrow else np.float64)
        x = drawn(jax.random.key(6), 3000, 8, got.dtype.name)
    ordered = np.sort(x.astype(np.float64), axis=1)
    np.testing.assert_allclose(got, ordered[:, -1] - ordered[:, -2], atol=1e-6)


def test_other_values_compile_nothing():
    with jax.debug_key_reuse(False):  # the checker itself traces at every call
        leads(jax.random.key(7), TALL, samples=2000, dimension=3)
        with compilations() as said:
            leads(jax.random.key(8), Matrix(2 * TALL.matrix), samples=1500, dimension=3)
    assert [line for line in said if "_leads" in line] == []


# The least Λ


@pytest.mark.parametrize(("count", "share"), [(400, 0.1), (1000, 0.5), (5000, 0.003)])
@pytest.mark.parametrize("failure", [0.05, 1e-3])
def test_the_ends_are_the_nearest_order_statistics_that_may_be(
    count: int, share: float, failure: float
):
    """One further in, and a side would miss more often than half of the failure probability."""
    found = RNG.exponential(size=count)
    got = reaching_stiffness(RNG.permutation(found), share, failure)
    ordered = np.sort(found)
    ((high,), (low,)) = (np.flatnonzero(1 / ordered == end) for end in got.interval)
    below = stats.binom(count, share)
    # Missed when at most `low` leads are below the truth, or more than `high`.
    assert below.cdf(low) <= failure / 2 < below.cdf(low + 1)
    assert below.sf(high) <= failure / 2 < below.sf(high - 1)
    middle = np.argmin(np.abs(ordered - 1 / got.value))
    assert middle + 1 == round(count * share)
    assert got.interval.lower < got.value < got.interval.upper


@given(factor=scales(3.0), share=st.floats(0.1, 0.9))
def test_the_stiffness_is_inverse_to_the_unit_of_the_leads(factor: float, share: float):
    found = np.random.default_rng(0).exponential(size=500)
    one = reaching_stiffness(found, share)
    other = reaching_stiffness(factor * found.reshape(50, 10), share)
    wanted = np.array([one.value, *one.interval]) / factor
    np.testing.assert_allclose([other.value, *other.interval], wanted, rtol=1e-14)


def test_less_leak_needs_more_and_more_certainty_is_wider():
    found = np.random.default_rng(1).exponential(size=20_000)
    reached = [reaching_stiffness(found, share) for share in (0.3, 0.1, 0.03)]
    for less, more in itertools.pairwise(reached):
        assert less.interval.upper < more.interval.lower
    nested = [reaching_stiffness(found, 0.1, failure).interval for failure in (0.1, 1e-3, 1e-9)]
    for inner, outer in itertools.pairwise(nested):
        assert outer.lower < inner.lower < inner.upper < outer.upper


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_stiffness_of_sparsemax_is_reached(dtype: str):
    found = leads(jax.random.key(9), lambda x: x, samples=200_000, dimension=4, dtype=dtype)
    got = reaching_stiffness(found, 0.1)
    exact = sparsemax_stiffness(4, 0.1)
    assert got.interval.contains(exact)
    assert not got.interval.contains(1.06 * exact)
    assert got.value == pytest.approx(exact, rel=0.03)
    lost = proportion(int(np.sum(found < 1 / exact)), found.size)
    check_proportion(lost, 0.1, resolution=0.05)
    check_rejects(check_proportion, lost, 0.11)


def draw(features=lambda x: x, samples: int = 9, dimension: int = 2) -> np.ndarray:
    return leads(jax.random.key(10), features, samples=samples, dimension=dimension)


SPREAD = np.linspace(0.1, 1, 1000)
BAD = {
    "samples must be an integer ≥ 2, got 1": lambda: draw(samples=1),
    "dimension must be an integer ≥ 1, got 0": lambda: draw(dimension=0),
    "at least two entries, all finite, got NaN or infinity": lambda: draw(dimension=1),
    "all finite, got NaN or infinity": lambda: draw(lambda x: x / jnp.zeros(2)),
    "a transport maps (2,) to a floating (d,), got float64 ()": lambda: draw(lambda x: x[0]),
    "leak must lie in (0, 1), got 0": lambda: reaching_stiffness(SPREAD, 0),
    "leak must lie in (0, 1), got 1.0": lambda: reaching_stiffness(SPREAD, 1.0),
    "leak must lie in (0, 1), got nan": lambda: reaching_stiffness(SPREAD, math.nan),
    "a failure probability lies in (0, 1), got 0": lambda: reaching_stiffness(SPREAD, 0.1, 0),
    "a failure probability lies in (0, 1), got 1": lambda: reaching_stiffness(SPREAD, 0.1, 1),
    "leads are finite and ≥ 0, got 0 of them": lambda: reaching_stiffness([], 0.1),
    "leads are finite and ≥ 0, got 1001 of them": lambda: reaching_stiffness([*SPREAD, -0.1], 0.1),
    "leads are finite and ≥ 0, got 2 of them": lambda: reaching_stiffness([0.5, math.inf], 0.1),
    "leads are finite and ≥ 0, got 3 of them": lambda: reaching_stiffness(
        [1.0, 2.0, math.nan], 0.1
    ),
    "1000 leads are too few for an interval at leak 0.001": lambda: reaching_stiffness(
        SPREAD, 0.001
    ),
    "1000 leads are too few for an interval at leak 0.999": lambda: reaching_stiffness(
        SPREAD, 0.999
    ),
    "at leak 0.1 and failure probability 1e-300": lambda: reaching_stiffness(SPREAD, 0.1, 1e-300),
}


test_bad_input_is_named = refusals(BAD)
