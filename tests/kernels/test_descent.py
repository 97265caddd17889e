"""Lloyd and descent: the gradient against differences, and what a step must not lose."""

import functools

import jax
import numpy as np
import pytest
from scipy.special import ndtr

from tests.significance import check_mean, check_rejects
from theory import descent, line, start
from theory.balance import certify, line_sets, voronoi_offsets
from theory.descent import centroids, descend, drift, gradient, lloyd, turned
from theory.estimate import Estimate, from_samples
from theory.gaussian import normal, pdf
from theory.line import Cut, random_lines
from theory.newton import mass_and_laplacian, newton, newton_in_stages
from theory.partition import PowerDiagram, simplicial_cluster

FAILURE = 1e-10
SETS, COUNT = 24, 4096  # independent sets of lines, and lines in each
MODES, DIMENSION = 12, 3
WIDTH = 0.1
EQUAL = np.full(MODES, 1 / MODES)


def key(number: int = 0) -> jax.Array:
    return jax.random.key(number)


def slope_on(lines: line.Lines, diagram: PowerDiagram, width: float = WIDTH) -> np.ndarray:
    return gradient(list(line.cuts(lines, diagram)), diagram, width)


@functools.cache
def random_balanced() -> PowerDiagram:
    """Random sites, balanced on lines of their own."""
    sites = np.asarray(normal(key(11), (MODES, DIMENSION), "float64"))
    start = PowerDiagram(sites, voronoi_offsets(sites))
    return newton([random_lines(key(12), 4 * COUNT, DIMENSION)], start, EQUAL, 1e-7)


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
            here = newton(
                [lines], turned(diagram, h * direction, np.asarray(diagram.sites)), EQUAL, 1e-7
            )
            return float(np.concatenate([line.perimeter(c) for c in line.cuts(lines, here)]).mean())

        near, far = (
            (reached(size * step) - reached(-size * step)) / (2 * size * step) for size in (1, 2)
        )
        # The slope is noisier than the difference: more lines, of their own.
        own = random_lines(key(300 + number), 8 * COUNT, DIMENSION)
        along = [float((slope_on(own, diagram, w) * direction).sum()) for w in (WIDTH, 2 * WIDTH)]
        rows.append((near, far, *along))
    return tuple(np.array(rows).T)


@pytest.mark.slow
def test_the_gradient_is_the_difference_of_perimeters_at_equal_masses():
    near, far, slope, wide = differences()
    bias = (abs((far - near).mean()) + abs((wide - slope).mean())) / 3
    assert bias < 0.15 * abs(near.mean())

    def excess(other: np.ndarray) -> Estimate:
        return from_samples(other - near, bias=bias)

    check_mean(excess(slope), 0.0, FAILURE)
    check_rejects(check_mean, excess(2 * slope), 0.0, FAILURE)
    check_rejects(check_mean, excess(0 * slope), 0.0, FAILURE)


@pytest.mark.slow
def test_scaling_and_shifting_the_sites_changes_no_perimeter(monkeypatch: pytest.MonkeyPatch):
    """Scaled sites with scaled offsets, or a common shift, leave every cell as it is."""
    diagram = random_balanced()
    slope = slope_on(random_lines(key(14), COUNT, DIMENSION), diagram)
    size = np.abs(slope).max()
    assert abs((slope * np.asarray(diagram.sites)).sum()) < 1e-7 * size
    np.testing.assert_allclose(slope.sum(axis=0), 0, atol=1e-10 * size)
    monkeypatch.setattr(descent, "solve", lambda laplacian, right: np.zeros_like(right))
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
    np.testing.assert_allclose(descent.tube_slope(cut, width), wanted, atol=1e-8)


def test_tube_slope_of_a_lone_crossing_is_that_of_the_density():
    one = np.zeros(1, int)
    cut = Cut(one, np.array([0.7]), one, one + 1, one + 1, np.ones((1, 1)), np.zeros((1, 1)))
    assert descent.tube_slope(cut, 0.02)[0] == pytest.approx(-0.7 * pdf(0.7), rel=1e-3)


def frozen_masses(diagram: PowerDiagram, lines: line.Lines) -> np.ndarray:
    return mass_and_laplacian(line.cuts(lines, diagram), diagram)[0]


