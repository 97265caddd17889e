"""Where the tube law stops: flips over √(2/π)·s·A_W from overlapping to separate modes (Theorem 3).

Modes are a random code of norm √n, the readout is their Voronoi diagram. Families: `map`, one
width τ and one noise s; `place`, the τ and s of a code at which, were every pair of modes alone,
s·A_W and the ratio have given values (those that the paper reports); `rare`, the τ at which, were
every pair alone, a given rate flips.

Measured: A_W by draws on hyperplanes, flips by importance sampling. Predicted: `theory.crossover`,
which sees distances of modes and nothing else.
"""

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from scipy import optimize
from theory import bound, crossover, mixture
from theory.estimate import quotient
from theory.partition import PowerDiagram
from theory.rare import RareFlips, RareRate, rare_flips
from theory.rare_area import facet_area

DRAWS, ON_PLANES = 1 << 14, 200_000  # of flips and of A_W at effort 1
# Below that separation few hyperplanes are facets: (OVERLAP/separation)⁴ times the draws, at most
# MORE times.
OVERLAP, MORE = 2.0, 16.0


def parsed(words: str) -> tuple[int, int]:
    """'M n' as two numbers, or ValueError."""
    parts = words.split()
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise ValueError(f"a code is 'M n', got {words!r}")
    modes, dimension = map(int, parts)
    if not 2 <= modes <= 256 or dimension < 1 or (dimension == 1 and modes > 2):
        raise ValueError(f"a code has 2 ≤ M ≤ 256, and M = 2 in R^1, got {words!r}")
    return modes, dimension


@dataclass(frozen=True)
class Grid:
    """Which codes, widths and noises."""

    codes: tuple[str, ...] = field(
        default=("16 8", "64 16"), metadata={"help": "'M n' of the modes of the map"}
    )
    widths: tuple[float, ...] = field(
        default=(1.0, 0.7, 0.5, 0.4, 0.3, 0.25, 0.2),
        metadata={"help": "τ"},
    )
    scales: tuple[float, ...] = field(
        default=(0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6), metadata={"help": "s"}
    )
    radius: float = field(default=1.0, metadata={"help": "norm of the modes over √n"})
    restarts: int = field(default=1, metadata={"help": "codes of every M and n"})
    places: tuple[str, ...] = field(
        default=("2 1", "16 8", "64 16"), metadata={"help": "'M n' of codes put at `reported`"}
    )
    reported: tuple[float, float, float] = field(
        default=(1.0, 0.032, 2.3), metadata={"help": "s, A_W in the units of s, and the ratio"}
    )
    rare: tuple[str, ...] = field(
        default=("64 16", "64 128"), metadata={"help": "'M n' whose flips are rare"}
    )
    rate: float = field(default=1e-6, metadata={"help": "their rate, were every pair alone"})
    noise: float = field(default=0.25, metadata={"help": "their s/τ"})
    effort: float = field(default=1.0, metadata={"help": "factor on numbers of samples"})

    def __post_init__(self) -> None:
        """ValueError on numbers out of range."""
        for words in (*self.codes, *self.places, *self.rare):
            parsed(words)
        for name in ("widths", "scales", "radius", "reported", "rate", "noise", "effort"):
            for value in np.atleast_1d(getattr(self, name)).tolist():
                if not 0 < value < math.inf:
                    raise ValueError(f"{name} must be positive and finite, got {value}")
        if not self.rate < 0.1:
            raise ValueError(f"a rare rate is below 0.1, got {self.rate}")
        if self.restarts < 1:
            raise ValueError(f"restarts must be ≥ 1, got {self.restarts}")


PRESETS = {
    "quick": Grid(("4 3",), (1.0, 0.4), (0.05, 0.4), places=(), rare=("4 3",), effort=0.5),
    "default": Grid(
        ("16 8",), (1.0, 0.5, 0.3, 0.2), (0.05, 0.2, 0.8), places=("16 8",), rare=("64 16",)
    ),
    "paper": Grid(effort=4.0),
}


@dataclass(frozen=True)
class Cell:
    """One code with its width and noise; 0 where they are found from the rest."""

    family: str
    modes: int
    dimension: int
    restart: int
    radius: float
    width: float
    scale: float
    area: float
    ratio: float
    rate: float
    noise: float
    effort: float


def cells(grid: Grid) -> list[Cell]:
    """Every point of the map, the places, and the rare ones."""
    found = [
        Cell("map", *parsed(words), restart, *lengths, 0.0, 0.0, 0.0, 0.0, grid.effort)
        for words in grid.codes
        for restart in range(grid.restarts)
        for lengths in itertools.product((grid.radius,), grid.widths, grid.scales)
    ]
    scale, area, ratio = grid.reported
    blank = (0.0, 0.0, 0.0, 0.0)
    found += [
        Cell(
            "place", *parsed(words), 0, grid.radius, 0.0, scale, area, ratio, 0.0, 0.0, grid.effort
        )
        for words in grid.places
    ]
    return found + [
        Cell("rare", *parsed(words), 0, grid.radius, *blank, grid.rate, grid.noise, grid.effort)
        for words in grid.rare
    ]


