"""The tube law: flips of raw noise and posterior mean against √(2/π)·s·A_W and beyond (Theorem 3).

A cell is a latent law with a readout, at one noise s, or, at s = 0, the limit s → 0: the ratio to
the law extrapolated with a fitted order, and the coefficient of what follows the first order. s is
in units of the latents' least width. Flips are measured along random lines or circles
(`theory.line_flips`); the predicted side is closed forms, quadrature or facet projection.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from theory import bound, flips, line_flips, perimeter, terminal
from theory.estimate import Estimate, proportion_interval, quotient, stack
from theory.extrapolation import extrapolated, leading_coefficient
from theory.latent_area import latent_area, seen_from
from theory.tube import flip_rate, interface_area, sandwich

from experiments.tube_pairs import PAIRS, Pair

FAILURE = 1e-9
LADDER = (0.005, 0.01, 0.02, 0.04, 0.08)  # s of the extrapolation
ANGLES = (0.2, 0.4, 0.6)  # arctan(s) of second order on circles, where it is flattest
STEPS = {2: (0.1, 0.2, 0.4), 3: (0.1, 0.2, 0.3, 0.4)}  # s of second order elsewhere, by its power


@dataclass(frozen=True)
class Grid:
    """Which pairs at which noises, and how closely."""

    pairs: tuple[str, ...] = field(
        default=tuple(PAIRS), metadata={"help": f"any of {', '.join(PAIRS)}"}
    )
    scales: tuple[float, ...] = field(
        default=(0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
        metadata={"help": "s over the least width; 0 < s ≤ 2"},
    )
    point_pairs: tuple[str, ...] = field(
        default=tuple(PAIRS), metadata={"help": "the pairs with rows at every s"}
    )
    limit_width: float = field(
        default=0.01, metadata={"help": "asked of the interval of an extrapolated ratio"}
    )
    coefficient_width: float = field(
        default=0.05, metadata={"help": "asked of the interval of a coefficient over its value"}
    )
    effort: float = field(default=1.0, metadata={"help": "factor on numbers of lines and samples"})

    def __post_init__(self) -> None:
        """ValueError on an unknown pair, a noise out of range, or a width or effort not > 0."""
        for name in (*self.pairs, *self.point_pairs):
            if name not in PAIRS:
                raise ValueError(f"unknown pair {name!r}: expected any of {', '.join(PAIRS)}")
        for scale in self.scales:
            if not 0 < scale <= line_flips.LARGEST:
                raise ValueError(f"scales must lie in (0, {line_flips.LARGEST:g}], got {scale}")
        for name in ("limit_width", "coefficient_width", "effort"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")


PRESETS = {
    "quick": Grid(("half_space", "quadrants"), (0.1,), ("half_space",), 0.05, 0.5, 0.01),
    "default": Grid(
        ("half_space", "quadrants", "simplicial_3", "simplicial_8", "unequal"),
        (0.05, 0.2, 1.0),
        ("half_space", "simplicial_3"),
        0.03,
        0.2,
        0.06,
    ),
    # The area under random directions is itself sampled, and not closely enough for its limit.
    "paper": Grid(tuple(name for name in PAIRS if name != "code")),
}


@dataclass(frozen=True)
class Cell:
    """One pair at one noise; 0 is the limit."""

    pair: str
    scale: float
    limit_width: float
    coefficient_width: float
    effort: float


def cells(grid: Grid) -> list[Cell]:
    """The limit of every pair, and the pairs that have rows at every noise."""
    rest = (grid.limit_width, grid.coefficient_width, grid.effort)
    found = [Cell(pair, 0.0, *rest) for pair in grid.pairs]
    return found + [Cell(pair, s, *rest) for pair in grid.point_pairs for s in grid.scales]


def cost(cell: Cell) -> float:
    """Rough seconds on one core, to start the longest cells first."""
    heavy = {"simplicial_64": 120.0, "mixture": 290.0, "code": 300.0, "high": 330.0}
    share = 1.0 if cell.scale == 0 else 0.1
    return 3 + heavy.get(cell.pair, 30.0) * share * cell.effort


def measure(cell: Cell, key: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """One row: what the pair is, then flips at s and A_W by every route, or the limit s → 0.

    A row at s comes with a histogram of the margins near zero.
    """
    pair = PAIRS[cell.pair]()
    area_key, flip_key = jax.random.split(key)
    area = _projected(area_key, pair, cell) if pair.area is None else Estimate(pair.area)
    row = {
        "modes": pair.diagram.modes,
        "latent_modes": pair.law.modes,
        "dimension": pair.law.dimension,
        "width": _unit(pair),
        "area": area,
    }
    if cell.scale == 0:
        return row | _limit_row(flip_key, pair, cell, area), {}
    point_key, measured_key = jax.random.split(flip_key)
    areas, arrays = _measured_areas(measured_key, pair, cell)
    return row | areas | _point_row(point_key, pair, cell, area), arrays


def _unit(pair: Pair) -> float:
    return float(np.min(pair.law.widths))


def _measured_areas(
    key: Any, pair: Pair, cell: Cell
) -> tuple[dict[str, Estimate], dict[str, np.ndarray]]:
    """A_W by Crofton and by margins; the density of margins, in units of the least width."""
    lines, latents = jax.random.split(key)
    law, diagram = line_flips.in_its_span(pair.law, pair.diagram)
    near = []
    for block in range(max(2, int(cell.effort * 100))):
        clean = law.sample(jax.random.fold_in(latents, block), flips.ROWS)[0]
        near.append(np.asarray(diagram.nearest_facet(clean).distance))
    count = max(256, int(cell.effort * 100_000 / law.modes))
    margins = np.concatenate(near)
    areas = {
        "area_crofton": latent_area(lines, law, diagram, lines=count),
        "area_margins": interface_area(margins),
    }
    edges = np.linspace(0.0, 1.0, 26)
    counts = np.histogram(margins / _unit(pair), edges)[0]
    bin_mass = len(margins) * np.diff(edges)
    density, sem = counts / bin_mass, np.sqrt(counts) / bin_mass
    return areas, {"margin_edges": edges, "margin_density": density, "margin_sem": sem}


def _projected(key: Any, pair: Pair, cell: Cell) -> Estimate:
    """A_W by facet projection, mode by mode: no line, no window."""
    samples = max(1000, int(cell.effort * 400_000))
    law, diagram = line_flips.in_its_span(pair.law, pair.diagram)
    weight = np.asarray(law.masses) / np.asarray(law.widths)
    parts = stack(
        [
            perimeter.facet_projection(
                jax.random.fold_in(key, mode), seen_from(law, mode, diagram), samples=samples
            )
            for mode in range(law.modes)
        ]
    )
    sem = float(np.linalg.norm(weight * parts.sem))
    return Estimate(float(weight @ parts.value), sem, 0.0, samples)


def _flips(key: Any, pair: Pair, cell: Cell, scales: np.ndarray) -> line_flips.LineFlips:
    full = 1 << 16 if pair.circles else 1 << 15
    lines = 1 << max(6, round(math.log2(full * cell.effort)))
    options: dict[str, Any] = {"lines": lines, "replicates": 64}
    if pair.circles:
        return line_flips.circle_flips(key, pair.diagram, scales, **options)
    return line_flips.line_flips(key, pair.law, pair.diagram, scales, **options)


def _point_row(key: Any, pair: Pair, cell: Cell, area: Estimate) -> dict[str, Any]:
    line_key, paired_key, latent_key, noise_key = jax.random.split(key, 4)
    scale = cell.scale * _unit(pair)
    rates = _flips(line_key, pair, cell, np.array([scale])).rates()
    raw, mean, difference = (Estimate(e.value[0], e.sem[0], 0.0, e.count) for e in rates)
    count = flips.ROWS * max(1, int(cell.effort * 100))
    paired = flips.paired_flips(paired_key, pair.law, pair.diagram, scale, samples=count)
    law = bound.tube_rate(scale, float(area.value))
    row = {"noise": scale, "law": law, "raw": raw, "mean": mean, "difference": difference}
    row["order"] = pair.order - 1
    row |= {f"paired_{name}": getattr(paired, name) for name in ("raw", "mean", "difference")}
    for name, rate in (("raw", raw), ("mean", mean)):
        row[f"ratio_{name}"] = quotient(rate, area.scaled(bound.tube_rate(scale, 1.0)))
        coefficient = getattr(pair, name)
        row[f"second_{name}"] = (
            None if coefficient is None else law + coefficient * scale**pair.order
        )
        row[f"oracle_{name}"] = getattr(pair.oracle(scale), name) if pair.oracle else None
    for schedule, name in zip(terminal.SCHEDULES, ("rectified", "preserving"), strict=True):
        row[f"time_{name}"] = terminal.time_of(schedule, scale)
    return row | _sandwiched(latent_key, noise_key, pair, scale, count // flips.ROWS)


def _sandwiched(latents: Any, noise: Any, pair: Pair, scale: float, draws: int) -> dict[str, Any]:
    """Both sides and the raw flips of the same latents, where they bound latent by latent."""
    clean = pair.law.sample(latents, flips.ROWS)[0]
    flipped = flip_rate(noise, clean, pair.diagram, scale, draws=4 * draws)
    ends = proportion_interval(flipped, FAILURE)
    lower, upper = sandwich(clean, pair.diagram, scale)
    return {
        "sandwich_lower": float(lower.value),
        "sandwich_upper": float(upper.value),
        "sandwiched": flipped,
        "sandwiched_lower": ends.lower,
        "sandwiched_upper": ends.upper,
    }


def _limit_row(key: Any, pair: Pair, cell: Cell, area: Estimate) -> dict[str, Any]:
    ratio_key, second_key = jax.random.split(key)
    scales = _unit(pair) * np.array(LADDER)
    found = _flips(ratio_key, pair, cell, scales)
    row: dict[str, Any] = {"noise": 0.0, "order": pair.order - 1}
    for name in ("raw", "mean"):
        per_scale = getattr(found, name) / (line_flips.RATE * scales)
        limit = extrapolated(scales, per_scale)
        row[f"limit_{name}"] = quotient(limit.offset, area)
        row[f"order_{name}"] = limit.exponent
        row[f"predicted_{name}"] = getattr(pair, name)
    return row | _coefficients(second_key, pair, cell)


def _coefficients(key: Any, pair: Pair, cell: Cell) -> dict[str, Any]:
    """What follows the first order as s → 0, and over its predicted value.

    With ridges the limit of what lines miss over s²; else of all beyond the first order over s³.
    """
    if pair.raw is None or pair.mean is None:
        return {}
    scales = np.tan(ANGLES) if pair.circles else _unit(pair) * np.array(STEPS[pair.order])
    # On circles in powers of ω = arctan(s), of which the missed flips are nearly a multiple of ω².
    places = np.arctan(scales) if pair.circles else scales
    found = _flips(key, pair, cell, scales)
    ridges = (found.raw_missed, found.mean_missed)
    row = {}
    for name, expected, rest in zip(
        ("raw", "mean"),
        (pair.raw, pair.mean),
        ridges if pair.order == 2 else found.excess(),
        strict=True,
    ):
        got = leading_coefficient(places, rest, pair.order, pair.order - 1)
        row[f"coefficient_{name}"] = got
        row[f"coefficient_ratio_{name}"] = got.scaled(1 / expected)
    return row
