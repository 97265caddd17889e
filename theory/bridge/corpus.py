"""Real words, sentences and lines that need no download: the reference that ships with Python.

The text differs slightly between Python versions; whatever is drawn from it should record the
version.
"""

import functools
import re
import textwrap
from pydoc_data.topics import topics

MINIMUM_LENGTH = 2  # single letters are variables and list marks here, not words to pronounce
MINIMUM_WORDS = 8  # a shorter paragraph is a heading or a signature

# A word stands alone: no part of snake_case, CamelCase, x86, or of a contraction such as don't.
WORD = re.compile(r"(?<!\w)(?<!\w['’])[A-Z]?[a-z]+(?!\w)(?!['’]\w)")
EMPHASIS = re.compile(r"(?<!\w)\*{1,2}([^*\s][^*]*)\*{1,2}(?!\w)")
END_OF_SENTENCE = re.compile(r"(?<=[.?!]) (?=[A-Z])")


def english_words(count: int) -> list[str]:
    """The first `count` distinct words of `pydoc_data.topics`, in order of first appearance.

    Lower-cased, a–z only, two letters or more (`MINIMUM_LENGTH` says why). It is technical prose:
    keywords such as `elif` are among the words.

    Raises:
        ValueError: when `count` is below 1 or above the number of words there are.
    """
    return _first(count, _all_words(), "words")


def english_text() -> str:
    """The prose of `pydoc_data.topics`: paragraphs without line breaks, blank lines between.

    About 140,000 characters. Headings, grammars, examples and lists are left out, so are marks of
    emphasis and paragraphs that were there before.
    """
    return "\n\n".join(_paragraphs())


def english_sentences(count: int) -> list[str]:
    """The first `count` distinct sentences of `english_text`; ValueError as in `english_words`."""
    return _first(count, _all_sentences(), "sentences")


def english_lines(count: int, width: int) -> list[str]:
    """The first `count` lines of `english_text` broken at `width` characters, words kept whole.

    Only full lines: the last one of a paragraph is left out.

    Raises:
        ValueError: as in `english_words`; or when `width` is below 20.
    """
    if width < 20:
        raise ValueError(f"a line has at least 20 characters, so that words fit, got {width}")
    broken = (textwrap.wrap(text, width, break_long_words=False) for text in _paragraphs())
    full = (line for lines in broken for line in lines[:-1] if len(line) <= width)
    return _first(count, tuple(dict.fromkeys(full)), "lines")


def _first(count: int, items: tuple[str, ...], kind: str) -> list[str]:
    """The first `count` of them, or ValueError naming how many there are."""
    if not 1 <= count <= len(items):
        raise ValueError(f"expected 1 to {len(items)} {kind}, as many as there are, got {count}")
    return list(items[:count])


@functools.cache
def _all_words() -> tuple[str, ...]:
    """Every distinct word, in order."""
    found = (match[0].lower() for text in topics.values() for match in WORD.finditer(text))
    return tuple(dict.fromkeys(word for word in found if len(word) >= MINIMUM_LENGTH))


@functools.cache
def _all_sentences() -> tuple[str, ...]:
    """Every distinct sentence, in order."""
    found = (sentence for text in _paragraphs() for sentence in END_OF_SENTENCE.split(text))
    return tuple(dict.fromkeys(found))


@functools.cache
def _paragraphs() -> tuple[str, ...]:
    """Every distinct paragraph of prose, in order."""
    blocks = (block for text in topics.values() for block in re.split(r"\n\s*\n", text))
    return tuple(dict.fromkeys(_unbroken(block) for block in blocks if _is_prose(block)))


def _is_prose(block: str) -> bool:
    """Flush left, from a capital to a full stop or colon, and not too short."""
    lines = block.strip("\n").split("\n")
    text = lines[0] + lines[-1]
    flush = not any(line[:1].isspace() for line in lines)
    closed = text[:1].isupper() and text[-1] in ".?!:"
    return flush and closed and len(block.split()) >= MINIMUM_WORDS


def _unbroken(block: str) -> str:
    """Line breaks as spaces, none after a hyphen; emphasis dropped."""
    return EMPHASIS.sub(r"\1", " ".join(re.sub(r"(?<=\w-)\n", "", block).split()))
