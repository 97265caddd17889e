"""The least certified stiffness that reaches a leak, over M and n (Theorem 6, stiffness side).

One cell is one family of maps sparsemax(Λg) with one g: of x on R^M, of the optimal line, of the
signed distances of the best partition found in R^n, or of a network trained there. The leads of g
give the leak at every Λ, so that the least Λ is a quantile, with an interval free of any law.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize
from theory import bound
from theory.gaussian import normal
from theory.leak import leads, reaching_stiffness
from theory.minimal import minimal
from theory.partition import PowerDiagram
from theory.stiffness import operator_norms
from theory.transport import (
    LipschitzNetwork,
    Schedule,
    certified,
    line_leak,
    signed_distances,
    sparsemax_stiffness,
)

from experiments.store import Checkpoint
from experiments.training import Features, Recipe, sampled_stretch, trained, weights_of, widened

CHECKPOINTS = True
FAILURE = 1e-9
BARRIER = math.sqrt(2)  # κ of the vertices of the simplex
SAMPLES = 1_600_000  # leads at effort 1
# Where the plane or the line has to be folded, more layers fold better and modes part later.
FOLDED = Schedule(rate=2e-2, batch=1024, parting=0.5, sharpness=(4.0, 2.0))
ROOMY = Schedule(rate=1e-2)
LAYERS = {True: 5, False: 3}
SIDE, EXTENT = 121, 3.0  # of the picture of a map of the plane


@dataclass(frozen=True)
class Grid:
    """Which M and n."""

    fixed_dimensions: tuple[int, ...] = field(default=(1, 2), metadata={"help": "fixed n"})
    fixed: tuple[int, ...] = field(default=(4, 8, 16), metadata={"help": "M at fixed n"})
    simplicial: tuple[int, ...] = field(
        default=(2, 4, 8, 16, 32), metadata={"help": "M at n = M, where the simplex fits"}
    )
    leak: float = field(default=0.1, metadata={"help": "ε to reach"})
    restarts: int = field(default=2, metadata={"help": "trainings from different weights"})
    steps: int = field(default=8000, metadata={"help": "of a training at fixed n; half at n = M"})
    effort: float = field(default=1.0, metadata={"help": "factor on numbers of samples"})

    def __post_init__(self) -> None:
        """ValueError on M or n out of range, a leak outside (0, 1), or no steps."""
        for name in ("fixed", "simplicial"):
            for modes in getattr(self, name):
                if not 2 <= modes <= 64:
                    raise ValueError(f"{name} has M from 2 to 64, got {modes}")
        for dimension in self.fixed_dimensions:
            if not 1 <= dimension <= 4:
                raise ValueError(f"fixed dimensions are 1 to 4, got {dimension}")
        if not 0 < self.leak < 1:
            raise ValueError(f"leak must lie in (0, 1), got {self.leak}")
        if self.restarts < 1 or self.steps < 2:
            raise ValueError(f"restarts ≥ 1 and steps ≥ 2, got {self.restarts}, {self.steps}")
        if not 0 < self.effort < math.inf:
            raise ValueError(f"effort must be positive and finite, got {self.effort}")


PRESETS = {
    "quick": Grid((), (), (2,), restarts=1, steps=600, effort=0.1),
    "default": Grid(fixed=(4, 8), simplicial=(2, 8), restarts=1, steps=2400, effort=0.25),
    "paper": Grid(),
}


@dataclass(frozen=True)
class Cell:
    """One g: R^n → R^M."""

    family: str
    modes: int
    dimension: int
    leak: float
    restart: int
    steps: int
    effort: float


def cells(grid: Grid) -> list[Cell]:
    """The best known map and the trained ones at every (M, n)."""
    pairs = [(modes, n, grid.steps) for n in grid.fixed_dimensions for modes in grid.fixed]
    pairs += [(modes, modes, grid.steps // 2) for modes in grid.simplicial]
    found = []
    for modes, n, steps in pairs:
        known = "line" if n == 1 else "sparsemax" if n >= modes - 1 else "partition"
        found.append(Cell(known, modes, n, grid.leak, 0, 0, grid.effort))
        found += [
            Cell("trained", modes, n, grid.leak, restart, steps, grid.effort)
            for restart in range(grid.restarts)
        ]
    return found


def cost(cell: Cell) -> float:
    """Rough seconds on one core, to start the longest cells first."""
    if cell.family == "trained":
        return 5 + cell.steps * (1 + cell.modes / 16) * 0.0015
    return 8.0 if cell.family == "partition" else 2.0


def measure(
    cell: Cell, key: Any, checkpoint: Checkpoint | None = None
) -> dict[str, Any] | tuple[dict[str, Any], dict[str, np.ndarray]]:
    """One row; a trained map comes with its weights, its losses, and a picture at n = 2."""
    if cell.family == "trained":
        return _trained(cell, key, checkpoint)
    if cell.family == "line":
        exact = math.exp(optimize.brentq(lambda s: _line(cell, s), -3.0, 12.0, xtol=1e-13))
        return _laws(cell) | _known(exact)
    if cell.family == "sparsemax":
        return _laws(cell) | _known(sparsemax_stiffness(cell.modes, cell.leak))
    found = minimal(jax.random.key(cell.modes), cell.modes, cell.dimension, effort=0.2)
    distances = Distances(found.diagram)
    return _laws(cell) | _reached(key, distances, cell, 1.0)


class Distances(eqx.Module):
    """g = D/√2, the signed distances of a partition."""

    diagram: PowerDiagram

    def __call__(self, x: Any) -> Any:
        """g(x) for one point."""
        return signed_distances(self.diagram, x) / math.sqrt(2)


def _line(cell: Cell, log_stiffness: float) -> float:
    return line_leak(cell.modes, math.exp(log_stiffness)) - cell.leak


def _known(stiffness: float) -> dict[str, Any]:
    ends = ("stiffness", "stiffness_lower", "stiffness_upper")
    return dict.fromkeys(ends, stiffness)


def _laws(cell: Cell) -> dict[str, Any]:
    """What Λ is compared with, at equal masses (1 − ε)/M."""
    modes, n = cell.modes, cell.dimension
    return {
        "interface_floor": bound.interface_floor(modes),
        "stiffness_floor": bound.stiffness_floor(modes, cell.leak, BARRIER),
        "simplicial": sparsemax_stiffness(modes, cell.leak),
        "fixed_n": bound.fixed_dimension_law(modes, n) if n <= 4 else None,
    }


def _reached(key: Any, features: Any, cell: Cell, lipschitz: float) -> dict[str, Any]:
    """The least Λ at the wanted leak, with its interval; `lipschitz` bounds that of g."""
    samples = max(4000, int(SAMPLES * cell.effort))
    found = leads(key, features, samples=samples, dimension=cell.dimension, dtype="float32")
    reached = reaching_stiffness(np.maximum(found, 1e-12), cell.leak, FAILURE)
    ends = reached.interval
    return {
        "stiffness": reached.value * lipschitz,
        "stiffness_lower": ends.lower * lipschitz,
        "stiffness_upper": ends.upper * lipschitz,
    }


def _trained(
    cell: Cell, key: Any, checkpoint: Checkpoint | None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    fit_key, lead_key, mass_key, stretch_key, picture_key = jax.random.split(key, 5)
    network, losses = trained(fit_key, _recipe(cell), checkpoint)
    lipschitz = certified(network) / float(network.stiffness)
    row = _laws(cell) | _reached(lead_key, Features(network), cell, lipschitz)
    scaled = eqx.tree_at(
        lambda t: t.stiffness, network, jnp.asarray(row["stiffness"] / lipschitz, "float32")
    )
    masses = _masses(mass_key, scaled, cell)
    positive = np.maximum(masses, 1e-12)
    _, most = sampled_stretch(stretch_key, scaled)
    row |= {
        "mass_error": float(np.abs(masses * cell.modes / masses.sum() - 1).max()),
        "measured_floor": bound.unequal_floor(positive / positive.sum())[0],
        "measured_stiffness_floor": bound.unequal_stiffness_floor(masses, BARRIER),
        "certified_over_sampled": certified(scaled) / most,
        "first_loss": float(losses[0]),
        "last_loss": float(losses[-1]),
    }
    arrays = {"losses": losses, **weights_of(scaled)}
    if cell.dimension == 2:
        arrays |= _picture(picture_key, scaled)
    return row, arrays


def _recipe(cell: Cell) -> Recipe:
    """Trained at the Λ that the interface calls for at this leak, to first order."""
    modes, n = cell.modes, cell.dimension
    folded = n < modes - 1
    area = bound.fixed_dimension_law(modes, n) if folded else bound.interface_floor(modes)
    stiffness = BARRIER * max(area, bound.interface_floor(modes)) / cell.leak
    schedule = (FOLDED if folded else ROOMY)._replace(steps=cell.steps)
    return Recipe(modes, n, stiffness, 0.0, schedule, layers=LAYERS[folded])


def _masses(key: Any, network: LipschitzNetwork, cell: Cell) -> np.ndarray:
    """P(T ∈ D_i) of the map at its least Λ."""
    samples, size = max(4000, int(SAMPLES * cell.effort)), 1 << 14
    hits, total = np.zeros(cell.modes), 0
    image = jax.jit(lambda t, x: t(x))
    for number in range(-(-samples // size)):
        x = normal(jax.random.fold_in(key, number), (size, cell.dimension), "float32")
        z = np.asarray(image(network, x))
        hits += np.bincount(z.argmax(axis=1)[z.max(axis=1) >= 1 - 1e-6], minlength=cell.modes)
        total += size
    return hits / total


def _picture(key: Any, network: LipschitzNetwork) -> dict[str, np.ndarray]:
    """Largest entry, its label and ‖DT‖ on a grid of the plane."""
    axis = np.linspace(-EXTENT, EXTENT, SIDE)
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    wide = widened(network)
    z = np.asarray(wide(jnp.asarray(points)))
    norms = operator_norms(key, wide, points).value
    shape = (SIDE, SIDE)
    return {
        "axis": axis,
        "label": z.argmax(axis=1).astype(np.int16).reshape(shape),
        "entry": z.max(axis=1).astype(np.float32).reshape(shape),
        "norm": norms.astype(np.float32).reshape(shape),
    }
