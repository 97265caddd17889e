"""Exact denoising steps: latents with their residuals, chunk by chunk.

r = μ(X) − Z with X = Z + sξ and μ(X) = E[Z|X] = X + s²∇log p_s(X). Without the score term what is
left is X − Z = sξ, isotropic and independent of Z: what residuals are compared with.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
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
    latents: Rows | None = None,
) -> Iterator[Step]:
    """Exact denoising steps at noise s of independent latents, in chunks of one shape.

    With `latents` these are taken as Z, and μ is the posterior mean of the mixture as a model of
    their law.

    Raises:
        ValueError: when s is not positive and finite, samples < 2, dimensions differ, there are
            not as many latents as samples, or a latent has no facet (all sites are equal).
    """
    check_scale("scale", scale)
    check_count("samples", samples, 2)
    check_pair(mixture, diagram)
    if latents is not None and latents.shape != (samples, mixture.dimension):
        raise ValueError(
            f"latents must have shape {(samples, mixture.dimension)}, got {latents.shape}"
        )
    size = min(ROWS, samples)
    for number, first in enumerate(range(0, samples, size)):
        draw_key, rest = jax.random.split(jax.random.fold_in(key, number))
        given = None if latents is None else _filled(latents[first : first + size], size)
        clean, residual = _draw(draw_key, mixture, scale, size, score, given)
        facet = diagram.nearest_facet(clean)
        if np.min(np.asarray(facet.neighbour)) < 0:
            raise ValueError("a latent has no facet: the sites of the readout are all equal")
        towards = across(diagram.sites, facet.label, facet.neighbour)
        yield Step(clean, residual, towards, facet, min(size, samples - first), rest)


@partial(jax.jit, static_argnames="size")
def _draw(
    key: PRNGKeyArray,
    mixture: Mixture,
    scale: Array | float,
    size: int,
    score: Array | bool,
    given: Rows | None,
) -> tuple[Rows, Rows]:
    latent_key, noise_key = jax.random.split(key)
    clean = mixture.sample(latent_key, size)[0] if given is None else given
    noise = normal(noise_key, clean.shape, clean.dtype.name, samples=0)
    noise = scale * noise
    return clean, jnp.where(score, mixture.posterior_mean(clean + noise, scale) - clean, noise)


def _filled(rows: Rows, size: int) -> Rows:
    """The last rows, repeated to a whole chunk."""
    return jnp.pad(rows, ((0, size - len(rows)), (0, 0)), mode="edge")


@jax.jit
def across(sites: Array, label: Array, neighbour: Array) -> Rows:
    """Unit vectors (a_j − a_y)/‖a_j − a_y‖ from each label y to its neighbour j."""
    return unit_rows(sites[neighbour] - sites[label])


def unit_rows(rows: Rows) -> Rows:
    """Rows of length 1; a row of zeros stays one."""
    length = jnp.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / jnp.where(length > 0, length, 1.0)
