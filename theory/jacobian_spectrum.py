"""The spectrum of a decoder's Jacobian DT(x) at latents, and how many directions it counts.

    effective rank Σσ²/σ₁²,   participation ratio (Σσ²)²/Σσ⁴,   both from 1 to min(n, d).

Up to DENSE rows or columns the Gram matrix is assembled by products in blocks and all σ are known.
Beyond, the `count` largest come from the Lanczos of `theory.lanczos`, and the sums from Gaussian
probes g (Hutchinson 1990): E‖DT g‖² = Σσ², E‖DTᵀDT g‖² = Σσ⁴.
"""

from dataclasses import replace
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from theory.batches import Transport, check_rows
from theory.check import check_count
from theory.estimate import Estimate, ratio_of_means
from theory.jacobian import linearised, multiplied, outputs, row_normals
from theory.lanczos import stepwise_pairs

DENSE = 1024  # of min(n, d): a Gram matrix of 8 MiB, and as many products a latent
BLOCK = 32  # products at a time
PROBES = 32  # of the sums, a latent
TOLERANCE, CYCLES = 1e-2, 20  # of the Lanczos


class Spectra(NamedTuple):
    """Singular values latent by latent, and means over independent groups of latents.

    Fields:
        values: σ₁ ≥ σ₂ ≥ …, shape (latents, min(n, d)), or the `count` largest of them.
        error: some singular value lies within this of each; 0 where all are known.
        effective_rank: E Σσ²/σ₁²; its bias is what the error of σ₁ makes, an estimate.
        participation: E (Σσ²)²/Σσ⁴; by probes with the bias 2/PROBES that the square has at most.
    """

    values: Float[np.ndarray, "latents k"]
    error: Float[np.ndarray, "latents k"]
    effective_rank: Estimate
    participation: Estimate


def jacobian_spectra(
    key: PRNGKeyArray, transport: Transport, x: object, *, count: int = 16, group: object = None
) -> Spectra:
    """Spectra of DT at every row of x.

    Args:
        key: PRNG key of starts and probes.
        transport: T, of one point; `theory.jacobian.OfRows` makes one of a decoder of rows.
        x: latents, shape (N, n), N ≥ 2.
        count: singular values that are found where min(n, d) is beyond DENSE.
        group: labels, shape (N,), of latents that depend on each other; None: independent.

    Raises:
        ValueError: on points of another shape or not finite, fewer than two of them or two groups,
            count < 1, or a Jacobian that vanishes or is not finite.
    """
    points = check_rows("points", x)
    check_count("count", count, 1)
    m = min(points.shape[1], outputs(transport, points))
    if m <= DENSE:
        values = np.stack([_whole(transport, row, m) for row in points])
        square, fourth = (values**2).sum(axis=1), (values**4).sum(axis=1)
        error, bias = np.zeros_like(values), 0.0
    else:
        values, error, square, fourth = _leading(key, transport, points, min(count, m))
        bias = 2 / PROBES
    if not (np.isfinite(values).all() and (values[:, 0] > 0).all()):
        raise ValueError("a Jacobian that vanishes or is not finite has no spectrum to speak of")
    labels = np.arange(len(points)) if group is None else np.asarray(group)
    ones = np.ones(len(points))
    ranks = square / values[:, 0] ** 2
    rank = ratio_of_means(ranks, ones, labels)
    blurred = float(np.mean(ranks * 2 * error[:, 0] / values[:, 0]))
    counted = ratio_of_means(square**2 / fourth, ones, labels)
    counted = replace(counted, bias=bias * float(counted.value))
    return Spectra(values, error, replace(rank, bias=blurred), counted)


def _whole(transport: Transport, point: np.ndarray, m: int) -> Float[np.ndarray, " m"]:
    """All singular values, from the eigenvalues of the smaller Gram matrix in float64."""
    wide = len(point) > m
    parts = []
    for first in range(0, m, BLOCK):
        basis = jnp.eye(m, dtype=point.dtype)[first : first + BLOCK]
        fill = jnp.pad(basis, ((0, BLOCK - len(basis)), (0, 0)))
        rows = jnp.broadcast_to(jnp.asarray(point), (BLOCK, len(point)))
        parts.append(np.asarray(_images(transport, rows, fill, wide), np.float64)[: len(basis)])
    images = np.concatenate(parts)
    return np.sqrt(np.maximum(np.linalg.eigvalsh(images @ images.T)[::-1], 0))


@eqx.filter_jit
def _images(transport: Transport, x: Array, basis: Array, wide: bool) -> Array:
    _, push, pull = linearised(transport, x)
    return pull(basis) if wide else push(basis)


def _leading(
    key: PRNGKeyArray, transport: Transport, points: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The largest singular values with errors, and Σσ² and Σσ⁴ by probes, latent by latent."""
    found = []
    limits = jnp.asarray(TOLERANCE, points.dtype), jnp.asarray(CYCLES, jnp.int32)
    for number, point in enumerate(points):
        row = jnp.asarray(point[None])
        normals = row_normals(key, row, jnp.int32(number), count + PROBES)
        value, error, _ = stepwise_pairs(transport, row, normals[:, :count], *limits)
        rows = jnp.broadcast_to(row, (PROBES, row.shape[1]))
        once = jnp.ones(PROBES, row.dtype)
        image, again = multiplied(transport, rows, normals[0, count:], once, False)
        sums = (np.asarray(each, np.float64) for each in (image, again))
        leading = (np.asarray(each[0], np.float64) for each in (value, error))
        found.append((*leading, *((s**2).sum(axis=1).mean() for s in sums)))
    values, errors, square, fourth = zip(*found, strict=True)
    return np.stack(values), np.stack(errors), np.array(square), np.array(fourth)
