"""Facet projection: P_ij = φ(c_ij)·P(Π_ij x lies on F_ij), x ~ γ projected to the hyperplane.

Unbiased for every pair. The probability is taken exactly along one direction of the hyperplane
(conditional Monte Carlo): moving by τe, e the part of (a_i + a_j)/2 − ā within the hyperplane,
the facet is met on one interval of τ, of mass Φ(τ₂) − Φ(τ₁). Only scores and the Gram matrix of
the centred sites are needed, O(M) a pair.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from theory.check import check_count
from theory.estimate import Estimate, from_samples
from theory.gaussian import normal, tail
from theory.partition import PowerDiagram, centred

PAIRS_A_POINT = 8  # pairs that share a point: drawing the point costs as much as a few pairs
CELLS = 1 << 18


def facet_projection(key: PRNGKeyArray, diagram: PowerDiagram, *, samples: int) -> Estimate:
    """Gaussian perimeter P from `samples` points, 8 random pairs each, drawn ∝ φ(c_ij).

    Raises:
        ValueError: when samples is not an integer ≥ 2, or M > 4096 (the pair law is dense).
    """
    check_count("samples", samples, 2)
    if diagram.modes > 4096:
        raise ValueError(f"facet projection holds all pairs: M ≤ 4096, got {diagram.modes}")
    distinct = _centred(diagram)
    gram = _gram(distinct)
    density = np.asarray(_plane_density(distinct))
    first, second = np.nonzero(density)
    if first.size == 0:  # a single distinct site, or every hyperplane beyond the reach of φ
        return Estimate(0.0, 0.0, 0.0, samples)
    pairs = jnp.asarray(np.stack([first, second], axis=1), jnp.int32)
    mass = jnp.asarray(np.cumsum(density[first, second], dtype=np.float64))
    size = max(16, min(CELLS // (PAIRS_A_POINT * diagram.modes), 1 << (samples - 1).bit_length()))
    parts = []
    for number in range(-(-samples // size)):
        batch_key = jax.random.fold_in(key, number)
        parts.append(np.asarray(_random_pairs(batch_key, distinct, gram, pairs, mass, size)))
    return from_samples(np.concatenate(parts)[:samples])


def projected_facet_areas(key: PRNGKeyArray, diagram: PowerDiagram, *, samples: int) -> Estimate:
    """P(F_ij) for every pair from `samples` points each, shape (M, M), strict upper triangle.

    Raises:
        ValueError: when samples is not an integer ≥ 2, or M > 1024 (M³ work a sample).
    """
    check_count("samples", samples, 2)
    if diagram.modes > 1024:
        raise ValueError(f"facet projection of all pairs takes M ≤ 1024, got {diagram.modes}")
    distinct = _centred(diagram)
    batch = max(2, min(samples, CELLS // diagram.modes**2))
    gram, density = _gram(distinct), _plane_density(distinct)
    total, square, count = 0.0, 0.0, 0
    for number in range(-(-samples // batch)):
        areas = _all_pairs(jax.random.fold_in(key, number), distinct, gram, density, batch)
        total, square = total + areas[0], square + areas[1]
        count += batch
    mean = np.asarray(total) / count
    spread = np.maximum(np.asarray(square) / count - mean**2, 0)
    # A facet that no point met is not known to be absent: it gets one unseen full hit as error.
    unseen = np.where(mean == 0, np.asarray(density) / count, 0.0)
    return Estimate(mean, np.sqrt(spread / (count - 1)) + unseen, 0.0, count)


def _centred(diagram: PowerDiagram) -> PowerDiagram:
    """Sites shifted to mean zero (the same partition), duplicates switched off."""
    offsets = diagram.without_duplicates().offsets
    return jax.tree.unflatten(jax.tree.structure(diagram), [centred(diagram.sites), offsets])


@jax.jit
def _plane_density(diagram: PowerDiagram) -> Float[Array, "modes modes"]:
    """φ(c_ij), c_ij the distance of the hyperplane of i and j from 0; strict upper triangle."""
    modes = diagram.modes
    apart = lax.map(lambda a: jnp.linalg.norm(diagram.sites - a, axis=1), diagram.sites)
    gap = jnp.abs(diagram.offsets[:, None] - diagram.offsets)
    live = jnp.isfinite(diagram.offsets)
    exists = live[:, None] & live & jnp.triu(jnp.ones((modes, modes), bool), 1) & (apart > 0)
    distance = jnp.where(exists, gap, 0.0) / jnp.where(exists, apart, 1.0)
    return jnp.where(exists, jnp.exp(-(distance**2) / 2) / math.sqrt(2 * math.pi), 0.0)


@partial(jax.jit, static_argnames="count")
def _random_pairs(
    key: PRNGKeyArray, diagram: PowerDiagram, gram: Array, pairs: Array, mass: Array, count: int
) -> Float[Array, " count"]:
    point_key, pair_key = jax.random.split(key)
    x = normal(point_key, (count, diagram.dimension), diagram.sites.dtype.name, samples=0)
    inner = jnp.matmul(x, diagram.sites.T, precision="highest")
    draws = jax.random.uniform(pair_key, (count, PAIRS_A_POINT), mass.dtype, maxval=mass[-1])
    chosen = pairs[jnp.minimum(jnp.searchsorted(mass, draws, side="right"), len(pairs) - 1)]
    inside = jax.vmap(jax.vmap(_on_facet, (None, None, None, 0)), (None, None, 0, 0))
    return mass[-1] * jnp.mean(inside(gram, diagram.offsets, inner, chosen), axis=1)


@partial(jax.jit, static_argnames="count")
def _all_pairs(
    key: PRNGKeyArray, diagram: PowerDiagram, gram: Array, density: Array, count: int
) -> tuple[Array, Array]:
    """Σ and Σ² over points of φ(c_ij)·P(on F_ij | all but τ)."""
    modes = diagram.modes
    x = normal(key, (count, diagram.dimension), diagram.sites.dtype.name, samples=0)
    inner = jnp.matmul(x, diagram.sites.T, precision="highest")
    over_points = jax.vmap(_on_facet, (None, None, 0, None))
    over_row = jax.vmap(over_points, (None, None, None, 0), out_axes=1)

    def row(i: Array) -> tuple[Array, Array]:
        pair = jnp.stack([jnp.full(modes, i), jnp.arange(modes)], axis=1)
        inside = over_row(gram, diagram.offsets, inner, pair)
        area = jnp.where(density[i] > 0, density[i] * inside, 0.0)
        return jnp.sum(area, axis=0), jnp.sum(area**2, axis=0)

    return lax.map(row, jnp.arange(modes))


@jax.jit
def _gram(diagram: PowerDiagram) -> Float[Array, "modes modes"]:
    return jnp.matmul(diagram.sites, diagram.sites.T, precision="highest")


def _on_facet(
    gram: Float[Array, "modes modes"],
    offsets: Float[Array, " modes"],
    inner: Float[Array, " modes"],
    pair: Array,
) -> Float[Array, ""]:
    """P(the point Π_ij x + τe lies on F_ij), over τ ~ N(0,1), for one point with ⟨a_k, x⟩ given.

    With e = 0 (n = 1, or two sites) it is the indicator that Π_ij x lies on F_ij.
    """
    i, j = pair[0], pair[1]
    apart = jnp.sqrt(gram[i, i] + gram[j, j] - 2 * gram[i, j])
    along_normal = (gram[i] - gram[j]) / apart
    middle = (gram[i] + gram[j]) / 2
    tilt = (gram[i, i] - gram[j, j]) / (2 * apart)
    length2 = (gram[i, i] + 2 * gram[i, j] + gram[j, j]) / 4 - tilt**2
    flat = length2 <= 1e-12 * (gram[i, i] + gram[j, j])
    length = jnp.where(flat, jnp.inf, jnp.sqrt(jnp.maximum(length2, 0)))
    along = (middle - tilt * along_normal) / length  # ⟨e, a_k⟩
    height = (inner[i] - inner[j] - (offsets[j] - offsets[i])) / apart  # ⟨ν, x⟩ − c
    shift = ((inner[i] + inner[j]) / 2 - tilt * (inner[i] - inner[j]) / apart) / length  # ⟨e, x⟩
    score = inner + offsets - height * along_normal - shift * along
    others = (jnp.arange(len(offsets)) != i) & (jnp.arange(len(offsets)) != j)
    gap, slope = score[i] - score, along[i] - along
    meet = jnp.where(slope == 0, 0.0, -gap / jnp.where(slope == 0, 1.0, slope))
    after = jnp.max(jnp.where(others & (slope > 0), meet, -jnp.inf))
    before = jnp.min(jnp.where(others & (slope < 0), meet, jnp.inf))
    open_ = jnp.all(jnp.where(others & (slope == 0), gap >= 0, True))
    return jnp.where(open_ & (after < before), tail(after) - tail(before), 0.0)
