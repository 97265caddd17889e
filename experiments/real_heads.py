"""Real heads with their facets and a fitted law of their latents, kept from cell to cell."""

import functools
from typing import Any

import numpy as np
from theory.latent_law import LatentLaw, fit

from experiments.decoders import sampled
from experiments.heads import Head, head_row, make_head


@functools.lru_cache(maxsize=1)
def real_head(decoder: str, count: int) -> Head:
    """The head with its facets; kept, since every noise needs them."""
    diagram, found = sampled(decoder, count)
    return make_head(diagram, found.latents, found.group)


@functools.lru_cache(maxsize=1)
def geometry(decoder: str, count: int) -> dict[str, Any]:
    """Its `head_row`."""
    return head_row(real_head(decoder, count))


@functools.lru_cache(maxsize=1)
def fitted(decoder: str, count: int, modes: int) -> LatentLaw:
    """Fitted on latents of every second group; the others are held out."""
    head = real_head(decoder, count)
    training, held_out = (np.flatnonzero(each) for each in halves(head.group))
    means = head.latents[training[spread(len(training), modes)]]
    return fit(means, head.latents[held_out[spread(len(held_out), 4 * modes)]])


def seconds(decoder: str) -> float:
    """Rough seconds that a cell of this head takes on one core, whatever it measures."""
    return {"smollm2": 200.0, "minilm": 60.0, "pp-ocr": 10.0, "pp-ocr-blank": 10.0}.get(
        decoder, 4.0
    )


def halves(group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the latents of even and of odd groups, in the order the groups come."""
    number = np.unique(group, return_inverse=True)[1].reshape(-1)
    return number % 2 == 0, number % 2 == 1


def spread(count: int, wanted: int) -> np.ndarray:
    """At most so many of the rows, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(int))
