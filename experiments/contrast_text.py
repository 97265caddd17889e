"""Rows of `decoder_contrast` for text heads; the outputs of a head are its logits."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from theory.bridge.g2p_en import said
from theory.carrier import cci
from theory.denoise_step import steps
from theory.gaussian import normal
from theory.residual import row_space
from theory.residual_law import mean_cosine, normal_ratio
from theory.sensitivity import (
    DIRECTIONS,
    Sensitivity,
    directions,
    logits,
    sensitivity,
    singular_directions,
)

from experiments import decoders, written
from experiments.commit_ablation import (
    GENERATORS,
    MORE,
    GenerationStep,
    erasure_row,
    retention_row,
)
from experiments.decoder_response import independent
from experiments.decoder_sensitivity import dabi_row, responses
from experiments.heads import Head
from experiments.real_heads import fitted, halves, real_head

FEEDBACK = {"token": 0.0, "average": 1.0}  # what is fed back, and its softness λ
TEXTS = 64  # prompts of a generator's CCI
WORDS = {"g2p-en": 3}  # groups of latents that a strip spells, else one
SAID = 40  # tokens of a strip at most


def ways(name: str) -> tuple[str, ...]:
    """What an autoregressive decoder can feed back; others are no generators."""
    return tuple(FEEDBACK) if name in GENERATORS else ()


def families(name: str) -> tuple[str, ...]:
    """What is measured of a head; only those that write can say what a strip says."""
    return tuple(f for f in MEASURED if f != "strip" or name in GENERATORS)


def step_row(cell: Any, key: Any) -> dict[str, Any]:
    """Responses of the logits to steps of one relative length in every direction."""
    head, found = _sensitivity(cell, key)
    return {**_sizes(cell, head), **responses(found, ("flips", "output", "rise"), "")}


def generator_row(cell: Any, key: Any) -> dict[str, Any]:
    """DABI of flips along facet normals, and CCI of one generation step."""
    step_key, erase_key = jax.random.split(key)
    head, found = _sensitivity(cell, step_key)
    model = decoders.model(cell.decoder)
    texts = TEXTS * MORE.get(cell.decoder, 1)
    context, z = written.begun(cell.decoder, model, texts)
    step = GenerationStep.of(model, context, FEEDBACK[cell.way])
    return {
        **_sizes(cell, head),
        "dabi_response": "flips",
        **dabi_row(found, "normal", "flips", "dabi"),
        **erasure_row(cci(erase_key, step, z, model.head())),
        **retention_row(step, z),
    }


def spectrum_row(cell: Any, key: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Singular values of the logits' Jacobian, the same at every latent: of the centred weights."""
    head = real_head(cell.decoder, cell.count)
    values = np.sort(np.asarray(row_space(head.diagram).spectrum, np.float64))[::-1]
    square = values**2
    row = {
        **_sizes(cell, head),
        "stretch": float(values[0]),
        "effective_rank": float(square.sum() / square[0]),
        "participation": float(square.sum() ** 2 / (square**2).sum()),
    }
    return row, {"spectrum": values}


def strip_row(cell: Any, key: Any) -> dict[str, Any]:
    """What words or a window of text say when every latent takes one step, by direction."""
    head, model = real_head(cell.decoder, cell.count), decoders.model(cell.decoder)
    law, row = fitted(cell.decoder, cell.count, cell.modes), _sizes(cell, head)
    held_out = dict.fromkeys(head.group[halves(head.group)[1]].tolist())
    chosen = [head.group == group for group in list(held_out)[: WORDS.get(cell.decoder, 1)]]
    pieces = [np.flatnonzero(mask)[:SAID] for mask in chosen]
    z = jnp.asarray(head.latents[np.concatenate(pieces)], jnp.float64)
    (step,) = steps(key, law.mixture, head.diagram, row["scale"], samples=len(z), latents=z)
    top = singular_directions(logits(head.diagram), z)
    along = directions(step.towards, top, step.residual, normal(step.key, z.shape, z.dtype.name))
    moved = {way: z + row["step"] * unit for way, unit in zip(DIRECTIONS, along, strict=True)}
    ends = np.cumsum([len(piece) for piece in pieces])[:-1]
    for way, latents in {"clean": z, **moved}.items():
        tokens = np.split(np.asarray(head.diagram.label(latents)), ends)
        for number, piece in enumerate(tokens):
            row[f"said_{number}_{way}"] = spell(cell.decoder, model, piece)
    return row


def spell(name: str, model: Any, tokens: Any) -> str | None:
    """The tokens on one line, as people read them; None where they say nothing."""
    found = np.asarray(tokens)
    text = " ".join(said(found[None])[0]) if name == "g2p-en" else model.decode(found)
    return " ".join(text.split()) or None


MEASURED: dict[str, Callable[[Any, Any], Any]] = {
    "step": step_row,
    "generator": generator_row,
    "spectrum": spectrum_row,
    "strip": strip_row,
}


def _sensitivity(cell: Any, key: Any) -> tuple[Head, Sensitivity]:
    """At one latent of every group that the law was not fitted on."""
    choice_key, step_key = jax.random.split(key)
    head = real_head(cell.decoder, cell.count)
    law = fitted(cell.decoder, cell.count, cell.modes)
    latents, sizes = independent(choice_key, head), _sizes(cell, head)
    (found,) = sensitivity(
        step_key,
        law.mixture,
        head.diagram,
        sizes["scale"],
        [sizes["step"]],
        samples=len(latents),
        decoders=[logits(head.diagram)],
        latents=latents,
    )
    return head, found


def _sizes(cell: Any, head: Head) -> dict[str, Any]:
    """What lengths are in units of, and how far the facets are in them."""
    norm = float(np.median(np.linalg.norm(np.asarray(head.latents, np.float64), axis=1)))
    dimension = head.diagram.dimension
    return {
        "classes": head.diagram.modes,
        "dimension": dimension,
        "independent": len(np.unique(head.group[halves(head.group)[1]])),
        "norm_median": norm,
        "distance_relative": float(np.median(np.asarray(head.facet.distance))) / norm,
        "step": cell.length * norm,
        "scale": cell.noise * norm / dimension**0.5,
        "normal_limit": normal_ratio(dimension),
        "isotropic_cosine": mean_cosine(dimension),
    }
