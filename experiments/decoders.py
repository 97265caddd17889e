"""The real heads of `registry.DECODERS`: readouts, and latents of real input, kept by content.

Latents are written once to the cache folder under a hash of everything that they depend on: the
weights' files, the code that reads them, the text and how many are asked for.
"""

import functools
import hashlib
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from theory.bridge import catalog
from theory.bridge.corpus import english_text, english_words
from theory.bridge.reading import MissingReader
from theory.nearest import MANY
from theory.partition import PowerDiagram

from experiments import store
from experiments.registry import DECODERS, choose
from experiments.store import Unavailable, canonical

WINDOW = 32  # tokens that the two transformers read together: many windows, independent latents


class Sampled(NamedTuple):
    """Latents of a head; `group` marks those of one word, line or window of text."""

    latents: np.ndarray
    group: np.ndarray


@dataclass(frozen=True)
class Decoder:
    """How a decoder is loaded and fed.

    Fields:
        artifacts: what of the catalog it reads, in the order `load` takes the paths.
        load: paths to model.
        sample: model and count to latents.
    """

    artifacts: tuple[str, ...]
    load: Callable[..., Any]
    sample: Callable[[Any, int], Sampled]


def _g2p(path: Path) -> Any:
    from theory.bridge.g2p_en import G2P

    return G2P.from_file(path)


def _spelled(model: Any, count: int) -> Sampled:
    found = model.latents(english_words(max(2, -(-count // 4))))  # a word has 4 phonemes or more
    return Sampled(np.asarray(found.states)[:count], np.asarray(found.word)[:count])


def _textgenrnn(weights: Path, vocabulary: Path) -> Any:
    from theory.bridge.textgenrnn import TextGenRNN

    return TextGenRNN.from_files(weights, vocabulary)


def _pp_ocr(path: Path) -> Any:
    from theory.bridge.pp_ocr import Recognizer

    return Recognizer(path)


def _frames(blank: bool) -> Callable[[Any, int], Sampled]:
    def sample(model: Any, count: int) -> Sampled:
        found = model.latents(3 * count)  # nearly half of the frames are blank
        kept = np.flatnonzero(np.asarray(found.blank) == blank)[:count]
        return Sampled(np.asarray(found.states)[kept], np.asarray(found.group)[kept])

    return sample


def _minilm(weights: Path, tokenizer: Path) -> Any:
    from theory.bridge.minilm import MiniLM

    return MiniLM.from_files(weights, tokenizer)


def _smollm2(path: Path) -> Any:
    from theory.bridge.smollm2 import SmolLM2

    return SmolLM2.from_file(path)


def _read(model: Any, count: int) -> Sampled:
    found = model.latents(count)
    return Sampled(np.asarray(found.states), np.asarray(found.group))


def _windows(model: Any, count: int) -> Sampled:
    found = model.latents(count, window=WINDOW)
    return Sampled(np.asarray(found.states), np.asarray(found.group))


LOADED = {
    "g2p-en": Decoder(("g2p-en",), _g2p, _spelled),
    "textgenrnn": Decoder(("textgenrnn", "textgenrnn-vocabulary"), _textgenrnn, _read),
    "pp-ocr": Decoder(("pp-ocr",), _pp_ocr, _frames(False)),
    "pp-ocr-blank": Decoder(("pp-ocr",), _pp_ocr, _frames(True)),
    "minilm": Decoder(("minilm", "minilm-tokenizer"), _minilm, _windows),
    "smollm2": Decoder(("smollm2",), _smollm2, _windows),
}


def check_decoders(names: tuple[str, ...]) -> None:
    """ValueError unless every name is known."""
    for name in names:
        choose("decoder", name, DECODERS)


def model(name: str) -> Any:
    """The decoder, fetched when it is not there.

    Raises:
        Unavailable: when its weights, or a package that reads them, cannot be had here.
    """
    decoder = LOADED[name]
    try:
        return decoder.load(*map(catalog.locate, decoder.artifacts))
    except (catalog.WeightsUnavailable, MissingReader) as reason:
        raise Unavailable(str(reason)) from reason


def sampled(name: str, count: int) -> tuple[PowerDiagram, Sampled]:
    """The readout, and `count` latents of real input; those from the cache where they are there.

    Raises:
        Unavailable: as `model`.
        ValueError: when there is not as much input.
    """
    loaded, kept = model(name), store.Checkpoint(_path(name, count))
    found = kept.load()
    if found is None:
        found = list(LOADED[name].sample(loaded, count))
        kept.path.parent.mkdir(parents=True, exist_ok=True)
        kept.save(found)
    latents, group = found
    if (head := loaded.head()).modes <= MANY:  # in float64 a screen is a decision
        head = PowerDiagram(
            np.asarray(head.sites, np.float64), np.asarray(head.offsets, np.float64)
        )
        latents = np.asarray(latents, np.float64)
    return head, Sampled(latents, group)


def _path(name: str, count: int) -> Path:
    """A name that says what the latents are made of; they lie in the checkpoint beside it."""
    decoder = LOADED[name]
    ingredients = {
        "count": count,
        "name": name,
        "weights": [catalog.artifact(one).sha256 for one in decoder.artifacts],
        "code": _code(),
        "text": hashlib.sha256(english_text().encode()).hexdigest(),
        "python": platform.python_version(),
    }
    word = hashlib.sha256(canonical(ingredients).encode()).hexdigest()[:20]
    return catalog.cache_folder() / "latents" / f"{name}-{count}-{word}.json"


@functools.cache
def _code() -> str:
    """One digest of the code that makes latents: this file and `theory.bridge`."""
    files = [Path(__file__), *sorted(Path(catalog.__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
