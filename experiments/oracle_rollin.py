"""Terminal steps from exact noised latents, and K exact steps of the ODE (Theorem 3).

`terminal` is one posterior-mean step at noise s: flips beside raw noise, beside isotropic steps of
the same lengths and beside the tube law, and where its residual lies. `rollin` is K steps from time
t: from noised latents (t < 1) cumulative flips, from pure noise (t = 1) where the results lie (the
paper's figure 3); `sequence` the same with sequences of a language and its exact denoiser. No model
is trained: what fails here does not fail for want of training.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from theory import bound
from theory.denoise_step import ROWS, steps
from theory.denoiser import MixtureDenoiser
from theory.estimate import Estimate, from_samples, proportion, proportion_interval, ratio_of_means
from theory.mixture import Mixture
from theory.ngram import unigram_entropy
from theory.partition import PowerDiagram
from theory.residual import geometry, row_space
from theory.residual_law import euler_contraction, residual_energy
from theory.sensitivity import sensitivity
from theory.tube import interface_area

from experiments import embedded, sequence_rollin
from experiments.readouts import (
    LATENTS,
    READOUTS,
    WIDTHS,
    check_names,
    distances,
    latents,
    parsed,
    readout,
    room,
    shape_of,
)
from experiments.sequence_rollin import exact_ode

FAILURE = 1e-9
SAMPLES = 65_536  # latents of a terminal step at effort 1
LAW = 4096  # points of the predicted residual energy at effort 1
ROLLED = 16_384  # rows rolled in at effort 1; the first chunk is compared with the flow
NARROW = 0.25  # width of the tube in units of the median δ of clean latents


@dataclass(frozen=True)
class Grid:
    """Which readouts on which latents, noises of terminal steps, steps of roll-ins."""

    readouts: tuple[str, ...] = field(
        default=("code 64 16", "lowrank 64 8 32"), metadata={"help": READOUTS}
    )
    latents: tuple[str, ...] = field(
        default=LATENTS,
        metadata={"help": f"any of {', '.join(LATENTS)} (the last where rank ≤ n − 2)"},
    )
    scales: tuple[float, ...] = field(
        default=(0.125, 0.25, 0.5, 1.0, 2.0, 4.0), metadata={"help": "noise s of terminal steps"}
    )
    steps: tuple[int, ...] = field(default=(1, 2, 4, 8, 16, 32), metadata={"help": "K of roll-ins"})
    starts: tuple[float, ...] = field(
        default=(1.0, 0.5), metadata={"help": "time t of their start: 1 is pure noise"}
    )
    flow: int = field(default=256, metadata={"help": "steps that stand for the flow itself"})
    effort: float = field(default=1.0, metadata={"help": "factor on numbers of samples"})
    languages: tuple[str, ...] = field(
        default=("random 64 16 32",), metadata={"help": f"of sequences: {embedded.LANGUAGES}"}
    )

    def __post_init__(self) -> None:
        """ValueError on an unknown readout or law, or a number out of range."""
        check_names(self.readouts, self.latents)
        for words in self.languages:
            embedded.language_sizes(words)
        if not all(0 < s < math.inf for s in self.scales):
            raise ValueError(f"scales must be positive and finite, got {self.scales}")
        if not all(0 < t <= 1 for t in self.starts):
            raise ValueError(f"starts lie in (0, 1], got {self.starts}")
        if not all(1 <= k <= 4096 for k in (*self.steps, self.flow)):
            raise ValueError(
                f"steps are from 1 to 4096, got {self.steps} and a flow of {self.flow}"
            )
        if not 0 < self.effort < math.inf:
            raise ValueError(f"effort must be positive and finite, got {self.effort}")


PRESETS = {
    "quick": Grid(
        ("lowrank 16 4 8",), ("gaussian", "separated"), (1.0,), (1, 4), (1.0, 0.5), 32, 0.25
    ),
    "default": Grid(
        ("lowrank 64 8 32",),
        scales=(0.25, 1.0, 2.0),
        steps=(1, 2, 8),
        starts=(1.0, 0.75),
        flow=32,
        effort=0.25,
    ),
    "paper": Grid(steps=(1, 2, 4, 8, 16, 64), starts=(1.0, 0.75, 0.5)),
}


@dataclass(frozen=True)
class Cell:
    """A terminal step at noise s, or a roll-in of K steps from time t; what is not meant is 0."""

    family: str
    readout: str
    latents: str
    scale: float
    steps: int
    start: float
    flow: int
    effort: float


def cells(grid: Grid) -> list[Cell]:
    """Every readout with every law of latents that it has, at every noise and from every start.

    Sequences of every language from every start.
    """
    pairs = [(r, z) for r in grid.readouts for z in grid.latents if z != "nuisance" or room(r)]
    effort = grid.effort
    return (
        [Cell("terminal", r, z, s, 0, 0.0, 0, effort) for r, z in pairs for s in grid.scales]
        + [
            Cell("rollin", r, z, 0.0, k, t, grid.flow, effort)
            for r, z in pairs
            for t in grid.starts
            for k in grid.steps
        ]
        + [
            Cell("sequence", w, "language", 0.0, k, t, grid.flow, effort)
            for w in grid.languages
            for t in grid.starts
            for k in grid.steps
        ]
    )


def cost(cell: Cell) -> float:
    """Rough seconds on one core, to start the longest cells first."""
    if cell.family == "sequence":
        return 3 + sequence_rollin.seconds(cell.readout, cell.steps, cell.flow, cell.effort)
    _, modes, _, dimension = parsed(cell.readout)
    size = cell.effort * modes * dimension
    followed = cell.steps * ROLLED + cell.flow * ROWS
    return 3 + size * (1e-8 * followed if cell.family == "rollin" else 4e-3)


def measure(cell: Cell, key: Any) -> dict[str, Any]:
    """One row of a terminal step or of a roll-in."""
    if cell.family == "sequence":
        return sequence_rollin.row(
            key, cell.readout, cell.steps, cell.start, cell.flow, cell.effort
        )
    diagram, mixture = readout(cell.readout), latents(cell.latents, cell.readout)
    near_key, key = jax.random.split(key)
    distance = distances(near_key, mixture, diagram)
    row = {**shape_of(diagram), "distance_median": float(np.median(distance))}
    if cell.family == "terminal":
        return row | _terminal(key, cell, diagram, mixture, distance)
    return row | _rolled_in(key, cell, diagram, mixture, distance)


def _terminal(
    key: Any, cell: Cell, diagram: PowerDiagram, mixture: Mixture, distance: np.ndarray
) -> dict[str, Any]:
    keys = jax.random.split(key, 4)
    count, basis = int(SAMPLES * cell.effort), row_space(diagram).basis
    found = geometry(keys[0], mixture, diagram, cell.scale, samples=count)
    noise = geometry(keys[1], mixture, diagram, cell.scale, samples=count, score=False)
    law = residual_energy(
        keys[2], mixture, cell.scale, basis, samples=max(1000, int(LAW * cell.effort))
    )
    return {
        **found._asdict(),
        **{f"noise_{name}": getattr(noise, name) for name in ("share", "cosine", "towards")},
        "share_law": law.share,
        "energy_law": law.total,
        **_flips(keys[3], cell, diagram, mixture, count),
        **_tube_law(cell.scale, distance),
    }


def _flips(
    key: Any, cell: Cell, diagram: PowerDiagram, mixture: Mixture, count: int
) -> dict[str, Any]:
    """Flips by the residual, by raw noise, and by isotropic steps as long as each residual."""
    same = jax.random.clone(key)
    (own,) = sensitivity(key, mixture, diagram, cell.scale, samples=count)
    (raw,) = sensitivity(same, mixture, diagram, cell.scale, samples=count, score=False)
    rates = {
        "flips": own.response("residual", "flips"),
        "raw_flips": raw.response("residual", "flips"),
        "isotropic_flips": own.response("isotropic", "flips"),
        "raw_isotropic_flips": raw.response("isotropic", "flips"),
    }
    row: dict[str, Any] = {}
    for name, rate in rates.items():
        row |= _with_ends(name, rate)
    for name, tally in (("structured", own), ("raw_structured", raw)):
        ends = tally.dabi_interval("residual", "flips", failure_probability=FAILURE)
        row[name] = tally.dabi("residual", "flips")
        row |= {f"{name}_lower": ends.lower, f"{name}_upper": ends.upper}
    return row


def _tube_law(scale: float, distance: np.ndarray) -> dict[str, Any]:
    """√(2/π)·s·A_W, A_W by margins of other latents; none where they see no interface."""
    area = interface_area(distance)
    if not area.value > 0:
        return {}
    return {"area": area, "law": area.scaled(bound.tube_rate(scale, 1.0))}


def _rolled_in(
    key: Any, cell: Cell, diagram: PowerDiagram, mixture: Mixture, distance: np.ndarray
) -> dict[str, Any]:
    rolled, clean, flow = _ends(key, cell, diagram, mixture)
    facet, truth = diagram.nearest_facet(rolled), np.asarray(diagram.label(clean))
    token, followed = np.asarray(facet.label), np.asarray(diagram.label(flow))
    row: dict[str, Any] = {
        **_rate("flow_flips", token[: len(flow)] != followed),
        **_tube(np.asarray(facet.distance), distance),
        **_spread(rolled, clean, np.asarray(mixture.means).mean(axis=0)),
        "mode_distance": _mode_distance(mixture, rolled),
        "mode_distance_data": _mode_distance(mixture, clean),
        "entropy": unigram_entropy(token[:, None], diagram.modes),
        "entropy_data": unigram_entropy(truth[:, None], diagram.modes),
    }
    if cell.start < 1:
        row |= _rate("cumulative_flips", token != truth)
    if cell.latents == "gaussian" and cell.start == 1:
        row["spread_law"] = euler_contraction(WIDTHS["gaussian"], cell.steps) ** 2
    return row


def _ends(
    key: Any, cell: Cell, diagram: PowerDiagram, mixture: Mixture
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Results of K steps, the latents rolled in, and the ends of the flow from the first chunk."""
    rolled, clean, flow, denoiser = [], [], None, MixtureDenoiser(mixture)
    drawn = steps(
        key, mixture, diagram, 1.0, samples=max(ROWS, int(ROLLED * cell.effort)), score=False
    )
    for step in drawn:  # without the score term the residual at s = 1 is ε itself
        noisy = (1 - cell.start) * step.clean + cell.start * step.residual
        ends = exact_ode(denoiser, noisy[:, None], cell.steps, cell.start)[:, 0]
        if flow is None:
            followed = exact_ode(denoiser, noisy[:, None], cell.flow, cell.start)[:, 0]
            flow = np.asarray(followed)[: step.live]
        rolled.append(np.asarray(ends)[: step.live])
        clean.append(np.asarray(step.clean)[: step.live])
    assert flow is not None
    return np.concatenate(rolled), np.concatenate(clean), flow


