"""The optimal map of a line: leak by symmetry at few modes, cores by Φ, no better set of gaps."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import optimize, stats

from tests.refusals import refusals
from tests.significance import check_proportion, check_rejects
from tests.strategies import reals, scales
from theory import bound, perimeter
from theory.estimate import Estimate
from theory.gaussian import normal
from theory.transport import LineMap, line_leak, optimal_line, sparsemax_leak

BARRIER = math.sqrt(2)
CASES = [(2, 0.7), (3, 4.0), (4, 1.0), (8, 5.0), (64, 100.0)]  # M, Λ

images = jax.jit(jax.vmap(lambda transport, x: transport(x), (None, 0)))


def image(transport: LineMap, x: np.ndarray) -> np.ndarray:
    return np.asarray(images(transport, jnp.asarray(x)[:, None]))


def cores(starts: np.ndarray, width: float) -> np.ndarray:
    """Masses of what lies between the gaps; from the nearer tail, so that small ones are right."""
    left = np.append(-np.inf, starts + width)
    right = np.append(starts, np.inf)
    below = stats.norm.cdf(right) - stats.norm.cdf(left)
    return np.where(left > 0, stats.norm.sf(left) - stats.norm.sf(right), below)


# The leak


@given(stiffness=scales(3.0))
def test_two_modes_leak_as_sparsemax_and_as_the_floor(stiffness: float):
    """The floor is attained, so no map of R^n leaks less than one of R."""
    leak = line_leak(2, stiffness)
    assert leak == pytest.approx(math.erf(1 / (2 * stiffness)), rel=1e-11)
    assert leak == pytest.approx(sparsemax_leak(2, stiffness), rel=1e-10)
    assert leak == pytest.approx(bound.leak_floor(2, stiffness, BARRIER), rel=1e-11)


@pytest.mark.parametrize("stiffness", [0.3, 1.0, 4.0, 1000.0])
def test_three_and_four_modes_by_symmetry(stiffness: float):
    """The pattern is even: at M = 3 a core is centred, at M = 4 a gap."""
    width, cdf, sf = BARRIER / stiffness, stats.norm.cdf, stats.norm.sf
    end = optimize.brentq(lambda b: 2 * cdf(b) - 1 - sf(b + width), 0, 9, xtol=1e-16)
    assert line_leak(3, stiffness) == pytest.approx(1 - 3 * sf(end + width), rel=1e-12)
    lack = lambda c: sf(width / 2) - sf(c) - sf(c + width)  # noqa: E731
    end = optimize.brentq(lack, width / 2, 9, xtol=1e-16)
    assert line_leak(4, stiffness) == pytest.approx(1 - 4 * sf(end + width), rel=1e-12)


@pytest.mark.parametrize(("modes", "stiffness"), CASES)
def test_the_leak_lies_above_the_floor_and_that_of_free_dimension(modes: int, stiffness: float):
    leak = line_leak(modes, stiffness)
    floor = bound.leak_floor(modes, stiffness, BARRIER)
    if modes == 2:
        assert leak == pytest.approx(floor, rel=1e-11)
    else:
        assert leak > max(floor, sparsemax_leak(modes, stiffness))


@given(modes=st.integers(2, 20), stiffness=scales(1.0), barrier=scales(1.0))
def test_only_the_ratio_of_barrier_and_stiffness_counts(
    modes: int, stiffness: float, barrier: float
):
    wanted = line_leak(modes, stiffness, barrier)
    assert line_leak(modes, BARRIER / barrier * stiffness) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(
    ("modes", "stiffness"),
    [(2, 1e5), (3, 1e5), (64, 1e6), pytest.param(4096, 1e8, marks=pytest.mark.slow)],
)
def test_the_limit_is_the_perimeter_of_the_intervals(modes: int, stiffness: float):
    """Λε/(κP) = 1 + O(M²/Λ), seen at Λ and 4Λ."""
    limit = BARRIER * perimeter.intervals(modes)
    near, nearer = (value * line_leak(modes, value) / limit for value in (stiffness, 4 * stiffness))
    assert near == pytest.approx(1, abs=min(modes**2 / stiffness, 1e-2))
    assert nearer == pytest.approx(1, abs=abs(near - 1) / 3 + 1e-9)


@pytest.mark.parametrize("modes", [2, 3, 5, 64])
@pytest.mark.parametrize("stiffness", [1e-300, 1e-9, 0.01, 0.1])
def test_without_stiffness_all_leaks(modes: int, stiffness: float):
    """A gap of 14 at least holds all but 2e-12 of γ where it is centred, two of them all."""
    assert line_leak(modes, stiffness) == pytest.approx(1, abs=1e-11)
    got = image(optimal_line(modes, stiffness), np.linspace(-40, 40, 81))
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-12)
    assert (got >= 0).all()


def test_the_leak_falls_with_stiffness_and_grows_with_modes():
    leaks = np.array([[line_leak(m, s) for s in (0.5, 1.0, 4.0, 64.0)] for m in (2, 3, 8, 64)])
    assert (np.diff(leaks, axis=1) <= 0).all()
    assert (np.diff(leaks, axis=0) >= 0).all()
    assert ((leaks > 0) & (leaks <= 1)).all()


# The map


@pytest.mark.parametrize(
    ("modes", "stiffness"), [*CASES, pytest.param(4096, 1e5, marks=pytest.mark.slow)]
)
def test_cores_are_equal_and_the_gaps_hold_the_leak(modes: int, stiffness: float):
    transport = optimal_line(modes, stiffness)
    starts, width = np.asarray(transport.starts), float(transport.width)
    assert starts.shape == (modes - 1,)
    assert width == pytest.approx(BARRIER / stiffness, rel=1e-15)
    assert (np.diff(starts) > width).all()
    leak = line_leak(modes, stiffness)
    # Φ is known to 1e-16, and the error of a core is handed on to the next.
    np.testing.assert_allclose(cores(starts, width), (1 - leak) / modes, atol=1e-15 * modes)
    gaps = stats.norm.cdf(starts + width) - stats.norm.cdf(starts)
    assert gaps.sum() == pytest.approx(leak, rel=1e-9)
    np.testing.assert_allclose(starts + width, -starts[::-1], atol=1e-9)  # an even pattern


@pytest.mark.parametrize(("modes", "stiffness"), CASES)
def test_the_map_lands_on_its_vertices_outside_the_gaps_alone(modes: int, stiffness: float):
    transport = optimal_line(modes, stiffness)
    starts, width = np.asarray(transport.starts), float(transport.width)
    x = np.linspace(-6, 6, 3001)
    got = image(transport, x)
    assert (got >= 0).all()
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-15 * modes)
    passed = (x[:, None] >= starts + width).sum(axis=1)
    begun = (x[:, None] > starts).sum(axis=1)
    vertex = (got == np.eye(modes)[passed]).all(axis=1)
    np.testing.assert_array_equal(vertex, begun == passed)
    inside = np.argwhere((got > 0).sum(axis=1) == 2).ravel()
    assert len(inside) > 0
    share = (x[inside] - starts[passed[inside]]) / width  # straight from e_k to e_{k+1}
    np.testing.assert_allclose(got[inside, passed[inside] + 1], share, atol=1e-12)


@pytest.mark.parametrize(("modes", "stiffness"), CASES)
@given(data=st.data(), size=scales(3.0))
def test_the_map_is_lipschitz(modes: int, stiffness: float, data: st.DataObject, size: float):
    transport = optimal_line(modes, stiffness)
    x, step = data.draw(reals((20,), 3.0)), size * data.draw(reals((20,), 1.0))
    moved = np.linalg.norm(image(transport, x + step) - image(transport, x), axis=1)
    rounding = 1e-15 * stiffness * (6 + size)  # of x/width
    assert (moved <= stiffness * np.abs(step) * (1 + 1e-12) + rounding).all()


@pytest.mark.parametrize(("modes", "stiffness"), CASES)
def test_the_stretch_in_a_gap_is_the_stiffness(modes: int, stiffness: float):
    transport = optimal_line(modes, stiffness)
    start, width = np.asarray(transport.starts)[0], float(transport.width)
    first, second = image(transport, start + width * np.array([0.25, 0.75]))
    got = np.linalg.norm(second - first) / (0.5 * width)
    assert got == pytest.approx(stiffness, rel=1e-10)


@pytest.mark.parametrize(
    ("modes", "stiffness"), [*CASES[:-1], pytest.param(*CASES[-1], marks=pytest.mark.slow)]
)
@given(data=st.data(), size=scales(2.0))
def test_other_gaps_make_some_core_smaller(
    modes: int, stiffness: float, data: st.DataObject, size: float
):
    """Gaps at least as wide, anywhere else: the least of the cores falls."""
    transport = optimal_line(modes, stiffness)
    starts, width = np.asarray(transport.starts), float(transport.width)
    core = cores(starts, width).min()
    move = data.draw(reals((modes - 1,), 1.0))
    move *= 0.01 * size * core / max(np.abs(move).max(), 1e-3)
    moved, wider = starts + move, width + np.abs(data.draw(reals((modes - 1,), 1.0))) * core
    assume(np.abs(move).max() > 1e-6 * core)
    assert cores(moved, width).min() < core
    assert cores(starts, wider).min() <= core
    assert cores(moved, wider).min() < core


def test_any_one_gap_moved_either_way_shrinks_its_neighbour():
    transport = optimal_line(8, 5.0)
    starts, width = np.asarray(transport.starts), float(transport.width)
    core = cores(starts, width).min()
    for k in range(7):
        for step in (-1e-4, 1e-4):
            moved = cores(starts + step * np.eye(7)[k], width)
            assert moved[k if step < 0 else k + 1] < core - 1e-6


def test_samples_leak_so():
    count = 200_000
    x = np.asarray(normal(jax.random.key(1), (count,), "float64"))
    got = Estimate(np.mean(image(optimal_line(8, 10.0), x).max(axis=1) < 1), count=count)
    check_proportion(got, line_leak(8, 10.0), resolution=0.03)
    check_rejects(check_proportion, got, 1.04 * line_leak(8, 10.0))
    check_rejects(check_proportion, got, sparsemax_leak(8, 10.0))


BAD = {
    "modes must be an integer ≥ 2, got 1": lambda: line_leak(1, 1.0),
    "modes must be an integer ≥ 2, got 2.5": lambda: optimal_line(2.5, 1.0),
    "modes must be an integer ≥ 2, got True": lambda: optimal_line(True, 1.0),
    "stiffness must be a positive finite number, got 0": lambda: line_leak(2, 0),
    "stiffness must be a positive finite number, got -2.0": lambda: line_leak(2, -2.0),
    "stiffness must be a positive finite number, got inf": lambda: optimal_line(2, math.inf),
    "stiffness must be a positive finite number, got nan": lambda: optimal_line(2, math.nan),
    "barrier must be a positive finite number, got 0.0": lambda: line_leak(2, 1.0, 0.0),
    "barrier must be a positive finite number, got inf": lambda: line_leak(2, 1.0, math.inf),
}


test_bad_input_is_named = refusals(BAD)
