"""Stiffness of a map T: R^n → R^d: operator norms of its Jacobian, matrix-free, and summaries."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from theory.batches import PerPoint, Transport, check_rows, in_chunks
from theory.check import check_count, check_scale
from theory.estimate import Estimate, from_samples
from theory.jacobian import lengths, linearised, row_normals
from theory.lanczos import KRYLOV, leading_pairs
from theory.partition import PowerDiagram


class Norms(NamedTuple):
    """‖DT(x)‖_op point by point: `value` ≤ ‖DT‖, with a singular value within `error` of it."""

    value: PerPoint
    error: PerPoint


def operator_norms(
    key: PRNGKeyArray,
    transport: Transport,
    x: object,
    *,
    tolerance: float = 1e-3,
    cycles: int = 50,
) -> Norms:
    """‖DT(x)‖_op without the Jacobian: `theory.lanczos.leading_pairs` from a random start.

    It stops when error ≤ tolerance·value at all points of a chunk; `error` is that of
    `theory.lanczos.quotient`, so that some singular value lies that near. It falls short of the
    largest by a share ε with probability ≤ 1.65√m e^{−(2k−1)√(2ε)} after k = KRYLOV products
    (Kuczyński, Woźniakowski 1992), and restarts only raise the value: small where ε is ten times
    1/k². A largest value with others as near as that may be taken for one of them: of 2560 points
    with 80 singular values, many near 1, five fell short by more than the tolerance of 1e-3, the
    worst by 2e-3.

    Args:
        key: PRNG key; the start of a point depends on its row, not on its chunk.
        transport: T.
        x: points, shape (N, n); the work is done in their dtype.
        tolerance: relative; rounding counts instead where it is more, 4√m·eps, m = min(n, d).
        cycles: the most cycles, of KRYLOV products with A each; `error` is what was reached.

    Raises:
        ValueError: on tolerance ≤ 0, cycles < 1, points not finite or not of shape (N, n), a T
            that does not map (n,) to a floating (d,), or a Jacobian that is not finite.
    """
    check_scale("tolerance", tolerance)
    check_count("cycles", cycles, 1)
    points = check_rows("points", x)
    limits = jnp.asarray(tolerance, points.dtype), jnp.asarray(cycles, jnp.int32)

    def kernel(first: Array, rows: Array) -> tuple[Array, ...]:
        starts = row_normals(key, rows, first)
        value, error, _ = leading_pairs(transport, rows, starts, *limits)
        return value[:, 0], error[:, 0]

    return Norms(*in_chunks(kernel, points, (KRYLOV + 1) * points.shape[1]))


def frobenius_norms(transport: Transport, x: object) -> PerPoint:
    """‖DT(x)‖_F, exact: Σ_k ‖DT e_k‖² over the columns, or over the rows when d < n.

    Raises:
        ValueError: on points, T or a Jacobian as in `operator_norms`.
    """
    points = check_rows("points", x)
    return in_chunks(lambda _, rows: (_frobenius(transport, rows),), points, points.shape[1])[0]


@eqx.filter_jit
def _frobenius(transport: Transport, x: Array) -> Array:
    out, push, pull = linearised(transport, x)
    inner, like = (push, x) if x.shape[1] <= out.shape[1] else (pull, out)

    def column(total: Array, k: Array) -> tuple[Array, None]:
        image = inner(jnp.broadcast_to(unit[k], like.shape))
        return jnp.hypot(total, lengths(image).astype(total.dtype)), None

    unit = jnp.eye(like.shape[1], dtype=like.dtype)
    return lax.scan(column, jnp.zeros(len(x), x.dtype), jnp.arange(like.shape[1]))[0]


def normal_stretch(transport: Transport, diagram: PowerDiagram, x: object) -> PerPoint:
    """‖DT(x')ν‖ at the foot x' = x + δν of x on its nearest facet: the stiffness straight across.

    ν = (a_j − a_y)/‖a_j − a_y‖ for the label y and the neighbour j of x.

    Raises:
        ValueError: when the diagram has no facet, or as `operator_norms`.
    """
    points = check_rows("points", x)
    label, neighbour, distance = map(np.asarray, diagram.nearest_facet(points))
    if (neighbour < 0).any():
        raise ValueError(f"a diagram without facets: all {diagram.modes} sites are equal")
    sites = np.asarray(diagram.sites, np.float64)
    across = sites[neighbour] - sites[label]
    across = across / np.linalg.norm(across, axis=1, keepdims=True)
    pairs = np.stack([points + distance[:, None] * across, across], axis=1).astype(points.dtype)
    return in_chunks(lambda _, rows: (_pushed(transport, rows),), pairs, points.shape[1])[0]


@eqx.filter_jit
def _pushed(transport: Transport, pairs: Float[Array, "points 2 n"]) -> Array:
    return lengths(linearised(transport, pairs[:, 0])[1](pairs[:, 1]))


class Stretch(NamedTuple):
    """‖DT‖ at sampled points; the maximum can refute an upper bound on Λ, never confirm one."""

    maximum: float
    mean: Estimate
    mean_square: Estimate
    quantiles: Float[np.ndarray, " levels"]


def stretch(norms: object, levels: Sequence[float] = (0.5, 0.9, 0.99)) -> Stretch:
    """Summary of `Norms`, or of an array of norms, at N ≥ 2 independent points.

    `bias` of the means is what the errors in `Norms` make, an estimate, since those are distances
    to some singular value.

    Raises:
        ValueError: on fewer than two norms, norms negative or not finite, levels not in (0, 1).
    """
    value, error = norms if isinstance(norms, Norms) else (norms, 0.0)
    value, error = np.asarray(value, np.float64), np.asarray(error, np.float64)
    if value.ndim != 1 or value.size < 2:
        raise ValueError(f"expected norms of shape (N,), N ≥ 2, got shape {value.shape}")
    if not (np.isfinite(value) & (value >= 0)).all():
        raise ValueError(f"norms are finite and ≥ 0, got {value.min()} to {value.max()}")
    if not all(0 < level < 1 for level in levels):
        raise ValueError(f"levels of quantiles lie in (0, 1), got {levels}")
    mean = from_samples(value, float(error.mean()))
    square = from_samples(value**2, float(np.mean(error * (2 * value + error))))
    quantiles = np.quantile(value, levels, method="inverted_cdf")
    return Stretch(float(value.max()), mean, square, quantiles)
