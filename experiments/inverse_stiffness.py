"""Leak against stiffness: the 1/Λ law, maps that attain it, and maps that were trained (Theorem 5).

One cell is one map. Families: `sparsemax` of Λx on R^M, whose leak is known exactly; the map of
signed distances of a partition (`intervals`, `orthants`, `balanced` random sites, `best` found by a
search), beside sparsemax of its raw scores; certified networks, `trained`.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from theory import bound
from theory.leak import Leak, leak
from theory.transport import Schedule, SparsemaxMap, certified, line_leak, sparsemax_leak

from experiments import sharp_maps
from experiments.store import Checkpoint
from experiments.training import Recipe, sampled_stretch, trained, weights_of

CHECKPOINTS = True
FAILURE = 1e-9
BARRIER = math.sqrt(2)  # κ of the vertices of the simplex
SCHEDULE = Schedule(rate=1e-2)
ENTRIES, MOST = 24_000_000, 1 << 20  # numbers and samples drawn for `sparsemax` at effort 1
SAMPLES = 1_600_000  # of a trained map


@dataclass(frozen=True)
class Grid:
    """Which maps at which Λ."""

    sparsemax: tuple[int, ...] = field(
        default=(2, 4, 16, 64, 256), metadata={"help": "M of sparsemax on R^M"}
    )
    stiffness: tuple[float, ...] = field(
        default=(4.0, 8.0, 16.0, 32.0, 64.0, 128.0), metadata={"help": "its Λ"}
    )
    partitions: tuple[str, ...] = field(
        default=(
            "intervals 4 1",
            "orthants 4 2",
            "balanced 16 2",
            "balanced 64 8",
            "intervals 3 1",
            "intervals 8 1",
            "orthants 8 3",
            "best 4 2",
            "best 8 2",
            "best 8 3",
        ),
        metadata={"help": "'FAMILY M n' of the maps of signed distances"},
    )
    partition_stiffness: tuple[float, ...] = field(
        default=(4.0, 16.0, 64.0), metadata={"help": "their Λ"}
    )
    trained: tuple[int, ...] = field(
        default=(2, 3, 4, 8, 16), metadata={"help": "M of networks trained at n = M"}
    )
    trained_stiffness: tuple[float, ...] = field(
        default=(4.0, 16.0, 64.0), metadata={"help": "their Λ"}
    )
    radius: float = field(default=0.0, metadata={"help": "of the modes of trained maps, < √2/2"})
    restarts: int = field(default=2, metadata={"help": "trainings from different weights"})
    steps: int = field(default=6000, metadata={"help": "of a training"})
    effort: float = field(default=1.0, metadata={"help": "factor on numbers of samples"})

    def __post_init__(self) -> None:
        """ValueError on numbers out of range, or a partition that is not there."""
        for name in ("sparsemax", "trained"):
            for modes in getattr(self, name):
                if not 2 <= modes <= 1024:
                    raise ValueError(f"{name} has M from 2 to 1024, got {modes}")
        for name in ("stiffness", "partition_stiffness", "trained_stiffness"):
            for value in getattr(self, name):
                if not 0 < value < math.inf:
                    raise ValueError(f"{name} must be positive and finite, got {value}")
        for words in self.partitions:
            sharp_maps.parsed(words)
        if not 0 <= self.radius < math.sqrt(0.5):
            raise ValueError(f"overlapping modes: 0 ≤ radius < √2/2, got {self.radius}")
        if self.restarts < 1 or self.steps < 1:
            raise ValueError(f"restarts and steps are ≥ 1, got {self.restarts}, {self.steps}")
        if not 0 < self.effort < math.inf:
            raise ValueError(f"effort must be positive and finite, got {self.effort}")


PRESETS = {
    "quick": Grid(
        (2, 16), (4.0, 32.0), ("orthants 4 2",), (16.0,), (2,), (16.0,), 0.0, 1, 500, 0.2
    ),
    "default": Grid(
        stiffness=(4.0, 16.0, 128.0),
        partitions=("intervals 4 1", "orthants 4 2", "balanced 16 2"),
        partition_stiffness=(16.0,),
        trained=(2, 4, 8),
        trained_stiffness=(16.0,),
        restarts=1,
        steps=1500,
        effort=0.8,
    ),
    "paper": Grid(effort=2.0),
}


@dataclass(frozen=True)
class Cell:
    """One map."""

    family: str
    modes: int
    dimension: int
    stiffness: float
    restart: int
    radius: float
    steps: int
    effort: float


def cells(grid: Grid) -> list[Cell]:
    """Every map of the grid."""
    found = [
        Cell("sparsemax", modes, modes, stiffness, 0, 0.0, 0, grid.effort)
        for modes in grid.sparsemax
        for stiffness in grid.stiffness
    ]
    found += [
        Cell(*sharp_maps.parsed(words), stiffness, 0, 0.0, 0, grid.effort)
        for words in grid.partitions
        for stiffness in grid.partition_stiffness
    ]
    rest = (grid.radius, grid.steps, grid.effort)
    return found + [
        Cell("trained", modes, modes, stiffness, restart, *rest)
        for modes in grid.trained
        for stiffness in grid.trained_stiffness
        for restart in range(grid.restarts)
    ]


def cost(cell: Cell) -> float:
    """Rough seconds on one core, to start the longest cells first."""
    if cell.family == "trained":
        return 4 + 0.002 * cell.steps + 2 * cell.effort
    heavy = {"balanced": 10.0, "best": 8.0, "sparsemax": 2.0}
    return 1 + heavy.get(cell.family, 2.0) * cell.effort


def measure(
    cell: Cell, key: Any, checkpoint: Checkpoint | None = None
) -> dict[str, Any] | tuple[dict[str, Any], dict[str, np.ndarray]]:
    """One row; a trained map comes with its weights and losses."""
    if cell.family == "sparsemax":
        return _sparsemax_row(cell, key)
    if cell.family == "trained":
        return _trained_row(cell, key, checkpoint)
    found, corner, columns = sharp_maps.measured(
        key, cell.family, cell.modes, cell.dimension, cell.stiffness, cell.effort
    )
    return _common(cell, found, BARRIER, max(1.0, corner) * cell.stiffness) | columns


def _sparsemax_row(cell: Cell, key: Any) -> dict[str, Any]:
    samples = max(1000, int(cell.effort * min(MOST, ENTRIES / cell.modes)))
    transport = SparsemaxMap(cell.stiffness)
    found = leak(
        key, transport, np.eye(cell.modes), radius=0.0, samples=samples, dimension=cell.modes
    )
    return _common(cell, found, BARRIER, cell.stiffness)


def _common(cell: Cell, found: Leak, barrier: float, stiffness: float) -> dict[str, Any]:
    """The leak beside everything it is compared with; `stiffness` is what is certified."""
    interval = found.leak_interval(FAILURE)
    masses = np.asarray(found.masses.value)
    # Σ Φ(Φ⁻¹(m_i) + κ/2Λ) rises with every mass: its lower end is at their lower ends.
    least = bound.core_sum(found.mass_intervals(FAILURE).lower, stiffness, barrier)
    area = _reference(masses)
    scale = stiffness / (barrier * area)
    first, second = bound.leak_expansion(cell.modes)
    stretched = BARRIER / barrier * cell.stiffness
    exact = sparsemax_leak(cell.modes, stretched)
    # The simplicial tube at these masses, to first order in their difference from 1/M.
    simplicial = exact * area / bound.interface_floor(cell.modes)
    return {
        "barrier": barrier,
        "leak": found.leak,
        "leak_lower": interval.lower,
        "leak_upper": interval.upper,
        "exact": exact,
        "asymptote": first / stretched,
        "two_term": first / stretched - second / stretched**2,
        "leak_floor": bound.leak_floor(cell.modes, stiffness, barrier),
        "core_sum": bound.core_sum(masses, stiffness, barrier),
        "core_sum_lower": least,
        "mass_error": float(np.abs(masses * len(masses) / masses.sum() - 1).max()),
        "ratio": found.leak.scaled(scale),
        "ratio_lower": interval.lower * scale,
        "ratio_upper": interval.upper * scale,
        "over_simplicial": found.leak.scaled(1 / simplicial),
        "over_simplicial_lower": interval.lower / simplicial,
        "over_simplicial_upper": interval.upper / simplicial,
    }


def _reference(masses: np.ndarray) -> float:
    """P_S of the measured masses, normalised."""
    positive = np.maximum(masses, 1e-12)
    return bound.unequal_floor(positive / positive.sum())[0]


def _trained_row(
    cell: Cell, key: Any, checkpoint: Checkpoint | None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    fit_key, leak_key, stretch_key = jax.random.split(key, 3)
    schedule = SCHEDULE._replace(steps=cell.steps)
    recipe = Recipe(cell.modes, cell.dimension, cell.stiffness, cell.radius, schedule)
    network, losses = trained(fit_key, recipe, checkpoint)
    found = leak(
        leak_key,
        network,
        np.eye(cell.modes, dtype=np.float32),
        radius=cell.radius,
        samples=max(1000, int(SAMPLES * cell.effort)),
        dimension=cell.dimension,
    )
    stiffness, barrier = certified(network), BARRIER - 2 * cell.radius
    norms, most = sampled_stretch(stretch_key, network)
    row = _common(cell, found, barrier, stiffness) | {
        "certified": stiffness,
        "sampled_max": most,
        "certified_over_sampled": stiffness / most,
        "stretch_mean": norms.mean,
        "stretch_mean_square": norms.mean_square,
        "stretch_median": float(norms.quantiles[0]),
        "stretch_99": float(norms.quantiles[2]),
        "line_leak": line_leak(cell.modes, cell.stiffness, barrier),
        "first_loss": float(losses[0]),
        "last_loss": float(losses[-1]),
    }
    return row, {"losses": losses, **weights_of(network)}
