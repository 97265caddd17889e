"""Training of certified denoisers on a language, and of one-step students on a teacher's tokens.

The loss is the Fenchel–Young loss of sparsemax (Martins, Astudillo 2016),

    ⟨p, x⟩ − ½‖p‖² + ½ − x_y  ≥  ½‖p − e_y‖²,   p = sparsemax(x), gradient p − e_y in x,

convex in x, and least on average where p is the law of y. So with x unconstrained its minimiser has
the least E‖x̂ − z_0‖² too, and E‖x̂ − z_0‖² ≤ 2‖W‖²_op·loss at every Λ. That error itself would be
the measure but trains badly: its gradient is 0 wherever p is a vertex, right or wrong.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from theory.check import check_count, check_scale
from theory.gaussian import normal
from theory.language import Embeddings, Language
from theory.markov_chain import check_tokens
from theory.transport.denoise import LipschitzDenoiser, LipschitzStudent, Model
from theory.transport.fit import CHUNK
from theory.transport.lipschitz import orthonormal
from theory.transport.project import nearest

AT_NOISE = 1 / 16  # share of the sequences drawn at t = 1, where every sampler begins

Drawn = tuple[tuple[Array, ...], Int[Array, "sequences length"]]


class Pace(NamedTuple):
    """How long and how fast to train.

    Fields:
        steps: of Adam, its rate falling to 0 along a cosine.
        batch: sequences a step.
        rate: the first rate.
    """

    steps: int = 4000
    batch: int = 64
    rate: float = 1e-2


class Learning(NamedTuple):
    """Where a training stands: all it takes to go on, and to end at the same bits.

    Fields:
        model: its weights not yet orthonormal.
        memory: of Adam.
        step: how many are done.
        losses: the mean loss of every chunk so far.
    """

    model: Any
    memory: Any
    step: int
    losses: tuple[float, ...]

    @property
    def trained(self) -> Any:
        """The denoiser or student, with orthonormal weights."""
        return _meant(self.model)


class Denoising(eqx.Module):
    """Fresh sequences of a language at times uniform on [0, 1], some at 1, under rectified flow.

    Fields:
        language: what they are of.
        length: L.
    """

    language: Language
    length: int = eqx.field(static=True)

    def draw(self, key: PRNGKeyArray, batch: int, table: Embeddings) -> Drawn:
        """(z, α, σ) and tokens; times are spread evenly over the batch."""
        token_key, noise_key, time_key = jax.random.split(key, 3)
        tokens = jnp.asarray(self.language.sample(token_key, batch, self.length))
        clean = table[tokens]
        share = (jnp.arange(batch) + jax.random.uniform(time_key, (batch,))) / batch
        t = jnp.minimum(share / (1 - AT_NOISE), 1)[:, None, None].astype(clean.dtype)
        z = (1 - t) * clean + t * normal(noise_key, clean.shape, clean.dtype.name)
        return (z, 1 - t, t), tokens


class Distilling(eqx.Module):
    """Sequences of noise, and the tokens that a teacher makes of each.

    Fields:
        noise: z_1, shape (N, L, n).
        tokens: shape (N, L).

    Raises:
        ValueError: on tokens that are no integers ≥ 0, or other shapes.
    """

    noise: Float[Array, "N L n"]
    tokens: Int[Array, "N L"]

    def __init__(self, noise: object, tokens: object) -> None:
        z, found = jnp.asarray(noise, jnp.float32), check_tokens(tokens, np.iinfo(np.int32).max)
        if z.ndim != 3 or z.shape[:2] != found.shape:
            raise ValueError(f"noise (N, L, n) has tokens (N, L), got {z.shape} and {found.shape}")
        self.noise, self.tokens = z, jnp.asarray(found, jnp.int32)

    def draw(self, key: PRNGKeyArray, batch: int, table: Embeddings) -> Drawn:
        """(z_1,) and tokens, with replacement."""
        rows = jax.random.randint(key, (batch,), 0, len(self.noise))
        return (self.noise[rows],), self.tokens[rows]


Lesson = Denoising | Distilling


def begin_learning(model: Model, pace: Pace) -> Learning:
    """The state before the first step.

    Raises:
        ValueError: on a pace out of range.
    """
    _check(pace)
    return Learning(model, _optimizer(pace).init(_split(model)[0]), 0, ())


def learn(
    key: PRNGKeyArray,
    start: Model | Learning,
    lesson: Lesson,
    *,
    pace: Pace | None = None,
    chunk: int = CHUNK,
    announce: Callable[[Learning], None] = lambda state: None,
) -> Learning:
    """Train a denoiser by `Denoising`, a student by `Distilling`, at the Λ of its network.

    Step k draws by the key folded with k, so a training that goes on from a saved state ends at
    the same bits as one that was never stopped.

    Args:
        key: PRNG key; the same when going on.
        start: a fresh model, or the state to go on from.
        lesson: what is learned.
        pace: `Pace()` if None.
        chunk: steps between calls of `announce`.
        announce: called with the state after every chunk.

    Raises:
        ValueError: on a pace or chunk out of range, or a lesson that is not the model's.
        FloatingPointError: when the loss is no longer finite.
    """
    pace = Pace() if pace is None else pace
    _check(pace)
    check_count("chunk", chunk, 1)
    state = start if isinstance(start, Learning) else begin_learning(start, pace)
    _check_lesson(state.model, lesson)
    while state.step < pace.steps:
        length = min(chunk, pace.steps - state.step)
        step = jnp.asarray(state.step)  # a number would be static, and every chunk compiled anew
        model, memory, losses = _advance(key, state.model, state.memory, step, lesson, pace, length)
        loss = float(jnp.mean(losses))
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss} by step {state.step + length}")
        state = Learning(model, memory, state.step + length, (*state.losses, loss))
        announce(state)
    return state


@eqx.filter_jit
def _advance(
    key: PRNGKeyArray,
    model: Model,
    memory: Any,
    first: Array,
    lesson: Lesson,
    pace: Pace,
    length: int,
) -> tuple[Model, Any, Float[Array, " steps"]]:
    """`length` steps from step `first` on, as one scan."""
    optimizer = _optimizer(pace)
    trainable, fixed = _split(model)

    def step(carry: tuple, number: Array) -> tuple[tuple, Array]:
        trainable, memory = carry
        given, tokens = lesson.draw(jax.random.fold_in(key, number), pace.batch, fixed.table)

        def loss(trainable: Any) -> Array:
            current = _meant(eqx.combine(trainable, fixed))
            return fenchel_young(current.logits(*given), tokens)

        value, slope = jax.value_and_grad(loss)(trainable)
        update, memory = optimizer.update(slope, memory, trainable)
        return (optax.apply_updates(trainable, update), memory), value

    steps = first + jnp.arange(length)
    (trainable, memory), losses = jax.lax.scan(step, (trainable, memory), steps)
    return eqx.combine(trainable, fixed), memory, losses


def fenchel_young(logits: Float[Array, "*p V"], tokens: Int[Array, " *p"]) -> Float[Array, ""]:
    """The mean loss of the module's head."""
    law = jax.lax.stop_gradient(nearest(logits))  # the minimum over p: its slope is not felt
    wanted = jax.nn.one_hot(tokens, logits.shape[-1], dtype=logits.dtype)
    along = jnp.sum((law - wanted) * logits, axis=-1)
    return jnp.mean(along - jnp.sum(law**2, axis=-1) / 2 + 0.5)


