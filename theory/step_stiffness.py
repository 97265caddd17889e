"""How stiff the steps of a deterministic sampler are: ‖DS_k‖ at the latents it comes through.

Whoever makes M modes of mass m_i with little leak has stiffness (Theorem 5); K steps share it out,
‖D(S_K∘…∘S_1)‖ ≤ Π‖DS_k‖, and the peak is what a network of limited Λ must have (Theorem 7).
"""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from theory.sampler import Denoiser, Latents, Step, check_deterministic, coefficients, step_of


class StepStiffness(NamedTuple):
    """Largest sampled operator norms.

    Fields:
        steps: max over points of ‖DS_k‖, shape (K,).
        whole: max over points of ‖D(S_K∘…∘S_1)‖.
        ends: z_0, shape (points, length, n).
    """

    steps: Float[np.ndarray, " K"]
    whole: float
    ends: Latents

    @property
    def peak(self) -> float:
        """max_k ‖DS_k‖."""
        return float(self.steps.max())


def step_stiffness(denoiser: Denoiser, steps: Sequence[Step], latents: Latents) -> StepStiffness:
    """‖DS_k‖ of every step and of all together from sampled z_1, by whole Jacobians.

    Memory: one Jacobian a point, (length·n)² numbers; the product of the steps' Jacobians along a
    path is that of the whole.

    Args:
        denoiser: D.
        steps: of `theory.sampler.plan`, without fresh noise.
        latents: z_1, shape (points, length, n), in float64 unless rounding may pass for stiffness.

    Raises:
        ValueError: when a step draws noise.
    """
    check_deterministic(steps)
    z, whole, peaks = latents, None, []
    for step in steps:
        z, jacobians = _moved(denoiser, coefficients(step, z.dtype.name), z)
        own = np.asarray(jacobians)
        whole = own if whole is None else own @ whole
        peaks.append(_largest(own))
    return StepStiffness(np.array(peaks), 0.0 if whole is None else _largest(whole), z)


@eqx.filter_jit
def _moved(denoiser: Denoiser, step: Step, z: Latents) -> tuple[Latents, Float[Array, "p d d"]]:
    """The step at every point, and its Jacobian; a point at a time, for bounded memory."""

    def one(point: Float[Array, "length n"]) -> tuple[Array, Array]:
        def move(flat: Float[Array, " d"]) -> tuple[Array, Array]:
            ahead = step_of(denoiser, step, None, flat.reshape(1, *point.shape))[0]
            return ahead.ravel(), ahead

        jacobian, ahead = jax.jacfwd(move, has_aux=True)(point.ravel())
        return ahead, jacobian

    return lax.map(one, z, batch_size=16)


def _largest(jacobians: Float[np.ndarray, "p d d"]) -> float:
    return float(np.linalg.norm(jacobians, 2, axis=(1, 2)).max())
