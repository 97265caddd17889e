"""Flip rates by conditional Monte Carlo along lines, at every noise at once (Theorem 3).

With ξ = rθ both Z and X lie on the line of direction θ through Z, along which Z is normal and the
readout's cells are intervals. Given the line and r, the share of Z that flips is known, at every
s, from where the line crosses facets. Lines are scrambled Sobol points; replicates of them are the
independent units.
"""

import math
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray
from scipy.special import ndtr

from theory.balance import gaussian_sobol
from theory.check import check_count
from theory.estimate import Estimate, from_samples
from theory.extrapolation import check_scales
from theory.gaussian import pdf
from theory.mixture import Mixture, check_pair
from theory.partition import PowerDiagram
from theory.perimeter.crofton import REACH, mean_cosine
from theory.swept import (
    Crossings,
    in_order,
    labels,
    posterior_facets,
    posterior_means,
    reach,
    swept_mass,
)

RATE = math.sqrt(2 / math.pi)  # E|ξ_1|
LARGEST = 2.0  # s of circles: arctan(2) leaves arcs of ±0.36 within the reach of `cuts`


class LineFlips(NamedTuple):
    """Flip rates at S scales from R independent sets of lines, the same lines at every scale.

    Fields:
        scales: s, shape (S,).
        area: Σφ(t)/(τ·E|θ_1|) over the crossings of the lines, shape (R,): of mean A_W.
        raw, mean: flip rates, shape (R, S).
        raw_missed, mean_missed: their parts, below 0, by which crossings near each other flip less
            than each alone would, shape (R, S): of order s², what ridges take. The rest of a rate
            is √(2/π)·s·A_W + O(s³).
    """

    scales: Float[np.ndarray, " scales"]
    area: Float[np.ndarray, " replicates"]
    raw: Float[np.ndarray, "replicates scales"]
    mean: Float[np.ndarray, "replicates scales"]
    raw_missed: Float[np.ndarray, "replicates scales"]
    mean_missed: Float[np.ndarray, "replicates scales"]

    def rates(self) -> tuple[Estimate, Estimate, Estimate]:
        """Raw, posterior mean, and mean − raw, each of shape (S,)."""
        parts = (self.raw, self.mean, self.mean - self.raw)
        return from_samples(parts[0]), from_samples(parts[1]), from_samples(parts[2])

    def excess(self) -> tuple[np.ndarray, np.ndarray]:
        """Raw and mean less √(2/π)·s·A_W of their own lines, shape (R, S): what is not linear."""
        linear = RATE * self.scales * self.area[:, None]
        return self.raw - linear, self.mean - linear


def line_flips(
    key: PRNGKeyArray,
    law: Mixture,
    diagram: PowerDiagram,
    scales: object,
    *,
    lines: int,
    replicates: int = 64,
) -> LineFlips:
    """Unbiased flip rates at all scales from `replicates` sets of `lines` lines.

    Along a line Z = a + τ(y + tθ), t ~ N(0,1), X is h = sr/τ ahead, and the label changes where a
    crossing lies between: for t in the union of [t_c − h, t_c], of known mass; −ξ is used beside ξ.
    For one mode, Z given X is N(μ(X), ρ²s²I), so that the posterior mean flips as raw noise does
    for latents N(a, ρ²τ²I) at scale ρs. For more, facets of y∘μ are found along the line by two
    secant steps, and one sampled t a line corrects whatever they miss.

    Args:
        key: PRNG key.
        law: of the latents, without atoms.
        diagram: the readout.
        scales: s > 0, shape (S,).
        lines: of a replicate, a power of two ≥ 16.
        replicates: R ≥ 2.

    Raises:
        ValueError: on s ≤ 0, lines no power of two, fewer than two replicates, an atom, a law and
            a readout of different n, or a readout with one distinct site.
    """
    noise = _checked_lines(scales, lines, replicates)
    law, diagram = in_its_span(law, diagram)
    found = []
    for seed in np.asarray(jax.random.bits(key, (replicates, 4), "uint32")):
        bundle = _bundle(np.random.default_rng(seed), law, lines)
        cut, area, raw = _raw(law, diagram, bundle, noise)
        if law.modes == 1:
            mean = _single_mean(law, diagram, bundle, noise, cut)
        else:
            mean = _mixture_mean(law, diagram, bundle, noise, cut)
        found.append(
            (area, RATE * noise * area + raw[0], RATE * noise * area + mean[0], raw[1], mean[1])
        )
    return LineFlips(noise, *(np.array(column) for column in zip(*found, strict=True)))


