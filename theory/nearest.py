"""Labels and nearest facets behind `PowerDiagram`, in chunks of points of a fixed size.

Few classes are screened block by block (`theory.screening`), in the widest enabled dtype, where a
screen leaves hardly any doubt and compiles in a tenth of the time. Many are pruned
(`theory.pruning`), which costs one product where the screen costs two or three, and is sure of
nearly every point; the points it is not sure of are screened.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int

from theory import pruning, screening
from theory.devices import by_rows
from theory.screening import wide_dtype

MANY = 4096  # classes from which on pruning pays
CELLS = 1 << 17  # (point, class) pairs held by a screen: about a megabyte an array, a cache's worth
ROWS = 4096  # points held by a screen of few classes
BLOCKS = 8  # of pruning in one program
PRUNED = 1 << 26  # pairs held by pruning, which a product fills at its full rate: 256 MiB

Screened = Callable[[], pruning.Screen]


def label(
    sites: Array, offsets: Array, screened: Screened, x: Float[Array, "*points n"]
) -> Int[Array, " *points"]:
    """argmax_i ⟨a_i, x⟩ + b_i, ties to the smaller index; `screened` is asked for many classes."""
    rows, modes = x.reshape(-1, x.shape[-1]), sites.shape[0]
    if modes <= MANY:
        sites, offsets, rows = _widened(sites, offsets, rows)
    screen = _in_chunks(Partial(_label_rows, sites, offsets), _screened(modes))
    if modes <= MANY or isinstance(x, jax.core.Tracer):
        (labels,) = screen(rows)
        return labels.reshape(x.shape[:-1])
    prune = Partial(pruning.labels, sites, offsets, screened(), wide=wide_dtype(x.dtype).name)
    (labels,) = _pruned(prune, screen, modes, rows)
    return labels.reshape(x.shape[:-1])


def facet(
    sites: Array,
    offsets: Array,
    groups: Int[Array, " modes"],
    screened: Screened,
    x: Float[Array, "*points n"],
) -> tuple[Array, Array, Array]:
    """Label, nearest neighbour and distance; `groups` are equal for equal sites."""
    rows, modes = x.reshape(-1, x.shape[-1]), sites.shape[0]
    if modes <= MANY:
        sites, offsets, rows = _widened(sites, offsets, rows)
    screen = _in_chunks(Partial(_facet_rows, sites, offsets, groups), _screened(modes))
    if modes <= MANY or isinstance(x, jax.core.Tracer):
        found = screen(rows)
    else:
        prune = Partial(pruning.facets, sites, offsets, screened(), wide=wide_dtype(x.dtype).name)
        found = _pruned(prune, screen, modes, rows)
    label, neighbour, distance = (part.reshape(x.shape[:-1]) for part in found)
    return label, neighbour, distance


def _label_rows(sites: Array, offsets: Array, part: Array, real: Array) -> tuple[Array]:
    return (screening.label_rows(sites, offsets, part),)


def _facet_rows(sites: Array, offsets: Array, groups: Array, part: Array, real: Array) -> Any:
    return screening.facet_rows(sites, offsets, groups, part)


def _pruned(prune: Callable, screen: Callable, modes: int, rows: Array) -> list[Array]:
    """What pruning finds, and of rows that it is not sure of what the screen finds.

    In blocks that a product fills at its full rate, but few rows are not padded to many.
    """
    held = max(16, PRUNED // modes)
    size = min(1 << (held.bit_length() - 1), _power(len(rows)))
    chunk = size if len(rows) <= size else size * BLOCKS
    *found, sure = _in_chunks(Partial(_by_blocks, prune, size), chunk)(rows)
    unsure = np.flatnonzero(~np.asarray(sure))
    if not len(unsure):
        return found
    again = screen(rows[unsure])
    return [old.at[unsure].set(new) for old, new in zip(found, again, strict=True)]


@eqx.filter_jit
def _by_blocks(kernel: Callable, size: int, rows: Array, real: Array) -> Any:
    """The kernel over blocks of `size` rows, as many as hold the real ones, which come first.

    In one program, so that the memory of a block is met for the first time once.
    """
    size = min(size, len(rows))
    fill = (0, -len(rows) % size)
    blocks = jnp.pad(rows, (fill, (0, 0)), mode="edge").reshape(-1, size, rows.shape[1])

    def step(k: Array, found: Any) -> Any:
        return jax.tree.map(lambda old, new: old.at[k].set(new), found, kernel(blocks[k]))

    one = jax.eval_shape(kernel, blocks[0])
    empty = jax.tree.map(lambda leaf: jnp.zeros((len(blocks), *leaf.shape), leaf.dtype), one)
    found = lax.fori_loop(0, (jnp.sum(real, dtype=jnp.int32) + size - 1) // size, step, empty)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[: len(rows)], found)


def _in_chunks(kernel: Callable, size: int) -> Callable[[Array], list[Array]]:
    """The kernel over rows in chunks of one size; the last repeats its last row.

    The kernel is given rows, and which of them are real, not such repetitions. The size does not
    depend on how many rows there are, so that a readout compiles once, unless they are part of a
    larger compilation.
    """
    each = partial(by_rows, kernel)

    def run(rows: Array) -> list[Array]:
        held = min(size, _power(len(rows))) if isinstance(rows, jax.core.Tracer) else size
        parts = []
        for start in range(0, len(rows), held):
            part = rows if len(rows) <= held else rows[start : start + held]
            missing, real = held - len(part), jnp.asarray(np.arange(held) < len(part))
            part = jnp.pad(part, ((0, missing), (0, 0)), mode="edge") if missing else part
            parts.append(each(part, real))
        return list(parts[0]) if len(rows) == held else _joined(parts, len(rows))

    return run


@partial(jax.jit, static_argnames="count")
def _joined(parts: list[Any], count: int) -> list[Array]:
    return [jnp.concatenate(columns)[:count] for columns in zip(*parts, strict=True)]


def _widened(*arrays: Array) -> list[Array]:
    return [array.astype(wide_dtype(array.dtype)) for array in arrays]


def _screened(modes: int) -> int:
    """Points of a chunk of the screen."""
    return min(ROWS, max(16, CELLS // min(modes, screening.BLOCK)))


def _power(rows: int) -> int:
    """The power of two from 16 on that holds them."""
    return max(16, 1 << (rows - 1).bit_length())