def cost(cell: Cell) -> float:
    """Rough seconds on one core, to start the longest cells first."""
    return 1 + cell.effort * (0.3 + cell.modes * (cell.dimension + 40) / 3000)


def measure(cell: Cell, key: Any) -> dict[str, Any]:
    """One row."""
    flip_key, area_key = jax.random.split(key)
    means = _code(cell)
    width, scale = _lengths(cell, half_distances(means))
    latents, readout = mixture.Mixture(means, width), PowerDiagram(means)
    separation = float(latents.separation())
    samples = cell.effort * DRAWS * min(MORE, max(1.0, (OVERLAP / separation) ** 4))
    flips = rare_flips(flip_key, latents, readout, scale, samples=max(1000, int(samples)))
    row = {"separation": separation, "latent_width": width, "latent_scale": scale}
    row |= _rates(flips) | _predicted(half_distances(means), width, scale)
    if cell.family == "rare":
        return row
    on_planes = max(1000, int(cell.effort * ON_PLANES))
    area = facet_area(area_key, latents, readout, samples=on_planes)
    law = area.scaled(bound.tube_rate(scale, 1.0))
    return row | {
        "interface": area,
        "scaled_area": area.scaled(scale),
        "raw_ratio": quotient(flips.raw.rate, law),
        "mean_ratio": quotient(flips.mean.rate, law),
    }


def half_distances(means: np.ndarray) -> np.ndarray:
    """½‖a_i − a_j‖."""
    return np.linalg.norm(means[:, None] - means, axis=-1) / 2


def _code(cell: Cell) -> np.ndarray:
    """The same modes for every τ and s; in R^1 two opposite ones."""
    if cell.dimension == 1:
        return cell.radius * np.array([[-1.0], [1.0]])
    radius = cell.radius * math.sqrt(cell.dimension)
    key = jax.random.fold_in(jax.random.key(cell.modes), cell.dimension)
    key = jax.random.fold_in(key, cell.restart)
    return np.asarray(mixture.code(key, cell.modes, cell.dimension, radius), np.float64)


def _lengths(cell: Cell, halves: np.ndarray) -> tuple[float, float]:
    """τ and s: as given, or where the sum over pairs has the values asked for."""
    if cell.family == "map":
        return cell.width, cell.scale
    if cell.family == "rare":

        def rate(width: float) -> float:
            flips, _, _ = _alone(halves, width, cell.noise * width)
            return math.log(flips / cell.rate)

        span = float(halves.max()) / np.array([30.0, 1.0])
        width = float(optimize.brentq(rate, *span, xtol=1e-6))
        return width, cell.noise * width
    return _placed(halves, cell.scale * cell.area, cell.ratio)


def _placed(halves: np.ndarray, scaled_area: float, ratio: float) -> tuple[float, float]:
    """The largest τ at which s·A_W and the ratio of the sum over pairs are these, and s."""

    def noise(width: float) -> float:
        return scaled_area / _alone(halves, width, width)[1]

    def excess(width: float) -> float:
        flips, _, _ = _alone(halves, width, noise(width))
        return flips / bound.tube_rate(1.0, scaled_area) - ratio

    widths = halves.max() * np.geomspace(1.0, 0.05, 40)
    above = next(k for k, width in enumerate(widths.tolist()) if excess(width) > 0)
    width = float(optimize.brentq(excess, widths[above], widths[above - 1]))
    return width, noise(width)


def _alone(halves: np.ndarray, width: float, scale: float) -> tuple[float, float, float]:
    return crossover.pair_sum(halves, width, scale, np.full(len(halves), 1 / len(halves)))


def _rates(flips: RareFlips) -> dict[str, Any]:
    """Both rates; sem and what a count of the same number of plain draws would have, over value."""
    row: dict[str, Any] = {}
    for name, found in (("raw", flips.raw), ("mean", flips.mean)):
        rate: RareRate = found
        value, samples = float(rate.rate.value), int(rate.rate.count)
        row[name] = rate.rate
        row[f"{name}_relative_sem"] = float(rate.rate.sem) / value
        row[f"{name}_plain_sem"] = math.sqrt(max(1 / value - 1, 0) / samples)
        row[f"{name}_effective"] = rate.effective
        row[f"{name}_largest"] = rate.largest
    return row


def _predicted(halves: np.ndarray, width: float, scale: float) -> dict[str, float]:
    """Were every pair alone: rate, ratio; λ of the facets, and its scaling function."""
    flips, area, half = _alone(halves, width, scale)
    strain = crossover.strain(half, width, scale)
    return {
        "pair_rate": flips,
        "pair_area": area,
        "pair_ratio": flips / bound.tube_rate(scale, area),
        "half_distance": half,
        "strain": strain,
        "departure": crossover.departure(strain),
    }
