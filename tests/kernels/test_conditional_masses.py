"""Masses along every cell's own direction: exact cells, counts, exact facets, and the solver."""

import jax
import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import norm, qmc

from tests.significance import check_mean, check_rejects
from theory import balance as balancing
from theory import conditional_masses as own
from theory.balance import balance, with_masses
from theory.estimate import Estimate, from_samples
from theory.gaussian import normal
from theory.partition import (
    PowerDiagram,
    half_space,
    intervals,
    orthants,
    random_code,
    simplicial_cluster,
)
from theory.perimeter import simplicial_facets

MASSES = np.array([0.4, 0.3, 0.2, 0.1])


def key(number: int = 0) -> jax.Array:
    return jax.random.key(number)


def estimated(diagram: PowerDiagram, shrinkage: float = 1.0, sets: int = 32) -> Estimate:
    """From independent shifts of 512 points."""
    keys = jax.random.split(key(3), sets)
    found = [own.conditional_masses(k, diagram, 512, shrinkage) for k in keys]
    return from_samples(np.stack(found))


def inner() -> PowerDiagram:
    """Three sites within the hull of the others, a fourth in the centre: cells with two ends."""
    sites = np.concatenate([np.eye(3), -np.eye(3), 0.1 * np.eye(3), np.zeros((1, 3))])
    return PowerDiagram(sites, np.repeat([0.0, 0.62, 0.6], [6, 3, 1]))


def counted(diagram: PowerDiagram, points: int = 1_000_000) -> Estimate:
    label = np.asarray(diagram.label(normal(key(5), (points, diagram.dimension), "float64")))
    share = np.bincount(label, minlength=diagram.modes) / points
    return Estimate(share, np.sqrt(share * (1 - share) / points), 0.0, points)


def test_the_sums_of_two_small_sets_are_sobols_points():
    low, high = own.sobol(5, 7, 3)
    sums = (low[:, None] ^ high).reshape(-1, 5)
    wanted = qmc.Sobol(5, scramble=False).random_base2(7) * 2.0**32
    assert low.shape == (8, 5)
    assert set(map(tuple, sums)) == set(map(tuple, wanted.astype(np.uint32)))


@pytest.mark.parametrize("shrinkage", [pytest.param(1.0, marks=pytest.mark.slow), 0.85])
def test_exact_masses(shrinkage: float):
    got = estimated(simplicial_cluster(4, MASSES), shrinkage)
    check_mean(got, MASSES, 1e-10, resolution=0.01)
    check_rejects(check_mean, got, MASSES[[1, 0, 2, 3]], 1e-10)


def test_on_the_line_one_point_is_exact_to_rounding():
    np.testing.assert_allclose(own.conditional_masses(key(), intervals(4), 1), 0.25, atol=1e-6)
    two = own.conditional_masses(key(), half_space(3, 0.5), 1)
    np.testing.assert_allclose(two, [0.6914624612740131, 0.3085375387259869], atol=1e-6)


@pytest.mark.parametrize("shrinkage", [pytest.param(1.0, marks=pytest.mark.slow), 0.9])
def test_cells_with_two_ends_have_the_masses_that_labels_count(shrinkage: float):
    got, counts = estimated(inner(), shrinkage), counted(inner())
    assert own._along(inner()).falling is not None
    assert counts.value.min() > 0.002
    slack = Estimate(got.value, np.hypot(got.sem, counts.sem), 0.0, got.count)
    check_mean(slack, counts.value, 1e-10)
    check_rejects(check_mean, slack, counts.value[::-1], 1e-10)


def test_drawing_nearer_to_the_centre_halves_the_variance_of_small_cells():
    code = random_code(key(), 64, 16)
    plain, narrow = estimated(code).sem, estimated(code, 0.85).sem
    assert np.mean(narrow**2) < 0.7 * np.mean(plain**2)
    assert own.best_shrinkage(key(1), code) < 1
    # A half is met anywhere: there drawing narrowly only adds the spread of the weights.
    assert own.best_shrinkage(key(1), orthants(1)) == 1


def test_the_shrinkage_is_that_of_the_least_worst_relative_variance(monkeypatch):
    """Of a cell of mass ½ at τ = 1 and of a tenth elsewhere: relative, not per mass."""
    variances = dict.fromkeys(own.SHRINKAGES, 2.0) | {1.0: 1.0, 0.9: 0.5}

    def masses(along: object, shrinkage: float, bits: object) -> np.ndarray:
        mean = 0.5 if shrinkage == 1 else 0.1
        return mean * (1 + variances[shrinkage] ** 0.5 * np.array([[1.0], [-1.0]]))

    monkeypatch.setattr(own, "_masses", masses)
    assert own.best_shrinkage(key(), orthants(2)) == 0.9


