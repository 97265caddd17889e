"""Leaks beside the facets that random lines found: points of strips, mapped one by one.

Every x with δ(x) < w is foot + hν for one facet point, the foot on its *nearest* facet, and one
|h| < w. So P(T(x) off its modes, δ(x) < w) = Σ_{i<j} ∫_{F_ij} ∫_{−w}^{w} 1{off, nearest} φ_n dh dH,
and lines find facet points with density φ_n|⟨θ, ν⟩| (Crofton).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray
from scipy.special import ndtr

from theory.batches import Transport, check_rows, values
from theory.check import check_count, check_scale
from theory.devices import spread
from theory.gaussian import pdf
from theory.line import Cut
from theory.partition import PowerDiagram

HEIGHTS = 4  # points beside the facet a line and scale
CELLS = 1 << 20  # (point, class) pairs held at once
REACH = 0.75  # half-width of the strip beside a facet over κt: the leak is within ½
LANDED = {8: 1e-9, 4: 1e-6}  # distance at which T is on a mode, by the bytes of its numbers


def strays(
    key: PRNGKeyArray,
    diagram: PowerDiagram,
    transport: Callable[[float], Transport],
    modes: object,
    scale: float,
    *,
    samples: int,
) -> int:
    """Of x ~ γ_n how many leak outside the strips of `contraction`, δ(x) ≥ REACH·κ_max·t.

    Raises:
        ValueError: on samples < 1, or as `contraction`.
    """
    check_count("samples", samples, 1)
    centres = checked_modes(diagram, modes, [scale])
    mapped, width = transport(1 / scale), REACH * widest(centres) * scale
    rng = np.random.default_rng(np.asarray(jax.random.bits(key, (4,), "uint32")))
    count, size = 0, min(samples, max(1, CELLS // diagram.modes))
    for start in range(0, samples, size):
        x = rng.normal(size=(min(size, samples - start), diagram.dimension))
        outside = np.asarray(diagram.nearest_facet(x).distance) >= width
        count += int(np.sum(outside & _off(mapped, centres, x)))
    return count


class Beside(NamedTuple):
    """A facet point for every line, and heights over it in units of the half-width of a strip.

    Fields:
        crossed: whether the line met a facet at all.
        pair: the cells left and entered, shape (2, lines).
        feet, normals: the crossing and ν, shape (lines, n).
        heights: in (−1, 1), evenly spaced, shape (HEIGHTS, lines).
    """

    crossed: np.ndarray
    pair: np.ndarray
    feet: np.ndarray
    normals: np.ndarray
    heights: np.ndarray


def beside(rng: np.random.Generator, cut: Cut, diagram: PowerDiagram) -> Beside:
    """For every line one of its crossings, drawn in proportion to φ(t)."""
    crossed = np.bincount(cut.line, minlength=len(cut.last)) > 0
    even = (np.arange(HEIGHTS)[:, None] + rng.random(len(crossed))) / HEIGHTS
    chosen = _one_crossing(rng, cut)
    pair = np.stack([cut.left[chosen], cut.right[chosen]])
    sites = np.asarray(diagram.sites, np.float64)
    normals = sites[pair[1]] - sites[pair[0]]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return Beside(crossed, pair, cut.points[chosen], normals, 2 * even - 1)


def across(
    beside: Beside,
    diagram: PowerDiagram,
    transport: Transport,
    centres: np.ndarray,
    reach: float,
    scale: float,
) -> Float[np.ndarray, " lines"]:
    """∫ 1{T(x) off its modes} φ_n(x)/φ_n(foot) dh over |h| < reach·t, x = foot + hν, a line each.

    By foot and h every x with δ(x) < reach·t is met once: with the foot on its *nearest* facet.
    The same sum over |h| < κ_ij t/2, as if there were no other facet, is a control variate.
    """
    height = reach * scale * beside.heights
    x = (beside.feet + height[..., None] * beside.normals).reshape(-1, diagram.dimension)
    level = np.sum(beside.feet * beside.normals, axis=1)
    hit = (_own(diagram, x, beside.pair) & _off(transport, centres, x)).reshape(height.shape)
    half = scale * np.linalg.norm(centres[beside.pair[0]] - centres[beside.pair[1]], axis=1) / 2
    excess = hit.astype(float) - (np.abs(height) < half)
    flat = (ndtr(level + half) - ndtr(level - half)) / pdf(level)
    beyond = 2 * reach * scale * (excess * np.exp(-height * level - height**2 / 2)).mean(axis=0)
    return np.where(beside.crossed, flat + beyond, 0)


def _one_crossing(rng: np.random.Generator, cut: Cut) -> np.ndarray:
    """For every line one of its crossings, drawn in proportion to φ(t); any, if it has none."""
    total = np.cumsum(pdf(cut.t))
    last = np.cumsum(np.bincount(cut.line, minlength=len(cut.last)))
    first = np.append(0, last[:-1])
    ends = np.append(0.0, total)
    target = ends[first] + rng.random(len(last)) * (ends[last] - ends[first])
    chosen = np.clip(np.searchsorted(total, target, side="right"), first, last - 1)
    return np.clip(chosen, 0, len(total) - 1)


def _own(diagram: PowerDiagram, x: np.ndarray, pair: np.ndarray) -> Bool[np.ndarray, " points"]:
    """Whether the nearest facet of a point is that of the pair of cells it was made from."""
    left, right = np.tile(pair, len(x) // pair.shape[1])
    label, near = (np.asarray(part) for part in diagram.nearest_facet(x)[:2])
    same = (label == left) & (near == right)
    return same | ((label == right) & (near == left))


def _off(transport: Transport, centres: np.ndarray, x: object) -> Bool[np.ndarray, " points"]:
    """Whether T(x) is on no mode, up to rounding."""
    points, found = np.asarray(x), []
    # The maps compare all pairs of modes at a point. One shape, so that it compiles once.
    size = max(64, min(1 << 14, CELLS // len(centres) ** 2))
    for start in range(0, len(points), size):
        rows = points[start : start + size]
        padded = spread(jnp.asarray(np.pad(rows, [(0, size - len(rows)), (0, 0)], mode="edge")))
        off, finite = map(np.asarray, _off_modes(transport, jnp.asarray(centres), padded))
        if not finite:
            raise ValueError("T must be finite, got NaN or infinity")
        found.append(off[: len(rows)])
    return np.concatenate(found)


@eqx.filter_jit
def _off_modes(transport: Transport, centres: Array, x: Array) -> tuple[Array, Array]:
    out = values(transport, x)
    if out.shape[1] != centres.shape[1]:
        raise ValueError(f"modes lie in R^{centres.shape[1]}, but T maps to R^{out.shape[1]}")
    inner = jnp.matmul(out, centres.T, precision="highest")
    near = jnp.argmin(jnp.sum(centres**2, axis=1) - 2 * inner, axis=1)
    longest = jnp.maximum(1, jnp.max(jnp.linalg.norm(centres, axis=1)))
    landed = LANDED[out.dtype.itemsize] * longest
    off = jnp.linalg.norm(out - centres[near], axis=1) > landed
    return off, jnp.all(jnp.isfinite(out))


def checked_modes(diagram: PowerDiagram, modes: object, scales: Sequence[float]) -> np.ndarray:
    """The modes as an array; ValueError on what `theory.contraction.contraction` refuses."""
    if len(scales) == 0:
        raise ValueError("expected at least one scale, got none")
    for scale in scales:
        check_scale("scale", scale)
    centres = check_rows("modes", modes)
    if len(centres) != diagram.modes:
        raise ValueError(f"expected {diagram.modes} modes, one a cell, got {len(centres)}")
    if len(np.unique(diagram.groups())) < diagram.modes:
        raise ValueError("duplicate sites have no facet between them: make the sites distinct")
    return centres


def widest(centres: np.ndarray) -> float:
    """The largest distance of two modes."""
    gaps = np.linalg.norm(centres[:, None] - centres, axis=-1)
    return float(gaps.max())
