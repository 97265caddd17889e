"""Diagrams along lines: crossings by brute force, masses and moments, a walk over neighbours."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.significance import check_mean, check_rejects
from theory import bound, line, perimeter, start
from theory.balance import line_sets, voronoi_offsets
from theory.estimate import Estimate, from_samples
from theory.gaussian import expected_maximum, normal
from theory.line import Cut, Lines, random_lines
from theory.partition import PowerDiagram, intervals, random_code, simplicial_cluster
from theory.perimeter.crofton import REACH

FAILURE = 1e-10
SETS, COUNT = 32, 1000  # independent sets of lines, and lines in each; few shapes to compile


def key(number: int = 0) -> jax.Array:
    return jax.random.key(number)


def perturbed(modes: int, dimension: int, size: float = 0.1) -> PowerDiagram:
    """Voronoi cells of random sites with offsets perturbed: the larger, the more are empty."""
    sites = np.asarray(normal(key(11), (modes, dimension), "float64"))
    noise = np.asarray(normal(key(12), (modes,), "float64"))
    return PowerDiagram(sites, size * noise - (sites**2).sum(axis=1) / 2)


def random_cells() -> PowerDiagram:
    return perturbed(10, 3)


def cluster() -> PowerDiagram:
    return simplicial_cluster(4)


def all_cuts(lines: Lines, diagram: PowerDiagram, places: int = 8) -> Cut:
    """All crossings in one part; there are few enough lines."""
    (cut,) = line.cuts(lines, diagram, places)
    return cut


@functools.cache
def cuts_of_sets(made: Callable[[], PowerDiagram]) -> list[list[Cut]]:
    """The parts of every independent set of lines across one diagram."""
    diagram = made()
    sets = [random_lines(key(100 + k), COUNT, diagram.dimension) for k in range(SETS)]
    return [list(line.cuts(lines, diagram)) for lines in sets]


def over_sets(made: Callable[[], PowerDiagram], measure) -> Estimate:
    """The mean over lines of what `measure` sums, with its error from independent sets."""
    found = [sum(measure(cut) / COUNT for cut in parts) for parts in cuts_of_sets(made)]
    return from_samples(np.stack(found))


def same_crossings(got: Cut, wanted: Cut, atol: float = 1e-8) -> None:
    for name in ("line", "left", "right", "last"):
        np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name), err_msg=name)
    np.testing.assert_allclose(got.t, wanted.t, atol=atol)


def brute_force(lines: Lines, diagram: PowerDiagram) -> list[np.ndarray]:
    """For every line the sorted t at which two scores meet and no other is higher."""
    sites, offsets = np.asarray(diagram.sites), np.asarray(diagram.offsets)
    i, j = np.triu_indices(diagram.modes, 1)
    found = []
    for theta, base in zip(np.asarray(lines.directions), np.asarray(lines.bases), strict=True):
        slope, intercept = sites @ theta, sites @ base + offsets
        t = (intercept[i] - intercept[j]) / (slope[j] - slope[i])
        scores = intercept + t[:, None] * slope
        shared = scores[np.arange(len(t)), i]
        top = shared >= scores.max(axis=1) - 1e-9 * (1 + np.abs(shared))
        found.append(np.sort(t[top & (np.abs(t) <= REACH)]))
    return found


# Crossings


def test_crossings_are_all_pairs_of_scores_that_meet_on_top():
    diagram, lines = perturbed(10, 3), random_lines(key(), COUNT, 3)
    cut, wanted = all_cuts(lines, diagram), brute_force(lines, diagram)
    np.testing.assert_array_equal(
        np.bincount(cut.line, minlength=COUNT), [len(one) for one in wanted]
    )
    np.testing.assert_allclose(cut.t, np.concatenate(wanted), atol=1e-9)


def test_pieces_carry_the_labels_of_a_dense_grid():
    diagram, lines = perturbed(10, 3), random_lines(key(), COUNT, 3)
    cut = all_cuts(lines, diagram)
    grid = np.linspace(-6.0, 6.0, 401)
    x = lines.bases[:, None] + grid[:, None] * lines.directions[:, None]
    labels = np.asarray(diagram.label(x))
    for number in range(lines.count):
        own = cut.line == number
        pieces = np.append(cut.left[own], cut.last[number])
        np.testing.assert_array_equal(cut.left[own][1:], cut.right[own][:-1])
        np.testing.assert_array_equal(pieces[np.searchsorted(cut.t[own], grid)], labels[number])


def test_both_cells_of_a_crossing_score_the_same_and_highest():
    diagram, lines = perturbed(10, 3), random_lines(key(), COUNT, 3)
    cut = all_cuts(lines, diagram)
    x = cut.bases[cut.line] + cut.t[:, None] * cut.directions[cut.line]
    scores = np.asarray(diagram.scores(x))
    for side in (cut.left, cut.right):
        np.testing.assert_allclose(scores[np.arange(len(x)), side], scores.max(axis=1), atol=1e-10)
    assert (line.weights(cut, diagram) >= 0).all()


def test_one_shared_direction_is_that_direction_on_every_line():
    diagram = perturbed(10, 3)
    (parallel,) = line_sets(key(), 3, 1, 1024)
    assert parallel.directions.shape == (1, 3)
    parallel = Lines(parallel.directions, parallel.bases[:COUNT])
    spread = Lines(jnp.broadcast_to(parallel.directions, (COUNT, 3)), parallel.bases)
    same_crossings(all_cuts(parallel, diagram), all_cuts(spread, diagram), atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("modes", "places", "more"), [(10, 1, 2), (100, 8, 8)])
def test_more_crossings_than_places_are_all_found(modes: int, places: int, more: int):
    """At 10 cells by the scan of all, at 100 by the walk."""
    diagram, lines = perturbed(modes, 3), random_lines(key(), COUNT, 3)
    few, many = all_cuts(lines, diagram, places), all_cuts(lines, diagram, 32)
    assert np.bincount(many.line).max() > more
    same_crossings(few, many, atol=0)


def test_more_lines_than_a_part_holds_come_in_parts(monkeypatch: pytest.MonkeyPatch):
    diagram, lines = perturbed(10, 3), random_lines(key(), COUNT, 3)
    whole = all_cuts(lines, diagram)
    monkeypatch.setattr(line, "FEW", 256)
    parts = list(line.cuts(lines, diagram))
    assert [len(part.last) for part in parts] == [256, 256, 256, 232]
    for name in ("t", "left", "right", "last"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_allclose(joined, getattr(whole, name), atol=1e-12)


# Masses, moments, Laplacian, perimeter


def test_masses_sum_to_the_lines_and_agree_with_counted_labels():
    diagram, points = random_cells(), 400_000
    cut = all_cuts(random_lines(key(), COUNT, 3), diagram)
    assert line.masses(cut, 10).sum() == pytest.approx(COUNT, rel=1e-12)
    got = over_sets(random_cells, lambda cut: line.masses(cut, 10))
    label = np.asarray(diagram.label(normal(key(5), (points, 3), "float64")))
    share = np.bincount(label, minlength=10) / points
    sem = np.hypot(got.sem, np.sqrt(share * (1 - share) / points))
    check_mean(Estimate(got.value - share, sem, 0.0, SETS), np.zeros(10), FAILURE)
    wrong = Estimate(got.value - np.roll(share, 1), sem, 0.0, SETS)
    check_rejects(check_mean, wrong, np.zeros(10), FAILURE)


def test_moments_sum_to_the_bases_and_agree_with_sampled_points():
    diagram, points = random_cells(), 400_000
    lines = random_lines(key(), COUNT, 3)
    total = line.moments(all_cuts(lines, diagram), 10).sum(axis=0)
    # Every line adds E[y + tθ] = y, and E y = 0.
    np.testing.assert_allclose(total, np.asarray(lines.bases).sum(axis=0), atol=1e-9)
    got = over_sets(random_cells, lambda cut: line.moments(cut, 10))
    summed = over_sets(random_cells, lambda cut: line.moments(cut, 10).sum(axis=0))
    check_mean(summed, np.zeros(3))
    x = np.asarray(normal(key(5), (points, 3), "float64"))
    label = np.asarray(diagram.label(x))
    inside = (label[:, None] == np.arange(10))[..., None] * x[:, None]
    sampled = from_samples(inside)
    sem = np.hypot(got.sem, sampled.sem)
    check_mean(Estimate(got.value - sampled.value, sem, 0.0, SETS), np.zeros((10, 3)), FAILURE)
    wrong = Estimate(got.value + sampled.value, sem, 0.0, SETS)
    check_rejects(check_mean, wrong, np.zeros((10, 3)), FAILURE)


def test_moments_of_the_simplicial_cluster_are_exact_and_obey_gauss_green():
    """E[x 1_{B_i}] = Σ_j P_ij (a_i − a_j)/√2 = (a_M/(M‖a_i‖²)) a_i, by symmetry."""
    sites = np.asarray(cluster().sites)
    exact = sites * expected_maximum(4) / (4 * (sites**2).sum(axis=1, keepdims=True))
    facet = bound.interface_floor(4) / 6
    inward = (sites[:, None] - sites).sum(axis=1) / math.sqrt(2)
    np.testing.assert_allclose(facet * inward, exact, atol=1e-12)
    got = over_sets(cluster, lambda cut: line.moments(cut, 4))
    check_mean(got, exact, FAILURE)
    for factor in (0.9, 1.1, -1.0):
        check_rejects(check_mean, got, factor * exact, FAILURE)


def test_laplacian_rows_sum_to_zero_and_hold_the_facets_over_the_distances():
    diagram = cluster()
    cut = all_cuts(random_lines(key(), COUNT, 3), diagram)
    one = line.laplacian(cut, line.weights(cut, diagram), 4).toarray()
    np.testing.assert_allclose(one.sum(axis=1), 0, atol=1e-9)
    np.testing.assert_array_equal(one, one.T)
    got = over_sets(
        cluster, lambda cut: line.laplacian(cut, line.weights(cut, diagram), 4).toarray()
    )
    coupling = bound.interface_floor(4) / 6 / math.sqrt(2)
    exact = coupling * (4 * np.eye(4) - 1)
    check_mean(got, exact, FAILURE)
    check_rejects(check_mean, got, 1.1 * exact, FAILURE)


def test_mean_perimeter_is_exact_at_the_cluster_and_croftons_elsewhere():
    lines = random_lines(key(), 100_000, 3)
    other = random_cells()

    def along(diagram: PowerDiagram) -> Estimate:
        parts = [line.perimeter(cut) for cut in line.cuts(lines, diagram)]
        return from_samples(np.concatenate(parts))

    got = along(cluster())
    check_mean(got, perimeter.simplicial(4), FAILURE, resolution=0.02)
    here = along(other)
    there = perimeter.crofton(key(1), other, lines=100_000)
    sem = np.hypot(here.sem, there.sem)
    check_mean(Estimate(here.value - there.value, sem, there.bias, here.count), 0.0, FAILURE)
    wrong = Estimate(here.value - 1.05 * there.value, sem, there.bias, here.count)
    check_rejects(check_mean, wrong, 0.0, FAILURE)


# The walk over neighbours

IN_SPACE = pytest.param(3, marks=pytest.mark.slow)


def compare_walk_and_scan(
    diagram: PowerDiagram, monkeypatch: pytest.MonkeyPatch, places: int = 32
) -> Cut:
    lines = random_lines(key(2), COUNT, diagram.dimension)
    walked = all_cuts(lines, diagram, places)
    monkeypatch.setattr(line, "FLAT", 0)
    scanned = all_cuts(lines, diagram, places)
    same_crossings(walked, scanned)
    return walked


@pytest.mark.parametrize("dimension", [2, IN_SPACE])
def test_the_walk_crosses_what_the_scan_crosses(dimension: int, monkeypatch: pytest.MonkeyPatch):
    sites = perturbed(100, dimension).sites
    diagram = PowerDiagram(sites, voronoi_offsets(np.asarray(sites)))
    assert line.neighbours(diagram) is not None
    cut = compare_walk_and_scan(diagram, monkeypatch)
    assert (line.masses(cut, 100) > 0).all()


@pytest.mark.slow
def test_the_walk_starts_in_the_right_cell_of_parallel_lines():
    """XLA works the scores out twice there, with and without fused multiply-adds."""
    sites = start.lattice("hexagonal", key(3), 128)
    diagram = PowerDiagram(sites, -(np.asarray(sites) ** 2).sum(axis=1) / 2)
    for lines in line_sets(key(1), 2, 4, 8192):
        (cut,) = line.cuts(lines, diagram)
        assert line.masses(cut, 128).min() > 0
        first = cut.left[np.append(True, np.diff(cut.line) > 0)]
        far = lines.bases - REACH * lines.directions
        np.testing.assert_array_equal(first, np.asarray(diagram.label(far)))


@pytest.mark.parametrize("dimension", [2, IN_SPACE])
def test_the_walk_passes_over_empty_cells(dimension: int, monkeypatch: pytest.MonkeyPatch):
    diagram = perturbed(100, dimension, size=0.5)
    table = line.neighbours(diagram)
    empty = (table == np.arange(100)[:, None]).all(axis=1)
    assert empty.sum() >= 5
    cut = compare_walk_and_scan(diagram, monkeypatch)
    assert (line.masses(cut, 100)[empty] == 0).all()


def test_the_walk_along_the_line_itself(monkeypatch: pytest.MonkeyPatch):
    compare_walk_and_scan(intervals(64), monkeypatch, places=64)


def test_the_walk_crosses_a_square_grid_whose_vertices_are_degenerate(
    monkeypatch: pytest.MonkeyPatch,
):
    axis = np.linspace(-2.0, 2.0, 10)
    sites = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(100, 2)
    compare_walk_and_scan(PowerDiagram(sites, -(sites**2).sum(axis=1) / 2), monkeypatch)


@pytest.mark.parametrize("dimension", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_neighbours_are_mutual_and_hold_every_pair_that_lines_cross(dimension: int):
    diagram = perturbed(64, dimension)
    table = line.neighbours(diagram)
    adjacent = np.zeros((64, 64), bool)
    adjacent[np.arange(64)[:, None], table] = True
    np.testing.assert_array_equal(adjacent, adjacent.T)
    x = np.asarray(normal(key(3), (2000, 2, dimension), "float64")).copy()
    x[:, 1] = x[:, 0] + 1e-4 * x[:, 1]
    label = np.asarray(diagram.label(x))
    assert adjacent[label[:, 0], label[:, 1]].all()


@pytest.mark.parametrize("dimension", [2, IN_SPACE])
def test_coplanar_lifted_points_have_no_hull_and_are_scanned(dimension: int):
    """Offsets linear in the sites: the points (a, b) lie in a hyperplane through 0."""
    code = random_code(key(4), 100, dimension)
    tilt = np.arange(1.0, dimension + 1) / 10
    diagram = PowerDiagram(code.sites, np.asarray(code.sites) @ tilt)
    assert line.neighbours(diagram) is None
    lines = random_lines(key(), COUNT, dimension)
    cut, wanted = all_cuts(lines, diagram, 64), brute_force(lines, diagram)
    assert sum(map(len, wanted)) == len(cut.t) > COUNT
    np.testing.assert_allclose(cut.t, np.concatenate(wanted), atol=1e-7)


@pytest.mark.parametrize("dimension", [2, IN_SPACE])
@pytest.mark.parametrize("noise", [1e-16, 1e-14, 1e-13, 1e-9])
def test_nearly_coplanar_lifted_points_lose_no_crossing(
    noise: float, dimension: int, monkeypatch: pytest.MonkeyPatch
):
    """Sites on a sphere with offsets of rounding's size: the hull is all but flat."""
    code = random_code(key(4), 100, dimension)
    offsets = noise * np.asarray(normal(key(12), (100,), "float64"))
    diagram = PowerDiagram(code.sites, offsets)
    lines = random_lines(key(2), COUNT, dimension)
    walked = all_cuts(lines, diagram, 64)
    monkeypatch.setattr(line, "FLAT", 0)
    mass, wanted = (line.masses(cut, 100) for cut in (walked, all_cuts(lines, diagram, 64)))
    np.testing.assert_allclose(mass / COUNT, wanted / COUNT, atol=1e-6)
