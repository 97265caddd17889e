"""Gaussian perimeter of partitions whose perimeter is known, by every estimator (Theorem 6).

One cell is one partition and one estimator. Families: half-space, intervals (n = 1), orthants
(n = log₂M), simplicial clusters (n = M − 1), and unequal ones of masses ∝ 1, 2, …, M, where every
facet is compared by itself.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from theory import bound, perimeter
from theory.estimate import Estimate
from theory.partition import (
    PowerDiagram,
    half_space,
    intervals,
    orthants,
    simplicial_cluster,
)

THRESHOLD = 0.5  # of the half-space: off the mean, so that its perimeter is not I(1/2)
FAILURE = 1e-9
ESTIMATORS = ("crofton", "projection", "tube", "coarea", "gauss-green")
FACET_ESTIMATORS = ("crofton-facets", "projection-facets")

# Samples at effort 1, which bring the 1 − 1e-9 interval of a simplicial cluster of 256 cells to
# ±0.5% by Crofton (more lines for more cells) and ±2% by the other routes.
SAMPLES = {
    "projection": 500_000,
    "tube": 4_500_000,
    "coarea": 3_400_000,
    "gauss-green": 100_000,
    "crofton-facets": 2_000_000,
    "projection-facets": 40_000,
}
LINES_AN_E_FOLD = 750_000
RANGE = {
    "intervals": (2, 4096),
    "orthants": (2, 4096),
    "simplicial": (2, 256),
    "unequal": (3, 16),
}


@dataclass(frozen=True)
class Grid:
    """The M of each family, by which estimators, with how many samples."""

    half_space: bool = field(default=True, metadata={"help": "the two cells {x_1 ≤ ½}, {x_1 > ½}"})
    intervals: tuple[int, ...] = field(
        default=(2, 4, 16, 64, 256, 1024, 4096), metadata={"help": "M of the intervals, ≤ 4096"}
    )
    orthants: tuple[int, ...] = field(
        default=(4, 8, 16, 64, 256, 1024, 4096), metadata={"help": "M = 2^n of the orthants"}
    )
    simplicial: tuple[int, ...] = field(
        default=(2, 3, 4, 8, 16, 64, 256), metadata={"help": "M of the equal simplicial clusters"}
    )
    unequal: tuple[int, ...] = field(
        default=(3, 5, 8, 16), metadata={"help": "M of the unequal ones, 3 to 16"}
    )
    estimators: tuple[str, ...] = field(
        default=ESTIMATORS, metadata={"help": f"any of {', '.join(ESTIMATORS)}"}
    )
    effort: float = field(default=1.0, metadata={"help": "factor on every number of samples"})

    def __post_init__(self) -> None:
        """ValueError on an unknown estimator, an M that a family does not have, or no effort."""
        for name in self.estimators:
            if name not in ESTIMATORS:
                known = ", ".join(ESTIMATORS)
                raise ValueError(f"unknown estimator {name!r}: expected any of {known}")
        for family, (least, most) in RANGE.items():
            for modes in getattr(self, family):
                if not least <= modes <= most:
                    raise ValueError(f"{family} has M from {least} to {most}, got {modes}")
        if any(modes & (modes - 1) for modes in self.orthants):
            raise ValueError(f"orthants come in powers of two, got {self.orthants}")
        if not 0 < self.effort < math.inf:
            raise ValueError(f"effort must be positive and finite, got {self.effort}")


PRESETS = {
    "quick": Grid(True, (256, 4096), (4, 16), (3, 16), (5,), effort=0.02),
    "default": Grid(True, (4, 256, 4096), (4, 16, 64), (3, 16, 64, 256), (3, 8)),
    "paper": Grid(effort=4.0),
}


@dataclass(frozen=True)
class Cell:
    """One partition measured by one estimator."""

    family: str
    modes: int
    estimator: str
    effort: float


def cells(grid: Grid) -> list[Cell]:
    """Every partition of the grid by every estimator that is a route to its perimeter."""
    partitions = [("half-space", 2)] if grid.half_space else []
    for family in RANGE:
        partitions += [(family, modes) for modes in getattr(grid, family)]
    return [
        Cell(family, modes, estimator, grid.effort)
        for family, modes in partitions
        for estimator in (FACET_ESTIMATORS if family == "unequal" else grid.estimators)
        if _is_route(family, modes, estimator)
    ]


def cost(cell: Cell) -> float:
    """Rough seconds on one core, to start the longest cells first."""
    if cell.estimator == "crofton" and cell.family == "intervals":
        return 1.0
    dimension = DIMENSION[cell.family](cell.modes)
    return 1 + _samples(cell) * 1e-8 * (cell.modes + 2 * dimension)


def measure(cell: Cell, key: Any) -> dict[str, Any]:
    """One row: the estimate beside the exact perimeter and the floors."""
    diagram = _diagram(cell.family, cell.modes)
    exact = _exact(cell.family, diagram)
    total = float(exact) if np.ndim(exact) == 0 else float(np.sum(exact))
    estimate = _estimate(key, diagram, cell)
    measured = _total(estimate)
    lower, upper = measured.interval(FAILURE)
    return {
        "dimension": diagram.dimension,
        "perimeter": measured,
        "perimeter_lower": float(lower),
        "perimeter_upper": float(upper),
        "exact": total,
        "interface_floor": bound.interface_floor(cell.modes),
        "elementary_floor": bound.elementary_floor(cell.modes),
        "root_log_modes": math.sqrt(math.log(cell.modes)),
        **_facets(estimate, exact),
    }


DIMENSION: dict[str, Callable[[int], int]] = {
    "half-space": lambda modes: 3,
    "intervals": lambda modes: 1,
    "orthants": lambda modes: modes.bit_length() - 1,
    "simplicial": lambda modes: modes - 1,
    "unequal": lambda modes: modes - 1,
}


def _is_route(family: str, modes: int, estimator: str) -> bool:
    # ‖a_i − a_j‖ is one number only in these families; elsewhere Gauss–Green weighs the facets.
    if estimator == "gauss-green":
        return family in ("half-space", "simplicial")
    # Facet projection draws among all pairs: past this nearly every draw misses every facet.
    return estimator != "projection" or modes <= 256


def _diagram(family: str, modes: int) -> PowerDiagram:
    dimension = DIMENSION[family](modes)
    if family == "half-space":
        return half_space(dimension, THRESHOLD)
    if family == "intervals":
        return intervals(modes)
    if family == "orthants":
        return orthants(dimension)
    masses = np.arange(1.0, modes + 1)
    return simplicial_cluster(modes, None if family == "simplicial" else masses / masses.sum())


def _exact(family: str, diagram: PowerDiagram) -> float | np.ndarray:
    """The perimeter, or the (M, M) facets of the unequal cluster, by closed form or quadrature."""
    if family == "half-space":
        return perimeter.half_space(THRESHOLD)
    if family == "intervals":
        return perimeter.intervals(diagram.modes)
    if family == "orthants":
        return perimeter.orthants(diagram.dimension)
    if family == "simplicial":
        return perimeter.simplicial(diagram.modes)
    return perimeter.simplicial_facets(np.asarray(diagram.offsets))


def _samples(cell: Cell) -> int:
    if cell.estimator == "crofton" and cell.family == "intervals":
        return 2  # every line is the whole space
    # Past 256 cells the cost is held, not the width of the interval.
    share = cell.effort * min(1.0, 256 / cell.modes)
    if cell.estimator == "crofton":
        return max(2, int(share * LINES_AN_E_FOLD * math.log(cell.modes)))
    return max(64, int(share * SAMPLES[cell.estimator]))


def _estimate(key: Any, diagram: PowerDiagram, cell: Cell) -> Estimate:
    count = _samples(cell)
    if cell.estimator == "crofton":
        return perimeter.crofton(key, diagram, lines=count)
    if cell.estimator == "projection":
        return perimeter.facet_projection(key, diagram, samples=count)
    if cell.estimator == "tube":
        return perimeter.tube(key, diagram, samples=count)
    if cell.estimator == "coarea":
        return perimeter.coarea(key, diagram, samples=count)
    if cell.estimator == "crofton-facets":
        return perimeter.facet_areas(key, diagram, lines=count)
    if cell.estimator == "projection-facets":
        return perimeter.projected_facet_areas(key, diagram, samples=count)
    weighted = perimeter.gauss_green(key, diagram, samples=count)
    sites = np.asarray(diagram.sites)
    return weighted.scaled(1 / float(np.linalg.norm(sites[0] - sites[1])))


def _total(estimate: Estimate) -> Estimate:
    if np.ndim(estimate.value) == 0:
        return estimate
    # Facets of one line exclude or imply each other; the sum of their sems is safe either way.
    return Estimate(float(np.sum(estimate.value)), float(np.sum(estimate.sem)), 0.0, estimate.count)


def _facets(estimate: Estimate, exact: float | np.ndarray) -> dict[str, Any]:
    """How many facets, how many outside their interval, and the worst deviation in half-widths."""
    if np.ndim(estimate.value) == 0:
        return {"facets": None, "facets_outside": None, "facets_worst": None}
    pairs = np.triu_indices(len(np.asarray(exact)), 1)
    lower, upper = estimate.interval(FAILURE / len(pairs[0]))
    wanted = np.asarray(exact)[pairs]
    inside = (lower[pairs] <= wanted) & (wanted <= upper[pairs])
    worst = np.max(np.abs(estimate.value[pairs] - wanted) / ((upper - lower)[pairs] / 2))
    return {
        "facets": len(pairs[0]),
        "facets_outside": int((~inside).sum()),
        "facets_worst": float(worst),
    }