def _meant(model: Any) -> Any:
    return eqx.tree_at(lambda m: m.network, model, orthonormal(model.network))


def _split(model: Model) -> tuple[Any, Any]:
    """What is trained, and what is held: Λ, δ and W."""
    trained = jax.tree.map(lambda _: True, model)
    held = lambda m: (m.network.stiffness, m.network.smoothing, m.table)  # noqa: E731
    return eqx.partition(model, eqx.tree_at(held, trained, (False, False, False)))


def _optimizer(pace: Pace) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(pace.rate, pace.steps), b2=0.99)


def _check(pace: Pace) -> None:
    check_count("steps", pace.steps, 1)
    check_count("batch", pace.batch, 1)
    check_scale("rate", pace.rate)


def _check_lesson(model: Model, lesson: Lesson) -> None:
    kinds = {LipschitzDenoiser: Denoising, LipschitzStudent: Distilling}
    if not isinstance(lesson, kinds[type(model)]):
        raise ValueError(
            f"a {type(model).__name__} learns by {kinds[type(model)].__name__}, got "
            f"{type(lesson).__name__}"
        )
    size, dimension = model.table.shape
    if isinstance(lesson, Denoising):
        check_count("length", lesson.length, 1)
        found = lesson.language.embeddings.shape
    else:
        found = (max(size, int(lesson.tokens.max()) + 1), lesson.noise.shape[-1])
    if found != (size, dimension):
        raise ValueError(f"the model has V, n = {size}, {dimension}, the lesson has {found}")
