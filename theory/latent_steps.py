"""Steps from latents without a readout: residuals of exact denoising steps, and isotropic ones.

X = Z + sξ, residual μ(X) − Z, as `theory.denoise_step`, for latents that come in groups (crops of
one photograph) and maps of which only a few rows at a time fit into memory. What is drawn depends
on the row of a latent, not on its chunk.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from theory.batches import check_rows
from theory.check import check_count, check_scale
from theory.denoise_step import Rows, unit_rows
from theory.devices import spread
from theory.jacobian import lengths

CHUNK = 16  # latents of which a map is taken at a time: what it holds of each is not known

Groups = Int[np.ndarray, " latents"]
PosteriorMean = Callable[[Rows, float], Rows]


class Drawn(NamedTuple):
    """What is drawn for rows of latents.

    Fields:
        sign: a fair coin, −1 or 1, for directions whose sign is arbitrary.
        residual: μ(Z + sξ) − Z.
        isotropic: unit vectors.
    """

    sign: Float[Array, " rows"]
    residual: Rows
    isotropic: Rows


def check_grouped(
    latents: object, group: object, scale: float, chunk: int
) -> tuple[Float[np.ndarray, "latents n"], Groups]:
    """Latents (N, n) and their labels, each its own if None, or ValueError; scale and chunk too."""
    clean = check_rows("latents", latents)
    check_scale("scale", scale)
    check_count("chunk", chunk, 1)
    labels = np.arange(len(clean)) if group is None else np.asarray(group)
    if labels.shape != (len(clean),) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"group must be {len(clean)} integers, one a latent, got {labels.dtype} {labels.shape}"
        )
    if len(np.unique(labels)) < 2:
        raise ValueError("errors need at least two independent groups of latents, got 1")
    return clean, labels


def drawn(
    normals: Float[Array, "rows 3 n"], posterior_mean: PosteriorMean, rows: Rows, scale: float
) -> Drawn:
    """A sign, a residual and an isotropic direction for every row, made of three Gaussians each.

    Raises:
        ValueError: when posterior means have another shape.
    """
    noisy = _noisy(rows, normals, scale)
    mean = rows_like("posterior means", posterior_mean(noisy, scale), rows)
    return _drawn(rows, normals, mean)


@jax.jit
def _noisy(rows: Rows, normals: Array, scale: Array | float) -> Rows:
    return (rows + scale * normals[:, 0]).astype(rows.dtype)


@jax.jit
def _drawn(rows: Rows, normals: Array, mean: Rows) -> Drawn:
    sign = jnp.where(normals[:, 2, 0] < 0, -1, 1).astype(rows.dtype)
    return Drawn(sign, (mean - rows).astype(rows.dtype), unit_rows(normals[:, 1]))


def step_lengths(steps: Sequence[float] | None, residual: Rows) -> Float[Array, "rows lengths"]:
    """Lengths of steps for every row: those given, or one as long as each residual.

    Raises:
        ValueError: on lengths that are none or not positive and finite.
    """
    if steps is None:
        return lengths(residual)[:, None]
    fixed = [float(step) for step in steps]
    if not (fixed and all(0 < step < math.inf for step in fixed)):
        raise ValueError(f"steps must be positive and finite, at least one, got {steps}")
    return jnp.broadcast_to(jnp.asarray(fixed, residual.dtype), (len(residual), len(fixed)))


def joined(
    measured: Callable[[Array, Rows], tuple[Array, ...]], clean: np.ndarray, chunk: int
) -> list[np.ndarray]:
    """Columns of all latents in float64, chunk by chunk of one shape: the last repeats its last."""
    size, parts = min(chunk, len(clean)), []
    for first in range(0, len(clean), size):
        rows = clean[first : first + size]
        padded = spread(jnp.asarray(np.pad(rows, ((0, size - len(rows)), (0, 0)), mode="edge")))
        found = measured(jnp.asarray(first, jnp.int32), padded)
        parts.append([np.asarray(one, np.float64)[: len(rows)] for one in found])
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    if not all(np.isfinite(column).all() for column in columns):
        raise ValueError("outputs and their derivatives must be finite, got NaN or infinity")
    return columns


def rows_like(name: str, found: Any, rows: Rows) -> Array:
    """What was found, or ValueError when it has not the shape of the rows."""
    if found.shape != rows.shape:
        raise ValueError(f"{name} keep the shape of the latents, {rows.shape}, got {found.shape}")
    return jnp.asarray(found)
