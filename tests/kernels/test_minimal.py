"""The search for small perimeters: its gradient, and minima that are known."""

import functools
import math

import jax
import numpy as np
import pytest
from scipy.special import ndtr

from tests.significance import check_at_least, check_at_most, check_mean, check_rejects
from theory import bound, line, minimal, perimeter
from theory.balance import newton, voronoi_offsets
from theory.estimate import Estimate, from_samples
from theory.gaussian import normal, pdf
from theory.line import Cut
from theory.minimal import Found, gradient, moved, random_lines
from theory.partition import PowerDiagram, simplicial_cluster

FAILURE = 1e-10
SETS, COUNT = 24, 4096  # independent sets of lines, and lines in each
MODES, DIMENSION = 12, 3
WIDTH = 0.1
EQUAL = np.full(MODES, 1 / MODES)


def key(number: int = 0) -> jax.Array:
    return jax.random.key(number)


@functools.cache
def searched(modes: int, dimension: int) -> Found:
    return minimal.minimal(key(), modes, dimension, effort=0.5)


def slope_on(lines: line.Lines, diagram: PowerDiagram, width: float = WIDTH) -> np.ndarray:
    return gradient(list(line.cuts(lines, diagram)), diagram, width)


@functools.cache
def random_balanced() -> PowerDiagram:
    """Random sites, balanced on lines of their own."""
    sites = np.asarray(normal(key(11), (MODES, DIMENSION), "float64"))
    start = PowerDiagram(sites, voronoi_offsets(sites))
    return newton([random_lines(key(12), 4 * COUNT, DIMENSION)], start, EQUAL, 1e-7)


# The gradient


def test_the_gradient_vanishes_at_the_cluster():
    """That it does not elsewhere is in the differences below, which reject 0."""
    sets = [random_lines(key(100 + k), 8 * COUNT, 3) for k in range(SETS)]
    found = from_samples(np.stack([slope_on(one, simplicial_cluster(4)) for one in sets]))
    check_mean(found, np.zeros((4, 3)), FAILURE)
    assert found.sem.max() < 0.01


@functools.cache
def differences() -> tuple[np.ndarray, ...]:
    """Slopes along a unit direction on SETS common sets of lines, and the error of differencing.

    Central differences of P at steps h and 2h err by O(h²): their difference is 3 times the
    error of the first. The tubes err by O(ε²), likewise seen at width 2ε.
    """
    diagram = random_balanced()
    direction = slope_on(random_lines(key(13), 32 * COUNT, DIMENSION), diagram)
    direction /= np.linalg.norm(direction)
    step = 0.1
    rows = []
    for number in range(SETS):
        lines = random_lines(key(200 + number), COUNT, DIMENSION)

        def reached(h: float, lines: line.Lines = lines) -> float:
            here = newton([lines], moved(diagram, h * direction), EQUAL, 1e-7)
            return float(np.concatenate([line.perimeter(c) for c in line.cuts(lines, here)]).mean())

        near, far = (
            (reached(size * step) - reached(-size * step)) / (2 * size * step) for size in (1, 2)
        )
        # The slope is noisier than the difference: more lines, of their own.
        own = random_lines(key(300 + number), 8 * COUNT, DIMENSION)
        along = [float((slope_on(own, diagram, w) * direction).sum()) for w in (WIDTH, 2 * WIDTH)]
        rows.append((near, far, *along))
    return tuple(np.array(rows).T)


def test_the_gradient_is_the_difference_of_perimeters_at_equal_masses():
    near, far, slope, wide = differences()
    bias = (abs((far - near).mean()) + abs((wide - slope).mean())) / 3
    assert bias < 0.15 * abs(near.mean())

    def excess(other: np.ndarray) -> Estimate:
        return from_samples(other - near, bias=bias)

    check_mean(excess(slope), 0.0, FAILURE)
    check_rejects(check_mean, excess(2 * slope), 0.0, FAILURE)
    check_rejects(check_mean, excess(0 * slope), 0.0, FAILURE)


def test_scaling_and_shifting_the_sites_changes_no_perimeter(monkeypatch: pytest.MonkeyPatch):
    """Scaled sites with scaled offsets, or a common shift, leave every cell as it is."""
    diagram = random_balanced()
    slope = slope_on(random_lines(key(14), COUNT, DIMENSION), diagram)
    size = np.abs(slope).max()
    assert abs((slope * np.asarray(diagram.sites)).sum()) < 1e-7 * size
    np.testing.assert_allclose(slope.sum(axis=0), 0, atol=1e-10 * size)
    monkeypatch.setattr(minimal, "solve", lambda laplacian, right: np.zeros_like(right))
    free = slope_on(random_lines(key(14), COUNT, DIMENSION), diagram)  # without pressure
    assert abs((free * np.asarray(diagram.sites)).sum()) > 1e-3 * size


def tube(t: np.ndarray, width: float) -> float:
    """γ of the union of [t − ε, t + ε], over 2ε; t sorted."""
    ends = np.stack([t - width, t + width], axis=1)
    merged = [ends[0]]
    for lower, upper in ends[1:]:
        if lower <= merged[-1][1]:
            merged[-1] = np.array([merged[-1][0], upper])
        else:
            merged.append(np.array([lower, upper]))
    return sum(float(ndtr(upper) - ndtr(lower)) for lower, upper in merged) / (2 * width)


