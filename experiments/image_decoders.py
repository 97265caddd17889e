"""The image decoders of `registry.IMAGES`, with latents of real images and a law of them.

Latents are those of crops of photographs, of which every second one is for the law and for the
training of the autoencoder, and the others for what is measured; those of the generator are drawn
from the law that it was trained on.
"""

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from theory import autoencoder
from theory.autoencoder import Schedule, Training, begin, train
from theory.bridge import catalog
from theory.bridge.photographs import NAMES, MissingPhotographs, crops
from theory.bridge.reading import MissingReader
from theory.latent_law import fit
from theory.mixture import Mixture

from experiments import store
from experiments.real_heads import halves, spread
from experiments.registry import IMAGES, choose
from experiments.store import Unavailable, canonical
from experiments.training import leaves_of, restored

SIZES = {"autoencoder": 16, "super-resolver": 16, "taef2": 64}  # pixels a side of what is encoded
SHRINK = {"autoencoder": 2}  # pixels of the photographs averaged, so that a small crop shows more
PATCHES = 4096  # of which the autoencoder is trained on those that are not measured on


@dataclass(frozen=True)
class Source:
    """A decoder with latents to step from.

    Fields:
        decoder: a `theory.bridge.image_decoder.ImageDecoder`.
        latents: of images the law does not know, shape (N, n).
        group: equal for crops of one photograph.
        law: of latents.
        bandwidth: of the law where it is fitted; 0 where it is known.
        truth: what the decoder should make of them; None of draws.
    """

    decoder: Any
    latents: np.ndarray
    group: np.ndarray
    law: Mixture
    bandwidth: float
    truth: np.ndarray | None


@functools.lru_cache(maxsize=2)
def source(name: str, count: int, modes: int, steps: int) -> Source:
    """The decoder with `count` latents, a law of `modes` Gaussians, the autoencoder's steps.

    Raises:
        Unavailable: when weights, photographs or a package that reads them cannot be had here.
        ValueError: on an unknown name, or more crops than there are.
    """
    choose("image decoder", name, IMAGES)
    try:
        if name == "dcgan":
            return _drawn(count)
        return _encoded(name, steps, count, modes)
    except (catalog.WeightsUnavailable, MissingReader, MissingPhotographs) as reason:
        raise Unavailable(str(reason)) from reason


def _drawn(count: int) -> Source:
    from theory.bridge.dcgan import DCGAN

    decoder = DCGAN.from_file(catalog.locate("dcgan"))
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((count, decoder.dimension)).astype(np.float32)
    law = Mixture(np.zeros((1, decoder.dimension)), 1.0)
    return Source(decoder, latents, np.arange(count), law, 0.0, None)


def _loaded(name: str, steps: int) -> Any:
    size = SIZES[name]
    if name == "autoencoder":
        return trained(steps)
    if name == "super-resolver":
        from theory.bridge.super_resolver import SuperResolver

        path, _ = (catalog.locate(part) for part in ("super-resolver", "super-resolver-weights"))
        return SuperResolver.from_file(path, size)
    from theory.bridge.taef2 import TAEF2

    encoder, decoder = (catalog.locate(half) for half in ("taef2-encoder", "taef2-decoder"))
    return TAEF2.from_files(encoder, decoder, size)


def _encoded(name: str, steps: int, count: int, modes: int) -> Source:
    """Crops of all photographs: those of every second one make the law."""
    decoder = _loaded(name, steps)
    images, truth, group = photographs(name, 2 * count)
    latents = _in_parts(decoder.encode, images)
    known, new = (np.flatnonzero(each) for each in halves(group))
    means = latents[known[spread(len(known), modes)]]
    law = fit(means, latents[new[spread(len(new), 4 * modes)]])
    found = (latents[new], group[new], law.mixture, law.bandwidth, truth[new])
    return Source(decoder, *found)


def photographs(name: str, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Crops, what the decoder should make of them, and of which photograph each is."""
    size = SIZES[name]
    if name != "super-resolver":
        images, group = crops(size, count, shrink=SHRINK.get(name, 1))
        return images, images, group
    large, group = crops(2 * size, count)
    small = large.reshape(len(large), size, 2, size, 2, 3).mean(axis=(2, 4))
    return small, large, group


def trained(steps: int) -> Any:
    """The autoencoder, trained on the photographs that are not measured on, or found in the cache.

    A training that was killed goes on where it was; two processes do not train the same.
    """
    side, schedule = SIZES["autoencoder"], Schedule(steps)
    images, group = crops(side, PATCHES, shrink=SHRINK["autoencoder"])
    known = images[halves(group)[0]]
    state, kept = begin(jax.random.key(0), side, schedule), store.Checkpoint(_path(schedule))
    with catalog.held(kept.path.parent):
        if (leaves := kept.load()) is not None:
            state = restored(state, leaves)
        done = train(jax.random.key(1), state, known, schedule, announce=partial(_keep, kept))
    return done.trained


def _keep(kept: store.Checkpoint, state: Training) -> None:
    kept.save(leaves_of(state))


def _path(schedule: Schedule) -> Path:
    """A name that says what the weights are made of."""
    code = [Path(__file__), Path(autoencoder.__file__)]
    ingredients = {
        "schedule": repr(schedule),
        "code": hashlib.sha256(b"".join(file.read_bytes() for file in code)).hexdigest(),
        "photographs": list(NAMES),
        "versions": [jax.__version__],
    }
    word = hashlib.sha256(canonical(ingredients).encode()).hexdigest()[:20]
    return catalog.cache_folder() / "autoencoder" / f"{word}.json"


def _in_parts(encode: Callable, images: np.ndarray, rows: int = 32) -> np.ndarray:
    """All latents, a few images at a time."""
    parts = [encode(jnp.asarray(images[k : k + rows])) for k in range(0, len(images), rows)]
    return np.concatenate([np.asarray(part) for part in parts])
