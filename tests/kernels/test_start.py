"""Starting sites: lattices and codes by what defines them."""

import math

import jax
import numpy as np
import pytest
from scipy.spatial import Delaunay

from tests import strategies
from theory import start
from theory.start import LATTICES


def key(number: int = 0) -> jax.Array:
    return jax.random.key(number)


def distances(words: np.ndarray) -> np.ndarray:
    """Hamming distances of all pairs of ±1 words, shape (M, M)."""
    return (words.shape[1] - words @ words.T) / 2


# Lattices


@pytest.mark.parametrize("name", LATTICES)
@pytest.mark.parametrize("modes", [1, 256])
def test_a_lattice_has_distinct_points_of_the_radii_of_gamma(name: str, modes: int):
    sites = np.asarray(start.lattice(name, key(), modes))
    dimension = len(LATTICES[name])
    assert sites.shape == (modes, dimension)
    assert np.isfinite(sites).all()
    if modes == 256:
        assert strategies.closest(sites) > 0.02
        # The midpoint rule misses a little of the tail.
        assert (sites**2).sum(axis=1).mean() == pytest.approx(dimension, rel=0.01)
        assert np.linalg.norm(sites.mean(axis=0)) < 0.1 * math.sqrt(dimension)


@pytest.mark.parametrize("name", LATTICES)
def test_no_lattice_point_that_is_near_enough_is_missed(name: str, monkeypatch: pytest.MonkeyPatch):
    sites = np.asarray(start.lattice(name, key(), 64))
    reach = start._reach
    monkeypatch.setattr(start, "_reach", lambda basis, modes: reach(basis, modes) + 2)
    np.testing.assert_allclose(np.asarray(start.lattice(name, key(), 64)), sites, atol=1e-12)


@pytest.mark.parametrize(("name", "neighbours"), [("hexagonal", 6), ("BCC", 14)])
def test_inner_cells_have_the_neighbours_of_the_lattice(name: str, neighbours: int):
    sites = np.asarray(start.lattice(name, key(), 600))
    starts, _ = Delaunay(sites).vertex_neighbor_vertices
    radius = np.linalg.norm(sites, axis=1)
    assert np.median(np.diff(starts)[radius < np.median(radius)]) == neighbours


def test_two_keys_shift_a_lattice_differently():
    one, other = (np.asarray(start.lattice("hexagonal", key(k), 64)) for k in (1, 2))
    assert np.abs(one - other).max() > 0.01


def test_an_unknown_lattice_and_no_points_are_refused():
    with pytest.raises(ValueError, match=r"unknown lattice 'E8': expected one of hexagonal, BCC"):
        start.lattice("E8", key(), 64)
    with pytest.raises(ValueError, match="modes"):
        start.lattice("BCC", key(), 0)


# Codes


@pytest.mark.parametrize(
    ("modes", "dimension"), [(64, 4), pytest.param(40, 8, marks=pytest.mark.slow)]
)
def test_a_spherical_code_is_spread_out_on_its_sphere(modes: int, dimension: int):
    code = np.asarray(start.spherical_code(key(), modes, dimension))
    np.testing.assert_allclose(np.linalg.norm(code, axis=1), math.sqrt(dimension), rtol=1e-12)
    drawn = np.asarray(start.random_sites(key(1), modes, dimension))
    drawn = math.sqrt(dimension) * drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    assert strategies.closest(code) > 1.5 * strategies.closest(drawn)


@pytest.mark.parametrize(("modes", "cosine"), [(5, -1 / 4), (8, 0.0)])
def test_few_points_repel_to_the_simplex_and_the_cross_polytope(modes: int, cosine: float):
    code = np.asarray(start.spherical_code(key(), modes, 4)) / 2
    largest = (code @ code.T)[np.triu_indices(modes, 1)].max()
    assert largest == pytest.approx(cosine, abs=0.05)


def test_the_cross_polytope_has_orthogonal_pairs_of_opposite_points():
    points = start.biorthogonal(8)
    assert points.shape == (16, 8)
    inner = points @ points.T
    np.testing.assert_allclose(np.diag(inner), 8)
    np.testing.assert_allclose(np.sort(inner, axis=1)[:, 0], -8)
    assert (np.isclose(inner, 0).sum(axis=1) == 14).all()


def test_the_golay_code_is_linear_with_its_weights():
    words = start.golay()
    assert words.shape == (4096, 24)
    assert set(np.unique(words)) == {-1.0, 1.0}
    weight, count = np.unique((words == -1).sum(axis=1), return_counts=True)
    assert dict(zip(weight.tolist(), count.tolist(), strict=True)) == {
        0: 1,
        8: 759,
        12: 2576,
        16: 759,
        24: 1,
    }
    apart = distances(words)
    assert apart[np.triu_indices(4096, 1)].min() == 8


def test_the_nordstrom_robinson_code_has_its_distances_from_every_word():
    words = start.nordstrom_robinson()
    assert words.shape == (256, 16)
    apart = distances(words)
    for row in apart:  # distance invariant though not linear
        distance, count = np.unique(row, return_counts=True)
        assert distance.tolist() == [0, 6, 8, 10, 16]
        assert count.tolist() == [1, 112, 30, 112, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("modes", "dimension", "names"),
    [
        (64, 2, {"hexagonal", "random"}),
        (64, 3, {"BCC", "FCC", "random"}),
        (64, 4, {"D4", "random", "spherical code"}),
        (5, 4, {"D4", "random", "spherical code"}),
        (16, 8, {"random", "spherical code", "cross-polytope"}),
        (256, 16, {"spherical code", "Nordstrom–Robinson"}),
    ],
)
def test_starts_by_name(modes: int, dimension: int, names: set[str]):
    found = start.starts(key(), modes, dimension)
    assert set(found) == names
    for sites in found.values():
        assert sites.shape == (modes, dimension)
        assert np.isfinite(np.asarray(sites)).all()
        assert strategies.closest(np.asarray(sites)) > 1e-3
