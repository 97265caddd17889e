"""Few-step generation by denoisers of limited stiffness: over K, Λ and a smooth control.

Of one language: denoisers trained with a certified Λ ("lipschitz"), the exact posterior at a noise
floor s₀, whose stiffness is limited with no training at all ("floor"; s₀ = 0 is exact), and
one-step students of the exact denoiser's ODE of 64 steps, from its own noise ("student"). The
Fréchet distance is of the same latents as the tokens, before they are read.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from theory.gaussian import normal
from theory.language import Language
from theory.sampler import plan, times
from theory.terminal import RECTIFIED_FLOW
from theory.transport.denoise import lipschitz_denoiser, lipschitz_student
from theory.transport.denoise_fit import Denoising, Distilling, Pace

from experiments.denoising import (
    agreement,
    certificates,
    described,
    errors,
    made,
    noised,
    stiffness,
    taught,
    trained,
)
from experiments.generation import LANGUAGES, language_of, parsed, sequences_of, truths
from experiments.store import Checkpoint

CHECKPOINTS = True
CHURN = 0.5
POINTS = 48  # at which Jacobians of p are taken at each time, at effort 1; a quarter, of steps
STEPS = 4  # of the ODE whose Jacobians are taken
LESSONS = 8192  # sequences that a student learns from, at effort 1
FEATURES = {"lipschitz": 8, "student": 0}  # inputs beside the window


@dataclass(frozen=True)
class Grid:
    """Which Λ, floors and K of which language."""

    stiffnesses: tuple[float, ...] = field(
        default=(0.125, 0.25, 0.5, 1.0, 2.0, 4.0), metadata={"help": "Λ of trained denoisers"}
    )
    floors: tuple[float, ...] = field(
        default=(0.0, 0.5, 0.7, 1.0, 1.4, 2.0), metadata={"help": "s₀ of the exact posterior"}
    )
    students: tuple[float, ...] = field(
        default=(0.125, 0.25, 0.5, 1.0, 2.0, 4.0), metadata={"help": "Λ of one-step students"}
    )
    depths: tuple[int, ...] = field(default=(1, 2, 3, 4, 6, 8), metadata={"help": "K"})
    restarts: int = field(default=1, metadata={"help": "trainings from different weights"})
    language: str = field(default="markov 64 0.05 16 random", metadata={"help": LANGUAGES})
    length: int = field(default=32, metadata={"help": "L"})
    window: int = field(default=5, metadata={"help": "latents that a position sees, odd"})
    width: int = field(default=192, metadata={"help": "of hidden layers; even"})
    steps: int = field(default=4000, metadata={"help": "of a training"})
    batch: int = field(default=64, metadata={"help": "sequences a step"})
    effort: float = field(default=1.0, metadata={"help": "factor on numbers of samples"})

    def __post_init__(self) -> None:
        """ValueError on a Λ, floor, K, language or size that is out of range."""
        for name in ("stiffnesses", "students"):
            for value in getattr(self, name):
                if not 0 < value <= 64:
                    raise ValueError(f"{name} have Λ in (0, 64], got {value}")
        for floor in self.floors:
            if not 0 <= floor < math.inf:
                raise ValueError(f"floors are finite and ≥ 0, got {floor}")
        for depth in self.depths:
            if not 1 <= depth <= 256:
                raise ValueError(f"depths are from 1 to 256, got {depth}")
        _check_language(self)
        for name in ("restarts", "steps", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.effort < math.inf:
            raise ValueError(f"effort must be positive and finite, got {self.effort}")


def _check_language(grid: Grid) -> None:
    kind, vocabulary, _, dimension, _ = parsed(grid.language)
    if kind != "markov":
        raise ValueError(f"the language is a markov one, got {grid.language!r}")
    if not 2 <= grid.length <= 1024:
        raise ValueError(f"length must be from 2 to 1024, got {grid.length}")
    if grid.window < 1 or grid.window % 2 == 0:
        raise ValueError(f"window must be odd and at least 1, got {grid.window}")
    least = max(grid.window * dimension + max(FEATURES.values()), vocabulary)
    if grid.width % 2 or grid.width < least:
        raise ValueError(f"width must be even and at least {least}, got {grid.width}")


PRESETS = {
    "quick": Grid(
        stiffnesses=(1.0,),
        floors=(1.0,),
        students=(),
        depths=(1, 2),
        language="markov 8 0.2 4 random",
        length=8,
        window=3,
        width=32,
        steps=60,
        batch=32,
        effort=0.05,
    ),
    "default": Grid(
        stiffnesses=(0.25, 2.0),
        floors=(0.0, 1.0),
        students=(),
        depths=(1, 2, 4),
        language="markov 8 0.2 4 random",
        length=8,
        window=3,
        width=32,
        steps=300,
        batch=32,
        effort=0.1,
    ),
    "paper": Grid(),
}


@dataclass(frozen=True)
class Cell:
    """One denoiser or student, sampled in every number of steps."""

    family: str
    stiffness: float
    floor: float
    depths: str
    restart: int
    language: str
    length: int
    window: int
    width: int
    steps: int
    batch: int
    effort: float


def cells(grid: Grid) -> list[Cell]:
    """Trained denoisers and students at every Λ, and the exact posterior at every floor."""
    whole = "K " + " ".join(map(str, grid.depths))
    families = (("lipschitz", grid.stiffnesses, whole), ("student", grid.students, "K 1"))
    trainings = [(name, x, depths) for name, found, depths in families for x in found]
    found = [
        Cell(
            family,
            stiffness,
            0.0,
            depths,
            restart,
            grid.language,
            grid.length,
            grid.window,
            grid.width,
            grid.steps,
            grid.batch,
            grid.effort,
        )
        for family, stiffness, depths in trainings
        for restart in range(grid.restarts)
    ]
    place, untrained = (grid.language, grid.length), (0, 0, 0, 0)
    floors = [(0.0, floor, whole, 0) for floor in grid.floors]
    return found + [Cell("floor", *own, *place, *untrained, grid.effort) for own in floors]


def cost(cell: Cell) -> float:
    """Rough seconds on one core, to start the longest cells first."""
    sequences = sequences_of(cell.length, cell.effort)
    looks = 2 * sum(map(int, cell.depths.split()[1:])) * sequences * cell.length
    work = cell.steps * (0.003 + 4e-10 * cell.batch * cell.length * cell.width**2)
    return 4 + work + 1e-5 * looks


def measure(
    cell: Cell, key: Any, checkpoint: Checkpoint | None = None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """One row, with the losses of a training."""
    language = language_of(cell.language, 0)
    row: dict[str, Any] = dict(truths(language, cell.length))
    fit_key, made_key, token_key, noise_key, fresh_key = jax.random.split(key, 5)
    shape = sequences_of(cell.length, cell.effort), cell.length
    tokens = np.asarray(language.sample(token_key, *shape))
    clean = np.asarray(language.embeddings, np.float32)[tokens]
    at = noised(clean, np.asarray(normal(noise_key, clean.shape, "float32")))
    fresh = np.asarray(normal(fresh_key, clean.shape, "float32"))
    model, losses = _model(cell, fit_key, language, checkpoint)
    if cell.family == "student":
        at = {1.0: fresh}
        row |= _students(model, language, fresh)
    else:
        row |= made(made_key, model, language, shape, _ways(cell))
        row |= errors(model, language.denoiser(), clean, at)
    points = max(4, int(POINTS * cell.effort))
    few = {t: z[:points] for t, z in at.items()}
    depth = 1 if cell.family == "student" else STEPS
    row |= stiffness(model, few, fresh[: max(2, points // 4)], depth)
    if cell.family == "floor":
        return row, {}
    row |= certificates(model, row["law_max"])
    row |= {"first_loss": float(losses[0]), "last_loss": float(losses[-1])}
    return row, {"losses": losses}


def _model(
    cell: Cell, key: Any, language: Language, checkpoint: Checkpoint | None
) -> tuple[Any, np.ndarray]:
    """A trained denoiser or student with its losses, or the exact posterior at a floor."""
    if cell.family == "floor":
        return language.denoiser(cell.floor), np.array([])
    lesson_key, fresh_key, fit_key = jax.random.split(key, 3)
    lesson: Denoising | Distilling = Denoising(language, cell.length)
    make: Any = lipschitz_denoiser
    if cell.family == "student":
        lessons = max(64, int(LESSONS * cell.effort)), cell.length, language.dimension
        noise = np.asarray(normal(lesson_key, lessons, "float32"))
        lesson, make = Distilling(noise, taught(language, noise)), lipschitz_student
    shape: dict[str, int] = {"window": cell.window, "width": cell.width}
    model = make(fresh_key, language, cell.stiffness, **shape)
    return trained(fit_key, model, lesson, Pace(cell.steps, cell.batch), checkpoint)


def _students(model: Any, language: Language, noise: np.ndarray) -> dict[str, Any]:
    """What a student makes of noise, beside its teacher."""
    tokens = taught(language, noise)
    latents, row = agreement(model, noise, tokens, language.read)
    teacher = np.asarray(language.embeddings)[tokens]
    for name, z in (("ode_1", latents), ("teacher", teacher)):
        row |= {f"{name}_{what}": value for what, value in described(language, z).items()}
    return row


def _ways(cell: Cell) -> dict[str, Any]:
    """Steps of the ODE and with churn by name; a single step has nothing to raise."""
    found = {}
    for depth in map(int, cell.depths.split()[1:]):
        at = times("uniform", depth)
        found[f"ode_{depth}"] = plan("exact", RECTIFIED_FLOW, at)
        if depth > 1:
            found[f"churn_{depth}"] = plan("churn", RECTIFIED_FLOW, at, CHURN)
    return found
