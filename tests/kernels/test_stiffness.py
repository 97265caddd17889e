"""Jacobian norms against dense decompositions, leak and energy of ramps, barriers on a grid."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from tests.kernels.test_compilation import compilations
from tests.refusals import refusals
from tests.significance import check_mean, check_proportion, check_rejects
from theory import batches, lanczos
from theory.energy import ConeCost, separation_energy
from theory.estimate import Estimate, proportion_interval
from theory.gaussian import pdf
from theory.jacobian import OfRows, row_normals
from theory.lanczos import leading_pairs, stepwise_pairs
from theory.leak import count_leak, leak
from theory.partition import PowerDiagram, half_space
from theory.singular import singular_directions
from theory.stiffness import (
    Norms,
    frobenius_norms,
    normal_stretch,
    operator_norms,
    stretch,
)

RNG = np.random.default_rng(21)


class Matrix(eqx.Module):
    """x ↦ Ax."""

    matrix: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.matrix @ x


class Network(eqx.Module):
    """x ↦ B tanh(Ax + a)."""

    first: jax.Array
    shift: jax.Array
    last: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.last @ jnp.tanh(self.first @ x + self.shift)


class Ramp(eqx.Module):
    """x ↦ clip(Λx + ½, 0, 1) on R."""

    slope: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.clip(self.slope * x + 0.5, 0, 1)


def matrix(rows: int, columns: int, rank: int | None = None) -> Matrix:
    if rank is None:
        return Matrix(jnp.asarray(RNG.normal(size=(rows, columns))))
    factors = RNG.normal(size=(rows, rank)), RNG.normal(size=(rank, columns))
    return Matrix(jnp.asarray(factors[0] @ factors[1]))


def network(n: int, width: int, d: int) -> Network:
    shapes = (width, n), (width,), (d, width)
    return Network(*(jnp.asarray(RNG.normal(size=s) / math.sqrt(s[-1])) for s in shapes))


def orthogonal(n: int) -> Matrix:
    return Matrix(jnp.asarray(stats.ortho_group.rvs(n, random_state=3)))


MAPS = {  # T, n
    "256 → 256": (matrix(256, 256), 256),
    "40 → 3": (matrix(3, 40), 40),
    "3 → 40": (matrix(40, 3), 3),
    "rank 2": (matrix(30, 50, 2), 50),
    "n = 1": (matrix(7, 1), 1),
    "d = 1": (matrix(1, 9), 9),
    "1 → 1": (matrix(1, 1), 1),
    "network": (network(50, 64, 40), 50),
    "orthogonal": (orthogonal(40), 40),
    "projection": (Matrix(jnp.diag(jnp.arange(40) < 30).astype(float)), 40),
    "zero": (Matrix(jnp.zeros((30, 50))), 50),
}


def singular_values(transport: Callable, x: np.ndarray) -> np.ndarray:
    jacobians = np.asarray(jax.vmap(jax.jacfwd(transport))(jnp.asarray(x)), np.float64)
    return np.linalg.svd(jacobians, compute_uv=False)


LIKE_OTHERS = {"40 → 3", "3 → 40", "network"}  # for the default run


@pytest.mark.parametrize(
    "name", [pytest.param(m, marks=pytest.mark.slow if m in LIKE_OTHERS else ()) for m in MAPS]
)
def test_norms_are_those_of_the_dense_jacobian(name: str):
    transport, n = MAPS[name]
    x = RNG.normal(size=(4, n))
    dense = singular_values(transport, x)
    got = operator_norms(jax.random.key(1), transport, x, tolerance=1e-8)
    np.testing.assert_allclose(got.value, dense[:, 0], rtol=1e-6)  # so zero is exact
    assert (got.value <= dense[:, 0] * (1 + 1e-12)).all()
    assert (got.error <= 1e-8 * got.value).all()
    distance = np.abs(dense - got.value[:, None]).min(axis=1)
    assert (distance <= got.error + 1e-13 * got.value).all()
    np.testing.assert_allclose(
        frobenius_norms(transport, x), np.linalg.norm(dense, axis=1), rtol=1e-12
    )


QUICK = {(stepwise_pairs, "rank 2")}  # to compile


@pytest.mark.parametrize(
    ("pairs", "name"),
    [
        pytest.param(pairs, name, marks=() if (pairs, name) in QUICK else pytest.mark.slow)
        for pairs in (leading_pairs, stepwise_pairs)
        for name in ("rank 2", "40 → 3", "network", "orthogonal")
    ],
)
def test_leading_pairs_are_those_of_the_dense_jacobian(pairs: Callable, name: str):
    """With as many copies of a singular value as there are, and orthonormal vectors in a kernel."""
    transport, n = MAPS[name]
    x = jnp.asarray(RNG.normal(size=(4, n)))
    starts = row_normals(jax.random.key(9), x, jnp.int32(0), 3)
    value, error, vectors = pairs(transport, x, starts, jnp.asarray(1e-7), jnp.int32(50))
    dense = singular_values(transport, x)[:, :3]
    np.testing.assert_allclose(value, dense, rtol=1e-6, atol=1e-9 * dense.max())
    assert (np.abs(dense - value) <= error + 1e-9 * dense.max()).all()
    jacobian = jax.vmap(jax.jacfwd(transport))(x)
    stretched = np.linalg.norm(np.einsum("pdn,pkn->pkd", jacobian, vectors), axis=2)
    np.testing.assert_allclose(stretched, dense, rtol=1e-6, atol=1e-7 * dense.max())
    gram = np.einsum("pkn,pjn->pkj", vectors, vectors)
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(3), gram.shape), atol=1e-12)


def test_singular_directions_are_the_right_vectors_up_to_sign():
    transport, n = MAPS["network"]
    x = RNG.normal(size=(4, n))
    got = singular_directions(jax.random.key(10), transport, x, 2, tolerance=1e-9)
    for point, ways, values in zip(x, got.vectors, got.value, strict=True):
        _, sigma, right = np.linalg.svd(np.asarray(jax.jacfwd(transport)(jnp.asarray(point))))
        np.testing.assert_allclose(values, sigma[:2], rtol=1e-8)
        cosines = np.abs(np.sum(ways * right[:2], axis=1))
        np.testing.assert_allclose(cosines, 1, atol=1e-6)


def test_a_map_of_rows_is_a_transport_of_one_point():
    transport = OfRows(lambda z: jnp.stack([z, 2 * z], axis=1))
    np.testing.assert_array_equal(transport(jnp.array([1.0, 3.0])), [1, 3, 2, 6])
    got = operator_norms(jax.random.key(11), transport, np.zeros((2, 2)))
    np.testing.assert_allclose(got.value, math.sqrt(5), rtol=1e-12)


def test_a_loose_error_still_holds_a_singular_value():
    """Of a map with many singular values near the largest."""
    rotation, x = orthogonal(80), RNG.normal(size=(64, 80))
    transport = lambda z: jnp.tanh(rotation(z))  # noqa: E731
    dense = singular_values(transport, x)
    got = operator_norms(jax.random.key(3), transport, x, cycles=1)
    assert (got.error > 1e-3 * got.value).any()  # one cycle is not enough
    assert (got.value <= dense[:, 0] * (1 + 1e-12)).all()
    distance = np.abs(dense - got.value[:, None]).min(axis=1)
    assert (distance <= got.error).all()
    full = operator_norms(jax.random.key(3), transport, x)
    assert (full.error <= 1e-3 * full.value).all()
    np.testing.assert_allclose(full.value, dense[:, 0], rtol=1e-3)


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.1), (1.0, 3.0), (0.1, 3.0), (0.0, 1.0)])
def test_the_error_is_sharp(low: float, high: float):
    """Weights on singular values σ ± e alone with mean square σ²: e is the distance itself."""
    sigma, apart = (low + high) / 2, (high - low) / 2
    share = (sigma**2 - low**2) / (high**2 - low**2)
    vector = jnp.sqrt(jnp.array([[1 - share, share]]))
    scale = jnp.array([low, high])
    value, error = lanczos.quotient(vector, vector * scale, vector * scale**2)
    assert float(value[0]) == pytest.approx(sigma, rel=1e-14)
    assert float(error[0]) == pytest.approx(apart, rel=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["256 → 256", "projection"])
def test_float32_stays_float32(name: str):
    transport, n = MAPS[name]
    transport = jax.tree.map(lambda a: a.astype(jnp.float32), transport)
    x = RNG.normal(size=(5, n)).astype(np.float32)
    got = operator_norms(jax.random.key(4), transport, x, tolerance=1e-9)
    assert (got.value.dtype, got.error.dtype) == (np.float32, np.float32)
    dense = singular_values(transport, x)
    np.testing.assert_allclose(got.value, dense[:, 0], rtol=1e-5)
    assert (got.error <= 1e-4 * got.value).all()
    frobenius = frobenius_norms(transport, x)
    assert frobenius.dtype == np.float32
    np.testing.assert_allclose(frobenius, np.linalg.norm(dense, axis=1), rtol=1e-5)


@pytest.mark.parametrize("name", [pytest.param("40 → 3", marks=pytest.mark.slow), "3 → 40"])
def test_float32_points_and_float64_parameters(name: str):
    transport, n = MAPS[name]
    x = RNG.normal(size=(5, n)).astype(np.float32)
    dense = singular_values(transport, x)
    norms = operator_norms(jax.random.key(5), transport, x)
    np.testing.assert_allclose(norms.value, dense[:, 0], rtol=1e-5)
    np.testing.assert_allclose(
        frobenius_norms(transport, x), np.linalg.norm(dense, axis=1), rtol=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scales_whose_squares_float32_does_not_hold(scale: float):
    transport, n = MAPS["3 → 40"]
    scaled = Matrix((scale * transport.matrix).astype(jnp.float32))
    x = RNG.normal(size=(5, n)).astype(np.float32)
    wanted = scale * singular_values(transport, x)
    norms = operator_norms(jax.random.key(6), scaled, x)
    np.testing.assert_allclose(norms.value, wanted[:, 0], rtol=1e-5)
    np.testing.assert_allclose(
        frobenius_norms(scaled, x), np.linalg.norm(wanted, axis=1), rtol=1e-5
    )
    across = normal_stretch(scaled, half_space(3), x)
    np.testing.assert_allclose(across, scale * np.linalg.norm(transport.matrix[:, 0]), rtol=1e-5)


@pytest.mark.slow
def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch):
    transport, x = network(30, 30, 25), RNG.normal(size=(50, 30))
    diagram = PowerDiagram(RNG.normal(size=(6, 30)))
    modes = RNG.normal(size=(4, 25))

    def everything() -> list[np.ndarray]:
        norms = operator_norms(jax.random.key(7), transport, x, tolerance=1e-3)
        loss = count_leak(transport, modes, x, 0.6)
        return [*norms, normal_stretch(transport, diagram, x), loss.masses.value]

    whole = everything()
    monkeypatch.setattr(batches, "ROWS", 16)
    for got, wanted in zip(everything(), whole, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9)
    few = operator_norms(jax.random.key(7), transport, x[:3])
    np.testing.assert_allclose(few.value, whole[0][:3], rtol=1e-12)


def test_a_plain_function_will_do():
    waves = lambda x: jnp.sin(x) * jnp.arange(1.0, 4.0)  # noqa: E731
    got = operator_norms(jax.random.key(8), waves, np.zeros((2, 3)))
    np.testing.assert_allclose(got.value, 3, rtol=1e-6)


def test_stretch_summarises():
    value = RNG.uniform(0, 2, size=1000)
    plain, stated = stretch(value), stretch(Norms(value, 0.01 * value), levels=(0.25,))
    assert plain.maximum == value.max()
    assert plain.mean.value == pytest.approx(value.mean(), rel=1e-12)
    assert plain.mean_square.value == pytest.approx((value**2).mean(), rel=1e-12)
    assert (plain.mean.bias, plain.mean_square.bias) == (0, 0)
    np.testing.assert_allclose(plain.quantiles, np.sort(value)[[499, 899, 989]])
    np.testing.assert_allclose(stated.quantiles, np.sort(value)[249])
    assert stated.mean.bias == pytest.approx(0.01 * value.mean(), rel=1e-12)
    assert stated.mean_square.bias == pytest.approx(0.0201 * (value**2).mean(), rel=1e-12)


def test_normal_stretch_is_taken_at_the_foot():
    """T = (x_1², x_2): across x_1 = c it stretches by 2c, wherever x is."""
    x = RNG.normal(size=(20, 2))
    got = normal_stretch(lambda z: jnp.stack([z[0] ** 2, z[1]]), half_space(2, 0.7), x)
    np.testing.assert_allclose(got, 1.4, rtol=1e-12)


def test_normal_stretch_of_many_cells_is_its_definition():
    transport = network(4, 12, 5)
    diagram = PowerDiagram(RNG.normal(size=(9, 4)), 0.2 * RNG.normal(size=9))
    x = RNG.normal(size=(30, 4))
    wanted = []
    for point, y, j, distance in zip(x, *map(np.asarray, diagram.nearest_facet(x)), strict=True):
        across = np.asarray(diagram.sites[j] - diagram.sites[y])
        across = across / np.linalg.norm(across)
        scores = np.sort(np.asarray(diagram.scores(point + distance * across)))
        assert scores[-1] == pytest.approx(scores[-2], abs=1e-12)  # the foot is on the facet
        jacobian = jax.jacfwd(transport)(jnp.asarray(point + distance * across))
        wanted.append(np.linalg.norm(np.asarray(jacobian) @ across))
    np.testing.assert_allclose(normal_stretch(transport, diagram, x), wanted, rtol=1e-10)


ENDS = np.array([[0.0], [1.0]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("radius", [0.0, 0.2])
def test_leak_of_a_ramp(dtype: type, radius: float):
    slope, samples = 3.0, 300_000
    exact = 2 * stats.norm.cdf((0.5 - radius) / slope) - 1
    got = leak(
        jax.random.key(9),
        Ramp(jnp.asarray(slope, dtype)),
        ENDS.astype(dtype),
        radius=radius,
        samples=samples,
        dimension=1,
    )
    assert got.count == samples == got.leak.count
    check_proportion(got.leak, exact, resolution=0.05)
    check_rejects(check_proportion, got.leak, 1.06 * exact)
    assert got.leak_interval().contains(exact)
    assert got.mass_intervals().contains((1 - exact) / 2).all()
    assert not got.mass_intervals().contains((1 - exact) / 2 + 0.01).any()
    assert got.leak.value + got.masses.value.sum() == pytest.approx(1, abs=1e-12)


def test_mass_intervals_share_the_failure_probability():
    got = count_leak(Ramp(jnp.asarray(1.0)), ENDS, RNG.normal(size=(500, 1)), 0.1)
    single = proportion_interval(Estimate(got.masses.value[1], count=500), 0.01)
    both = got.mass_intervals(0.02)
    assert (both.lower[1], both.upper[1]) == single


def test_leak_counts_points_in_balls():
    transport, modes = network(5, 20, 3), RNG.normal(size=(4, 3))
    x = RNG.normal(size=(3000, 5))
    distance = np.linalg.norm(
        np.asarray(jax.vmap(transport)(jnp.asarray(x)))[:, None] - modes, axis=2
    )
    radius = 0.49 * min(np.linalg.norm(modes[i] - modes[j]) for i in range(4) for j in range(i))
    got = count_leak(transport, modes, x, radius)
    np.testing.assert_allclose(
        got.masses.value * 3000, (distance <= radius).sum(axis=0), rtol=1e-12
    )
    assert got.leak.value * 3000 == pytest.approx((distance > radius).all(axis=1).sum())


@pytest.mark.parametrize("x64", [False, True])
def test_point_modes_are_met_through_float32_rounding(x64: bool):
    with jax.enable_x64(x64):
        vertices = (10 * RNG.normal(size=(8, 30))).astype(np.float32)

        def commit(x: jax.Array) -> jax.Array:
            chosen = jax.nn.one_hot(jnp.argmax(x), 8, dtype=x.dtype)
            return (jnp.asarray(vertices).T @ (0.3 * chosen)) / 0.3

        x = RNG.normal(size=(500, 8)).astype(np.float32)
        assert not np.isin(np.asarray(jax.vmap(commit)(x)), vertices).all()
        assert count_leak(commit, vertices, x, 0.0).leak.value == 0
        assert count_leak(lambda x: 1.0001 * commit(x), vertices, x, 0.0).leak.value == 1


def test_a_single_mode_overlaps_none():
    got = count_leak(Ramp(jnp.asarray(1.0)), ENDS[:1], np.array([[-9.0], [9.0]]), 0.9)
    assert (got.leak.value, got.masses.value.tolist()) == (0.5, [0.5])


def test_separation_energy_of_a_ramp():
    """V = min(2z, 1 − z) on a ramp of slope Λ, where J = Λ·E V."""
    slope = 2.0
    cost = ConeCost(ENDS, [2.0, 1.0])
    value = lambda x: min(2 * (slope * x + 0.5), 0.5 - slope * x) * float(pdf(x))  # noqa: E731
    exact = integrate.quad(value, -0.25, 0.25, points=[-1 / 12])[0]
    got = separation_energy(
        jax.random.key(10), Ramp(jnp.asarray(slope)), cost, dimension=1, samples=200_000
    )
    check_mean(got.cost, exact, resolution=0.05)
    check_mean(got.energy, slope * exact, resolution=0.05)
    check_rejects(check_mean, got.energy, 1.06 * slope * exact)
    assert got.energy.value == pytest.approx(slope * got.cost.value, rel=1e-9)
    assert got.cost.count == 200_000


@pytest.mark.slow
def test_separation_energy_of_a_network_is_its_definition():
    transport, cost = network(6, 20, 4), ConeCost(RNG.normal(size=(3, 4)), [1.0, 0.5, 2.0])
    got = separation_energy(jax.random.key(11), transport, cost, dimension=6, samples=20_000)
    x = RNG.normal(size=(20_000, 6))
    v = np.asarray(jax.vmap(lambda z: cost(transport(z)))(jnp.asarray(x)))
    direct = v * singular_values(transport, x)[:, 0]
    for estimate, other in ((got.cost, v), (got.energy, direct)):
        spread = math.hypot(estimate.sem, stats.sem(other))
        assert abs(estimate.value - other.mean()) <= 6.2 * spread  # fails with probability 6e-10
        assert spread <= 0.01 * estimate.value


def test_cone_cost_is_its_definition():
    e, c = RNG.normal(size=(4, 3)), np.array([1.0, 2.0, 0.5, 3.0])
    cost = ConeCost(e, c)
    for z in RNG.normal(size=(10, 3)):
        wanted = (c * np.linalg.norm(z - e, axis=1)).min()
        assert float(cost(jnp.asarray(z))) == pytest.approx(wanted, rel=1e-12)
    at = jnp.asarray(e[1])
    assert float(cost(at)) == 0
    np.testing.assert_array_equal(jax.grad(cost)(at), 0)


def straight(cost: ConeCost, i: int, j: int) -> float:
    """∫V along the segment from e_i to e_j."""
    start, end = cost.vertices[i], cost.vertices[j]
    t = (np.arange(20_000) + 0.5) / 20_000
    values = jax.vmap(cost)(start + t[:, None] * (end - start))
    return float(jnp.mean(values) * jnp.linalg.norm(end - start))


def grid_paths(cost: ConeCost, step: float) -> np.ndarray:
    """Least ∫V over paths on a planar grid that joins every node to all within 4 steps a side."""
    e, c = np.asarray(cost.vertices), np.asarray(cost.weights)
    low, high = e.min(axis=0) - 0.2, e.max(axis=0) + 0.2
    shape = np.ceil((high - low) / step).astype(int) + 1
    nodes = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    index = np.arange(len(nodes.reshape(-1, 2))).reshape(shape)
    rows, columns, weights = [], [], []
    for move in np.argwhere(np.gcd(*np.mgrid[0:5, -4:5]) == 1) - [0, 4]:
        inside = ((nodes + move >= 0) & (nodes + move < shape)).all(axis=-1)
        ends = nodes[inside] + move
        middle = low + step * np.stack(
            [nodes[inside] + t * move for t in (0.1, 0.3, 0.5, 0.7, 0.9)]
        )
        v = (c * np.linalg.norm(middle[..., None, :] - e, axis=-1)).min(axis=-1).mean(axis=0)
        rows.append(index[inside])
        columns.append(index[ends[:, 0], ends[:, 1]])
        weights.append(v * step * np.linalg.norm(move))
    edges = np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))
    source = index[tuple(np.round((e - low) / step).astype(int).T)]
    return dijkstra(coo_matrix(edges, shape=(index.size,) * 2), False, source)[:, source]


def test_barrier_of_two_cones_is_the_straight_way():
    cost = ConeCost(np.array([[0.0, 0.0], [1.0, 2.0]]), [1.0, 3.0])
    exact = 3 / 8 * 5
    assert straight(cost, 0, 1) == pytest.approx(exact, rel=1e-6)
    np.testing.assert_allclose(cost.barriers(), [[0, exact], [exact, 0]], rtol=1e-14)
    assert grid_paths(cost, 0.02)[0, 1] == pytest.approx(exact, rel=0.01)


def test_barriers_of_equal_cones_are_those_on_a_grid():
    # Between the first and the second the way through the fourth is shorter than the straight one.
    cost = ConeCost(np.array([[0.0, 0.0], [2.0, 0.0], [0.6, 1.2], [0.8, -0.4]]), 2 * np.ones(4))
    got = cost.barriers()
    assert got[0, 1] == pytest.approx(got[0, 3] + got[3, 1], rel=1e-14)
    assert got[0, 1] < 0.9 * straight(cost, 0, 1)
    assert got[0, 2] == pytest.approx(straight(cost, 0, 2), rel=1e-6)
    np.testing.assert_allclose(grid_paths(cost, 0.02), got, rtol=0.01, atol=1e-9)


def test_edges_are_no_barriers_of_unequal_cones():
    """A way across the third, lighter cone is cheaper than all edges, so that these are refused."""
    triangle = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.9]])
    weights = np.array([4.0, 4.0, 1.0])
    edges = weights[:, None] * weights / (weights[:, None] + weights) / 2
    edges *= ((triangle[:, None] - triangle) ** 2).sum(axis=2)
    shortest = min(edges[0, 1], edges[0, 2] + edges[2, 1])
    assert grid_paths(ConeCost(triangle, weights), 0.02)[0, 1] < 0.8 * shortest
    with pytest.raises(ValueError, match="equal weights"):
        ConeCost(triangle, weights).barriers()


def case(seed: int) -> tuple:
    rng = np.random.default_rng(seed)
    transport = Network(*(jnp.asarray(rng.normal(size=s)) for s in ((6, 4), (6,), (3, 6))))
    return jax.random.key(seed), transport, rng.normal(size=(20, 4)), rng.normal(size=(3, 3))


CALLS = {
    "operator_norms": lambda k, t, x, e: operator_norms(k, t, x, tolerance=10.0 ** -x[0, 0]),
    "frobenius_norms": lambda k, t, x, e: frobenius_norms(t, x),
    "normal_stretch": lambda k, t, x, e: normal_stretch(t, PowerDiagram(np.diag(x[0])), x),
    "leak": lambda k, t, x, e: leak(
        k, t, e, radius=1e-3 * abs(x[0, 0]), samples=3000 + int(9 * x[0, 1]), dimension=4
    ),
    "separation_energy": lambda k, t, x, e: separation_energy(
        k, t, ConeCost(e), dimension=4, samples=3000 + int(9 * x[0, 1])
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_other_values_compile_nothing(name: str):
    with jax.debug_key_reuse(False):
        CALLS[name](*case(0))
        with compilations() as said:
            CALLS[name](*case(1))
    assert said == []


KEY, POINTS, FLAT = jax.random.key(12), np.zeros((2, 3)), Matrix(jnp.zeros((2, 3)))
PAIR = np.array([[0.0, 0.0], [1.0, 0.0]])
BAD: dict[str, Callable] = {
    "tolerance must be a positive finite number, got 0": lambda: operator_norms(
        KEY, FLAT, POINTS, tolerance=0
    ),
    "a map of R^3 to R^2 has 2 pairs, got count 3": lambda: singular_directions(
        KEY, FLAT, POINTS, 3
    ),
    "count must be an integer ≥ 1, got 0": lambda: singular_directions(KEY, FLAT, POINTS, 0),
    "cycles must be an integer ≥ 1, got 0": lambda: operator_norms(KEY, FLAT, POINTS, cycles=0),
    "points must be finite": lambda: operator_norms(KEY, FLAT, np.full((2, 3), math.nan)),
    "points must have shape (N, n), N and n ≥ 1, got shape (3,)": lambda: frobenius_norms(
        FLAT, np.zeros(3)
    ),
    "got shape (0, 3)": lambda: operator_norms(KEY, FLAT, np.zeros((0, 3))),
    "points must be floating, got dtype int": lambda: operator_norms(
        KEY, FLAT, np.ones((2, 3), int)
    ),
    "a transport maps (3,) to a floating (d,), got float64 ()": lambda: frobenius_norms(
        jnp.sum, POINTS
    ),
    "got float64 (3, 3)": lambda: operator_norms(KEY, lambda x: jnp.outer(x, x), POINTS),
    "to a floating (d,), got int": lambda: operator_norms(KEY, lambda x: x.astype(int), POINTS),
    "got ('float64 (3,)', 'float64 (3,)')": lambda: operator_norms(KEY, lambda x: (x, x), POINTS),
    "Jacobian of T is not finite at 2 of 2": lambda: operator_norms(KEY, jnp.sqrt, POINTS),
    "not finite at 2 of 2 points": lambda: frobenius_norms(jnp.sqrt, POINTS),
    "without facets": lambda: normal_stretch(FLAT, PowerDiagram(np.ones((2, 3))), POINTS),
    "points must have shape (…, 2)": lambda: normal_stretch(FLAT, half_space(2), POINTS),
    "expected norms of shape (N,), N ≥ 2, got shape (1,)": lambda: stretch([1.0]),
    "norms are finite and ≥ 0, got -1.0 to 1.0": lambda: stretch([1.0, -1.0]),
    "levels of quantiles lie in (0, 1)": lambda: stretch([1.0, 2.0], levels=(0.5, 1.0)),
    "radius must be a finite number ≥ 0, got -0.1": lambda: count_leak(FLAT, PAIR, POINTS, -0.1),
    "overlapping modes: radius 0.5, and centres 1 apart": lambda: count_leak(
        FLAT, PAIR, POINTS, 0.5
    ),
    "centres 0 apart": lambda: count_leak(FLAT, np.zeros((2, 2)), POINTS, 0.0),
    "modes must be finite": lambda: count_leak(FLAT, np.full((2, 2), math.inf), POINTS, 0.0),
    "modes lie in R^3, but T maps to R^2": lambda: count_leak(FLAT, np.eye(3), POINTS, 0.1),
    "T must be finite": lambda: count_leak(lambda x: jnp.log(x[:2]), PAIR, POINTS - 1, 0.1),
    "samples must be an integer ≥ 2, got 1": lambda: leak(
        KEY, FLAT, PAIR, radius=0.1, samples=1, dimension=3
    ),
    "dimension must be an integer ≥ 1, got 0": lambda: separation_energy(
        KEY, FLAT, ConeCost(PAIR), samples=2, dimension=0
    ),
    "a cost is finite and ≥ 0, got -1.0": lambda: separation_energy(
        jax.random.key(13), FLAT, lambda z: z[0] - 1, samples=2, dimension=3
    ),
    "a cost maps a point to a number, got shape (2,)": lambda: separation_energy(
        jax.random.key(14), FLAT, lambda z: z, samples=2, dimension=3
    ),
    "weights must be 2 positive finite numbers, got shape (2,), least 0.0": lambda: ConeCost(
        PAIR, [0.0, 1.0]
    ),
    "weights must be 2 positive": lambda: ConeCost(PAIR, [1.0, 1.0, 1.0]),
    "duplicate vertices among 3": lambda: ConeCost(PAIR[[0, 1, 0]]),
    "vertices must be finite": lambda: ConeCost(math.nan * PAIR),
}


test_bad_input_is_named = refusals(BAD)
