"""What a displaced facet sweeps: along lines, the mass between crossings and where they move to."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr

from theory.flips import ROWS
from theory.line import Cut, Lines, cuts
from theory.mixture import Mixture
from theory.partition import PowerDiagram

FARTHEST = 4.0  # a facet of y∘μ is looked for this near, in τ, to the one of y


class Crossings(NamedTuple):
    """Crossings of all lines: line, t, t of those before and after, and the cells."""

    line: np.ndarray
    t: np.ndarray
    before: np.ndarray
    after: np.ndarray
    left: np.ndarray
    right: np.ndarray


def in_order(
    diagram: PowerDiagram, bases: np.ndarray, directions: np.ndarray, place: Callable
) -> Crossings:
    """Crossings of the lines, `place` of where `cuts` has them and of their line for t."""
    parts: list[Cut] = list(cuts(Lines(jnp.asarray(directions), jnp.asarray(bases)), diagram))
    starts = np.cumsum([0] + [len(part.last) for part in parts])
    line = np.concatenate([p.line + first for p, first in zip(parts, starts, strict=False)])
    t = place(np.concatenate([part.t for part in parts]), line)
    new = np.diff(line, prepend=-1, append=-1) != 0
    before = np.where(new[:-1], -np.inf, np.roll(t, 1))
    after = np.where(new[1:], np.inf, np.roll(t, -1))
    left, right = (np.concatenate([getattr(p, k) for p in parts]) for k in ("left", "right"))
    return Crossings(line, t, before, after, left, right)


def swept_mass(
    cut: Crossings, ahead: np.ndarray, behind: np.ndarray, share: Any = None, arc: float = 0.0
) -> np.ndarray:
    """Σ of the masses between crossings at t and facets of the other label at `ahead`, `behind`.

    The mean of both, then what it is less for not reaching past a neighbouring crossing, so that
    nothing counts twice. The mass is that of N(0, 1), or length within ±arc times `share`.
    """
    total = np.zeros(2)
    for other in (ahead, behind):
        alone = np.minimum(cut.t, other), np.maximum(cut.t, other)
        sides = (np.stack(reach(cut, other)), np.stack(alone))
        if share is None:
            met, free = (float(np.sum(ndtr(high) - ndtr(low))) for low, high in sides)
        else:
            met, free = (
                float(np.sum(share * (np.clip(high, -arc, arc) - np.clip(low, -arc, arc))))
                for low, high in sides
            )
        total += [met / 2, (met - free) / 2]
    return total


def reach(cut: Crossings, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the interval between a crossing and `other`, cut off at the crossings beside it."""
    low, high = np.minimum(cut.t, other), np.maximum(cut.t, other)
    return np.maximum(low, cut.before), np.minimum(high, cut.after)


def posterior_facets(
    law: Mixture,
    diagram: PowerDiagram,
    cut: Crossings,
    start: np.ndarray,
    ray: np.ndarray,
    scale: float,
) -> np.ndarray:
    """Near each t, where the two cells have the same score at μ(start + t·ray): by secants."""
    sites, offsets = np.asarray(diagram.sites), np.asarray(diagram.offsets)
    normal_, level = sites[cut.right] - sites[cut.left], offsets[cut.right] - offsets[cut.left]

    def lead(t: np.ndarray) -> np.ndarray:
        inner = posterior_means(law, start + t[:, None] * ray, scale)
        return np.sum(inner * normal_, axis=1) + level

    t, value = cut.t, lead(cut.t)
    slope = np.sum(ray * normal_, axis=1)
    for again in (True, False):
        new = t - np.where(slope != 0, value / np.where(slope != 0, slope, 1.0), 0.0)
        new = np.clip(new, cut.t - FARTHEST, cut.t + FARTHEST)
        if again:
            old, t, last, value = t, new, value, lead(new)
            slope = (value - last) / np.where(t != old, t - old, 1.0)
    return new


def posterior_means(law: Mixture, points: np.ndarray, scale: float) -> np.ndarray:
    """E[Z | X] over ROWS points at a time, the last one repeated: one shape to compile."""
    padded = np.pad(points, ((0, -len(points) % ROWS), (0, 0)), mode="edge")
    blocks = padded.reshape(-1, ROWS, points.shape[1])
    parts = [np.asarray(law.posterior_mean(jnp.asarray(block), scale)) for block in blocks]
    return np.concatenate(parts)[: len(points)]


def labels(diagram: PowerDiagram, points: np.ndarray) -> np.ndarray:
    """Labels at float64 precision of as many points as there are lines: one product."""
    scores = points @ np.asarray(diagram.sites).T + np.asarray(diagram.offsets)
    return np.argmax(scores, axis=1)
