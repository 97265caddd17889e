"""Text heads and image decoders under the same steps: DABI, CCI, Jacobians and what it looks like.

Every decoder takes steps of one length in units of its own median ‖Z‖, along the residual of a
denoising step, an isotropic direction, and the direction that its outputs feel most: for text the
normal of the nearest facet, beside the top right singular vector of the Jacobian that images have.
So "boundary-aligned" is never compared with a weaker direction of images. Noise of the residual is
in the same unit. Families: `step` (the paper's figures 2 and 7), `generator` (the plane of DABI and
CCI, its figure 8, with synthetic generators too), `spectrum` of Jacobians, and `strip`: decoded
images, words and sentences under one step of each kind.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from experiments import contrast_images, contrast_text, diagnostic_taxonomy
from experiments.registry import DECODERS, IMAGES, choose

FAMILIES = ("step", "generator", "spectrum", "strip")
SYNTHETIC = "synthetic"
CLEAN = 0.0
NONE = "none"


@dataclass(frozen=True)
class Grid:
    """Which decoders, steps of which lengths, how many latents."""

    text: tuple[str, ...] = field(
        default=("g2p-en", "textgenrnn", "pp-ocr", "smollm2"),
        metadata={"help": f"any of {', '.join(DECODERS)}"},
    )
    images: tuple[str, ...] = field(
        default=("dcgan", "autoencoder", "super-resolver", "taef2"),
        metadata={"help": f"any of {', '.join(IMAGES)}"},
    )
    lengths: tuple[float, ...] = field(
        default=(0.03, 0.1, 0.3), metadata={"help": "of the steps, over the median ‖Z‖"}
    )
    noise: float = field(
        default=0.25, metadata={"help": "s√n of the residuals, over the median ‖Z‖"}
    )
    plane: float = field(
        default=0.1, metadata={"help": "length of the steps of generators and strips, as lengths"}
    )
    carriers: tuple[str, ...] = field(
        default=("pass", "constant", "commit", "soft 4", "soft 1", "denoise 0.5", "ode 0.5 0.25"),
        metadata={"help": "synthetic generators in the plane: carriers of diagnostic_taxonomy"},
    )
    count: int = field(default=4000, metadata={"help": "latents of text"})
    crops: int = field(default=128, metadata={"help": "latents of images"})
    most: int = field(default=32, metadata={"help": "latents at most where decoding costs"})
    modes: int = field(default=128, metadata={"help": "Gaussians in fitted laws of latents"})
    training: int = field(default=4000, metadata={"help": "steps of the autoencoder's training"})
    families: tuple[str, ...] = field(
        default=FAMILIES, metadata={"help": f"any of {', '.join(FAMILIES)}"}
    )

    def __post_init__(self) -> None:
        """ValueError on an unknown name or a number out of range."""
        named = (
            ("decoder", self.text, DECODERS),
            ("image decoder", self.images, IMAGES),
            ("family", self.families, FAMILIES),
        )
        for kind, names, known in named:
            for name in names:
                choose(kind, name, known)
        small = self.count < 16 or self.crops < 4
        if small or self.most < 2 or self.modes < 2 or self.training < 1:
            raise ValueError(
                "expected count ≥ 16, crops ≥ 4, most ≥ 2, modes ≥ 2 and training ≥ 1, got "
                f"{self.count}, {self.crops}, {self.most}, {self.modes} and {self.training}"
            )
        lengths = (*self.lengths, self.noise, self.plane)
        if not self.lengths or not all(0 < x < math.inf for x in lengths):
            raise ValueError(f"lengths, noise and plane must be positive and finite, got {lengths}")


PRESETS = {
    "quick": Grid(
        ("g2p-en",),
        ("dcgan",),
        lengths=(0.1,),
        carriers=(),
        count=600,
        crops=4,
        most=4,
        modes=100,
        training=50,
        families=("step",),
    ),
    "default": Grid(
        ("g2p-en",),
        ("autoencoder",),
        lengths=(0.1,),
        carriers=(),
        count=600,
        crops=32,
        most=8,
        modes=32,
        training=200,
        families=("step", "generator", "spectrum"),
    ),
    "paper": Grid(),
}


@dataclass(frozen=True)
class Cell:
    """One decoder in one family; `way` is what feeds back, or a synthetic generator's carrier."""

    family: str
    kind: str
    decoder: str
    way: str
    length: float
    noise: float
    count: int
    most: int
    modes: int
    training: int


def cells(grid: Grid) -> list[Cell]:
    """Every decoder in every family, and synthetic generators."""
    made = []
    for kind, names, count in (("text", grid.text, grid.count), ("image", grid.images, grid.crops)):
        for name in names:
            training = grid.training if name == "autoencoder" else 0
            most = 0 if kind == "text" else grid.most
            rest = (grid.noise, count, most, grid.modes, training)
            module = contrast_text if kind == "text" else contrast_images
            own = [Cell("step", kind, name, NONE, x, *rest) for x in grid.lengths]
            own += [Cell("generator", kind, name, w, grid.plane, *rest) for w in module.ways(name)]
            own += [Cell("spectrum", kind, name, NONE, CLEAN, *rest)]
            own += [Cell("strip", kind, name, NONE, grid.plane, *rest)]
            made += [cell for cell in own if cell.family in module.families(name)]
    made += [
        Cell("generator", SYNTHETIC, "random 64 16", carrier, 0.0, 0.0, 0, 0, 0, 0)
        for carrier in grid.carriers
    ]
    return [cell for cell in made if cell.family in grid.families]


def cost(cell: Cell) -> float:
    """Rough seconds on one core, to start the longest cells first.

    The first cell of an autoencoder trains it, and the others find it trained.
    """
    each = {"smollm2": 60.0, "taef2": 120.0, "super-resolver": 60.0, "pp-ocr": 10.0}
    share = {"step": 1, "generator": 4, "spectrum": 2, "strip": 4}[cell.family]
    training = 8 + 0.02 * cell.training if cell.training and cell.family == "step" else 0.0
    return each.get(cell.decoder, 5.0) / share + training


def program(cell: Cell) -> str:
    """What cells of one decoder compile and load, they share."""
    return cell.decoder


def measure(cell: Cell, key: Any) -> dict[str, Any] | tuple[dict[str, Any], dict[str, np.ndarray]]:
    """One row, with arrays of spectra and strips."""
    if cell.kind == SYNTHETIC:
        return _synthetic(cell, key)
    module = contrast_text if cell.kind == "text" else contrast_images
    return module.MEASURED[cell.family](cell, key)


def _synthetic(cell: Cell, key: Any) -> dict[str, Any]:
    """A generator of `diagnostic_taxonomy` as it is there, at a quarter of its effort."""
    grid = diagnostic_taxonomy.Grid((cell.decoder,), (cell.way,), noises=(0.0,), effort=0.25)
    one = next(c for c in diagnostic_taxonomy.cells(grid) if c.family == "generator")
    row = diagnostic_taxonomy.measure(one, key)
    kept = ("dabi", "cci_", "retention", "classes", "dimension", "normal_limit")
    return {name: value for name, value in row.items() if name.startswith(kept)}
