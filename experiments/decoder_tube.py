"""Nearest facets, A_W and raw-noise token flips of a decoder head (Theorem 3), over noise s.

A cell is one head at one noise; s is a multiple of the median distance to the nearest facet.
Real heads and any weights a user gives go through the same `head_row` and `noise_row`.
"""

import functools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from theory import bound
from theory.bridge import catalog
from theory.bridge.corpus import english_words
from theory.bridge.g2p_en import G2P
from theory.estimate import Estimate, proportion_interval, ratio_of_means
from theory.partition import Facet, PowerDiagram
from theory.tube import (
    WINDOW,
    flip_counts,
    interface_area,
    interface_weights,
    sandwich,
    window,
)

from experiments.store import Unavailable

FAILURE = 1e-9
DECODERS = ("g2p-en",)
RATIOS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Grid:
    """Which heads, how many words of latents, which noises."""

    decoders: tuple[str, ...] = field(
        default=DECODERS, metadata={"help": f"any of {', '.join(DECODERS)}"}
    )
    words: int = field(default=2500, metadata={"help": "distinct English words to spell"})
    ratios: tuple[float, ...] = field(
        default=RATIOS, metadata={"help": "noise s over the median distance to the nearest facet"}
    )
    draws: int = field(default=32, metadata={"help": "noise draws a latent"})

    def __post_init__(self) -> None:
        """ValueError on an unknown decoder, no words, no draws, or a noise that is not positive."""
        for name in self.decoders:
            if name not in DECODERS:
                raise ValueError(f"unknown decoder {name!r}: expected any of {', '.join(DECODERS)}")
        if self.words < 2 or self.draws < 1:
            raise ValueError(f"words ≥ 2 and draws ≥ 1, got {self.words} and {self.draws}")
        if not self.ratios or not all(0 < r < math.inf for r in self.ratios):
            raise ValueError(f"ratios must be positive and finite, got {self.ratios}")


PRESETS = {
    "quick": Grid(words=300, ratios=(0.05, 0.2, 1.0), draws=8),
    "default": Grid(),
    "paper": Grid(ratios=(0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1, 2, 5), draws=512),
}


@dataclass(frozen=True)
class Cell:
    """One head at one noise."""

    decoder: str
    words: int
    ratio: float
    draws: int


@dataclass(frozen=True)
class Head:
    """A readout with its latents and where they lie; `group` marks latents of one word."""

    diagram: PowerDiagram
    latents: np.ndarray
    facet: Facet
    group: np.ndarray


def cells(grid: Grid) -> list[Cell]:
    """Every head at every noise."""
    return [Cell(d, grid.words, r, grid.draws) for d in grid.decoders for r in grid.ratios]


def cost(cell: Cell) -> float:
    """Rough seconds on one core, to start the longest cells first."""
    return 4 + 2e-5 * cell.words * cell.draws


def measure(cell: Cell, key: Any) -> dict[str, Any]:
    """One row: the head's geometry, and its flips at this noise beside law and sandwich."""
    head = decoder_head(cell.decoder, cell.words)
    scale = cell.ratio * float(np.median(np.asarray(head.facet.distance)))
    return {**head_row(head), **noise_row(key, head, scale, cell.draws)}


@functools.lru_cache(maxsize=2)
def decoder_head(decoder: str, words: int) -> Head:
    """Latents of a catalogued decoder on English words; kept, since every noise needs them.

    Raises:
        Unavailable: when its weights cannot be had here.
    """
    try:
        model = G2P.from_file(catalog.locate(decoder))
    except catalog.WeightsUnavailable as reason:
        raise Unavailable(str(reason)) from reason
    latents = model.latents(english_words(words))
    return make_head(model.head(), np.asarray(latents.states), np.asarray(latents.word))


