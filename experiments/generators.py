"""Generators by name: what a generation step hands on to the next, in units of the data."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from theory.carrier import (
    Carrier,
    Constant,
    Factor,
    HardCommit,
    PassThrough,
    SamplerSteps,
    SoftFeedback,
)
from theory.denoiser import MixtureDenoiser
from theory.gaussian import normal
from theory.sampler import plan
from theory.terminal import RECTIFIED_FLOW, time_of

from experiments import embedded

LENGTH = 32  # of the sequences that give context

CARRIERS = (
    "'pass', 'commit', 'constant', 'factor c', 'soft β', 'denoise s', 'context s', 'ode s s′' "
    "or 'churn s s′ γ'"
)
COUNTS = {
    "pass": 0,
    "commit": 0,
    "constant": 0,
    "factor": 1,
    "soft": 1,
    "denoise": 1,
    "context": 1,
    "ode": 2,
    "churn": 3,
}


def parsed(words: str) -> tuple[str, list[float]]:
    """Name and numbers of a carrier, or a ValueError that says what was expected."""
    name, *texts = words.split() or [""]
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        numbers = [math.nan]
    if COUNTS.get(name) != len(numbers) or not all(0 < x < math.inf for x in numbers):
        raise ValueError(f"a carrier is {CARRIERS}, numbers positive, got {words!r}")
    if name in ("ode", "churn") and not numbers[1] < numbers[0]:
        raise ValueError(f"noise falls in a step, s′ < s, got {words!r}")
    return name, numbers


def carrier(words: str, readout: str, width: float, key: Any) -> Carrier:
    """The carrier of this name beside a readout of embeddings.

    constant: at the first embedding. denoise: one exact step from s to none for tokens without
    context; context: the same in sequences of a language. ode, churn: one step from s to s′.
    """
    name, numbers = parsed(words)
    diagram = embedded.readout(readout)
    table = diagram.sites
    if name in ("denoise", "context", "ode", "churn"):
        return _steps(name, numbers, readout, width, key)
    if name == "pass":
        return PassThrough()
    if name == "commit":
        return HardCommit(diagram, table)
    if name == "constant":
        return Constant(table[0])
    if name == "factor":
        return Factor(jnp.asarray(numbers[0]))
    return SoftFeedback(diagram, table, jnp.asarray(numbers[0]))


def _steps(name: str, numbers: list[float], readout: str, width: float, key: Any) -> SamplerSteps:
    start = time_of(RECTIFIED_FLOW, numbers[0])
    end = time_of(RECTIFIED_FLOW, numbers[1]) if len(numbers) > 1 else 0.0
    churn = numbers[2] if name == "churn" else 0.0
    moments = [start, end, 0.0] if end else [start, 0.0]
    steps = plan("churn" if churn else "exact", RECTIFIED_FLOW, moments, churn)[:1]
    signals = RECTIFIED_FLOW.signal(start), RECTIFIED_FLOW.signal(end)
    if name == "context":
        denoiser = embedded.language(f"{readout} {LENGTH}").denoiser()
        return SamplerSteps(denoiser, steps, signals, key, LENGTH)
    return SamplerSteps(MixtureDenoiser(embedded.latents(readout, width)), steps, signals, key)


def state(key: Any, words: str, readout: str, width: float, rows: int) -> tuple[Any, int]:
    """Latents within `width` of embeddings, of tokens for this carrier, and rows of a group.

    With context they are the positions of sequences of the language; else tokens equally likely.
    """
    if parsed(words)[0] != "context":
        return embedded.latents(readout, width).sample(key, rows)[0], 1
    token_key, noise_key = jax.random.split(key)
    language = embedded.language(f"{readout} {LENGTH}")
    tokens = language.sample(token_key, max(2, rows // LENGTH), LENGTH)
    clean = jnp.take(language.embeddings, tokens.ravel(), axis=0)
    return clean + width * normal(noise_key, clean.shape, clean.dtype.name), LENGTH
