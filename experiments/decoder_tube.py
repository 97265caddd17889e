"""Nearest facets, A_W and token flips of real decoder heads (Theorem 3), over noise s.

A cell is one head at one noise; s is a multiple of the median distance to the nearest facet. Raw
noise is beside the sandwich and the tube law. The posterior mean needs a law of the latents: a
Gaussian mixture fitted on half of their groups, with the bandwidth that makes the other half
likeliest. Its flips are counted twice, at latents of the other half, for which the denoiser is a
model (and at half and twice the bandwidth), and at draws of the mixture, for which it is exact.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from theory.latent_law import LatentLaw
from theory.mixture import Mixture
from theory.tube import flip_counts

from experiments.decoders import check_decoders
from experiments.heads import (
    Head,
    against_law,
    concentration,
    make_head,
    noise_row,
    rates,
    relative_distances,
)
from experiments.real_heads import fitted, geometry, halves, real_head, seconds, spread
from experiments.registry import DECODERS

RATIOS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
SCORES = 2e10  # scores times n of a cell's raw flips: the most latents of a large vocabulary
FEWEST = 256  # latents whose flips are counted however large the vocabulary is
QUANTILES = np.linspace(0, 1, 201)
BANDWIDTHS = {"narrow": 0.5, "": 1.0, "wide": 2.0}


@dataclass(frozen=True)
class Grid:
    """Which heads, how many latents, which noises."""

    decoders: tuple[str, ...] = field(
        default=("g2p-en", "textgenrnn", "pp-ocr"),
        metadata={"help": f"any of {', '.join(DECODERS)}"},
    )
    count: int = field(default=4000, metadata={"help": "latents of real input"})
    ratios: tuple[float, ...] = field(
        default=RATIOS, metadata={"help": "noise s over the median distance to the nearest facet"}
    )
    draws: int = field(default=16, metadata={"help": "noise draws a latent"})
    modes: int = field(default=500, metadata={"help": "Gaussians in the fitted law of latents"})
    denoised: int = field(default=1000, metadata={"help": "latents denoised at each bandwidth"})

    def __post_init__(self) -> None:
        """ValueError on an unknown decoder, a count too small, or a noise that is not positive."""
        check_decoders(self.decoders)
        if self.count < 16 or self.draws < 1 or self.modes < 2 or self.denoised < 2:
            raise ValueError(
                "expected count ≥ 16, draws ≥ 1, modes ≥ 2 and denoised ≥ 2, got "
                f"{self.count}, {self.draws}, {self.modes} and {self.denoised}"
            )
        if not self.ratios or not all(0 < r < math.inf for r in self.ratios):
            raise ValueError(f"ratios must be positive and finite, got {self.ratios}")


PRESETS = {
    "quick": Grid(("g2p-en", "textgenrnn"), 600, (0.05, 0.2, 1.0), 8, 100, 200),
    "default": Grid(("g2p-en", "textgenrnn"), 1000, (0.1, 1.0), 8, 100, 200),
    "paper": Grid(tuple(DECODERS), 4000, (0.05, 0.1, 0.2, 0.5, 1.0, 5.0), 32, 500, 500),
}


@dataclass(frozen=True)
class Cell:
    """One head at one noise."""

    decoder: str
    ratio: float
    count: int
    draws: int
    modes: int
    denoised: int


def cells(grid: Grid) -> list[Cell]:
    """Every head at every noise."""
    rest = (grid.count, grid.draws, grid.modes, grid.denoised)
    return [Cell(d, r, *rest) for d in grid.decoders for r in grid.ratios]


def cost(cell: Cell) -> float:
    """Rough seconds on one core, to start the longest cells first."""
    return seconds(cell.decoder) + 1e-5 * cell.count * cell.draws + 1e-5 * cell.modes


def program(cell: Cell) -> str:
    """What cells of one decoder compile and load, they share."""
    return cell.decoder


def measure(cell: Cell, key: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """One row: the head's geometry, and its flips at this noise beside law and sandwich.

    With it come the quantiles of δ(Z)/‖Z‖ (latents at 0 left out) at QUANTILES.
    """
    head = real_head(cell.decoder, cell.count)
    law = fitted(cell.decoder, cell.count, cell.modes)
    scale = cell.ratio * float(np.median(np.asarray(head.facet.distance)))
    raw_key, pair_key, mean_key, law_key = jax.random.split(key, 4)
    some = head.part(spread(len(head.group), _affordable(head, cell.draws)))
    row = {
        **geometry(cell.decoder, cell.count),
        "flipped_latents": len(some.group),
        **noise_row(raw_key, some, scale, cell.draws),
        **concentration(pair_key, some, scale),
        "bandwidth": law.bandwidth,
        "held_out_nats": law.held_out,
        "repeated": law.repeated,
        **_modelled(mean_key, head, law, scale, cell.denoised),
        **_exact(law_key, head, law, scale, cell.denoised),
    }
    relative = np.quantile(relative_distances(head), QUANTILES)
    return row, {"quantiles": QUANTILES, "relative_distance": relative}


def _affordable(head: Head, draws: int) -> int:
    return max(FEWEST, int(SCORES * 16 / (head.diagram.sites.size * draws)))


def _modelled(key: Any, head: Head, law: LatentLaw, scale: float, count: int) -> dict[str, Any]:
    """Flips of the modelled posterior mean at held-out latents, at three bandwidths."""
    held_out = np.flatnonzero(halves(head.group)[1])
    some = head.part(held_out[spread(len(held_out), count)])
    row: dict[str, Any] = {}
    for name, factor in BANDWIDTHS.items():
        mixture = Mixture(law.mixture.means, factor * law.bandwidth)
        flips = _denoised(key, some, mixture, scale)
        prefix = f"mean_{name}_" if name else "mean_"
        row |= rates(some, flips, 1, f"{prefix}flips") | against_law(some, flips, scale, prefix)
    return row


def _exact(key: Any, head: Head, law: LatentLaw, scale: float, count: int) -> dict[str, Any]:
    """Flips of raw noise and of the exact posterior mean at draws of the fitted law."""
    draw_key, noise_key = jax.random.split(key)
    drawn = np.asarray(law.mixture.sample(draw_key, count)[0], head.latents.dtype)
    modelled = make_head(head.diagram, drawn)
    flips = _denoised(noise_key, modelled, law.mixture, scale)
    raw = flip_counts(noise_key, drawn, head.diagram, scale)
    return (
        rates(modelled, flips, 1, "law_mean_flips")
        | against_law(modelled, flips, scale, "law_mean_")
        | rates(modelled, raw, 1, "law_raw_flips")
        | against_law(modelled, raw, scale, "law_raw_")
    )


def _denoised(key: Any, head: Head, mixture: Mixture, scale: float) -> np.ndarray:
    def denoiser(x: Any) -> Any:
        return mixture.posterior_mean(x, scale)

    return flip_counts(key, head.latents, head.diagram, scale, denoiser)
