"""A head and a decoder small enough to know the answers, in the place of real ones."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from experiments import real_heads
from experiments.decoders import Sampled
from theory.partition import PowerDiagram

ROWS = 3  # latents of a group
SYMBOLS = " etaoinsr"


def sampled(name: str, count: int) -> tuple[PowerDiagram, Sampled]:
    """Six classes in R³, and latents around their sites."""
    rng = np.random.default_rng(len(name))
    sites = rng.standard_normal((6, 3))
    latents = sites[rng.integers(6, size=count)] + 0.4 * rng.standard_normal((count, 3))
    return PowerDiagram(sites, np.zeros(6)), Sampled(latents, np.arange(count) // ROWS)


class Reader(eqx.Module):
    """z′ = carry·z + A·fed: with carry = 0 what is fed back is all that a step hands on."""

    table: jax.Array
    matrix: jax.Array
    carry: float

    @property
    def symbols(self) -> str:
        return SYMBOLS

    def head(self) -> PowerDiagram:
        return PowerDiagram(self.table, jnp.zeros(len(self.table)))

    def advance(self, context: Any, z: jax.Array, fed: jax.Array) -> tuple[Any, jax.Array]:
        return context, self.carry * z + fed @ self.matrix.T

    def encode(self, text: str) -> np.ndarray:
        return np.array([SYMBOLS.index(one) for one in text if one in SYMBOLS])

    def decode(self, tokens: np.ndarray) -> str:
        return "".join(SYMBOLS[one] for one in tokens)

    def begin(self, texts: Any, room: int = 0) -> tuple[tuple[()], jax.Array]:
        tokens = [self.encode(one) if isinstance(one, str) else one for one in texts]
        return (), self.table[np.array(tokens)].cumsum(axis=1).mean(axis=1) @ self.matrix.T / 4

    def nats(self, tokens: np.ndarray, softness: float = 0.0) -> np.ndarray:
        said = np.asarray(self.table)[tokens]
        scores = (1 - softness) * said @ np.asarray(self.matrix).T @ np.asarray(self.table).T
        lost = np.log(np.exp(scores).sum(axis=2))[:, :-1]
        own = np.take_along_axis(scores[:, :-1], tokens[:, 1:, None], axis=2)[..., 0]
        return np.pad(lost - own, ((0, 0), (1, 0)))


def reader(carry: float = 0.0) -> Reader:
    rng = np.random.default_rng(3)
    parts = rng.standard_normal((len(SYMBOLS), 4)), 0.7 * rng.standard_normal((4, 4))
    return Reader(*map(jnp.asarray, parts), carry)


def forget() -> None:
    for kept in (real_heads.real_head, real_heads.geometry, real_heads.fitted):
        kept.cache_clear()


def distances(diagram: PowerDiagram, latents: np.ndarray) -> np.ndarray:
    """δ by its definition."""
    sites = np.asarray(diagram.sites)
    margin = (latents @ sites.T).max(axis=1, keepdims=True) - latents @ sites.T
    label = margin.argmin(axis=1)
    apart = np.linalg.norm(sites[label][:, None] - sites, axis=2)
    apart[np.arange(len(label)), label] = 1
    margin[np.arange(len(label)), label] = np.inf
    return (margin / apart).min(axis=1)


def greedy(model: Reader, z: np.ndarray, steps: int) -> str:
    """What the decoder writes from a latent, token by token."""
    table, matrix = np.asarray(model.table), np.asarray(model.matrix)
    said = ""
    for _ in range(steps):
        token = int((table @ z).argmax())
        said += SYMBOLS[token]
        z = model.carry * z + matrix @ table[token]
    return " ".join(said.split())
