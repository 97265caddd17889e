"""Right-hand sides only: one function per theorem, sharing no code with what measures the left."""

import math

import numpy as np
from scipy import optimize, special

from theory.check import branching, check_count
from theory.gaussian import (
    composite_legendre,
    expected_maximum,
    isoperimetric_profile,
    log_cdf,
    pdf,
    quantile,
    tail_quantile,
)

# Half the surface of a cell of volume 1. Hexagon: √(2√3). Weighted A15 with flat faces: from the
# coefficient 0.6863 of M^{1/3}. 24-cell of volume 1: 24 octahedra, 12·(√2/3)·a³ with 2a⁴ = 1.
HALF_SURFACE = {1: 1.0, 2: math.sqrt(2 * math.sqrt(3)), 3: 2.6485, 4: 4 * math.sqrt(2) * 0.5**0.75}
BALL_HALF_SURFACE = {
    n: n / 2 * (math.pi ** (n / 2) / math.gamma(n / 2 + 1)) ** (1 / n) for n in (2, 3, 4)
}


def interface_floor(modes: int) -> float:
    """P_S(M) = a_M/√2, the least Gaussian perimeter of M equal cells in any dimension (Theorem 6).

    Milman, Neeman (Annals 2022) for M ≤ n + 1; for any n by lifting to R^{M−1}.
    """
    return expected_maximum(_modes(modes)) / math.sqrt(2)


