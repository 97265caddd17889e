"""E‖∇u(x)‖, x ~ γ_n, by automatic differentiation: one side of the coarea identity (Theorem 17).

The other, ∫ P({u > t}) dt, is in `theory.level_sets` and takes no derivative.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from theory.check import check_count
from theory.estimate import Estimate
from theory.gaussian import normal

ROWS = 1 << 13  # points of a chunk

Function = Callable[[Float[Array, " n"]], Float[Array, ""]]


class Variation(NamedTuple):
    """E‖∇u‖ and, band by band of levels, E[‖∇u‖; lower < u ≤ upper]."""

    total: Estimate
    bands: Estimate


def total_variation(
    key: PRNGKeyArray,
    function: Function,
    *,
    dimension: int,
    samples: int,
    edges: object = (),
    dtype: Any = None,
) -> Variation:
    """E‖∇u(x)‖ at x ~ γ_n, where u need be differentiable almost everywhere only.

    Args:
        key: PRNG key.
        function: u, one point to one number, differentiable by JAX.
        dimension: n.
        samples: number of points, rounded up to a multiple of ROWS.
        edges: of the bands of levels, increasing, shape (bands + 1,); none if empty.
        dtype: of x; JAX's default if None.

    Raises:
        ValueError: on dimension < 1, samples < 2, edges that do not increase, a u that is not one
            number at a point, or a gradient that is not finite.
    """
    check_count("dimension", dimension, 1)
    check_count("samples", samples, 2)
    limits = _edges(edges)
    kind = jnp.zeros((), dtype).dtype.name
    batches = -(-samples // ROWS)
    sums = np.zeros((2, max(len(limits) - 1, 0) + 1))
    for number in range(batches):
        x = normal(jax.random.fold_in(key, number), (ROWS, dimension), kind, samples=0)
        sums += np.asarray(_sums(function, x, jnp.asarray(limits)), np.float64)
    if not np.isfinite(sums).all():
        raise ValueError("the gradient of u must be finite, got NaN or infinity")
    return Variation(*_split(_mean(sums, batches * ROWS)))


@eqx.filter_jit
def _sums(function: Function, x: Array, edges: Array) -> Float[Array, "2 bands_and_total"]:
    """Σ‖∇u‖ and Σ‖∇u‖² over all points, then over those of every band."""
    value, slope = jax.vmap(jax.value_and_grad(partial(_scalar, function)))(x)
    norm = jnp.linalg.norm(slope, axis=1).astype(edges.dtype)
    bands = max(edges.shape[0] - 1, 0)
    place = jnp.searchsorted(edges, value.astype(edges.dtype)) if bands else jnp.zeros(len(x), int)
    powers = jnp.stack([norm, norm**2])
    split = jnp.zeros((2, bands + 2)).at[:, place].add(powers)[:, 1 : bands + 1]
    return jnp.concatenate([jnp.sum(powers, axis=1, keepdims=True), split], axis=1)


def _scalar(function: Function, x: Array) -> Array:
    value = function(x)
    if jnp.shape(value) != ():
        raise ValueError(f"u maps a point to a number, got shape {jnp.shape(value)}")
    return value


def _edges(edges: object) -> np.ndarray:
    limits = np.asarray(edges, np.float64)
    if limits.ndim != 1 or limits.size == 1 or not (np.diff(limits) > 0).all():
        raise ValueError(f"edges are two or more increasing numbers, got shape {limits.shape}")
    return limits


def _mean(sums: np.ndarray, count: int) -> Estimate:
    mean, square = sums / count
    sem = np.sqrt(np.maximum(square - mean**2, 0) / (count - 1))
    return Estimate(mean, sem, np.zeros_like(mean), count)


def _split(joint: Estimate) -> tuple[Estimate, Estimate]:
    """The first entry, a scalar, and the others."""
    first = Estimate(float(joint.value[0]), float(joint.sem[0]), float(joint.bias[0]), joint.count)
    return first, Estimate(joint.value[1:], joint.sem[1:], joint.bias[1:], joint.count)
