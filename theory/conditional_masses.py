"""Masses of few cells by conditional Monte Carlo, every cell along a direction of its own.

On x + tθ_i, θ_i = (a_i − ā)/‖a_i − ā‖, the cell B_i is an interval of t, mostly a half-line:

    γ(B_i) = E[Φ(hi_i) − Φ(lo_i)]_+,   lo_i = ⟨x, θ_i⟩ + max_{j: r_ij > 0} (s_j − s_i)/r_ij,

r_ij = ⟨a_i − a_j, θ_i⟩, and hi_i the same with the least over r_ij < 0: neither depends on
⟨x, θ_i⟩. Where an r_ij is 0, as in a lattice, θ_i is turned a little.

Small cells are met near their own direction, where the rest of x is small. So x is drawn from
N(0, τ²), τ ≤ 1, and weighed by τ^{n−1}exp((1/τ² − 1)‖x_⊥‖²/2), x_⊥ ⊥ θ_i.

For a code of 64 cells in 16 dimensions the variance on Sobol points is a 150th of that of counting
labels, for 256 cells a 400th. The price is M² operations a point, 4·M² flops with nothing stored.
Lines of one direction for all cells (`theory.line`) cost less a point and tell less.
"""

from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import ndtri
from jax.tree_util import Partial
from jaxtyping import Array, Float, PRNGKeyArray, UInt
from scipy import sparse
from scipy.spatial.distance import cdist
from scipy.stats import qmc

from theory.check import check_count
from theory.devices import by_rows
from theory.gaussian import pdf
from theory.partition import PowerDiagram
from theory.screening import wide_dtype

BLOCK = 1 << 19  # (point, cell) pairs of a block
PILOT = 1 << 11  # points on which τ is chosen
SHRINKAGES = 1.0, 0.95, 0.9, 0.85, 0.8
NEAR = 1e-3  # least distance of two sites over the largest length that float32 is trusted with
NEAREST = 1e-10  # that float64 is
PERPENDICULAR = 1e-6  # |r_ij|/‖a_i − a_j‖ below which θ_i is turned
TURN = 0.2  # tangent of the turn


class _Along(NamedTuple):
    """The classes along their directions.

    Fields:
        sites: a_i − ā, shape (M, n).
        offsets: b_i, shape (M,).
        directions: θ_i, shape (M, n).
        rising: 1/r_ij where r_ij > 0, else 0, and what is added there: 0, else −∞; shape (M, M).
        falling: the same where r_ij < 0; None if nowhere.
    """

    sites: Array
    offsets: Array
    directions: Array
    rising: tuple[Array, Array]
    falling: tuple[Array, Array] | None


