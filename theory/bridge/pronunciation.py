"""Listed pronunciations of English words, and how far what was said is from the nearest.

The list is the CMU Pronouncing Dictionary: several pronunciations a word, vowels with a stress
0, 1 or 2. The phoneme error rate is Σ errors / Σ length over words; it may exceed 1.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

Phonemes = Sequence[str]
Dictionary = Mapping[str, Sequence[tuple[str, ...]]]

PHONEME = re.compile(r"[A-Z]{1,2}[012]?")


class PhonemeErrors(NamedTuple):
    """Per word: edit distance to the nearest listed pronunciation, and how long that one is."""

    errors: Int[np.ndarray, " words"]
    length: Int[np.ndarray, " words"]


def read_cmudict(path: str | os.PathLike[str]) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Every word's pronunciations, the first listed one first.

    A line is `word phoneme …`, `word(2) phoneme …` for the second; what follows # is a comment.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: on a line of another form, with its number; or when there is no word.
    """
    found: dict[str, list[tuple[str, ...]]] = {}
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if not (fields := line.partition("#")[0].split()):
            continue
        word, phonemes = re.sub(r"\(\d+\)$", "", fields[0]), tuple(fields[1:])
        if not phonemes or not all(PHONEME.fullmatch(phoneme) for phoneme in phonemes):
            raise ValueError(
                f"{path}, line {number}: expected a word and its phonemes, such as 'tree T R IY1', "
                f"got {line!r}"
            )
        found.setdefault(word, []).append(phonemes)
    if not found:
        raise ValueError(f"{path} lists no word; give cmudict.dict")
    return {word: tuple(listed) for word, listed in found.items()}


def edit_distance(said: Phonemes, listed: Phonemes) -> int:
    """The fewest insertions, deletions and substitutions between the two (Levenshtein 1966)."""
    row = list(range(len(listed) + 1))
    for i, phoneme in enumerate(said, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(listed, 1):
            change = diagonal + (phoneme != other)
            diagonal, row[j] = row[j], min(change, row[j] + 1, row[j - 1] + 1)
    return row[-1]


def without_stress(phonemes: Phonemes) -> tuple[str, ...]:
    """The vowels' marks of stress dropped."""
    return tuple(phoneme.rstrip("012") for phoneme in phonemes)


def phoneme_errors(
    said: Sequence[Phonemes], words: Sequence[str], dictionary: Dictionary, *, stress: bool = True
) -> PhonemeErrors:
    """Every word against the nearest of its listed pronunciations, the first of equally near ones.

    Args:
        said: the phonemes of each word.
        words: the words, all of which are listed.
        dictionary: from `read_cmudict`.
        stress: whether a vowel of another stress is an error.

    Raises:
        ValueError: on another number of words than of what was said, or words that are not listed.
    """
    if len(said) != len(words):
        raise ValueError(f"{len(said)} were said for {len(words)} words; expected one each")
    if unknown := [word for word in words if word not in dictionary]:
        raise ValueError(
            f"{len(unknown)} of {len(words)} words are not listed, such as {unknown[0]!r}; "
            "leave them out"
        )
    heard = tuple if stress else without_stress
    pairs = [
        _nearest(heard(phonemes), [heard(listed) for listed in dictionary[word]])
        for phonemes, word in zip(said, words, strict=True)
    ]
    errors, length = np.array(pairs, int).reshape(-1, 2).T
    return PhonemeErrors(errors, length)


def _nearest(said: Phonemes, pronunciations: Sequence[Phonemes]) -> tuple[int, int]:
    """Distance to, and length of, the nearest one."""
    distances = [edit_distance(said, listed) for listed in pronunciations]
    nearest = int(np.argmin(distances))
    return distances[nearest], len(pronunciations[nearest])
