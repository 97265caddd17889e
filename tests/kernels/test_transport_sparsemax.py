"""sparsemax against a projection by bisection, its leak by quadrature, signed distances by QP."""

import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from tests.refusals import refusals
from tests.significance import check_proportion, check_rejects
from tests.strategies import diagrams, points, reals, scales
from theory import bound
from theory.estimate import Estimate
from theory.gaussian import normal
from theory.partition import PowerDiagram, half_space, orthants, simplicial_cluster
from theory.transport import (
    ScoreMap,
    SignedDistanceMap,
    SparsemaxMap,
    signed_distances,
    sparsemax,
    sparsemax_leak,
)

SIZES = (1, 2, 8, 64)
SHAPES = [  # (M, n)
    (5, 2),
    *(pytest.param(shape, marks=pytest.mark.slow) for shape in ((2, 1), (8, 3))),
]
RNG = np.random.default_rng(31)

project = jax.jit(sparsemax)
distances = jax.jit(jax.vmap(signed_distances, (None, 0)))
jacobians = jax.jit(jax.vmap(lambda transport, x: jax.jacfwd(transport)(x), (None, 0)))
images = jax.jit(jax.vmap(lambda transport, x: transport(x), (None, 0)))


def bisected(z: np.ndarray) -> np.ndarray:
    """max(z − τ, 0), τ by bisection between max z − 1 and max z, rows of float64."""
    low, high = z.max(axis=-1, keepdims=True) - 1, z.max(axis=-1, keepdims=True)
    for _ in range(200):
        middle = (low + high) / 2
        over = np.maximum(z - middle, 0).sum(axis=-1, keepdims=True) > 1
        low, high = np.where(over, middle, low), np.where(over, high, middle)
    return np.maximum(z - low, 0)


def gap(z: np.ndarray, p: np.ndarray) -> np.ndarray:
    """max_q ⟨z − p, q − p⟩ over the simplex; p is the projection of z if and only if it is ≤ 0."""
    return (z - p).max(axis=-1) - ((z - p) * p).sum(axis=-1)


# The projection


@pytest.mark.parametrize("modes", SIZES)
@given(data=st.data(), scale=scales(2.0))
def test_sparsemax_is_the_projection(modes: int, data: st.DataObject, scale: float):
    z = scale * data.draw(reals((5, modes), 2.0))
    got = np.asarray(project(jnp.asarray(z)))
    rounding = 1e-14 * modes * (1 + np.abs(z).max())
    np.testing.assert_allclose(got, bisected(z), atol=rounding)
    assert (got >= 0).all()
    np.testing.assert_allclose(got.sum(axis=-1), 1, atol=rounding)
    assert gap(z, got).max() <= rounding * (1 + np.abs(z).max())


def test_the_optimality_gap_sees_a_wrong_projection():
    z = np.array([0.3, 0.1, -0.5])
    softmax = np.exp(z) / np.exp(z).sum()
    shifted = bisected(z) + np.array([1e-6, -1e-6, 0])
    assert gap(z, bisected(z)) == pytest.approx(0, abs=1e-15)
    assert gap(z, softmax) > 0.1
    assert gap(z, shifted) > 1e-7


@pytest.mark.parametrize("modes", SIZES)
@given(data=st.data(), scale=scales(3.0))
def test_sparsemax_is_1_lipschitz(modes: int, data: st.DataObject, scale: float):
    z, step = data.draw(reals((2, modes), 2.0)), scale * data.draw(reals((2, modes), 1.0))
    moved = project(jnp.asarray(z + step)) - project(jnp.asarray(z))
    apart = np.linalg.norm(np.asarray(moved), axis=1)
    assert (apart <= np.linalg.norm(step, axis=1) + 1e-14 * modes * (1 + scale)).all()


def test_points_of_the_simplex_stay_so_no_smaller_constant_holds():
    p = RNG.dirichlet(np.ones(8), size=20)
    np.testing.assert_allclose(project(jnp.asarray(p)), p, atol=1e-15)


