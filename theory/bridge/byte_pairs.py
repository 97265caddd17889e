"""Byte-level byte-pair encoding from the metadata of a GGUF file."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from theory.bridge.formats import read_metadata
from theory.bridge.reading import package

KEY = "tokenizer.ggml."
SPLITS = ("smollm",)  # how text is cut before merging; other models cut numbers otherwise


class BytePairs:
    """Text to tokens and back; every string of Unicode has tokens, and they give it back.

    Text is text: a control mark such as <|im_end|> that is spelled out in it is read letter by
    letter and never becomes the control token. Nothing is put before or after.
    """

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        tokens, merges = _listed(metadata, "tokens"), _listed(metadata, "merges")
        for key, accepted in (("model", ("gpt2",)), ("pre", SPLITS)):
            if metadata.get(KEY + key) not in accepted:
                raise ValueError(
                    f"{KEY}{key} is {metadata.get(KEY + key)!r}, expected one of "
                    f"{', '.join(accepted)}; this is another model's tokenizer"
                )
        self.size = len(tokens)
        self._tokenizer = _tokenizer(tokens, merges)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "BytePairs":
        """The tokenizer inside a .gguf.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when it is unreadable or holds no tokenizer of this kind.
        """
        try:
            return cls(read_metadata(path))
        except ValueError as error:
            where = os.fspath(path)
            raise ValueError(str(error) if where in str(error) else f"{where}: {error}") from error

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


def _listed(metadata: Mapping[str, Any], key: str) -> list[str]:
    """A list of distinct strings, not empty."""
    found = metadata.get(KEY + key)
    if not isinstance(found, list) or not found or not all(isinstance(s, str) for s in found):
        raise ValueError(
            f"the metadata holds no list of strings {KEY + key!r}; give a .gguf with its tokenizer"
        )
    if len(set(found)) < len(found):
        raise ValueError(f"{KEY}{key} has {len(found) - len(set(found))} repeated entries")
    return found


def _tokenizer(tokens: list[str], merges: list[str]) -> Any:
    """Digits one by one, then words with the space before them, then merges of their bytes."""
    tokenizers = package("tokenizers", ".gguf")
    from tokenizers import decoders, models, pre_tokenizers

    if wrong := [merge for merge in merges if merge.count(" ") != 1]:
        raise ValueError(f"{KEY}merges has {wrong[0]!r}, expected two parts and a space between")
    pairs = [(first, second) for first, second in map(str.split, merges)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    try:
        model = models.BPE(vocab=vocabulary, merges=pairs)
    except Exception as error:  # the package raises no narrower class
        raise ValueError(f"the tokenizer's merges do not fit its tokens ({error})") from error
    tokenizer = tokenizers.Tokenizer(model)
    digits = pre_tokenizers.Digits(individual_digits=True)
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, words])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