def conditional_masses(
    key: PRNGKeyArray, diagram: PowerDiagram, points: int, shrinkage: float = 1.0
) -> Float[np.ndarray, " M"]:
    """γ(B_i) for every i, from one digitally shifted Sobol set; shape (M,).

    In float32, whose rounding moves a mass by 1e-6 of itself; in float64 where sites nearly meet.

    Args:
        key: PRNG key of the shift.
        diagram: a diagram of distinct sites.
        points: of the set, rounded up to a power of two.
        shrinkage: τ, from 0.75 (at √½ the variance is infinite) to 1; see `best_shrinkage`.

    Raises:
        ValueError: on duplicate sites, points that are not a positive integer, or another τ.
    """
    check_count("points", points, 1)
    if not 0.75 <= shrinkage <= 1:
        raise ValueError(f"expected a shrinkage from 0.75 to 1, got {shrinkage}")
    along, modes = _along(diagram), diagram.modes
    most = max(0, (BLOCK // modes).bit_length() - 1)
    low, high = sobol(diagram.dimension, (points - 1).bit_length(), most)
    shift = np.asarray(jax.random.bits(key, (diagram.dimension,), "uint32"))
    kernel, total = Partial(_masses, along, shrinkage), np.zeros(modes)
    for one in high ^ shift:
        masses = by_rows(kernel, jnp.asarray(low ^ one))
        total += np.asarray(jnp.sum(masses, axis=0, dtype=wide_dtype(masses.dtype)))
    return total * shrinkage ** (diagram.dimension - 1) / (len(low) * len(high))


def best_shrinkage(key: PRNGKeyArray, diagram: PowerDiagram) -> float:
    """The τ of SHRINKAGES at which the worst relative variance of a mass is least, by a pilot."""
    bits = jax.random.bits(key, (PILOT, diagram.dimension), "uint32")
    along, found = _along(diagram), {}
    for shrinkage in SHRINKAGES:
        masses = np.asarray(_masses(along, shrinkage, bits), np.float64)
        mean = masses.mean(axis=0)
        met = mean > 0
        found[shrinkage] = np.max(masses.var(axis=0)[met] / mean[met] ** 2)
    return min(found, key=found.__getitem__)


def conditional_laplacian(
    key: PRNGKeyArray, diagram: PowerDiagram, points: int, shrinkage: float = 1.0
) -> sparse.csr_array:
    """∂γ(B_i)/∂b_j on `points` fresh points: a graph Laplacian of weights P(F_ij)/‖a_i − a_j‖.

    An end of the interval at the cell j moves by 1/r_ij, so that −∂γ(B_i)/∂b_j = E[φ(end)/|r_ij|];
    i's lines and j's tell it, and the mean of both is taken.

    Raises:
        ValueError: on duplicate sites.
    """
    along = _along(diagram)
    bits = jax.random.bits(key, (points, diagram.dimension), "uint32")
    scores, start, norms = _scores(along, shrinkage, bits)
    weight = np.asarray(_weight(start, norms, jnp.asarray(shrinkage, norms.dtype)), np.float64)
    modes = diagram.modes
    first, found = np.arange(modes) * modes, np.zeros(modes * modes)
    for density, beyond, rate in _ends(along, scores, start):
        parts = (weight * density * rate).ravel()
        found += np.bincount((first + beyond).ravel(), parts, minlength=modes * modes)
    found = found.reshape(modes, modes) * shrinkage ** (diagram.dimension - 1) / points
    both = (found + found.T) / 2
    return sparse.csr_array(np.diag(both.sum(axis=1)) - both)


@lru_cache(maxsize=8)
def sobol(
    dimension: int, bits: int, most: int
) -> tuple[UInt[np.ndarray, "low n"], UInt[np.ndarray, "high n"]]:
    """Two sets whose sums l ⊕ h are the first 2^bits points of Sobol's sequence times 2³².

    The first has 2^most points, or all.
    """
    held = min(bits, most)
    low = _integers(qmc.Sobol(dimension, scramble=False).random_base2(held))
    high = np.zeros((1, dimension), np.uint32)
    for bit in range(held, bits):
        # In the order of Gray's code the step to point 2^bit is by this bit's direction number.
        sequence = qmc.Sobol(dimension, scramble=False).fast_forward(2**bit - 1)
        before, after = _integers(sequence.random(2))
        high = np.concatenate([high, high ^ before ^ after])
    return low, high


def _integers(uniform: np.ndarray) -> UInt[np.ndarray, "points n"]:
    return (uniform * 2.0**32).astype(np.uint32)


def _along(diagram: PowerDiagram) -> _Along:
    sites = np.asarray(diagram.sites, np.float64)
    sites = sites - sites.mean(axis=0)
    apart = cdist(sites, sites)
    np.fill_diagonal(apart, np.inf)
    nearest, longest = apart.min(), np.linalg.norm(sites, axis=1).max()
    if nearest <= NEAREST * longest:
        raise ValueError(
            "cells of equal sites have no masses of their own, nor can those of sites nearer than "
            f"{NEAREST} of the largest length be told apart: make sites distinct"
        )
    directions = _directions(sites, apart)
    rates = _rates(sites, directions)
    dtype = "float32" if nearest > NEAR * longest else "float64"
    falling = _side(rates < 0, rates, dtype) if (rates < 0).any() else None
    plain = (sites, diagram.offsets, directions)
    centred, offsets, along = (jnp.asarray(part, dtype) for part in plain)
    return _Along(centred, offsets, along, _side(rates > 0, rates, dtype), falling)


def _directions(sites: np.ndarray, apart: np.ndarray) -> Float[np.ndarray, "M n"]:
    """a_i − ā at length 1, turned by TURN where a difference a_i − a_j is perpendicular to it.

    As in a lattice. No line along θ_i would cross the facet of i and j, and yet it bounds B_i.
    """
    lengths = np.linalg.norm(sites, axis=1, keepdims=True)
    first = np.eye(1, sites.shape[1])  # the direction of a site in the centre
    found = np.where(lengths > 0, sites / np.where(lengths > 0, lengths, 1), first)
    beside = (np.abs(_rates(sites, found)) < PERPENDICULAR * apart) & np.isfinite(apart)
    turn = np.random.default_rng(0).normal(size=sites.shape)
    turn *= TURN / np.linalg.norm(turn, axis=1, keepdims=True)
    found = np.where(beside.any(axis=1, keepdims=True), found + turn, found)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def _rates(sites: np.ndarray, directions: np.ndarray) -> Float[np.ndarray, "M M"]:
    """r_ij = ⟨a_i − a_j, θ_i⟩, exactly 0 at i = j."""
    rates = np.sum(sites * directions, axis=1)[:, None] - directions @ sites.T
    np.fill_diagonal(rates, 0)
    return rates


def _side(here: np.ndarray, rates: np.ndarray, dtype: str) -> tuple[Array, Array]:
    inverse = np.where(here, 1 / np.where(here, rates, 1), 0)
    return jnp.asarray(inverse, dtype), jnp.asarray(np.where(here, 0, -np.inf), dtype)


def _masses(
    along: _Along, shrinkage: float, bits: UInt[Array, "points n"]
) -> Float[Array, "points M"]:
    """What every point tells of the mass of every cell.

    Three programs: XLA's CPU back end makes a third as fast a loop of `_furthest` within another.
    """
    scores, start, norms = _scores(along, shrinkage, bits)
    lower, upper = _furthest(scores, *along.rising), None
    if along.falling is not None:
        inverse, outside = along.falling
        upper = _furthest(scores, -inverse, outside)
    return _weighed(start, norms, shrinkage, lower, upper)


@jax.jit
def _scores(
    along: _Along, shrinkage: Array, bits: UInt[Array, "points n"]
) -> tuple[Array, Array, Array]:
    """Scores of every class, ⟨x, θ_i⟩, and ‖x‖² of shape (points, 1)."""
    dtype = along.sites.dtype
    # The middles of 2²³ intervals: the largest is less than 1 in float32 too.
    x = ndtri(((bits >> 9).astype(dtype) + 0.5) * 2.0**-23) * jnp.asarray(shrinkage, dtype)
    product = partial(jnp.matmul, precision="highest")
    scores = product(x, along.sites.T) + along.offsets
    return scores, product(x, along.directions.T), jnp.sum(x**2, axis=1, keepdims=True)


@jax.jit
def _furthest(scores: Float[Array, "points M"], inverse: Array, outside: Array) -> Array:
    """max_j (s_j − s_i)/r_ij, of shape (points, M)."""
    return jnp.max(_gaps(scores, inverse, outside), axis=2)


def _gaps(scores: Float[Array, "points M"], inverse: Array, outside: Array) -> Array:
    """(s_j − s_i)/r_ij, −∞ for the j that do not count; of shape (points, M, M), to be reduced."""
    return (scores[:, None, :] - scores[:, :, None]) * inverse + outside


@jax.jit
def _weighed(
    start: Array, norms: Array, shrinkage: Array, lower: Array, upper: Array | None
) -> Float[Array, "points M"]:
    """Φ of minus where the cell begins, less Φ of minus where it ends, by its weight."""
    begun = _above(start + lower)
    if upper is not None:
        begun = jnp.maximum(begun - _above(start - upper), 0)
    return _weight(start, norms, shrinkage) * begun


def _weight(start: Array, norms: Array, shrinkage: Array) -> Array:
    """N(0, 1) over N(0, τ²) across θ_i, but for τ^{n−1}."""
    return jnp.exp((1 / shrinkage**2 - 1) / 2 * (norms - start**2))


def _ends(
    along: _Along, scores: Array, start: Array
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """φ at the ends of every cell's interval, the cells beyond them and 1/|r_ij|, (points, M)."""
    lower = _furthest(scores, *along.rising)
    begins, closes = start + lower, jnp.inf
    sides = [(begins, _attained(scores, *along.rising, lower), along.rising[0])]
    if along.falling is not None:
        inverse, outside = along.falling
        upper = _furthest(scores, -inverse, outside)
        closes = start - upper
        sides.append((closes, _attained(scores, -inverse, outside, upper), -inverse))
    met, cells = np.asarray(begins < closes), np.arange(scores.shape[1])
    found = []
    for end, beyond, rate in sides:
        at = np.asarray(beyond)
        found.append((np.where(met, pdf(np.asarray(end)), 0), at, np.asarray(rate)[cells, at]))
    return found


@jax.jit
def _attained(
    scores: Float[Array, "points M"], inverse: Array, outside: Array, furthest: Array
) -> Array:
    """A j that attains `_furthest`; `argmax` takes twenty times as long."""
    # Rounding may differ from that program to this: within a few units of it a j attains it.
    least = furthest - 8 * jnp.finfo(scores.dtype).eps * jnp.abs(furthest)
    gaps = _gaps(scores, inverse, outside)
    # Floats without a choice, which XLA's CPU back end puts into vectors: others fall to −1e30.
    classes = jnp.arange(scores.shape[1], dtype=scores.dtype)
    short = jnp.minimum((gaps - least[:, :, None]) * 1e30, 0)
    at = jnp.max(classes + short, axis=2)
    return jnp.where(jnp.isfinite(furthest), at, 0).astype(jnp.int32)


def _above(t: Array) -> Array:
    """Φ(−t); `ndtr` computes two functions for it."""
    return lax.erfc(t * 0.5**0.5) / 2
