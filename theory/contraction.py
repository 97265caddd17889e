"""Two contractions of one interface, measured on the same random lines (Theorem 17).

Weight 1, the flips of raw noise X = Z + sξ. Weight κ, the leak of a 1/t-Lipschitz map onto modes at
distance κ. Both happen beside the interface only, so neither waits for a sample to fall there: a
random line finds the facets with density φ_n (Crofton), P(flip) is exact on the line, and the map
is evaluated at points beside the facet that the line found.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray
from scipy.special import gammaincinv, ndtr

from theory import line
from theory.batches import Transport
from theory.check import check_count
from theory.estimate import Estimate, from_samples
from theory.line import Cut, Lines
from theory.partition import PowerDiagram
from theory.perimeter.crofton import mean_cosine
from theory.strip import REACH, across, beside, checked_modes, widest

BATCH, BLOCK = 4096, 16  # lines drawn at once, and lines whose mean is one independent sample
RADII = 2  # of noise a line


class Contraction(NamedTuple):
    """Means over blocks of lines, independent of each other.

    Fields:
        scales: s of the flips and t = 1/Λ of the leaks, shape (K,).
        perimeter: Σ φ/c_n over the crossings of the lines, whose mean is P, shape (blocks,).
        flips: P(y(Z + sξ) ≠ y(Z))/s, shape (K, blocks).
        leaks: Λ·P(T off its modes), shape (K, blocks).
    """

    scales: Float[np.ndarray, " scales"]
    perimeter: Float[np.ndarray, " blocks"]
    flips: Float[np.ndarray, "scales blocks"]
    leaks: Float[np.ndarray, "scales blocks"]


def contraction(
    key: PRNGKeyArray,
    diagram: PowerDiagram,
    transport: Callable[[float], Transport],
    modes: object,
    scales: Sequence[float],
    *,
    lines: int,
) -> Contraction:
    """Flips per s and leak per t of one partition, at every scale on the same lines.

    Unbiased at every scale as long as T is on its modes wherever δ ≥ REACH·κ_max·t, κ_max the
    largest distance of two modes; `strays` counts where it is not.

    Args:
        key: PRNG key.
        diagram: the partition, no two sites equal.
        transport: Λ ↦ T_Λ, a Λ-Lipschitz map.
        modes: e_i, the value of T on the core of cell i, shape (M, d).
        scales: s = t = 1/Λ.
        lines: random lines, rounded up to a multiple of BATCH.

    Raises:
        ValueError: on fewer than 2 lines, no scale, scales not positive, duplicate sites, modes
            that are not M finite points, or a T whose values are not finite or not in their R^d.
    """
    check_count("lines", lines, 2)
    centres = checked_modes(diagram, modes, scales)
    maps = [transport(1 / t) for t in scales]
    reach = REACH * widest(centres)
    parts = []
    root = np.random.SeedSequence(np.asarray(jax.random.bits(key, (4,), "uint32")).tolist())
    for seed in root.spawn(-(-lines // BATCH)):
        rng = np.random.default_rng(seed)
        (cut,) = line.cuts(_lines(rng, diagram.dimension), diagram)
        found = line.perimeter(cut)
        flips, leaks = _flips(rng, cut, found, scales), np.zeros((len(maps), BATCH))
        if len(cut.t):
            strip = beside(rng, cut, diagram)
            for row, one, t in zip(leaks, maps, scales, strict=True):
                row[:] = found * across(strip, diagram, one, centres, reach, t)
        per_line = np.stack([found, *flips, *leaks])
        parts.append(per_line.reshape(len(per_line), -1, BLOCK).mean(axis=2))
    perimeter, *rates = np.concatenate(parts, axis=1)
    count, unit = len(maps), np.asarray(scales)[:, None]
    return Contraction(unit[:, 0], perimeter, rates[:count] / unit, rates[count:] / unit)


def flips_along(cut: Cut, radii: Float[np.ndarray, "radii lines"]) -> Float[np.ndarray, " lines"]:
    """P(y(Z + rθ) ≠ y(Z)) given the line that Z is on, mean over θ and −θ and over the radii.

    A line meets a convex cell once, so the labels at two points of it differ exactly when there
    is a crossing between them: Z lies in a union of intervals of length r that end, or begin, in
    crossings. Together with θ, r = s‖ξ‖ is the whole of the noise.
    """
    lines = len(cut.last)
    fresh = np.diff(cut.line, prepend=-1) != 0
    ends = np.append(fresh[1:], True)[: len(fresh)]
    before = np.where(fresh, -np.inf, np.roll(cut.t, 1))
    after = np.where(ends, np.inf, np.roll(cut.t, -1))
    at, total = ndtr(cut.t), np.zeros(lines)
    for radius in radii[:, cut.line]:
        behind = at - ndtr(np.maximum(cut.t - radius, before))
        ahead = ndtr(np.minimum(cut.t + radius, after)) - at
        total += np.bincount(cut.line, (behind + ahead) / 2, lines)
    return total / len(radii)


def limit(numerators: np.ndarray, denominators: np.ndarray | None = None) -> Estimate:
    """A rate, or a ratio of two, as t → 0, from its values R at t, 2t and 4t on the same lines.

    2R(t) − R(2t), without the first order in t; `bias` is the distance to the extrapolation
    without the second, (8R(t) − 6R(2t) + R(4t))/3.

    Args:
        numerators: N at t, 2t, 4t, shape (3, blocks); R = mean N, or mean N/mean D.
        denominators: D, of the same shape.
    """
    value, influence = ratios(numerators, denominators)
    linear, quadratic = np.array([2.0, -1.0, 0.0]), np.array([8.0, -6.0, 1.0]) / 3
    spread = from_samples(linear @ influence)
    return Estimate(
        float(linear @ value), spread.sem, abs(float((quadratic - linear) @ value)), spread.count
    )


def ratios(
    numerators: np.ndarray, denominators: np.ndarray | None = None
) -> tuple[Float[np.ndarray, " scales"], Float[np.ndarray, "scales blocks"]]:
    """R = mean N/mean D at every scale, and what each block adds to it, (N − R·D)/mean D.

    Without D it is 1. To first order the mean of the second is the error of R.
    """
    top = np.asarray(numerators, np.float64)
    bottom = np.ones_like(top) if denominators is None else np.asarray(denominators, np.float64)
    if top.ndim != 2 or top.shape != bottom.shape or top.shape[1] < 2:
        raise ValueError(f"expected arrays of shape (K, blocks), got {top.shape}, {bottom.shape}")
    mean = bottom.mean(axis=1, keepdims=True)
    if not (mean > 0).all():
        raise ValueError(f"a ratio needs positive denominators, got a mean of {mean.min()}")
    value = top.mean(axis=1, keepdims=True) / mean
    return value[:, 0], (top - value * bottom) / mean


def _lines(rng: np.random.Generator, dimension: int) -> Lines:
    """BATCH independent lines: θ uniform on the sphere, y ~ γ on θ^⊥."""
    theta, base = rng.normal(size=(2, BATCH, dimension))
    theta /= np.linalg.norm(theta, axis=1, keepdims=True)
    base -= np.sum(base * theta, axis=1, keepdims=True) * theta
    return Lines(jnp.asarray(theta), jnp.asarray(base))


def _flips(
    rng: np.random.Generator, cut: Cut, found: np.ndarray, scales: Sequence[float]
) -> list[np.ndarray]:
    """`flips_along` at evenly spaced quantiles of ‖ξ‖, from one uniform number a line.

    c_n·found·(r − E r), what the radii drawn add to first order, has mean 0 and is taken off.
    """
    n = cut.bases.shape[1]
    even = (np.arange(RADII)[:, None] + rng.random(len(found))) / RADII
    length = np.sqrt(2 * gammaincinv(n / 2, even))
    # E‖ξ‖·c_n = E|⟨ξ, ν⟩| = √(2/π).
    spare = found * (mean_cosine(n) * length.mean(axis=0) - math.sqrt(2 / math.pi))
    return [flips_along(cut, s * length) - s * spare for s in scales]
