"""Noise schedules z_t = α_t·z + σ_t·ε, and the exact terminal step D(z_t, t) = E[Z | z_t].

z_t/α_t = Z + sξ with s = σ_t/α_t, the noise-to-signal ratio: the terminal step is the posterior
mean at that s, and a schedule only says at which t it is reached.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from theory.check import check_scale
from theory.gaussian import normal
from theory.mixture import Mixture
from theory.partition import Points


class Schedule(NamedTuple):
    """α_t and σ_t for 0 < t < 1, from data to noise, and the time at which σ_t/α_t is s.

    Fields:
        name: what it is called.
        signal: t ↦ α_t.
        noise: t ↦ σ_t.
        time: s ↦ t with σ_t/α_t = s.
        rates: t ↦ (α̇_t, σ̇_t).
    """

    name: str
    signal: Callable[[float], float]
    noise: Callable[[float], float]
    time: Callable[[float], float]
    rates: Callable[[float], tuple[float, float]]


RECTIFIED_FLOW = Schedule(
    "rectified flow", lambda t: 1 - t, lambda t: t, lambda s: s / (1 + s), lambda t: (-1.0, 1.0)
)
VARIANCE_PRESERVING = Schedule(
    "variance preserving",
    lambda t: math.cos(math.pi * t / 2),
    lambda t: math.sin(math.pi * t / 2),
    lambda s: 2 / math.pi * math.atan(s),
    lambda t: (
        -math.pi / 2 * math.sin(math.pi * t / 2),
        math.pi / 2 * math.cos(math.pi * t / 2),
    ),
)
SCHEDULES = (RECTIFIED_FLOW, VARIANCE_PRESERVING)


def noise_to_signal(schedule: Schedule, time: float) -> float:
    """s = σ_t/α_t.

    Raises:
        ValueError: unless 0 < t < 1: at 0 there is no noise, at 1 no signal.
    """
    _check_time(time)
    return schedule.noise(time) / schedule.signal(time)


def time_of(schedule: Schedule, scale: float) -> float:
    """The t with σ_t/α_t = s.

    Raises:
        ValueError: when s is not positive and finite.
    """
    check_scale("scale", scale)
    return schedule.time(scale)


def noised(
    key: PRNGKeyArray, latents: Points, schedule: Schedule, time: float
) -> Float[Array, "*points n"]:
    """z_t = α_t·z + σ_t·ε with fresh ε ~ N(0, I), in the dtype of the latents.

    Raises:
        ValueError: unless 0 < t < 1, or when the latents are empty or not floating.
    """
    _check_time(time)
    clean = jnp.asarray(latents)
    if clean.size == 0 or not jnp.issubdtype(clean.dtype, jnp.floating):
        raise ValueError(f"latents must be floating, at least one, got {clean.dtype} {clean.shape}")
    noise = normal(key, clean.shape, clean.dtype.name, samples=0)
    return schedule.signal(time) * clean + schedule.noise(time) * noise


def terminal_step(
    law: Mixture, noisy: Points, schedule: Schedule, time: float
) -> Float[Array, "*points n"]:
    """E[Z | z_t], the posterior mean of `law` at z_t/α_t and s = σ_t/α_t.

    Raises:
        ValueError: unless 0 < t < 1, or when z_t is empty, not finite, or its last axis is not n.
    """
    scale = noise_to_signal(schedule, time)
    return law.posterior_mean(jnp.asarray(noisy) / schedule.signal(time), scale)


def _check_time(time: float) -> None:
    if not 0 < time < 1:
        raise ValueError(f"time must lie in (0, 1), got {time}")