def circle_flips(
    key: PRNGKeyArray, diagram: PowerDiagram, scales: object, *, lines: int, replicates: int = 64
) -> LineFlips:
    """`line_flips` for latents N(0, I) and a readout without offsets, with far less variance.

    Z and X/√(1+s²) lie ω = arctan(s) apart on G cos v + H sin v, G, H ~ N(0, I), v uniform. Such a
    readout sees no scale, so that X, and μ(X) too, may be taken there; with t = tan v the circle
    is the line G + tH. Arcs of v, as long as the reach of `cuts` allows, are read.

    Args:
        key: PRNG key.
        diagram: a readout with all offsets 0.
        scales: s > 0, shape (S,), at most 2.
        lines: circles of a replicate, a power of two ≥ 16.
        replicates: R ≥ 2.

    Raises:
        ValueError: as `line_flips`, when offsets are not 0, or on s > 2.
    """
    noise = _checked_lines(scales, lines, replicates)
    if np.asarray(diagram.offsets).any() or noise.max() > LARGEST:
        raise ValueError(
            f"circles need offsets 0 and s ≤ {LARGEST:g}, got a largest offset of "
            f"{np.abs(np.asarray(diagram.offsets)).max():g} and s up to {noise.max():g}"
        )
    law = Mixture(np.zeros((1, diagram.dimension)), 1.0)
    diagram = in_its_span(law, diagram)[1]
    angles, found = np.arctan(noise), []
    arc = math.atan(REACH) - angles.max()
    for seed in np.asarray(jax.random.bits(key, (replicates, 4), "uint32")):
        bases, directions, weight = _circles(np.random.default_rng(seed), diagram.dimension, lines)
        cut = in_order(diagram, bases, directions, lambda t, line: np.arctan(t))
        share = weight[cut.line] / (2 * arc * lines)
        area = float(np.sum(share * (np.abs(cut.t) < arc))) / RATE
        # A crossing alone flips ω, whatever the arc.
        missed = np.array([swept_mass(cut, cut.t - w, cut.t + w, share, arc)[1] for w in angles])
        rate = RATE * area * angles + missed
        found.append((area, rate, rate, missed, missed))
    return LineFlips(noise, *(np.array(column) for column in zip(*found, strict=True)))


