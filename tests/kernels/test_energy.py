"""Separation energy of ramps in closed form, cones, and their barriers on a grid."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from tests.kernels.maps import Matrix, Ramp, network, singular_values
from tests.refusals import refusals
from tests.significance import check_mean, check_rejects
from theory.energy import ConeCost, separation_energy
from theory.gaussian import pdf

RNG = np.random.default_rng(22)
ENDS = np.array([[0.0], [1.0]])


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
    transport, cost = network(RNG, 6, 20, 4), ConeCost(RNG.normal(size=(3, 4)), [1.0, 0.5, 2.0])
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


FLAT, PAIR = Matrix(jnp.zeros((2, 3))), np.array([[0.0, 0.0], [1.0, 0.0]])
KEY = jax.random.key(12)
BAD: dict[str, Callable] = {
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
