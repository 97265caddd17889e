"""A law for latents that are known by examples only: equal Gaussians around some of them.

The examples themselves are atoms, at which A_W does not exist and every denoiser is a lookup. A
Gaussian of width h around each of M of them has a density, an exact posterior mean and an A_W; h
maximises the likelihood of latents that were held out.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import optimize
from scipy.special import logsumexp

from theory.mixture import Mixture

ROUNDS = 1e-3  # relative precision of the bandwidth
Rows = Float[np.ndarray, "rows n"]


class LatentLaw(NamedTuple):
    """A fitted law of latents.

    Fields:
        mixture: Σ N(z_i, h²I)/M over the training latents z_i.
        bandwidth: h, in units of the latents.
        held_out: mean log density of the held-out latents at h, in nats.
        repeated: held-out latents left out because they equal a training latent bit for bit.
    """

    mixture: Mixture
    bandwidth: float
    held_out: float
    repeated: int


def fit(training: object, held_out: object) -> LatentLaw:
    """The law with the bandwidth that makes the held-out latents likeliest.

    Args:
        training: z_i, shape (M, n), M ≥ 2.
        held_out: shape (N, n); those equal to a training latent are left out, since without them
            the likelihood has a maximum and with them it grows for ever as h → 0.

    Raises:
        ValueError: on another rank, different n, entries that are not finite, or no held-out
            latent that differs from all training latents.
    """
    means, others = _rows("training", training), _rows("held_out", held_out)
    if means.shape[1] != others.shape[1] or len(means) < 2:
        raise ValueError(
            "expected training (M, n) with M ≥ 2 and held_out (N, n), "
            f"got {means.shape} and {others.shape}"
        )
    known = {row.tobytes() for row in means + 0.0}
    new = np.array([row.tobytes() not in known for row in others + 0.0])
    if not new.any():
        raise ValueError("every held-out latent is a training latent: no bandwidth fits them")
    square = _squares(means, others[new])
    h, likelihood = _likeliest(square, means.shape[1])
    return LatentLaw(Mixture(means, h), h, likelihood, int((~new).sum()))


def log_likelihood(square: Float[np.ndarray, "rows M"], dimension: int, width: float) -> float:
    """Mean of log Σ_i N(x; z_i, h²I)/M over rows x, from ‖x − z_i‖²."""
    volume = dimension / 2 * math.log(2 * math.pi * width**2) + math.log(square.shape[1])
    return float(np.mean(logsumexp(-square / (2 * width**2), axis=1)) - volume)


def _likeliest(square: np.ndarray, dimension: int) -> tuple[float, float]:
    """A bounded search in log h around the distances to the nearest training latent.

    Without neighbours beyond the nearest, h² would be the mean of their squares over n; all the
    others only lower it.
    """
    nearest = square.min(axis=1)
    middle = math.log(math.sqrt(nearest.mean() / dimension))
    lowest = math.log(math.sqrt(max(nearest.min(), 1e-12 * nearest.mean()) / dimension))
    found = optimize.minimize_scalar(
        lambda log: -log_likelihood(square, dimension, math.exp(log)),
        bounds=(min(lowest, middle - 3), middle + 1),
        method="bounded",
        options={"xatol": ROUNDS},
    )
    return math.exp(found.x), -float(found.fun)


def _squares(means: Float[np.ndarray, "M n"], others: Rows) -> Float[np.ndarray, "rows M"]:
    """‖x − z_i‖² by products, about the mean of the latents."""
    centre = means.mean(axis=0)
    a, x = means - centre, others - centre
    square = (x**2).sum(axis=1)[:, None] - 2 * x @ a.T + (a**2).sum(axis=1)
    return np.maximum(square, 0.0)


def _rows(name: str, given: object) -> Rows:
    rows = np.asarray(given, np.float64)
    if rows.ndim != 2 or rows.size == 0:
        raise ValueError(f"{name} must have shape (rows, n), got {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return rows
