"""Edit distance against its recursive definition and its laws; the dictionary; real errors."""

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory.bridge import catalog
from theory.bridge.corpus import english_words
from theory.bridge.g2p_en import G2P, PHONEMES, said
from theory.bridge.pronunciation import (
    edit_distance,
    phoneme_errors,
    read_cmudict,
    without_stress,
)

phonemes = st.lists(st.sampled_from(["AH0", "AH1", "T", "S"]), max_size=6)

SMALL = """\
'tis T IH1 Z
read R EH1 D
read(2) R IY1 D # the verb

# a comment alone
tomato(2) T AH0 M AA1 T OW2
tomato T AH0 M EY1 T OW2
"""


def located(name):
    try:
        return catalog.locate(name)
    except catalog.WeightsUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def real():
    return read_cmudict(located("cmudict"))


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.dict"
    path.write_text(SMALL)
    return read_cmudict(path)


def by_definition(a, b):
    """min of the three last edits, without a table."""

    @functools.cache
    def distance(i, j):
        if i == 0 or j == 0:
            return i + j
        kept = distance(i - 1, j - 1) + (a[i - 1] != b[j - 1])
        return min(kept, distance(i - 1, j) + 1, distance(i, j - 1) + 1)

    return distance(len(a), len(b))


@given(phonemes, phonemes, phonemes)
def test_edit_distance_is_the_metric_of_its_definition(a, b, c):
    assert edit_distance(a, b) == by_definition(a, b) == edit_distance(b, a)
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)
    assert abs(len(a) - len(b)) <= edit_distance(a, b) <= max(len(a), len(b))


def test_edit_distance_by_hand():
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "abc") == 3
    assert edit_distance("abc", "bca") == 2  # counting places that differ would give 3


def test_words_have_their_pronunciations_in_order(small):
    assert small == {
        "'tis": (("T", "IH1", "Z"),),
        "read": (("R", "EH1", "D"), ("R", "IY1", "D")),
        "tomato": (
            ("T", "AH0", "M", "AA1", "T", "OW2"),
            ("T", "AH0", "M", "EY1", "T", "OW2"),
        ),
    }


def test_the_nearest_pronunciation_counts(small):
    words = ["read", "read", "tomato", "'tis"]
    spoken = [("R", "IY1", "D"), ("R", "IY0", "D", "Z"), ("T", "AH0", "M", "EY0"), ()]
    strict = phoneme_errors(spoken, words, small)
    assert strict.errors.tolist() == [0, 2, 3, 3]
    assert strict.length.tolist() == [3, 3, 6, 3]
    loose = phoneme_errors(spoken, words, small, stress=False)
    assert loose.errors.tolist() == [0, 1, 2, 3]
    assert without_stress(["EY1", "R", "OW0"]) == ("EY", "R", "OW")
    none = phoneme_errors([], [], small)
    assert none.errors.shape == none.length.shape == (0,)


def test_what_cannot_be_compared_is_refused(small):
    with pytest.raises(ValueError, match="1 were said for 2 words"):
        phoneme_errors([("T",)], ["read", "tomato"], small)
    with pytest.raises(ValueError, match="1 of 2 words are not listed, such as 'zzz'"):
        phoneme_errors([("T",), ("T",)], ["read", "zzz"], small)


@pytest.mark.parametrize("line", ["word", "word t r iy1", "word T R IY3", "word(2) # T"])
def test_lines_of_another_form_are_refused(tmp_path, line):
    path = tmp_path / "bad.dict"
    path.write_text(f"tree T R IY1\n{line}\n")
    with pytest.raises(ValueError, match=r"bad.dict, line 2: expected a word and its phonemes"):
        read_cmudict(path)
    path.write_text("# nothing\n")
    with pytest.raises(ValueError, match="lists no word"):
        read_cmudict(path)
    with pytest.raises(FileNotFoundError):
        read_cmudict(tmp_path / "absent.dict")


def test_the_real_dictionary(real):
    assert len(real) > 120_000
    assert real["geometry"] == (("JH", "IY0", "AA1", "M", "AH0", "T", "R", "IY0"),)
    assert len(real["the"]) > 1
    assert {p for listed in real.values() for one in listed for p in one} <= set(PHONEMES)


def test_the_real_decoder_is_nearly_right_and_knows_its_words(real):
    """Few errors, fewer without stress; with the words exchanged, nearly everything is one."""
    model = G2P.from_file(located("g2p-en"))
    words = [word for word in english_words(300) if word in real]
    spoken = said(model.decode(words).phonemes)
    rates = []
    for meant, stress in [(words, True), (words, False), (words[::-1], True)]:
        errors, length = phoneme_errors(spoken, meant, real, stress=stress)
        rates.append(errors.sum() / length.sum())
    assert len(words) > 200
    assert rates[1] < rates[0] < 0.15
    assert rates[2] > 0.8
