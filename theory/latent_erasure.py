"""CCI on latents that have no facets: how much of a step of given length a generation step erases.

    CCI = 1 − E‖G(z + p) − G(z)‖²/E‖p‖²

as `theory.carrier`, but ‖p‖ is a number or the length of the residual, not a share of the margin.
There is no token to retain either: a constant scores 1, as a hard commit does.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from theory.carrier import Carrier
from theory.denoise_step import Rows, unit_rows
from theory.estimate import Estimate, ratio_of_means
from theory.jacobian import row_normals
from theory.latent_steps import (
    CHUNK,
    PosteriorMean,
    check_grouped,
    drawn,
    joined,
    rows_like,
    step_lengths,
)


class LatentErasure(NamedTuple):
    """What a carrier erases of steps of one length: 1 − E‖G(z + p) − G(z)‖²/E‖p‖².

    Fields:
        isotropic: of p uniform in direction.
        residual: of p along the residual of a denoising step.
    """

    isotropic: Estimate
    residual: Estimate


def latent_erasure(
    key: PRNGKeyArray,
    carrier: Carrier,
    posterior_mean: PosteriorMean,
    latents: object,
    scale: float,
    step: float | None = None,
    *,
    group: object = None,
    chunk: int = CHUNK,
) -> LatentErasure:
    """CCI of a carrier along isotropic directions and along residuals, over groups of latents.

    Args:
        key: PRNG key; that of `image_sensitivity` gives other draws.
        carrier: G, rows to rows of the same shape, every row by itself.
        posterior_mean: (x, s) ↦ E[Z | Z + sξ = x], whose residual is meant.
        latents: z, shape (N, n).
        scale: s of the residual.
        step: ‖p‖; None: as long as each residual.
        group: labels, shape (N,); None: all latents are independent.
        chunk: latents that are carried at a time.

    Raises:
        ValueError: on latents, labels or numbers out of range, fewer than two groups, residuals
            that are all 0 when they are to give the length, or carried rows or posterior means of
            another shape or not finite.
    """
    clean, labels = check_grouped(latents, group, scale, chunk)
    fixed = None if step is None else (step,)

    def measured(first: Array, rows: Rows) -> tuple[Array, ...]:
        draws = drawn(row_normals(key, rows, first, 3), posterior_mean, rows, scale)
        ways = jnp.stack([draws.isotropic, unit_rows(draws.residual)])
        steps = step_lengths(fixed, draws.residual) * ways
        rest = rows_like("carried rows", carrier(rows), rows)
        moved = [rows_like("carried rows", carrier(rows + p), rows) - rest for p in steps]
        return jnp.sum(jnp.stack(moved) ** 2, axis=2).T, jnp.sum(steps**2, axis=2).T

    moved, made = joined(measured, clean, chunk)
    found = [ratio_of_means(moved[:, k], made[:, k], labels) for k in range(2)]
    return LatentErasure(*(Estimate(1 - one.value, one.sem, 0.0, one.count) for one in found))
