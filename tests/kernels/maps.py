"""Maps whose Jacobians are known, and the singular values of any by a dense decomposition."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np


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


def network(rng: np.random.Generator, n: int, width: int, d: int) -> Network:
    shapes = (width, n), (width,), (d, width)
    return Network(*(jnp.asarray(rng.normal(size=s) / math.sqrt(s[-1])) for s in shapes))


def singular_values(transport: Callable, x: np.ndarray) -> np.ndarray:
    jacobians = np.asarray(jax.vmap(jax.jacfwd(transport))(jnp.asarray(x)), np.float64)
    return np.linalg.svd(jacobians, compute_uv=False)