def make_head(diagram: PowerDiagram, latents: np.ndarray, group: np.ndarray | None = None) -> Head:
    """The latents' nearest facets; without `group` every latent is independent.

    Raises:
        ValueError: when a latent has no facet to cross (a head with one distinct row).
    """
    facet = diagram.nearest_facet(latents)
    if not np.isfinite(np.asarray(facet.distance)).all():
        raise ValueError("the head has no facet: its rows are all equal")
    return Head(diagram, latents, facet, np.arange(len(latents)) if group is None else group)


def head_row(head: Head) -> dict[str, Any]:
    """Distances to the nearest facet, how often it is the runner-up's, and A_W."""
    distance = np.asarray(head.facet.distance)
    norm = np.linalg.norm(np.asarray(head.latents, np.float64), axis=1)
    scores = np.array(head.diagram.scores(head.latents))
    np.put_along_axis(scores, np.asarray(head.facet.label)[:, None], -np.inf, axis=1)
    row = {
        "classes": head.diagram.modes,
        "dimension": head.diagram.dimension,
        "latents": len(distance),
        "distance_median": float(np.median(distance)),
        "distance_tenth": float(np.quantile(distance, 0.1)),
        "norm_median": float(np.median(norm)),
        "relative_median": float(np.median(distance[norm > 0] / norm[norm > 0]))
        if norm.any()
        else None,
        "runner_up_share": float(
            np.mean(scores.argmax(axis=1) == np.asarray(head.facet.neighbour))
        ),
    }
    found = _area(head)
    return row | ({"area": found[0]} if found else {})


def noise_row(key: Any, head: Head, scale: float, draws: int) -> dict[str, Any]:
    """Flips of the token under noise s, beside √(2/π)·s·A_W and the sandwich."""
    counts = flip_counts(key, head.latents, head.diagram, scale, draws=draws)
    trials = draws * len(counts)
    flips = Estimate(counts.sum() / trials, _clustered(counts, head.group, draws), 0.0, trials)
    inside = proportion_interval(flips, FAILURE)
    lower, upper = sandwich(head.latents, head.diagram, scale)
    return {
        "scale": scale,
        "flips": flips,
        "flips_lower": inside.lower,
        "flips_upper": inside.upper,
        "sandwich_lower": float(lower.value),
        "sandwich_upper": float(upper.value),
        **_against_law(head, counts / draws, scale),
    }


def _area(head: Head) -> tuple[Estimate, np.ndarray] | None:
    """A_W and its terms latent by latent; None when the latents give no bandwidth or no facet.

    That is: a single latent, or so many of them on a facet that the window closes.
    """
    distance = np.asarray(head.facet.distance)
    if len(distance) < 2 or np.quantile(distance, WINDOW) == 0:
        return None
    width = window(distance)
    area = interface_area(distance, width=width)
    return (area, interface_weights(distance, width)[0]) if area.value > 0 else None


def _clustered(counts: np.ndarray, group: np.ndarray, draws: int) -> float:
    """Standard error of the flip rate over groups of latents, for another sample of them."""
    if len(np.unique(group)) < 2:
        return math.inf
    return float(ratio_of_means(counts / draws, np.ones(len(counts)), group).sem)


def _against_law(head: Head, rate: np.ndarray, scale: float) -> dict[str, Any]:
    """√(2/π)·s·A_W, and flips over it: a ratio of means over the same latents, by groups."""
    found = _area(head)
    if found is None or len(np.unique(head.group)) < 2:
        return {"law": None}
    area, terms = found
    ratio = ratio_of_means(rate, bound.tube_rate(scale, 1.0) * terms, head.group)
    bias = ratio.value * area.bias / area.value
    ratio = Estimate(ratio.value, ratio.sem, bias, ratio.count)
    lower, upper = ratio.interval(FAILURE)
    return {
        "law": bound.tube_rate(scale, area.value),
        "ratio_to_law": ratio,
        "ratio_to_law_lower": float(lower),
        "ratio_to_law_upper": float(upper),
    }
