"""DABI of real heads: responses to steps along normals, residuals, singular directions, isotropic.

A cell is one head with steps of one length, in units of the median distance to the nearest facet
(the paper's figure 2 on real decoders). Latents are real, one of every word, line or window that
the law of latents was not fitted on, so that they are independent; residuals are those of the
fitted law's posterior mean. A linear decoder without an argmax sees the same steps, as a control.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from theory.residual import geometry as residual_geometry
from theory.residual_law import mean_cosine, normal_ratio
from theory.sensitivity import logits, sensitivity

from experiments.decoder_sensitivity import control, responses
from experiments.decoders import check_decoders
from experiments.heads import Head
from experiments.real_heads import fitted, halves, real_head, seconds
from experiments.registry import DECODERS


@dataclass(frozen=True)
class Grid:
    """Which heads, how many latents, steps of which lengths."""

    decoders: tuple[str, ...] = field(
        default=("g2p-en", "textgenrnn", "pp-ocr"),
        metadata={"help": f"any of {', '.join(DECODERS)}"},
    )
    lengths: tuple[float, ...] = field(
        default=(0.25, 1.0, 4.0),
        metadata={"help": "of the steps, over the median distance to the nearest facet"},
    )
    count: int = field(default=4000, metadata={"help": "latents of real input"})
    modes: int = field(default=500, metadata={"help": "Gaussians in the fitted law of latents"})
    ratio: float = field(
        default=1.0, metadata={"help": "noise s of the residuals, over that median distance"}
    )

    def __post_init__(self) -> None:
        """ValueError on an unknown decoder, a count too small, or a number that is not positive."""
        check_decoders(self.decoders)
        if self.count < 16 or self.modes < 2:
            raise ValueError(
                f"expected count ≥ 16 and modes ≥ 2, got {self.count} and {self.modes}"
            )
        if not self.lengths or not all(0 < x < math.inf for x in (*self.lengths, self.ratio)):
            raise ValueError(
                "lengths and ratio must be positive and finite, got "
                f"{self.lengths} and {self.ratio}"
            )


PRESETS = {
    "quick": Grid(("g2p-en",), (0.25, 1.0), 600, 100),
    "default": Grid(("g2p-en", "textgenrnn"), (0.25, 1.0), 1000, 100),
    "paper": Grid(tuple(DECODERS), (0.25, 0.5, 1.0, 2.0, 4.0), 6000, 500),
}


@dataclass(frozen=True)
class Cell:
    """One head, one length."""

    decoder: str
    length: float
    count: int
    modes: int
    ratio: float


def cells(grid: Grid) -> list[Cell]:
    """Every head at every length."""
    rest = (grid.count, grid.modes, grid.ratio)
    return [Cell(d, x, *rest) for d in grid.decoders for x in grid.lengths]


def cost(cell: Cell) -> float:
    """Rough seconds on one core, to start the longest cells first."""
    return seconds(cell.decoder) + 1e-5 * cell.count


def program(cell: Cell) -> str:
    """What cells of one decoder compile and load, they share."""
    return cell.decoder


def measure(cell: Cell, key: Any) -> dict[str, Any]:
    """One row: responses of the head and of the control in every direction, DABI, row space."""
    head = real_head(cell.decoder, cell.count)
    law = fitted(cell.decoder, cell.count, cell.modes)
    unit = float(np.median(np.asarray(head.facet.distance)))
    choice_key, step_key, space_key = jax.random.split(key, 3)
    latents = independent(choice_key, head)
    scale, length = cell.ratio * unit, cell.length * unit
    decoders = (logits(head.diagram), control(head.diagram.dimension))
    where = (law.mixture, head.diagram, scale)
    count = len(latents)
    sharp, smooth = sensitivity(
        step_key, *where, [length], samples=count, decoders=decoders, latents=latents
    )
    space = residual_geometry(space_key, *where, samples=count, latents=latents)
    norm = float(np.median(np.linalg.norm(np.asarray(latents), axis=1)))
    return {
        "classes": head.diagram.modes,
        "dimension": head.diagram.dimension,
        "independent": count,
        "distance_median": unit,
        "step": length,
        "relative_step": length / norm,
        "scale": scale,
        "normal_limit": normal_ratio(head.diagram.dimension),
        "isotropic_cosine": mean_cosine(head.diagram.dimension),
        "row_share": space.share,
        "row_weighted": space.weighted,
        "cosine": space.cosine,
        "towards": space.towards,
        **responses(sharp, ("flips", "output", "rise"), ""),
        **responses(smooth, ("output",), "smooth_"),
    }


def independent(key: Any, head: Head) -> jax.Array:
    """One latent, drawn at random, of every group that the law was not fitted on, in float64."""
    rows = np.flatnonzero(halves(head.group)[1])
    rng = np.random.default_rng(np.asarray(jax.random.bits(key, (4,), "uint32")))
    rows = rng.permutation(rows)
    _, first = np.unique(head.group[rows], return_index=True)
    return jnp.asarray(np.asarray(head.latents)[rows[first]], jnp.float64)
