"""Power diagrams: invariances, duplicates, constructors against quadrature, error messages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from tests.refusals import refusals
from tests.significance import check_mean, check_rejects
from tests.strategies import SHAPES, diagrams, masses, points, reals, rotations, scales
from theory import partition
from theory.estimate import from_samples
from theory.partition import PowerDiagram, simplicial_cluster

SMALL = [SHAPES[1], *(pytest.param(shape, marks=pytest.mark.slow) for shape in SHAPES[3:])]
ALL = [
    shape if shape in (SHAPES[1], SHAPES[4]) else pytest.param(shape, marks=pytest.mark.slow)
    for shape in SHAPES
]
COUNT = 16  # points an example: one compiled size


def drawn(data: st.DataObject, shape: tuple[int, int]) -> tuple[PowerDiagram, np.ndarray]:
    return data.draw(diagrams(*shape, apart=0.1)), data.draw(points(COUNT, shape[1]))


def check_same(got: partition.Facet, wanted: partition.Facet, factor: float = 1.0) -> None:
    """Equal distances, and equal labels wherever the point is not on a facet."""
    np.testing.assert_allclose(
        got.distance, factor * wanted.distance, rtol=1e-9, atol=1e-9 * factor
    )
    clear = np.asarray(wanted.distance) > 1e-6
    np.testing.assert_array_equal(np.asarray(got.label)[clear], np.asarray(wanted.label)[clear])


@pytest.mark.parametrize("shape", SMALL)
@given(data=st.data())
def test_a_rotation_of_sites_and_points_changes_nothing(shape, data):
    diagram, x = drawn(data, shape)
    turn = data.draw(rotations(shape[1]))
    turned = PowerDiagram(np.asarray(diagram.sites) @ turn.T, diagram.offsets)
    check_same(turned.nearest_facet(x @ turn.T), diagram.nearest_facet(x))


@pytest.mark.parametrize("shape", SMALL)
@given(data=st.data())
def test_a_common_shift_of_the_sites_changes_nothing(shape, data):
    diagram, x = drawn(data, shape)
    shift = data.draw(reals((shape[1],), 5.0))
    shifted = PowerDiagram(diagram.sites + shift, diagram.offsets + data.draw(reals((1,), 5.0)))
    check_same(shifted.nearest_facet(x), diagram.nearest_facet(x))


@pytest.mark.parametrize("shape", SMALL)
@given(data=st.data())
def test_scaling_the_scores_changes_nothing_and_scaling_space_scales_distances(shape, data):
    diagram, x = drawn(data, shape)
    scale, wanted = data.draw(scales()), diagram.nearest_facet(x)
    louder = PowerDiagram(scale * diagram.sites, scale * diagram.offsets)
    check_same(louder.nearest_facet(x), wanted)
    larger = PowerDiagram(diagram.sites, scale * diagram.offsets)
    check_same(larger.nearest_facet(scale * x), wanted, scale)


@pytest.mark.parametrize("shape", ALL)
@given(data=st.data())
def test_distance_is_1_lipschitz_and_a_shorter_move_keeps_the_label(shape, data):
    diagram, x = drawn(data, shape)
    step = data.draw(points(COUNT, shape[1]))
    here, there = diagram.nearest_facet(x), diagram.nearest_facet(x + step)
    same = np.asarray(here.label == there.label)
    change, length = np.abs(there.distance - here.distance), np.linalg.norm(step, axis=1)
    assert (change[same] <= length[same] + 1e-9).all()
    apart = np.asarray(here.distance + there.distance)[~same]
    assert (apart <= length[~same] + 1e-9).all()  # both distances are to a facet in between
    moved = x + step * np.minimum(0.999 * np.asarray(here.distance) / (length + 1e-9), 1)[:, None]
    clear = np.asarray(here.distance) > 1e-6
    np.testing.assert_array_equal(diagram.label(moved)[clear], here.label[clear])


def test_a_move_across_the_nearest_facet_changes_the_label_to_the_neighbour():
    rng = np.random.default_rng(0)
    diagram = PowerDiagram(rng.normal(size=(17, 4)), 0.1 * rng.normal(size=17))
    x = rng.normal(size=(COUNT, 4))
    facet = diagram.nearest_facet(x)
    normal = np.asarray(diagram.sites)[facet.neighbour] - np.asarray(diagram.sites)[facet.label]
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    moved = x + 1.000001 * np.asarray(facet.distance)[:, None] * normal
    np.testing.assert_array_equal(diagram.label(moved), facet.neighbour)


def test_groups_and_without_duplicates_keep_the_larger_offset_then_the_smaller_index():
    rows = np.array([[1.0, 0], [0, 1], [1, 0], [0, 1], [2, 2], [1, 0], [0, 1]])
    diagram = PowerDiagram(rows, [0.0, 3.0, 5.0, 3.0, -1.0, 5.0, 2.0])
    np.testing.assert_array_equal(diagram.groups(), [0, 1, 0, 1, 4, 0, 1])
    only = np.asarray(diagram.without_duplicates().offsets)
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(only)), [1, 2, 4])
    np.testing.assert_array_equal(only[[1, 2, 4]], [3.0, 5.0, -1.0])
    x = np.random.default_rng(1).normal(size=(200, 2)) * 3
    for got, wanted in zip(
        diagram.without_duplicates().nearest_facet(x), diagram.nearest_facet(x), strict=True
    ):
        np.testing.assert_array_equal(got, wanted)
    narrow = PowerDiagram(np.float32(rows), diagram.offsets).without_duplicates()
    np.testing.assert_array_equal(narrow.label(np.float32(x)), diagram.label(x))


def test_without_duplicates_of_distinct_rows_is_the_same():
    diagram = simplicial_cluster(4)
    np.testing.assert_array_equal(diagram.without_duplicates().offsets, diagram.offsets)


@pytest.mark.parametrize("modes", [2, 3, 5, 33])
@pytest.mark.parametrize("extra", [0, 2])
def test_simplicial_sites_are_equidistant_at_root_2(modes: int, extra: int):
    diagram = simplicial_cluster(modes, dimension=modes - 1 + extra)
    assert diagram.sites.shape == (modes, modes - 1 + extra)
    apart = np.linalg.norm(np.asarray(diagram.sites)[:, None] - diagram.sites, axis=-1)
    np.testing.assert_allclose(apart[~np.eye(modes, dtype=bool)], np.sqrt(2), rtol=1e-14)
    np.testing.assert_allclose(np.sum(diagram.sites, axis=0), 0, atol=1e-13)


def cell_mass(offsets: np.ndarray, i: int) -> float:
    """P(x_i + b_i is the largest) by adaptive quadrature."""
    others = np.delete(offsets, i)
    density = lambda t: stats.norm.pdf(t - offsets[i]) * stats.norm.cdf(t - others).prod()  # noqa: E731
    return integrate.quad(density, -12, 14, epsabs=1e-13, limit=200, points=list(offsets))[0]


LAWS = [[0.5, 0.25, 0.15, 0.1], [0.9, 0.1], [0.98, 0.01, 0.005, 0.005], [0.2] * 5]


@pytest.mark.parametrize("law", LAWS)
def test_unequal_masses_are_reached(law: list[float]):
    offsets = np.asarray(simplicial_cluster(len(law), law).offsets)
    assert offsets.sum() == pytest.approx(0, abs=1e-12)
    got = [cell_mass(offsets, i) for i in range(len(law))]
    np.testing.assert_allclose(got, law, rtol=1e-9)


@given(law=masses(5))
def test_any_masses_are_reached(law: np.ndarray):
    offsets = np.asarray(simplicial_cluster(5, law).offsets)
    np.testing.assert_allclose([cell_mass(offsets, i) for i in range(5)], law, rtol=1e-7)


@pytest.mark.parametrize("small", [1e-9, 1e-30, 1e-100])
def test_tiny_masses_are_reached(small: float):
    offsets = np.asarray(simplicial_cluster(2, [1 - small, small]).offsets)
    gap = (offsets[1] - offsets[0]) / np.sqrt(2)
    assert stats.norm.cdf(gap) == pytest.approx(small, rel=1e-8)


def test_the_drawn_masses_of_a_cluster_are_its_masses():
    law = [0.5, 0.25, 0.15, 0.1]
    x = jax.random.normal(jax.random.key(0), (40_000, 3))
    hits = np.eye(4)[np.asarray(simplicial_cluster(4, law).label(x))]
    check_mean(from_samples(hits), np.array(law), resolution=0.15)
    check_rejects(check_mean, from_samples(hits), np.full(4, 0.25))


@pytest.mark.parametrize(
    "modes", [2, *(pytest.param(m, marks=pytest.mark.slow) for m in (3, 8)), 100]
)
def test_intervals_are_cut_at_the_quantiles(modes: int):
    middle = stats.norm.ppf((np.arange(modes) + 0.5) / modes)[:, None]
    diagram = partition.intervals(modes)
    facet = diagram.nearest_facet(middle)
    np.testing.assert_array_equal(facet.label, np.arange(modes))
    cuts = stats.norm.ppf(np.arange(1, modes) / modes)
    wanted = np.abs(middle - cuts).min(axis=1)
    np.testing.assert_allclose(facet.distance, wanted, rtol=1e-9)


@pytest.mark.parametrize(
    "dimension", [*(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2)), 5]
)
def test_orthants_are_cut_by_the_coordinate_planes(dimension: int):
    x = np.random.default_rng(2).normal(size=(COUNT, dimension))
    facet = partition.orthants(dimension).nearest_facet(x)
    np.testing.assert_array_equal(facet.label, (x > 0) @ 2 ** np.arange(dimension))
    np.testing.assert_allclose(facet.distance, np.abs(x).min(axis=1), rtol=1e-12)


@pytest.mark.parametrize("threshold", [-1.5, 0.0, 2.0])
def test_half_space_is_cut_at_its_threshold(threshold: float):
    x = np.random.default_rng(3).normal(size=(COUNT, 3))
    facet = partition.half_space(3, threshold).nearest_facet(x)
    np.testing.assert_array_equal(facet.label, x[:, 0] > threshold)
    np.testing.assert_allclose(facet.distance, np.abs(x[:, 0] - threshold), rtol=1e-12)


def test_random_code_is_on_the_sphere_and_differs_by_key():
    one, two = (np.asarray(partition.random_code(jax.random.key(k), 50, 3).sites) for k in (0, 1))
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, rtol=1e-14)
    assert np.abs(one - two).max() > 0.1
    with pytest.raises(ValueError, match="collide"):
        partition.random_code(jax.random.key(0), 5, 1)


BAD = {
    "modes must be an integer ≥ 2, got 2.5": lambda: simplicial_cluster(2.5),
    "modes must be an integer ≥ 2, got True": lambda: simplicial_cluster(True),
    "modes must be an integer ≥ 2, got 1": lambda: simplicial_cluster(1),
    "modes must be an integer ≥ 2, got -1": lambda: partition.intervals(-1),
    "modes must be an integer ≥ 2, got 0": lambda: partition.random_code(jax.random.key(0), 0, 2),
    "dimension must be an integer ≥ 1, got 0": lambda: partition.orthants(0),
    "dimension must be an integer ≥ 1, got 1.5": lambda: partition.half_space(1.5),
    "at most 2^16": lambda: partition.orthants(17),
    "needs dimension ≥ 3, got 2: R^2": lambda: simplicial_cluster(4, dimension=2),
    "must sum to 1, got 0.9": lambda: simplicial_cluster(2, [0.5, 0.4]),
    "positive and finite, got -0.5": lambda: simplicial_cluster(2, [1.5, -0.5]),
    "positive and finite, got 0.0": lambda: simplicial_cluster(2, [1.0, 0.0]),
    "positive and finite, got nan": lambda: simplicial_cluster(2, [0.5, np.nan]),
    r"masses must have shape (3,), got (2,)": lambda: simplicial_cluster(3, [0.5, 0.5]),
    "got shape (3,)": lambda: PowerDiagram(np.zeros(3)),
    "of dtype int64": lambda: PowerDiagram(np.zeros((3, 2), np.int64)),
    "M ≥ 2 sites": lambda: PowerDiagram(np.zeros((1, 2))),
    "dimension n ≥ 1, got (2, 0)": lambda: PowerDiagram(np.zeros((2, 0))),
    "sites must be finite": lambda: PowerDiagram(np.full((2, 2), np.nan)),
    "offsets must be finite": lambda: PowerDiagram(np.eye(2), [0.0, np.inf]),
    "got (3,)": lambda: PowerDiagram(np.eye(2), np.zeros(3)),
    "points must have shape (…, 2)": lambda: PowerDiagram(np.eye(2)).label(np.zeros((4, 3))),
    "got shape ()": lambda: PowerDiagram(np.eye(2)).label(np.zeros(())),
    "at least one point": lambda: PowerDiagram(np.eye(2)).nearest_facet(np.zeros((0, 2))),
    "points must be finite": lambda: PowerDiagram(np.eye(2)).label(np.full((4, 2), np.inf)),
    "got dtype int64": lambda: PowerDiagram(np.eye(2)).label(np.zeros((4, 2), np.int64)),
}


test_bad_input_is_named_on_one_line = refusals(BAD)


def test_a_diagram_passes_through_jit_as_a_pytree():
    diagram = simplicial_cluster(3)
    scores = jax.jit(lambda d, x: d.scores(x))(diagram, jnp.ones(2))
    np.testing.assert_allclose(scores, diagram.scores(np.ones(2)), rtol=1e-14)
