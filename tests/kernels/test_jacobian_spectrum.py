"""Spectra of Jacobians against dense SVD, whole and by their leading part."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.refusals import refusals
from theory import jacobian_spectrum
from theory.jacobian import OfRows
from theory.jacobian_spectrum import jacobian_spectra

FAILURE = 1e-9
RNG = np.random.default_rng(7)
WIDE, TALL = (RNG.normal(size=shape) / 3 for shape in ((5, 9), (9, 5)))
POINTS = RNG.normal(size=(6, 5))


def curved(matrix: np.ndarray) -> OfRows:
    """A smooth map that is not linear, with outputs of rank 2."""
    return OfRows(lambda z: jnp.sin(z @ matrix.T)[:, None, :])


def dense(transport: OfRows, x: np.ndarray) -> np.ndarray:
    jacobian = jax.vmap(jax.jacrev(transport))(jnp.asarray(x))
    return np.linalg.svd(np.asarray(jacobian), compute_uv=False)


@pytest.mark.parametrize("matrix", [TALL, WIDE], ids=["n < d", "n > d"])
def test_all_singular_values_are_those_of_the_dense_jacobian(matrix):
    x = POINTS if matrix is TALL else RNG.normal(size=(6, 9))
    found = jacobian_spectra(jax.random.key(0), curved(matrix), x)
    values = dense(curved(matrix), x)
    np.testing.assert_allclose(found.values, values, rtol=1e-7, atol=1e-8)
    square = (values**2).sum(axis=1)
    assert found.effective_rank.value == pytest.approx((square / values[:, 0] ** 2).mean())
    expected = (square**2 / (values**4).sum(axis=1)).mean()
    assert found.participation.value == pytest.approx(expected)
    assert found.participation.bias == found.effective_rank.bias == found.error.max() == 0


def test_an_isometry_counts_all_its_directions_and_a_ridge_one():
    columns = np.linalg.qr(RNG.normal(size=(40, 6)))[0]
    even = jacobian_spectra(
        jax.random.key(0), OfRows(lambda z: z @ columns.T), POINTS @ np.eye(5, 6)
    )
    assert even.effective_rank.value == pytest.approx(6)
    assert even.participation.value == pytest.approx(6)
    ridge = columns[:, :5] * np.array([1.0, 1e-6, 1e-6, 1e-6, 1e-6])
    steep = jacobian_spectra(jax.random.key(0), OfRows(lambda z: z @ ridge.T), POINTS)
    assert steep.effective_rank.value == pytest.approx(1)
    assert steep.participation.value == pytest.approx(1)


@pytest.mark.parametrize(
    "matrix",
    [
        pytest.param(TALL, id="n < d"),
        pytest.param(WIDE, id="n > d", marks=pytest.mark.slow),
    ],
)
def test_the_leading_part_and_its_sums_agree_with_the_whole(matrix, monkeypatch):
    monkeypatch.setattr(jacobian_spectrum, "DENSE", 2)
    monkeypatch.setattr(jacobian_spectrum, "TOLERANCE", 1e-6)
    monkeypatch.setattr(jacobian_spectrum, "PROBES", 4096)
    x = POINTS if matrix is TALL else RNG.normal(size=(6, 9))
    found = jacobian_spectra(jax.random.key(1), curved(matrix), x, count=3)
    values = dense(curved(matrix), x)
    np.testing.assert_allclose(found.values, values[:, :3], rtol=1e-4)
    assert (np.abs(found.values - values[:, :3]) <= found.error + 1e-12 * found.values).all()
    square, fourth = (values**2).sum(axis=1), (values**4).sum(axis=1)
    # Var ‖DT g‖² = 2Σσ⁴, so that 4096 probes of 6 latents leave less than 2% at six sigma.
    assert found.effective_rank.value == pytest.approx(
        (square / values[:, 0] ** 2).mean(), rel=0.03
    )
    assert found.participation.value == pytest.approx((square**2 / fourth).mean(), rel=0.06)
    assert found.participation.bias > 0


def test_latents_of_one_group_are_one_to_the_error():
    alone = jacobian_spectra(jax.random.key(0), curved(TALL), POINTS)
    twice = np.repeat(POINTS, 2, axis=0)
    grouped = jacobian_spectra(
        jax.random.key(0), curved(TALL), twice, group=np.repeat(np.arange(6), 2)
    )
    assert grouped.effective_rank.sem == pytest.approx(alone.effective_rank.sem)
    assert grouped.effective_rank.count == alone.effective_rank.count


test_bad_input_is_one_clear_line = refusals(
    {
        "count": lambda: jacobian_spectra(jax.random.key(0), curved(TALL), POINTS, count=0),
        "points": lambda: jacobian_spectra(
            jax.random.key(0), curved(TALL), np.full((2, 5), np.nan)
        ),
        "vanishes": lambda: jacobian_spectra(jax.random.key(0), OfRows(lambda z: 0.0 * z), POINTS),
    }
)
