"""Coarea: E‖∇u‖ by automatic differentiation against perimeters of level sets (Theorem 17).

One cell is one u: R^n → R. Families: `fourier`, a random smooth function; `softmax`, a coordinate
of a softmax partition; `trained`, a coordinate of a trained map of certified Lipschitz constant.
"""

import functools
import math
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from theory.estimate import Estimate, quotient
from theory.level_sets import Chord, level_integral
from theory.total_variation import total_variation
from theory.transport import LipschitzNetwork, Schedule, certified

from experiments.training import Recipe, trained

FAMILIES = ("fourier", "softmax", "trained")
# Points and chords at effort 1, for intervals of 0.5% at 1e-9 whatever n.
COUNTS = {
    "fourier": (2_800_000, 5_000_000),
    "softmax": (10_000_000, 15_000_000),
    "trained": (22_000_000, 36_000_000),
}
CHORDS = {"fourier": Chord(0.25, 9), "softmax": Chord(0.25, 9), "trained": Chord(0.25, 17)}
FEATURES, FREQUENCY = 32, 2.0  # cosines, and the usual length of their wave vectors
MODES, SHARPNESS, STIFFNESS = 4, 3.0, 2.0
WIDTH, BATCH = 32, 1024  # of the trained map: at least n wide
DTYPE = "float32"  # 1e-7 of u, where the intervals are 1e-3 wide


@dataclass(frozen=True)
class Grid:
    """Which functions in which dimensions."""

    families: tuple[str, ...] = field(default=FAMILIES, metadata={"help": "kinds of functions"})
    dimensions: tuple[int, ...] = field(default=(1, 4, 16, 64), metadata={"help": "n"})
    bands: int = field(default=16, metadata={"help": "bands of levels, looked at one by one"})
    steps: int = field(default=400, metadata={"help": "of a training"})
    effort: float = field(default=1.0, metadata={"help": "factor on numbers of points and chords"})

    def __post_init__(self) -> None:
        """ValueError on numbers out of range, or a family that is not there."""
        for name in self.families:
            if name not in FAMILIES:
                raise ValueError(f"families are {FAMILIES}, got {name!r}")
        for n in self.dimensions:
            if not 1 <= n <= 64:
                raise ValueError(f"dimensions are 1 to 64, got {n}")
        if self.bands < 1 or self.steps < 1:
            raise ValueError(f"bands and steps are ≥ 1, got {self.bands}, {self.steps}")
        if not 0 < self.effort < math.inf:
            raise ValueError(f"effort must be positive and finite, got {self.effort}")


PRESETS = {
    "quick": Grid(("softmax",), (4,), 8, 50, 0.004),
    "default": Grid(dimensions=(4,), bands=12, steps=300, effort=0.01),
    "paper": Grid(),
}


@dataclass(frozen=True)
class Cell:
    """One function."""

    family: str
    dimension: int
    bands: int
    steps: int
    effort: float


def cells(grid: Grid) -> list[Cell]:
    """Every function of the grid."""
    return [
        Cell(family, n, grid.bands, grid.steps if family == "trained" else 0, grid.effort)
        for family in grid.families
        for n in grid.dimensions
    ]


def cost(cell: Cell) -> float:
    """Rough seconds on one core, to start the longest cells first."""
    each = {"fourier": 4e-5, "softmax": 1e-5, "trained": 3e-5}[cell.family]
    training = 6 + 0.004 * cell.steps if cell.family == "trained" else 0.0
    return 2.5 + training + cell.effort * each * sum(COUNTS[cell.family])


class Fourier(eqx.Module):
    """u(x) = √(2/F) Σ_f cos(⟨ω_f, x⟩ + b_f)."""

    waves: Array
    phases: Array

    def __call__(self, x: Array) -> Array:
        """u(x) for one point."""
        terms = jnp.cos(jnp.matmul(self.waves, x, precision="highest") + self.phases)
        return math.sqrt(2 / len(self.phases)) * jnp.sum(terms)


