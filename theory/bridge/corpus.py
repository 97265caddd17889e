"""Real words that need no download: the language reference that ships with Python."""

import functools
import re
from pydoc_data.topics import topics

MINIMUM_LENGTH = 2  # single letters are variables and list marks here, not words to pronounce

# A word stands alone: no part of snake_case, CamelCase, x86, or of a contraction such as don't.
WORD = re.compile(r"(?<!\w)(?<!\w['’])[A-Z]?[a-z]+(?!\w)(?!['’]\w)")


def english_words(count: int) -> list[str]:
    """The first `count` distinct words of `pydoc_data.topics`, in order of first appearance.

    Lower-cased, a–z only, two letters or more (`MINIMUM_LENGTH` says why). It is technical prose:
    keywords such as `elif` are among the words. The text differs slightly between Python
    versions, so the list does too; whatever is drawn from it should record the version.

    Raises:
        ValueError: when `count` is below 1 or above the number of words there are.
    """
    words = _all_words()
    if not 1 <= count <= len(words):
        raise ValueError(f"expected 1 to {len(words)} words, as many as there are, got {count}")
    return list(words[:count])


@functools.cache
def _all_words() -> tuple[str, ...]:
    """Every distinct word, in order."""
    found = (match[0].lower() for text in topics.values() for match in WORD.finditer(text))
    return tuple(dict.fromkeys(word for word in found if len(word) >= MINIMUM_LENGTH))
