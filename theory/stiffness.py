"""Stiffness of a map T: R^n → R^d: operator norms of its Jacobian, matrix-free, and summaries."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from theory.batches import PerPoint, Transport, check_rows, in_chunks, values
from theory.check import check_count, check_scale
from theory.estimate import Estimate, from_samples
from theory.gaussian import normal
from theory.partition import PowerDiagram

KRYLOV = 20  # Lanczos vectors of a cycle

Linear = Callable[[Array], Array]


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
    """‖DT(x)‖_op without the Jacobian: Lanczos on A = DTᵀDT, or DT DTᵀ when d < n.

    From a random start, with full reorthogonalisation and thick restarts (Wu, Simon 2000), until
    error ≤ tolerance·value at all points of a chunk. With v the unit Ritz vector, σ = ‖DT v‖ is
    the value, at most ‖DT‖, and with r = ‖Av − σ²v‖ some singular value lies within

        e = r/(2σ)·√(2/(1 + √(1 − ρ²))), ρ = r/(2σ²); or σ if that is less:

    were there none, (λ − (σ−e)²)(λ − (σ+e)²) > 0 on the spectrum, but its mean over the spectral
    law of v (mean σ², variance r²) is ≤ 0. That it is the largest one holds but for a probability
    that falls exponentially with the steps (Kuczyński, Woźniakowski 1992).

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
        return _largest(transport, rows, _starts(key, rows, first), *limits)

    return Norms(*in_chunks(kernel, points, (KRYLOV + 1) * points.shape[1]))


@jax.jit
def _starts(key: PRNGKeyArray, x: Array, first: Array) -> Array:
    """Gaussian rows of the shape of x, each with the key of its own row."""
    keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(first + jnp.arange(len(x)))
    return jax.vmap(lambda row_key: normal(row_key, x.shape[1:], x.dtype.name))(keys)


