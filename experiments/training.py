"""Training of certified networks inside a cell: keys, checkpoints, and what is said of the map."""

from dataclasses import dataclass
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from theory import autoencoder
from theory.gaussian import normal
from theory.stiffness import Stretch, operator_norms, stretch
from theory.transport import LipschitzNetwork, Schedule, Training, begin, fit, lipschitz_network
from theory.transport.denoise_fit import Learning

from experiments.store import Checkpoint

State = TypeVar("State", Training, Learning, autoencoder.Training)
POINTS = 4096  # at which Jacobian norms are taken, and as many again where T is off its vertices


@dataclass(frozen=True)
class Recipe:
    """What a training is of: M modes, R^n, Λ, radius of the modes, and how long."""

    modes: int
    dimension: int
    stiffness: float
    radius: float
    schedule: Schedule
    width: int = 64
    layers: int = 3


class Features(eqx.Module):
    """g of a network, without its Λ."""

    network: LipschitzNetwork

    def __call__(self, x: Any) -> Any:
        """g(x)."""
        return self.network.logits(x) / self.network.stiffness


def trained(
    key: Any, recipe: Recipe, checkpoint: Checkpoint | None = None
) -> tuple[LipschitzNetwork, np.ndarray]:
    """The map of a finished training, going on from the checkpoint, and the loss of every chunk."""
    network_key, fit_key = jax.random.split(key)
    fresh = lipschitz_network(
        network_key,
        recipe.modes,
        recipe.dimension,
        recipe.stiffness,
        width=recipe.width,
        layers=recipe.layers,
    )
    start = begin(fresh, recipe.schedule)
    if checkpoint is not None and (leaves := checkpoint.load()) is not None:
        start = restored(start, leaves)

    def keep(training: Training) -> None:
        if checkpoint is not None:
            checkpoint.save(leaves_of(training))

    done = fit(fit_key, start, radius=recipe.radius, schedule=recipe.schedule, announce=keep)
    return done.trained, np.asarray(done.losses)


def leaves_of(state: Training | Learning | autoencoder.Training) -> list[Any]:
    """A state as a list of arrays: its step, its losses, then what is trained and its memory."""
    what, memory, step, losses = state
    return [np.asarray(step), np.asarray(losses), *map(np.asarray, jax.tree.leaves((what, memory)))]


def restored(like: State, leaves: list[Any]) -> State:
    """The state behind `leaves_of`, with the structure of `like`."""
    structure = jax.tree.structure(like[:2])
    what, memory = jax.tree.unflatten(structure, map(jnp.asarray, leaves[2:]))
    return type(like)(what, memory, int(leaves[0]), tuple(map(float, leaves[1])))


def widened(network: LipschitzNetwork) -> LipschitzNetwork:
    """The same numbers in float64, so that rounding does not pass for stiffness."""
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float64), network)


def sampled_stretch(key: Any, network: LipschitzNetwork) -> tuple[Stretch, float]:
    """‖DT‖ at x ~ γ, and the maximum over these and as many points where T is off its vertices.

    T is constant on its modes, so that most of γ says nothing of the maximum.
    """
    wide = widened(network)
    point_key, near_key, first_key, second_key = jax.random.split(key, 4)
    shape = (POINTS, network.dimension)
    norms = operator_norms(first_key, wide, normal(point_key, shape, "float64"))
    many = normal(near_key, (64 * POINTS, network.dimension), "float64")
    moving = np.asarray(jax.jit(lambda t, x: jnp.max(t(x), axis=1) < 1)(wide, many))
    near = np.asarray(many)[moving][:POINTS]
    whole = stretch(norms)
    if len(near) < 2:
        return whole, whole.maximum
    off = operator_norms(second_key, wide, near)
    return whole, max(whole.maximum, float(off.value.max()))


def weights_of(network: LipschitzNetwork) -> dict[str, np.ndarray]:
    """The map's arrays by name, for the cell's npz."""
    found = {f"weight_{k}": np.asarray(w) for k, w in enumerate(network.weights)}
    found |= {f"bias_{k}": np.asarray(b) for k, b in enumerate(network.biases)}
    found |= {"stiffness": np.asarray(network.stiffness)}
    return found | {"smoothing": np.asarray(network.smoothing)}
