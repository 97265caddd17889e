"""Smooth networks whose Lipschitz constant is proved, not estimated.

T(x) = sparsemax(Λ·g(x)), g a chain of layers with orthonormal weights and a smooth activation
that is 1-Lipschitz. Every factor of the chain rule is bounded, so Λ·Π‖W_k‖ bounds ‖DT‖ at every
point; sampled Jacobians can only come near it from below.
"""

import math
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from theory.check import check_count, check_scale
from theory.gaussian import normal
from theory.transport.sparsemax import sparsemax

CENTRING = 4096  # points by which a fresh network's outputs are centred
SPREAD = 1.0  # of fresh biases, in units of x: kinks lie where the Gaussian is


class LipschitzNetwork(eqx.Module):
    """T(x) = sparsemax(Λ·g(x)), g = W_K σ(… σ(W_1 x + b_1) …) + b_K.

    The modes are vertices of the simplex, or balls about them. While it is trained the weights
    are any full-rank matrices, and `orthonormal` gives the network that is meant.

    Fields:
        weights: W_k, shape (out, in).
        biases: b_k, shape (out,).
        stiffness: Λ.
        smoothing: δ of the activation `smooth_sort`.
    """

    weights: tuple[Float[Array, "_ _"], ...]
    biases: tuple[Float[Array, " _"], ...]
    stiffness: Array
    smoothing: Array

    @property
    def dimension(self) -> int:
        """n."""
        return self.weights[0].shape[1]

    @property
    def modes(self) -> int:
        """M."""
        return self.weights[-1].shape[0]

    def logits(self, x: Float[Array, "*points n"]) -> Float[Array, "*points modes"]:
        """Λ·g(x), whose nearest point of the simplex is T(x)."""
        last = len(self.weights) - 1
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = jnp.matmul(x, weight.T, precision="highest") + bias
            x = x if number == last else smooth_sort(x, self.smoothing)
        return self.stiffness * x

    def __call__(self, x: Float[Array, "*points n"]) -> Float[Array, "*points modes"]:
        """T(x)."""
        return sparsemax(self.logits(x))


@jax.jit
def smooth_sort(
    x: Float[Array, "*points width"], smoothing: Array | float
) -> Float[Array, "*points width"]:
    """Pairs (x, y) ↦ (x + y)/2 ± ½√((x − y)² + δ²), a smooth maximum and minimum.

    In the orthonormal basis (x + y, x − y)/√2 the Jacobian has the singular values 1 and
    |x − y|/√((x − y)² + δ²) < 1: 1-Lipschitz, and an isometry away from x = y.
    """
    first, second = x[..., ::2], x[..., 1::2]
    half = jnp.sqrt((first - second) ** 2 + smoothing**2) / 2
    middle = (first + second) / 2
    return jnp.stack([middle + half, middle - half], axis=-1).reshape(x.shape)


def lipschitz_network(
    key: PRNGKeyArray,
    modes: int,
    dimension: int,
    stiffness: float,
    *,
    width: int = 64,
    layers: int = 3,
    smoothing: float | None = None,
    dtype: str = "float32",
) -> LipschitzNetwork:
    """A fresh network R^n → simplex of M vertices with Haar weights and outputs of mean 0.

    Args:
        key: PRNG key.
        modes: M ≥ 2.
        dimension: n ≥ 1.
        stiffness: Λ.
        width: of the hidden layers; even, at least n and M so that nothing need be lost.
        layers: number of orthonormal layers, at least 2.
        smoothing: δ; 1/(4Λ) if None, a quarter of the width of an interface.
        dtype: of the parameters.

    Raises:
        ValueError: on an M, n, width or number of layers out of range, or Λ or δ not positive.
    """
    check_count("modes", modes, 2)
    check_count("dimension", dimension, 1)
    check_count("layers", layers, 2)
    check_count("width", width, max(2, modes, dimension))
    if width % 2:
        raise ValueError(f"the activation sorts pairs: width must be even, got {width}")
    check_scale("stiffness", stiffness)
    smoothing = 1 / (4 * stiffness) if smoothing is None else smoothing
    check_scale("smoothing", smoothing)
    sizes = (dimension, *[width] * (layers - 1), modes)
    scales = jnp.asarray(stiffness, dtype), jnp.asarray(smoothing, dtype)
    return _fresh(key, sizes, *scales)


