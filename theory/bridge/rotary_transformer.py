"""A causal transformer with rotary positions, grouped keys and gated layers, its readout tied.

With N(h) = w ⊙ h / √(mean h² + ε), each layer does

    h ← h + W_o Attention(R q, R k, v),         q, k, v = W_q N(h), W_k N(h), W_v N(h),
    h ← h + W_d (silu(W_g N(h)) ⊙ W_u N(h)),

where R turns the pairs (2i, 2i+1) of every head by the position times base^(−2i/d) (Su et al.,
"RoFormer", 2021), and several query heads share a key (Ainslie et al., "GQA", 2023).
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

POSITIONS = 256  # scored at once against a whole vocabulary: 50 MB of logits for 49152 tokens


class Layer(eqx.Module):
    """One layer, or all of them stacked along a first axis; names as in the files of llama.cpp."""

    attn_norm: Float[Array, "*layers n"]
    attn_q: Float[Array, "*layers n n"]
    attn_k: Float[Array, "*layers shared n"]
    attn_v: Float[Array, "*layers shared n"]
    attn_output: Float[Array, "*layers n n"]
    ffn_norm: Float[Array, "*layers n"]
    ffn_gate: Float[Array, "*layers inner n"]
    ffn_up: Float[Array, "*layers inner n"]
    ffn_down: Float[Array, "*layers n inner"]


class Cache(NamedTuple):
    """Keys and values of what was read, and how much was read; rows first, as a context must be."""

    keys: Float[Array, "rows layers capacity groups d"]
    values: Float[Array, "rows layers capacity groups d"]
    length: Int[Array, " rows"]


class RotaryTransformer(eqx.Module):
    """The arithmetic, on arrays that are already checked; latents are h after the last norm.

    Fields:
        table: input embedding and readout at once.
        layers: stacked, run by `lax.scan`, so that one layer is compiled.
        output_norm: weight of the norm after the last layer.
        cosine, sine: of every position's angles, up to the longest context.
        heads: query heads; groups: key heads; epsilon: ε of every norm.
    """

    table: Float[Array, "V n"]
    layers: Layer
    output_norm: Float[Array, " n"]
    cosine: Float[Array, "context pairs"]
    sine: Float[Array, "context pairs"]
    heads: int = eqx.field(static=True)
    groups: int = eqx.field(static=True)
    epsilon: float = eqx.field(static=True)

    def forward(
        self, tokens: Int[Array, "rows length"]
    ) -> tuple[Float[Array, "rows length n"], tuple[Array, Array]]:
        """Latents at every position; keys and values of every layer, layers first."""
        length = tokens.shape[1]
        causal = jnp.tril(jnp.ones((length, length), bool))
        cosine, sine = self.cosine[:length], self.sine[:length]

        def step(h: Array, layer: Layer) -> tuple[Array, tuple[Array, Array]]:
            q, k, v = self._project(layer, h, cosine, sine)
            return self._finish(layer, h, _attend(q, k, v, causal)), (k, v)

        h, kept = jax.lax.scan(step, self.table[tokens], self.layers)
        return normalised(h, self.output_norm, self.epsilon), kept

    def start(
        self, tokens: Int[Array, "rows length"], capacity: int
    ) -> tuple[Cache, Float[Array, "rows n"]]:
        """The cache, with room for `capacity` positions, and the latent at the last of `tokens`."""
        rows, length = tokens.shape
        z, kept = self.forward(tokens)
        room = [(0, 0), (0, 0), (0, capacity - length), (0, 0), (0, 0)]
        keys, values = (jnp.pad(jnp.swapaxes(part, 0, 1), room) for part in kept)
        return Cache(keys, values, jnp.full(rows, length, jnp.int32)), z[:, -1]

    def advance(
        self, context: Cache, z: Float[Array, "rows n"], fed: Float[Array, "rows n"]
    ) -> tuple[Cache, Float[Array, "rows n"]]:
        """One position more. The latents are NaN from the position on that finds no room."""
        keys, values, place = context
        rows, capacity = jnp.arange(len(fed)), keys.shape[2]
        seen = (jnp.arange(capacity) <= place[:, None])[:, None, None, None]
        cosine, sine = self.cosine[place, None], self.sine[place, None]

        def step(h: Array, item: tuple[Layer, Array]) -> tuple[Array, tuple[Array, Array]]:
            layer, index = item
            q, k, v = self._project(layer, h, cosine, sine)
            past_k = keys[:, index].at[rows, place].set(k[:, 0])
            past_v = values[:, index].at[rows, place].set(v[:, 0])
            h = self._finish(layer, h, _attend(q, past_k, past_v, seen))
            return h, (k[:, 0], v[:, 0])

        numbered = self.layers, jnp.arange(keys.shape[1])
        h, fresh = jax.lax.scan(step, fed[:, None], numbered)
        keys, values = (
            part.at[rows, :, place].set(jnp.swapaxes(new, 0, 1))
            for part, new in zip((keys, values), fresh, strict=True)
        )
        latents = normalised(h[:, 0], self.output_norm, self.epsilon)
        room = (place < capacity)[:, None]
        return Cache(keys, values, place + 1), jnp.where(room, latents, jnp.nan)

    def losses(self, tokens: Int[Array, "rows length"]) -> Float[Array, "rows length-1"]:
        """−log p of every next token, a few positions scored at a time."""
        z = self.forward(tokens)[0][:, :-1].reshape(-1, self.table.shape[1])

        def lost(item: tuple[Array, Array]) -> Array:
            scores = self.table @ item[0]
            return jax.nn.logsumexp(scores) - scores[item[1]]

        scored = z, tokens[:, 1:].ravel()
        return jax.lax.map(lost, scored, batch_size=POSITIONS).reshape(len(tokens), -1)

    def _project(self, layer: Layer, h: Array, cosine: Array, sine: Array) -> tuple[Array, ...]:
        """Queries (rows, length, groups, share, d), keys and values (rows, length, groups, d)."""
        normed = normalised(h, layer.attn_norm, self.epsilon)
        split = (*h.shape[:2], self.heads, -1)
        q = turned((normed @ layer.attn_q.T).reshape(split), cosine, sine)
        split = (*h.shape[:2], self.groups, -1)
        k = turned((normed @ layer.attn_k.T).reshape(split), cosine, sine)
        v = (normed @ layer.attn_v.T).reshape(split)
        return q.reshape(*split[:3], self.heads // self.groups, -1), k, v

    def _finish(self, layer: Layer, h: Array, attended: Array) -> Array:
        """The rest of a layer, after attention."""
        h = h + attended @ layer.attn_output.T
        normed = normalised(h, layer.ffn_norm, self.epsilon)
        gate = jax.nn.silu(normed @ layer.ffn_gate.T)
        return h + (gate * (normed @ layer.ffn_up.T)) @ layer.ffn_down.T


def normalised(
    h: Float[Array, "*batch n"], weight: Float[Array, " n"], epsilon: float
) -> Float[Array, "*batch n"]:
    """w ⊙ h / √(mean h² + ε)."""
    return h * jax.lax.rsqrt(jnp.mean(h**2, axis=-1, keepdims=True) + epsilon) * weight


def angles(context: int, dimension: int, base: float) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of position · base^(−2i/d), each (context, d/2) in float32.

    In float64 until the last moment: at position 8000 a float32 angle is off by 2e-4.
    """
    frequency = base ** (-np.arange(0, dimension, 2) / dimension)
    angle = np.arange(context)[:, None] * frequency
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def turned(
    x: Float[Array, "rows length heads d"],
    cosine: Float[Array, "*rows length pairs"],
    sine: Float[Array, "*rows length pairs"],
) -> Float[Array, "rows length heads d"]:
    """Each pair (x_2i, x_2i+1) of every head turned by its angle."""
    even, odd = x[..., 0::2], x[..., 1::2]
    c, s = cosine[..., None, :], sine[..., None, :]
    return jnp.stack([even * c - odd * s, even * s + odd * c], axis=-1).reshape(x.shape)


def _attend(
    q: Float[Array, "rows length groups share d"],
    k: Float[Array, "rows keys groups d"],
    v: Float[Array, "rows keys groups d"],
    allowed: Bool[Array, "*_ keys"],
) -> Float[Array, "rows length n"]:
    """Softmax attention of every query head over the keys of its group that are allowed."""
    scores = jnp.einsum("btgrd,bsgd->bgrts", q, k) / np.float32(np.sqrt(q.shape[-1]))
    weight = jax.nn.softmax(jnp.where(allowed, scores, -jnp.inf), axis=-1)
    mixed: Any = jnp.einsum("bgrts,bsgd->btgrd", weight, v)
    return mixed.reshape(*q.shape[:2], -1)
