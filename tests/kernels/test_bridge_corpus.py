"""Words from Python's own reference: distinct, plain, in order, and never short-counted."""

import pytest

from theory.bridge.corpus import MINIMUM_LENGTH, WORD, english_words


def test_words_are_distinct_plain_and_nested():
    words = english_words(1000)
    assert len(set(words)) == len(words) == 1000
    assert all(w.isascii() and w.isalpha() and w.islower() for w in words)
    assert min(map(len, words)) == MINIMUM_LENGTH
    assert english_words(10) == words[:10]
    assert {"the", "statement", "expression"} <= set(words)


def test_parts_of_identifiers_and_contractions_are_no_words():
    text = "Don't split snake_case, CamelCase, x86, naïve, NaN or 'quoted' words' Ends."
    assert WORD.findall(text) == ["split", "or", "quoted", "words", "Ends"]


def test_more_than_there_are_says_how_many():
    with pytest.raises(ValueError, match=r"expected 1 to (\d+) words") as caught:
        english_words(10**9)
    available = int(str(caught.value).split("1 to ")[1].split()[0])
    assert len(english_words(available)) == available > 2000
    for count in (0, available + 1):
        with pytest.raises(ValueError, match=f"got {count}"):
            english_words(count)
