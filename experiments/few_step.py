"""K-step samplers with the exact denoiser: of languages, and of separated modes (Theorems 5–7).

No model is trained, so that what fails here does not fail for want of training. Languages: the
reference row over draws of chain and embeddings, every sampler, schedule and grid of one language,
a sweep over V, n and L, and where the second of two looks is best. Modes: atoms at the vertices of
a simplex, with the leak and the masses of what comes out, the stiffness of every step, and the
floor of Theorem 5.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from theory import bound
from theory.denoiser import MixtureDenoiser
from theory.estimate import Estimate, proportion, proportion_interval
from theory.gaussian import normal
from theory.mixture import Mixture, simplex
from theory.sampler import Step, plan, roll, times
from theory.step_stiffness import step_stiffness

from experiments.generation import (
    LANGUAGES,
    SCHEDULES,
    WAYS,
    Generation,
    check,
    draw_classes,
    generated,
    sampler_of,
    way_of,
    work,
)

FAILURE = 1e-9
BARRIER = math.sqrt(2)  # between vertices of the simplex
RADIUS = 0.1  # of the balls about the modes; what ends off them has leaked
POINTS = 256  # at which steps' Jacobians are taken, at effort 1
SAMPLES = 65_536  # of the leak, at effort 1


@dataclass(frozen=True)
class Grid:
    """A reference over draws, ways to sample one language, a sweep of languages, modes."""

    reference: str = field(default="floored 64 0.05 16 random", metadata={"help": LANGUAGES})
    draws: int = field(default=8, metadata={"help": "draws of chain and embeddings behind it"})
    reference_steps: tuple[int, ...] = field(
        default=(1, 2, 4, 8, 16, 32, 64, 128, 256), metadata={"help": "K of the reference"}
    )
    ways: tuple[str, ...] = field(
        default=(
            "euler, preserving, uniform, argmax",
            "exact, preserving, uniform, argmax",
            "exact, flow, cosine, argmax",
            "exact, flow, logit-normal, argmax",
            "exact, flow, shifted, argmax",
            "exact, flow, uniform, sampled",
            "heun, flow, uniform, argmax",
            "heun, preserving, uniform, argmax",
            "churn 0.5, flow, uniform, argmax",
            "churn 0.5, preserving, uniform, argmax",
            "ancestral, flow, uniform, argmax",
            "ancestral, preserving, uniform, argmax",
            "renoise, flow, uniform, argmax",
        ),
        metadata={"help": f"of the reference's first draw: {WAYS}"},
    )
    languages: tuple[str, ...] = field(
        default=(
            *(
                f"markov {size} {spread} {n} random"
                for size, spread in ((16, 0.2), (64, 0.05), (256, 0.02))
                for n in (8, 16, 64)
            ),
            "markov 64 0.05 64 simplex",
            "markov 64 0.05 16 clustered",
            "pairs 16 0.1 16 random",
        ),
        metadata={"help": "of the sweep, by exact steps, churn ½ and ancestral ones"},
    )
    lengths: tuple[int, ...] = field(default=(16, 32, 128), metadata={"help": "L of the sweep"})
    steps: tuple[int, ...] = field(
        default=(1, 2, 4, 8, 16, 32, 64), metadata={"help": "K of the ways and the sweep"}
    )
    looks: tuple[float, ...] = field(
        default=(0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        metadata={"help": "t of the second look of two exact steps"},
    )
    look_languages: tuple[str, ...] = field(
        default=tuple(f"markov 64 0.05 {n} random" for n in (8, 16, 32, 64, 128, 256)),
        metadata={"help": "whose two steps are varied"},
    )
    modes: tuple[int, ...] = field(default=(2, 8, 32), metadata={"help": "M of modes in R^M"})
    mode_steps: tuple[int, ...] = field(
        default=(1, 2, 4, 8, 16, 32, 64), metadata={"help": "K of modes"}
    )
    effort: float = field(default=0.5, metadata={"help": "factor on numbers of samples"})

    def __post_init__(self) -> None:
        """ValueError on an unknown name or a number out of range."""
        for modes in self.modes:
            if not 2 <= modes <= 64:
                raise ValueError(f"modes are from 2 to 64, got {modes}")
        if not 1 <= self.draws <= 1000:
            raise ValueError(f"draws are from 1 to 1000, got {self.draws}")
        for cell in _generations(self):
            check(cell)


@dataclass(frozen=True)
class Cell(Generation):
    """A generation of its family, or of M modes; what is not meant is 0."""

    family: str
    modes: int


LENGTH = 32  # L of the reference and its ways
PLAIN = ("exact, flow, uniform, argmax", "churn 0.5, flow, uniform, argmax")
ANCESTRAL = "ancestral, flow, uniform, argmax"


def cells(grid: Grid) -> list[Cell]:
    """The reference, its ways, the sweep, and modes by exact, Heun, churned, ancestral steps."""
    return [*_generations(grid), *_modes(grid)]


def _generations(grid: Grid) -> list[Cell]:
    base = Cell("", LENGTH, "", 0.0, "", "", "", 0.0, 0.0, 0, 0, grid.effort, "", 0)
    found = []

    def add(family: str, language: str, way: str, **others: Any) -> None:
        found.append(replace(base, family=family, language=language, **way_of(way), **others))

    for draw in range(grid.draws):
        for k in grid.reference_steps:
            add("reference", grid.reference, PLAIN[0], steps=k, draw=draw)
    for way in grid.ways:
        for k in grid.steps:
            add("way", grid.reference, way, steps=k)
    for language in grid.languages:
        for length in grid.lengths:
            for way in (*PLAIN, ANCESTRAL):
                for k in grid.steps:
                    add("sweep", language, way, steps=k, length=length)
    for language in grid.look_languages:
        for look in grid.looks:
            add("look", language, f"exact, flow, look {look:g}, argmax", steps=2)
    return found


def _modes(grid: Grid) -> list[Cell]:
    samplers = ("exact", "heun", "churn 0.5", "ancestral", "renoise")
    return [
        Cell(
            *(
                f"simplex {modes}",
                1,
                *sampler_of(sampler),
                "flow",
                "uniform",
                ending,
                0.0,
                0.0,
                k,
                0,
            ),
            *(grid.effort, "modes", modes),
        )
        for modes in grid.modes
        for sampler, ending in [*((s, "argmax") for s in samplers), ("exact", "sampled")]
        for k in grid.mode_steps
    ]


PRESETS = {
    "quick": Grid(
        reference="markov 16 0.2 8 random",
        draws=1,
        reference_steps=(2, 8),
        ways=("heun, preserving, cosine, argmax", "exact, flow, uniform, sampled"),
        languages=(),
        lengths=(),
        steps=(4,),
        looks=(0.7,),
        look_languages=("markov 16 0.2 8 random",),
        modes=(2,),
        mode_steps=(1, 4),
        effort=0.125,
    ),
    "default": Grid(
        draws=5,
        reference_steps=(1, 2, 4, 8, 16, 64),
        ways=(
            "churn 0.5, flow, uniform, argmax",
            "ancestral, flow, uniform, argmax",
            "renoise, flow, uniform, argmax",
        ),
        languages=("markov 16 0.2 8 random",),
        lengths=(16,),
        steps=(2, 8, 64),
        looks=(0.4, 0.6, 0.8),
        look_languages=("markov 64 0.05 16 random", "markov 64 0.05 128 random"),
        modes=(8,),
        mode_steps=(1, 4),
        effort=0.25,
    ),
    "paper": Grid(),
}


def cost(cell: Cell) -> float:
    """Rough seconds on one core, to start the longest cells first."""
    if cell.family == "modes":
        return 3 + cell.effort * cell.steps * cell.modes * 2e-2
    return work(cell)


def measure(cell: Cell, key: Any) -> dict[str, Any]:
    """One row: what a language's sampler says, or where the mass of the modes ends."""
    return _of_modes(key, cell) if cell.family == "modes" else generated(cell, key)


