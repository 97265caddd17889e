"""Right-hand sides for residuals and roll-ins: NumPy in float64, no code of what is measured."""

import math
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray
from scipy import special

from theory.check import check_count, check_scale
from theory.estimate import Estimate, from_samples, ratio_of_means
from theory.mixture import Mixture

CELLS = 1 << 20  # numbers of a chunk


def mean_cosine(dimension: int) -> float:
    """E|⟨u, ν⟩| = Γ(n/2)/(√π Γ((n+1)/2)) for u uniform on the sphere of R^n, ν a unit vector."""
    check_count("dimension", dimension, 1)
    logs = special.gammaln(dimension / 2) - special.gammaln((dimension + 1) / 2)
    return float(math.exp(logs)) / math.sqrt(math.pi)


def normal_ratio(dimension: int) -> float:
    """Limit of flips along the nearest facet's normal over isotropic ones as r → 0: 2/E|⟨u, ν⟩|.

    P(δ < r) = 2rA_W + o(r) against A_W·r·E|⟨u, ν⟩| + o(r): no parameter but n, ≈ √(2πn).
    """
    return 2 / mean_cosine(dimension)


class ResidualEnergy(NamedTuple):
    """E‖P r‖², E‖r‖² and the ratio of the two."""

    row: Estimate
    total: Estimate
    share: Estimate


def residual_energy(
    key: PRNGKeyArray,
    mixture: Mixture,
    scale: float,
    basis: Float[np.ndarray, "rank n"],
    *,
    samples: int,
) -> ResidualEnergy:
    """E r rᵀ = E Cov(Z|X), from posteriors alone: no residual is formed, no latent compared.

    tr P Cov(Z|x) = Σ_i w_i (rank·v_i + ‖P(m_i − m̄)‖²), w_i the posterior of mode i at x, m_i =
    a_i + τ_i²/(τ_i²+s²)·(x − a_i), v_i = τ_i²s²/(τ_i²+s²), m̄ = Σ w_i m_i. (By Tweedie's formula
    E Cov(Z|X) = s²I − s⁴J with J the Fisher information of X: less where the score is large.)

    Args:
        key: PRNG key, of the points X.
        mixture: the law of Z.
        scale: s > 0.
        basis: orthonormal rows spanning the range of P.
        samples: number of points X.

    Raises:
        ValueError: when s is not positive and finite, samples < 2, or the basis is no set of
            orthonormal rows in R^n.
    """
    check_scale("scale", scale)
    check_count("samples", samples, 2)
    basis = _orthonormal(basis, mixture.dimension)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    a, width, mass = (np.asarray(x, np.float64) for x in jax.tree.leaves(mixture))
    size = max(16, CELLS // a.size)
    parts = []
    for first in range(0, samples, size):
        rows = min(size, samples - first)
        which = rng.choice(len(a), rows, p=mass / mass.sum())
        spread = np.sqrt(width[which] ** 2 + scale**2)[:, None]
        x = a[which] + spread * rng.standard_normal((rows, a.shape[1]))
        parts.append(_posterior_spread(x, a, width, mass, scale, basis))
    row, total = np.concatenate(parts, axis=1)
    return ResidualEnergy(from_samples(row), from_samples(total), ratio_of_means(row, total))


def _posterior_spread(
    x: np.ndarray,
    a: np.ndarray,
    width: np.ndarray,
    mass: np.ndarray,
    scale: float,
    basis: np.ndarray,
) -> np.ndarray:
    """tr P Cov(Z|x) and tr Cov(Z|x) at rows of x, shape (2, rows)."""
    variance = width**2 + scale**2
    square = ((x[:, None] - a) ** 2).sum(axis=2)
    weight = special.softmax(
        np.log(mass) - square / (2 * variance) - a.shape[1] / 2 * np.log(variance), axis=1
    )
    within = weight @ (width**2 * scale**2 / variance)
    means = a + (width**2 / variance)[:, None] * (x[:, None] - a)
    apart = means - (weight[:, :, None] * means).sum(axis=1, keepdims=True)
    between = [
        (weight * ((apart @ q) ** 2).sum(axis=2)).sum(axis=1) for q in (basis.T, np.eye(a.shape[1]))
    ]
    return np.stack([len(basis) * within + between[0], a.shape[1] * within + between[1]])


def _orthonormal(basis: object, dimension: int) -> np.ndarray:
    rows = np.asarray(basis, np.float64)
    if rows.ndim != 2 or rows.shape[1] != dimension or not 1 <= len(rows) <= dimension:
        raise ValueError(f"a basis has shape (rank, {dimension}), rank ≥ 1, got {rows.shape}")
    error = np.abs(rows @ rows.T - np.eye(len(rows))).max()
    if not error < 1e-9:
        raise ValueError(f"the rows of a basis must be orthonormal, got an error of {error:.3g}")
    return rows


def euler_contraction(width: float, steps: int) -> float:
    """Π_k (1 − (Δ/t_k)(1 − (1−t_k)σ²/((1−t_k)²σ²+t_k²))), t_k = 1 − k/K, Δ = 1/K.

    What K exact steps of the ODE make of pure noise when Z ~ N(m, σ²I): N(m, g²I) exactly, g this
    product. g → σ as K → ∞, and g = 0 at K = 1.

    Raises:
        ValueError: when σ is not positive and finite or K is no integer ≥ 1.
    """
    check_scale("width", width)
    check_count("steps", steps, 1)
    t = 1 - np.arange(steps) / steps
    gain = (1 - t) * width**2 / ((1 - t) ** 2 * width**2 + t**2)
    return float(np.prod(1 - (1 - gain) / (t * steps)))
