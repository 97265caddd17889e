"""Jacobian norms, stretches and singular directions against dense decompositions."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.kernels.maps import Matrix, network, singular_values
from tests.refusals import refusals
from theory import batches, lanczos
from theory.jacobian import OfRows, row_normals
from theory.lanczos import leading_pairs, stepwise_pairs
from theory.leak import count_leak
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


def matrix(rows: int, columns: int, rank: int | None = None) -> Matrix:
    if rank is None:
        return Matrix(jnp.asarray(RNG.normal(size=(rows, columns))))
    factors = RNG.normal(size=(rows, rank)), RNG.normal(size=(rank, columns))
    return Matrix(jnp.asarray(factors[0] @ factors[1]))


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
    "network": (network(RNG, 50, 64, 40), 50),
    "orthogonal": (orthogonal(40), 40),
    "projection": (Matrix(jnp.diag(jnp.arange(40) < 30).astype(float)), 40),
    "zero": (Matrix(jnp.zeros((30, 50))), 50),
}


LIKE_OTHERS = {
    "256 → 256",
    "40 → 3",
    "3 → 40",
    "network",
    "orthogonal",
    "projection",
}  # for the default run


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
    rotation, x = orthogonal(80), np.random.default_rng(5).normal(size=(64, 80))
    transport = lambda z: jnp.tanh(rotation(z))  # noqa: E731
    dense = singular_values(transport, x)
    got = operator_norms(jax.random.key(3), transport, x, cycles=1)
    assert (got.error > 1e-3 * got.value).any()  # one cycle is not enough
    assert (got.value <= dense[:, 0] * (1 + 1e-12)).all()
    distance = np.abs(dense - got.value[:, None]).min(axis=1)
    assert (distance <= got.error).all()
    full = operator_norms(jax.random.key(3), transport, x)
    assert (full.error <= 1e-3 * full.value).all()
    short = 1 - full.value / dense[:, 0]
    assert np.sum(short > 1e-3) <= 5  # 0.2% of such points: fails with probability 5e-9
    log_rate = math.log(1.65 * math.sqrt(80) * 64 / 1e-9) / (2 * 36 - 1)
    assert short.max() <= log_rate**2 / 2  # as after 36 steps without a restart


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
    transport, x = network(RNG, 30, 30, 25), RNG.normal(size=(50, 30))
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
    transport = network(RNG, 4, 12, 5)
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


KEY, POINTS, FLAT = jax.random.key(12), np.zeros((2, 3)), Matrix(jnp.zeros((2, 3)))
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
}


test_bad_input_is_named = refusals(BAD)
