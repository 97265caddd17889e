"""What autoregressive decoders write at a softness of feedback, and how good that is.

Every function returns the same: the latents where generation starts, with their context, columns
of quality, and samples. Prompts are independent words or windows of text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from theory.bridge import catalog
from theory.bridge.autoregressive import generate
from theory.bridge.corpus import english_text, english_words
from theory.bridge.g2p_en import STEPS, said
from theory.bridge.pronunciation import phoneme_errors, read_cmudict
from theory.estimate import Estimate, from_samples, ratio_of_means

from experiments.store import Unavailable

GRAM = 4  # tokens of a repetition
SAMPLES = 3
PROMPT = {"textgenrnn": 40, "smollm2": 32}  # tokens read before writing begins


@dataclass(frozen=True)
class Written:
    """Latents where writing starts, their context, columns of quality, and samples."""

    latents: Any
    context: Any
    row: dict[str, Estimate]
    samples: list[str]


def spelled(model: Any, texts: int, steps: int, softness: float) -> Written:
    """g2p-en on words: errors over the nearest listed pronunciation, with and without stress.

    `errors_more` are those beyond the errors with tokens fed back, word by word. A step of CCI is
    the first one of every word.

    Raises:
        Unavailable: when the list of pronunciations cannot be had here.
    """
    try:
        listed = read_cmudict(catalog.locate("cmudict"))
    except catalog.WeightsUnavailable as reason:
        raise Unavailable(str(reason)) from reason
    words = [word for word in english_words(2 * texts) if word in listed][:texts]
    context, z = model.begin(words)
    hard = said(np.asarray(generate(model, context, z, STEPS).tokens))
    heard = said(np.asarray(generate(model, context, z, STEPS, softness).tokens))
    least, found = (phoneme_errors(each, words, listed) for each in (hard, heard))
    unstressed = phoneme_errors(heard, words, listed, stress=False)
    row = {
        "phoneme_errors": ratio_of_means(found.errors, found.length),
        "errors_without_stress": ratio_of_means(unstressed.errors, unstressed.length),
        "errors_more": ratio_of_means(found.errors - least.errors, least.length),
    }
    samples = [f"{w}: {' '.join(h)}" for w, h in zip(words, heard, strict=True)]
    return Written(z, context, row, sorted(samples, key=len)[-SAMPLES:])


def characters(model: Any, texts: int, steps: int, softness: float) -> Written:
    """textgenrnn on windows of prose: nats a character of what it writes and of the true text."""
    length = PROMPT["textgenrnn"]
    windows = _pieces(_letters(model), texts, length + steps)
    context, z = model.begin([piece[:length] for piece in windows])
    tokens = np.asarray(generate(model, context, z, steps, softness).tokens)
    prompts = np.stack([model.encode(piece[:length]) for piece in windows])
    true = np.stack([model.encode(piece) for piece in windows])
    row = _quality(model.nats(np.concatenate([prompts, tokens], axis=1)), tokens)
    row["true_nats"] = from_samples(model.nats(true, softness)[:, length:].mean(axis=1))
    return Written(z, context, row, _samples(model, tokens))


def sentences(model: Any, texts: int, steps: int, softness: float) -> Written:
    """smollm2 on windows of prose: nats a token of what it writes, and repetition."""
    length = PROMPT["smollm2"]
    prompts = np.stack(_pieces(model.encode(english_text()), texts, length))
    context, z = model.begin(prompts, length + steps + 1)
    tokens = np.asarray(generate(model, context, z, steps, softness).tokens)
    row = _quality(model.nats(np.concatenate([prompts, tokens], axis=1)), tokens)
    return Written(z, context, row, _samples(model, tokens))


WRITTEN: dict[str, Callable[[Any, int, int, float], Written]] = {
    "g2p-en": spelled,
    "textgenrnn": characters,
    "smollm2": sentences,
}


def begun(name: str, model: Any, texts: int) -> tuple[Any, Any]:
    """Context and latents after so many independent prompts were read, before anything is written.

    Raises:
        ValueError: on a decoder that does not write, or more prompts than the text gives.
    """
    length = PROMPT.get(name, 0)
    if name == "g2p-en":
        return model.begin(english_words(texts))
    if name == "textgenrnn":
        return model.begin(_pieces(_letters(model), texts, length))
    if name == "smollm2":
        prompts = np.stack(_pieces(model.encode(english_text()), texts, length))
        return model.begin(prompts, length + 2)
    raise ValueError(f"expected one of {', '.join(WRITTEN)}, got {name!r}")


def _letters(model: Any) -> str:
    """The text, without what the model has no symbol for."""
    known = set(model.symbols)
    return "".join(letter for letter in english_text() if letter in known)


def _quality(nats: np.ndarray, tokens: np.ndarray) -> dict[str, Estimate]:
    """−log p a token of the written part, as the model reads tokens; and its repetition."""
    own = nats[:, -tokens.shape[1] :].mean(axis=1)
    return {
        "nats": from_samples(own),
        "repetition": from_samples([repetition(row) for row in tokens]),
    }


def _samples(model: Any, tokens: np.ndarray) -> list[str]:
    """A few texts, each on one line."""
    return [" ".join(model.decode(row).split()) for row in tokens[:SAMPLES]]


def repetition(tokens: Sequence[int]) -> float:
    """The share of runs of GRAM tokens that have been written before in the same text."""
    runs = [tuple(tokens[k : k + GRAM]) for k in range(len(tokens) - GRAM + 1)]
    return 1 - len(set(runs)) / len(runs)


def _pieces(text: Any, count: int, length: int) -> list[Any]:
    """So many pieces of one length of a text or of its tokens, evenly spread."""
    stride = len(text) // count
    if stride < length:
        raise ValueError(f"the text gives {len(text) // length} pieces, got texts {count}")
    return [text[k * stride : k * stride + length] for k in range(count)]