def test_drift_is_the_change_of_the_frozen_masses():
    """A central difference on the same lines; about the origin, and about the centroids."""
    diagram, lines = random_balanced(), random_lines(key(31), COUNT, DIMENSION)
    cuts = list(line.cuts(lines, diagram))
    step = np.asarray(normal(key(32), (MODES, DIMENSION), "float64"))
    for middle in (np.zeros((MODES, DIMENSION)), centroids(cuts, diagram)):
        ends = [frozen_masses(turned(diagram, h * step, middle), lines) for h in (1e-5, -1e-5)]
        found = drift(cuts, diagram, step, middle)
        np.testing.assert_allclose((ends[0] - ends[1]) / 2e-5, found, atol=2e-2 * abs(found).max())
        assert abs(found.sum()) < 1e-12


def test_cells_far_from_their_sites_stay_where_they_are():
    """Cells three units from their sites: moved along with the sites, masses change by more."""
    diagram, lines = random_balanced(), random_lines(key(33), COUNT, DIMENSION)
    sites = np.asarray(diagram.sites)
    away = PowerDiagram(sites + 3.0, diagram.offsets)  # a common shift changes no cell
    cuts = list(line.cuts(lines, away))
    step = 0.1 * np.asarray(normal(key(34), sites.shape, "float64"))
    before = frozen_masses(away, lines)
    kept, along = (
        np.abs(frozen_masses(turned(away, step, middle), lines) - before).max()
        for middle in (centroids(cuts, away), np.asarray(away.sites))
    )
    assert kept < 0.5 * along


def perimeter(diagram: PowerDiagram, lines: line.Lines) -> float:
    return float(np.concatenate([line.perimeter(c) for c in line.cuts(lines, diagram)]).mean())


@pytest.mark.slow
def test_lloyd_ends_at_centroids_and_shortens_the_boundary():
    """At its fixed points every site is its cell's centroid, here on lines it never saw."""
    start = random_balanced()
    ended = lloyd(key(20), start, lines=COUNT, iterations=60)
    fresh = list(line_sets(key(21), DIMENSION, 32, 1 << 16))
    ended = newton(fresh, ended, EQUAL, 1e-6)
    mass, moment = np.zeros(MODES), np.zeros((MODES, DIMENSION))
    for cut in line.cuts(fresh, ended):
        mass += line.masses(cut, MODES)
        moment += line.moments(cut, MODES)
    off = np.linalg.norm(moment / mass[:, None] - np.asarray(ended.sites), axis=1)
    assert off.max() < 0.03
    common = random_lines(key(22), 1 << 14, DIMENSION)
    assert perimeter(ended, common) < 0.97 * perimeter(start, common)


@pytest.mark.slow
@pytest.mark.parametrize("move", [lloyd, descend])
def test_a_cell_that_was_lost_is_regained_and_masses_are_met_at_the_end(move):
    start = random_balanced()
    offsets = np.array(start.offsets)
    offsets[4] -= 50.0
    ended = move(key(23), PowerDiagram(start.sites, offsets), lines=COUNT, iterations=12)
    assert certify(key(24), ended, EQUAL, lines=1 << 14).upper < 0.2


def test_the_step_of_a_diagram_in_balance_is_the_optimizers():
    """The cluster is a fixed point of Lloyd: its own lines move it by their noise alone."""
    cluster = simplicial_cluster(4)
    ended = lloyd(key(25), cluster, lines=1 << 14, iterations=10)
    sites = np.asarray(ended.sites) - np.mean(np.asarray(ended.sites), axis=0)
    apart = np.linalg.norm(sites[:, None] - sites[None], axis=2)[np.triu_indices(4, 1)]
    np.testing.assert_allclose(apart, apart.mean(), rtol=0.02)
    sets = list(line_sets(key(26), 3, 8, 1 << 14))
    mass, _ = mass_and_laplacian(line.cuts(sets, ended), ended)
    np.testing.assert_allclose(mass, 0.25, rtol=0.02)


@pytest.mark.slow
def test_lloyd_loses_no_cell_of_a_large_lattice(monkeypatch: pytest.MonkeyPatch):
    """Outer cells lie more than a cell away from their sites, and few lines meet them."""
    sites = np.asarray(start.lattice("hexagonal", key(35), 1024))
    law, voronoi = np.full(1024, 1 / 1024), PowerDiagram(sites, -(sites**2).sum(axis=1) / 2)
    sets = list(line_sets(key(36), 2, 4, 1 << 15))
    balanced = newton_in_stages(sets, voronoi, law, 0.02)

    def lost(*_: object) -> PowerDiagram:
        raise AssertionError("a cell was lost to every line")

    monkeypatch.setattr(descent, "newton", lost)
    ended = lloyd(key(37), balanced, lines=1 << 12, iterations=20)
    assert frozen_masses(ended, sets[0]).min() > 0.5 / 1024
