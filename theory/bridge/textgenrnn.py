"""The textgenrnn language model: two LSTMs and attention read 40 characters, 465 × 356 writes one.

Port of textgenrnn 2.0.0 (Woolf, MIT), from its tensors alone. Nothing is masked: a text shorter
than the window is padded on the left with symbol 0, which the model reads as it reads any other.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from theory.bridge.checkpoint import read_shaped
from theory.bridge.corpus import english_text
from theory.bridge.readout import readout
from theory.check import check_count
from theory.partition import PowerDiagram

WINDOW = 40  # characters that are read, <s> included
START = "<s>"  # before every text and after it
CHUNK = 100  # windows a call, always, so that every count of latents shares one compilation
LENGTH = 64  # rows of tokens are padded to its multiples, for the same reason
STRIDE = 8  # characters between two latents of one paragraph: nearer ones differ little

PACKAGE = "textgenrnn 2.0.0"
EMBEDDING = "embedding/embedding/embeddings:0"
LAYERS, PAST = ("rnn_1/rnn_1", "rnn_2/rnn_2"), "recurrent_kernel:0"
ATTENTION = "attention/attention/attention_W:0"
KERNEL, BIAS = "output/output/kernel:0", "output/output/bias:0"

Window = Float[Array, "rows window e"]


class LSTM(eqx.Module):
    """A layer of cells, gates stacked as input, forget, candidate, output."""

    kernel: Float[Array, "e gates"]
    recurrent: Float[Array, "hidden gates"]
    bias: Float[Array, " gates"]

    @classmethod
    def from_cudnn(cls, kernel: Array, recurrent: Array, bias: Array) -> "LSTM":
        """The layer of tensors in CuDNN's layout: every gate transposed, two biases to be added.

        The input kernel of a gate is stored as if it were (hidden, e), in row-major order, under
        the shape (e, hidden).
        """
        gates = jnp.split(kernel, 4, axis=1)
        own = [gate.reshape(gate.shape[::-1]).T for gate in gates]
        past = [gate.T for gate in jnp.split(recurrent, 4, axis=1)]
        return cls(jnp.hstack(own), jnp.hstack(past), bias.reshape(2, -1).sum(axis=0))

    def __call__(self, x: Window) -> Float[Array, "rows window hidden"]:
        """The states h_t = o ⊙ tanh(c_t), c_t = f ⊙ c_{t−1} + i ⊙ g, from h_0 = c_0 = 0."""

        def step(carry: tuple[Array, Array], own: Array) -> tuple[tuple[Array, Array], Array]:
            h, c = carry
            i, f, g, o = jnp.split(own + h @ self.recurrent, 4, axis=1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        own = jnp.moveaxis(x @ self.kernel + self.bias, 1, 0)
        start = jnp.zeros((x.shape[0], self.recurrent.shape[0]), own.dtype)
        return jnp.moveaxis(jax.lax.scan(step, (start, start), own)[1], 0, 1)


class Latents(NamedTuple):
    """One row a window of English text.

    Fields:
        states: the latent z the readout reads.
        group: paragraph the window lies in, from 0; windows of one overlap.
        token: the symbol the model would write, the class of the largest score.
    """

    states: Float[np.ndarray, "latents n"]
    group: Int[np.ndarray, " latents"]
    token: Int[np.ndarray, " latents"]


class TextGenRNN(eqx.Module):
    """The model; `theory.bridge.autoregressive` says what `table`, `head`, `advance` are.

    Fields:
        symbols: what is written for every class; class 0 is the padding and has none.
    """

    table: Float[Array, "V e"]
    lower: LSTM
    upper: LSTM
    attention: Float[Array, " n"]
    kernel: Float[Array, "n V"]
    bias: Float[Array, " V"]
    symbols: tuple[str, ...] = eqx.field(static=True)

    @classmethod
    def from_files(
        cls, weights: str | os.PathLike[str], vocabulary: str | os.PathLike[str]
    ) -> "TextGenRNN":
        """The model of the package's .hdf5 and .json.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when a tensor is missing, torn, not finite or of another shape, or the
                vocabulary does not number its symbols from 1.
        """
        symbols = _symbols(Path(vocabulary))
        e, lower, upper = _sizes(weights, len(symbols))
        n, classes = e + lower + upper, len(symbols)
        shapes = {
            EMBEDDING: (classes, e),
            ATTENTION: (n, 1),
            KERNEL: (n, classes),
            BIAS: (classes,),
        }
        table, attention, kernel, bias = read_shaped(weights, shapes, PACKAGE).values()
        return cls(
            table=table,
            lower=_layer(weights, LAYERS[0], e, lower),
            upper=_layer(weights, LAYERS[1], lower, upper),
            attention=attention[:, 0],
            kernel=kernel,
            bias=bias,
            symbols=symbols,
        )

    def latent(self, window: Window) -> Float[Array, "rows n"]:
        """z = Σ_t α_t x_t, x_t = [embedding, lower, upper] at t, α = softmax_t⟨a, x_t⟩."""
        lower = self.lower(window)
        x = jnp.concatenate([window, lower, self.upper(lower)], axis=2)
        return jnp.einsum("rt,rtn->rn", jax.nn.softmax(x @ self.attention, axis=1), x)

    def head(self) -> PowerDiagram:
        """The readout argmax_y ⟨w_y, z⟩ + b_y over the symbols."""
        return readout(self.kernel, self.bias, transpose=True)

    def advance(
        self, context: Window, z: Float[Array, "rows n"], fed: Float[Array, "rows e"]
    ) -> tuple[Window, Float[Array, "rows n"]]:
        """The window shifted by one, `fed` at its end, and the latent of it."""
        del z  # recomputed
        window = jnp.concatenate([context[:, 1:], fed[:, None]], axis=1)
        return window, self.latent(window)

    def encode(self, text: str) -> Int[np.ndarray, " tokens"]:
        """The classes of <s> and of the characters.

        The package reads other characters as padding; here they are refused.

        Raises:
            ValueError: on a character that is no symbol.
        """
        classes = {symbol: index for index, symbol in enumerate(self.symbols)}
        if foreign := [letter for letter in text if letter not in classes]:
            raise ValueError(f"{foreign[0]!r} in {text!r} is none of the {len(classes)} symbols")
        return np.array([classes[START], *(classes[letter] for letter in text)], np.int32)

    def decode(self, tokens: Int[np.ndarray, " tokens"]) -> str:
        """What the classes write, <s> included; nothing for the padding."""
        return "".join(self.symbols[token] for token in tokens)

    def begin(self, texts: Sequence[str]) -> tuple[Window, Float[Array, "rows n"]]:
        """The windows that end with each text, which may be empty, and their latents.

        Raises:
            ValueError: on no text, or a character that is no symbol.
        """
        if isinstance(texts, str) or len(texts) == 0:
            raise ValueError(f"expected a list of at least one text, got {texts!r}")
        rows = [np.pad(self.encode(text), (WINDOW, 0))[-WINDOW:] for text in texts]
        return _begin(self, jnp.asarray(np.stack(rows)))

    def nats(
        self, tokens: Int[np.ndarray, "rows length"], softness: float = 0.0
    ) -> Float[np.ndarray, "rows length-1"]:
        """−log p of every token but the first, given those before it in its row.

        Args:
            tokens: classes of texts of one length, <s> first; see `encode`.
            softness: λ; what is read is (1 − λ)·E_y + λ·Σ_v p_v E_v, y the true token and p the
                model's own law of it. The first token is read as it is.

        Raises:
            ValueError: unless there is a row of two tokens and every token is a class, or when λ
                is outside [0, 1].
        """
        rows, length = tokens.shape
        known = np.isin(tokens, np.arange(len(self.symbols)))
        if rows == 0 or length < 2 or not known.all():
            raise ValueError(
                f"expected rows of at least two tokens from 0 to {len(self.symbols) - 1}, got "
                f"shape {tokens.shape}, {known.size - known.sum()} of them other numbers"
            )
        if not 0 <= softness <= 1:
            raise ValueError(f"softness lies in [0, 1], got {softness}")
        padded = jnp.asarray(np.pad(tokens, [(0, 0), (0, -length % LENGTH)]))
        mixed = jnp.asarray(softness, self.table.dtype)
        return np.asarray(_nats(self, self.head(), padded, mixed))[:, : length - 1]

    def latents(self, count: int) -> Latents:
        """The latents of `count` distinct full windows of `english_text`, in its order.

        Raises:
            ValueError: when `count` is below 1 or above the number of windows there are.
        """
        check_count("count", count, 1)
        windows, group = _windows(self)
        if count > len(group):
            raise ValueError(f"expected at most {len(group)} windows, got {count}")
        filled = np.pad(windows[:count], [(0, -count % CHUNK), (0, 0)])
        parts = [_begin(self, jnp.asarray(p))[1] for p in np.split(filled, len(filled) // CHUNK)]
        states = np.concatenate(parts)[:count]
        return Latents(states, group[:count], np.asarray(self.head().scores(states)).argmax(axis=1))


@eqx.filter_jit
def _nats(
    model: TextGenRNN,
    diagram: PowerDiagram,
    tokens: Int[Array, "rows length"],
    softness: Float[Array, ""],
) -> Float[Array, "rows length-1"]:
    """The losses of `nats`, each before its token is read."""

    def step(carry: tuple[Array, Array], token: Array) -> tuple[Any, Array]:
        context, z = carry
        law = jax.nn.log_softmax(diagram.scores(z))
        mean = jnp.exp(law) @ model.table
        fed = (1 - softness) * model.table[token] + softness * mean
        loss = -jnp.take_along_axis(law, token[:, None], axis=1)[:, 0]
        return model.advance(context, z, fed), loss

    first = jnp.pad(tokens[:, :1], [(0, 0), (WINDOW - 1, 0)])
    return jax.lax.scan(step, _begin(model, first), tokens[:, 1:].T)[1].T


def _windows(
    model: TextGenRNN,
) -> tuple[Int[np.ndarray, "windows window"], Int[np.ndarray, " windows"]]:
    """Every distinct full window, and the paragraph in which it comes first."""
    found: dict[tuple[int, ...], int] = {}
    for group, paragraph in enumerate(english_text().split("\n\n")):
        classes = model.encode(paragraph).tolist()
        for end in range(WINDOW, len(classes), STRIDE):
            found.setdefault(tuple(classes[end - WINDOW : end]), group)
    return np.array(list(found), np.int32), np.array(list(found.values()), np.int32)


@eqx.filter_jit
def _begin(
    model: TextGenRNN, classes: Int[Array, "rows window"]
) -> tuple[Window, Float[Array, "rows n"]]:
    window = model.table[classes]
    return window, model.latent(window)


def _symbols(path: Path) -> tuple[str, ...]:
    """The symbols by class, an empty one for the padding."""
    try:
        numbered = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}); give the one of {PACKAGE}") from error
    if not isinstance(numbered, dict) or {*numbered.values()} != {*range(1, len(numbered) + 1)}:
        raise ValueError(f"{path} does not number its symbols 1, 2, …; give the one of {PACKAGE}")
    if START not in numbered:
        raise ValueError(f"{path} has no symbol {START!r}; give the one of {PACKAGE}")
    return ("", *sorted(numbered, key=numbered.__getitem__))


def _sizes(path: str | os.PathLike[str], symbols: int) -> tuple[int, int, int]:
    """Numbers of components of the embedding, the lower and the upper layer."""
    shapes = {EMBEDDING: (symbols, None), **{f"{layer}/{PAST}": (None, None) for layer in LAYERS}}
    found = read_shaped(path, shapes, PACKAGE)
    lower, upper = (found[f"{layer}/{PAST}"].shape[0] for layer in LAYERS)
    return found[EMBEDDING].shape[1], lower, upper


def _layer(path: str | os.PathLike[str], layer: str, read: int, hidden: int) -> LSTM:
    """A layer that reads `read` components."""
    shapes = {"kernel:0": (read, 4 * hidden), PAST: (hidden, 4 * hidden), "bias:0": (8 * hidden,)}
    shapes = {f"{layer}/{name}": shape for name, shape in shapes.items()}
    return LSTM.from_cudnn(*read_shaped(path, shapes, PACKAGE).values())
