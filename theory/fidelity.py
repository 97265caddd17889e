"""The smooth control: how far generated latents are from the language's in their first two moments.

Pairs x = (z_t, z_{t+1}) ∈ R^{2n} of neighbours have, in the language, the exact mean m and
covariance C; generated ones have m', C'. The Fréchet distance (that of 2-Wasserstein between
Gaussians with these moments; Dowson, Landau 1982)

    d² = ‖m − m'‖² + tr C + tr C' − 2 tr (C^{1/2} C' C^{1/2})^{1/2}

is read before any argmax and changes smoothly with the latents: cz in the place of z gives
(1 − c)² of E‖x‖², whatever tokens are read.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from theory.estimate import Estimate
from theory.language import Language

GROUPS = 16  # of sequences, left out one by one


class Moments(NamedTuple):
    """Mean and covariance of a law on R^k."""

    mean: Float[np.ndarray, " k"]
    covariance: Float[np.ndarray, "k k"]


def pair_moments(language: Language) -> Moments:
    """Exact moments of the embeddings of two tokens in a row of the stationary language; k = 2n."""
    table, pairs = np.asarray(language.embeddings, np.float64), language.bigram()
    before, after = pairs.sum(axis=1), pairs.sum(axis=0)
    mean = np.concatenate([before @ table, after @ table])
    across = table.T @ pairs @ table
    second = np.block(
        [
            [(table.T * before) @ table, across],
            [across.T, (table.T * after) @ table],
        ]
    )
    return Moments(mean, second - np.outer(mean, mean))


def frechet_distance(found: Moments, wanted: Moments) -> float:
    """d² ≥ 0 of two laws by their moments.

    Raises:
        ValueError: when the moments are not of one dimension.
    """
    shapes = [part.shape for moments in (found, wanted) for part in moments]
    size = len(np.ravel(found.mean))
    if shapes != [(size,), (size, size)] * 2:
        raise ValueError(f"moments have shapes (k,) and (k, k) of one k, got {shapes}")
    return _distance(found, wanted, _shared(found, _root(wanted.covariance)))


def frechet(latents: object, language: Language) -> Estimate:
    """d² of generated pairs of neighbours over E‖x‖² of the language's.

    A perfect sampler is at 0, latents that are all 0 are at 1. The value is that of the empirical
    moments, biased up by O(1/N); the bias stated is the jackknife's estimate of it, with what
    rounding may do, and the error is the jackknife's, over GROUPS groups of sequences.

    Args:
        latents: before any readout, shape (N, L, n), N ≥ 4, L ≥ 2.
        language: its stationary law is what they are held against.

    Raises:
        ValueError: on other shapes, another n, or latents that are not finite.
    """
    z = np.asarray(latents)
    if z.ndim != 3 or z.shape[0] < 4 or z.shape[1] < 2 or z.shape[2] != language.dimension:
        raise ValueError(f"latents have shape (N ≥ 4, L ≥ 2, {language.dimension}), got {z.shape}")
    if not np.isfinite(z).all():
        raise ValueError("latents must be finite, got NaN or infinity")
    wanted = pair_moments(language)
    unit = float((wanted.mean**2).sum() + np.trace(wanted.covariance))
    sums = [_sums(part) for part in np.array_split(z, min(GROUPS, len(z)))]
    total = tuple(sum(column) for column in zip(*sums, strict=True))
    root = _root(wanted.covariance)
    without = [tuple(a - b for a, b in zip(total, part, strict=True)) for part in sums]
    laws = [_moments(part) for part in (total, *without)]
    shared = [_shared(law, root) for law in laws]
    apart = [_distance(law, wanted, one) / unit for law, one in zip(laws, shared, strict=True)]
    rounding = _rounding(laws[0], root, shared[0]) / unit
    return _jackknife(apart[0], np.array(apart[1:]), rounding)


def _root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric square root; eigenvalues below 0 are rounding."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def _sums(latents: np.ndarray) -> tuple:
    """Number, sum and sum of squares of pairs of neighbours."""
    wide = latents.astype(np.float64)
    pairs = np.concatenate([wide[:, :-1], wide[:, 1:]], axis=-1).reshape(-1, 2 * wide.shape[-1])
    return len(pairs), pairs.sum(axis=0), pairs.T @ pairs


def _moments(sums: tuple) -> Moments:
    count, first, second = sums
    mean = first / count
    return Moments(mean, second / count - np.outer(mean, mean))


def _shared(found: Moments, root: Float[np.ndarray, "k k"]) -> Float[np.ndarray, " k"]:
    """Eigenvalues of C^{1/2} C' C^{1/2}, once a law: at k = 512 that is what counts."""
    return np.linalg.eigvalsh(root @ found.covariance @ root)


def _distance(found: Moments, wanted: Moments, shared: Float[np.ndarray, " k"]) -> float:
    """d², from `_shared`."""
    own = np.trace(found.covariance) + np.trace(wanted.covariance)
    both = np.sqrt(np.maximum(shared, 0)).sum()
    return max(float(((found.mean - wanted.mean) ** 2).sum() + own - 2 * both), 0.0)


def _rounding(
    found: Moments, root: Float[np.ndarray, "k k"], shared: Float[np.ndarray, " k"]
) -> float:
    """What eigenvalues that are wrong by δ can do to d²: 2δ/√λ each, and 2√δ where λ should be 0.

    δ is k roundings of the largest that C^{1/2} E xxᵀ C^{1/2} can have: C' is a difference of this
    size, and all but cancels where a sampler ends at one point.
    """
    second = np.trace(found.covariance) + found.mean @ found.mean
    largest = float(np.linalg.norm(root, 2) ** 2 * second)
    delta = len(root) * np.finfo(np.float64).eps * max(largest, np.finfo(np.float64).tiny)
    return float(2 * (delta / np.sqrt(np.maximum(shared, delta))).sum())


def _jackknife(whole: float, without: np.ndarray, rounding: float) -> Estimate:
    groups = len(without)
    bias = (groups - 1) * abs(float(without.mean()) - whole) + rounding
    sem = np.sqrt((groups - 1) / groups * ((without - without.mean()) ** 2).sum())
    return Estimate(whole, float(sem), bias, groups)
