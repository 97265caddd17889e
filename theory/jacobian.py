"""Products with the Jacobian of T: R^n → R^d and with its transpose, at rows of points."""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from theory.batches import Transport, values
from theory.devices import spread
from theory.gaussian import normal

Linear = Callable[[Array], Array]
Product = Callable[[Array, Array], tuple[Array, Array]]  # (v, c) ↦ Bv/c, BᵀBv/c²; B is DT or DTᵀ


class OfRows(eqx.Module):
    """A map of rows, (N, n) ↦ (N, …), as a transport of one point with its outputs in a line.

    Fields:
        decode: D, of every row by itself.
    """

    decode: Callable[[Array], Array]

    def __call__(self, z: Float[Array, " n"]) -> Float[Array, " d"]:
        """D at one point."""
        return jnp.ravel(self.decode(z[None])[0])


def outputs(transport: Transport, points: np.ndarray | Array) -> int:
    """d, the number of outputs of T, or the ValueError of `values`."""
    return eqx.filter_eval_shape(values, transport, points[:1]).shape[1]


def linearised(transport: Transport, x: Array) -> tuple[Array, Linear, Linear]:
    """T at rows of x, and v ↦ DT v and u ↦ DTᵀu row by row."""
    out, push = jax.linearize(lambda rows: values(transport, rows), x)
    return out, push, lambda u: jax.linear_transpose(push, x)(u)[0]


def products(push: Linear, pull: Linear, wide: bool) -> Product:
    """B = DTᵀ where d < n, and DT otherwise."""
    inner, outer = (pull, push) if wide else (push, pull)

    def product(v: Array, size: Array) -> tuple[Array, Array]:
        image = _divided(inner(v), size)
        return image, _divided(outer(image), size)

    return product


@eqx.filter_jit
def pushed(transport: Transport, x: Array, v: Array) -> Array:
    """DT v at rows of x."""
    return linearised(transport, x)[1](v)


@eqx.filter_jit
def multiplied(
    transport: Transport, x: Array, v: Array, size: Array, wide: bool
) -> tuple[Array, Array]:
    """The product of `products`, with T taken at x anew."""
    _, push, pull = linearised(transport, x)
    return products(push, pull, wide)(v, size)


def _divided(rows: Array, size: Array) -> Array:
    return rows / size[:, None].astype(rows.dtype)


@jax.jit
def lengths(rows: Array) -> Array:
    """Euclidean norms that neither over- nor underflow."""
    largest = jnp.max(jnp.abs(rows), axis=1)
    scaled = rows / jnp.where(largest > 0, largest, 1)[:, None]
    return largest * jnp.linalg.norm(scaled, axis=1)


@jax.jit
def unit(rows: Array) -> Array:
    """Rows of length 1; a row of zeros stays one."""
    length = lengths(rows)[:, None]
    return rows / jnp.where(length > 0, length, 1)


@partial(jax.jit, static_argnames="count")
def row_normals(key: PRNGKeyArray, x: Array, first: Array, count: int = 1) -> Array:
    """Gaussian vectors for rows of x, shape (rows, count, n), each with the key of its own row."""
    keys = jax.vmap(lambda row: jax.random.fold_in(key, row))(first + jnp.arange(len(x)))
    shape = (count, x.shape[1])
    return spread(jax.vmap(lambda row_key: normal(row_key, shape, x.dtype.name))(keys))