@pytest.mark.parametrize("modes", [2, 8, 64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_lead_of_1_is_exactly_a_vertex_and_less_is_not(modes: int, dtype: type):
    z = RNG.integers(-9, 9, size=(200, modes)).astype(dtype)
    first = z.argmax(axis=1)
    z[np.arange(200), first] += RNG.choice([0, 0.5, 1], size=200)
    ordered = np.sort(z, axis=1)
    leads = ordered[:, -1] - ordered[:, -2] >= 1
    assert 0 < leads.sum() < 200
    got = np.asarray(project(jnp.asarray(z)))
    vertex = np.eye(modes)[first]
    np.testing.assert_array_equal((got == vertex).all(axis=1), leads)
    just_less = vertex * np.nextafter(dtype(1), dtype(0))
    short = np.asarray(project(jnp.asarray(just_less.astype(dtype))))
    assert not (short == vertex).all(axis=1).any()


@given(z=reals((4, 8), 3.0), shift=st.integers(-1000, 1000))
def test_a_common_shift_changes_nothing(z: np.ndarray, shift: int):
    z = np.round(z * 2**20) / 2**20  # so that z + shift is exact
    np.testing.assert_array_equal(project(jnp.asarray(z + shift)), project(jnp.asarray(z)))


@given(z=reals((4, 8), 3.0), order=st.permutations(range(8)))
def test_a_permutation_permutes(z: np.ndarray, order: list[int]):
    got = project(jnp.asarray(z[:, order]))
    np.testing.assert_array_equal(got, np.asarray(project(jnp.asarray(z)))[:, order])


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("modes", [2, 4096])
def test_float32_stays_float32(x64: bool, modes: int):
    with jax.enable_x64(x64):
        z = RNG.normal(size=(10, modes)).astype(np.float32)
        got = jax.jit(sparsemax)(jnp.asarray(z))
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, bisected(np.float64(z)), atol=2e-6)
        np.testing.assert_allclose(np.asarray(got, np.float64).sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(("dtype", "size"), [(np.float32, 3e38), (np.float64, 1.7e308)])
def test_huge_entries_stay_finite(dtype: type, size: float):
    z = jnp.asarray(np.array([[0, 1, 0.5], [1, 1, -1], [-1, -1, -1], [1, -1, 1]]) * dtype(size))
    third = np.full(3, dtype(1) / dtype(3))
    wanted = [[0, 1, 0], [0.5, 0.5, 0], third, [0.5, 0, 0.5]]
    np.testing.assert_allclose(project(z.astype(dtype)), wanted, rtol=1e-6)
    slope = jax.jit(jax.grad(lambda z: jnp.sum(sparsemax(z)[:, 0])))(z.astype(dtype))
    assert np.isfinite(slope).all()


def test_the_gradient_projects_along_the_support():
    """D sparsemax = I_S − 1_S1_Sᵀ/|S|, forwards and backwards; 0 where the lead is > 1."""
    z = jnp.asarray(RNG.normal(size=(20, 6)) / 2)
    support = bisected(np.asarray(z)) > 0
    assert len(set(support.sum(axis=1))) > 2
    for jacobian in (jax.jacfwd, jax.jacrev):
        slopes = jax.jit(jax.vmap(jacobian(sparsemax)))
        got = np.asarray(slopes(z))
        for row, s in zip(got, support.astype(float), strict=True):
            np.testing.assert_allclose(row, np.diag(s) - np.outer(s, s) / s.sum(), atol=1e-15)
        np.testing.assert_array_equal(slopes(z + 9 * jnp.eye(20, 6))[:6], 0)
    step = 1e-6 * RNG.normal(size=6)
    moved = np.asarray(project(z + step) - project(z - step)) / 2
    same = (bisected(np.asarray(z) + step) > 0) == (bisected(np.asarray(z) - step) > 0)
    assert same.all()
    linear = np.einsum("kij,j->ki", got, step)
    np.testing.assert_allclose(moved, linear, atol=1e-15)


# Its leak


def precise_leak(modes: int, stiffness: float) -> mpmath.mpf:
    """1 − M ∫ φ(x) Φ(x − 1/Λ)^{M−1} dx with 40 digits, so that the difference keeps 30."""
    with mpmath.workdps(40):
        shift = 1 / mpmath.mpf(stiffness)
        density = lambda x: mpmath.npdf(x) * mpmath.ncdf(x - shift) ** (modes - 1)  # noqa: E731
        return 1 - modes * mpmath.quad(density, mpmath.linspace(-14, 14, 15))


@pytest.mark.parametrize("modes", [2, 16, 256])
@pytest.mark.parametrize("stiffness", [0.3, 4.0, 128.0])
def test_leak_is_its_integral(modes: int, stiffness: float):
    wanted = float(precise_leak(modes, stiffness))
    assert sparsemax_leak(modes, stiffness) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("modes", [2, 256])
def test_tiny_leaks_keep_digits(modes: int):
    """A lead of 1e-6 is known to 1e-10 of itself where scores are near 1."""
    wanted = float(precise_leak(modes, 1e6))
    assert sparsemax_leak(modes, 1e6) == pytest.approx(wanted, rel=1e-9)
    rate = bound.leak_expansion(modes)[0]
    assert 1e9 * sparsemax_leak(modes, 1e9) == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize("modes", [2, 16, 4096])
@pytest.mark.parametrize("stiffness", [1e-12, 1e-5, 1e-4, 1e-3])
def test_without_stiffness_all_leaks(modes: int, stiffness: float):
    """P(lead ≥ 1/Λ) is below 1e-16 from 1/Λ = 15 on."""
    assert sparsemax_leak(modes, stiffness) == pytest.approx(1, abs=1e-14)


def test_two_modes_leak_as_a_band():
    """x_1 − x_2 ~ N(0, 2) lies in (−1/Λ, 1/Λ)."""
    for stiffness in (0.5, 4.0, 100.0):
        wanted = math.erf(1 / (2 * stiffness))
        assert sparsemax_leak(2, stiffness) == pytest.approx(wanted, rel=1e-13)


@pytest.mark.parametrize(
    ("modes", "wanted"),
    [
        (2, [0.9948, 0.9987]),
        (256, [0.7353, 0.8555, 0.9245, 0.9614, 0.9805, 0.9902]),
    ],
)
def test_leak_over_its_limit_from_4_on(modes: int, wanted: list[float]):
    stiffness = [4.0 * 2**k for k in range(len(wanted))]
    got = [value * sparsemax_leak(modes, value) for value in stiffness]
    limit = math.sqrt(2) * bound.interface_floor(modes)
    np.testing.assert_allclose(np.array(got) / limit, wanted, atol=5e-5)


@pytest.mark.parametrize(
    ("modes", "slope"), [(2, -0.9988), (4, -0.981), (16, -0.955), (64, -0.936), (256, -0.920)]
)
def test_the_slope_of_the_leak_from_4_to_128(modes: int, slope: float):
    stiffness = 2.0 ** np.arange(2, 8)
    leak = [sparsemax_leak(modes, value) for value in stiffness]
    got = np.polyfit(np.log(stiffness), np.log(leak), 1)[0]
    assert got == pytest.approx(slope, abs=6e-5 if modes == 2 else 6e-4)


def vertices(transport: ScoreMap | SignedDistanceMap, x: jax.Array) -> np.ndarray:
    """Whether T(x) is exactly a vertex."""
    return np.asarray(images(transport, x)).max(axis=1) == 1


@pytest.mark.parametrize("modes", [2, 5])
def test_sparsemax_of_samples_leaks_so(modes: int):
    x = normal(jax.random.key(1), (200_000, modes), "float64")
    leak = 1 - vertices(SparsemaxMap(4.0), x).mean()
    wanted = sparsemax_leak(modes, 4.0)
    check_proportion(Estimate(leak, count=200_000), wanted, resolution=0.05)
    first_order = bound.leak_expansion(modes)[0] / 4
    if modes == 5:
        check_rejects(check_proportion, Estimate(leak, count=200_000), first_order)


# Signed distances


@pytest.mark.parametrize("shape", SHAPES)
@given(data=st.data())
def test_signed_distances_are_those_of_the_facets(shape: tuple[int, int], data: st.DataObject):
    diagram = data.draw(diagrams(*shape, apart=0.1))
    x = data.draw(points(8, shape[1]))
    got = np.asarray(distances(diagram, jnp.asarray(x)))
    label, _, delta = map(np.asarray, diagram.nearest_facet(x))
    # A score is known to 1e-14, a distance to that over the least ‖a_i − a_j‖.
    np.testing.assert_allclose(got[np.arange(8), label], delta, atol=1e-12)
    assert (got.max(axis=1) <= got[np.arange(8), label] + 1e-12).all()
    clear = delta > 1e-9
    np.testing.assert_array_equal(got.argmax(axis=1)[clear], label[clear])
    others = np.where(np.arange(shape[0]) == label[:, None], -np.inf, got).max(axis=1)
    np.testing.assert_allclose(others, -delta, atol=1e-11)  # so that the lead is 2δ


@pytest.mark.parametrize("shape", SHAPES)
@given(data=st.data(), size=scales(2.0))
def test_signed_distances_are_1_lipschitz(shape: tuple[int, int], data: st.DataObject, size: float):
    diagram = data.draw(diagrams(*shape, apart=0.1))
    x, step = data.draw(points(6, shape[1])), size * data.draw(points(6, shape[1])) / 3
    there, here = (np.asarray(distances(diagram, jnp.asarray(y))) for y in (x + step, x))
    apart = np.abs(there - here).max(axis=1)
    assert (apart <= np.linalg.norm(step, axis=1) + 1e-12 * (1 + size)).all()


def cell_distance(diagram: PowerDiagram, x: np.ndarray, j: int) -> float:
    """dist(x, B_j): the shortest z with G z ≥ h, by non-negative least squares (Lawson, Hanson)."""
    sites, offsets = np.asarray(diagram.sites), np.asarray(diagram.offsets)
    others = np.arange(diagram.modes) != j
    normals = sites[j] - sites[others]
    lack = -(normals @ x + offsets[j] - offsets[others])
    matrix = np.vstack([normals.T, lack])
    dual, _ = optimize.nnls(matrix, np.eye(len(matrix))[-1])
    residual = matrix @ dual - np.eye(len(matrix))[-1]
    return math.inf if residual[-1] > -1e-9 else float(np.linalg.norm(residual[:-1] / residual[-1]))


@pytest.mark.parametrize("shape", SHAPES)
def test_minus_a_signed_distance_is_at_most_the_distance_to_the_cell(shape: tuple[int, int]):
    """And often equal to it: the nearest point of a cell is mostly inside a facet."""
    diagram = PowerDiagram(RNG.normal(size=shape), 0.1 * RNG.normal(size=shape[0]))
    x = RNG.normal(size=(20, shape[1]))
    got = np.asarray(distances(diagram, jnp.asarray(x)))
    label = np.asarray(diagram.label(x))
    wanted = np.array([[cell_distance(diagram, z, j) for j in range(shape[0])] for z in x])
    np.testing.assert_allclose(wanted[np.arange(20), label], 0, atol=1e-12)
    outside = np.arange(shape[0]) != label[:, None]
    below, above = -got[outside], wanted[outside]
    assert (below <= above + 1e-9).all()
    equal = np.isclose(below, above, atol=1e-9)
    assert equal.sum() >= 20  # at least one of every point: the cell across its nearest facet
    if shape == (8, 3):
        assert not equal.all()


def test_equal_sites_are_left_out():
    sites = RNG.normal(size=(5, 3))
    plain = PowerDiagram(sites, np.zeros(5))
    doubled = PowerDiagram(np.vstack([sites, sites[:1]]), np.append(np.zeros(5), -0.5))
    x = RNG.normal(size=(50, 3))
    got = np.asarray(distances(doubled, jnp.asarray(x)))
    wanted = np.asarray(distances(plain, jnp.asarray(x)))
    np.testing.assert_allclose(got[:, :5], wanted, atol=1e-13)
    assert (got[:, 5] < got[:, 0]).all()  # the lower score of one site
    alone = PowerDiagram(np.ones((3, 2)), np.arange(3.0))
    np.testing.assert_array_equal(distances(alone, jnp.zeros((1, 2))), np.inf)


# Maps


@pytest.mark.parametrize("shape", SHAPES)
@given(data=st.data(), stiffness=scales(2.0), size=scales(2.0))
def test_score_map_is_lipschitz_and_blind_to_a_shift(
    shape: tuple[int, int], data: st.DataObject, stiffness: float, size: float
):
    diagram = data.draw(diagrams(*shape, apart=0.1))
    transport = ScoreMap(diagram, stiffness)
    x, step = data.draw(points(6, shape[1])), size * data.draw(points(6, shape[1])) / 3
    here, there = (np.asarray(images(transport, jnp.asarray(y))) for y in (x, x + step))
    limit = stiffness * np.linalg.norm(step, axis=1)
    # The centred sites have ‖A‖ ≥ 0.05, so scores over it are at most 100.
    rounding = 1e-12 * stiffness * (1 + size)
    assert (np.linalg.norm(there - here, axis=1) <= limit + rounding).all()
    shifted = PowerDiagram(np.asarray(diagram.sites) + 1.5, np.asarray(diagram.offsets) - 0.5)
    moved = np.asarray(images(ScoreMap(shifted, stiffness), jnp.asarray(x)))
    np.testing.assert_allclose(moved, here, atol=10 * rounding)


def test_the_constant_of_a_score_map_is_attained_and_the_shift_would_inflate_it():
    diagram = half_space(3)
    transport = ScoreMap(PowerDiagram(np.asarray(diagram.sites) + 5.0), 2.0)
    x = jnp.array([[0.0, 0.3, 0.0], [0.1, 0.3, 0.0]])
    first, second = images(transport, x)
    assert float(jnp.linalg.norm(first - second)) == pytest.approx(0.2, rel=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
@given(data=st.data(), stiffness=scales(1.0))
def test_signed_distance_map_lands_exactly_where_the_facets_are_far(
    shape: tuple[int, int], data: st.DataObject, stiffness: float
):
    diagram = data.draw(diagrams(*shape, apart=0.1))
    x = data.draw(points(16, shape[1]))
    got = np.asarray(images(SignedDistanceMap(diagram, stiffness), jnp.asarray(x)))
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-10 * (1 + stiffness))
    label, _, delta = map(np.asarray, diagram.nearest_facet(x))
    lead = math.sqrt(2) * stiffness * delta
    clear = np.abs(lead - 1) > 1e-10 * (1 + stiffness)
    landed = (got == np.eye(shape[0])[label]).all(axis=1)
    np.testing.assert_array_equal(landed[clear], lead[clear] >= 1)
    on_any = got.max(axis=1) == 1
    np.testing.assert_array_equal(landed[clear], on_any[clear])


def test_signed_distance_map_is_sharp_on_quadrants_where_scores_are_not():
    """γ(δ < h) = 1 − P(|x| ≥ h)², h = 1/(√2Λ)."""
    x, stiffness, count = normal(jax.random.key(2), (200_000, 2), "float64"), 8.0, 200_000
    quadrants = orthants(2)
    sharp, raw = (
        Estimate(1 - vertices(kind(quadrants, stiffness), x).mean(), count=count)
        for kind in (SignedDistanceMap, ScoreMap)
    )
    wanted = 1 - (2 * stats.norm.sf(1 / (math.sqrt(2) * stiffness))) ** 2
    check_proportion(sharp, wanted, resolution=0.04)
    check_rejects(check_proportion, raw, wanted)


def test_signed_distance_map_of_the_simplicial_cluster_leaks_as_sparsemax():
    x = normal(jax.random.key(3), (200_000, 3), "float64")
    cluster = simplicial_cluster(4)
    leak = Estimate(1 - vertices(SignedDistanceMap(cluster, 4.0), x).mean(), count=200_000)
    check_proportion(leak, sparsemax_leak(4, 4.0), resolution=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("diagram", [simplicial_cluster(3), orthants(2)], ids=["tripod", "cross"])
def test_signed_distance_map_stretches_by_its_stiffness_save_at_corners(diagram: PowerDiagram):
    """Jacobians, at points of the interfaces and at corners, where samples can only refute."""
    transport = SignedDistanceMap(diagram, 50.0)
    stretches = lambda x: np.linalg.norm(jacobians(transport, x), 2, axis=(1, 2))  # noqa: E731
    corner = 0.03 * normal(jax.random.key(4), (4000, 2), "float64")
    assert stretches(corner).max() > 1.04 * 50
    x = normal(jax.random.key(5), (4000, 2), "float64")
    label, neighbour, delta = diagram.nearest_facet(x)
    across = diagram.sites[neighbour] - diagram.sites[label]
    across = across / jnp.linalg.norm(across, axis=1, keepdims=True)
    share = jnp.asarray(RNG.uniform(-0.9, 0.9, size=len(x)))  # of the half-width 1/(√2Λ)
    foot = x + (delta + share / (math.sqrt(2) * 50))[:, None] * across
    scores = np.sort(np.asarray(diagram.scores(foot)), axis=1)
    alone = scores[:, -2] - scores[:, -3] > 0.3
    assert alone.sum() > 1000
    np.testing.assert_allclose(stretches(foot)[alone], 50, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_maps_follow_the_dtype_of_the_diagram(dtype: type):
    diagram = PowerDiagram(RNG.normal(size=(5, 3)).astype(dtype))
    x = jnp.asarray(RNG.normal(size=(4, 3)).astype(dtype))
    for kind in (ScoreMap, SignedDistanceMap):
        assert images(kind(diagram, 4.0), x).dtype == dtype


def test_signed_distance_map_is_sharp_beside_a_duplicate_that_is_never_chosen():
    """Every partition is to have its sharp map, that of a readout with equal rows too."""
    doubled = PowerDiagram(np.array([[-0.5], [-0.5], [0.5]]), np.array([0.0, -0.1, 0.0]))
    far = jnp.array([[-5.0]])
    np.testing.assert_array_equal(images(SignedDistanceMap(doubled, 4.0), far), [[1, 0, 0]])


HALF = half_space(2)
BAD = {
    "modes must be an integer ≥ 2, got 1": lambda: sparsemax_leak(1, 1.0),
    "modes must be an integer ≥ 2, got 2.0": lambda: sparsemax_leak(2.0, 1.0),
    "modes must be an integer ≥ 2, got True": lambda: sparsemax_leak(True, 1.0),
    "stiffness must be a positive finite number, got 0": lambda: sparsemax_leak(2, 0),
    "stiffness must be a positive finite number, got inf": lambda: sparsemax_leak(2, math.inf),
    "stiffness must be a positive finite number, got -1.0": lambda: ScoreMap(HALF, -1.0),
    "stiffness must be a positive finite number, got nan": lambda: SignedDistanceMap(
        HALF, math.nan
    ),
    "stiffness must be a positive finite number, got True": lambda: SparsemaxMap(True),
    "got an array of shape (2,)": lambda: ScoreMap(HALF, np.ones(2)),
    "sites that differ, got M equal ones": lambda: ScoreMap(PowerDiagram(np.ones((3, 2))), 1.0),
}


test_bad_input_is_named = refusals(BAD)
