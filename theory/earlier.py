"""Right-hand sides of earlier results on Lipschitz maps of a Gaussian onto separate modes.

T: R^n → R^d is Λ-Lipschitz, x ~ γ_n, modes are sets at mutual distances of κ or more. Precision is
P(T(x) on a mode) = 1 − ε. As `theory.bound` they share no code with what measures the left sides.
"""

import math

import numpy as np
from scipy import special

from theory.check import check_count, check_scale
from theory.gaussian import quantile, tail_quantile


def expansion_gap(mass: float, stiffness: float, distance: float) -> float:
    """a = Φ(r/Λ + Φ⁻¹(η)) − η: what T puts within r of a set of mass η, outside of it, at least.

    T⁻¹ of the r-neighbourhood holds the r/Λ-neighbourhood of T⁻¹ of the set, which has at least
    the mass of an enlarged half-space (Borell; Sudakov, Tsirelson). As a function of η it is
    concave, largest at η = Φ(−r/2Λ), and 0 at both ends.

    Source: A. Salmona, V. De Bortoli, J. Delon, A. Desolneux, NeurIPS 2022, arXiv 2206.14476.

    Args:
        mass: η = P(T(x) in the set), in [0, 1].
        stiffness: Λ.
        distance: r, in the units of the target.

    Raises:
        ValueError: on a mass outside of [0, 1], a stiffness or a distance not positive and finite.
    """
    if not 0 <= mass <= 1:
        raise ValueError(f"a mass lies in [0, 1], got {mass}")
    reach = _step(stiffness, distance)
    if mass in (0, 1):
        return 0.0
    inner = float(quantile(mass))
    ends = np.array([inner, inner + reach])
    # Of the two tails the one in which the difference keeps its digits.
    below = special.ndtr(ends if ends.sum() < 0 else -ends)
    return float(abs(below[1] - below[0]))


def total_variation_floor(
    mass: float, stiffness: float, distance: float, between: float = 0.0
) -> float:
    """TV(law of T(x), target) ≥ max(0, a − β), a of `expansion_gap` (Salmona et al. 2022).

    The target puts no more than β within r of the set, outside of it; T puts a there or more. For
    target modes alone β is 0 up to r = κ. Over sets of modes a is largest at mass Φ(−κ/2Λ), where
    it is 2Φ(κ/2Λ) − 1, the floor of two equal modes: it does not see how many modes there are.

    Args:
        mass: η = P(T(x) in the set), in [0, 1].
        stiffness: Λ.
        distance: r, in the units of the target.
        between: β, in [0, 1].

    Raises:
        ValueError: as `expansion_gap`, and on a β outside of [0, 1].
    """
    if not 0 <= between <= 1:
        raise ValueError(f"the target's mass between modes lies in [0, 1], got {between}")
    return max(0.0, expansion_gap(mass, stiffness, distance) - between)


def gaussian_precision(modes: int, stiffness: float, barrier: float) -> float:
    """Precision ≤ (1 + x²)/x²·exp(−e²/2 − ex), x = Q⁻¹(1/M), e = κ/2Λ, for M equal masses.

    M·Q(x + e) = Q(x + e)/Q(x) of the Gaussian floor (Theorem 5) by Mills' ratio: Q(y) ≤ φ(y)/y
    and Q(x) ≥ φ(x)·x/(1 + x²). Above 1, and vacuous, for little e; as −(log Q)′(y) ≥ y, the factor
    before the exponential could be left out. The form of U. Tanielian, T. Issenhuth, E. Dohmatob,
    J. Mary, ICML 2020, arXiv 2006.04596, as recalled; derived here.

    Raises:
        ValueError: on fewer than three modes (x = 0 at two), or a stiffness or barrier not
            positive and finite.
    """
    check_count("modes", modes, 3)
    half, x = _step(stiffness, barrier) / 2, float(tail_quantile(1 / modes))
    return (1 + x**2) / x**2 * math.exp(-(half**2) / 2 - half * x)


def recalled_precision(modes: int, stiffness: float, barrier: float) -> float:
    """exp(−e²/8 − e√(log M/2)), e = κ/Λ: a bound of the precision as recalled, which fails.

    The tail ratio Q(x + e/2)/Q(x) with √(2 log M) for x = Q⁻¹(1/M) < √(2 log M). To first order it
    asks for a leak of e√(log M/2) where the simplicial map has e·P_S(M), which is less up to
    M = 8. Recalled of T. Issenhuth, U. Tanielian, J. Mary, D. Picard, ICML 2023, arXiv 2207.10541;
    the paper was not at hand, so what fails is this form and not what is proved there.

    Raises:
        ValueError: on fewer than two modes, or a stiffness or barrier not positive and finite.
    """
    check_count("modes", modes, 2)
    step = _step(stiffness, barrier)
    return math.exp(-(step**2) / 8 - step * math.sqrt(math.log(modes) / 2))


def _step(stiffness: float, distance: float) -> float:
    """r/Λ, the least distance in R^n between points that T sends r apart."""
    check_scale("stiffness", stiffness)
    check_scale("distance", distance)
    return distance / stiffness
