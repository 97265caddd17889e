"""Reductions in the form that XLA compiles well; what they find does not depend on the form."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def some(chosen: Bool[Array, "..."]) -> Bool[Array, ""]:
    """Whether any is chosen; XLA takes three times as long to compile `jnp.any` for CPUs."""
    return jnp.max(chosen.astype(jnp.int32)) > 0


def every(chosen: Bool[Array, "..."]) -> Bool[Array, ""]:
    """Whether all are chosen; in the form of `some`."""
    return jnp.min(chosen.astype(jnp.int32)) > 0


def highest(scores: Float[Array, "lines modes"]) -> Int[Array, " lines"]:
    """The first class of the highest score; XLA's own argmax does not vectorise on CPUs."""
    classes = jnp.arange(scores.shape[1], dtype=jnp.int32)
    return first(-scores <= above(-jnp.max(scores, axis=1))[:, None], classes)


def first(chosen: Bool[Array, "lines modes"], classes: Int[Array, "..."]) -> Int[Array, " lines"]:
    """The least of the classes chosen."""
    return jnp.min(jnp.where(chosen, classes, jnp.iinfo(jnp.int32).max), axis=1)


def above(least: Float[Array, " lines"]) -> Float[Array, " lines"]:
    """A little more than the least of several numbers: those below it tie.

    XLA may work the numbers out twice, for the minimum and for the comparison with it, once with
    fused multiply-adds and once without: compared by equality, none might be the least.
    """
    return least + 16 * jnp.finfo(least.dtype).eps * (1 + jnp.abs(least))
