"""Few-step samplers of z_t = α_t·z_0 + σ_t·ε, from noise (t = 1) to data (t = 0) in K steps.

Each step is linear in z, in what the denoiser says and in fresh noise; with the denoiser's place
(α, σ) before and (α', σ') after the step, x̂ = D(z; α, σ) and ε̂ = (z − αx̂)/σ:

    exact      z' = α'x̂ + σ'ε̂: the flow, were x̂ constant (DDIM; Song, Meng, Ermon 2021)
    euler      z' = z − h·(α̇x̂ + σ̇ε̂), h = t − t'; under rectified flow the exact step
    heun       the mean of that slope and of the one at its end; the last step is Euler's
    churn γ    first from t up to t̂ = min(1, t + γh): z ← ρz + √(σ̂² − ρ²σ²)·ε, ρ = α̂/α; then exact
               (Karras et al. 2022); at t = 1 nothing is raised
    ancestral  z' = (rσ'²/σ²)z + (α'v/σ²)x̂ + (σ'√v/σ)ε, r = α/α', v = σ² − r²σ'²: the law of z_{t'}
               given z_t and z_0 = x̂ (Ho, Jain, Abbeel 2020)
    renoise    z' = α'x̂ + σ'ε: not the law of z_{t'} unless x̂ is z_0; the wrong control
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.special import expit, ndtri

from theory.check import check_count
from theory.gaussian import normal
from theory.terminal import Schedule

CELLS = 1 << 25  # the most numbers of the denoiser's largest array in a chunk
Latents = Float[Array, "sequences length n"]
Denoiser = Callable[[Latents, Any, Any], Latents]
SHIFT = 3.0  # of σ/α at every u (Esser et al. 2024): half way lies at t = ¾
LOOK = "look "
SAMPLERS = ("exact", "euler", "heun", "churn", "ancestral", "renoise")
GRIDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "uniform": lambda u: 1 - u,
    "cosine": lambda u: np.cos(np.pi * u / 2),
    "logit-normal": lambda u: expit(ndtri(1 - u)),
    "shifted": lambda u: SHIFT * (1 - u) / (1 + (SHIFT - 1) * (1 - u)),
}


class Step(NamedTuple):
    """Coefficients of one step; all are numbers.

    Fields:
        raised: z ← raised[0]·z + raised[1]·ε before the denoiser looks.
        signal: α where it looks.
        noise: σ there.
        moved: z' = moved[0]·z + moved[1]·x̂ + moved[2]·ε.
        corrected: None, or α', σ' of a second look x̂' at z', and z'' = c₀z + c₁x̂ + c₂x̂'.
    """

    raised: tuple[float, float]
    signal: float
    noise: float
    moved: tuple[float, float, float]
    corrected: tuple[float, float, float, float, float] | None = None


def times(grid: str, steps: int, start: float = 1.0) -> np.ndarray:
    """t_0 = start > t_1 > … > t_K = 0 of one of GRIDS, shape (K + 1,); 'look T' is start, T, 0.

    Raises:
        ValueError: on an unknown grid, K < 1, a start not in (0, 1], or a look that is not between.
    """
    check_count("steps", steps, 1)
    check_grid(grid, steps)
    if not 0 < start <= 1:
        raise ValueError(f"start must lie in (0, 1], got {start}")
    if grid.startswith(LOOK):
        return np.array([start, start * float(grid.removeprefix(LOOK)), 0.0])
    found = start * GRIDS[grid](np.arange(steps + 1) / steps)
    found[-1] = 0.0  # cos(π/2) is 6e-17
    return found


def check_grid(grid: str, steps: int) -> None:
    """ValueError unless the grid is one of GRIDS, or 'look T' of two steps, 0 < T < 1."""
    if grid in GRIDS:
        return
    try:
        look = float(grid.removeprefix(LOOK)) if grid.startswith(LOOK) else math.nan
    except ValueError:
        look = math.nan
    if not (0 < look < 1 and steps == 2):
        known = ", ".join(GRIDS)
        raise ValueError(f"grid must be one of {known}, or 'look T' with K = 2, got {grid!r}")


def plan(
    sampler: str, schedule: Schedule, at: Sequence[float] | np.ndarray, churn: float = 0.0
) -> list[Step]:
    """The steps of one of SAMPLERS over the times `at`.

    Args:
        sampler: its name.
        schedule: α_t, σ_t.
        at: t_0 > … > t_K = 0, t_0 ≤ 1.
        churn: γ ≥ 0, of the sampler churn alone.

    Raises:
        ValueError: on an unknown sampler, times that do not fall from ≤ 1 to 0, or a γ < 0 or
            beside another sampler.
    """
    moments = [float(t) for t in at]
    falls = all(a > b for a, b in pairwise(moments))
    if len(moments) < 2 or not falls or moments[0] > 1 or moments[-1] != 0:
        raise ValueError(f"times must fall from at most 1 to 0, got {moments}")
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}, got {sampler!r}")
    if not 0 <= churn < math.inf or (churn and sampler != "churn"):
        raise ValueError(f"churn is a number ≥ 0 of the sampler churn, got {churn} of {sampler}")
    make = {
        "exact": _exact,
        "euler": _euler,
        "heun": _heun,
        "churn": lambda s, t, to: _churned(s, t, to, churn),
        "ancestral": _ancestral,
        "renoise": _renoised,
    }[sampler]
    return [make(schedule, t, to) for t, to in pairwise(moments)]


def generate(
    key: PRNGKeyArray,
    denoiser: Denoiser,
    steps: Sequence[Step],
    shape: tuple[int, int, int],
    *,
    width: int,
    dtype: str = "float32",
) -> Iterator[Latents]:
    """z_0 of independent sequences from pure noise, in chunks of one shape; the last may be cut.

    Args:
        key: PRNG key.
        denoiser: D(z, α, σ) of latents (sequences, length, n).
        steps: of `plan`, from t = 1.
        shape: (sequences, length, n).
        width: numbers a position takes in the denoiser, which bounds the chunk.
        dtype: of the latents.

    Raises:
        ValueError: when a count is not an integer ≥ 1.
    """
    for name, count in zip(("sequences", "length", "n", "width"), (*shape, width), strict=True):
        check_count(name, count, 1)
    sequences, length, dimension = shape
    size = min(sequences, max(1, CELLS // (length * max(width, dimension))))
    for number, first in enumerate(range(0, sequences, size)):
        start_key, own = jax.random.split(jax.random.fold_in(key, number))
        z = normal(start_key, (size, length, dimension), dtype, samples=0)
        yield roll(own, denoiser, steps, z)[: sequences - first]


def roll(key: PRNGKeyArray, denoiser: Denoiser, steps: Sequence[Step], latents: Latents) -> Latents:
    """The steps from z at their first time on, shape of the latents."""
    z = latents
    for number, step in enumerate(steps):
        z = _jitted(denoiser, coefficients(step, z.dtype.name), jax.random.fold_in(key, number), z)
    return z


def coefficients(step: Step, dtype: str) -> Step:
    """The step's numbers as arrays: as numbers they would be static, every step compiled anew."""
    return jax.tree.map(partial(np.asarray, dtype=dtype), step)


