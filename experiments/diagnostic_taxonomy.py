"""DABI × CCI: how a readout feels steps towards its facets, and what a generation step erases.

A generator is a readout of embeddings and a carrier, what one step hands on to the next. A
`generator` row has both coordinates of it (the paper's figure 8) from latents close to the
embeddings: DABI in every variant, CCI isotropic and normal, retention, and where the residual of a
denoising step lies. An `ablation` row has what a language loses when softmax averages are fed back
in place of tokens. No model is trained.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import entr
from theory.carrier import Erasure, cci
from theory.commitment import Order, bisection, left_to_right
from theory.feedback import feed_back, quality
from theory.gaussian import normal
from theory.mixture import Mixture
from theory.partition import PowerDiagram
from theory.residual import geometry
from theory.residual_law import normal_ratio
from theory.sensitivity import LinearDecoder, logits, sensitivity

from experiments import embedded, generators
from experiments.decoder_sensitivity import dabi_row, responses
from experiments.readouts import distances, shape_of

FAILURE = 1e-9
SAMPLES = 8192  # latents of DABI, of CCI and of the residual, each, at effort 1
SEQUENCES = 1024  # of an ablation at effort 1
ORDERS = {"bisection": bisection, "left-to-right": left_to_right}
NONE = "none"
SMOOTH = "smooth"  # a rotation in place of the logits: no argmax


@dataclass(frozen=True)
class Grid:
    """Which generators, in which state, and which ablations."""

    readouts: tuple[str, ...] = field(
        default=("random 64 16", "clustered 64 16", "simplex 17 16", "lowrank 64 8 32"),
        metadata={"help": f"embeddings, {embedded.TABLES}"},
    )
    carriers: tuple[str, ...] = field(
        default=(
            "pass",
            "factor 0.5",
            "constant",
            "commit",
            "soft 4",
            "soft 1",
            "soft 0.25",
            "denoise 0.5",
            "denoise 1",
            "ode 0.5 0.25",
            "churn 0.5 0.25 1",
            "context 1",
        ),
        metadata={"help": generators.CARRIERS},
    )
    decoders: tuple[str, ...] = field(
        default=("argmax", SMOOTH), metadata={"help": f"argmax, or {SMOOTH}, only with 'pass'"}
    )
    noises: tuple[float, ...] = field(
        default=(0.0, 1.0), metadata={"help": "noise of the state that CCI is measured in"}
    )
    length: float = field(
        default=2.0, metadata={"help": "of DABI's steps, over the median distance to a facet"}
    )
    scale: float = field(default=1.0, metadata={"help": "noise s of residuals"})
    width: float = field(default=0.1, metadata={"help": "of the latents about their embeddings"})
    languages: tuple[str, ...] = field(
        default=("random 64 16 32",), metadata={"help": embedded.LANGUAGES}
    )
    orders: tuple[str, ...] = field(
        default=("bisection", "left-to-right"), metadata={"help": f"any of {', '.join(ORDERS)}"}
    )
    softnesses: tuple[float, ...] = field(
        default=(0.0, 0.25, 0.5, 0.75, 1.0),
        metadata={"help": "share of the softmax average in what is fed back"},
    )
    reads: tuple[float, ...] = field(
        default=(0.25,), metadata={"help": "noise at which carried latents are read"}
    )
    effort: float = field(default=1.0, metadata={"help": "factor on numbers of samples"})

    def __post_init__(self) -> None:
        """ValueError on an unknown name or a number out of range."""
        for words in self.readouts:
            embedded.table_sizes(words)
        for words in self.carriers:
            generators.parsed(words)
        for words in self.languages:
            embedded.language_sizes(words)
        _check_among("decoders", self.decoders, ("argmax", SMOOTH))
        _check_among("orders", self.orders, ORDERS)
        if not all(0 <= x < math.inf for x in self.noises):
            raise ValueError(f"noises must be finite and ≥ 0, got {self.noises}")
        if not all(0 <= x <= 1 for x in self.softnesses):
            raise ValueError(f"softnesses lie in [0, 1], got {self.softnesses}")
        for name in ("length", "scale", "width", "effort", "reads"):
            value = getattr(self, name)
            if not all(0 < x < math.inf for x in np.atleast_1d(value)):
                raise ValueError(f"{name} must be positive and finite, got {value}")


def _check_among(name: str, chosen: tuple[str, ...], known: Any) -> None:
    if not all(one in known for one in chosen):
        raise ValueError(f"{name} are any of {', '.join(known)}, got {chosen}")


PRESETS = {
    "quick": Grid(
        ("random 16 8",),
        ("pass", "commit", "soft 1"),
        noises=(0.0,),
        orders=("bisection",),
        softnesses=(0.0, 1.0),
        effort=0.25,
    ),
    "default": Grid(
        ("random 64 16",),
        ("pass", "constant", "commit", "soft 1", "denoise 0.5", "ode 0.5 0.25"),
        noises=(0.0,),
        orders=("bisection",),
        softnesses=(0.0, 1.0),
        effort=0.25,
    ),
    "paper": Grid(languages=("random 64 16 32", "random 16 8 8")),
}


@dataclass(frozen=True)
class Cell:
    """A generator, or an ablation; what is not meant is 0 or none."""

    family: str
    readout: str
    carrier: str
    decoder: str
    noise: float
    length: float
    scale: float
    width: float
    order: str
    softness: float
    read: float
    effort: float


def cells(grid: Grid) -> list[Cell]:
    """Every readout with every carrier in every state, and every ablation.

    Low-rank embeddings have no language of their own, so that no carrier has context there.
    """
    pairs = [
        (r, c)
        for r in grid.readouts
        for c in grid.carriers
        if not (r.startswith("lowrank") and c.startswith("context"))
    ]
    common = grid.length, grid.scale, grid.width, NONE, 0.0, 0.0, grid.effort
    made = [
        Cell("generator", r, c, d, noise, *common)
        for r, c in pairs
        for d in grid.decoders
        for noise in (grid.noises if d == "argmax" else grid.noises[:1])
        if d == "argmax" or (c == "pass" and r == grid.readouts[0])
    ]
    return made + [
        Cell("ablation", w, NONE, NONE, 0.0, 0.0, 0.0, 0.0, order, softness, read, grid.effort)
        for w in grid.languages
        for order in grid.orders
        for read in grid.reads
        for softness in grid.softnesses
    ]


def cost(cell: Cell) -> float:
    """Rough seconds on one core, to start the longest cells first."""
    if cell.family == "generator":
        return 2 + cell.effort * (4 if cell.carrier.startswith("context") else 1)
    _, length = embedded.language_sizes(cell.readout)
    rounds = length if cell.order == "left-to-right" else math.log2(length)
    return 2 + cell.effort * rounds / 4


def measure(cell: Cell, key: Any) -> dict[str, Any]:
    """One row of a generator or of an ablation."""
    return _ablation(cell, key) if cell.family == "ablation" else _generator(cell, key)


def _generator(cell: Cell, key: Any) -> dict[str, Any]:
    keys = jax.random.split(key, 4)
    diagram, law = embedded.readout(cell.readout), embedded.latents(cell.readout, cell.width)
    count = max(1000, int(SAMPLES * cell.effort))
    distance = float(np.median(distances(keys[0], law, diagram)))
    lie = geometry(keys[1], law, diagram, cell.scale, samples=count)
    shape = shape_of(diagram)
    return {
        **shape,
        "distance_median": distance,
        "normal_limit": normal_ratio(diagram.dimension),
        **_dabi(keys[2], cell, diagram, law, cell.length * distance, count),
        **_erasure(keys[3], cell, diagram, count),
        "residual_share": lie.share.scaled(1 / shape["isotropic_share"]),
        "residual_weighted": lie.weighted,
        "residual_cosine": lie.cosine,
    }


def _dabi(
    key: Any, cell: Cell, diagram: PowerDiagram, law: Mixture, length: float, count: int
) -> dict[str, Any]:
    """All variants, and `dabi`: flips along the normal, or without an argmax the output."""
    smooth = cell.decoder == SMOOTH
    rotation = jnp.asarray(embedded.orthogonal(diagram.dimension))
    decoder = LinearDecoder(rotation, jnp.zeros(diagram.dimension)) if smooth else logits(diagram)
    (found,) = sensitivity(
        key, law, diagram, cell.scale, [length], samples=count, decoders=[decoder]
    )
    response = "output" if smooth else "flips"
    return {
        "step": length,
        **responses(found, ("output",) if smooth else ("flips", "output", "rise"), ""),
        "dabi_response": response,
        **dabi_row(found, "normal", response, "dabi"),
    }


def _erasure(key: Any, cell: Cell, diagram: PowerDiagram, count: int) -> dict[str, Any]:
    """CCI of the carrier in its state: latents near embeddings, or these with noise."""
    keys = jax.random.split(key, 4)
    carrier = generators.carrier(cell.carrier, cell.readout, cell.width, keys[0])
    z, group = generators.state(keys[1], cell.carrier, cell.readout, cell.width, count)
    z = z + cell.noise * normal(keys[2], z.shape, z.dtype.name)
    found: Erasure = cci(keys[3], carrier, z, diagram, group=group)
    kept = found.kept(FAILURE)
    return {
        "cci_isotropic": found.isotropic,
        "cci_normal": found.normal,
        "moved_isotropic": found.moved_isotropic,
        "moved_normal": found.moved_normal,
        "perturbed": found.step,
        "retention": found.retention,
        "retention_lower": kept.lower,
        "retention_upper": kept.upper,
        "still": found.still,
    }


def _ablation(cell: Cell, key: Any) -> dict[str, Any]:
    """Tokens read off what is carried at the end, after a first round that is always hard."""
    _, length = embedded.language_sizes(cell.readout)
    language = embedded.language(cell.readout)
    order: Order = ORDERS[cell.order](length)
    count = max(64, int(SEQUENCES * cell.effort))
    carried = feed_back(
        key,
        language,
        order,
        sequences=count,
        softness=cell.softness,
        read=cell.read,
        prompt=1,
    )
    found = quality(language, language.read(carried))
    truth, law = language.truth(length), language.unigram()
    return {
        "vocabulary": language.vocabulary,
        "length_of_sequences": length,
        "perplexity": found.perplexity,
        "truth": truth,
        "perplexity_over_truth": found.perplexity.scaled(1 / truth),
        "entropy": found.entropy,
        "entropy_truth": float(entr(law).sum()),
        "distinct": len(np.unique(np.asarray(language.read(carried)), axis=0)),
    }
