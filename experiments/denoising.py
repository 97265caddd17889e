"""Denoisers and students inside a cell: trained from a checkpoint, taught, and what is measured."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from theory.denoiser import ChainDenoiser
from theory.estimate import Estimate, from_samples
from theory.feedback import LEAST
from theory.language import Language
from theory.sampler import Denoiser, generate, plan, roll, times
from theory.step_stiffness import step_stiffness
from theory.terminal import RECTIFIED_FLOW
from theory.transport.denoise import LipschitzStudent, Model, certified_law
from theory.transport.denoise_fit import Learning, Lesson, Pace, begin_learning, learn

from experiments.generation import said
from experiments.store import Checkpoint
from experiments.training import leaves_of, restored

MOMENTS = (0.3, 0.5, 0.6, 0.7)  # times at which denoisers are held against the exact one
TEACHER = 64  # steps of the teacher's ODE


def trained(
    key: Any, model: Model, lesson: Lesson, pace: Pace, checkpoint: Checkpoint | None
) -> tuple[Any, np.ndarray]:
    """The finished model, going on from the checkpoint, and the loss of every chunk."""
    start = begin_learning(model, pace)
    if checkpoint is not None and (leaves := checkpoint.load()) is not None:
        start = restored(start, leaves)

    def keep(state: Learning) -> None:
        if checkpoint is not None:
            checkpoint.save(leaves_of(state))

    done = learn(key, start, lesson, pace=pace, announce=keep)
    return done.trained, np.asarray(done.losses)


def taught(language: Language, noise: np.ndarray) -> np.ndarray:
    """The tokens that the exact denoiser's ODE in TEACHER steps makes of z_1, (N, L, n).

    In chunks of 1024 sequences, for bounded memory.
    """
    steps, exact = plan("exact", RECTIFIED_FLOW, times("uniform", TEACHER)), language.denoiser()
    unused = jax.random.key(0)  # no step draws
    parts = [
        language.read(roll(unused, exact, steps, jnp.asarray(noise[first : first + 1024])))
        for first in range(0, len(noise), 1024)
    ]
    return np.concatenate([np.asarray(part) for part in parts])


def made(
    key: Any, denoiser: Denoiser, language: Language, shape: tuple[int, int], ways: dict[str, Any]
) -> dict[str, Any]:
    """What is said of sequences from K steps of the ODE, and with churn, by names like ode_4_."""
    row: dict[str, Any] = {}
    for number, (name, steps) in enumerate(ways.items()):
        own, size = jax.random.fold_in(key, number), (*shape, language.dimension)
        parts = generate(own, denoiser, steps, size, width=4 * language.vocabulary)
        z = np.concatenate([np.asarray(part) for part in parts])
        found = described(language, z)
        row |= {f"{name}_{what}": value for what, value in found.items()}
    return row


def described(language: Language, latents: np.ndarray) -> dict[str, Estimate]:
    """Perplexity, entropy, distances, and the share of transitions of a chance below LEAST."""
    tokens = np.asarray(language.read(latents))
    found = said(language, latents, tokens)
    chance = language.bigram() / language.unigram()[:, None]
    wrong = (chance[tokens[:, :-1], tokens[:, 1:]] < LEAST).mean(axis=1)
    names = ("perplexity", "entropy", "bigram", "frechet")
    return {name: found[name] for name in names} | {"wrong": from_samples(wrong)}


def stiffness(
    model: Any, noised: dict[float, np.ndarray], noise: np.ndarray, depth: int
) -> dict[str, float]:
    """Largest and median sampled ‖∂p/∂z‖, p of the middle position; ‖∂z'/∂z‖ of sampler steps.

    In float64. The steps are those of an ODE in `depth`, at the latents that it comes through:
    the stiffest one, and all together.

    Args:
        model: a denoiser or student.
        noised: by times t, z_t, shape (points, L, n).
        noise: z_1, shape (points, L, n).
        depth: K.
    """
    wide = jax.tree.map(_widened, model)
    norms = [
        np.linalg.norm(np.asarray(_slopes(wide, z, *_place(t, "float64"))), 2, axis=(1, 2))
        for t, z in noised.items()
    ]
    steps = plan("exact", RECTIFIED_FLOW, times("uniform", depth))
    moved = step_stiffness(wide, steps, jnp.asarray(noise, jnp.float64))
    pooled = np.concatenate(norms)
    return {
        "law_max": float(pooled.max()),
        "law_median": float(np.median(pooled)),
        "step_max": moved.peak,
        "whole_max": moved.whole,
    }


@eqx.filter_jit
def _slopes(model: Any, z: Any, signal: Any, noise: Any) -> jax.Array:
    """∂p/∂z of the middle position at every point, shape (points, V, Ln)."""
    laws = model.posterior if isinstance(model, ChainDenoiser) else model.laws
    shape = z.shape[1:]

    def law(flat: jax.Array) -> jax.Array:
        return laws(flat.reshape(1, *shape), signal, noise)[0, shape[0] // 2]

    return lax.map(jax.jacrev(law), z.reshape(len(z), -1), batch_size=8)


def certificates(model: Model, most: float) -> dict[str, float]:
    """The certified bound of ‖∂p/∂z‖, and how far the sampled norms stay below it."""
    bound = certified_law(model)
    return {"certified": bound, "certified_over_sampled": bound / max(most, 1e-12)}


def errors(
    denoiser: Denoiser, exact: Denoiser, clean: np.ndarray, noised: dict[float, np.ndarray]
) -> dict[str, Estimate]:
    """E‖x̂ − z_0‖²/n of the denoiser (mse), the exact one's, and the excess, paired, by times."""
    found: dict[str, Estimate] = {}
    for t, z in noised.items():
        own, least = (
            ((np.asarray(_look(model, z, *_place(t, "float32"))) - clean) ** 2).mean(axis=(1, 2))
            for model in (denoiser, exact)
        )
        name = f"{round(100 * t)}"
        found |= {f"mse_{name}": from_samples(own), f"exact_mse_{name}": from_samples(least)}
        found |= {f"excess_{name}": from_samples(own - least)}
    return found


@eqx.filter_jit
def _look(model: Denoiser, z: Any, signal: Any, noise: Any) -> jax.Array:
    return model(z, signal, noise)


def agreement(
    student: LipschitzStudent, noise: np.ndarray, tokens: np.ndarray, read: Callable[[Any], Any]
) -> tuple[np.ndarray, dict[str, Estimate]]:
    """What a student makes, and how often: the teacher's token, and a law that is no vertex."""
    laws, z = map(np.asarray, _taken(student, noise))
    same, apart = np.asarray(read(z)) == tokens, laws.max(axis=-1) < 1 - 1e-6
    shares = {"agreement": same, "leak": apart}
    return z, {name: from_samples(hit.mean(axis=1)) for name, hit in shares.items()}


@eqx.filter_jit
def _taken(student: LipschitzStudent, noise: Any) -> tuple[jax.Array, jax.Array]:
    return student.laws(noise), student(noise)


def noised(clean: np.ndarray, noise: np.ndarray) -> dict[float, np.ndarray]:
    """z_t = (1 − t)z_0 + tε at MOMENTS, of one ε."""
    return {t: (np.float32(1 - t) * clean + np.float32(t) * noise) for t in MOMENTS}


def _place(t: float, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """α, σ as arrays: as numbers they would be static, and every time compiled anew."""
    return np.asarray(1 - t, dtype), np.asarray(t, dtype)


def _widened(leaf: Any) -> Any:
    return leaf.astype(jnp.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
