"""What two contractions of one interface are predicted to be: closed forms alone (Theorem 17).

P(flip)/s → √(2/π) Σ P_ij and Λ·ε → Σ κ_ij P_ij. Their ratio at s = 1/Λ = t has no parameter left.
"""

import math
from collections.abc import Iterable

import numpy as np
from scipy import special

from theory import bound
from theory.check import check_count, check_scale
from theory.flip_law import simplicial_ridges
from theory.gaussian import pdf

SIMPLEX = math.sqrt(2)  # κ of the vertices of the simplex
TRIPLE = 2 * math.pi / 3  # the dihedral angles of a simplicial cluster


def limit_ratio(barrier: float = SIMPLEX) -> float:
    """κ√(π/2), the limit of Λε/(flip/s) of any partition when all barriers are κ (Theorem 17)."""
    check_scale("barrier", barrier)
    return barrier * math.sqrt(math.pi / 2)


def ridge_effect(angle: float, barrier: float = SIMPLEX) -> float:
    """(κ/4)·cot(α/2) − √(π/2)·g(α): one cell at a ridge takes it, times ∫φ/P, off the ratio over t.

    The leak, γ(δ < κt/2), loses (κ²/4)·cot(α/2)·t² of its κPt to the overlap of two strips; the
    flips lose g(α)·t² of √(2/π)·Pt (`theory.bound.ridge_coefficient`).
    """
    check_scale("barrier", barrier)
    flips = math.sqrt(math.pi / 2) * bound.ridge_coefficient(angle)
    return barrier / (4 * math.tan(angle / 2)) - flips


def first_correction(
    perimeter: float, ridges: Iterable[tuple[float, float]], barrier: float = SIMPLEX
) -> float:
    """c in Λε/(flip/s) = κ√(π/2)·(1 − c·t + O(t²)) at s = 1/Λ = t.

    Args:
        perimeter: P.
        ridges: dihedral angle α and ∫φ dH^{n−2} of every (cell, ridge).
        barrier: κ.

    Raises:
        ValueError: when P or κ is not positive, an angle outside (0, π), or a measure negative.
    """
    check_scale("perimeter", perimeter)
    total = 0.0
    for angle, measure in ridges:
        if not 0 <= measure < math.inf:
            raise ValueError(f"the measure of a ridge is finite and ≥ 0, got {measure}")
        total += ridge_effect(angle, barrier) * measure
    return total / perimeter


def simplicial_correction(modes: int) -> float:
    """c = 0.3758·L/P_S of a simplicial cluster at κ = √2 (`first_correction`), L its ridges."""
    ridges = [(TRIPLE, 3 * simplicial_ridges(modes))]
    return first_correction(bound.interface_floor(modes), ridges)


def orthant_correction(dimension: int) -> float:
    """c of the orthants of R^n at κ = √2: C(n,2) ridges of four right angles, each of ∫φ = 1/(2π).

    Raises:
        ValueError: when dimension is not an integer ≥ 1.
    """
    check_count("dimension", dimension, 1)
    ridges = [(math.pi / 2, 4 * math.comb(dimension, 2) / (2 * math.pi))]
    return first_correction(dimension / math.sqrt(2 * math.pi), ridges)


def weighted_perimeter(areas: np.ndarray, barriers: np.ndarray) -> float:
    """Σ_{i<j} κ_ij P_ij, the limit of Λ·ε; with barriers √(2/π) it is that of flip/s (Theorem 17).

    Args:
        areas: P_ij, strict upper triangle of shape (M, M).
        barriers: κ_ij, shape (M, M); only the upper triangle is looked at.

    Raises:
        ValueError: on tables that are not square and of one shape.
    """
    area, barrier = np.asarray(areas, np.float64), np.asarray(barriers, np.float64)
    if area.ndim != 2 or area.shape[0] != area.shape[1] or barrier.shape != area.shape:
        raise ValueError(f"expected two (M, M) tables, got {area.shape} and {barrier.shape}")
    upper = np.triu_indices(len(area), 1)
    return math.fsum(area[upper] * barrier[upper])


def slabs() -> np.ndarray:
    """P_ij of three slabs of equal mass: cells 1 and 3 never touch."""
    cut = float(pdf(special.ndtri(1 / 3)))
    return np.array([[0, cut, 0], [0, 0, cut], [0, 0, 0]])


def tripod() -> np.ndarray:
    """P_ij of three sectors of 120°: every two cells share a half-line, of area φ(0)/2."""
    return np.triu(np.full((3, 3), float(pdf(0.0)) / 2), 1)


def far_barriers(far: float) -> np.ndarray:
    """κ_12 = κ_23 = 1 and κ_13 = `far`, shape (3, 3).

    Raises:
        ValueError: when far is not in (0, 2]: κ is a metric.
    """
    check_scale("far", far)
    if far > 2:
        raise ValueError(f"κ_13 ≤ κ_12 + κ_23 = 2 for a metric, got {far}")
    return np.array([[0, 1, far], [1, 0, 1], [far, 1, 0]], np.float64)


def opposing_barrier() -> float:
    """The κ_13 above which Σκ_ij P_ij prefers slabs, while Σ P_ij prefers the tripod: 1.6456.

    2φ(Φ⁻¹(1/3)) = (φ(0)/2)(2 + κ_13) (Theorem 17).
    """
    return 2 * float(slabs()[0, 1] / tripod()[0, 1]) - 2
