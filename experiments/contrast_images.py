"""Rows of `decoder_contrast` for image decoders; outputs are pixels on the scale [0, 1]."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from theory.estimate import Estimate, ratio_of_means
from theory.gaussian import normal
from theory.image_sensitivity import DIRECTIONS, RESPONSES, ImageSensitivity, image_sensitivity
from theory.jacobian import OfRows
from theory.jacobian_spectrum import CYCLES, TOLERANCE, jacobian_spectra
from theory.lanczos import stepwise_pairs
from theory.latent_erasure import latent_erasure
from theory.latent_steps import drawn
from theory.mixture import Mixture
from theory.perceptual import structural_distance

from experiments.decoder_sensitivity import dabi_row
from experiments.image_decoders import Source, source
from experiments.real_heads import spread

COSTLY = ("taef2",)  # a decoding takes 10⁹ multiplications
SHOWN = 4  # images of a strip
SPECTRA = 8  # latents whose Jacobian is decomposed, at most
REPEATED = "encode again"


class EncodeAgain(eqx.Module):
    """z ↦ E(D(z)): what is left of a latent after its image was looked at, as on a screen."""

    decoder: Any

    def __call__(self, z: Any) -> Any:
        """The latents of the images of latents."""
        return self.decoder.encode(jnp.clip(self.decoder.decode(z), 0, 1))


class Denoise(eqx.Module):
    """x ↦ E[Z | Z + sξ = x] of a law of latents: one step to no noise."""

    law: Mixture
    scale: float = eqx.field(static=True)

    def __call__(self, x: Any) -> Any:
        """Posterior means."""
        return self.law.posterior_mean(x, self.scale).astype(x.dtype)


def ways(name: str) -> tuple[str, ...]:
    """Generation steps: a denoising step, and encoding what was decoded."""
    return ("denoise",) if name in ("dcgan", "super-resolver") else ("denoise", REPEATED)


def families(name: str) -> tuple[str, ...]:
    """What is measured of a decoder: everything, of each."""
    return tuple(MEASURED)


def step_row(cell: Any, key: Any) -> dict[str, Any]:
    """Responses of the pixels to steps of one relative length in every direction."""
    here, sizes = _here(cell)
    found = _sensitivity(cell, key, here, sizes)
    root = found.outputs**0.5
    row: dict[str, Any] = {
        **sizes,
        "stretch_median": float(np.median(found.stretch)),
        "residual_relative": float(np.median(found.residual)) / sizes["norm_median"],
        "inside_residual": found.share("residual"),
        "inside_isotropic": found.rank / found.dimension,
    }
    for way in DIRECTIONS:
        row[f"{way}_amplification"] = found.amplification(way)
        row[f"{way}_pixels"] = found.response(way, "output").scaled(255 / root)
        for name in RESPONSES:
            row[f"{way}_{name}"] = found.response(way, name)
            if way != "isotropic":
                row |= dabi_row(found, way, name, f"dabi_{way}_{name}")
    return row


def generator_row(cell: Any, key: Any) -> dict[str, Any]:
    """DABI of the output along its most felt direction, and CCI of one step."""
    here, sizes = _here(cell)
    step_key, erase_key = jax.random.split(key)
    found = _sensitivity(cell, step_key, here, sizes)
    again, at = cell.way == REPEATED, _measured(cell, here)
    carrier = EncodeAgain(here.decoder) if again else Denoise(here.law, sizes["scale"])
    erased = latent_erasure(
        erase_key,
        carrier,
        here.law.posterior_mean,
        here.latents[at],
        sizes["scale"],
        sizes["step"],
        group=here.group[at],
    )
    return {
        **sizes,
        "dabi_response": "output",
        **dabi_row(found, "singular", "output", "dabi"),
        "cci_isotropic": erased.isotropic,
        "cci_residual": erased.residual,
    }


def spectrum_row(cell: Any, key: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Singular values of the Jacobian at a few latents, and how good the decoder is at its task."""
    here, sizes = _here(cell)
    at = _measured(cell, here)[:SPECTRA]
    found = jacobian_spectra(key, OfRows(here.decoder.decode), here.latents[at])
    return {
        **sizes,
        "stretch": float(np.median(found.values[:, 0])),
        "effective_rank": found.effective_rank,
        "participation": found.participation,
        "psnr": _psnr(here),
    }, {"spectrum": found.values}


