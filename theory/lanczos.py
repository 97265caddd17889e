"""Leading singular pairs of DT at rows of points by one band Lanczos with thick restarts.

Matrix-free: T: R^n → R^d is asked for products with DT and DTᵀ alone. The value is the stiffness
(`theory.stiffness`), the right vector the direction to which T responds most (`theory.singular`).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from theory.batches import Transport, values

KRYLOV = 20  # Lanczos vectors of a cycle, unless many pairs are wanted

Linear = Callable[[Array], Array]
Product = Callable[[Array, Array], tuple[Array, Array]]  # (v, c) ↦ Bv/c, BᵀBv/c²; B is DT or DTᵀ


class Loops(NamedTuple):
    """How to repeat: inside what is compiled, or outside."""

    while_loop: Callable
    fori_loop: Callable
    map: Callable


def _while(condition: Callable, body: Callable, state: Any) -> Any:
    while condition(state):
        state = body(state)
    return state


def _fori(first: Array, end: int, body: Callable, state: Any) -> Any:
    for j in range(int(first), end):
        state = body(jnp.int32(j), state)
    return state


def _map(function: Callable, rows: Array) -> Any:
    return jax.tree.map(lambda *one: jnp.stack(one), *map(function, rows))


COMPILED = Loops(lax.while_loop, lax.fori_loop, lax.map)
STEPWISE = Loops(_while, _fori, _map)


def basis_size(count: int) -> int:
    """Rows that the Lanczos keeps of every point when `count` pairs are wanted."""
    return max(KRYLOV, 4 * count) + count


@eqx.filter_jit
def leading_pairs(
    transport: Transport, x: Array, start: Array, tolerance: Array, cycles: Array
) -> tuple[Array, Array, Array]:
    """Values, errors and right vectors of as many pairs as there are starts, compiled as one.

    Band Lanczos (Ruhe 1979) on A = DTᵀDT, or DT DTᵀ when d < n, with full reorthogonalisation and
    thick restarts (Wu, Simon 2000): of a singular value that is equal to others as many copies are
    found as there are starts. A point that is done keeps what it has, so that nothing depends on
    its chunk.

    Args:
        transport: T.
        x: rows, shape (rows, n).
        start: generic vectors of R^n, shape (rows, count, n).
        tolerance: of the errors, relative to the largest value, of the dtype of x.
        cycles: the most cycles.
    """
    out, push, pull = linearised(transport, x)
    wide = x.shape[1] > out.shape[1]
    return _lanczos(push, _products(push, pull, wide), wide, start, tolerance, cycles, COMPILED)


def stepwise_pairs(
    transport: Transport, x: Array, start: Array, tolerance: Array, cycles: Array
) -> tuple[Array, Array, Array]:
    """`leading_pairs` with products one by one: for convolutions, and maps that hold much of a row.

    Inside a compiled loop XLA's transpose of a convolution is 4 to 40 times slower on CPU than by
    itself (jax issue 12868), as only convolutions of the outermost computation get its fast kernel.
    Here every product takes T at x again, which is half as much as the product.
    """
    wide = x.shape[1] > outputs(transport, x)

    def push(v: Array) -> Array:
        return _pushed(transport, x, v)

    def product(v: Array, size: Array) -> tuple[Array, Array]:
        return _multiplied(transport, x, v, size, wide)

    return _lanczos(push, product, wide, start, tolerance, cycles, STEPWISE)


def _products(push: Linear, pull: Linear, wide: bool) -> Product:
    inner, outer = (pull, push) if wide else (push, pull)

    def product(v: Array, size: Array) -> tuple[Array, Array]:
        image = _divided(inner(v), size)
        return image, _divided(outer(image), size)

    return product


@eqx.filter_jit
def _pushed(transport: Transport, x: Array, v: Array) -> Array:
    return linearised(transport, x)[1](v)


@eqx.filter_jit
def _multiplied(
    transport: Transport, x: Array, v: Array, size: Array, wide: bool
) -> tuple[Array, Array]:
    _, push, pull = linearised(transport, x)
    return _products(push, pull, wide)(v, size)


def _lanczos(
    push: Linear,
    product: Product,
    wide: bool,
    start: Array,
    tolerance: Array,
    cycles: Array,
    loops: Loops,
) -> tuple[Array, Array, Array]:
    block = _orthonormal(_over(push, start, loops) if wide else start)
    (points, count, m), dtype = block.shape, block.dtype
    size = jnp.ones(points, dtype)  # then the scale of DT, whose square may underflow
    size = lengths(product(block[:, 0], size)[0]).astype(dtype)
    size = jnp.where(size > 0, size, 1)
    scaled = lambda v: product(v, size)  # noqa: E731
    least, steps = 4 * m**0.5 * float(jnp.finfo(dtype).eps), min(basis_size(count) - count, m)
    kept = max(-(-steps // 4), count)

    def cycle(state: tuple) -> tuple:
        number, vectors, matrix, found, met, done = state

        def step(j: Array, basis: tuple[Array, Array]) -> tuple[Array, Array]:
            return _adjoined(basis, scaled(basis[0][:, j])[1], j, least, count)

        begin = jnp.where(number == 0, 0, kept)
        vectors, matrix = loops.fori_loop(begin, steps, step, (vectors, matrix))
        vectors, matrix = _restarted(vectors, matrix, kept, count)
        fresh = _quotients(scaled, vectors[:, kept - count : kept][:, ::-1], loops)
        found = tuple(_where(done, *pair) for pair in zip(found, fresh, strict=True))
        value, error, _ = found
        enough = ~jnp.any(error > jnp.maximum(tolerance, least) * value[:, :1], axis=1)
        return number + 1, vectors, matrix, found, enough, enough & (met | (steps == m))

    vectors = jnp.zeros((points, steps + count, m), dtype).at[:, :count].set(block)
    zero, undone = jnp.zeros((points, count), dtype), jnp.zeros(points, bool)
    matrix = jnp.zeros((points, steps, steps), dtype)
    state = jnp.int32(0), vectors, matrix, (zero, zero, block), undone, undone
    state = loops.while_loop(lambda s: (s[0] < cycles) & ~jnp.all(s[-1]), cycle, state)
    value, error, vectors = state[3]
    right = _over(lambda u: unit(scaled(u)[0]), vectors, loops) if wide else vectors
    return value * size[:, None], error * size[:, None], _completed(right, start)


@jax.jit
def _completed(right: Array, start: Array) -> Array:
    """Orthonormal rows; of a kernel, where any direction will do, the starts."""
    empty = jnp.sum(right**2, axis=2, keepdims=True) == 0
    return _orthonormal(jnp.where(empty, start, right.astype(start.dtype)))


@partial(jax.jit, static_argnames=("least", "band"))
def _adjoined(
    basis: tuple[Array, Array], image: Array, j: Array, least: float, band: int
) -> tuple[Array, Array]:
    """Row j + band, what A q_j has beside all rows before, and the column ⟨q_i, A q_j⟩, i ≤ j.

    The row is 0 once that is none.
    """
    vectors, matrix = basis
    image, column = _beside(vectors, image)
    matrix = matrix.at[:, :, j].set(column[:, :-band])
    largest = jnp.max(jnp.diagonal(matrix, axis1=1, axis2=2), axis=1, keepdims=True)
    length = jnp.linalg.norm(image, axis=1, keepdims=True)
    new = length > least * largest
    following = jnp.where(new, image / jnp.where(new, length, 1), 0)
    return vectors.at[:, j + band].set(following), matrix


def _beside(vectors: Array, image: Array) -> tuple[Array, Array]:
    """The image less its share in orthonormal (or zero) rows, and that share; twice is enough."""
    column = jnp.zeros(vectors.shape[:2], vectors.dtype)
    for _ in range(2):
        share = jnp.einsum("pkm,pm->pk", vectors, image, precision="highest")
        image = image - jnp.einsum("pkm,pk->pm", vectors, share, precision="highest")
        column = column + share
    return image, column


@jax.jit
def _orthonormal(block: Array) -> Array:
    """Rows (points, count, m) made orthonormal one after the other."""

    def step(j: Array, rows: Array) -> Array:
        return rows.at[:, j].set(unit(_beside(rows, unit(block[:, j]))[0]))

    return lax.fori_loop(0, block.shape[1], step, jnp.zeros_like(block))


@partial(jax.jit, static_argnames=("kept", "band"))
def _restarted(vectors: Array, matrix: Array, kept: int, band: int) -> tuple[Array, Array]:
    """The `kept` largest Ritz pairs, ascending, and the rows that come next."""
    symmetric = jnp.triu(matrix) + jnp.triu(matrix, 1).swapaxes(1, 2)
    ritz, basis = jnp.linalg.eigh(symmetric, symmetrize_input=False)
    top = jnp.einsum("pkm,pki->pim", vectors[:, :-band], basis[:, :, -kept:], precision="highest")
    fresh = jnp.zeros_like(vectors).at[:, :kept].set(top)
    fresh = fresh.at[:, kept : kept + band].set(vectors[:, -band:])
    diagonal = jnp.arange(kept)
    return fresh, jnp.zeros_like(matrix).at[:, diagonal, diagonal].set(ritz[:, -kept:])


def _quotients(
    scaled: Callable[[Array], tuple[Array, Array]], block: Array, loops: Loops
) -> tuple[Array, Array, Array]:
    """Values and errors of `quotient` for every row of a block (points, count, m), and the rows."""
    rows = unit(block.reshape(-1, block.shape[2])).reshape(block.shape)
    value, error = loops.map(lambda v: quotient(v, *scaled(v)), jnp.moveaxis(rows, 1, 0))
    return value.T, error.T, rows


@jax.jit
def quotient(v: Array, image: Array, back: Array) -> tuple[Array, Array]:
    """σ = ‖DT v‖ and how far off a singular value can be at most, for unit (or zero) rows v.

    From DT v and DTᵀDT v. With r = ‖DTᵀDT v − σ²v‖ some singular value lies within

        e = r/(2σ)·√(2/(1 + √(1 − ρ²))), ρ = r/(2σ²); or σ if that is less:

    were there none, (λ − (σ−e)²)(λ − (σ+e)²) > 0 on the spectrum, but its mean over the spectral
    law of v (mean σ², variance r²) is ≤ 0.
    """
    value = jnp.linalg.norm(image, axis=1).astype(v.dtype)
    residual = jnp.linalg.norm(back - value[:, None] ** 2 * v, axis=1)
    ratio = jnp.where(value > 0, residual / (2 * value**2), 0)
    inside = jnp.minimum(ratio, 1)
    return value, value * jnp.minimum(1, ratio * jnp.sqrt(2 / (1 + jnp.sqrt(1 - inside**2))))


def outputs(transport: Transport, points: np.ndarray | Array) -> int:
    """d, the number of outputs of T, or the ValueError of `values`."""
    return eqx.filter_eval_shape(values, transport, points[:1]).shape[1]


def linearised(transport: Transport, x: Array) -> tuple[Array, Linear, Linear]:
    """T at rows of x, and v ↦ DT v and u ↦ DTᵀu row by row."""
    out, push = jax.linearize(lambda rows: values(transport, rows), x)
    return out, push, lambda u: jax.linear_transpose(push, x)(u)[0]


def _divided(rows: Array, size: Array) -> Array:
    return rows / size[:, None].astype(rows.dtype)


def _over(linear: Linear, block: Array, loops: Loops) -> Array:
    """A map of rows (points, m) on every row of a block (points, count, m)."""
    return jnp.moveaxis(loops.map(linear, jnp.moveaxis(block, 1, 0)), 0, 1)


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
