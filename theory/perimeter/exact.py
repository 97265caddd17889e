"""Partitions whose Gaussian perimeter is known: the oracles of every estimator (NumPy float64)."""

import math

import numpy as np
from scipy import special

from theory.check import check_count
from theory.gaussian import composite_legendre, log_cdf, pdf, quantile


def half_space(threshold: float = 0.0) -> float:
    """P = φ(c) for the two cells {x_1 ≤ c}, {x_1 > c}."""
    if not math.isfinite(threshold):
        raise ValueError(f"threshold must be finite, got {threshold}")
    return float(pdf(threshold))


def intervals(modes: int) -> float:
    """P = Σ_{k=1}^{M−1} φ(Φ⁻¹(k/M)) for M intervals of equal mass: the minimum at n = 1."""
    check_count("modes", modes, 2)
    return math.fsum(pdf(quantile(np.arange(1, modes) / modes)))


def orthants(dimension: int) -> float:
    """P = n/√(2π) = log₂M/√(2π) for the M = 2^n orthants."""
    check_count("dimension", dimension, 1)
    return dimension / math.sqrt(2 * math.pi)


def simplicial(modes: int) -> float:
    """P_S(M) = C(M,2)·(2π)^{−1/2}·∫ π^{−1/2} e^{−u²} Φ(u)^{M−2} du, a sum over pairs of cells.

    The facet of cells i, j lies in a hyperplane through 0, and on it is where the other M − 2
    scores stay below the shared one.
    """
    check_count("modes", modes, 2)
    nodes, weights = composite_legendre(-16.0, 16.0, panels=256)
    pairs = math.log(modes) + math.log(modes - 1) - math.log(2)
    density = pairs - nodes**2 + (modes - 2) * log_cdf(nodes) - math.log(math.sqrt(2) * math.pi)
    return math.fsum(weights * np.exp(density))


def simplicial_facets(offsets: np.ndarray) -> np.ndarray:
    """P_ij = √2 ∫ φ(t − b_i) φ(t − b_j) Π_{k≠i,j} Φ(t − b_k) dt of sites at distance √2.

    Args:
        offsets: b, shape (M,).

    Returns:
        Strict upper triangle of shape (M, M), summing to P.
    """
    offsets = np.asarray(offsets, dtype=np.float64)
    check_count("modes", len(offsets), 2)
    nodes, weights = composite_legendre(-16.0, 16.0, panels=64)
    shifted = nodes[:, None] - offsets
    log_ratio = -0.5 * shifted**2 - 0.5 * math.log(2 * math.pi) - special.log_ndtr(shifted)
    product = special.log_ndtr(shifted).sum(axis=1, keepdims=True)
    # Half of the product goes to either factor, so that neither over- nor underflows alone.
    factor = np.exp(log_ratio + 0.5 * product)
    return np.triu(math.sqrt(2) * (factor.T * weights) @ factor, 1)
