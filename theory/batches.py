"""Maps of one point on batches of them, in chunks of fixed size: bounded memory, one compile.

A transport is a JAX-differentiable callable of one point, (n,) ↦ (d,); batches go through vmap.
Equinox modules are such callables: their arrays are arguments of what is compiled, where those
that a function closes over are compiled in.
"""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from theory.check import check_count
from theory.devices import spread
from theory.gaussian import normal

CELLS, ROWS = 1 << 21, 1024  # the most numbers (besides what T holds) and points of a chunk

Transport = Callable[[Float[Array, " n"]], Float[Array, " d"]]
PerPoint = Float[np.ndarray, " points"]


def values(transport: Transport, x: Array) -> Array:
    """T at rows of x, or a ValueError when T is no map of one point to one point."""
    out = jax.vmap(transport)(x)
    if not isinstance(out, jax.Array) or out.ndim != 2 or not jnp.issubdtype(out, jnp.floating):
        got = jax.tree.map(lambda a: f"{a.dtype} {a.shape[1:]}", out)
        raise ValueError(f"a transport maps ({x.shape[1]},) to a floating (d,), got {got}")
    return out


def check_rows(name: str, x: object) -> np.ndarray:
    """The points as a finite floating array of shape (N, n), or ValueError naming what came."""
    rows = np.asarray(x)
    if rows.ndim != 2 or rows.size == 0:
        raise ValueError(f"{name} must have shape (N, n), N and n ≥ 1, got shape {rows.shape}")
    if not np.issubdtype(rows.dtype, np.floating):
        raise ValueError(f"{name} must be floating, got dtype {rows.dtype}")
    if not np.isfinite(rows).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return rows


def chunk_size(points: int, width: int) -> int:
    """Rows of a chunk when each row takes `width` numbers."""
    return max(16, min(ROWS, CELLS // width, 1 << (points - 1).bit_length()))


def chunks(x: np.ndarray, width: int) -> Iterator[tuple[int, Array, int]]:
    """First row, the rows of a chunk (the last one repeats its last row), and how many count."""
    size = chunk_size(len(x), width)
    for first in range(0, len(x), size):
        rows = x[first : first + size]
        pad = [(0, size - len(rows))] + [(0, 0)] * (x.ndim - 1)
        yield first, spread(jnp.asarray(np.pad(rows, pad, mode="edge"))), len(rows)


def in_chunks(kernel: Callable, x: np.ndarray, width: int) -> list[np.ndarray]:
    """What the kernel makes of (first row, rows), chunk by chunk, joined; all of it finite."""
    parts = [
        [np.asarray(out)[:live] for out in kernel(jnp.asarray(first, jnp.int32), rows)]
        for first, rows, live in chunks(x, width)
    ]
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    bad = int(np.sum(~np.isfinite(joined[0])))
    if bad:
        raise ValueError(f"the Jacobian of T is not finite at {bad} of {len(x)} points")
    return joined


def draws(
    key: PRNGKeyArray, samples: int, dimension: int, dtype: np.dtype, width: int | None = None
) -> Iterator[tuple[Array, int]]:
    """Rows x ~ γ_n in chunks, and how many of them count, until `samples` do."""
    check_count("samples", samples, 2)
    check_count("dimension", dimension, 1)
    size = chunk_size(samples, dimension if width is None else width)
    for number, first in enumerate(range(0, samples, size)):
        rows = normal(jax.random.fold_in(key, number), (size, dimension), dtype.name, samples=0)
        yield rows, min(size, samples - first)
