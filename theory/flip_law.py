"""Predicted token flips, in closed form or by quadrature: oracles and the second order (Theorem 3).

Z ~ N(0, σ²I), X = Z + sξ. A coordinate of Z and the same of X have correlation ρ = cos ω,
ω = arctan(s/σ), and μ(X) = ρ²X. As the correlation falls from 1 by dr, labels part at a rate that
is a sum of positive terms (Price's theorem), so that integrals over the angle lose no digits
however rare the flips are. NumPy and SciPy only, in float64.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import optimize, special

from theory.bound import ridge_coefficient
from theory.check import check_count, check_scale
from theory.gaussian import composite_legendre, log_cdf, pdf
from theory.mixture import Mixture, check_pair
from theory.partition import PowerDiagram

OCTAVES = 48  # the angle is split at ω/2, ω/4, …: layers of width ~ω² next to 0


class Flips(NamedTuple):
    """Flip rates of raw noise, y(X) ≠ y(Z), and of the posterior mean, y(μ(X)) ≠ y(Z)."""

    raw: float
    mean: float


class Interface(NamedTuple):
    """A_W, and the coefficient of s² in the flips, raw and posterior mean alike."""

    area: float
    second_order: float


def half_space_flips(scale: float, threshold: float = 0.0, width: float = 1.0) -> Flips:
    """{z_1 > c} under N(0, σ²I): bivariate normal, correlation ρ = σ/√(σ²+s²).

    Thresholds (c/σ, ρc/σ) raw and (c/σ, c/(ρσ)) for the posterior mean; arctan(s/σ)/π at c = 0.

    Raises:
        ValueError: when s or σ is not positive and finite, or c is not finite.
    """
    check_scale("scale", scale)
    check_scale("width", width)
    _check_finite("threshold", threshold)
    angle, level = math.atan(scale / width), threshold / width
    less = 2 * math.sin(angle / 2) ** 2  # 1 − ρ
    raw = _parted(angle, level, -level * less)
    return Flips(raw, _parted(angle, level, level * less / (1 - less)))


def mixture_half_space_flips(law: Mixture, scale: float, threshold: float) -> Flips:
    """{z > c} of R under Σ m_k N(a_k, τ_k²): the above mode by mode.

    μ rises, since μ' = Var(Z|X)/s²; so μ(X) > c where X > x*, the root of μ(x*) = c.

    Raises:
        ValueError: when s is not positive, c is not finite or outside the reach of μ, the law is
            not one of R, or a mode is an atom.
    """
    check_scale("scale", scale)
    _check_finite("threshold", threshold)
    means, widths, masses = _line_law(law)
    turn = _posterior_threshold(means, widths, masses, scale, threshold)
    rates = np.zeros(2)
    for mean, width, mass in zip(means, widths, masses, strict=True):
        spread, angle = math.hypot(width, scale), math.atan(scale / width)
        level = (threshold - mean) / width
        for k, cut in enumerate((threshold, turn)):
            rates[k] += mass * _parted(angle, level, (cut - mean) / spread - level)
    return Flips(float(rates[0]), float(rates[1]))


def orthant_flips(dimension: int, scale: float, width: float = 1.0) -> float:
    """1 − (1 − arctan(s/σ)/π)^n, raw and posterior mean alike: n independent signs."""
    check_count("dimension", dimension, 1)
    check_scale("scale", scale)
    check_scale("width", width)
    return -math.expm1(dimension * math.log1p(-math.atan(scale / width) / math.pi))


def simplicial_flips(modes: int, scale: float, width: float = 1.0) -> float:
    """1 − M ∬ φ₂(x, y; ρ) Φ₂(x, y; ρ)^{M−1} dx dy, raw and posterior mean alike (b = 0).

    As ∫_ρ^1 M(M−1)[2∬ φ₂² Φ₂^{M−2} + (M−2) ∬ φ₂·φφ·Φ(u)Φ(v)·Φ₂^{M−3}] dr, u, v the standardized
    y − rx, x − ry: cells 1 and 2 exchange, or Z leaves cell 1 for 2 where X leaves it for 3.

    Raises:
        ValueError: when M is not an integer ≥ 2, or s or σ is not positive and finite.
    """
    check_count("modes", modes, 2)
    check_scale("scale", scale)
    check_scale("width", width)
    angles, weights = composite_legendre(0.0, math.atan(scale / width), panels=2, order=10)
    rates = [_simplicial_rate(modes, angle) for angle in angles.tolist()]
    return math.fsum(weights * np.array(rates))


def simplicial_ridges(modes: int, width: float = 1.0) -> float:
    """L = Σ over triple ridges of ∫p = C(M,3)/(2πσ²) ∫ φ(g) Φ(g/√3)^{M−3} dg of the cluster.

    The ridge of cells i, j, k is x_i = x_j = x_k = g/√3 in R^M, with the other scores below.
    """
    check_count("modes", modes, 2)
    check_scale("width", width)
    nodes, weights = composite_legendre(-12.0, 16.0, panels=56)
    density = pdf(nodes) * np.exp((modes - 3) * log_cdf(nodes / math.sqrt(3)))
    return math.comb(modes, 3) / (2 * math.pi * width**2) * math.fsum(weights * density)


def equidistant_interface(law: Mixture, diagram: PowerDiagram) -> Interface:
    """Area and second order of any mixture under a readout of equidistant sites, any offsets.

    From mode k, Z = a_k + τ_k U, the scores are iid normals with offsets β_i = (b_i + ⟨w_i, a_k⟩)
    over τ_k and the edge/√2 of the sites. With t the shared score, F_ij has the measure
    √2 ∫ φ(t−β_i) φ(t−β_j) Π Φ(t−β_l) dt and a triple ridge √3 ∫ φφφ ΠΦ dt; all dihedral angles are
    120°. Lengths shrink by τ_k.

    Raises:
        ValueError: when sites are not equidistant, dimensions differ, or a mode is an atom.
    """
    check_pair(law, diagram)
    edge, widths = _edge(np.asarray(diagram.sites, np.float64)), _widths(law)
    level = np.asarray(law.means, np.float64) @ np.asarray(diagram.sites, np.float64).T
    level = (level + np.asarray(diagram.offsets, np.float64)) / (widths[:, None] * edge)
    area, ridges = 0.0, 0.0
    for offsets, width, mass in zip(level, widths.tolist(), np.asarray(law.masses), strict=True):
        pairs, triples = _shared_scores(offsets - offsets.mean())
        area += float(mass) / width * math.sqrt(2) * pairs
        ridges += float(mass) / width**2 * math.sqrt(3) * triples
    return Interface(area, -3 * ridge_coefficient(2 * math.pi / 3) * ridges)


def simplicial_second_order(modes: int, width: float = 1.0) -> float:
    """−3g(120°)·L, the coefficient of s² in the flips of the simplicial readout."""
    return -3 * ridge_coefficient(2 * math.pi / 3) * simplicial_ridges(modes, width)


def orthant_second_order(dimension: int, width: float = 1.0) -> float:
    """−C(n,2)·4g(90°)/(2πσ²), the coefficient of s²: every two coordinates make four right angles.

    The 2^{n−2} ridges of two coordinates have measure 1/(2πσ²) together.
    """
    check_count("dimension", dimension, 1)
    check_scale("width", width)
    ridges = math.comb(dimension, 2) / (2 * math.pi * width**2)
    return -4 * ridge_coefficient(math.pi / 2) * ridges


def facet_third_order(law: Mixture, threshold: float) -> Flips:
    """√(2/π)·(p''(c)/3 − θ p'(c)²/(2p(c))), θ = 0 raw, 1 posterior mean: of s³ for {z > c} of R.

    There is no ridge, and no term in s². For a Gaussian of R^n take its law along the normal.

    Raises:
        ValueError: when c is not finite, the law is not one of R, or a mode is an atom.
    """
    _check_finite("threshold", threshold)
    means, widths, masses = _line_law(law)
    u = (threshold - means) / widths
    bells = masses / widths * pdf(u)
    density, slope, bend = (
        math.fsum(bells * factor) for factor in (1.0, -u / widths, (u**2 - 1) / widths**2)
    )
    unit = math.sqrt(2 / math.pi)
    return Flips(unit * bend / 3, unit * (bend / 3 - slope**2 / (2 * density)))


def _parted(angle: float, level: float, apart: float) -> float:
    """P(U ≤ h, V > k) + P(U > h, V ≤ k), h = level, k = h + apart, for correlation cos ω.

    |Φ(k) − Φ(h)| at ω = 0, and from there (1/π)∫_0^ω exp(−(k−h)²/(2 sin²v) − hk/(1 + cos v)) dv.
    """
    nodes, weights = _graded(angle)
    shift = apart**2 / (2 * np.sin(nodes) ** 2)
    inner = np.exp(-shift - level * (level + apart) / (1 + np.cos(nodes)))
    if abs(apart) > 1:
        between = abs(special.ndtr(-abs(level + apart)) - special.ndtr(-abs(level)))
        if level * (level + apart) < 0:
            between = abs(special.ndtr(level + apart) - special.ndtr(level))
    else:
        steps, shares = composite_legendre(0.0, 1.0, panels=1)
        between = abs(apart) * math.fsum(shares * pdf(level + apart * steps))
    return float(between) + math.fsum(weights * inner) / math.pi


def _graded(angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, ω], panels halving towards 0."""
    unit, weights = composite_legendre(0.5, 1.0, panels=2)
    halves = angle * 0.5 ** np.arange(OCTAVES)[:, None]
    last, last_weights = composite_legendre(0.0, angle * 0.5**OCTAVES, panels=1)
    nodes = np.concatenate([(halves * unit).ravel(), last])
    return nodes, np.concatenate([(halves * weights).ravel(), last_weights])


def _simplicial_rate(modes: int, angle: float) -> float:
    """What the integral over r has per unit of ω; x = m + d/2, y = m − d/2, d = z√(2(1−r))."""
    r, less = math.cos(angle), 2 * math.sin(angle / 2) ** 2
    middle, middle_weights = composite_legendre(-8.5, 9.5, panels=18, order=12)
    z, z_weights = composite_legendre(0.0, 9.0, panels=6, order=12)  # even in z
    m, half = middle[:, None], z * math.sqrt(less / 2)
    joint = np.maximum(_joint_cdf(m + half, m - half, angle), 0.0)
    width = 2 * math.sqrt(2 * less)  # dx dy = dm dd, dd = √(2(1−r))·dz, and both signs of z
    # φ₂ = exp(−m²/(1+r) − z²/2)/(2π sin ω), and dr = sin ω dω.
    bell = np.exp(-(m**2) / (1 + r) - z**2 / 2) / (2 * math.pi)
    exchange = 2 * bell**2 / math.sin(angle) * joint ** (modes - 2)
    total = exchange
    if modes > 2:
        lift, tilt = m * math.sqrt(less / (1 + r)), z * math.sqrt((1 + r) / 2)
        ends = special.ndtr(lift - tilt) * special.ndtr(lift + tilt)
        leave = bell * pdf(m + half) * pdf(m - half) * ends * joint ** (modes - 3)
        total = exchange + (modes - 2) * leave
    return modes * (modes - 1) * width * float(middle_weights @ total @ z_weights)


def _joint_cdf(h: np.ndarray, k: np.ndarray, angle: float) -> np.ndarray:
    """Φ₂(h, k; cos ω) by Owen's T, nowhere at 0 exactly."""
    h, k = np.broadcast_arrays(h, k)
    sine, cosine = math.sin(angle), math.cos(angle)
    h, k = (np.where(x == 0, 1e-300, x) for x in (h, k))
    parts = special.owens_t(h, (k / h - cosine) / sine) + special.owens_t(
        k, (h / k - cosine) / sine
    )
    return (special.ndtr(h) + special.ndtr(k)) / 2 - parts - np.where(h * k < 0, 0.5, 0.0)


def _posterior_threshold(
    means: np.ndarray, widths: np.ndarray, masses: np.ndarray, scale: float, threshold: float
) -> float:
    """The x with E[Z | X = x] = c."""
    variance = widths**2 + scale**2

    def excess(x: float) -> float:
        log = np.log(masses) - (x - means) ** 2 / (2 * variance) - np.log(variance) / 2
        weight = np.exp(log - log.max())
        inner = means + widths**2 / variance * (x - means)
        return float(weight @ inner / weight.sum()) - threshold

    reach = abs(threshold) + float(np.abs(means).max() + 1)
    for _ in range(60):
        if excess(-reach) < 0 < excess(reach):
            return float(optimize.brentq(excess, -reach, reach, xtol=1e-14, rtol=1e-14))
        reach *= 2
    raise ValueError(f"no x has the posterior mean {threshold!r} at scale {scale!r}")


def _shared_scores(offsets: np.ndarray) -> tuple[float, float]:
    """∫ e_2 ΠΦ dt and ∫ e_3 ΠΦ dt, e_k the elementary symmetric sums of (φ/Φ)(t − β_i)."""
    reach = float(np.abs(offsets).max())
    nodes, weights = composite_legendre(-12.0 - reach, 12.0 + reach, panels=40 + int(2 * reach))
    log = log_cdf(nodes[:, None] - offsets)
    # The powers of a third of the product keep the ratios, which grow, from overflowing.
    third = np.exp(log.sum(axis=1) / 3)[:, None]
    ratio = np.exp(-((nodes[:, None] - offsets) ** 2) / 2 - log) / math.sqrt(2 * math.pi) * third
    p1, p2, p3 = (np.sum(ratio**k, axis=1) for k in (1, 2, 3))
    pairs = math.fsum(weights * (p1**2 - p2) * third[:, 0]) / 2
    return pairs, math.fsum(weights * (p1**3 - 3 * p1 * p2 + 2 * p3)) / 6


def _edge(sites: np.ndarray) -> float:
    """The distance of equidistant sites over √2."""
    apart = np.linalg.norm(sites[:, None] - sites, axis=-1)[np.triu_indices(len(sites), 1)]
    if not np.ptp(apart) <= 1e-9 * apart.max():
        raise ValueError(
            f"expected equidistant sites, got distances from {apart.min():g} to {apart.max():g}"
        )
    return float(apart.mean()) / math.sqrt(2)


def _widths(law: Mixture) -> np.ndarray:
    widths = np.asarray(law.widths, np.float64)
    if not widths.min() > 0:
        raise ValueError("a mode is an atom (width 0): it has no density")
    return widths


def _line_law(law: Mixture) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if law.dimension != 1:
        raise ValueError(f"expected a law of R (n = 1), got one of R^{law.dimension}")
    return np.asarray(law.means, np.float64)[:, 0], _widths(law), np.asarray(law.masses, np.float64)


def _check_finite(name: str, value: float) -> None:
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}")