def _circles(
    rng: np.random.Generator, dimension: int, lines: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """G, H and a weight of mean 1; in the plane more circles that are nearly segments.

    There p = G − iH and q = G + iH have |p|²/(|p|² + |q|²) uniform, and a segment at ½: facets are
    close together on thin ellipses, which second order comes from.
    """
    if dimension != 2:
        points = gaussian_sobol(rng, lines, 2 * dimension)
        return points[:, :dimension], points[:, dimension:], np.ones(lines)
    uniform = ndtr(gaussian_sobol(rng, lines, 3))
    x = 2 * uniform[:, 0] - 1
    sizes = np.sqrt((1 + x**3) / 2), np.sqrt((1 - x**3) / 2)
    p, q = (
        size * np.exp(2j * math.pi * uniform[:, k]) for k, size in zip((1, 2), sizes, strict=True)
    )
    pair = (p + q, 1j * (p - q))
    return *(np.stack([z.real, z.imag], axis=1) for z in pair), 3 * x**2


def in_its_span(law: Mixture, diagram: PowerDiagram) -> tuple[Mixture, PowerDiagram]:
    """The same flips in as few dimensions as hold the differences of sites and of means.

    Noise and latents are isotropic, and neither labels nor, for modes of one width, posterior
    means see the rest of the space. Classes that are never chosen are left out.
    """
    check_pair(law, diagram)
    kept = np.isfinite(np.asarray(diagram.without_duplicates().offsets))
    widths = np.asarray(law.widths, np.float64)
    if kept.sum() < 2 or not widths.min() > 0:
        raise ValueError(
            f"flips along lines need two distinct sites and no atom, got {kept.sum()} sites and a "
            f"least width of {widths.min():g}"
        )
    sites, means = (np.asarray(x, np.float64) for x in (diagram.sites, law.means))
    sites, offsets = sites[kept], np.asarray(diagram.offsets, np.float64)[kept]
    basis = np.eye(law.dimension)
    if np.ptp(widths) == 0:
        rows = np.concatenate([sites - sites.mean(axis=0), means - means[0]])
        values, frame = np.linalg.svd(rows, full_matrices=False)[1:]
        basis = frame[values > 1e-10 * values[0]].T
    inner = Mixture(means @ basis, widths, np.asarray(law.masses, np.float64))
    return inner, PowerDiagram(sites @ basis, offsets)


class _Bundle(NamedTuple):
    """Lines a_k + τ_k(y + tθ): k, τ_k, r, θ, y of each, and for mixtures a t and a sign."""

    mode: np.ndarray
    width: np.ndarray
    radius: np.ndarray
    direction: np.ndarray
    base: np.ndarray
    place: np.ndarray
    sign: np.ndarray


def _bundle(rng: np.random.Generator, law: Mixture, lines: int) -> _Bundle:
    n, extra = law.dimension, 3 if law.modes > 1 else 0
    points = gaussian_sobol(rng, lines, 2 * n + extra)
    noise, base = points[:, extra : extra + n], points[:, extra + n :]
    radius = np.linalg.norm(noise, axis=1)
    direction = noise / radius[:, None]
    base = base - np.sum(base * direction, axis=1, keepdims=True) * direction
    mode, place, sign = np.zeros(lines, int), np.zeros(lines), np.ones(lines)
    if extra:
        below = np.cumsum(np.asarray(law.masses, np.float64))[:-1]
        mode, place = np.searchsorted(below, ndtr(points[:, 0])), points[:, 1]
        sign = np.where(points[:, 2] < 0, -1.0, 1.0)
    return _Bundle(mode, np.asarray(law.widths)[mode], radius, direction, base, place, sign)


def _crossings(
    law: Mixture, diagram: PowerDiagram, bundle: _Bundle, shrink: float, farthest: float
) -> Crossings:
    """Where a + shrink·τ(y + tθ) meets facets, |t| up to 10 and beyond by more than farthest·r/τ.

    A unit of the line is more than 1 of t, since `cuts` looks at 10 units to either side.
    """
    unit = 1 + farthest * bundle.radius / bundle.width / 8
    size = shrink * bundle.width[:, None]
    directions = size * unit[:, None] * bundle.direction
    bases = np.asarray(law.means)[bundle.mode] + size * bundle.base
    place = lambda u, line: u * unit[line]  # noqa: E731
    return in_order(diagram, bases, directions, place)


def _raw(
    law: Mixture, diagram: PowerDiagram, bundle: _Bundle, scales: np.ndarray
) -> tuple[Crossings, float, np.ndarray]:
    """The crossings, the area they stand for, and what flips beyond it and misses, (2, S)."""
    cut = _crossings(law, diagram, bundle, 1.0, scales.max())
    step = (bundle.radius / bundle.width)[cut.line]
    lines, density = len(bundle.mode), pdf(cut.t)
    mean_radius = RATE / mean_cosine(law.dimension)
    area = float(np.sum(density / bundle.width[cut.line])) * mean_radius / RATE / lines
    excess = [swept_mass(cut, cut.t + s * step, cut.t - s * step) for s in scales]
    return cut, area, _beyond(excess, scales, float(np.sum(step * density)), lines)


def _beyond(swept: list[np.ndarray], scales: np.ndarray, linear: float, lines: int) -> np.ndarray:
    """Per line what was swept less s·linear, and what was missed, shape (2, S)."""
    table = np.array(swept).T
    table[0] -= scales * linear
    return table / lines


def _single_mean(
    law: Mixture, diagram: PowerDiagram, bundle: _Bundle, scales: np.ndarray, raw: Crossings
) -> np.ndarray:
    """For one mode, as raw flips of N(a, ρ²τ²I) at scale ρs, whose h is the same; shape (2, S)."""
    ratio, swept = bundle.radius / bundle.width, []
    for s in scales:
        shrink = 1 / math.hypot(1, s / bundle.width[0])
        cut = _crossings(law, diagram, bundle, shrink, s)
        step = s * ratio[cut.line]
        swept.append(swept_mass(cut, cut.t - step, cut.t + step))
    linear = float(np.sum(ratio[raw.line] * pdf(raw.t)))
    return _beyond(swept, scales, linear, len(bundle.mode))


def _mixture_mean(
    law: Mixture, diagram: PowerDiagram, bundle: _Bundle, scales: np.ndarray, cut: Crossings
) -> np.ndarray:
    """Facets of y∘μ near those of y, corrected by one t a line; shape (2, S)."""
    ratio, swept = bundle.radius / bundle.width, []
    ray = bundle.width[:, None] * bundle.direction
    start = np.asarray(law.means)[bundle.mode] + bundle.width[:, None] * bundle.base
    clean = start + bundle.place[:, None] * ray
    label, place = labels(diagram, clean), bundle.place[cut.line]
    for s in scales:
        step = s * ratio[cut.line]
        facet = posterior_facets(law, diagram, cut, start[cut.line], ray[cut.line], s)
        noisy = clean + (bundle.sign * s * ratio)[:, None] * ray
        mean = labels(diagram, posterior_means(law, noisy, s))
        other = np.where(bundle.sign[cut.line] > 0, facet - step, facet + step)
        low, high = reach(cut, other)
        unseen = int(np.sum(mean != label)) - int(np.sum((low < place) & (place <= high)))
        swept.append(swept_mass(cut, facet - step, facet + step) + unseen)
    linear = float(np.sum(ratio[cut.line] * pdf(cut.t)))
    return _beyond(swept, scales, linear, len(bundle.mode))


def _checked_lines(scales: object, lines: int, replicates: int) -> np.ndarray:
    check_count("lines", lines, 16)
    check_count("replicates", replicates, 2)
    if lines & (lines - 1):
        raise ValueError(f"lines must be a power of two, got {lines}")
    return check_scales(scales)
