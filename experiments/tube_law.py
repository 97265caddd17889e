"""The tube law: flips of raw noise and posterior mean against √(2/π)·s·A_W and beyond (Theorem 3).

A cell is a latent law with a readout, at one noise s, or, at s = 0, the limit s → 0: the ratio to
the law extrapolated with a fitted order, and the coefficient of what follows the first order. s is
in units of the latents' least width. Flips are measured along random lines or circles
(`theory.line_flips`); the predicted side is closed forms, quadrature or facet projection.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from theory import bound, flip_law, flips, line_flips, perimeter, terminal
from theory.estimate import Estimate, proportion_interval, quotient, stack
from theory.extrapolation import extrapolated, leading_coefficient
from theory.latent_area import latent_area, seen_from
from theory.mixture import Mixture, code
from theory.partition import PowerDiagram, half_space, orthants, random_code, simplicial_cluster
from theory.tube import flip_rate, interface_area, sandwich

FAILURE = 1e-9
LADDER = (0.005, 0.01, 0.02, 0.04, 0.08)  # s of the extrapolation
ANGLES = (0.2, 0.4, 0.6)  # arctan(s) of second order on circles, where it is flattest
STEPS = {2: (0.1, 0.2, 0.4), 3: (0.1, 0.2, 0.3, 0.4)}  # s of second order elsewhere, by its power
OFFSET = 0.7  # c of the half-space


@dataclass(frozen=True)
class Pair:
    """Latents and readout, with what is known of them.

    `area` and the coefficients of s^order are predicted; None where no closed form is at hand.
    """

    law: Mixture
    diagram: PowerDiagram
    order: int = 2
    area: float | None = None
    raw: float | None = None
    mean: float | None = None
    oracle: Callable[[float], flip_law.Flips] | None = None
    circles: bool = False


def _half_space() -> Pair:
    law, third = _standard(1), flip_law.facet_third_order(_standard(1), OFFSET)
    oracle = functools.partial(flip_law.half_space_flips, threshold=OFFSET)
    area = perimeter.half_space(OFFSET)
    return Pair(law, half_space(1, OFFSET), 3, area, third.raw, third.mean, oracle)


def _quadrants() -> Pair:
    second = flip_law.orthant_second_order(2)
    alike = lambda s: flip_law.Flips(*2 * (flip_law.orthant_flips(2, s),))  # noqa: E731
    area = perimeter.orthants(2)
    return Pair(_standard(2), orthants(2), 2, area, second, second, alike, True)


def _simplicial(modes: int) -> Pair:
    second = flip_law.simplicial_second_order(modes)
    alike = lambda s: flip_law.Flips(*2 * (flip_law.simplicial_flips(modes, s),))  # noqa: E731
    diagram, area = simplicial_cluster(modes), bound.interface_floor(modes)
    return Pair(_standard(modes - 1), diagram, 2, area, second, second, alike, True)


def _equidistant(law: Mixture, diagram: PowerDiagram) -> Pair:
    area, second = flip_law.equidistant_interface(law, diagram)
    return Pair(law, diagram, 2, area, second, second)


def _unequal() -> Pair:
    return _equidistant(_standard(3), simplicial_cluster(4, [0.5, 0.25, 0.15, 0.1]))


def _narrow() -> Pair:
    """One Gaussian of width 0.6 off the centre of an uneven readout."""
    law = Mixture(np.array([[0.3, -0.2, 0.1, 0.2]]), 0.6)
    return _equidistant(law, PowerDiagram(simplicial_cluster(5).sites, [0.3, -0.2, 0.0, 0.1, 0.2]))


def _mixture() -> Pair:
    """Eight modes of uneven widths and masses in R^8, nine cells of uneven offsets."""
    masses = np.arange(4.0, 12.0)
    law = Mixture(_code(8, 8, 2.0), np.linspace(0.7, 1.2, 8), masses / masses.sum())
    offsets = 0.4 * np.cos(np.arange(9.0))
    return _equidistant(law, PowerDiagram(1.7 * simplicial_cluster(9).sites, offsets))


def _high() -> Pair:
    """Six modes in R^256, eight cells whose sites lie askew in it."""
    frame = np.linalg.qr(np.random.default_rng(1).normal(size=(256, 7)))[0]
    sites = np.asarray(simplicial_cluster(8).sites) @ frame.T
    return _equidistant(Mixture(_code(6, 256, 2.0), 1.0), PowerDiagram(sites))


def _code_readout() -> Pair:
    """Sixteen modes in R^8, read out by sixteen random directions."""
    readout = random_code(jax.random.key(12), 16, 8)
    return Pair(Mixture(_code(16, 8, 2.0), 1.0), readout)


def _standard(dimension: int) -> Mixture:
    return Mixture(np.zeros((1, dimension)), 1.0)


def _code(modes: int, dimension: int, radius: float) -> np.ndarray:
    return np.asarray(code(jax.random.key(11), modes, dimension, radius), np.float64)


PAIRS: dict[str, Callable[[], Pair]] = {
    "half_space": _half_space,
    "quadrants": _quadrants,
    "simplicial_3": functools.partial(_simplicial, 3),
    "simplicial_8": functools.partial(_simplicial, 8),
    "simplicial_64": functools.partial(_simplicial, 64),
    "unequal": _unequal,
    "narrow": _narrow,
    "mixture": _mixture,
    "high": _high,
    "code": _code_readout,
}


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