class Softmax(eqx.Module):
    """The first coordinate of softmax(β·scores), the scores ⟨a_i, x⟩."""

    sites: Array
    sharpness: Array

    def __call__(self, x: Array) -> Array:
        """u(x) for one point."""
        scores = jnp.matmul(self.sites, x, precision="highest")
        return jax.nn.softmax(self.sharpness * scores)[0]


class Coordinate(eqx.Module):
    """The first coordinate of a map."""

    network: LipschitzNetwork

    def __call__(self, x: Array) -> Array:
        """u(x) for one point."""
        return self.network(x)[0]


def measure(cell: Cell, key: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """One row, and both sides of every band of levels."""
    made_key, point_key, chord_key = jax.random.split(key, 3)
    function, stiffness = _function(cell, made_key)
    edges = levels(cell)
    points, chords = (max(8192, int(cell.effort * count)) for count in COUNTS[cell.family])
    common: dict[str, Any] = {"dimension": cell.dimension, "edges": edges, "dtype": DTYPE}
    chord = CHORDS[cell.family]
    left = total_variation(point_key, function, samples=points, **common)
    right = level_integral(chord_key, function, chords=chords, chord=chord, **common)
    row = {
        "variation": left.total,
        "integral": right.total,
        "ratio": quotient(right.total, left.total),
        "worst_band": _worst(right.bands, left.bands),
        "stiffness": stiffness,
    }
    arrays = {"edges": edges}
    for name, bands in (("variation", left.bands), ("integral", right.bands)):
        for part in ("value", "sem", "bias"):
            arrays[f"{name}_{part}"] = np.asarray(getattr(bands, part))
    return row, arrays


def levels(cell: Cell) -> np.ndarray:
    """Edges of the bands: all of (0, 1) for shares; for `fourier`, of variance 1, within ±3."""
    low, high = (-3.0, 3.0) if cell.family == "fourier" else (0.0, 1.0)
    return np.linspace(low, high, cell.bands + 1)


def _worst(top: Estimate, bottom: Estimate) -> Estimate:
    """The quotient of the band in which the sides are most standard errors apart."""
    value = np.asarray(top.value)
    met = np.flatnonzero((value > 0.2 * value.max()) & (np.asarray(bottom.value) > 0))
    each = [
        quotient(*(Estimate(s.value[k], s.sem[k], s.bias[k], s.count) for s in (top, bottom)))
        for k in met.tolist()
    ]
    return max(each, key=lambda one: abs(one.value - 1) / one.sem)


@functools.lru_cache(maxsize=4)
def _network(seed: int, dimension: int, steps: int) -> LipschitzNetwork:
    schedule = Schedule(rate=1e-2, steps=steps, batch=BATCH)
    width = max(WIDTH, dimension)
    recipe = Recipe(MODES, dimension, STIFFNESS, 0.0, schedule, width=width)
    return trained(jax.random.key(seed), recipe)[0]


def _function(cell: Cell, key: Any) -> tuple[Any, float | None]:
    """u, and what its Lipschitz constant is certified to be at most, if it is."""
    rng = np.random.default_rng(np.asarray(jax.random.bits(key, (4,), "uint32")))
    n = cell.dimension
    if cell.family == "trained":
        network = _network(int(rng.integers(2**31)), n, cell.steps)
        return Coordinate(network), certified(network)
    if cell.family == "softmax":
        sites = rng.normal(size=(MODES, n)) / math.sqrt(n)
        return Softmax(jnp.asarray(sites, DTYPE), jnp.asarray(SHARPNESS, DTYPE)), None
    waves = rng.normal(size=(FEATURES, n)) * FREQUENCY / math.sqrt(n)
    phases = rng.uniform(0, 2 * math.pi, FEATURES)
    return Fourier(jnp.asarray(waves, DTYPE), jnp.asarray(phases, DTYPE)), None
