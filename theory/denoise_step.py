"""Exact denoising steps: latents with their residuals, chunk by chunk.

r = μ(X) − Z with X = Z + sξ and μ(X) = E[Z|X] = X + s²∇log p_s(X). Without the score term what is
left is X − Z = sξ, isotropic and independent of Z: what residuals are compared with.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

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
