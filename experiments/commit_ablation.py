"""What real autoregressive decoders lose when softmax averages are fed back, not tokens (§8).

A cell is one decoder at one softness λ: 0 feeds back the embedding of the argmax token, 1 the
average of embeddings under the softmax. What is generated is judged by something that does not
depend on λ: listed pronunciations (g2p-en), or the model's own chances of the text as it reads
tokens (textgenrnn, smollm2), beside how often the text repeats itself.

CCI is that of a whole generation step z ↦ z′, the latent of the next token, in one space and unit:
what is carried on is the state (g2p-en) or the context with what was fed back. Perturbations stay
below the margin, so at λ = 0 what is fed back does not move at all; what then moves is carried by
the state. `retention` is the share of latents whose token is the row nearest to what is fed back.
"""

from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from theory.bridge.autoregressive import fed_back
from theory.carrier import Erasure, cci, nearest_embedding
from theory.estimate import proportion
from theory.partition import PowerDiagram

from experiments import decoders, written
from experiments.heads import share
from experiments.registry import choose

GENERATORS = ("g2p-en", "textgenrnn", "smollm2")
MORE = {"g2p-en": 8}  # words for every text: they are short


@dataclass(frozen=True)
class Grid:
    """Which decoders, how soft, how many texts."""

    decoders: tuple[str, ...] = field(
        default=("g2p-en", "textgenrnn"), metadata={"help": f"any of {', '.join(GENERATORS)}"}
    )
    softness: tuple[float, ...] = field(
        default=(0.0, 1.0), metadata={"help": "λ: 0 feeds back tokens, 1 averages"}
    )
    texts: int = field(default=200, metadata={"help": "words or prompts, independent"})
    steps: int = field(default=60, metadata={"help": "tokens written after each prompt"})

    def __post_init__(self) -> None:
        """ValueError on an unknown decoder or a number out of range."""
        for name in self.decoders:
            choose("generator", name, GENERATORS)
        if self.texts < 2 or self.steps < 8:
            raise ValueError(f"expected texts ≥ 2, steps ≥ 8, got {self.texts} and {self.steps}")
        if not self.softness or not all(0 <= x <= 1 for x in self.softness):
            raise ValueError(f"softness lies in [0, 1], got {self.softness}")


PRESETS = {
    "quick": Grid(("g2p-en",), (0.0, 1.0), 60, 20),
    "default": Grid(texts=32, steps=20),
    "paper": Grid(GENERATORS, (0.0, 0.25, 0.5, 0.75, 1.0), 64, 40),
}


@dataclass(frozen=True)
class Cell:
    """One decoder at one softness."""

    decoder: str
    softness: float
    texts: int
    steps: int


def cells(grid: Grid) -> list[Cell]:
    """Every decoder at every softness."""
    return [
        Cell(d, x, MORE.get(d, 1) * grid.texts, grid.steps)
        for d in grid.decoders
        for x in grid.softness
    ]


def cost(cell: Cell) -> float:
    """Rough seconds on one core, to start the longest cells first."""
    seconds = {"g2p-en": 0.0, "textgenrnn": 0.002, "smollm2": 0.02}[cell.decoder]
    return 5 + seconds * cell.texts * cell.steps


def program(cell: Cell) -> str:
    """What cells of one decoder compile and load, they share."""
    return cell.decoder


def measure(cell: Cell, key: Any) -> dict[str, Any]:
    """One row: how good what is written is, what a step erases, and a few samples."""
    model = decoders.model(cell.decoder)
    text = written.WRITTEN[cell.decoder](model, cell.texts, cell.steps, cell.softness)
    step = GenerationStep.of(model, text.context, cell.softness)
    erased = cci(key, step, text.latents, model.head())
    return {
        "independent": len(text.latents),
        **text.row,
        **erasure_row(erased),
        **retention_row(step, text.latents),
        **{f"sample_{k}": said for k, said in enumerate(text.samples)},
    }


class GenerationStep(eqx.Module):
    """z ↦ z′: what a decoder makes of each latent in its context, with feedback of softness λ."""

    model: Any
    context: Any
    diagram: PowerDiagram
    softness: Any

    @classmethod
    def of(cls, model: Any, context: Any, softness: float) -> "GenerationStep":
        """The step of a model by its own head; λ is an array, so that every one runs one code."""
        return cls(model, context, model.head(), jnp.asarray(softness, model.table.dtype))

    def __call__(self, z: Any) -> Any:
        """The latents of the next tokens."""
        return _advanced(self, z)[1]

    def fed(self, z: Any) -> tuple[Any, Any]:
        """Token, and what is fed back."""
        return _advanced(self, z)[0]


@eqx.filter_jit
def _advanced(step: GenerationStep, z: Any) -> tuple[Any, Any]:
    said = fed_back(step.model, step.diagram, z, step.softness)
    return said, step.model.advance(step.context, z, said[1])[1]


def erasure_row(found: Erasure) -> dict[str, Any]:
    """CCI along isotropic and facet-normal perturbations, with what moved."""
    return {
        "cci_isotropic": found.isotropic,
        "cci_normal": found.normal,
        "moved_isotropic": found.moved_isotropic,
        "moved_normal": found.moved_normal,
        "perturbed": found.step,
    }


def retention_row(step: GenerationStep, z: Any) -> dict[str, Any]:
    """How many tokens can be told from what is fed back for them."""
    token, fed = step.fed(z)
    table = nearest_embedding(step.model.table)
    same = table.groups()[np.asarray(token)] == table.groups()[np.asarray(table.label(fed))]
    return share("retention", proportion(int(same.sum()), len(same)))