@eqx.filter_jit
def _largest(
    transport: Transport, x: Array, start: Array, tolerance: Array, cycles: Array
) -> tuple[Array, Array]:
    """Value and error; a point that is done keeps them, so that they do not depend on its chunk."""
    out, push, pull = _linearised(transport, x)
    wide = x.shape[1] > out.shape[1]
    inner, outer = (pull, push) if wide else (push, pull)
    start = _unit(push(start) if wide else start)
    (points, m), dtype = start.shape, start.dtype
    size = _lengths(inner(start)).astype(dtype)  # the scale of DT, whose square may underflow
    size = jnp.where(size > 0, size, 1)
    down, up = _divided(inner, size), _divided(outer, size)
    least, steps = 4 * m**0.5 * float(jnp.finfo(dtype).eps), min(KRYLOV, m)
    kept = -(-steps // 4)

    def cycle(state: tuple) -> tuple:
        count, vectors, matrix, value, error, met, done = state
        begin = jnp.where(count == 0, 0, kept)
        vectors, matrix = _extended(lambda v: up(down(v)), vectors, matrix, begin, least)
        vectors, matrix = _restarted(vectors, matrix, kept)
        fresh = _quotient(down, up, _unit(vectors[:, kept - 1]))
        value, error = (jnp.where(done, *p) for p in zip((value, error), fresh, strict=True))
        enough = ~(error > jnp.maximum(tolerance, least) * value)
        done = enough & (met | (steps == m))
        return count + 1, vectors, matrix, value, error, enough, done

    vectors = jnp.zeros((points, steps + 1, m), dtype).at[:, 0].set(start)
    zero, undone = jnp.zeros(points, dtype), jnp.zeros(points, bool)
    matrix = jnp.zeros((points, steps, steps), dtype)
    state = jnp.int32(0), vectors, matrix, zero, zero, undone, undone
    state = lax.while_loop(lambda s: (s[0] < cycles) & ~jnp.all(s[-1]), cycle, state)
    return state[3] * size, state[4] * size


def _extended(
    gram: Linear, vectors: Array, matrix: Array, begin: Array, least: float
) -> tuple[Array, Array]:
    """Orthonormal rows q_{begin+1}..q_{K+1} and columns ⟨q_i, A q_j⟩, i ≤ j; 0 once A adds none."""

    def step(j: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        vectors, matrix = state
        image, column = gram(vectors[:, j]), jnp.zeros(vectors.shape[:2], vectors.dtype)
        for _ in range(2):
            share = jnp.einsum("pkm,pm->pk", vectors, image, precision="highest")
            image = image - jnp.einsum("pkm,pk->pm", vectors, share, precision="highest")
            column = column + share
        matrix = matrix.at[:, :, j].set(column[:, :-1])
        largest = jnp.max(jnp.diagonal(matrix, axis1=1, axis2=2), axis=1, keepdims=True)
        length = jnp.linalg.norm(image, axis=1, keepdims=True)
        new = length > least * largest
        following = jnp.where(new, image / jnp.where(new, length, 1), 0)
        return vectors.at[:, j + 1].set(following), matrix

    return lax.fori_loop(begin, matrix.shape[1], step, (vectors, matrix))


def _restarted(vectors: Array, matrix: Array, kept: int) -> tuple[Array, Array]:
    """The `kept` largest Ritz pairs, ascending, and the row that comes next."""
    symmetric = jnp.triu(matrix) + jnp.triu(matrix, 1).swapaxes(1, 2)
    ritz, basis = jnp.linalg.eigh(symmetric, symmetrize_input=False)
    top = jnp.einsum("pkm,pki->pim", vectors[:, :-1], basis[:, :, -kept:], precision="highest")
    fresh = jnp.zeros_like(vectors).at[:, :kept].set(top).at[:, kept].set(vectors[:, -1])
    diagonal = jnp.arange(kept)
    return fresh, jnp.zeros_like(matrix).at[:, diagonal, diagonal].set(ritz[:, -kept:])


def _quotient(inner: Linear, outer: Linear, v: Array) -> tuple[Array, Array]:
    """σ and e of `operator_norms` for unit (or zero) rows v."""
    image = inner(v)
    value = jnp.linalg.norm(image, axis=1).astype(v.dtype)
    residual = jnp.linalg.norm(outer(image) - value[:, None] ** 2 * v, axis=1)
    ratio = jnp.where(value > 0, residual / (2 * value**2), 0)
    inside = jnp.minimum(ratio, 1)
    return value, value * jnp.minimum(1, ratio * jnp.sqrt(2 / (1 + jnp.sqrt(1 - inside**2))))


def frobenius_norms(transport: Transport, x: object) -> PerPoint:
    """‖DT(x)‖_F, exact: Σ_k ‖DT e_k‖² over the columns, or over the rows when d < n.

    Raises:
        ValueError: on points, T or a Jacobian as in `operator_norms`.
    """
    points = check_rows("points", x)
    return in_chunks(lambda _, rows: (_frobenius(transport, rows),), points, points.shape[1])[0]


@eqx.filter_jit
def _frobenius(transport: Transport, x: Array) -> Array:
    out, push, pull = _linearised(transport, x)
    inner, like = (push, x) if x.shape[1] <= out.shape[1] else (pull, out)

    def column(total: Array, k: Array) -> tuple[Array, None]:
        image = inner(jnp.broadcast_to(unit[k], like.shape))
        return jnp.hypot(total, _lengths(image).astype(total.dtype)), None

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
    return _lengths(_linearised(transport, pairs[:, 0])[1](pairs[:, 1]))


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


def _linearised(transport: Transport, x: Array) -> tuple[Array, Linear, Linear]:
    """T at rows of x, and v ↦ DT v and u ↦ DTᵀu row by row."""
    out, push = jax.linearize(lambda rows: values(transport, rows), x)
    return out, push, lambda u: jax.linear_transpose(push, x)(u)[0]


def _divided(linear: Linear, size: Array) -> Linear:
    def scaled(rows: Array) -> Array:
        image = linear(rows)
        return image / size[:, None].astype(image.dtype)

    return scaled


def _lengths(rows: Array) -> Array:
    """Euclidean norms that neither over- nor underflow."""
    largest = jnp.max(jnp.abs(rows), axis=1)
    unit = rows / jnp.where(largest > 0, largest, 1)[:, None]
    return largest * jnp.linalg.norm(unit, axis=1)


def _unit(rows: Array) -> Array:
    length = _lengths(rows)[:, None]
    return rows / jnp.where(length > 0, length, 1)
