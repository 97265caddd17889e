"""Prescribed masses: against exact cells, independent counts, and certificates that can fail."""

from itertools import islice

import jax
import numpy as np
import pytest
from scipy.sparse import csr_array

from tests.significance import check_mean, check_rejects
from theory import line, start
from theory.balance import balance, certify, line_sets
from theory.estimate import Estimate
from theory.gaussian import normal
from theory.newton import HALVINGS, mass_and_laplacian, newton, newton_in_stages, newton_steps
from theory.partition import PowerDiagram, intervals, orthants, simplicial_cluster
from theory.perimeter import facet_areas


def key(number: int = 0) -> jax.Array:
    return jax.random.key(number)


def random_sites(modes: int, dimension: int) -> PowerDiagram:
    return PowerDiagram(normal(key(11), (modes, dimension), "float64"))


def counted(diagram: PowerDiagram, points: int = 1_000_000) -> Estimate:
    """Masses by counting labels, with the standard error of every share."""
    label = np.asarray(diagram.label(normal(key(5), (points, diagram.dimension), "float64")))
    share = np.bincount(label, minlength=diagram.modes) / points
    return Estimate(share, np.sqrt(share * (1 - share) / points), 0.0, points)


def test_on_the_line_the_cuts_are_the_quantiles():
    sites = PowerDiagram(np.array([[3.0], [-1.0], [0.5], [7.0]]))
    balanced, certificate = balance(key(), sites, lines=16)
    assert certificate.upper < 1e-9
    order = np.argsort(np.asarray(sites.sites)[:, 0])
    a, b = np.asarray(balanced.sites)[order, 0], np.asarray(balanced.offsets)[order]
    cuts = -np.diff(b) / np.diff(a)
    exact = intervals(4)
    expected = -np.diff(np.asarray(exact.offsets)) / np.diff(np.asarray(exact.sites)[:, 0])
    np.testing.assert_allclose(cuts, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("masses", [None, np.array([0.4, 0.3, 0.2, 0.1])])
def test_the_simplicial_cluster_gets_its_known_offsets(masses):
    exact = simplicial_cluster(4, masses)
    balanced, certificate = balance(key(), PowerDiagram(exact.sites), masses, lines=1 << 16)
    assert certificate.upper < 0.02
    offsets = np.asarray(exact.offsets) - np.mean(np.asarray(exact.offsets))
    np.testing.assert_allclose(np.asarray(balanced.offsets), offsets, atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("modes", "dimension"), [(16, 4), (40, 2)])
def test_counts_on_fresh_points_have_the_masses(modes: int, dimension: int):
    law = np.arange(1.0, modes + 1) + modes
    law /= law.sum()
    balanced, certificate = balance(key(), random_sites(modes, dimension), law, lines=1 << 16)
    assert certificate.worst_relative_error <= certificate.upper < 0.03
    slack = Estimate((got := counted(balanced)).value, got.sem, certificate.upper * law, got.count)
    check_mean(slack, law, 1e-10)
    check_rejects(check_mean, slack, law[::-1], 1e-10)


def test_a_certificate_covers_the_error_of_an_unbalanced_diagram():
    """Cells of known unequal masses, certified against equal ones: 60% off, and no less."""
    masses = np.array([0.4, 0.3, 0.2, 0.1])
    certificate = certify(key(), simplicial_cluster(4, masses), np.full(4, 0.25), lines=1 << 14)
    check_mean(certificate.masses, masses, 1e-10)
    assert certificate.worst_relative_error == pytest.approx(0.6, abs=0.01)
    assert 0.6 <= certificate.upper < 0.62


def test_orthants_are_certified_balanced():
    certificate = certify(key(), orthants(3), np.full(8, 1 / 8), lines=1 << 15)
    assert certificate.worst_relative_error < certificate.upper < 0.01


def test_the_derivative_is_that_of_the_frozen_masses():
    diagram = random_sites(6, 3)
    sets = list(line_sets(key(), 3, 2, 4096))

    def reached(offsets: np.ndarray) -> np.ndarray:
        moved = PowerDiagram(diagram.sites, offsets)
        return mass_and_laplacian(line.cuts(sets, moved), moved)[0]

    laplacian = mass_and_laplacian(line.cuts(sets, diagram), diagram)[1].toarray()
    for j in range(6):
        step = np.zeros(6)
        step[j] = 1e-5
        change = reached(step) - reached(-step)
        np.testing.assert_allclose(change / 2e-5, laplacian[:, j], atol=2e-3)
    np.testing.assert_allclose(laplacian.sum(axis=1), 0, atol=1e-12)


def test_the_derivative_is_the_facet_area_over_the_distance_of_the_sites():
    diagram = PowerDiagram(simplicial_cluster(4).sites)
    sets = list(line_sets(key(), diagram.dimension, 32, 1 << 16))
    laplacian = mass_and_laplacian(line.cuts(sets, diagram), diagram)[1].toarray()
    areas = facet_areas(key(1), diagram, lines=400_000)
    pairs = np.triu_indices(4, 1)
    np.testing.assert_allclose(-laplacian[pairs] * np.sqrt(2), areas.value[pairs], rtol=0.05)


@pytest.mark.slow
def test_empty_cells_are_filled():
    """At offsets 0 the inner sites have no cell at all."""
    sites = np.concatenate([np.eye(3), -np.eye(3), 0.1 * np.eye(3)])
    assert (
        len(
            np.unique(
                np.asarray(
                    PowerDiagram(sites).label(np.random.default_rng(0).normal(size=(4096, 3)))
                )
            )
        )
        == 6
    )
    _, certificate = balance(key(), PowerDiagram(sites), lines=1 << 15)
    assert certificate.upper < 0.05


@pytest.mark.slow
def test_scale_of_the_sites_does_not_matter():
    sites = np.asarray(random_sites(10, 3).sites)
    small, _ = balance(key(), PowerDiagram(sites), lines=1 << 13)
    large, _ = balance(key(), PowerDiagram(1e6 * sites + 5e5), lines=1 << 13)
    np.testing.assert_allclose(
        np.asarray(large.offsets) / 1e6, np.asarray(small.offsets), atol=1e-3
    )


@pytest.mark.parametrize(
    ("masses", "said"),
    [
        (np.full(10, 0.2), "sum to 1"),
        (np.full(9, 1 / 9), "shape"),
        (np.append(np.full(9, 1 / 9), 0.0), "positive"),
        (np.full(10, np.nan), "positive"),
    ],
)
def test_bad_masses_are_refused(masses: np.ndarray, said: str):
    with pytest.raises(ValueError, match=said):
        balance(key(), random_sites(10, 3), masses)


def test_duplicate_sites_and_no_lines_are_refused():
    with pytest.raises(ValueError, match="duplicate"):
        balance(key(), PowerDiagram(np.ones((3, 2))))
    with pytest.raises(ValueError, match="lines"):
        balance(key(), random_sites(10, 3), lines=0)


def test_steps_are_newtons_and_its_halves():
    laplacian = csr_array((6 * np.eye(6) - 1) / 30)
    lack = np.array([5, -1, -1, -1, -1, -1.0])
    whole, half = islice(newton_steps(laplacian, lack), 2)
    np.testing.assert_allclose(laplacian @ whole, lack, atol=1e-12)
    np.testing.assert_allclose(half, whole / 2)


def test_when_these_overshoot_a_cell_that_was_hardly_met_is_held_back():
    """Six cells, all neighbours; the first was met a millionth as often and lacks its mass."""
    weight = np.ones((6, 6))
    weight[0] = weight[:, 0] = 1e-6
    weight /= 30
    np.fill_diagonal(weight, 0)
    laplacian = csr_array(np.diag(weight.sum(axis=1)) - weight)
    lack = np.array([1.0, -0.2, -0.2, -0.2, -0.2, -0.2]) / 6
    steps = list(newton_steps(laplacian, lack))
    whole, held, half = steps[0], steps[HALVINGS], steps[HALVINGS + 1]
    np.testing.assert_allclose(half, held / 2)
    usual = 1 / 6 / np.median(laplacian.diagonal())
    assert 0.5 * usual < held[0] < 2 * usual
    assert whole[0] > 1e4 * usual
    assert held @ lack > 0  # the dual descends along it


@pytest.mark.slow
def test_in_stages_newton_ends_where_it_ends_at_once():
    """The hexagonal lattice, whose outer cells are small: whole steps overshoot there."""
    sites = np.asarray(start.lattice("hexagonal", key(3), 256))
    diagram = PowerDiagram(sites, -(sites**2).sum(axis=1) / 2)
    law, sets = np.full(256, 1 / 256), list(line_sets(key(1), 2, 4, 1 << 16))
    once = newton(sets, diagram, law, 1e-9)
    staged = newton_in_stages(sets, diagram, law, 1e-9)
    np.testing.assert_allclose(staged.offsets, once.offsets, atol=1e-9)
    mass, _ = mass_and_laplacian(line.cuts(sets, staged), staged)
    np.testing.assert_allclose(mass, law, rtol=1e-9)