def _of_modes(key: Any, cell: Cell) -> dict[str, Any]:
    mixture = Mixture(simplex(cell.modes, cell.modes, BARRIER), 0.0)
    denoiser = MixtureDenoiser(mixture)
    at = times(cell.grid, cell.steps)
    steps = plan(cell.sampler, SCHEDULES[cell.schedule], at, cell.churn)
    start_key, own, commit_key = jax.random.split(key, 3)
    start = normal(start_key, (int(SAMPLES * cell.effort), 1, cell.modes), "float64")
    if cell.ending == "sampled":
        z = np.asarray(roll(own, denoiser, steps[:-1], start))[:, 0]
        return _leaked(mixture, _committed(commit_key, mixture, z, steps[-1]))[0]
    z = np.asarray(roll(own, denoiser, steps, start))[:, 0]
    row, apart = _leaked(mixture, z)
    if cell.sampler in ("exact", "heun"):
        # The stiffest points are those that end between modes: few of γ, if the leak is small.
        chosen = np.argsort(-apart)[: int(POINTS * cell.effort)]
        found = step_stiffness(denoiser, steps, start[chosen])
        row |= {"peak": found.peak, "whole": found.whole, "last": float(found.steps[-1])}
        row |= _floor(cell.modes, row["leak"])
    return row


def _committed(key: Any, mixture: Mixture, z: np.ndarray, look: Step) -> np.ndarray:
    """A mode drawn from its exact posterior at the last look, in the place of their mean."""
    if look.signal > 0:
        law = mixture.posterior(jnp.asarray(z) / look.signal, look.noise / look.signal)
    else:
        law = jnp.broadcast_to(mixture.masses, z.shape[:1] + mixture.masses.shape)
    return np.asarray(jnp.take(mixture.means, draw_classes(key, law), axis=0))


def _leaked(mixture: Mixture, z: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
    """Share off the balls, masses' total variation from even; distances to the nearest mode."""
    means = np.asarray(mixture.means)
    apart = np.sqrt(np.maximum((z**2).sum(1)[:, None] - 2 * z @ means.T + (means**2).sum(1), 0))
    leak = proportion(int((apart.min(axis=1) > RADIUS).sum()), len(z))
    ends = proportion_interval(leak, FAILURE)
    share = np.bincount(apart.argmin(axis=1), minlength=len(means)) / len(z)
    off = share - 1 / len(means)
    expected = math.sqrt(2 * (1 - 1 / len(means)) * len(means) / (math.pi * len(z))) / 2
    spread = math.sqrt(float((share * np.sign(off) ** 2).sum()) / len(z)) / 2
    balance = Estimate(float(np.abs(off).sum() / 2), spread, expected, len(z))
    row = {"leak": leak, "leak_lower": ends.lower, "leak_upper": ends.upper, "unbalance": balance}
    return row, apart.min(axis=1)


def _floor(modes: int, leak: Estimate) -> dict[str, float]:
    """The stiffness that no map of this leak is below, at the upper end of the leak's interval."""
    upper = proportion_interval(leak, FAILURE).upper
    barrier = BARRIER - 2 * RADIUS
    return (
        {"stiffness_floor": bound.stiffness_floor(modes, upper, barrier)} if 0 < upper < 1 else {}
    )