def strip_row(cell: Any, key: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A few images, and the same after one step in every direction."""
    here, sizes = _here(cell)
    first = np.unique(here.group, return_index=True)[1][:SHOWN]  # of different photographs
    z = jnp.asarray(here.latents[first])
    draw_key, start_key = jax.random.split(key)
    normals = normal(draw_key, (len(z), 3, z.shape[1]), z.dtype.name)
    draws = drawn(normals, here.law.posterior_mean, z, sizes["scale"])
    starts = normal(start_key, (len(z), 1, z.shape[1]), z.dtype.name)
    limits = jnp.asarray(TOLERANCE, z.dtype), jnp.asarray(CYCLES, jnp.int32)
    _, _, top = stepwise_pairs(OfRows(here.decoder.decode), z, starts, *limits)
    long = jnp.linalg.norm(draws.residual, axis=1, keepdims=True)
    ways_ = {
        "singular": draws.sign[:, None] * top[:, 0],
        "residual": draws.residual / long,
        "isotropic": draws.isotropic,
    }
    shown = {"clean": z} | {name: z + sizes["step"] * way for name, way in ways_.items()}
    images = {name: np.asarray(here.decoder.decode(rows)) for name, rows in shown.items()}
    moved = {f"{n}_shown": float(np.abs(images[n] - images["clean"]).mean() * 255) for n in ways_}
    levels = {n: np.round(255 * np.clip(i, 0, 1)).astype(np.uint8) for n, i in images.items()}
    return sizes | moved, levels


MEASURED: dict[str, Callable[[Any, Any], Any]] = {
    "step": step_row,
    "generator": generator_row,
    "spectrum": spectrum_row,
    "strip": strip_row,
}


def _here(cell: Any) -> tuple[Source, dict[str, Any]]:
    """The decoder at its latents, and what lengths are in units of."""
    here = source(cell.decoder, cell.count, cell.modes, cell.training)
    at = _measured(cell, here)
    norm = float(np.median(np.linalg.norm(here.latents.astype(np.float64), axis=1)))
    dimension = here.latents.shape[1]
    return here, {
        "dimension": dimension,
        "outputs": int(np.prod(here.decoder.image_shape)),
        "latents": len(at),
        "independent": len(np.unique(here.group[at])),
        "norm_median": norm,
        "bandwidth": here.bandwidth,
        "step": cell.length * norm,
        "scale": cell.noise * norm / dimension**0.5,
    }


def _sensitivity(cell: Any, key: Any, here: Source, sizes: dict[str, Any]) -> ImageSensitivity:
    at = _measured(cell, here)
    return image_sensitivity(
        key,
        here.decoder.decode,
        here.law.posterior_mean,
        here.latents[at],
        sizes["scale"],
        [sizes["step"]],
        group=here.group[at],
        distance=structural_distance,
    )


def _measured(cell: Any, here: Source) -> np.ndarray:
    """The latents that are stepped from: all, or fewer where they cost."""
    return spread(len(here.latents), cell.most if cell.decoder in COSTLY else len(here.latents))


def _psnr(here: Source) -> Estimate | None:
    """10·log₁₀(1/mean square error) against what should come out, by photograph; None of draws."""
    if here.truth is None:
        return None
    made = [np.asarray(here.decoder.decode(z[None]))[0] for z in jnp.asarray(here.latents)]
    square = ((np.clip(np.stack(made), 0, 1) - here.truth) ** 2).mean(axis=(1, 2, 3))
    decibels = -10 * np.log10(np.maximum(square, 1e-12))
    return ratio_of_means(decibels, np.ones(len(decibels)), here.group)
