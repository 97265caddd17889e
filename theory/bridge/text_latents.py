"""Latents of running text: windows of tokens of one length, read a few at a time."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from theory.bridge.corpus import english_text
from theory.check import check_count

Tokens = Int[np.ndarray, "rows length"] | Int[Array, "rows length"]


class TextLatents(NamedTuple):
    """Latents of running text, one row each, in order of window and position.

    Fields:
        states: the latent, float32.
        group: index of its window; latents of one window depend on each other.
        position: where in the window, in tokens.
        read: the token of the text at that position.
        token: what the readout says of the latent.
    """

    states: Float[np.ndarray, "latents n"]
    group: Int[np.ndarray, " latents"]
    position: Int[np.ndarray, " latents"]
    read: Int[np.ndarray, " latents"]
    token: Int[np.ndarray, " latents"]


def windows(
    tokens: Int[np.ndarray, " tokens"], count: int, length: int, dropped: int = 0
) -> Int[np.ndarray, "windows length"]:
    """The first windows of the text, end to end, that hold `count` positions when some are dropped.

    Args:
        tokens: the text.
        count: positions wanted.
        length: tokens in a window.
        dropped: positions at the beginning of every window that are not counted.

    Raises:
        ValueError: when nothing is left of a window, or the text is too short.
    """
    check_count("count", count, 1)
    check_count("window", length, dropped + 1)
    available = len(tokens) // length * (length - dropped)
    if count > available:
        raise ValueError(
            f"the text has {len(tokens)} tokens, which give {available} latents in windows of "
            f"{length}, got count {count}"
        )
    wanted = math.ceil(count / (length - dropped))
    return tokens[: wanted * length].reshape(wanted, length)


def running_text(text: str | None) -> str:
    """The text, or the prose that comes with Python."""
    return english_text() if text is None else text


def places(
    count: int, length: int, dropped: int = 0
) -> tuple[Int[np.ndarray, " latents"], Int[np.ndarray, " latents"]]:
    """Window and position of the first `count` latents."""
    index = np.arange(count)
    return index // (length - dropped), index % (length - dropped) + dropped


def checked_tokens(tokens: Tokens, vocabulary: int, context: int) -> Int[np.ndarray, "rows length"]:
    """The tokens in int32: XLA would clamp those that do not exist.

    Raises:
        ValueError: on no tokens, rows longer than the context, tokens outside the vocabulary.
    """
    given = np.asarray(tokens)
    if given.size == 0 or given.shape[1] > context:
        raise ValueError(
            f"expected tokens (rows, length) with length from 1 to {context}, got {given.shape}"
        )
    if not 0 <= given.min() <= given.max() < vocabulary:
        raise ValueError(f"tokens lie in [0, {vocabulary}), got {given.min()} to {given.max()}")
    return given.astype(np.int32)


def in_parts(
    function: Callable[[Array], Any], tokens: Int[np.ndarray, "rows length"], most: int
) -> np.ndarray:
    """The function of all rows, at most so many tokens at a time; one compilation a length."""
    held = min(len(tokens), max(1, most // tokens.shape[1]))
    parts = []
    for first in range(0, len(tokens), held):
        part = tokens[first : first + held]
        filled = np.pad(part, [(0, held - len(part)), (0, 0)])
        parts.append(np.asarray(function(jnp.asarray(filled)))[: len(part)])
    return np.concatenate(parts)
