"""The g2p-en decoder: a GRU reads a spelling, a GRU writes ARPABET phonemes through 74 × 256.

Port of the inference code of g2p-en 2.1.0 (Park and Kim, Apache-2.0), from its tensors alone. Its
lookup tables and its clean-up of running text are left out: words here are a–z.
"""

import itertools
import os
import string
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from theory.bridge.checkpoint import read_shaped
from theory.bridge.readout import readout
from theory.partition import PowerDiagram

GRAPHEMES = ("<pad>", "<unk>", "</s>", *string.ascii_lowercase)
ARPABET = (
    "AA0 AA1 AA2 AE0 AE1 AE2 AH0 AH1 AH2 AO0 AO1 AO2 AW0 AW1 AW2 AY0 AY1 AY2 B CH D DH "
    "EH0 EH1 EH2 ER0 ER1 ER2 EY0 EY1 EY2 F G HH IH0 IH1 IH2 IY0 IY1 IY2 JH K L M N NG "
    "OW0 OW1 OW2 OY0 OY1 OY2 P R S SH T TH UH0 UH1 UH2 UW UW0 UW1 UW2 V W Y Z ZH"
)
PHONEMES = ("<pad>", "<unk>", "<s>", "</s>", *ARPABET.split())
START, STOP = PHONEMES.index("<s>"), PHONEMES.index("</s>")
STEPS = 20  # the package stops here, with or without </s>
LENGTHS = (16, 64)  # padded spellings, </s> included: two compilations serve every word
CHUNK = 64  # words a call, always, for the same reason
PACKAGE = "g2p-en 2.1.0"


class Cell(eqx.Module):
    """A GRU cell, gates stacked as reset, update, candidate."""

    w_ih: Float[Array, "gates embedding"]
    w_hh: Float[Array, "gates hidden"]
    b_ih: Float[Array, " gates"]
    b_hh: Float[Array, " gates"]

    def __call__(
        self, x: Float[Array, " embedding"], h: Float[Array, " hidden"]
    ) -> Float[Array, " hidden"]:
        """(1 − u) ⊙ c + u ⊙ h, with c = tanh(W_c x + b_c + r ⊙ (U_c h + d_c))."""
        reset_x, update_x, candidate_x = jnp.split(self.w_ih @ x + self.b_ih, 3)
        reset_h, update_h, candidate_h = jnp.split(self.w_hh @ h + self.b_hh, 3)
        reset = jax.nn.sigmoid(reset_x + reset_h)
        update = jax.nn.sigmoid(update_x + update_h)
        return (1 - update) * jnp.tanh(candidate_x + reset * candidate_h) + update * h


class Decoded(NamedTuple):
    """Greedy decoding of a batch; `emitted` marks the steps up to and including </s>."""

    phonemes: Int[np.ndarray, "words steps"]
    states: Float[np.ndarray, "words steps hidden"]
    emitted: Bool[np.ndarray, "words steps"]


class Latents(NamedTuple):
    """Decoder states, one row an emitted phoneme, in order of word and step.

    Fields:
        states: the state h_t from which the head emits phoneme t.
        word: index into the words given.
        step: t, from 0.
        phoneme: what was emitted, an index into `PHONEMES`.
    """

    states: Float[np.ndarray, "latents hidden"]
    word: Int[np.ndarray, " latents"]
    step: Int[np.ndarray, " latents"]
    phoneme: Int[np.ndarray, " latents"]


