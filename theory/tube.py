"""The tube law for token flips: A_W from margins, flip rates under noise, the sandwich."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from theory import nearest
from theory.check import check_count, check_scale
from theory.devices import spread
from theory.estimate import Estimate, from_samples, proportion
from theory.gaussian import normal, tail
from theory.partition import PowerDiagram, check_points
from theory.reductions import some

ROWS = 1 << 16  # noisy latents held at once, if one draw is no more
BLOCK = 1024  # classes of a union bound held at once
WINDOW = 0.18  # share of the latents in the default window
Denoiser = Callable[[Float[Array, "rows n"]], Float[Array, "rows n"]]


def window(distances: np.ndarray) -> float:
    """The least width that holds a share WINDOW of the distances, a scale-free bandwidth."""
    width = float(np.quantile(distances, WINDOW, method="inverted_cdf"))
    if not 0 < width < math.inf:
        raise ValueError(f"no bandwidth from these distances (quantile {width}): give a width")
    return width


def interface_weights(distances: object, width: float) -> Float[np.ndarray, "2 rows"]:
    """Per latent the two terms K(δ/h)/(2h) whose mean over latents estimates A_W.

    K(u) = 4 − 6u and 9 − 36u + 30u² on [0, 1): mass 1, and the first (the first two) moments 0.

    Raises:
        ValueError: when width is not positive, or a distance is negative or NaN.
    """
    check_scale("width", width)
    delta = np.asarray(distances, dtype=np.float64).ravel()
    if np.isnan(delta).any() or (delta < 0).any():
        raise ValueError("distances must be ≥ 0 and not NaN")
    u = np.minimum(delta / width, 1.0)
    kernels = np.stack([4 - 6 * u, 9 - 36 * u + 30 * u**2])
    return np.where(u < 1, kernels, 0.0) / (2 * width)


def interface_area(
    distances: object, *, width: float | None = None, count: int | None = None
) -> Estimate:
    """A_W = f_δ(0+)/2 from distances δ to the nearest facet, by a density corrected at zero.

    The mean of the first of `interface_weights`: the slope of f_δ, which ridges make, cancels,
    and what is left is −h²f_δ''/24. `bias` is the distance to the mean of the second, whose own
    bias is O(h³), on the same latents.

    Args:
        distances: δ(Z), shape (N,); those beyond `width` may be left out if `count` is given.
        width: h, the window, in units of δ; `window(distances)` if None.
        count: N when distances beyond `width` were left out.

    Raises:
        ValueError: when width is not positive, or a distance is negative or NaN, or N < 2.
    """
    near = np.asarray(distances, dtype=np.float64).ravel()
    count = near.size if count is None else count
    if count < max(2, near.size):
        raise ValueError(f"expected at least 2 distances, and no more than count, got {near.size}")
    first, second = interface_weights(near, window(near) if width is None else width)
    value = float(first.sum()) / count
    spread = float((first**2).sum()) / count - value**2
    bias = abs(float((second - first).sum())) / count
    return Estimate(value, math.sqrt(max(spread, 0.0) / (count - 1)), bias, count)


def flip_rate(
    key: PRNGKeyArray,
    latents: object,
    diagram: PowerDiagram,
    scale: float,
    denoiser: Denoiser | None = None,
    *,
    draws: int = 1,
) -> Estimate:
    """P(y(X) ≠ y(Z)), X = Z + sξ: the share of (latent, noise draw) pairs whose token flips.

    A statement about the latents given: `count` is N·draws Bernoulli trials, whose exact
    interval is `theory.estimate.proportion_interval`.

    Args:
        key: PRNG key.
        latents: clean Z, shape (N, n).
        diagram: the readout.
        scale: s > 0, noise-to-signal, in units of the latents.
        denoiser: X ↦ μ(X); with it, flips of y(μ(X)). None: raw noise.
        draws: noise draws a latent.

    Raises:
        ValueError: on s ≤ 0, draws < 1, or latents of the wrong shape, empty or not finite.
    """
    counts = flip_counts(key, latents, diagram, scale, denoiser, draws=draws)
    return proportion(int(counts.sum()), draws * counts.size)


def flip_counts(
    key: PRNGKeyArray,
    latents: object,
    diagram: PowerDiagram,
    scale: float,
    denoiser: Denoiser | None = None,
    *,
    draws: int = 1,
) -> Int[np.ndarray, " rows"]:
    """For every latent the number of `draws` whose token flips; arguments as in `flip_rate`."""
    check_scale("scale", scale)
    check_count("draws", draws, 1)
    clean = _latent_rows(diagram, latents)
    label = diagram.label(clean)
    rows = clean.shape[0]
    batch = max(1, min(draws, ROWS // rows))
    flips = np.zeros(rows, np.int64)
    for first in range(0, draws, batch):
        noisy = _noised(key, first, clean, scale, batch).reshape(batch * rows, -1)
        seen = noisy if denoiser is None else denoiser(noisy)
        moved = np.asarray(diagram.label(seen)).reshape(batch, rows) != np.asarray(label)
        flips += moved[: draws - first].sum(axis=0)
    return flips


def flip_pairs(
    key: PRNGKeyArray, latents: object, diagram: PowerDiagram, scale: float
) -> tuple[Int[np.ndarray, "flips 2"], Int[np.ndarray, " flips"]]:
    """The tokens before and after, smaller first, of every flip of one draw a latent; its latent.

    Copies of a class count as the one that is read. Raises as `flip_rate`.
    """
    check_scale("scale", scale)
    clean = _latent_rows(diagram, latents)
    (noisy,) = _noised(key, 0, clean, scale, 1)
    tokens = np.stack([np.asarray(diagram.label(x)) for x in (clean, noisy)], axis=1)
    (flipped,) = np.nonzero(tokens[:, 0] != tokens[:, 1])
    return np.sort(tokens[flipped], axis=1), flipped


@partial(jax.jit, static_argnames="batch")
def _noised(
    key: PRNGKeyArray, first: Any, clean: Float[Array, "rows n"], scale: Any, batch: int
) -> Float[Array, "batch rows n"]:
    """Z + sξ for the draws from `first` on, each with a key of its own."""

    def draw(number: Array) -> Array:
        return normal(jax.random.fold_in(key, number), clean.shape, clean.dtype.name, samples=0)

    return clean + scale * jax.vmap(draw)(first + jnp.arange(batch))


def sandwich(latents: object, diagram: PowerDiagram, scale: float) -> tuple[Estimate, Estimate]:
    """E Q(δ/s) ≤ P(y(Z + sξ) ≠ y(Z)) ≤ E min(1, Σ_{j≠y} Q(δ_j/s)), for every s and readout.

    δ_j is the distance to the hyperplane of j. To leave the cell a point must cross some
    hyperplane (union bound), and crossing the nearest is enough. Both sides hold latent by
    latent, so against `flip_rate` on the same latents compare the values; `sem` is what another
    sample of latents would move.

    Args:
        latents: clean Z, shape (N, n).
        diagram: the readout.
        scale: s > 0, in units of the latents.

    Raises:
        ValueError: on s ≤ 0, or latents of the wrong shape, empty or not finite.
    """
    check_scale("scale", scale)
    clean = _latent_rows(diagram, latents)
    wide = nearest.wide_dtype(clean.dtype)
    sites, offsets = diagram.sites.astype(wide), diagram.offsets.astype(wide)
    groups = jnp.asarray(diagram.groups())
    facet = diagram.nearest_facet(clean)
    size = max(16, nearest.CELLS // min(diagram.modes, BLOCK))
    sides = []
    for start in range(0, clean.shape[0], size):
        part = slice(start, start + size)
        rows, label = spread(clean[part].astype(wide)), facet.label[part]
        upper = _union_bound(sites, offsets, groups, rows, label, scale)
        lower = tail(np.asarray(facet.distance[part]) / scale)
        sides.append(np.stack([lower, np.asarray(upper)]))
    lower, upper = np.concatenate(sides, axis=1)
    return _mean(lower), _mean(np.maximum(upper, lower))


def _mean(values: np.ndarray) -> Estimate:
    if values.size == 1:
        return Estimate(float(values[0]), math.inf, 0.0, 1)
    return from_samples(values)


@jax.jit
def _union_bound(
    sites: Array, offsets: Array, groups: Array, x: Array, label: Array, scale: Array | float
) -> Float[Array, " rows"]:
    """min(1, Σ_j Q(δ_j/s)), a block of classes at a time.

    ‖a_y − a_j‖² and the gaps come from products, unless some pair of the block is so close that
    they would cancel: then from direct differences.
    """
    own, own_offset = sites[label], offsets[label]
    square, block = jnp.sum(sites**2, axis=1), min(BLOCK, sites.shape[0])
    least = 64 * float(jnp.finfo(sites.dtype).eps) ** 0.5  # below it half of the digits cancel

    def direct(j: Array) -> tuple[Array, Array]:
        def one(k: Array) -> tuple[Array, Array]:
            apart = own - sites[k]
            gap = jnp.sum(x * apart, axis=1) + own_offset - offsets[k]
            return gap, jnp.linalg.norm(apart, axis=1)

        gap, length = lax.map(one, j)
        return gap.T, length.T

    def step(total: Array, start: Array) -> tuple[Array, None]:
        j = start + jnp.arange(block, dtype=label.dtype)
        real, j = j < sites.shape[0], jnp.minimum(j, sites.shape[0] - 1)
        exists = real & (groups[j] != groups[label][:, None])
        inner = jnp.matmul(own, sites[j].T, precision="highest")
        reach = square[label][:, None] + square[j]
        apart = jnp.maximum(reach - 2 * inner, 0)
        ours = jnp.sum(x * own, axis=1) + own_offset
        gap = ours[:, None] - jnp.matmul(x, sites[j].T, precision="highest") - offsets[j]
        close = some(exists & (apart < least * reach))
        gap, length = lax.cond(close, lambda: direct(j), lambda: (gap, jnp.sqrt(apart)))
        crossing = tail(jnp.maximum(gap, 0) / jnp.where(exists, length, 1.0) / scale)
        return total + jnp.sum(jnp.where(exists, crossing, 0.0), axis=1), None

    starts = jnp.arange(0, sites.shape[0], block, dtype=label.dtype)
    total, _ = lax.scan(step, jnp.zeros(x.shape[0], x.dtype), starts)
    return jnp.minimum(total, 1.0)


def _latent_rows(diagram: PowerDiagram, latents: object) -> Float[Array, "rows n"]:
    rows = check_points(diagram, latents)
    if rows.ndim != 2:
        raise ValueError(f"latents must have shape (N, {diagram.dimension}), got {rows.shape}")
    return rows
