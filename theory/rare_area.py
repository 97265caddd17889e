"""A_W of modes that are apart, by draws on the hyperplanes themselves.

    A_W = Σ_{i, j<k} h_ijk·P(U lies on the facet F_jk),   h_ijk = m_i·φ(d/τ_i)/τ_i·Q(t).

d is the distance from a_i to H_jk, so that m_i·φ(d/τ_i)/τ_i is the mass of mode i on it. On the
facet j and k score at least as much as the class of a_i, which leaves a half-space of H_jk at t
standard deviations; U is mode i on that half. All h are known: (i, j, k) is drawn in proportion
to them, and what is left to estimate is a proportion.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from theory.check import check_count
from theory.denoise_step import unit_rows
from theory.estimate import Estimate, proportion
from theory.gaussian import normal, pdf, tail
from theory.mixture import Mixture
from theory.partition import PowerDiagram
from theory.rare_proposal import check_together, seen_from_means

TRIPLES = 1 << 23  # (mode, pair of classes): tables of that size are held
ROWS = 4096  # draws held at once


class Hyperplanes(NamedTuple):
    """Every pair of classes j < k with different sites; for every mode t (−∞: all of H_jk), h."""

    first: Int[Array, " pairs"] | Int[np.ndarray, " pairs"]
    second: Int[Array, " pairs"] | Int[np.ndarray, " pairs"]
    threshold: Float[Array, "modes pairs"] | Float[np.ndarray, "modes pairs"]
    mass: Float[Array, "modes pairs"] | Float[np.ndarray, "modes pairs"]


def facet_area(
    key: PRNGKeyArray, mixture: Mixture, diagram: PowerDiagram, *, samples: int
) -> Estimate:
    """A_W of a mixture whose widths are positive: unbiased, a proportion times a constant.

    Of small relative error where modes are apart. Where they overlap few hyperplanes are facets,
    and `latent_area.latent_area` does better.

    Raises:
        ValueError: when samples is not an integer ≥ 2, dimensions differ, a mode is an atom,
            there are more than 2²³ triples, or A_W is 0 in floating point.
    """
    check_count("samples", samples, 2)
    check_together(mixture, diagram)
    modes, classes = mixture.modes, diagram.modes
    if modes * classes * (classes - 1) // 2 > TRIPLES:
        raise ValueError(f"{modes} modes and {classes} classes are more than {TRIPLES} triples")
    planes = hyperplanes(mixture, diagram)
    whole = float(planes.mass.sum())
    if not whole > 0:
        raise ValueError("A_W is 0 in floating point: modes too far from every facet")
    cumulative = jnp.asarray(np.cumsum(planes.mass.ravel()) / whole)
    tables, met = Hyperplanes(*map(jnp.asarray, planes)), 0
    for number, start in enumerate(range(0, samples, ROWS)):
        part = jax.random.fold_in(key, number)
        on = _on_facet(part, cumulative, tables, mixture, diagram, ROWS)
        met += int(np.asarray(on)[: samples - start].sum())
    return proportion(met, samples).scaled(whole)


def hyperplanes(mixture: Mixture, diagram: PowerDiagram) -> Hyperplanes:
    """t and h of all triples; inner products of the sites say everything."""
    scores, own, _, _ = seen_from_means(mixture, diagram)
    sites, groups = np.asarray(diagram.sites, np.float64), diagram.groups()
    first, second = np.triu_indices(diagram.modes, 1)
    kept = groups[first] != groups[second]
    first, second = first[kept], second[kept]
    apart = np.linalg.norm(sites[first] - sites[second], axis=1)
    distance = (scores[:, first] - scores[:, second]) / apart
    gram = sites @ sites.T
    along = gram[first] - gram[second]  # ⟨w_j − w_k, w_l⟩ for every class l
    across = (along[np.arange(len(first)), first] - along[:, own].T) / apart
    square = np.diag(gram)[first] - 2 * gram[own][:, first] + np.diag(gram)[own][:, None]
    length = np.sqrt(np.maximum(square - across**2, 0))
    # How much less than the own class they score at the point of H_jk nearest to the mean.
    less = np.take_along_axis(scores, own[:, None], 1) - scores[:, first] + distance * across
    others = (own[:, None] != first) & (own[:, None] != second)
    sloped = others & (length > 1e-6 * np.sqrt(np.maximum(square, 0)))
    width, masses = (np.asarray(a, np.float64)[:, None] for a in (mixture.widths, mixture.masses))
    threshold = np.where(sloped, less / width / np.where(sloped, length, 1.0), -np.inf)
    mass = masses * pdf(distance / width) / width * tail(threshold)
    return Hyperplanes(first, second, threshold, mass)


@partial(jax.jit, static_argnames="rows")
def _on_facet(
    key: PRNGKeyArray,
    cumulative: Float[Array, " triples"],
    planes: Hyperplanes,
    mixture: Mixture,
    diagram: PowerDiagram,
    rows: int,
) -> Bool[Array, " rows"]:
    """Whether points drawn on hyperplanes have no higher score than the two that tie there."""
    pick_key, point_key, depth_key = jax.random.split(key, 3)
    dtype = mixture.means.dtype
    uniform = jax.random.uniform(pick_key, (rows,), cumulative.dtype)
    triple = jnp.minimum(jnp.searchsorted(cumulative, uniform, side="right"), cumulative.size - 1)
    mode, pair = jnp.unravel_index(triple, planes.mass.shape)
    j, k = planes.first[pair], planes.second[pair]
    means, threshold = mixture.means[mode], planes.threshold[mode, pair]
    own = jnp.argmax(diagram.scores(means), axis=1)
    across = unit_rows(diagram.sites[j] - diagram.sites[k])
    inward = diagram.sites[j] - diagram.sites[own]
    inward = unit_rows(inward - _dot(inward, across) * across)
    inward = jnp.where(jnp.isfinite(threshold)[:, None], inward, 0.0)
    u = normal(point_key, (rows, mixture.dimension), dtype.name, samples=0)
    least = float(jnp.finfo(dtype).tiny)
    chance = jax.random.uniform(depth_key, (rows,), dtype) * ndtr(-threshold)
    depth = -ndtri(jnp.maximum(chance, least))  # beyond t, where inward is not 0
    u = u + (depth[:, None] - _dot(u, inward)) * inward
    point = means + mixture.widths[mode][:, None] * u
    tied = diagram.scores(point)
    excess = (_at(tied, j) - _at(tied, k)) / jnp.linalg.norm(
        diagram.sites[j] - diagram.sites[k], axis=1
    )
    scores = diagram.scores(point - excess[:, None] * across)
    classes = jnp.arange(diagram.modes)
    two = (classes == j[:, None]) | (classes == k[:, None])
    return jnp.all(two | (scores < _at(scores, j)[:, None]), axis=1)


def _dot(a: Float[Array, "rows n"], b: Float[Array, "rows n"]) -> Float[Array, "rows 1"]:
    return jnp.sum(a * b, axis=1, keepdims=True)


def _at(scores: Float[Array, "rows classes"], index: Int[Array, " rows"]) -> Float[Array, " rows"]:
    return jnp.take_along_axis(scores, index[:, None], axis=1)[:, 0]