@partial(jax.jit, static_argnames="sizes")  # op by op this would be fifty compilations
def _fresh(
    key: PRNGKeyArray, sizes: tuple[int, ...], stiffness: Array, smoothing: Array
) -> LipschitzNetwork:
    centre_key, *keys = jax.random.split(key, len(sizes))
    dtype = stiffness.dtype.name
    weights, biases = [], []
    for own, inner, outer in zip(keys, sizes[:-1], sizes[1:], strict=True):
        weight_key, bias_key = jax.random.split(own)
        weights.append(_isometry(normal(weight_key, (outer, inner), dtype)))
        biases.append(jax.random.uniform(bias_key, (outer,), dtype, -SPREAD, SPREAD))
    fresh = LipschitzNetwork(tuple(weights), tuple(biases), stiffness, smoothing)
    x = normal(centre_key, (CENTRING, sizes[0]), dtype)
    centre = jnp.mean(fresh.logits(x), axis=0) / stiffness
    return eqx.tree_at(lambda t: t.biases[-1], fresh, fresh.biases[-1] - centre)


@jax.jit
def orthonormal(network: LipschitzNetwork) -> LipschitzNetwork:
    """The network with every weight replaced by an isometry (or its transpose) of the same span."""
    weights = tuple(map(_isometry, network.weights))
    return eqx.tree_at(lambda t: t.weights, network, weights)


def certified(network: LipschitzNetwork) -> float:
    """An upper bound of sup ‖DT‖ = Λ·Π‖W_k‖, in float64 with its rounding (Theorem 5, item 6).

    ‖W‖² ≤ 1 + ‖WᵀW − I‖_F, or ‖W‖² ≤ ‖W‖_1‖W‖_∞ (Schur) where that is less. The product is
    computed in float64 from the weights as they are, float32 or not, and its error is at most
    γ‖W‖_F² (γ = k·2⁻⁵³/(1 − k·2⁻⁵³), k the length of the sums plus 2). It bounds the map of these
    weights in exact arithmetic; a float32 evaluation differs from it by float32 rounding.
    """
    bound = float(network.stiffness)
    for weight in network.weights:
        bound *= math.sqrt(_square_norm(np.asarray(weight, np.float64)))
    return bound * (1 + 4 * len(network.weights) * np.finfo(np.float64).eps)


def _square_norm(weight: np.ndarray) -> float:
    tall = weight if weight.shape[0] >= weight.shape[1] else weight.T
    terms = (tall.shape[0] + 2) * 2.0**-53
    rounding = terms / (1 - terms) * float((tall**2).sum())
    off = float(np.linalg.norm(tall.T @ tall - np.eye(tall.shape[1])))
    absolute = np.abs(tall)
    schur = float(absolute.sum(axis=0).max() * absolute.sum(axis=1).max())
    return min(1 + off, schur) + rounding + 1e-15 * tall.size


def _isometry(weight: Float[Array, "out inner"]) -> Float[Array, "out inner"]:
    """Orthonormal columns, or rows where these are fewer: Q of QR with a positive diagonal of R."""
    wide = weight.shape[0] < weight.shape[1]
    factor, triangle = jnp.linalg.qr(weight.T if wide else weight)
    # Without the signs Q would jump where a diagonal entry of R passes 0, and Q of Q is Q.
    factor = factor * jnp.where(jnp.diagonal(triangle) < 0, -1, 1).astype(weight.dtype)
    return factor.T if wide else factor