@pytest.mark.parametrize("shrinkage", [pytest.param(1.0, marks=pytest.mark.slow), 0.9])
def test_the_derivative_is_the_facet_area_over_the_distance_of_the_sites(shrinkage: float):
    diagram = simplicial_cluster(4, MASSES)
    keys = jax.random.split(key(4), 32)
    found = [own.conditional_laplacian(k, diagram, 1024, shrinkage).toarray() for k in keys]
    pairs = np.triu_indices(4, 1)
    apart = np.linalg.norm(np.asarray(diagram.sites)[0] - np.asarray(diagram.sites)[1])
    exact = simplicial_facets(np.asarray(diagram.offsets))[pairs] / apart
    check_mean(from_samples(-np.stack(found)[:, *pairs]), exact, 1e-10, resolution=0.2)
    np.testing.assert_allclose(np.mean(found, axis=0).sum(axis=1), 0, atol=1e-12)


def test_the_derivative_is_that_of_the_masses_where_cells_have_two_ends():
    diagram, step = inner(), 2e-3
    keys = jax.random.split(key(4), 32)
    found = np.stack([own.conditional_laplacian(k, diagram, 1024).toarray() for k in keys])
    for j in (0, 6, 9):
        change = step * np.eye(10)[j]
        ends = [PowerDiagram(diagram.sites, diagram.offsets + s * change) for s in (1, -1)]
        up, down = (own.conditional_masses(key(1), end, 1 << 14) for end in ends)
        of_lines = from_samples(found[:, :, j])
        got = Estimate(of_lines.value, of_lines.sem, 0.003, of_lines.count)  # of the differences
        check_mean(got, (up - down) / (2 * step), 1e-10)
        check_rejects(check_mean, got, (down - up) / (2 * step), 1e-10)


def lattice() -> PowerDiagram:
    """3 × 3 squares of side 1: many differences of sites are perpendicular to a site."""
    sites = np.stack(np.meshgrid(*[np.arange(-1.0, 2)] * 2, indexing="ij"), -1).reshape(-1, 2)
    return PowerDiagram(sites, -np.sum(sites**2, axis=1) / 2)


def test_a_lattice_has_the_masses_and_facets_of_its_product():
    side = np.diff(ndtr([-np.inf, -0.5, 0.5, np.inf]))
    got, masses = estimated(lattice()), np.outer(side, side).ravel()
    check_mean(got, masses, 1e-10, resolution=0.02)
    check_rejects(check_mean, got, np.roll(masses, 1), 1e-10)
    keys = jax.random.split(key(4), 32)
    found = -np.stack([own.conditional_laplacian(k, lattice(), 1024).toarray() for k in keys])
    facets = norm.pdf(0.5) * side[[0, 1, 1, 1]]  # at distance 1
    check_mean(from_samples(found[:, [0, 1, 3, 4], [1, 4, 4, 5]]), facets, 1e-10, resolution=0.3)
    np.testing.assert_allclose(found[:, [0, 0, 2], [4, 8, 6]], 0, atol=1e-9)  # only corners meet


def test_sites_that_nearly_meet_are_told_apart_in_float64():
    sites = np.concatenate([np.eye(3), np.eye(1, 3) * (1 + 1e-6)])
    diagram = PowerDiagram(sites, np.array([0.0, 0.0, 0.0, -1e-6]))
    assert own._along(diagram).sites.dtype == np.float64
    assert own._along(simplicial_cluster(4)).sites.dtype == np.float32
    got, counts = estimated(diagram), counted(diagram)
    slack = Estimate(got.value, np.hypot(got.sem, counts.sem), 0.0, got.count)
    check_mean(slack, counts.value, 1e-10)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="distinct"):
        own.conditional_masses(key(), PowerDiagram(np.ones((3, 2))), 8)
    nearly = np.array([[0.0, 1.0], [0.0, 1.0 + 1e-11], [1.0, 0.0]])
    with pytest.raises(ValueError, match="distinct"):
        own.conditional_masses(key(), PowerDiagram(nearly), 8)
    with pytest.raises(ValueError, match="points must be"):
        own.conditional_masses(key(), orthants(2), 0)
    for shrinkage in (0.5, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"from 0\.75 to 1"):
            own.conditional_masses(key(), orthants(2), 8, shrinkage)
    with pytest.raises(ValueError, match="points must be"):
        with_masses(key(), orthants(2), points=0)


def test_the_solver_gives_a_code_its_masses_and_certifies_them():
    law = np.arange(1.0, 17) + 16
    law /= law.sum()
    balanced, certificate = balance(key(), random_code(key(), 16, 4), law, points=1 << 16)
    assert certificate.worst_relative_error <= certificate.upper < 0.03
    got = counted(balanced)
    slack = Estimate(got.value, got.sem, certificate.upper * law, got.count)
    check_mean(slack, law, 1e-10)
    check_rejects(check_mean, slack, law[::-1], 1e-10)


def test_without_efforts_points_are_taken_where_they_cost_less():
    few_dimensions, many = random_code(key(), 8, 3), random_code(key(), 8, 6)
    lines, points = balancing._effort(few_dimensions, None, None)
    assert lines == balancing.enough_lines(8, 3)
    assert points == 0
    assert balancing._effort(many, None, None) == (balancing.COARSE, 8 * balancing.POINTS_A_CELL)
    assert balancing._effort(many, 512, None) == (512, 0)
    assert balancing._effort(intervals(8), None, 100)[1] == 0
