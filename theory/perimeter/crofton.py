"""Crofton: the perimeter from crossings of random lines, exact along every line.

θ uniform on the sphere, y ~ γ on θ^⊥. Along y + tθ the scores are M affine functions of t and
the cells are the pieces of their upper envelope, so

    P = (1/c_n) E Σ_{crossings} φ(t),   c_n = E|θ_1| = Γ(n/2)/(√π Γ((n+1)/2)).

Unbiased for any power diagram, in any dimension; exact at n = 1.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from theory.check import check_count
from theory.devices import spread
from theory.estimate import Estimate, from_samples
from theory.gaussian import normal, pdf
from theory.partition import PowerDiagram
from theory.reductions import above, first, highest, some

REACH = 10.0  # crossings at |t| > 10 weigh φ(10) = 8e-23 each: stated as bias
# A Poisson count of 0 excludes rates above −log η, 3.5 sems of the two-sided 1 − η interval at
# η = 1e-9 and fewer at any larger η.
UNSEEN = 3.5
CELLS = 1 << 17  # (line, class) pairs held at once


class Crossings(NamedTuple):
    """Breakpoints of upper envelopes, in order of t; unused places have t = ∞."""

    t: Float[Array, "lines places"]
    left: Int[Array, "lines places"]
    right: Int[Array, "lines places"]


def crofton(key: PRNGKeyArray, diagram: PowerDiagram, *, lines: int) -> Estimate:
    """Gaussian perimeter P of a power diagram from `lines` random lines.

    Raises:
        ValueError: when lines is not an integer ≥ 2.
    """
    sums = [np.asarray(_crossed(c.t)) for c in _batches(key, diagram, lines)]
    per_line = np.concatenate(sums)[:lines] / mean_cosine(diagram.dimension)
    return from_samples(per_line, bias=unseen(diagram))


def facet_areas(key: PRNGKeyArray, diagram: PowerDiagram, *, lines: int) -> Estimate:
    """P(F_ij) for every pair, shape (M, M), strict upper triangle summing to P.

    The standard error includes UNSEEN crossings that no line happened to make, so that a facet
    that no line met is not taken to be absent.

    Raises:
        ValueError: when lines is not an integer ≥ 2, or M > 4096 (use `sparse_facet_areas`).
    """
    modes = diagram.modes
    if modes > 4096:
        raise ValueError(f"a dense table of {modes}² facets: use sparse_facet_areas")
    pairs, sparse = sparse_facet_areas(key, diagram, lines=lines)
    value, sem = np.zeros((modes, modes)), np.zeros((modes, modes))
    sem[np.triu_indices(modes, 1)] = _unseen_crossings(diagram, lines)
    value[pairs[:, 0], pairs[:, 1]] = sparse.value
    sem[pairs[:, 0], pairs[:, 1]] = sparse.sem
    return Estimate(value, sem, 0.0, lines)


def sparse_facet_areas(
    key: PRNGKeyArray, diagram: PowerDiagram, *, lines: int
) -> tuple[Int[np.ndarray, "facets 2"], Estimate]:
    """The pairs (i < j) that some line crossed, sorted, and P(F_ij) of each.

    Memory is bounded by the number of facets met, not by M².

    Raises:
        ValueError: when lines is not an integer ≥ 2.
    """
    codes = np.zeros(0, np.int64)
    sums = np.zeros((2, 0))
    done = 0
    for batch in _batches(key, diagram, lines):
        fresh_codes, weight = _coded(batch, diagram.modes, lines - done)
        codes, place = np.unique(np.concatenate([codes, fresh_codes]), return_inverse=True)
        parts = [np.concatenate([sums[p], weight ** (p + 1)]) for p in range(2)]
        sums = np.stack([np.bincount(place, part, len(codes)) for part in parts])
        done += batch.t.shape[0]
    pairs = np.stack([codes // diagram.modes, codes % diagram.modes], axis=1)
    return pairs, _facet_estimate(sums, diagram, lines)


def mean_cosine(dimension: int) -> float:
    """c_n = E|θ_1| = Γ(n/2)/(√π Γ((n+1)/2)) for θ uniform on the sphere of R^n."""
    return math.exp(math.lgamma(dimension / 2) - math.lgamma((dimension + 1) / 2)) / math.sqrt(
        math.pi
    )


def _facet_estimate(sums: np.ndarray, diagram: PowerDiagram, lines: int) -> Estimate:
    # A line crosses a facet at most once, so Σφ² over crossings is Σ(line total)².
    mean, square = sums / lines
    scale = mean_cosine(diagram.dimension)
    seen = np.sqrt(np.maximum(square - mean**2, 0) / (lines - 1)) / scale
    return Estimate(mean / scale, np.hypot(seen, _unseen_crossings(diagram, lines)), 0.0, lines)


def _unseen_crossings(diagram: PowerDiagram, lines: int) -> float:
    return UNSEEN * float(pdf(0.0)) / lines / mean_cosine(diagram.dimension)


def unseen(diagram: PowerDiagram) -> float:
    """A bound on what crossings beyond ±REACH could add: at most M − 1 of them a line."""
    return (diagram.modes - 1) * float(pdf(REACH)) / mean_cosine(diagram.dimension)


def _coded(batch: Crossings, modes: int, lines: int) -> tuple[np.ndarray, np.ndarray]:
    """Pair codes i·M + j (i < j) and weights φ(t) of the crossings on the first `lines` lines."""
    t, left, right = (np.asarray(a)[:lines] for a in batch)
    met = np.isfinite(t)
    first = np.minimum(left, right)[met].astype(np.int64)
    return first * modes + np.maximum(left, right)[met], pdf(t[met])


@jax.jit
def _crossed(t: Float[Array, "lines places"]) -> Float[Array, " lines"]:
    """Σφ over the crossings of every line."""
    return jnp.sum(pdf(t), axis=1)


def _batches(key: PRNGKeyArray, diagram: PowerDiagram, lines: int) -> Iterator[Crossings]:
    """Crossings of fresh lines, batch by batch, until there are at least `lines`."""
    check_count("lines", lines, 2)
    distinct = diagram.without_duplicates()
    size = min(max(2, CELLS // diagram.modes), 1 << (lines - 1).bit_length())
    places = min(16, diagram.modes)
    for number in range(-(-lines // size)):
        slopes, intercepts = _lines(jax.random.fold_in(key, number), distinct, size)
        batch, finished = envelope(slopes, intercepts, places)
        while not bool(finished):  # a line met more facets than there were places for
            places = min(8 * places, diagram.modes)
            batch, finished = envelope(slopes, intercepts, places)
        yield batch


@partial(jax.jit, static_argnames="count")
def _lines(
    key: PRNGKeyArray, diagram: PowerDiagram, count: int
) -> tuple[Float[Array, "count modes"], Float[Array, "count modes"]]:
    """Slopes ⟨a_i, θ⟩ and intercepts ⟨a_i, y⟩ + b_i along random lines."""
    direction_key, base_key = jax.random.split(key)
    shape, dtype = (count, diagram.dimension), diagram.sites.dtype.name
    theta = normal(direction_key, shape, dtype, samples=0)
    theta = theta / jnp.linalg.norm(theta, axis=1, keepdims=True)
    base = normal(base_key, shape, dtype, samples=0)
    base = base - jnp.sum(base * theta, axis=1, keepdims=True) * theta
    slopes = jnp.matmul(theta, diagram.sites.T, precision="highest")
    return slopes, jnp.matmul(base, diagram.sites.T, precision="highest") + diagram.offsets


@partial(jax.jit, static_argnames="places")
def envelope(
    slopes: Float[Array, "lines modes"], intercepts: Float[Array, "lines modes"], places: int
) -> tuple[Crossings, Array]:
    """Breakpoints in [−REACH, REACH] of max_i (intercept_i + t·slope_i), left to right.

    From the piece in force the next breakpoint is the least t at which a steeper line catches
    up; every step gains slope, so it ends after at most M − 1 steps.

    Returns:
        The crossings, and whether all lines were finished within `places` steps.
    """
    lines, slopes, intercepts = slopes.shape[0], spread(slopes), spread(intercepts)
    blank = Crossings(
        jnp.full((lines, places), jnp.inf, slopes.dtype),
        jnp.zeros((lines, places), jnp.int32),
        jnp.zeros((lines, places), jnp.int32),
    )

    def advance(state: tuple) -> tuple:
        step, current, active, found = state
        slope = jnp.take_along_axis(slopes, current[:, None], axis=1)
        intercept = jnp.take_along_axis(intercepts, current[:, None], axis=1)
        meet = jnp.where(slopes > slope, (intercept - intercepts) / (slopes - slope), jnp.inf)
        t = jnp.min(meet, axis=1)
        ahead = first(meet <= above(t)[:, None], classes)
        active = active & (t <= REACH)
        new = (jnp.where(active, t, jnp.inf), current, ahead)
        found = Crossings(*(f.at[:, step].set(v) for f, v in zip(found, new, strict=True)))
        return step + 1, jnp.where(active, ahead, current), active, found

    classes = jnp.arange(slopes.shape[1], dtype=jnp.int32)
    start = highest(intercepts - REACH * slopes)
    state = (0, start, jnp.ones(lines, bool), blank)
    _, _, active, found = lax.while_loop(lambda s: (s[0] < places) & some(s[2]), advance, state)
    return found, ~some(active)
