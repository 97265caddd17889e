"""Token flips of raw noise and posterior mean, counted on common random numbers (Theorem 3)."""

import math
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from theory.check import check_count, check_scale
from theory.estimate import Estimate, proportion
from theory.gaussian import normal
from theory.mixture import Mixture, check_pair
from theory.partition import PowerDiagram

ROWS = 1 << 12  # points labelled or denoised at once


class PairedFlips(NamedTuple):
    """Flip rates on common random numbers.

    Fields:
        raw, mean: P(y(X) ≠ y(Z)) and P(y(μ(X)) ≠ y(Z)); `proportion_interval` is exact for them.
        difference: mean − raw, with the standard error of the pairs.
        facets: P(raw noise exchanges cells i and j), strict upper triangle of shape (M, M).
    """

    raw: Estimate
    mean: Estimate
    difference: Estimate
    facets: Estimate


def paired_flips(
    key: PRNGKeyArray, law: Mixture, diagram: PowerDiagram, scale: float, *, samples: int
) -> PairedFlips:
    """Flips counted over `samples` draws of (Z, ξ), one noise a latent, in chunks of ROWS.

    Raises:
        ValueError: on s ≤ 0, fewer than two samples, or a law and a readout of different n.
    """
    check_pair(law, diagram)
    check_scale("scale", scale)
    check_count("samples", samples, 2)
    counts, shift = np.zeros((diagram.modes, diagram.modes), np.int64), np.zeros(3, np.int64)
    for number, first in enumerate(range(0, samples, ROWS)):
        rows = min(ROWS, samples - first)
        latent_key, noise_key = jax.random.split(jax.random.fold_in(key, number))
        clean = law.sample(latent_key, min(ROWS, samples))[0]
        noisy = clean + scale * normal(noise_key, clean.shape, clean.dtype.name, samples=0)
        seen = [np.asarray(diagram.label(x))[:rows] for x in (clean, noisy)]
        denoised = np.asarray(diagram.label(law.posterior_mean(noisy, scale)))[:rows]
        np.add.at(counts, (seen[0], seen[1]), 1)
        raw, mean = seen[0] != seen[1], seen[0] != denoised
        shift += [raw.sum(), mean.sum(), (raw != mean).sum()]
    both = np.triu(counts + counts.T, 1) / samples
    facets = Estimate(both, np.sqrt(both * (1 - both) / samples), 0.0, samples)
    raw, mean = (proportion(int(k), samples) for k in shift[:2])
    return PairedFlips(raw, mean, _difference(shift, samples), facets)


def _difference(shift: np.ndarray, samples: int) -> Estimate:
    """Mean and error of a variable that is −1, 0 or 1."""
    value = (shift[1] - shift[0]) / samples
    spread = max(shift[2] / samples - value**2, 0.0)
    return Estimate(float(value), math.sqrt(spread / (samples - 1)), 0.0, samples)
