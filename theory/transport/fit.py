"""Training of a certified network to the least leak at a given Λ, with prescribed mode masses.

The leak is a count and has no gradient. In its place stands E V/(V + τ), V the distance of T(x) to
the nearest mode, which falls to the leak as the softness τ falls to 0; the masses are held by
KL(m ‖ E softmax(βΛg(x))), whose gradient does not vanish at modes that no point is near. As β
rises from 1/Λ the modes part one after the other (deterministic annealing, Rose 1998).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from theory.check import check_count, check_scale
from theory.gaussian import normal
from theory.partition import check_masses
from theory.transport.lipschitz import LipschitzNetwork, orthonormal
from theory.transport.sparsemax import sparsemax

CHUNK = 500  # steps a scan; between scans the caller hears of the state
TINY = 1e-12  # under the root of a distance, whose gradient at 0 is not defined


class Schedule(NamedTuple):
    """How long and how to train.

    Fields:
        steps: of Adam, its rate falling to 0 along a cosine; 3000 unless given.
        batch: fresh points of γ a step; 2048 unless given.
        rate: the first rate.
        balance: weight of the masses against the leak.
        parting: share of the steps in which β rises, and the leak's weight with it.
        softness: τ at the start and after nine tenths of the steps, in units of V.
        sharpness: β at the start is the first over Λ, at the end of the parting the second.
    """

    steps: int = 3000
    batch: int = 2048
    rate: float = 5e-3
    balance: float = 3.0
    parting: float = 0.3
    softness: tuple[float, float] = (0.3, 0.02)
    sharpness: tuple[float, float] = (1.0, 2.0)


class Training(NamedTuple):
    """Where a training stands: all it takes to go on, and to end at the same bits.

    Fields:
        network: its weights not yet orthonormal.
        memory: of Adam.
        step: how many are done.
        losses: the mean loss of every chunk so far.
    """

    network: LipschitzNetwork
    memory: Any
    step: int
    losses: tuple[float, ...]

    @property
    def trained(self) -> LipschitzNetwork:
        """The map, with orthonormal weights."""
        return orthonormal(self.network)


def begin(network: LipschitzNetwork, schedule: Schedule) -> Training:
    """The state before the first step.

    Raises:
        ValueError: on a schedule out of range.
    """
    _check(schedule)
    trainable, _ = _split(network)
    return Training(network, _optimizer(schedule).init(trainable), 0, ())


def fit(
    key: PRNGKeyArray,
    start: LipschitzNetwork | Training,
    *,
    masses: object | None = None,
    radius: float = 0.0,
    schedule: Schedule | None = None,
    chunk: int = CHUNK,
    announce: Callable[[Training], None] = lambda training: None,
) -> Training:
    """Train to the least leak off the balls of radius r about the vertices, at the network's Λ.

    Step k draws its points by the key folded with k, so a training that goes on from a saved
    state ends at the same bits as one that was never stopped.

    Args:
        key: PRNG key; the same when going on.
        start: a fresh network, or the state to go on from.
        masses: wanted m_i, shape (M,), positive, of sum 1; equal if None.
        radius: r of the modes, 0 ≤ r < √2/2.
        schedule: `Schedule()` if None.
        chunk: steps between calls of `announce`.
        announce: called with the state after every chunk.

    Raises:
        ValueError: on masses that are no law, modes that overlap, or a schedule out of range.
        FloatingPointError: when the loss is no longer finite.
    """
    schedule = Schedule() if schedule is None else schedule
    state = start if isinstance(start, Training) else begin(start, schedule)
    _check(schedule)
    check_count("chunk", chunk, 1)
    modes = state.network.modes
    if not 0 <= radius < math.sqrt(0.5):
        raise ValueError(
            f"overlapping modes: balls about vertices √2 apart need 0 ≤ r < {math.sqrt(0.5):.4f}, "
            f"got {radius}"
        )
    law = np.full(modes, 1 / modes) if masses is None else check_masses(masses, modes)
    wanted = jnp.asarray(law, state.network.stiffness.dtype)
    reach = jnp.asarray(radius, wanted.dtype)
    while state.step < schedule.steps:
        length = min(chunk, schedule.steps - state.step)
        step = jnp.asarray(state.step)  # a number would be static, and every chunk compiled anew
        network, memory, losses = _advance(
            key, state.network, state.memory, step, wanted, reach, schedule, length
        )
        loss = float(jnp.mean(losses))
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss} by step {state.step + length}")
        state = Training(network, memory, state.step + length, (*state.losses, loss))
        announce(state)
    return state


@eqx.filter_jit
def _advance(
    key: PRNGKeyArray,
    network: LipschitzNetwork,
    memory: Any,
    first: Array,
    masses: Float[Array, " modes"],
    radius: Array | float,
    schedule: Schedule,
    length: int,
) -> tuple[LipschitzNetwork, Any, Float[Array, " steps"]]:
    """`length` steps from step `first` on, as one scan."""
    optimizer = _optimizer(schedule)
    trainable, fixed = _split(network)
    shape, dtype = (schedule.batch, network.dimension), network.stiffness.dtype.name

    def step(carry: tuple, number: Array) -> tuple[tuple, Array]:
        trainable, memory = carry
        x = normal(jax.random.fold_in(key, number), shape, dtype)

        def loss(trainable: Any) -> Array:
            current = orthonormal(eqx.combine(trainable, fixed))
            return _loss(current, x, masses, radius, number / schedule.steps, schedule)

        value, slope = jax.value_and_grad(loss)(trainable)
        update, memory = optimizer.update(slope, memory, trainable)
        return (optax.apply_updates(trainable, update), memory), value

    steps = first + jnp.arange(length)
    (trainable, memory), losses = jax.lax.scan(step, (trainable, memory), steps)
    return eqx.combine(trainable, fixed), memory, losses


def _loss(
    network: LipschitzNetwork,
    x: Float[Array, "batch n"],
    masses: Float[Array, " modes"],
    radius: Array | float,
    done: Array,
    schedule: Schedule,
) -> Array:
    """E V/(V + τ) + w·KL(m ‖ E softmax(βΛg)); `done` is the share of the steps."""
    parted = jnp.clip(done / schedule.parting, 0, 1)
    softness = _geometric(*schedule.softness, jnp.clip(done / 0.9, 0, 1))
    coldest = schedule.sharpness[0] / network.stiffness
    sharpness = _geometric(coldest, schedule.sharpness[1], parted)
    logits = network.logits(x)
    apart = sparsemax(logits)[:, None] - jnp.eye(network.modes, dtype=x.dtype)
    distance = jnp.sqrt(jnp.sum(apart**2, axis=-1) + TINY)
    cost = jnp.maximum(jnp.min(distance, axis=1) - radius, 0)
    member = jax.nn.log_softmax(sharpness * logits, axis=1)
    reached = jax.nn.logsumexp(member, axis=0) - math.log(x.shape[0])
    unbalance = jnp.sum(masses * (jnp.log(masses) - reached))
    return parted * jnp.mean(cost / (cost + softness)) + schedule.balance * unbalance


def _geometric(start: Array | float, end: float, share: Array) -> Array:
    """From start to end along a geometric scale."""
    return jnp.exp((1 - share) * jnp.log(start) + share * math.log(end))


def _optimizer(schedule: Schedule) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(schedule.rate, schedule.steps), b2=0.99)


def _split(network: LipschitzNetwork) -> tuple[LipschitzNetwork, LipschitzNetwork]:
    """What is trained (weights and biases), and what is held (Λ and δ)."""
    held = jax.tree.map(lambda _: True, network)
    held = eqx.tree_at(lambda t: (t.stiffness, t.smoothing), held, (False, False))
    return eqx.partition(network, held)


def _check(schedule: Schedule) -> None:
    check_count("steps", schedule.steps, 1)
    check_count("batch", schedule.batch, 1)
    for name in ("rate", "balance"):
        check_scale(name, getattr(schedule, name))
    if not 0 < schedule.parting <= 1:
        raise ValueError(f"parting is a share of the steps in (0, 1], got {schedule.parting}")
    for name in ("softness", "sharpness"):
        for value in getattr(schedule, name):
            check_scale(name, value)
