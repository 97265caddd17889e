"""What B levels buy and cost: peak stiffness and its price for M = m^B modes (Theorem 7).

One cell is one (M, B). At a fixed leak ε of every step the peak falls; at a fixed leak of the whole
each step may leak only about ε/B, and the steps are stiffer. Families: `block` and `nested`, by
construction, and `trained`, level by level.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from theory import bound
from theory.check import branching
from theory.estimate import Estimate
from theory.hierarchy import Hierarchy, level_leaks, sparsemax_hierarchy, step_leak, total_leak
from theory.leak import leads, reaching_stiffness
from theory.stiffness import operator_norms
from theory.transport import Schedule, certified, sparsemax_stiffness
from theory.tube import interface_area

from experiments.store import Checkpoint
from experiments.training import Features, Recipe, trained, weights_of

CHECKPOINTS = True
FAILURE = 1e-9
BARRIER = math.sqrt(2)  # κ of the vertices of the simplex
RATIO = 0.4  # ρ of the nested hierarchies
SCHEDULE = Schedule(rate=1e-2)
SAMPLES = 800_000  # of the leads of m branches at effort 1
ENTRIES = 1 << 29  # numbers drawn for the leads of M modes at once, at most
FAMILIES = ("block", "nested", "trained")


def _parsed(words: str) -> tuple[int, int]:
    numbers = words.split()
    if len(numbers) != 2 or not all(n.isdigit() for n in numbers):
        raise ValueError(f"a hierarchy is 'M B', got {words!r}")
    modes, depth = map(int, numbers)
    branching(modes, depth)
    return modes, depth


@dataclass(frozen=True)
class Grid:
    """Which hierarchies, as 'M B'."""

    block: tuple[str, ...] = field(
        default=("4096 1", "4096 2", "4096 3", "4096 4", "64 1", "64 2", "64 3", "16 1", "16 2"),
        metadata={"help": "'M B' of block hierarchies; B = 1 is one step"},
    )
    nested: tuple[str, ...] = field(
        default=("4096 2", "4096 3", "4096 4"), metadata={"help": "'M B' of nested hierarchies"}
    )
    trained: tuple[str, ...] = field(
        default=("16 1", "16 2", "64 1", "64 2", "64 3"),
        metadata={"help": "'M B' of trained hierarchies"},
    )
    leak: float = field(default=0.1, metadata={"help": "ε, of a step or of the whole"})
    steps: int = field(default=6000, metadata={"help": "of the training of a level"})
    effort: float = field(default=1.0, metadata={"help": "factor on numbers of samples"})

    def __post_init__(self) -> None:
        """ValueError when M ≠ m^B, or numbers out of range."""
        for name in FAMILIES:
            for words in getattr(self, name):
                _parsed(words)
        if not 0 < self.leak < 1:
            raise ValueError(f"leak must lie in (0, 1), got {self.leak}")
        if self.steps < 1:
            raise ValueError(f"steps are ≥ 1, got {self.steps}")
        if not 0 < self.effort < math.inf:
            raise ValueError(f"effort must be positive and finite, got {self.effort}")


PRESETS = {
    "quick": Grid(("64 2",), ("64 2",), ("4 2",), steps=300, effort=0.05),
    "default": Grid(
        ("4096 1", "4096 2", "4096 3", "4096 4", "16 1", "16 2"),
        ("4096 3",),
        ("16 2",),
        steps=1500,
        effort=0.5,
    ),
    "paper": Grid(effort=2.0),
}


@dataclass(frozen=True)
class Cell:
    """One hierarchy."""

    family: str
    modes: int
    depth: int
    leak: float
    steps: int
    effort: float


def cells(grid: Grid) -> list[Cell]:
    """Every hierarchy of the grid."""
    return [
        Cell(
            family,
            *_parsed(words),
            grid.leak,
            grid.steps if family == "trained" else 0,
            grid.effort,
        )
        for family in FAMILIES
        for words in getattr(grid, family)
    ]


def cost(cell: Cell) -> float:
    """Rough seconds on one core, to start the longest cells first."""
    if cell.family == "trained":
        return cell.depth * (4 + cell.steps * 0.002)
    return 4 + cell.effort * cell.modes ** (1 / cell.depth) * 0.02


def measure(
    cell: Cell, key: Any, checkpoint: Checkpoint | None = None
) -> dict[str, Any] | tuple[dict[str, Any], dict[str, np.ndarray]]:
    """One row; trained levels come with their weights and losses."""
    if cell.family == "trained":
        return _trained(cell, key, checkpoint)
    ratio = RATIO if cell.family == "nested" else None
    lead_key, leak_key, norm_key = jax.random.split(key, 3)
    branches = branching(cell.modes, cell.depth)
    row = _laws(cell) | _from_leads(lead_key, _identity, branches, cell)
    peak = row["step_stiffness"]
    hierarchy = sparsemax_hierarchy(cell.modes, cell.depth, peak, ratio)
    return row | _leaks(leak_key, norm_key, hierarchy, cell)


def _laws(cell: Cell) -> dict[str, Any]:
    """Exact Λ of one step and of a level, and the limits of their ratios as ε → 0."""
    branches = branching(cell.modes, cell.depth)
    once = sparsemax_stiffness(cell.modes, cell.leak)
    level = sparsemax_stiffness(branches, cell.leak)
    careful = sparsemax_stiffness(branches, step_leak(cell.leak, cell.depth))
    return {
        "branches": branches,
        "once_exact": once,
        "level_exact": level,
        "careful_exact": careful,
        "peak_ratio_exact": once / level,
        "price_exact": careful / once,
        "peak_ratio_limit": bound.peak_ratio(cell.modes, cell.depth),
        "price_limit": bound.price_ratio(cell.modes, cell.depth),
        "root_depth": math.sqrt(cell.depth),
        "branch_floor": bound.interface_floor(branches),
        "interface_floor": bound.interface_floor(cell.modes),
        "total_leak_exact": total_leak(cell.leak, cell.depth),
    }


def _identity(x: Any) -> Any:
    """g of sparsemax(Λx)."""
    return x


def _from_leads(
    key: Any, features: Any, branches: int, cell: Cell, lipschitz: float = 1.0
) -> dict[str, Any]:
    """Λ of a level at a fixed leak of the step and of the whole, and the level's interface."""
    samples = max(20_000, int(min(SAMPLES, ENTRIES / branches) * cell.effort))
    found = leads(key, features, samples=samples, dimension=branches, dtype="float32").astype(
        np.float64
    )
    found = np.maximum(found, 1e-12)
    step = reaching_stiffness(found, cell.leak, FAILURE)
    careful = reaching_stiffness(found, step_leak(cell.leak, cell.depth), FAILURE)
    return {
        "step_stiffness": step.value * lipschitz,
        "step_stiffness_lower": step.interval.lower * lipschitz,
        "step_stiffness_upper": step.interval.upper * lipschitz,
        "careful_stiffness": careful.value * lipschitz,
        "careful_stiffness_lower": careful.interval.lower * lipschitz,
        "careful_stiffness_upper": careful.interval.upper * lipschitz,
        # A lead of √2·δ: δ is the distance to the nearest facet, whose density at 0 is 2P.
        "interface": interface_area(found / BARRIER).scaled(lipschitz),
    }