def unequal_floor(masses: np.ndarray) -> tuple[float, np.ndarray]:
    """P_S(m), the least perimeter of cells of masses m, and its gradient −b/√2 (Theorem 6).

    √2·P_S(m) = min_b [E max_i(x_i + b_i) − ⟨b, m⟩] over x ~ γ on R^M, a convex problem with
    E max = ∫_0^∞ (1 − Π_i Φ(t − b_i)) dt − ∫_{−∞}^0 Π_i Φ(t − b_i) dt. The gradient is up to a
    common constant. At the minimum P(x_i + b_i is the largest) = m_i; the error is 1e-15.

    Args:
        masses: m, shape (M,), positive, summing to 1.

    Raises:
        ValueError: when the masses are not a positive law on M ≥ 2 cells, or so small that none of
            the b tried has them to 1e-9 of themselves.
    """
    law = np.asarray(masses, dtype=np.float64)
    _modes(law.size)
    if law.ndim != 1 or not (law > 0).all() or abs(law.sum() - 1) > 1e-9:
        raise ValueError(
            f"masses must be positive, of shape (M,), and sum to 1, got shape {law.shape}, "
            f"least {law.min():.6g}, sum {law.sum():.12g}"
        )

    def excess(b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of log masses over those wanted, with the mean of b that is free; and the derivative."""
        reached, curvature = _largest(b)
        return np.log(reached / law) + b.mean(), curvature / reached[:, None] + 1 / law.size

    start = special.ndtri(law)
    with np.errstate(divide="ignore", invalid="ignore"):  # masses too small end as NaN
        b = optimize.root(excess, start - start.mean(), jac=True, tol=1e-13).x
        off = np.abs(_largest(b)[0] / law - 1).max()
    if not off <= 1e-9:
        raise ValueError(
            f"masses from {law.min():.3g} to {law.max():.3g} are not reached, {off:.1e} is left: "
            "leave out the smallest"
        )
    nodes, weights = composite_legendre(0.0, 20.0, panels=80)
    above, below = (np.exp(log_cdf(t[:, None] - b).sum(axis=1)) for t in (nodes, -nodes))
    dual = float(weights @ (1 - above) - weights @ below - b @ law)
    return dual / math.sqrt(2), -(b - b.mean()) / math.sqrt(2)


def _largest(b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P(x_i + b_i is the largest) = ∫φ(t − b_i)Π_{k≠i}Φ(t − b_k)dt, and its derivative in b."""
    nodes, weights = composite_legendre(-20.0, 20.0, panels=160)
    t = nodes[:, None] - b
    log_each = log_cdf(t)
    half = log_each.sum(axis=1, keepdims=True) / 2
    once = pdf(t) * np.exp(half - log_each)
    pairs = (once.T * weights) @ once
    np.fill_diagonal(pairs, 0)
    return weights @ (once * np.exp(half)), np.diag(pairs.sum(axis=1)) - pairs


def elementary_floor(modes: int) -> float:
    """(M/2)·I(1/M) → √(log M / 2): every cell beats its half-space (Borell; Sudakov–Tsirelson)."""
    return _modes(modes) / 2 * float(isoperimetric_profile(1 / modes))


def fixed_dimension_law(modes: int, dimension: int) -> float:
    """h_n (2π)^{−1/2} (1 + 1/n)^{−n/2} M^{1/n}, the perimeter of a local foam at n = 1 to 4.

    h_n is half the surface of the best known cell of volume 1: interval, hexagon (sharp by
    Hales), weighted A15 with flat faces, 24-cell (Theorem 6).
    """
    return _foam(modes, dimension, HALF_SURFACE)


def ball_law(modes: int, dimension: int) -> float:
    """`fixed_dimension_law` with half the surface of the unit-volume ball: a floor as M → ∞."""
    return _foam(modes, dimension, BALL_HALF_SURFACE)


def large_dimension_band(rate: float) -> tuple[float, float]:
    """max(1, √((e^{2R}−1)/(4R))) ≤ D and √((e^{2R}−1)/(2R)) of random codes; R = log M/n.

    As n → ∞ at fixed R. The lower side by caps slice by slice, the upper heuristic (Theorem 6).
    """
    _positive("rate", rate)
    growth = math.expm1(2 * rate) / (2 * rate)
    return max(1.0, math.sqrt(growth / 2)), math.sqrt(growth)


def stiffness_floor(modes: int, leak: float, barrier: float) -> float:
    """Λ ≥ κ/(2[Φ⁻¹(1/M) − Φ⁻¹((1−ε)/M)]) for M equal masses (1−ε)/M at distances κ (Theorem 5)."""
    _modes(modes)
    if not 0 < leak < 1:
        raise ValueError(f"leak must lie in (0, 1), got {leak}")
    _positive("barrier", barrier)
    even = float(quantile(1 / modes))
    apart = even - float(quantile((1 - leak) / modes))
    if leak < 1e-8:  # the quantiles agree to rounding: their difference to first order
        apart = leak / modes / float(pdf(even))
    return barrier / (2 * apart)


def leak_floor(modes: int, stiffness: float, barrier: float) -> float:
    """ε ≥ 1 − M·Φ(Φ⁻¹(1/M) − κ/(2Λ)) for M equal masses and a Λ-Lipschitz map (Theorem 5)."""
    _modes(modes)
    _positive("stiffness", stiffness)
    _positive("barrier", barrier)
    inner = tail_quantile(1 / modes) + barrier / (2 * stiffness)
    return 1 - modes * math.erfc(inner / math.sqrt(2)) / 2


def core_sum(masses: np.ndarray, stiffness: float, barriers: float | np.ndarray) -> float:
    """Σ_i Φ(Φ⁻¹(m_i) + r_i), which no Λ-Lipschitz map brings above 1 (Theorem 5).

    The r_i-neighbourhoods of the sets T⁻¹(D_i) are disjoint when r_i + r_j ≤ κ_ij/Λ, and each has
    at least the mass of the enlarged half-space (Borell; Sudakov, Tsirelson). Here
    r_i = min_j κ_ij/(2Λ), the same for all when the barriers are equal.

    Args:
        masses: m_i = P(T ∈ D_i), shape (M,), not negative, of sum ≤ 1.
        stiffness: Λ.
        barriers: κ, one number, or κ_ij of shape (M, M) whose diagonal is not looked at.
    """
    inside = _core_masses(masses)
    _positive("stiffness", stiffness)
    least = _least_barriers(barriers, inside.size)
    return math.fsum(special.ndtr(quantile(inside) + least / (2 * stiffness)))


def unequal_stiffness_floor(masses: np.ndarray, barriers: float | np.ndarray) -> float:
    """The Λ at which `core_sum` is 1: no map of less stiffness has these masses (Theorem 5).

    The masses are those measured; their sum is 1 − ε. At equal masses and barriers this is
    `stiffness_floor`.

    Raises:
        ValueError: on masses that are no core masses, or whose sum is 1: no leak, no finite Λ.
    """
    inside = _core_masses(masses)
    if not 0 < inside.sum() < 1 or np.sum(inside > 0) < 2:
        raise ValueError(
            f"two core masses must be positive, and their sum 1 − ε with ε in (0, 1), got "
            f"{np.sum(inside > 0)} positive of sum {inside.sum()}"
        )
    largest = float(np.max(_least_barriers(barriers, inside.size)))
    excess = lambda log: core_sum(inside, math.exp(log), barriers) - 1  # noqa: E731
    low, high = (math.log(largest * factor) for factor in (1e-3, 1e16))
    return math.exp(optimize.brentq(excess, low, high, xtol=1e-14))


def leak_expansion(modes: int) -> tuple[float, float]:
    """(a, b) of the simplicial leak ε = a/Λ − b/Λ² + O(Λ⁻³) at κ = √2 (Theorem 5).

    a = √2·P_S(M), the interface; b = ¼M(M−1)(M−2)∫φ³Φ^{M−3}, √3/2 times the Gaussian measure of
    the triple ridges. Beyond M = 2 the leak is below a/Λ.
    """
    _modes(modes)
    nodes, weights = composite_legendre(-16.0, 16.0, panels=256)
    triples = modes * (modes - 1) * (modes - 2) / 4
    density = np.exp((modes - 3) * log_cdf(nodes)) * pdf(nodes) ** 3
    return math.sqrt(2) * interface_floor(modes), triples * math.fsum(weights * density)


def score_leak_rate(areas: np.ndarray, sites: np.ndarray) -> float:
    """Σ P_ij √2‖A‖/‖a_i − a_j‖, the limit of Λε/κ of sparsemax of raw scores (Theorem 5).

    Args:
        areas: P_ij, strict upper triangle of shape (M, M).
        sites: a_i, shape (M, n); centred here.
    """
    centred = np.asarray(sites, np.float64) - np.mean(sites, axis=0)
    first, second = np.nonzero(np.triu(areas, 1))
    apart = np.linalg.norm(centred[first] - centred[second], axis=1)
    scale = math.sqrt(2) * float(np.linalg.norm(centred, 2))
    return math.fsum(areas[first, second] * scale / apart)


def energy_floor(mass: float, rest: float, barrier: float) -> float:
    """κ·min(I(m), I(q)) ≤ E[V(T)‖DT‖] for one mode of mass m, the other modes having mass q.

    E[V‖DT‖] ≥ ∫_0^κ P({u > t}) dt with u the V-distance of T to the mode; {u ≤ t} holds this
    mode and, while t < κ, misses the others; I is concave (Theorem 5).
    """
    _positive("barrier", barrier)
    if not (0 < mass < 1 and 0 < rest < 1 and mass + rest <= 1 + 1e-12):
        raise ValueError(f"a mode and the others need masses in (0, 1) of sum ≤ 1: {mass}, {rest}")
    return barrier * float(min(isoperimetric_profile(mass), isoperimetric_profile(rest)))


def tube_rate(scale: float, area: float) -> float:
    """√(2/π)·s·A_W, the flip rate to first order in the noise s (Theorem 3)."""
    _positive("scale", scale)
    if not 0 <= area < math.inf:
        raise ValueError(f"area must be finite and ≥ 0, got {area}")
    return math.sqrt(2 / math.pi) * scale * area


def half_space_flip(scale: float) -> float:
    """arctan(s)/π, the exact flip rate of a half-space through the mean of N(0, I) (Theorem 3)."""
    _positive("scale", scale)
    return math.atan(scale) / math.pi


def ridge_coefficient(angle: float) -> float:
    """g(α) = (1 + (π − α) cot α)/(2π): what a ridge of angle α takes off s² (Theorem 3)."""
    if not 0 < angle < math.pi:
        raise ValueError(f"a dihedral angle lies in (0, π), got {angle}")
    return (1 + (math.pi - angle) / math.tan(angle)) / (2 * math.pi)


def peak_ratio(modes: int, depth: int) -> float:
    """P_S(M)/P_S(M^{1/B}) > √B, the fall of the peak stiffness in B levels (Theorem 7)."""
    return interface_floor(modes) / interface_floor(branching(modes, depth))


def price_ratio(modes: int, depth: int) -> float:
    """B·P_S(M^{1/B})/P_S(M) > 1, the rise of the per-step stiffness at equal *total* leak.

    Leaks of B levels add up to first order, so each level may leak ε/B (Theorem 7). Always below
    √B.
    """
    return depth / peak_ratio(modes, depth)


def _foam(modes: int, dimension: int, half_surface: dict[int, float]) -> float:
    if dimension not in half_surface:
        known = ", ".join(map(str, half_surface))
        raise ValueError(f"the surface of a cell is known here for n = {known}, got {dimension}")
    spread = (1 + 1 / dimension) ** (-dimension / 2) / math.sqrt(2 * math.pi)
    return half_surface[dimension] * spread * _modes(modes) ** (1 / dimension)


def _modes(modes: int) -> int:
    check_count("modes", modes, 2)
    return int(modes)


def _positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value}")


def _core_masses(masses: np.ndarray) -> np.ndarray:
    inside = np.asarray(masses, dtype=np.float64)
    if inside.ndim != 1 or inside.size < 2:
        raise ValueError(f"core masses must have shape (M,), M ≥ 2, got shape {inside.shape}")
    if not (inside >= 0).all() or inside.sum() > 1 + 1e-9:
        raise ValueError(
            f"core masses must be ≥ 0 and sum to at most 1, got least {inside.min()}, "
            f"sum {inside.sum():.12g}"
        )
    return inside


def _least_barriers(barriers: float | np.ndarray, modes: int) -> np.ndarray:
    """min_j κ_ij for every i."""
    if np.ndim(barriers) == 0:
        _positive("barrier", float(barriers))
        return np.full(modes, float(barriers))
    table = np.array(np.broadcast_to(np.asarray(barriers, np.float64), (modes, modes)))
    np.fill_diagonal(table, np.inf)
    if not (table > 0).all() or not np.allclose(table, table.T, rtol=1e-12):
        raise ValueError("barriers must be positive and symmetric, κ or κ_ij of shape (M, M)")
    return table.min(axis=1)