class G2P(eqx.Module):
    """Encoder, decoder and linear head; `from_file` reads them from the package's checkpoint.

    It is an `Autoregressive` decoder, whose context is empty: its state is the latent.
    """

    enc_emb: Float[Array, "graphemes embedding"]
    encoder: Cell
    dec_emb: Float[Array, "phonemes embedding"]
    decoder: Cell
    fc_w: Float[Array, "phonemes hidden"]
    fc_b: Float[Array, " phonemes"]

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "G2P":
        """The model of an .npz or .safetensors with the package's tensor names.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when a tensor is missing, torn, not finite or of another shape.
        """
        shapes = {
            "enc_emb": (len(GRAPHEMES), None),
            "dec_emb": (len(PHONEMES), None),
            "fc_w": (len(PHONEMES), None),
            "fc_b": (len(PHONEMES),),
        }
        tensors = read_shaped(path, shapes, PACKAGE)
        hidden = tensors["fc_w"].shape[1]
        return cls(
            encoder=_cell(path, "enc", tensors["enc_emb"].shape[1], hidden),
            decoder=_cell(path, "dec", tensors["dec_emb"].shape[1], hidden),
            **tensors,
        )

    @property
    def table(self) -> Float[Array, "phonemes embedding"]:
        """What the decoder reads of every phoneme and mark."""
        return self.dec_emb

    def head(self) -> PowerDiagram:
        """The readout argmax_y ⟨w_y, h⟩ + b_y over the 74 phonemes and marks."""
        return readout(self.fc_w, self.fc_b)

    def begin(self, words: Sequence[str]) -> tuple[tuple[()], Float[Array, "words hidden"]]:
        """No context, and the states from which the first phonemes are read; see `advance`.

        Raises:
            ValueError: as in `decode`.
        """
        return (), _first_states(self, *map(jnp.asarray, spellings(words)))

    def advance(
        self,
        context: tuple[()],
        z: Float[Array, "rows hidden"],
        fed: Float[Array, "rows embedding"],
    ) -> tuple[tuple[()], Float[Array, "rows hidden"]]:
        """The states after `fed` was read; all that the decoder remembers is its state."""
        return context, jax.vmap(self.decoder)(fed, z)

    def encode(
        self, graphemes: Int[Array, " length"], length: Int[Array, ""]
    ) -> Float[Array, " hidden"]:
        """The encoder's state after the first `length` graphemes; the padding is not read."""

        def read(h: Array, item: tuple[Array, Array]) -> tuple[Array, None]:
            x, present = item
            return jnp.where(present, self.encoder(x, h), h), None

        start = jnp.zeros(self.fc_w.shape[1], self.fc_w.dtype)
        present = jnp.arange(graphemes.shape[0]) < length
        return jax.lax.scan(read, start, (self.enc_emb[graphemes], present))[0]

    def decode_step(
        self, phoneme: Int[Array, ""], state: Float[Array, " hidden"]
    ) -> tuple[Float[Array, " hidden"], Float[Array, " phonemes"]]:
        """The next state h' = GRU(emb(phoneme), h) and its logits W h' + b."""
        state = self.decoder(self.dec_emb[phoneme], state)
        return state, self.fc_w @ state + self.fc_b

    def decode(self, words: Sequence[str]) -> Decoded:
        """Greedy decoding of the words.

        Raises:
            ValueError: on no words, or a word that is empty, too long, or not of a–z alone.
        """
        graphemes, lengths = spellings(words)
        parts = []
        for first in range(0, len(words), CHUNK):
            part = slice(first, first + CHUNK)
            rows = len(lengths[part])
            fill = [(0, CHUNK - rows), (0, 0)]
            spelled = np.pad(graphemes[part], fill), np.pad(lengths[part], fill[0])
            done = _greedy(self, *map(jnp.asarray, spelled))
            parts.append([np.asarray(leaf)[:rows] for leaf in done])
        return Decoded(*map(np.concatenate, zip(*parts, strict=True)))

    def spell(self, word: str) -> list[str]:
        """The phonemes of one word, without </s>; ValueError as in `decode`."""
        return said(self.decode([word]).phonemes)[0]

    def latents(self, words: Sequence[str]) -> Latents:
        """The decoder's states at every emitted step, the step that emits </s> included.

        A word of k phonemes gives k + 1 rows, or `STEPS` rows when no </s> came by then. The
        encoder's state, from which nothing is emitted, is not among them. ValueError as in
        `decode`.
        """
        done = self.decode(words)
        word, step = np.nonzero(done.emitted)
        return Latents(done.states[word, step], word, step, done.phonemes[word, step])


def said(tokens: Int[np.ndarray, "words steps"]) -> list[list[str]]:
    """The phonemes of each row up to its first </s>, or all of them."""
    rows = ([PHONEMES[token] for token in row] for row in tokens)
    return [[*itertools.takewhile(PHONEMES[STOP].__ne__, row)] for row in rows]


def spellings(words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Grapheme indices, </s> appended, padded to one of `LENGTHS`; and the true lengths.

    The package reads characters outside a–z as <unk>; here they are refused, since a capital or
    an accent would be mispronounced without a word.

    Raises:
        ValueError: on no words, or a word that is empty, too long, or not of a–z alone.
    """
    if isinstance(words, str) or len(words) == 0:
        raise ValueError(f"expected a list of at least one word, got {words!r}")
    longest = max(map(len, words)) + 1
    if longest > LENGTHS[-1]:
        word = max(words, key=len)
        raise ValueError(f"{word!r} has {len(word)} letters; at most {LENGTHS[-1] - 1} are read")
    width = next(length for length in LENGTHS if length >= longest)
    graphemes = np.full((len(words), width), GRAPHEMES.index("<pad>"), np.int32)
    for row, word in zip(graphemes, words, strict=True):
        if not word or set(word) - set(string.ascii_lowercase):
            raise ValueError(
                f"{word!r} is no word of the letters a–z alone; lower-case and strip it"
            )
        row[: len(word) + 1] = [*map(GRAPHEMES.index, word), GRAPHEMES.index("</s>")]
    return graphemes, np.array([len(word) + 1 for word in words], np.int32)


@eqx.filter_jit
def _first_states(
    model: G2P, graphemes: Int[Array, "words length"], lengths: Int[Array, " words"]
) -> Float[Array, "words hidden"]:
    """What the decoder makes of <s> and the encoder's states."""
    states = jax.vmap(model.encode)(graphemes, lengths)
    return jax.vmap(model.decoder, (None, 0))(model.table[START], states)


@eqx.filter_jit
def _greedy(
    model: G2P, graphemes: Int[Array, "words length"], lengths: Int[Array, " words"]
) -> tuple[Array, ...]:
    """The fields of `Decoded` for `STEPS` steps; what follows </s> is computed and masked."""

    def step(carry: tuple[Array, Array, Array], _: None) -> tuple[Any, Any]:
        phonemes, states, going = carry
        states, logits = jax.vmap(model.decode_step)(phonemes, states)
        phonemes = jnp.argmax(logits, axis=1).astype(jnp.int32)
        return (phonemes, states, going & (phonemes != STOP)), (phonemes, states, going)

    states = jax.vmap(model.encode)(graphemes, lengths)
    start = jnp.full(len(lengths), START, jnp.int32), states, jnp.ones(len(lengths), bool)
    _, steps = jax.lax.scan(step, start, length=STEPS)
    return tuple(jnp.swapaxes(leaf, 0, 1) for leaf in steps)


def _cell(path: str | os.PathLike[str], side: str, embedding: int, hidden: int) -> Cell:
    """The encoder's or the decoder's cell."""
    gates = 3 * hidden
    shapes = {
        f"{side}_w_ih": (gates, embedding),
        f"{side}_w_hh": (gates, hidden),
        f"{side}_b_ih": (gates,),
        f"{side}_b_hh": (gates,),
    }
    return Cell(*read_shaped(path, shapes, PACKAGE).values())