def _leaks(key: Any, norm_key: Any, hierarchy: Hierarchy, cell: Cell) -> dict[str, Any]:
    """Leaks of steps and whole on common points, and the stiffness of the whole map."""
    samples = max(4000, int(ENTRIES / 4 / hierarchy.dimension * cell.effort))
    found = level_leaks(key, hierarchy, samples=min(samples, SAMPLES))
    worst = int(np.argmax(found.steps.value))
    stretch = None
    if hierarchy.ratio is not None:  # that of blocks is the largest of theirs
        point_key, start_key = jax.random.split(norm_key)
        points = jax.random.normal(point_key, (1024, hierarchy.dimension))
        stretch = float(operator_norms(start_key, hierarchy, points).value.max())
    return {
        "step_leak": Estimate(
            found.steps.value[worst], found.steps.sem[worst], 0.0, found.steps.count
        ),
        "total_leak": found.total,
        "whole_stretch": stretch,
    }


def _trained(
    cell: Cell, key: Any, checkpoint: Checkpoint | None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """One network a level, each on its own block of m coordinates."""
    branches = branching(cell.modes, cell.depth)
    leak_key, norm_key, *keys = jax.random.split(key, 2 + 2 * cell.depth)
    schedule = SCHEDULE._replace(steps=cell.steps)
    stiffness = sparsemax_stiffness(branches, cell.leak)
    recipe = Recipe(branches, branches, stiffness, 0.0, schedule)
    rows, networks = [], []
    arrays: dict[str, np.ndarray] = {}
    for level in range(cell.depth):
        state = checkpoint.part(f"level-{level}") if checkpoint is not None else None
        network, losses = trained(keys[2 * level], recipe, state)
        lipschitz = certified(network) / float(network.stiffness)
        lead_key = keys[2 * level + 1]
        rows.append(_from_leads(lead_key, Features(network), branches, cell, lipschitz))
        reached = jnp.asarray(rows[-1]["step_stiffness"] / lipschitz, "float32")
        networks.append(eqx.tree_at(lambda t: t.stiffness, network, reached))
        arrays |= {f"level_{level}_{name}": a for name, a in weights_of(network).items()}
        arrays[f"level_{level}_losses"] = losses
    worst = max(rows, key=lambda row: row["step_stiffness"])
    hierarchy = Hierarchy(networks, [branches] * cell.depth)
    return _laws(cell) | worst | _leaks(leak_key, norm_key, hierarchy, cell), arrays