@pytest.mark.parametrize("width", [0.05, 0.1, 0.2])
def test_tube_slope_is_the_derivative_of_the_extrapolated_tubes(width: float):
    """Gap 0.3: no tubes meet, then those of 2ε, then all; a third crossing is on its own line."""
    t = np.array([0.2, 0.5, 0.3])
    cut = Cut(
        np.array([0, 0, 1]),
        t,
        np.array([0, 1, 0]),
        np.array([1, 2, 1]),
        np.array([2, 1]),
        np.tile([1.0, 0.0], (2, 1)),
        np.zeros((2, 2)),
    )

    def extrapolated(at: np.ndarray) -> float:
        parts = (at[:2], at[2:])
        return sum(2 * tube(part, width) - tube(part, 2 * width) for part in parts)

    step = 1e-6
    wanted = [
        (extrapolated(t + step * unit) - extrapolated(t - step * unit)) / (2 * step)
        for unit in np.eye(3)
    ]
    np.testing.assert_allclose(minimal.tube_slope(cut, width), wanted, atol=1e-8)


def test_tube_slope_of_a_lone_crossing_is_that_of_the_density():
    one = np.zeros(1, int)
    cut = Cut(one, np.array([0.7]), one, one + 1, one + 1, np.ones((1, 1)), np.zeros((1, 1)))
    assert minimal.tube_slope(cut, 0.02)[0] == pytest.approx(-0.7 * pdf(0.7), rel=1e-3)


def test_moved_sites_take_their_cells_along():
    """A common step moves every Voronoi cell of points by that step."""
    sites = np.asarray(normal(key(11), (9, 2), "float64"))
    shift = np.array([0.3, -0.2])
    voronoi = PowerDiagram(sites, -(sites**2).sum(axis=1) / 2)
    x = np.asarray(normal(key(3), (5000, 2), "float64"))
    there = moved(voronoi, np.tile(shift, (9, 1))).label(x + shift)
    np.testing.assert_array_equal(np.asarray(there), np.asarray(voronoi.label(x)))


# The search


@pytest.mark.parametrize(("modes", "dimension"), [(3, 2), (4, 3), (5, 8)])
def test_up_to_n_plus_1_cells_the_cluster_is_found_within_a_percent(modes: int, dimension: int):
    found, floor = searched(modes, dimension), bound.interface_floor(modes)
    sites = np.asarray(found.diagram.sites)
    assert sites.shape == (modes, dimension)
    assert (sites[:, modes - 1 :] == 0).all()
    assert found.certificate.upper < 0.02
    assert found.found_by in found.trials
    assert {name.split(", ")[0] for name in found.trials} == set(found.starts)
    check_at_least(found.perimeter, floor, FAILURE)
    check_at_most(found.perimeter, 1.01 * floor, FAILURE)
    # Measured once more, for an interval that tells one percent apart.
    planar = PowerDiagram(sites[:, : modes - 1], found.diagram.offsets)
    interval = perimeter.crofton(key(1), planar, lines=1 << 19).interval(FAILURE)
    assert 0.99 * floor < interval.lower < interval.upper < 1.01 * floor


def test_the_same_key_and_starts_repeat_a_search():
    found = searched(3, 2)
    again = minimal.minimal(key(), 3, 2, starts=found.starts, effort=0.5)
    np.testing.assert_array_equal(np.asarray(again.diagram.sites), np.asarray(found.diagram.sites))
    assert again.perimeter.value == found.perimeter.value
    assert again.trials == found.trials


@pytest.mark.parametrize(("modes", "dimension"), [(6, 1), (2, 5)])
def test_on_the_line_and_for_two_cells_the_quantiles_are_exact(modes: int, dimension: int):
    found = minimal.minimal(key(), modes, dimension)
    assert found.perimeter.value == pytest.approx(perimeter.intervals(modes), rel=1e-12)
    assert found.certificate.upper < 1e-9
    assert found.diagram.sites.shape == (modes, dimension)
    assert found.found_by == "quantiles"
    assert found.trials == found.starts == {}


@pytest.mark.parametrize(
    ("modes", "dimension", "options", "said"),
    [
        (1, 3, {}, "modes"),
        (4, 0, {}, "dimension"),
        (4, 3, {"effort": 0.0}, "effort"),
        (4, 3, {"effort": -1.0}, "effort"),
        (4, 3, {"effort": math.inf}, "effort"),
        (4, 3, {"effort": math.nan}, "effort"),
        (4, 3, {"starts": {}}, "at least one start"),
        (4, 3, {"starts": {"flat": np.ones((4, 2))}}, r"'flat'.*\(4, 3\), got \(4, 2\)"),
        (4, 8, {"starts": {"lifted": np.ones((4, 8))}}, r"\(4, 3\), got \(4, 8\)"),
        (4, 3, {"starts": {"nan": np.full((4, 3), np.nan)}}, "finite"),
    ],
)
def test_bad_arguments_are_refused(modes: int, dimension: int, options: dict, said: str):
    with pytest.raises(ValueError, match=said):
        minimal.minimal(key(), modes, dimension, **options)
