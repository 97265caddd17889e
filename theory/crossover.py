"""Where the tube law stops, for modes that are apart: closed forms and quadrature only.

Two modes N(∓d, τ²), the facet between them at 0. The density near it is
p(t) = p(0)·cosh(dt/τ²)·e^{−t²/2τ²}, constant over the noise only while s ≪ τ²/d. Flips of raw noise
are ∫p(t)Q(|t|/s)dt, so that over √(2/π)·s·A_W, with A_W = p(0), κ = sd/τ² and q = s/τ,

    ratio = √(2π)·∫_0^∞ cosh(κu)·e^{−q²u²/2}·Q(u) du → √(π/2)·e^{λ²/2}·erf(λ/√2)/λ,
    λ = κ/√(1 + q²) = sd/(τ√(τ² + s²)),

in two limits: s/τ → 0, and sd/(τ² + s²) → ∞ (Laplace's method, Q(u) ≈ φ(u)/u).
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import optimize

from theory.check import check_scale
from theory.gaussian import composite_legendre, pdf, tail

# Of [0, 1]; stretched over what flips, whose density is analytic there.
NODES, WEIGHTS = composite_legendre(0.0, 1.0, panels=24)
ROWS = 1024  # distances whose nodes are held at once


class TwoModes(NamedTuple):
    """Flip rates of raw noise and of the posterior mean, and A_W = p(0)."""

    raw: float
    mean: float
    area: float

    def ratios(self, scale: float) -> tuple[float, float]:
        """Both rates over √(2/π)·s·A_W; ValueError where A_W is 0 in floating point."""
        if not self.area > 0:
            raise ValueError("A_W is 0 in floating point: modes too far from the facet")
        first = math.sqrt(2 / math.pi) * scale * self.area
        return self.raw / first, self.mean / first


def strain(half_distance: float, width: float, scale: float) -> float:
    """λ = sd/(τ√(τ² + s²)), which is sd/τ² while s ≪ τ; the law needs it small.

    Raises:
        ValueError: when a length is not positive and finite.
    """
    check_scale("half_distance", half_distance)
    check_scale("width", width)
    check_scale("scale", scale)
    return scale * half_distance / (width * math.hypot(width, scale))


def departure(strain: float) -> float:
    """√(π/2)·e^{λ²/2}·erf(λ/√2)/λ = 1 + λ²/3 + λ⁴/15 + …, what two modes flip over the law.

    Raises:
        ValueError: when λ is negative or not finite.
    """
    if not 0 <= strain < math.inf:
        raise ValueError(f"strain must be finite and ≥ 0, got {strain}")
    if strain < 1e-4:
        return 1 + strain**2 / 3
    growth = math.exp(strain**2 / 2) if strain < 37 else math.inf
    return math.sqrt(math.pi / 2) * growth * math.erf(strain / math.sqrt(2)) / strain


def two_modes(half_distance: float, width: float, scale: float, mass: float = 0.5) -> TwoModes:
    """Two modes m·N(−d, τ²) + (1 − m)·N(d, τ²) read out at 0, by quadrature over the clean latent.

    μ rises in x and changes its sign at x*, its only root, so that a posterior mean flips when x
    and x* are not on the sides of z and 0. At equal masses x* = 0: both rates are the same.

    Raises:
        ValueError: when a length is not positive and finite, or the mass not in (0, 1).
    """
    check_scale("half_distance", half_distance)
    check_scale("width", width)
    check_scale("scale", scale)
    if not 0 < mass < 1:
        raise ValueError(f"mass must lie in (0, 1), got {mass}")
    turn = _turning_point(half_distance, width, scale, mass)
    rates = []
    for edge in (0.0, turn):
        both = _crossing(np.array([-half_distance, half_distance]), width, scale, edge)
        rates.append(float(np.array([mass, 1 - mass]) @ both))
    area = float(pdf(half_distance / width)) / width
    return TwoModes(rates[0], rates[1], area)


def pair_sum(
    half_distances: Float[np.ndarray, "modes modes"],
    width: float,
    scale: float,
    masses: Float[np.ndarray, " modes"],
) -> tuple[float, float, float]:
    """Flips, A_W and the facets' rms half distance as if every pair of modes were alone.

    Σ_{i≠j} m_i·(P(z < d_ij < x) + P(z > d_ij > x)), Σ_{i≠j} m_i·φ(d_ij/τ)/τ, and the root mean
    square of d_ij with the weights of the last. Each pair counts as if its hyperplane were all
    facet: right where modes are apart, an upper bound of A_W always.

    Args:
        half_distances: d_ij, the distance from mode i to the hyperplane between i and j; the
            diagonal is not looked at.
        width: τ, of all modes.
        scale: s.
        masses: m_i.

    Raises:
        ValueError: on shapes that differ, or lengths that are not positive and finite.
    """
    check_scale("width", width)
    check_scale("scale", scale)
    table, law = (np.asarray(a, np.float64) for a in (half_distances, masses))
    if table.ndim != 2 or table.shape != (law.size, law.size) or law.size < 2:
        raise ValueError(
            f"expected M × M distances and M ≥ 2 masses, got {table.shape}, {law.shape}"
        )
    first, second = np.nonzero(~np.eye(law.size, dtype=bool))
    d, m = table[first, second], law[first]
    if not (np.isfinite(d) & (d > 0)).all():
        raise ValueError("half distances must be positive and finite")
    each = m * pdf(d / width) / width
    area = math.fsum(each)
    distinct, place = np.unique(d, return_inverse=True)
    parts = np.array_split(distinct, -(-distinct.size // ROWS))
    crossing = np.concatenate([_crossing(-part, width, scale, 0.0) for part in parts])
    flips = math.fsum(np.bincount(place, m) * crossing)
    return flips, area, math.sqrt(math.fsum(each * d**2) / area) if area > 0 else math.nan


def departs_at(level: float, half_distance: float, width: float) -> float:
    """The least noise s at which two modes flip `level` > 1 times what the law says.

    Raises:
        ValueError: on a length that is not positive, or a level that is never reached: the ratio
            rises to at most about e^{d²/2τ²}, and falls again once s ≫ d.
    """
    check_scale("half_distance", half_distance)
    check_scale("width", width)
    scales = np.geomspace(1e-3 * width**2 / half_distance, 10 * (half_distance + width), 200)
    ratio = [two_modes(half_distance, width, s).ratios(s)[0] for s in scales.tolist()]
    above = np.flatnonzero(np.array(ratio) > level)
    if not level > 1 or not above.size or above[0] == 0:
        raise ValueError(f"the ratio reaches {max(ratio):.4g} here, not {level}")
    ends = scales[above[0] - 1], scales[above[0]]
    excess = lambda s: two_modes(half_distance, width, s).ratios(s)[0] - level  # noqa: E731
    return float(optimize.brentq(excess, *ends, xtol=1e-13 * ends[1]))


def locate(scaled_area: float, ratio: float) -> tuple[float, float]:
    """(τ/d, s/d) of two equal modes with s·A_W and flips/(√(2/π)·s·A_W) as given; d is the unit.

    For given τ/d the noise follows from s·A_W; the ratio falls as the modes widen, and the widest
    with this ratio is returned.

    Raises:
        ValueError: when there is none with τ/d in [0.1, 2].
    """
    check_scale("scaled_area", scaled_area)
    check_scale("ratio", ratio)

    def noise(width: float) -> float:
        return scaled_area * width / float(pdf(1 / width))

    def excess(width: float) -> float:
        return two_modes(1.0, width, noise(width)).ratios(noise(width))[0] - ratio

    widths = np.linspace(2.0, 0.1, 191)
    found = np.array([excess(w) for w in widths.tolist()])
    change = np.flatnonzero((found[:-1] < 0) & (found[1:] >= 0))
    if not change.size:
        raise ValueError(f"no two modes have s·A_W = {scaled_area} and a ratio of {ratio}")
    width = float(optimize.brentq(excess, widths[change[0] + 1], widths[change[0]]))
    return width, noise(width)


def _turning_point(half_distance: float, width: float, scale: float, mass: float) -> float:
    """x* with μ(x*) = 0: s²·d·tanh(dx/v − ½log(m/(1−m))) + τ²x = 0, v = τ² + s²."""
    bias, variance = math.log(mass / (1 - mass)) / 2, width**2 + scale**2
    if bias == 0:
        return 0.0

    def pulled(x: float) -> float:
        tilt = math.tanh(half_distance * x / variance - bias)
        return scale**2 * half_distance * tilt + width**2 * x

    reach = 1.001 * scale**2 * half_distance / width**2
    return float(optimize.brentq(pulled, -reach, reach, xtol=1e-15 * reach, rtol=1e-14))


def _crossing(
    mean: float | np.ndarray, width: float, scale: float, edge: float
) -> Float[np.ndarray, " means"]:
    """P(z and 0, x and edge not on the same sides), z ~ N(mean, τ²), x ~ N(z, s²)."""
    variance = width**2 + scale**2
    spread, total = width * scale / math.sqrt(variance), np.zeros(np.size(mean))
    for side in (1.0, -1.0):  # z > 0 > x − edge, and the mirror image
        centre, line = side * np.reshape(mean, (-1, 1)), side * edge
        peak = (centre * scale**2 + line * width**2) / variance
        upper = np.maximum(np.maximum(0.0, peak), np.minimum(line, centre + 10 * width))
        upper = upper + 12 * spread
        z = upper * NODES
        density = pdf((z - centre) / width) / width
        total += (density * tail((z - line) / scale) * upper) @ WEIGHTS
    return total
