"""Leading singular values and right vectors of DT(x), matrix-free, for maps T: R^n → R^d.

One band Lanczos with thick restarts does all: its value is the stiffness, its vector the direction
to which T responds most.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from theory.batches import Transport, check_rows, in_chunks, values
from theory.check import check_count, check_scale
from theory.gaussian import normal

KRYLOV = 20  # Lanczos vectors of a cycle, unless many pairs are wanted

Linear = Callable[[Array], Array]


class Pairs(NamedTuple):
    """The leading right singular vectors of DT(x) point by point, largest first.

    Fields:
        vectors: unit rows, shape (N, count, n), orthogonal to rounding where T has no kernel there.
        value: ‖DT v‖ or less, within `error` of a singular value, shape (N, count).
        error: shape (N, count).
    """

    vectors: Float[np.ndarray, "points count n"]
    value: Float[np.ndarray, "points count"]
    error: Float[np.ndarray, "points count"]


class OfRows(eqx.Module):
    """A map of rows, (N, n) ↦ (N, …), as a transport of one point with its outputs in a line.

    Fields:
        decode: D, of every row by itself.
    """

    decode: Callable[[Array], Array]

    def __call__(self, z: Float[Array, " n"]) -> Float[Array, " d"]:
        """D at one point."""
        return jnp.ravel(self.decode(z[None])[0])


def singular_directions(
    key: PRNGKeyArray,
    transport: Transport,
    x: object,
    count: int = 1,
    *,
    tolerance: float = 1e-3,
    cycles: int = 50,
) -> Pairs:
    """The top right singular vectors of DT(x), without the Jacobian; their signs are arbitrary.

    By `leading_pairs`. A vector that belongs to close singular values is some unit vector of their
    common space: ‖DT v‖ is as near the top as `tolerance` says, the vector itself need not be.

    Args:
        key: PRNG key; the start of a point depends on its row, not on its chunk.
        transport: T.
        x: points, shape (N, n); the work is done in their dtype.
        count: how many pairs, at most min(n, d).
        tolerance: of the errors, relative to the largest value.
        cycles: the most cycles; `error` is what was reached.

    Raises:
        ValueError: on tolerance ≤ 0, cycles < 1, a count not in [1, min(n, d)], points, T or a
            Jacobian as `theory.stiffness.operator_norms`.
    """
    check_scale("tolerance", tolerance)
    check_count("cycles", cycles, 1)
    points = check_rows("points", x)
    n, d = points.shape[1], outputs(transport, points)
    check_count("count", count, 1)
    if count > min(n, d):
        raise ValueError(f"a map of R^{n} to R^{d} has {min(n, d)} pairs, got count {count}")
    limits = jnp.asarray(tolerance, points.dtype), jnp.asarray(cycles, jnp.int32)

    def kernel(first: Array, rows: Array) -> tuple[Array, ...]:
        starts = row_normals(key, rows, first, count)
        return leading_pairs(transport, rows, starts, *limits)

    value, error, vectors = in_chunks(kernel, points, max(n, d) * basis_size(count))
    return Pairs(vectors, value, error)


def outputs(transport: Transport, points: np.ndarray) -> int:
    """d, the number of outputs of T, or the ValueError of `values`."""
    return jax.eval_shape(lambda rows: values(transport, rows), points[:1]).shape[1]


def basis_size(count: int) -> int:
    """Rows that the Lanczos keeps of every point when `count` pairs are wanted."""
    return max(KRYLOV, 4 * count) + count


@partial(jax.jit, static_argnames="count")
def row_normals(key: PRNGKeyArray, x: Array, first: Array, count: int = 1) -> Array:
    """Gaussian vectors for rows of x, shape (rows, count, n), each with the key of its own row."""
    keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(first + jnp.arange(len(x)))
    shape = (count, x.shape[1])
    return jax.vmap(lambda row_key: normal(row_key, shape, x.dtype.name))(keys)


@eqx.filter_jit
def leading_pairs(
    transport: Transport, x: Array, start: Array, tolerance: Array, cycles: Array
) -> tuple[Array, Array, Array]:
    """Values, errors and right vectors of as many pairs as there are starts, to be jitted as it is.

    Band Lanczos (Ruhe 1979) on A = DTᵀDT, or DT DTᵀ when d < n, with full reorthogonalisation and
    thick restarts (Wu, Simon 2000): of a singular value that is equal to others as many copies are
    found as there are starts. A point that is done keeps what it has, so that nothing depends on
    its chunk.

    Args:
        transport: T.
        x: rows, shape (rows, n).
        start: generic vectors of R^n, shape (rows, count, n).
        tolerance: as `singular_directions`, of the dtype of x.
        cycles: as `singular_directions`.
    """
    out, push, pull = linearised(transport, x)
    wide = x.shape[1] > out.shape[1]
    inner, outer = (pull, push) if wide else (push, pull)
    block = _orthonormal(_over(push, start) if wide else start)
    (points, count, m), dtype = block.shape, block.dtype
    size = lengths(inner(block[:, 0])).astype(dtype)  # the scale of DT, whose square may underflow
    size = jnp.where(size > 0, size, 1)
    down, up = _divided(inner, size), _divided(outer, size)
    least, steps = 4 * m**0.5 * float(jnp.finfo(dtype).eps), min(basis_size(count) - count, m)
    kept = max(-(-steps // 4), count)

    def cycle(state: tuple) -> tuple:
        number, vectors, matrix, found, met, done = state
        begin = jnp.where(number == 0, 0, kept)
        vectors, matrix = _extended(lambda v: up(down(v)), vectors, matrix, begin, least, count)
        vectors, matrix = _restarted(vectors, matrix, kept, count)
        fresh = _quotients(down, up, vectors[:, kept - count : kept][:, ::-1])
        found = tuple(_where(done, *pair) for pair in zip(found, fresh, strict=True))
        value, error, _ = found
        enough = ~jnp.any(error > jnp.maximum(tolerance, least) * value[:, :1], axis=1)
        done = enough & (met | (steps == m))
        return number + 1, vectors, matrix, found, enough, done

    vectors = jnp.zeros((points, steps + count, m), dtype).at[:, :count].set(block)
    zero, undone = jnp.zeros((points, count), dtype), jnp.zeros(points, bool)
    matrix = jnp.zeros((points, steps, steps), dtype)
    state = jnp.int32(0), vectors, matrix, (zero, zero, block), undone, undone
    state = lax.while_loop(lambda s: (s[0] < cycles) & ~jnp.all(s[-1]), cycle, state)
    value, error, vectors = state[3]
    right = _over(lambda u: unit(pull(u)), vectors) if wide else vectors
    empty = jnp.sum(right**2, axis=2, keepdims=True) == 0  # a kernel, where any direction will do
    right = _orthonormal(jnp.where(empty, start, right.astype(x.dtype)))
    return value * size[:, None], error * size[:, None], right


def _extended(
    gram: Linear, vectors: Array, matrix: Array, begin: Array, least: float, band: int
) -> tuple[Array, Array]:
    """Orthonormal rows that A adds to the band, and columns ⟨q_i, A q_j⟩, i ≤ j; 0 once it is none.

    Row j + band is what A q_j has beside all rows before.
    """

    def step(j: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        vectors, matrix = state
        image, column = _beside(vectors, gram(vectors[:, j]))
        matrix = matrix.at[:, :, j].set(column[:, :-band])
        largest = jnp.max(jnp.diagonal(matrix, axis1=1, axis2=2), axis=1, keepdims=True)
        length = jnp.linalg.norm(image, axis=1, keepdims=True)
        new = length > least * largest
        following = jnp.where(new, image / jnp.where(new, length, 1), 0)
        return vectors.at[:, j + band].set(following), matrix

    return lax.fori_loop(begin, matrix.shape[1], step, (vectors, matrix))


def _beside(vectors: Array, image: Array) -> tuple[Array, Array]:
    """The image less its share in orthonormal (or zero) rows, and that share; twice is enough."""
    column = jnp.zeros(vectors.shape[:2], vectors.dtype)
    for _ in range(2):
        share = jnp.einsum("pkm,pm->pk", vectors, image, precision="highest")
        image = image - jnp.einsum("pkm,pk->pm", vectors, share, precision="highest")
        column = column + share
    return image, column


def _orthonormal(block: Array) -> Array:
    """Rows (points, count, m) made orthonormal one after the other."""

    def step(j: Array, rows: Array) -> Array:
        return rows.at[:, j].set(unit(_beside(rows, unit(block[:, j]))[0]))

    return lax.fori_loop(0, block.shape[1], step, jnp.zeros_like(block))


def _restarted(vectors: Array, matrix: Array, kept: int, band: int) -> tuple[Array, Array]:
    """The `kept` largest Ritz pairs, ascending, and the rows that come next."""
    symmetric = jnp.triu(matrix) + jnp.triu(matrix, 1).swapaxes(1, 2)
    ritz, basis = jnp.linalg.eigh(symmetric, symmetrize_input=False)
    top = jnp.einsum("pkm,pki->pim", vectors[:, :-band], basis[:, :, -kept:], precision="highest")
    fresh = jnp.zeros_like(vectors).at[:, :kept].set(top)
    fresh = fresh.at[:, kept : kept + band].set(vectors[:, -band:])
    diagonal = jnp.arange(kept)
    return fresh, jnp.zeros_like(matrix).at[:, diagonal, diagonal].set(ritz[:, -kept:])


def _quotients(inner: Linear, outer: Linear, block: Array) -> tuple[Array, Array, Array]:
    """Values and errors of `quotient` for every row of a block (points, count, m), and the rows."""
    rows = unit(block.reshape(-1, block.shape[2])).reshape(block.shape)
    value, error = lax.map(lambda v: quotient(inner, outer, v), jnp.moveaxis(rows, 1, 0))
    return value.T, error.T, rows


def quotient(inner: Linear, outer: Linear, v: Array) -> tuple[Array, Array]:
    """σ = ‖DT v‖ and how far off a singular value can be at most, for unit (or zero) rows v.

    With r = ‖DTᵀDT v − σ²v‖ some singular value lies within

        e = r/(2σ)·√(2/(1 + √(1 − ρ²))), ρ = r/(2σ²); or σ if that is less:

    were there none, (λ − (σ−e)²)(λ − (σ+e)²) > 0 on the spectrum, but its mean over the spectral
    law of v (mean σ², variance r²) is ≤ 0.
    """
    image = inner(v)
    value = jnp.linalg.norm(image, axis=1).astype(v.dtype)
    residual = jnp.linalg.norm(outer(image) - value[:, None] ** 2 * v, axis=1)
    ratio = jnp.where(value > 0, residual / (2 * value**2), 0)
    inside = jnp.minimum(ratio, 1)
    return value, value * jnp.minimum(1, ratio * jnp.sqrt(2 / (1 + jnp.sqrt(1 - inside**2))))


def linearised(transport: Transport, x: Array) -> tuple[Array, Linear, Linear]:
    """T at rows of x, and v ↦ DT v and u ↦ DTᵀu row by row."""
    out, push = jax.linearize(lambda rows: values(transport, rows), x)
    return out, push, lambda u: jax.linear_transpose(push, x)(u)[0]


def _divided(linear: Linear, size: Array) -> Linear:
    def scaled(rows: Array) -> Array:
        image = linear(rows)
        return image / size[:, None].astype(image.dtype)

    return scaled


def _over(linear: Linear, block: Array) -> Array:
    """A map of rows (points, m) on every row of a block (points, count, m)."""
    return jnp.moveaxis(lax.map(linear, jnp.moveaxis(block, 1, 0)), 0, 1)


def _where(chosen: Array, kept: Array, fresh: Array) -> Array:
    return jnp.where(chosen.reshape(-1, *[1] * (kept.ndim - 1)), kept, fresh)


def lengths(rows: Array) -> Array:
    """Euclidean norms that neither over- nor underflow."""
    largest = jnp.max(jnp.abs(rows), axis=1)
    scaled = rows / jnp.where(largest > 0, largest, 1)[:, None]
    return largest * jnp.linalg.norm(scaled, axis=1)


def unit(rows: Array) -> Array:
    """Rows of length 1; a row of zeros stays one."""
    length = lengths(rows)[:, None]
    return rows / jnp.where(length > 0, length, 1)
