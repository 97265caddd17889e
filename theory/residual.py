"""The residual r = μ(X) − Z of an exact denoising step beside a readout: where does it point?

X = Z + sξ, μ(X) = E[Z|X]. Its share in the row space of the readout, its alignment with the
nearest facet of Z. What it does there is `theory.sensitivity`'s; what both should be,
`theory.residual_law`'s.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from theory.denoise_step import Rows, steps
from theory.estimate import Estimate
from theory.mixture import Mixture
from theory.partition import PowerDiagram


class RowSpace(NamedTuple):
    """The span of the differences of a readout's sites.

    Fields:
        basis: orthonormal rows, strongest first, shape (rank, n).
        spectrum: singular values of the centred sites, shape (rank,).
    """

    basis: Float[np.ndarray, "rank n"]
    spectrum: Float[np.ndarray, " rank"]


def row_space(diagram: PowerDiagram, tolerance: float | None = None) -> RowSpace:
    """Right singular vectors of the centred sites a_i − ā; argmax and softmax see no others.

    Singular values up to `tolerance` times the largest count as 0. By default it is max(M, n)·eps
    of the sites' dtype, NumPy's convention: the size that rounding alone gives them.

    Raises:
        ValueError: when the tolerance is not in [0, 1), or all sites are equal.
    """
    sites = np.asarray(diagram.sites, np.float64)
    if tolerance is None:
        tolerance = max(sites.shape) * float(jnp.finfo(diagram.sites.dtype).eps)
    if not 0 <= tolerance < 1:
        raise ValueError(f"a rank tolerance lies in [0, 1), got {tolerance!r}")
    _, spectrum, basis = np.linalg.svd(sites - sites.mean(axis=0), full_matrices=False)
    size = float(np.linalg.norm(sites, axis=1).max())
    kept = spectrum > tolerance * max(float(spectrum[0]), size)
    if not kept.any():
        raise ValueError("the sites of the readout are all equal: it has no row space")
    return RowSpace(basis[kept], spectrum[kept])


class Moments:
    """Sums over independent rows of features y and of their products, added chunk by chunk."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, size = shape, math.prod(shape)
        self.count, self.total, self.product = 0, np.zeros(size), np.zeros((size, size))

    def add(self, rows: object) -> None:
        """Add features of shape (rows, *shape).

        Raises:
            ValueError: on another shape, or features that are not finite.
        """
        values = np.asarray(rows, np.float64)
        if values.shape[1:] != self.shape:
            raise ValueError(f"features must have shape (rows, *{self.shape}), got {values.shape}")
        if not np.isfinite(values).all():
            raise ValueError("features must be finite, got NaN or infinity")
        flat = values.reshape(len(values), -1)
        self.count += len(flat)
        self.total += flat.sum(axis=0)
        self.product += flat.T @ flat

    def mean(self, *index: int) -> Estimate:
        """E y at one index, with its standard error."""
        at, count = self._at(index), self._counted()
        value = self.total[at] / count
        spread = max(self.product[at, at] / count - value**2, 0.0)
        return Estimate(float(value), math.sqrt(spread / (count - 1)), 0.0, count)

    def ratio(self, top: tuple[int, ...], bottom: tuple[int, ...]) -> Estimate:
        """E y_top / E y_bottom as `theory.estimate.ratio_of_means`; ∞ where the lower mean is 0."""
        i, j, count = self._at(top), self._at(bottom), self._counted()
        if self.total[j] == 0:
            return Estimate(math.inf if self.total[i] > 0 else math.nan, math.inf, 0.0, count)
        ratio, p = self.total[i] / self.total[j], self.product
        square = max(p[i, i] - 2 * ratio * p[i, j] + ratio**2 * p[j, j], 0.0)
        spread = math.sqrt(count / (count - 1) * square) / abs(self.total[j])
        return Estimate(float(ratio), spread, 0.0, count)

    def _at(self, index: tuple[int, ...]) -> int:
        return int(np.ravel_multi_index(index, self.shape))

    def _counted(self) -> int:
        if self.count < 2:
            raise ValueError(f"an estimate needs at least 2 rows, got {self.count}")
        return self.count


class Geometry(NamedTuple):
    """Where residuals lie; isotropic ones of any law of length have the values named here.

    Fields:
        share: E‖P r‖²/E‖r‖² of the projection P onto the row space; rank/n.
        mean_share: E(‖P r‖²/‖r‖²); rank/n.
        weighted: (n/‖W‖²)·E‖W r‖²/E‖r‖², W the centred sites: not vacuous at rank n; 1.
        cosine: E|⟨r/‖r‖, ν⟩|, ν the normal of the nearest facet of Z; Γ(n/2)/(√π Γ((n+1)/2)).
        towards: E⟨r/‖r‖, ν⟩, ν away from Z's own cell; 0.
        push: E⟨r, ν⟩; 0.
        energy: E‖r‖²; n·s² of sξ.
    """

    share: Estimate
    mean_share: Estimate
    weighted: Estimate
    cosine: Estimate
    towards: Estimate
    push: Estimate
    energy: Estimate


def geometry(
    key: PRNGKeyArray,
    mixture: Mixture,
    diagram: PowerDiagram,
    scale: float,
    *,
    samples: int,
    score: bool = True,
    latents: Rows | None = None,
    tolerance: float | None = None,
) -> Geometry:
    """Row-space share of the residual and its alignment with the nearest facet, by sampling.

    `latents`, shape (samples, n), independent of each other, are taken as Z if given.

    Raises:
        ValueError: as `steps` and `row_space`.
    """
    space = row_space(diagram, tolerance)
    basis, spectrum = jnp.asarray(space.basis), jnp.asarray(space.spectrum)
    found = Moments((7,))
    for step in steps(key, mixture, diagram, scale, samples=samples, score=score, latents=latents):
        features = _features(step.residual, step.towards, basis, spectrum)
        found.add(np.asarray(features)[: step.live])
    unit = diagram.dimension / float(np.sum(space.spectrum**2))
    return Geometry(
        share=found.ratio((1,), (0,)),
        mean_share=found.mean(3),
        weighted=found.ratio((2,), (0,)).scaled(unit),
        cosine=found.mean(4),
        towards=found.mean(5),
        push=found.mean(6),
        energy=found.mean(0),
    )


@jax.jit
def _features(residual: Rows, towards: Rows, basis: Array, spectrum: Array) -> Array:
    inside = jnp.matmul(residual, basis.T, precision="highest")
    square, row = jnp.sum(residual**2, axis=1), jnp.sum(inside**2, axis=1)
    push = jnp.sum(residual * towards, axis=1)
    cosine = push / jnp.where(square > 0, jnp.sqrt(square), 1.0)
    weighted = jnp.sum((inside * spectrum) ** 2, axis=1)
    share = row / jnp.where(square > 0, square, 1.0)
    columns = (square, row, weighted, share, jnp.abs(cosine), cosine, push)
    return jnp.stack(columns, axis=1)
