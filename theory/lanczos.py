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
from jax import lax
from jaxtyping import Array

from theory.batches import Transport
from theory.jacobian import (
    Linear,
    Product,
    lengths,
    linearised,
    multiplied,
    outputs,
    products,
    pushed,
    unit,
)
from theory.reductions import every

KRYLOV = 20  # Lanczos vectors of a cycle, unless many pairs are wanted


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
    return _lanczos(push, products(push, pull, wide), wide, start, tolerance, cycles, COMPILED)


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
        return pushed(transport, x, v)

    def product(v: Array, size: Array) -> tuple[Array, Array]:
        return multiplied(transport, x, v, size, wide)

    return _lanczos(push, product, wide, start, tolerance, cycles, STEPWISE)


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
    size = _sizes(product(block[:, 0], jnp.ones(points, dtype))[0]).astype(dtype)
    scaled = lambda v: product(v, size)  # noqa: E731
    least, steps = 4 * m**0.5 * float(jnp.finfo(dtype).eps), min(basis_size(count) - count, m)
    kept = max(-(-steps // 4), count)

    def cycle(state: State) -> State:
        def step(j: Array, basis: tuple[Array, Array]) -> tuple[Array, Array]:
            return _adjoined(basis, scaled(_row(basis[0], j))[1], j, least, count)

        begin = kept * (state.number > 0)
        basis = loops.fori_loop(begin, steps, step, (state.vectors, state.matrix))
        vectors, matrix, leading = _restarted(*basis, kept, count)
        value, error = loops.map(lambda v: quotient(v, *scaled(v)), leading)
        limit = jnp.maximum(tolerance, least)
        return _settled(state, vectors, matrix, (value, error, leading), limit, steps == m)

    state = _begun(block, steps)
    state = loops.while_loop(lambda one: _unfinished(one, cycles), cycle, state)
    right = loops.map(lambda u: scaled(u)[0], state.leading) if wide else state.leading
    return *_scaled(state, size), _orthonormal(_filled(right, start))


class State(NamedTuple):
    """Where a Lanczos stands: basis, its matrix, and what the leading pairs are, a row each.

    Fields:
        number: cycles done.
        vectors: orthonormal rows, shape (points, steps + count, m).
        matrix: ⟨q_i, A q_j⟩, i ≤ j, shape (points, steps, steps).
        value: shape (count, points); error, leading (count, points, m) likewise.
        met: whether the errors were small enough a cycle ago.
        done: whether they were twice.
    """

    number: Array
    vectors: Array
    matrix: Array
    value: Array
    error: Array
    leading: Array
    met: Array
    done: Array


@partial(jax.jit, static_argnames="steps")
def _begun(block: Array, steps: int) -> State:
    points, count, m = block.shape
    vectors = jnp.zeros((points, steps + count, m), block.dtype).at[:, :count].set(block)
    zero, undone = jnp.zeros((count, points), block.dtype), jnp.zeros(points, bool)
    matrix, leading = jnp.zeros((points, steps, steps), block.dtype), jnp.moveaxis(block, 1, 0)
    return State(jnp.int32(0), vectors, matrix, zero, zero, leading, undone, undone)


@jax.jit
def _unfinished(state: State, cycles: Array) -> Array:
    return (state.number < cycles) & ~every(state.done)


@partial(jax.jit, static_argnames="whole")
def _settled(
    state: State, vectors: Array, matrix: Array, fresh: tuple, limit: Array, whole: bool
) -> State:
    """The state after a cycle, where points that were done keep their pairs."""
    old, done = (state.value, state.error, state.leading), state.done
    value, error = (jnp.where(done, *pair) for pair in zip(old[:2], fresh[:2], strict=True))
    leading = jnp.where(done[:, None], old[2], fresh[2])
    enough = ~jnp.any(error > limit * value[0], axis=0)
    done = enough & (state.met | whole)
    return State(state.number + 1, vectors, matrix, value, error, leading, enough, done)


@jax.jit
def _sizes(image: Array) -> Array:
    """The scale of DT, whose square may underflow."""
    size = lengths(image)
    return jnp.where(size > 0, size, 1)


@jax.jit
def _row(vectors: Array, j: Array) -> Array:
    return vectors[:, j]


@jax.jit
def _scaled(state: State, size: Array) -> tuple[Array, Array]:
    """Values and errors of DT itself."""
    return (state.value * size).T, (state.error * size).T


@jax.jit
def _filled(right: Array, start: Array) -> Array:
    """Right vectors (points, count, m); of a kernel, where any will do, the starts."""
    right = jnp.moveaxis(right, 0, 1).astype(start.dtype)
    rows = unit(right.reshape(-1, right.shape[2])).reshape(right.shape)
    return jnp.where(jnp.sum(rows**2, axis=2, keepdims=True) == 0, start, rows)


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
def _restarted(vectors: Array, matrix: Array, kept: int, band: int) -> tuple[Array, Array, Array]:
    """The `kept` largest Ritz pairs, ascending, and the rows that come next; the leading `band`."""
    symmetric = jnp.triu(matrix) + jnp.triu(matrix, 1).swapaxes(1, 2)
    ritz, basis = jnp.linalg.eigh(symmetric, symmetrize_input=False)
    top = jnp.einsum("pkm,pki->pim", vectors[:, :-band], basis[:, :, -kept:], precision="highest")
    fresh = jnp.zeros_like(vectors).at[:, :kept].set(top)
    fresh = fresh.at[:, kept : kept + band].set(vectors[:, -band:])
    diagonal = jnp.arange(kept)
    matrix = jnp.zeros_like(matrix).at[:, diagonal, diagonal].set(ritz[:, -kept:])
    return fresh, matrix, jax.vmap(unit)(jnp.moveaxis(top[:, kept - band :][:, ::-1], 1, 0))


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


def _over(linear: Linear, block: Array, loops: Loops) -> Array:
    """A map of rows (points, m) on every row of a block (points, count, m)."""
    return jnp.moveaxis(loops.map(linear, jnp.moveaxis(block, 1, 0)), 0, 1)
