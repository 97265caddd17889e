"""Byte-level byte-pair encoding from the metadata of a GGUF file."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from theory.bridge.reading import package

KEY = "tokenizer.ggml."
ACCEPTED = {"model": "gpt2", "pre": "smollm"}  # how words are merged; how text is cut before it


class BytePairs:
    """Text to tokens and back; every string of Unicode has tokens, and they give it back.

    Text is text: a control mark such as <|im_end|> that is spelled out in it is read letter by
    letter and never becomes the control token. Nothing is put before or after.
    """

    def __init__(self, metadata: Mapping[str, Any], source: str | os.PathLike[str]) -> None:
        """The tokenizer that a .gguf describes.

        Args:
            metadata: of the file, as `formats.read_metadata` gives it.
            source: the file, for what errors say.

        Raises:
            ValueError: when there is no tokenizer, or one of another kind.
        """
        for key, accepted in ACCEPTED.items():
            if (found := metadata.get(KEY + key)) != accepted:
                raise ValueError(
                    f"{source}: {KEY}{key} is {found!r}, expected {accepted!r}; this is another "
                    "model's tokenizer"
                )
        tokens = _listed(metadata, "tokens", source)
        self.size = len(tokens)
        self._tokenizer = _tokenizer(tokens, _listed(metadata, "merges", source), source)

    def encode(self, text: str) -> Int[np.ndarray, " tokens"]:
        """The tokens of the text."""
        return np.array(self._tokenizer.encode(text).ids, np.int32)

    def decode(self, tokens: Sequence[int] | Int[np.ndarray, " tokens"]) -> str:
        """The text of the tokens; bytes that are no UTF-8 become U+FFFD.

        Raises:
            ValueError: on a token outside the vocabulary.
        """
        ids = [int(token) for token in tokens]
        if ids and not 0 <= min(ids) <= max(ids) < self.size:
            raise ValueError(f"tokens lie in [0, {self.size}), got {min(ids)} to {max(ids)}")
        return self._tokenizer.decode(ids, skip_special_tokens=False)


def _listed(metadata: Mapping[str, Any], key: str, source: str | os.PathLike[str]) -> list[str]:
    """A list of distinct strings, not empty."""
    found = metadata.get(KEY + key)
    if not isinstance(found, list) or not found or not all(isinstance(s, str) for s in found):
        raise ValueError(
            f"{source}: no list of strings {KEY + key!r} in its metadata; give a .gguf with its "
            "tokenizer"
        )
    if len(set(found)) < len(found):
        raise ValueError(
            f"{source}: {KEY}{key} has {len(found) - len(set(found))} repeated entries"
        )
    return found


def _tokenizer(tokens: list[str], merges: list[str], source: str | os.PathLike[str]) -> Any:
    """Digits one by one, then words with the space before them, then merges of their bytes."""
    tokenizers = package("tokenizers", ".gguf")
    if wrong := [merge for merge in merges if merge.count(" ") != 1]:
        raise ValueError(f"{source}: {KEY}merges has {wrong[0]!r}, expected two parts and a space")
    pairs = [(first, second) for first, second in (merge.split(" ") for merge in merges)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    try:
        model = tokenizers.models.BPE(vocab=vocabulary, merges=pairs)
    except Exception as error:  # the package raises no narrower class
        raise ValueError(f"{source}: {KEY}merges do not fit its tokens ({error})") from error
    tokenizer, cut = tokenizers.Tokenizer(model), tokenizers.pre_tokenizers
    words = cut.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.pre_tokenizer = cut.Sequence([cut.Digits(individual_digits=True), words])
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    return tokenizer
