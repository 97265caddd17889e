"""Argmax label and nearest facet over all classes, in blocks of classes: for any layout of sites.

Both are minima over classes j of a function f(x, j). Each is *screened* in the dtype of the
inputs by certified lower bounds of f, all classes at once as matrix products, keeping the few
smallest; and *decided* by direct evaluation of those few in the widest enabled dtype. Rows whose
screen cannot exclude the other classes fall back to direct evaluation over all of them.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from theory.reductions import every

BLOCK = 4096  # classes a block
FEW = 64  # doubtful rows of a chunk that are decided by themselves

Rows = Float[Array, "rows n"]
Bound = Callable[[Int[Array, ""]], Float[Array, "rows block"]]
Exact = Callable[[Int[Array, "rows k"]], Float[Array, "rows k"]]


def wide_dtype(narrow: Any) -> Any:
    """float64 where x64 is enabled, else the dtype itself."""
    return jnp.dtype(jnp.float64) if jax.config.read("jax_enable_x64") else jnp.dtype(narrow)


@jax.jit
def label_rows(sites: Array, offsets: Array, x: Rows) -> Int[Array, " rows"]:
    """Labels; a narrow screen decides most rows, and only the doubtful ones are looked at again."""
    rows, modes = x.shape[0], sites.shape[0]
    lower, loose = _score_bounds(sites, offsets, x)
    if wide_dtype(x.dtype) == x.dtype:  # the screen is the decision
        return _smallest(lower, rows, modes, 1)[1][:, 0]
    bounds, best = _smallest(lower, rows, modes, 2)
    best = best[:, 0]
    doubtful = ~(bounds[:, 1] > bounds[:, 0] + 2 * loose(best))
    few = jnp.nonzero(doubtful, size=min(FEW, rows), fill_value=0)[0]
    again = jnp.where(doubtful[few], _decided_labels(sites, offsets, x[few]), best[few])
    return lax.cond(
        jnp.sum(doubtful) <= FEW,
        lambda: best.at[few].set(again),
        lambda: _decided_labels(sites, offsets, x),
    )


def _decided_labels(sites: Array, offsets: Array, x: Rows) -> Int[Array, " rows"]:
    wide = wide_dtype(x.dtype)

    def exact(j: Array) -> Array:
        score = jnp.einsum("rn,rkn->rk", x.astype(wide), sites[j].astype(wide), precision="highest")
        return -(score + offsets[j].astype(wide))

    lower, _ = _score_bounds(sites, offsets, x)
    return _screened_argmin(lower, exact, x.shape[0], sites.shape[0], kept=4)[0]


def _score_bounds(
    sites: Array, offsets: Array, x: Rows
) -> tuple[Bound, Callable[[Int[Array, " rows"]], Float[Array, " rows"]]]:
    """Lower bounds of minus the scores, and how loose they are at one class for each row."""
    slack = rounding(x, sites) if wide_dtype(x.dtype) != x.dtype else 0.0
    norm, length, height = lengths(sites), lengths(x), heights(offsets)

    def lower(j: Array) -> Array:
        score = jnp.matmul(x, sites[j].T, precision="highest") + offsets[j]
        return -(score + slack * (length[:, None] * norm[j] + height[j]))

    def loose(j: Array) -> Array:
        return slack * (length * norm[j] + height[j])

    return lower, loose


@jax.jit
def facet_rows(
    sites: Array, offsets: Array, groups: Array, x: Rows
) -> tuple[Int[Array, " rows"], Int[Array, " rows"], Float[Array, " rows"]]:
    """Label, neighbour (−1 where none) and distance (∞ where none) of each row: pure, jittable."""
    y = label_rows(sites, offsets, x)
    own, own_score = sites[y], jnp.sum(x * sites[y], axis=1) + offsets[y]
    wide, slack = wide_dtype(x.dtype), rounding(x, sites)
    info = jnp.finfo(sites.dtype)
    least = float(info.tiny) / float(info.eps) ** 2  # below it squares of lengths underflow
    norm, length, height = lengths(sites), lengths(x), heights(offsets)

    def lower(j: Array) -> Array:
        score = jnp.matmul(x, sites[j].T, precision="highest") + offsets[j]
        inner = jnp.matmul(own, sites[j].T, precision="highest")
        reach = norm[y][:, None] + norm[j]
        loose = slack * (length[:, None] * reach + height[y][:, None] + height[j])
        gap = jnp.maximum(own_score[:, None] - score - loose, 0)
        square = jnp.maximum((norm[y] ** 2)[:, None] + norm[j] ** 2 - 2 * inner, 0)
        ratio = gap / jnp.sqrt(square + slack * reach**2)
        ratio = jnp.where(reach**2 > least, ratio, 0)
        return jnp.where(groups[j] == groups[y][:, None], jnp.inf, ratio)

    def exact(j: Array) -> Array:
        apart = own.astype(wide)[:, None, :] - sites[j].astype(wide)
        gap = jnp.einsum("rn,rkn->rk", x.astype(wide), apart, precision="highest")
        gap = gap + (offsets[y].astype(wide)[:, None] - offsets[j].astype(wide))
        ratio = jnp.maximum(gap, 0) / jnp.linalg.norm(apart, axis=-1)
        return jnp.where(groups[j] == groups[y][:, None], jnp.inf, ratio)

    kept = 2 if wide == sites.dtype else 4  # a screen in float64 leaves hardly any doubt
    j, distance = _screened_argmin(lower, exact, x.shape[0], sites.shape[0], kept)
    return y, jnp.where(jnp.isfinite(distance), j, -1), distance


def rounding(x: Array, sites: Array) -> float:
    """A bound γ on |fl⟨x, a⟩ − ⟨x, a⟩| ≤ γ‖x‖‖a‖ in any order, in the coarser of two dtypes."""
    coarser = max(float(jnp.finfo(array.dtype).eps) for array in (x, sites))
    return (x.shape[-1] + 8) * coarser


def lengths(rows: Array) -> Array:
    """Euclidean norms that neither over- nor underflow."""
    largest = jnp.max(jnp.abs(rows), axis=1, keepdims=True)
    unit = rows / jnp.where(largest > 0, largest, 1)
    return largest[:, 0] * jnp.linalg.norm(unit, axis=1)


def heights(offsets: Array) -> Array:
    """|b_i|; an offset of −∞ (a class switched off) is exact, so it counts as 0."""
    return jnp.where(jnp.isfinite(offsets), jnp.abs(offsets), 0)


def _screened_argmin(
    lower: Bound, exact: Exact, rows: int, modes: int, kept: int
) -> tuple[Array, Array]:
    """argmin_j and min_j of `exact` given that `lower` ≤ `exact`; ties to the smaller j."""
    kept = min(kept, modes)
    bounds, indices = _smallest(lower, rows, modes, kept + 1)
    best, value = first_minimum(indices[:, :kept], exact(indices[:, :kept]))
    if kept == modes:
        return best, value
    certified = bounds[:, kept] > value
    # Rows without any finite value (a single distinct site) are certified too.
    certified |= bounds[:, 0] == jnp.inf
    return lax.cond(
        every(certified), lambda: (best, value), lambda: _exhaustive(exact, rows, modes)
    )


def _smallest(lower: Bound, rows: int, modes: int, count: int) -> tuple[Array, Array]:
    """The `count` smallest lower bounds of each row with their classes, block by block."""
    block = min(BLOCK, modes)

    def step(kept: tuple[Array, Array], start: Array) -> tuple[tuple[Array, Array], None]:
        j = start + jnp.arange(block, dtype=jnp.int32)
        real, j = j < modes, jnp.minimum(j, modes - 1)
        values = jnp.concatenate([kept[0], jnp.where(real, lower(j), jnp.inf)], axis=1)
        classes = jnp.concatenate([kept[1], jnp.broadcast_to(j, (rows, block))], axis=1)
        return _partial_sort(values, classes, count), None

    shape = jax.eval_shape(lower, jax.ShapeDtypeStruct((block,), jnp.int32))
    empty = (jnp.full((rows, count), jnp.inf, shape.dtype), jnp.zeros((rows, count), jnp.int32))
    kept, _ = lax.scan(step, empty, jnp.arange(0, modes, block, dtype=jnp.int32))
    return kept


def _partial_sort(values: Array, classes: Array, count: int) -> tuple[Array, Array]:
    """`count` rounds of minimum-and-mask: on CPU far cheaper than lax.top_k for a few."""
    columns = jnp.arange(values.shape[1], dtype=jnp.int32)
    smallest, chosen = [], []
    for _ in range(count):
        least = jnp.min(values, axis=1)
        at = jnp.min(jnp.where(values == least[:, None], columns, values.shape[1] - 1), axis=1)
        smallest.append(least)
        chosen.append(jnp.take_along_axis(classes, at[:, None], axis=1)[:, 0])
        values = jnp.where(columns == at[:, None], jnp.inf, values)
    return jnp.stack(smallest, axis=1), jnp.stack(chosen, axis=1)


def first_minimum(classes: Array, values: Array) -> tuple[Array, Array]:
    """The least value of each row and the smallest class that has it."""
    least = jnp.min(values, axis=1)
    tied = jnp.where(values == least[:, None], classes, jnp.iinfo(classes.dtype).max)
    return jnp.min(tied, axis=1), least


def _exhaustive(exact: Exact, rows: int, modes: int) -> tuple[Array, Array]:
    """The minimum over all classes by direct evaluation, a few classes at a time."""
    block = 16

    def step(best: tuple[Array, Array], start: Array) -> tuple[tuple[Array, Array], None]:
        j = jnp.broadcast_to(
            jnp.minimum(start + jnp.arange(block, dtype=jnp.int32), modes - 1), (rows, block)
        )
        classes, values = first_minimum(j, exact(j))
        better = values < best[1]
        merged = (jnp.where(better, classes, best[0]), jnp.where(better, values, best[1]))
        return merged, None

    shape = jax.eval_shape(exact, jax.ShapeDtypeStruct((rows, block), jnp.int32))
    empty = (jnp.zeros(rows, jnp.int32), jnp.full(rows, jnp.inf, shape.dtype))
    best, _ = lax.scan(step, empty, jnp.arange(0, modes, block, dtype=jnp.int32))
    return best
