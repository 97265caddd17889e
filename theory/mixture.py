"""Gaussian mixtures Z ~ Σ m_i N(a_i, τ_i² I) of R^n with their exact denoiser; placements of modes.

X = Z + sξ has the density p_s = Σ m_i N(a_i, v_i I), v_i = τ_i² + s². At a point x the origin is
its likeliest mode k: ‖x − a_i‖² − ‖x − a_k‖² = ⟨a_i − a_k, a_i − a_k − 2(x − a_k)⟩ by differences,
so that ‖x‖² does not cancel and the posterior is accurate close to a mode and far away.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import logsumexp
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int, PRNGKeyArray

from theory.check import check_count, check_scale
from theory.devices import by_rows, spread
from theory.gaussian import normal
from theory.nearest import CELLS
from theory.partition import (
    Points,
    PowerDiagram,
    first_of_equal_rows,
    random_code,
    simplicial_cluster,
)

PLACED = 1 << 16  # modes that a grid or a tree may have
Scale = float | Float[Array, ""]
Means = Float[Array, "modes n"]


class Mixture(eqx.Module):
    """The law Σ m_i N(a_i, τ_i² I) of R^n.

    A width of 0 is an atom: it can be sampled, and denoised at s > 0, but it has no density. Equal
    means are allowed, except those of two atoms.

    Fields:
        means: a_i, shape (M, n), M ≥ 1.
        widths: τ_i ≥ 0, shape (M,); a scalar is the width of every mode.
        masses: m_i > 0, shape (M,), summing to 1; equal if None.

    Raises:
        ValueError: on wrong rank, mismatched M, no mode, n = 0, means of non-floating dtype,
            entries that are not finite, negative widths, masses that are no positive law on M, or
            two atoms at one point.
    """

    means: Means
    widths: Float[Array, " modes"]
    masses: Float[Array, " modes"]

    def __init__(self, means: object, widths: object, masses: object | None = None) -> None:
        given = jnp.asarray(means)
        if given.ndim != 2 or given.size == 0:
            raise ValueError(f"means must have shape (M, n) with M, n ≥ 1, got {given.shape}")
        _check_floating("means", given)
        self.means = given
        self.widths = _checked_widths(given, jnp.asarray(widths, given.dtype))
        equal = jnp.full(self.modes, 1 / self.modes, given.dtype)
        self.masses = equal if masses is None else jnp.asarray(masses, given.dtype)
        _check_law(self.masses, self.modes)

    @property
    def modes(self) -> int:
        """M, the number of modes."""
        return self.means.shape[0]

    @property
    def dimension(self) -> int:
        """n, the dimension of the space."""
        return self.means.shape[1]

    def sample(
        self, key: PRNGKeyArray, count: int
    ) -> tuple[Float[Array, "count n"], Int[Array, " count"]]:
        """Independent draws of Z with the modes they come from."""
        check_count("count", count, 1)
        label_key, noise_key = jax.random.split(key)
        labels = spread(_modes(label_key, self.masses, count))
        noise = normal(noise_key, (count, self.dimension), self.means.dtype.name, samples=0)
        return _moved_by(self, labels, noise), labels

    def log_density(self, x: Points, scale: Scale = 0.0) -> Float[Array, " *points"]:
        """log p_s(x), in the wider dtype of means and x, as all below.

        Raises:
            ValueError: when x is empty, not finite, or its last axis is not n; when s is negative
                or not finite; at s = 0 when some mode is an atom. All below likewise.
        """
        return _over_points(_log_density, self, *_checked(self, x, scale))

    def posterior(self, x: Points, scale: Scale) -> Float[Array, "*points modes"]:
        """P(i | Z + sξ = x), the law of the mode behind x."""
        return _over_points(_posterior, self, *_checked(self, x, scale))

    def posterior_mean(self, x: Points, scale: Scale) -> Float[Array, "*points n"]:
        """E[Z | Z + sξ = x] = Σ_i P(i | x)(a_i + (τ_i²/v_i)(x − a_i)) = x + s²∇log p_s(x).

        The last is Tweedie's formula; the sum, a convex combination of x and the a_i, is computed.
        """
        return _over_points(_posterior_mean, self, *_checked(self, x, scale))

    def score(self, x: Points, scale: Scale = 0.0) -> Float[Array, "*points n"]:
        """∇log p_s(x) = −Σ_i P(i | x)(x − a_i)/v_i."""
        return _over_points(_score, self, *_checked(self, x, scale))

    def closest(self) -> Float[Array, ""]:
        """min_{i<j} ‖a_i − a_j‖, the barrier of the means; ∞ for a single mode."""
        return _least_ratio(self.means, jnp.full_like(self.widths, 0.5))

    def separation(self) -> Float[Array, ""]:
        """min_{i<j} ‖a_i − a_j‖/(τ_i + τ_j): far above 1 modes are apart, below 1 they overlap."""
        return _least_ratio(self.means, self.widths)


def check_pair(mixture: Mixture, diagram: PowerDiagram) -> None:
    """ValueError when latents and readout are not of one space."""
    if mixture.dimension != diagram.dimension:
        raise ValueError(
            f"latents in R^{mixture.dimension}, but a readout of R^{diagram.dimension}"
        )


def simplex(modes: int, dimension: int, barrier: float = math.sqrt(2)) -> Means:
    """2 ≤ M ≤ n + 1 points of R^n at mutual distance `barrier`, centred."""
    check_scale("barrier", barrier)
    return simplicial_cluster(modes, dimension=dimension).sites * (barrier / math.sqrt(2))


def code(key: PRNGKeyArray, modes: int, dimension: int, radius: float) -> Means:
    """M ≥ 2 independent uniform points on the sphere of the given radius in R^n."""
    check_scale("radius", radius)
    return random_code(key, modes, dimension).sites * radius


def grid(side: int, dimension: int, spacing: float) -> Means:
    """The side^n points of a cubic grid in R^n, centred; the last coordinate runs fastest."""
    check_count("side", side, 1)
    check_count("dimension", dimension, 1)
    check_scale("spacing", spacing)
    return jnp.asarray(spacing * (_digits(side, dimension) - (side - 1) / 2))


def tree(branches: int, depth: int, dimension: int, ratio: float) -> Means:
    """The M = m^B leaves Σ_{k<B} ratio^k·v_{b_k}, with v the m vertices of a simplex of edge 1.

    The label of a leaf is Σ_k b_k·m^{B−1−k}: the leaves of a branch follow each other in the
    numbering, and their mean is where it starts. Needs n ≥ m − 1, and 0 < ratio < 1 with
    ratio + … + ratio^{B−1} < 1 (true up to ½), or leaves of different branches may coincide.
    """
    check_count("branches", branches, 2)
    check_count("depth", depth, 1)
    check_scale("ratio", ratio)
    branch, last = _digits(branches, depth), max(1, depth - 1)
    if sum(min(ratio, 1.0) ** k for k in range(1, last + 1)) > 1 - 1e-9:
        raise ValueError(f"ratio^1 + … + ratio^{last} must be < 1, got a ratio of {ratio!r}")
    vertices = np.asarray(simplex(branches, dimension, 1.0))
    leaves = jnp.asarray(np.einsum("k,mkn->mn", ratio ** np.arange(depth), vertices[branch]))
    if len(np.unique(leaves, axis=0)) < len(leaves):
        raise ValueError(f"ratio {ratio!r} is so small that leaves coincide at depth {depth}")
    return leaves


def _digits(base: int, length: int) -> Int[np.ndarray, "modes length"]:
    """The digits of 0, …, base^length − 1, most significant first."""
    if length * math.log(base) > math.log(PLACED) + 1e-9:
        raise ValueError(f"{base}^{length} modes are too many: at most {PLACED}")
    return np.arange(base**length)[:, None] // base ** np.arange(length)[::-1] % base


@partial(jax.jit, static_argnames="count")
def _modes(key: PRNGKeyArray, masses: Array, count: int) -> Int[Array, " count"]:
    return jax.random.choice(key, len(masses), (count,), p=masses)


@jax.jit
def _moved_by(mixture: Mixture, labels: Array, noise: Array) -> Float[Array, "count n"]:
    return mixture.means[labels] + mixture.widths[labels][:, None] * noise


@partial(jax.jit, static_argnames="kernel")
def _over_points(kernel: Callable, mixture: Mixture, x: Array, scale: Array) -> Array:
    """The kernel of one point over all points."""
    rows = x.reshape(-1, x.shape[-1])
    values = by_rows(Partial(_in_chunks, kernel, mixture, scale), rows)
    return values.reshape(*x.shape[:-1], *values.shape[1:])


def _in_chunks(kernel: Callable, mixture: Mixture, scale: Array, rows: Array) -> Array:
    """In chunks of one size; the last repeats its last point."""
    size = min(rows.shape[0], max(16, CELLS // mixture.means.size))
    padded = jnp.pad(rows, ((0, -rows.shape[0] % size), (0, 0)), mode="edge")
    values = lax.map(lambda row: kernel(mixture, row, scale), padded, batch_size=size)
    return values[: rows.shape[0]]


def _log_weights(
    mixture: Mixture, x: Float[Array, " n"], scale: Float[Array, ""]
) -> tuple[Float[Array, " modes"], Float[Array, ""]]:
    """(weights, common) with weights_i + common = log(m_i N(x; a_i, v_i I))."""
    means, widths, variance = mixture.means, mixture.widths, mixture.widths**2 + scale**2
    volume = x.shape[0] * jnp.log(2 * math.pi * variance)
    a, z = means - jnp.mean(means, axis=0), x - jnp.mean(means, axis=0)
    square = jnp.sum(a**2, axis=1) - jnp.matmul(2 * a, z, precision="highest") + jnp.sum(z**2)
    k = jnp.argmin(square / variance + volume)  # rounding may choose another: any is correct
    apart, offset = means - means[k], x - means[k]
    gap = jnp.sum(apart * (apart - 2 * offset), axis=1) / variance
    length = jnp.sum(offset**2 / variance[k])
    excess = (widths - widths[k]) * (widths + widths[k]) / variance * length  # (1 − v_k/v_i)·length
    weights = jnp.log(mixture.masses) - (volume - volume[k] + gap - excess) / 2
    return weights, -(length + volume[k]) / 2


def _log_density(mixture: Mixture, x: Array, scale: Array) -> Float[Array, ""]:
    weights, common = _log_weights(mixture, x, scale)
    return logsumexp(weights) + common


def _posterior(mixture: Mixture, x: Array, scale: Array) -> Float[Array, " modes"]:
    return jax.nn.softmax(_log_weights(mixture, x, scale)[0])


def _posterior_mean(mixture: Mixture, x: Array, scale: Array) -> Float[Array, " n"]:
    weight, square = _posterior(mixture, x, scale), mixture.widths**2
    weight = weight / (square + scale**2)
    pulled = jnp.matmul(scale**2 * weight, mixture.means, precision="highest")
    return pulled + jnp.sum(square * weight) * x


def _score(mixture: Mixture, x: Array, scale: Array) -> Float[Array, " n"]:
    weight = _posterior(mixture, x, scale) / (mixture.widths**2 + scale**2)
    return jnp.sum(weight[:, None] * (mixture.means - x), axis=0)


@jax.jit
def _least_ratio(means: Means, reach: Float[Array, " modes"]) -> Float[Array, ""]:
    """min_{i<j} ‖a_i − a_j‖/(r_i + r_j), ∞ for a single mode."""
    modes = jnp.arange(means.shape[0])

    def row(i: Array) -> Array:
        ratio = jnp.linalg.norm(means - means[i], axis=1) / (reach + reach[i])
        return jnp.min(jnp.where(modes == i, jnp.inf, ratio))

    size = min(means.shape[0], max(16, CELLS // means.size))
    return jnp.min(lax.map(row, modes, batch_size=size))


def _checked(mixture: Mixture, x: object, scale: Any) -> tuple[Array, Float[Array, ""]]:
    """The points and s, in the wider dtype of means and points."""
    points = jnp.asarray(x)
    if points.shape[-1:] != (mixture.dimension,) or points.size == 0:
        raise ValueError(
            f"expected points of shape (…, {mixture.dimension}), at least one, got {points.shape}"
        )
    _check_floating("points", points)
    if np.ndim(scale):
        raise ValueError(f"scale must be one number, got an array of shape {np.shape(scale)}")
    if not _traced(scale) and not 0 <= float(scale) < math.inf:
        raise ValueError(f"scale must be finite and ≥ 0, got {scale!r}")
    dtype = jnp.result_type(mixture.means, points)
    s, least = jnp.asarray(scale, dtype), float(jnp.finfo(dtype).tiny) ** 0.5
    if not _traced(s, mixture.widths) and max(np.asarray(mixture.widths).min(), float(s)) < least:
        raise ValueError(f"an atom (width 0) has no density without noise, got scale {scale!r}")
    return points.astype(dtype), s


def _checked_widths(means: Array, widths: Array) -> Float[Array, " modes"]:
    if widths.shape not in ((), means.shape[:1]):
        raise ValueError(f"widths must have shape () or {means.shape[:1]}, got {widths.shape}")
    _check_floating("widths", widths)
    widths = jnp.broadcast_to(widths, means.shape[:1])
    if _traced(means, widths):
        return widths
    known = np.asarray(widths)
    if known.min() < 0:
        raise ValueError(f"widths must be ≥ 0, got {known.min():.6g}")
    atoms = np.asarray(means)[known == 0]
    if len(np.unique(first_of_equal_rows(atoms))) < len(atoms):
        raise ValueError(f"two of the {len(atoms)} atoms (width 0) coincide: join them")
    return widths


def _check_law(masses: Array, modes: int) -> None:
    if masses.shape != (modes,):
        raise ValueError(f"masses must have shape ({modes},), got {masses.shape}")
    if _traced(masses):
        return
    law = np.asarray(masses, np.float64)
    if not law.min() > 0:  # NaN is not
        raise ValueError(f"masses must be positive, got {law.min():.6g}: leave that mode out")
    if abs(law.sum() - 1) > max(1e-9, 16 * float(jnp.finfo(masses.dtype).eps)):
        raise ValueError(f"masses must sum to 1, got {law.sum():.12g}: divide by their sum")


def _check_floating(name: str, values: Array) -> None:
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise ValueError(f"{name} must be floating, got dtype {values.dtype}")
    if not _traced(values) and not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")


def _traced(*values: object) -> bool:
    """Whether a value is not known yet; whoever made the concrete one has checked it."""
    return any(isinstance(value, jax.core.Tracer) for value in values)
