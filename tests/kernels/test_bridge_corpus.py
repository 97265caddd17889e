"""Text from Python's own reference: distinct, plain, in order, and never short-counted."""

import re

import pytest

from theory.bridge.corpus import (
    MINIMUM_LENGTH,
    WORD,
    english_lines,
    english_sentences,
    english_text,
    english_words,
)


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


def test_text_is_prose_without_markup():
    text = english_text()
    paragraphs = text.split("\n\n")
    assert len(text) > 100_000
    assert len(set(paragraphs)) == len(paragraphs) > 500
    assert all(p[0].isupper() and p[-1] in ".?!:" for p in paragraphs)
    assert "Deletion of a target list recursively deletes each target" in text
    for mark in (">>>", "::=", "***", "===", "  ", "quote- delimited", "*conversion*"):
        assert mark not in text
    letters = re.findall(r"[a-z ]", text)
    assert len(letters) > 0.85 * len(text)


def test_sentences_and_lines_are_distinct_and_from_the_text():
    text = english_text()
    sentences, lines = english_sentences(500), english_lines(500, 40)
    assert len(set(sentences)) == len(set(lines)) == 500
    assert all(s in text and s[0].isupper() for s in sentences)
    assert all(line in text and len(line) <= 40 for line in lines)
    assert sum(map(len, lines)) > 500 * 30  # full ones
    assert english_lines(10, 40) == lines[:10]


@pytest.mark.parametrize(
    ("items", "kind", "least"),
    [
        (english_words, "words", 2000),
        (english_sentences, "sentences", 1000),
        (lambda count: english_lines(count, 40), "lines", 3000),
    ],
)
def test_more_than_there_are_says_how_many(items, kind, least):
    with pytest.raises(ValueError, match=rf"expected 1 to (\d+) {kind}") as caught:
        items(10**9)
    available = int(str(caught.value).split("1 to ")[1].split()[0])
    assert len(items(available)) == available > least
    for count in (0, available + 1):
        with pytest.raises(ValueError, match=f"got {count}"):
            items(count)


def test_a_width_that_breaks_words_is_refused():
    with pytest.raises(ValueError, match="at least 20 characters, so that words fit, got 19"):
        english_lines(1, 19)
