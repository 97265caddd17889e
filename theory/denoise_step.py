"""Exact denoising steps: latents with their residuals, chunk by chunk; K Euler steps of the ODE.

r = μ(X) − Z with X = Z + sξ and μ(X) = E[Z|X] = X + s²∇log p_s(X). Without the score term what is
left is X − Z = sξ, isotropic and independent of Z: what residuals are compared with.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from theory.check import check_count, check_scale
from theory.gaussian import normal
from theory.mixture import Mixture, check_pair
from theory.partition import Facet, PowerDiagram

ROWS = 2048  # latents of a chunk
Rows = Float[Array, "rows n"]


class Step(NamedTuple):
    """A chunk of latents Z, their residuals, their nearest facets, and a key for what follows.

    Fields:
        clean: Z, shape (rows, n).
        residual: r, shape (rows, n).
        towards: unit normal of the nearest facet of Z, away from Z's own cell, shape (rows, n).
        facet: label, neighbour and δ(Z).
        live: how many rows count; the others only fill the chunk.
        key: unused so far.
    """

    clean: Rows
    residual: Rows
    towards: Rows
    facet: Facet
    live: int
    key: PRNGKeyArray


def steps(
    key: PRNGKeyArray,
    mixture: Mixture,
    diagram: PowerDiagram,
    scale: float,
    *,
    samples: int,
    score: bool = True,
) -> Iterator[Step]:
    """Exact denoising steps at noise s of independent latents, in chunks of one shape.

    Raises:
        ValueError: when s is not positive and finite, samples < 2, dimensions differ, or a latent
            has no facet (all sites are equal).
    """
    check_scale("scale", scale)
    check_count("samples", samples, 2)
    check_pair(mixture, diagram)
    size = min(ROWS, samples)
    for number, first in enumerate(range(0, samples, size)):
        draw_key, rest = jax.random.split(jax.random.fold_in(key, number))
        clean, residual = _draw(draw_key, mixture, scale, size, score)
        facet = diagram.nearest_facet(clean)
        if not bool(jnp.all(facet.neighbour >= 0)):
            raise ValueError("a latent has no facet: the sites of the readout are all equal")
        towards = _across(diagram.sites, facet.label, facet.neighbour)
        yield Step(clean, residual, towards, facet, min(size, samples - first), rest)


@partial(jax.jit, static_argnames="size")
def _draw(
    key: PRNGKeyArray, mixture: Mixture, scale: Array | float, size: int, score: Array | bool
) -> tuple[Rows, Rows]:
    latent_key, noise_key = jax.random.split(key)
    clean, _ = mixture.sample(latent_key, size)
    noise = normal(noise_key, clean.shape, clean.dtype.name)
    noise = scale * noise
    return clean, jnp.where(score, mixture.posterior_mean(clean + noise, scale) - clean, noise)


@jax.jit
def _across(sites: Array, label: Array, neighbour: Array) -> Rows:
    return unit_rows(sites[neighbour] - sites[label])


def unit_rows(rows: Rows) -> Rows:
    """Rows of length 1; a row of zeros stays one."""
    length = jnp.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / jnp.where(length > 0, length, 1.0)


def roll_in(
    mixture: Mixture, noisy: Float[Array, "rows n"], steps: int, start: float = 1.0
) -> Float[Array, "rows n"]:
    """K Euler steps of dz/dt = (z − E[Z|z_t])/t from t = `start` to 0 on a uniform grid.

    z_t = (1−t)Z + tε: the probability flow of the rectified schedule with its exact denoiser, and
    X = z_t/(1−t) has noise s = t/(1−t). The last step returns E[Z|z_t], so that K = 1 is the
    terminal step itself. At t = 1 nothing is known of Z and E[Z|z_t] is the prior mean.

    Args:
        mixture: the law of Z.
        noisy: z at t = start, shape (rows, n).
        steps: K ≥ 1. Every K runs in the same compiled loop.
        start: t in (0, 1].

    Raises:
        ValueError: when K is no integer ≥ 1, start is not in (0, 1], or the rows have a wrong
            shape or are not finite.
    """
    check_count("steps", steps, 1)
    check_scale("start", start)
    if start > 1:
        raise ValueError(f"start must lie in (0, 1], got {start}")
    rows = jnp.asarray(noisy)
    if rows.ndim != 2 or rows.shape[1] != mixture.dimension or rows.size == 0:
        raise ValueError(f"rows must have shape (N, {mixture.dimension}), got {rows.shape}")
    if not bool(jnp.all(jnp.isfinite(rows))):
        raise ValueError("rows must be finite, got NaN or infinity")
    return _rolled(mixture, rows, jnp.asarray(steps), jnp.asarray(start, rows.dtype))


@jax.jit
def _rolled(mixture: Mixture, rows: Array, steps: Int[Array, ""], start: Array) -> Array:
    prior = mixture.masses @ mixture.means

    def step(k: Array, z: Array) -> Array:
        t = start * (1 - k / steps)
        level = jnp.where(t < 1, 1 - t, 0.5)  # at t = 1 any number: what it gives is not used
        known = mixture.posterior_mean(z / level, t / level)
        mean = jnp.where(t < 1, known, prior)
        left = 1 - 1 / (steps - k)  # t_next/t: 0 in the last step
        return mean + left * (z - mean)

    return lax.fori_loop(0, steps, step, rows)
