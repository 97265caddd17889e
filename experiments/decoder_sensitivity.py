"""What a readout feels of steps along its facets' normals, along residuals, and of isotropic ones.

A cell is one readout with one law of latents and steps of one length, in units of the median
distance to the nearest facet (DABI, the paper's figure 2). A linear decoder without an argmax sees
the same steps from the same latents, as a control.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from theory.estimate import proportion
from theory.image_sensitivity import ImageSensitivity
from theory.residual_law import normal_ratio
from theory.sensitivity import DIRECTIONS, LinearDecoder, Sensitivity, logits, sensitivity

from experiments.readouts import (
    LATENTS,
    READOUTS,
    check_names,
    distances,
    latents,
    parsed,
    readout,
    shape_of,
)

FAILURE = 1e-9
SAMPLES, RARE = 16_384, 8  # latents of a cell at effort 1; more by 1/length, at most 8 times
OUTPUTS = 4  # outputs of the control for every dimension of the latents


@dataclass(frozen=True)
class Grid:
    """Which readouts on which latents, and steps of which lengths."""

    readouts: tuple[str, ...] = field(
        default=("code 64 16", "lowrank 64 8 32", "simplicial 17 16"), metadata={"help": READOUTS}
    )
    latents: tuple[str, ...] = field(
        default=LATENTS[:3], metadata={"help": f"any of {', '.join(LATENTS)}"}
    )
    lengths: tuple[float, ...] = field(
        default=(0.1, 0.25, 0.5, 1.0, 2.0, 4.0),
        metadata={"help": "of the steps, over the median distance to the nearest facet"},
    )
    scale: float = field(default=1.0, metadata={"help": "noise s of the residuals"})
    sharpness: float = field(default=4.0, metadata={"help": "logits a unit of score"})
    effort: float = field(default=1.0, metadata={"help": "factor on numbers of samples"})

    def __post_init__(self) -> None:
        """ValueError on an unknown readout or law, or a number out of range."""
        check_names(self.readouts, self.latents)
        if not self.lengths or not all(0 < x < math.inf for x in self.lengths):
            raise ValueError(f"lengths must be positive and finite, got {self.lengths}")
        for name in ("scale", "sharpness", "effort"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")


PRESETS = {
    "quick": Grid(("lowrank 16 4 8",), ("separated",), (0.1, 1.0), effort=0.5),
    "default": Grid(
        ("lowrank 64 8 32", "simplicial 17 16"),
        ("gaussian", "separated"),
        (0.1, 1.0, 4.0),
    ),
    "paper": Grid(
        ("code 64 16", "code 64 128", "lowrank 64 8 32", "lowrank 64 16 128", "simplicial 17 16"),
        lengths=(0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0),
        effort=2.0,
    ),
}


@dataclass(frozen=True)
class Cell:
    """One readout, one law of latents, one length."""

    readout: str
    latents: str
    length: float
    scale: float
    sharpness: float
    samples: int


def cells(grid: Grid) -> list[Cell]:
    """Every readout with every law of latents at every length."""
    return [
        Cell(readout, latents, length, grid.scale, grid.sharpness, _samples(grid.effort, length))
        for readout in grid.readouts
        for latents in grid.latents
        for length in grid.lengths
    ]


def _samples(effort: float, length: float) -> int:
    """Short steps flip rarely, in proportion to their length."""
    return max(1000, int(SAMPLES * effort * min(RARE, max(1.0, 1 / length))))


def cost(cell: Cell) -> float:
    """Rough seconds on one core, to start the longest cells first."""
    _, modes, _, dimension = parsed(cell.readout)
    return 3 + 1.5e-8 * cell.samples * modes * dimension


def measure(cell: Cell, key: Any) -> dict[str, Any]:
    """One row: responses of the readout and of the control along every direction, and DABI."""
    diagram, mixture = readout(cell.readout), latents(cell.latents, cell.readout)
    median_key, step_key = jax.random.split(key)
    distance = distances(median_key, mixture, diagram)
    length = cell.length * float(np.median(distance))
    decoders = (logits(diagram, cell.sharpness), control(diagram.dimension))
    sharp, smooth = sensitivity(
        step_key, mixture, diagram, cell.scale, [length], samples=cell.samples, decoders=decoders
    )
    return {
        **shape_of(diagram),
        "distance_median": float(np.median(distance)),
        "step": length,
        "tube": proportion(int(np.sum(distance < length)), len(distance)),
        "normal_limit": normal_ratio(diagram.dimension),
        **responses(sharp, ("flips", "output", "rise"), ""),
        **responses(smooth, ("output",), "smooth_"),
    }


def responses(found: Sensitivity, names: tuple[str, ...], prefix: str) -> dict[str, Any]:
    """Raw responses along every direction, and DABI with its ends, as columns."""
    row: dict[str, Any] = {}
    for direction in DIRECTIONS:
        for name in names:
            row[f"{prefix}{direction}_{name}"] = found.response(direction, name)
            if direction != "isotropic":
                row |= dabi_row(found, direction, name, f"{prefix}dabi_{direction}_{name}")
    return row


def dabi_row(
    found: Sensitivity | ImageSensitivity, direction: str, name: str, column: str
) -> dict[str, Any]:
    """DABI with its interval; without isotropic responses only a lower end is left."""
    ends = found.dabi_interval(direction, name, failure_probability=FAILURE)
    return {
        column: found.dabi(direction, name),
        f"{column}_lower": ends.lower,
        f"{column}_upper": ends.upper,
    }


def control(dimension: int) -> LinearDecoder:
    """A linear map to OUTPUTS·n outputs with independent normal entries: no facets."""
    rng = np.random.default_rng(dimension)
    matrix = rng.standard_normal((OUTPUTS * dimension, dimension)) / math.sqrt(dimension)
    return LinearDecoder(jax.numpy.asarray(matrix), jax.numpy.zeros(len(matrix)))