def _rate(name: str, happened: np.ndarray) -> dict[str, Any]:
    """A share with its exact interval."""
    return _with_ends(name, proportion(int(happened.sum()), happened.size))


def _with_ends(name: str, rate: Estimate) -> dict[str, Any]:
    ends = proportion_interval(rate, FAILURE)
    return {name: rate, f"{name}_lower": ends.lower, f"{name}_upper": ends.upper}


def _tube(rolled: np.ndarray, clean: np.ndarray) -> dict[str, Any]:
    """P(δ < w) of results and of clean latents, w = NARROW times the median δ of the latter."""
    width = NARROW * float(np.median(clean))
    return {
        "tube_width": width,
        **_rate("tube", rolled < width),
        **_rate("tube_data", clean < width),
    }


def _spread(rolled: np.ndarray, clean: np.ndarray, mean: np.ndarray) -> dict[str, Estimate]:
    """E‖Ẑ − EZ‖²/n of results, and over that of the latents rolled in beside them."""
    square = [np.mean((rows - mean) ** 2, axis=1) for rows in (rolled, clean)]
    return {"spread": from_samples(square[0]), "spread_ratio": ratio_of_means(*square)}


def _mode_distance(mixture: Mixture, rows: np.ndarray) -> Estimate:
    """E min_k ‖Ẑ − a_k‖²/(nτ_k²): about 1 for latents of modes that are apart."""
    means, width = np.asarray(mixture.means), np.asarray(mixture.widths)
    square = (rows**2).sum(axis=1)[:, None] - 2 * rows @ means.T + (means**2).sum(axis=1)
    return from_samples(np.min(np.maximum(square, 0) / (rows.shape[1] * width**2), axis=1))