def check_deterministic(steps: Sequence[Step]) -> None:
    """ValueError when a step draws fresh noise."""
    if any(step.raised[1] or step.moved[2] for step in steps):
        raise ValueError("expected steps of a deterministic sampler, got one that draws noise")


def step_of(denoiser: Denoiser, step: Step, key: PRNGKeyArray | None, z: Latents) -> Latents:
    """One step from z; without a key, one that draws no noise."""
    if key is not None:
        raise_key, move_key = jax.random.split(key)
        kept = step.raised[0] * z
        z = kept + step.raised[1] * normal(raise_key, z.shape, z.dtype.name, samples=0)
    mean = denoiser(z, step.signal, step.noise)
    ahead = step.moved[0] * z + step.moved[1] * mean
    if key is not None:
        ahead = ahead + step.moved[2] * normal(move_key, z.shape, z.dtype.name, samples=0)
    if step.corrected is None:
        return ahead
    signal, noise, own, first, second = step.corrected
    return own * z + first * mean + second * denoiser(ahead, signal, noise)


_jitted = eqx.filter_jit(step_of)


def _at(schedule: Schedule, time: float) -> tuple[float, float]:
    return schedule.signal(time), schedule.noise(time)


def _kept(s: Schedule, t: float, to: float) -> tuple[float, float, float]:
    """Of z and x̂ in α'x̂ + σ'ε̂."""
    (signal, noise), (after, left) = _at(s, t), _at(s, to)
    return left / noise, after - signal * left / noise, 0.0


def _exact(s: Schedule, t: float, to: float) -> Step:
    return Step((1.0, 0.0), *_at(s, t), _kept(s, t, to))


def _slope(s: Schedule, t: float) -> tuple[float, float]:
    """Of z and x̂ in α̇x̂ + σ̇ε̂."""
    signal, noise = _at(s, t)
    drift, spread = s.rates(t)
    return spread / noise, drift - spread * signal / noise


def _euler(s: Schedule, t: float, to: float) -> Step:
    own, mean = _slope(s, t)
    return Step((1.0, 0.0), *_at(s, t), (1 - (t - to) * own, -(t - to) * mean, 0.0))


def _heun(s: Schedule, t: float, to: float) -> Step:
    first = _euler(s, t, to)
    if to == 0:  # there is no ε̂ without noise
        return first
    half, (own, mean), (next_own, next_mean) = (t - to) / 2, _slope(s, t), _slope(s, to)
    corrected = (
        1 - half * (own + next_own * first.moved[0]),
        -half * (mean + next_own * first.moved[1]),
        -half * next_mean,
    )
    return first._replace(corrected=(*_at(s, to), *corrected))


def _churned(s: Schedule, t: float, to: float, churn: float) -> Step:
    up = min(1.0, t + churn * (t - to))
    (signal, noise), (high, loud) = _at(s, t), _at(s, up)
    ratio = high / signal if t < 1 else 1.0
    fresh = math.sqrt(max(loud**2 - (ratio * noise) ** 2, 0.0))
    return Step((ratio, fresh), high, loud, _kept(s, up, to))


def _ancestral(s: Schedule, t: float, to: float) -> Step:
    (signal, noise), (after, left) = _at(s, t), _at(s, to)
    ratio = signal / after
    variance = max(noise**2 - (ratio * left) ** 2, 0.0)
    moved = (
        ratio * (left / noise) ** 2,
        after * variance / noise**2,
        left * math.sqrt(variance) / noise,
    )
    return Step((1.0, 0.0), signal, noise, moved)


def _renoised(s: Schedule, t: float, to: float) -> Step:
    after, left = _at(s, to)
    return Step((1.0, 0.0), *_at(s, t), (0.0, after, left))
