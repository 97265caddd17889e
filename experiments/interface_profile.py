"""How little boundary M equal cells can have in R^n: the phase diagram of Theorem 6.

One cell is one (M, n): the best partition of several searches, its perimeter on lines of its own,
the sharp floor at the masses as measured, and the laws that it is compared with. The orthants, of
known perimeter, are the family that leaves the large-n band.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from theory import bound, perimeter
from theory.balance import Certificate
from theory.estimate import Estimate
from theory.minimal import Found, minimal
from theory.partition import orthants

FAILURE = 1e-9
FAMILIES = ("best", "orthants")
MOST = 4096


@dataclass(frozen=True)
class Grid:
    """The (M, n) that are searched."""

    line: tuple[int, ...] = field(
        default=tuple(2**k for k in range(1, 13)), metadata={"help": "M at n = 1"}
    )
    fixed_dimensions: tuple[int, ...] = field(default=(2, 3, 4), metadata={"help": "fixed n"})
    fixed: tuple[int, ...] = field(
        default=tuple(2**k for k in range(1, 11)), metadata={"help": "M at the fixed n"}
    )
    large_dimension: int = field(default=256, metadata={"help": "the large n"})
    large: tuple[int, ...] = field(
        default=tuple(2**k for k in range(1, 13)), metadata={"help": "M at the large n"}
    )
    crossover_dimensions: tuple[int, ...] = field(
        default=(2, 3, 4, 6, 8, 12, 16, 24, 32, 64), metadata={"help": "n of the crossover"}
    )
    crossover: tuple[int, ...] = field(
        default=(4, 16, 64, 256, 1024, 4096), metadata={"help": "M of the crossover"}
    )
    orthants: tuple[int, ...] = field(
        default=tuple(range(2, 13)), metadata={"help": "n of the orthants, ≤ 12"}
    )
    effort: float = field(
        default=1.0, metadata={"help": "factor on lines and iterations of the searches"}
    )

    def __post_init__(self) -> None:
        """ValueError on M or n out of range, or no effort."""
        for name in ("line", "fixed", "large", "crossover"):
            for modes in getattr(self, name):
                if not 2 <= modes <= MOST:
                    raise ValueError(f"{name} has M from 2 to {MOST}, got {modes}")
        for name in ("fixed_dimensions", "crossover_dimensions", "orthants"):
            for dimension in getattr(self, name):
                if dimension < 1:
                    raise ValueError(f"{name} has n ≥ 1, got {dimension}")
        if max(self.orthants, default=1) > 12:
            raise ValueError(f"orthants have n ≤ 12 here, got {max(self.orthants)}")
        if not self.large_dimension >= 1:
            raise ValueError(f"the large dimension is ≥ 1, got {self.large_dimension}")
        if not 0 < self.effort < math.inf:
            raise ValueError(f"effort must be positive and finite, got {self.effort}")


PRESETS = {
    "quick": Grid((4, 64), (2,), (64,), 3, (4,), (8,), (16,), (2, 7), effort=0.1),
    "default": Grid(
        (2, 8, 64, 256, 1024, 4096),
        (2, 3, 4),
        (8, 16, 32, 64, 128, 256),
        256,
        (4, 16),
        (8, 16),
        (16, 64, 256),
        (2, 4, 6, 8, 10),
        effort=0.2,
    ),
    "paper": Grid(effort=0.5),
}


@dataclass(frozen=True)
class Cell:
    """One search, or one set of orthants."""

    family: str
    modes: int
    dimension: int
    effort: float


def cells(grid: Grid) -> list[Cell]:
    """Every (M, n) of the grid once."""
    pairs = [(modes, 1) for modes in grid.line]
    pairs += [(modes, n) for n in grid.fixed_dimensions for modes in grid.fixed]
    pairs += [(modes, grid.large_dimension) for modes in grid.large]
    pairs += [(modes, n) for n in grid.crossover_dimensions for modes in grid.crossover]
    searched = [Cell("best", *pair, grid.effort) for pair in dict.fromkeys(pairs)]
    return searched + [Cell("orthants", 2**n, n, grid.effort) for n in grid.orthants]


def cost(cell: Cell) -> float:
    """Rough seconds on one core, to start the longest cells first."""
    if cell.dimension == 1 or cell.family == "orthants":
        return 1.0
    return 5 + cell.effort * cell.modes * 0.3


def measure(cell: Cell, key: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """One row, and the sites and offsets of the best partition and the sites of every start."""
    found = _orthants(cell) if cell.family == "orthants" else _best(key, cell)
    masses = np.maximum(found.certificate.masses.value, 1e-12)
    floor = bound.interface_floor(cell.modes)
    measured_floor = bound.unequal_floor(masses / masses.sum())[0]
    penalty = found.perimeter.scaled(1 / measured_floor)
    ends = found.perimeter.interval(FAILURE)
    row = {
        "perimeter": found.perimeter,
        "perimeter_lower": float(ends.lower),
        "perimeter_upper": float(ends.upper),
        "found_by": found.found_by,
        "trials": len(found.trials),
        "mass_error": found.certificate.worst_relative_error,
        "mass_error_upper": found.certificate.upper,
        "interface_floor": floor,
        "measured_floor": measured_floor,
        "floor_drop": 1 - measured_floor / floor,
        "penalty": penalty,
        "penalty_lower": float(penalty.interval(FAILURE).lower),
        "penalty_upper": float(penalty.interval(FAILURE).upper),
        **_laws(cell.modes, cell.dimension),
    }
    arrays = {f"start: {name}": sites for name, sites in found.starts.items()}
    diagram = found.diagram
    return row, {
        "sites": np.asarray(diagram.sites),
        "offsets": np.asarray(diagram.offsets),
        **arrays,
    }


def _best(key: Any, cell: Cell) -> Found:
    return minimal(key, cell.modes, cell.dimension, effort=cell.effort)


def _orthants(cell: Cell) -> Found:
    """The orthants, whose masses are equal and whose perimeter is known exactly."""
    law = Estimate(np.full(cell.modes, 1 / cell.modes))
    area = Estimate(perimeter.orthants(cell.dimension))
    return Found(orthants(cell.dimension), Certificate(0.0, 0.0, law), area, "exact", {}, {})


def _laws(modes: int, dimension: int) -> dict[str, Any]:
    """Everything that P is compared with, from closed forms."""
    rate = math.log(modes) / dimension
    lower, upper = bound.large_dimension_band(rate)
    fixed = dimension <= 4
    return {
        "elementary_floor": bound.elementary_floor(modes),
        "fixed_n": bound.fixed_dimension_law(modes, dimension) if fixed else None,
        "ball_floor": bound.ball_law(modes, dimension) if 2 <= dimension <= 4 else None,
        "rate": rate,
        "band_lower": lower,
        "band_upper": upper,
        "root_log_modes": math.sqrt(math.log(modes)),
    }
