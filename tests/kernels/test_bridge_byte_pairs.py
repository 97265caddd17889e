"""Tokens of a text give it back; metadata of another tokenizer are refused by name."""

import pytest

from tests.rotary_forward import MERGES, TEXT, TOKENS
from theory.bridge.byte_pairs import KEY, BytePairs

PLAIN = {"model": "gpt2", "pre": "smollm", "tokens": TOKENS, "merges": MERGES}


def byte_pairs(**changed):
    return BytePairs({KEY + name: part for name, part in (PLAIN | changed).items()}, "a.gguf")


def test_tokens_give_the_text_back():
    pairs = byte_pairs()
    for text in (TEXT, "", " a", "\x00\x7f", "🙂"):
        tokens = pairs.encode(text)
        assert pairs.decode(tokens) == text
        assert 0 not in tokens  # a control token, however it is spelled
    assert [TOKENS[i] for i in pairs.encode("in the 42")] == ["in", "Ġthe", "Ġ", "4", "2"]
    with pytest.raises(ValueError, match=rf"tokens lie in \[0, {len(TOKENS)}\)"):
        pairs.decode([len(TOKENS)])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": "llama"}, "tokenizer.ggml.model is 'llama', expected 'gpt2'"),
        ({"model": None}, "tokenizer.ggml.model is None, expected 'gpt2'"),
        ({"pre": "qwen2"}, "tokenizer.ggml.pre is 'qwen2', expected 'smollm'"),
        ({"merges": ["th"]}, "merges has 'th', expected two parts"),
        ({"merges": ["q z"]}, "merges do not fit its tokens"),
        ({"tokens": [*TOKENS[:-1], "a"]}, "tokens has 1 repeated entries"),
        ({"tokens": None}, "no list of strings 'tokenizer.ggml.tokens'"),
        ({"tokens": []}, "no list of strings 'tokenizer.ggml.tokens'"),
        ({"tokens": [1, 2]}, "no list of strings 'tokenizer.ggml.tokens'"),
    ],
)
def test_another_tokenizer_is_refused(changed, message):
    with pytest.raises(ValueError, match=message) as refused:
        byte_pairs(**changed)
    assert str(refused.value).startswith("a.gguf: ")


def test_metadata_without_a_tokenizer_are_refused():
    with pytest.raises(ValueError, match=r"a\.gguf: tokenizer\.ggml\.model is None"):
        BytePairs({}, "a.gguf")
