"""Denoisers and one-step students of a language whose stiffness is proved.

A position sees the w latents around it, zeros beyond the ends, and a certified network g makes of
them a law of its token, p = sparsemax(…Λg…) ∈ R^V; the latent is x̂ = Wᵀp. Since ‖∂g‖ ≤ 1,

    ‖∂p/∂(window)‖ ≤ Λ,   ‖∂x̂/∂z‖ ≤ Λ·√w·‖W − 1w̄ᵀ‖_op  over a whole sequence:

a latent is in at most w windows, and entries of dp sum to 0, so the mean row w̄ is not felt. Time
enters beside z, through numbers that no bound holds, and through gates in (0, 1), which only lower
the bound. Layers of at least (inputs + V) numbers let the network be any contraction: every
contraction is a block of an isometry of that size, where a narrower chain must be stiff somewhere.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from theory.check import check_count
from theory.language import Embeddings, Language
from theory.transport.lipschitz import LipschitzNetwork, certified, lipschitz_network
from theory.transport.project import nearest

FEATURES = 8  # cos kπt, k = 0 … 7
AMPLITUDE = 4.0  # of those among the inputs of g
OPEN = 2.0  # sigmoid⁻¹ of a fresh gate

Latents = Float[Array, "sequences length n"]
Laws = Float[Array, "sequences length V"]


class LipschitzDenoiser(eqx.Module):
    """D(z, α, σ) = Wᵀp, p = sparsemax(o·Λg(c_1z_1 … c_wz_w, φ) + b) at a window z_1 … z_w.

    φ are the features of t = σ/(α + σ), of which b is linear, and o and all c_k ∈ (0, 1) are
    sigmoids of linear ones: ‖∂p/∂(window)‖ ≤ o·max c_k·Λ < Λ.

    Fields:
        network: g and Λ, on R^{wn + FEATURES}.
        gates: of features, to o and c_1 … c_w.
        shift: of features, to b.
        table: W, shape (V, n).
        window: w, odd.
    """

    network: LipschitzNetwork
    gates: Float[Array, "features gates"]
    shift: Float[Array, "features V"]
    table: Embeddings
    window: int = eqx.field(static=True)

    def logits(self, z: Latents, signal: Array, noise: Array) -> Laws:
        """What p is the nearest point of the simplex to; α, σ scalars or one a sequence."""
        signal, noise = (jnp.asarray(a, z.dtype).reshape(-1, 1, 1) for a in (signal, noise))
        turns = jnp.pi * jnp.arange(FEATURES, dtype=z.dtype) * noise / (signal + noise)
        told = jnp.cos(turns)
        gates = jax.nn.sigmoid(jnp.matmul(told, self.gates, precision="highest"))
        seen = windows(z, self.window) * jnp.repeat(gates[..., 1:], z.shape[-1], axis=-1)
        beside = jnp.broadcast_to(AMPLITUDE * told, (*z.shape[:2], FEATURES))
        scores = self.network.logits(jnp.concatenate([seen, beside], axis=-1))
        return gates[..., :1] * scores + jnp.matmul(told, self.shift, precision="highest")

    def laws(self, z: Latents, signal: Array, noise: Array) -> Laws:
        """p of every position."""
        return nearest(self.logits(z, signal, noise))

    def __call__(self, z: Latents, signal: Array, noise: Array) -> Latents:
        """x̂ = Wᵀp."""
        return _mean(self.laws(z, signal, noise), self.table)


class LipschitzStudent(eqx.Module):
    """Noise to tokens at once: Wᵀp, p = sparsemax(Λg(window of z_1)).

    It may stand for a denoiser in a sampler of one step: α = 0, σ = 1 are not looked at.

    Fields:
        network: g and Λ, on R^{wn}.
        table: W, shape (V, n).
        window: w, odd.
    """

    network: LipschitzNetwork
    table: Embeddings
    window: int = eqx.field(static=True)

    def logits(self, z: Latents) -> Laws:
        """What p is the nearest point of the simplex to."""
        return self.network.logits(windows(z, self.window))

    def laws(self, z: Latents, signal: object = 0, noise: object = 1) -> Laws:
        """p of every position."""
        del signal, noise
        return nearest(self.logits(z))

    def __call__(self, z: Latents, signal: object = 0, noise: object = 1) -> Latents:
        """Wᵀp."""
        return _mean(self.laws(z), self.table)


Model = LipschitzDenoiser | LipschitzStudent


def windows(z: Latents, window: int) -> Float[Array, "sequences length inputs"]:
    """The w latents around every position in a row, zeros beyond the ends."""
    half, length = window // 2, z.shape[1]
    wide = jnp.pad(z, ((0, 0), (half, half), (0, 0)))
    return jnp.concatenate([wide[:, k : k + length] for k in range(window)], axis=-1)


def lipschitz_denoiser(
    key: PRNGKeyArray,
    language: Language,
    stiffness: float,
    *,
    window: int = 5,
    width: int = 192,
    layers: int = 3,
) -> LipschitzDenoiser:
    """A fresh denoiser of a language with ‖∂p/∂(window)‖ ≤ Λ, in float32.

    Raises:
        ValueError: on a window that is no odd count, or as `lipschitz_network` for the map
            R^{wn + FEATURES} → R^V.
    """
    network = _network(key, language, stiffness, (window, width, layers), FEATURES)
    gates = jnp.zeros((FEATURES, window + 1), jnp.float32).at[0].set(OPEN)
    shift = jnp.zeros((FEATURES, language.vocabulary), jnp.float32)
    return LipschitzDenoiser(network, gates, shift, _table(language), window)


def lipschitz_student(
    key: PRNGKeyArray,
    language: Language,
    stiffness: float,
    *,
    window: int = 5,
    width: int = 192,
    layers: int = 3,
) -> LipschitzStudent:
    """A fresh one-step student with ‖∂p/∂(window)‖ ≤ Λ, in float32.

    Raises:
        ValueError: on a window that is no odd count, or as `lipschitz_network` for R^{wn} → R^V.
    """
    network = _network(key, language, stiffness, (window, width, layers), 0)
    return LipschitzStudent(network, _table(language), window)


def certified_law(model: Model) -> float:
    """An upper bound of sup ‖∂p/∂(window of z)‖ at all times; weights must be orthonormal."""
    return certified(model.network)


def certified_map(model: Model) -> float:
    """An upper bound of sup ‖∂x̂/∂z‖ over whole sequences, at all times: Λ√w·‖W − 1w̄ᵀ‖_op."""
    table = np.asarray(model.table, np.float64)
    spread = float(np.linalg.norm(table - table.mean(axis=0), 2)) * (1 + 1e-12)
    return certified_law(model) * math.sqrt(model.window) * spread


def _mean(laws: Laws, table: Embeddings) -> Latents:
    return jnp.matmul(laws, table.astype(laws.dtype), precision="highest")


def _network(
    key: PRNGKeyArray, language: Language, stiffness: float, shape: tuple, features: int
) -> LipschitzNetwork:
    window, width, layers = shape
    check_count("window", window, 1)
    if window % 2 == 0:
        raise ValueError(f"a window has its position in the middle: w is odd, got {window}")
    inputs = window * language.dimension + features
    return lipschitz_network(
        key, language.vocabulary, inputs, stiffness, width=width, layers=layers
    )


def _table(language: Language) -> Embeddings:
    return language.embeddings.astype(jnp.float32)
