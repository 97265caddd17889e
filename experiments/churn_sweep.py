"""Where an SDE beats the ODE: churn γ against steps K, one ingredient varied at a time (figure 9).

Churn 0 is the ODE. With the exact denoiser nothing is left to blame on training; a noise floor
limits its stiffness, and guidance pushes it away from a mixture of two languages. The grid
`shifted` looks at half way where churn ½ does, at t = ¾, but adds no noise: what it gains is the
look's, not the noise's.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from experiments.generation import LANGUAGES, WAYS, Generation, check, generated, way_of, work


@dataclass(frozen=True)
class Grid:
    """Churn and steps, for every language and every ingredient."""

    churns: tuple[float, ...] = field(
        default=(0.0, 0.25, 0.5, 1.0), metadata={"help": "γ; 0 is the ODE"}
    )
    steps: tuple[int, ...] = field(default=(2, 4, 8, 16), metadata={"help": "K"})
    languages: tuple[str, ...] = field(
        default=(
            *(f"markov 256 0.02 {n} random" for n in (16, 32, 64, 128, 256)),
            "markov 64 0.05 16 random",
            "markov 256 0.02 128 clustered",
        ),
        metadata={"help": f"by rectified flow on a uniform grid: {LANGUAGES}"},
    )
    bases: tuple[str, ...] = field(
        default=("markov 64 0.05 16 random", "markov 64 0.05 128 random"),
        metadata={"help": "languages whose other ingredients are varied"},
    )
    places: tuple[str, ...] = field(
        default=(
            "flow, uniform, argmax",
            "flow, cosine, argmax",
            "flow, logit-normal, argmax",
            "flow, shifted, argmax",
            "preserving, uniform, argmax",
        ),
        metadata={"help": f"of the bases, without the sampler: {WAYS}"},
    )
    guidances: tuple[float, ...] = field(default=(1.5, 3.0), metadata={"help": "w of the bases"})
    floors: tuple[float, ...] = field(
        default=(0.25, 0.5, 1.0), metadata={"help": "s₀ of the bases, least σ/α of the posterior"}
    )
    length: int = field(default=64, metadata={"help": "L"})
    draws: int = field(default=1, metadata={"help": "draws of chain and embeddings"})
    effort: float = field(default=0.5, metadata={"help": "factor on numbers of samples"})

    def __post_init__(self) -> None:
        """ValueError on an unknown name or a number out of range."""
        if not all(0 <= churn < math.inf for churn in self.churns):
            raise ValueError(f"churns are ≥ 0 and finite, got {self.churns}")
        if not 1 <= self.draws <= 1000:
            raise ValueError(f"draws are from 1 to 1000, got {self.draws}")
        for cell in cells(self):
            check(cell)


@dataclass(frozen=True)
class Cell(Generation):
    """A generation, and which ingredient it varies."""

    varied: str


def cells(grid: Grid) -> list[Cell]:
    """Every churn and K for every language, place, guidance and floor."""
    plain = "flow, uniform, argmax"
    found = [("dimension", language, plain, 0.0, 0.0) for language in grid.languages]
    for base in grid.bases:
        found += [("place", base, place, 0.0, 0.0) for place in grid.places]
        found += [("guidance", base, plain, w, 0.0) for w in grid.guidances]
        found += [("floor", base, plain, 0.0, s) for s in grid.floors]
    return [
        Cell(
            language=language,
            length=grid.length,
            **way_of(f"churn {churn}, {place}"),
            guidance=guidance,
            floor=floor,
            steps=k,
            draw=draw,
            effort=grid.effort,
            varied=varied,
        )
        for varied, language, place, guidance, floor in found
        for draw in range(grid.draws)
        for churn in grid.churns
        for k in grid.steps
    ]


PRESETS = {
    "quick": Grid(
        churns=(0.0, 0.5),
        steps=(2,),
        languages=("markov 16 0.2 32 random",),
        bases=("markov 16 0.2 32 random",),
        places=("flow, shifted, argmax",),
        guidances=(1.5,),
        floors=(),
        length=16,
        draws=1,
        effort=0.125,
    ),
    "default": Grid(
        churns=(0.0, 0.5),
        steps=(2, 4),
        languages=("markov 64 0.05 16 random", "markov 64 0.05 128 random"),
        bases=("markov 64 0.05 128 random",),
        places=("flow, shifted, argmax",),
        guidances=(1.5,),
        floors=(0.5,),
        length=32,
        draws=1,
        effort=0.25,
    ),
    "paper": Grid(),
}


def cost(cell: Cell) -> float:
    """Rough seconds on one core, to start the longest cells first."""
    return work(cell)


def measure(cell: Cell, key: Any) -> dict[str, Any]:
    """One row: what is said at this churn and K."""
    return generated(cell, key)
