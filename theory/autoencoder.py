"""A small convolutional autoencoder of images, trained here: a true encoder, a smooth decoder.

Patches of PATCH² pixels are the channels of a grid; 3 × 3 convolutions on that grid, in residual
blocks with SiLU, make of it a grid of few channels, the latent, and back. It starts as a linear
map, since the last convolution of every block starts at 0.
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
from optax import contrib

from theory.bridge.convolution import Convolution
from theory.bridge.image_decoder import Images, Latents, check_images, check_latents
from theory.check import check_count, check_scale

PATCH = 4  # pixels of a side that share a place of the latent grid
COLOURS = 3
GREY = 0.5  # what a latent of 0 shows before training
GAIN = 1.7  # of a convolution after SiLU, which halves what it is given
ADAM = 0.1  # rate of Adam over that of Muon
CHUNK = 250  # steps between calls of the caller

Grid = Float[Array, "rows h w _numbers"]


class Tower(eqx.Module):
    """Residual blocks x + b(silu(a(silu(x)))) between two convolutions that change the channels."""

    first: Convolution
    blocks: tuple[tuple[Convolution, Convolution], ...]
    last: Convolution

    def __call__(self, x: Float[Array, "rows h w before"]) -> Float[Array, "rows h w after"]:
        """The grid of the same size that it makes."""
        x = self.first(x)
        for a, b in self.blocks:
            x = x + b(jax.nn.silu(a(jax.nn.silu(x))))
        return self.last(x)


class Autoencoder(eqx.Module):
    """Images (s, s, 3) in [0, 1] to latents of R^n and back; an `ImageAutoencoder`.

    Fields:
        encoder: patches to latent channels.
        decoder: latent channels to patches.
        side: s, a multiple of PATCH.
    """

    encoder: Tower
    decoder: Tower
    side: int = eqx.field(static=True)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """A grid of s/PATCH places a side, channels."""
        places = self.side // PATCH
        return places, places, self.decoder.first.kernel.shape[2]

    @property
    def dimension(self) -> int:
        """n, the product of `latent_shape`."""
        return math.prod(self.latent_shape)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(s, s, 3)."""
        return self.side, self.side, COLOURS

    def encode(self, images: Images) -> Latents:
        """The latents of images; ValueError as `check_images`."""
        return _encoded(self.encoder, check_images(images, self.image_shape))

    def decode(self, z: Latents) -> Images:
        """The images of latents, not clipped; ValueError as `check_latents`."""
        latents = check_latents(z, self.dimension)
        return _decoded(self.decoder, latents.reshape(-1, *self.latent_shape))


class Schedule(NamedTuple):
    """What to train, how long and how.

    Fields:
        steps: of Muon (Jordan et al. 2024), its rate falling to 0 along a cosine.
        batch: images a step, turned and mirrored at random.
        rate: the first rate.
        channels: numbers of a place of the latent grid.
        width: channels between.
        blocks: residual blocks of the encoder, and of the decoder.
    """

    steps: int = 1500
    batch: int = 64
    rate: float = 2e-2
    channels: int = 4
    width: int = 32
    blocks: int = 1


class Training(NamedTuple):
    """Where a training stands: all it takes to go on, and to end at the same bits.

    Fields:
        trained: the autoencoder so far.
        memory: of Muon.
        step: how many are done.
        losses: mean square error of a pixel over every chunk so far.
    """

    trained: Autoencoder
    memory: Any
    step: int
    losses: tuple[float, ...]


def begin(key: PRNGKeyArray, side: int, schedule: Schedule) -> Training:
    """The state before the first step, for images of side × side pixels.

    Raises:
        ValueError: when the side is no positive multiple of PATCH, or on a schedule out of range.
    """
    check_count("side", side, PATCH)
    if side % PATCH:
        raise ValueError(f"images have a multiple of {PATCH} pixels a side, got {side}")
    for name in ("steps", "batch", "channels", "width", "blocks"):
        check_count(name, getattr(schedule, name), 1)
    check_scale("rate", schedule.rate)
    rng = np.random.default_rng(np.asarray(jax.random.bits(key, (4,), "uint32")))
    numbers, pixels = schedule.channels, PATCH**2 * COLOURS
    size = schedule.width, schedule.blocks
    network = Autoencoder(
        _tower(rng, pixels, numbers, *size), _tower(rng, numbers, pixels, *size), side
    )
    memory = eqx.filter_jit(_optimizer(schedule).init)(_by_shape(network))
    return Training(network, memory, 0, ())


def train(
    key: PRNGKeyArray,
    start: Training,
    images: object,
    schedule: Schedule,
    *,
    chunk: int = CHUNK,
    announce: Callable[[Training], None] = lambda training: None,
) -> Training:
    """Train to the least mean square error of D(E(x)).

    Step k draws its images by the key folded with k, so a training that goes on from a saved state
    ends at the same bits as one that was never stopped.

    Args:
        key: PRNG key; the same when going on.
        start: of `begin`, or the state to go on from.
        images: shape (N, side, side, 3), in [0, 1].
        schedule: that of `start`.
        chunk: steps between calls of `announce`.
        announce: called with the state after every chunk.

    Raises:
        ValueError: on images of another shape or out of [0, 1], or chunk < 1.
        FloatingPointError: when the loss is no longer finite.
    """
    check_count("chunk", chunk, 1)
    shown = check_images(jnp.asarray(images, jnp.float32), start.trained.image_shape)
    state = start
    while state.step < schedule.steps:
        length = min(chunk, schedule.steps - state.step)
        network, memory, losses = state.trained, state.memory, []
        for step in range(state.step, state.step + length):
            network, memory, loss = _step(key, network, memory, jnp.asarray(step), shown, schedule)
            losses.append(loss)
        mean = float(jnp.mean(jnp.stack(losses)))
        if not math.isfinite(mean):
            raise FloatingPointError(f"the loss is {mean} by step {state.step + length}")
        state = Training(network, memory, state.step + length, (*state.losses, mean))
        announce(state)
    return state


@eqx.filter_jit
def _step(
    key: PRNGKeyArray,
    network: Autoencoder,
    memory: Any,
    step: Array,
    images: Images,
    schedule: Schedule,
) -> tuple[Autoencoder, Any, Array]:
    """One step of Muon; by itself, since a scan slows down the gradients of convolutions on CPU."""
    draw, turn = jax.random.split(jax.random.fold_in(key, step))
    x = images[jax.random.randint(draw, (schedule.batch,), 0, len(images))]
    x = _turned(turn, x)
    loss, slope = eqx.filter_value_and_grad(_error)(network, x)
    change, memory = _optimizer(schedule).update(_by_shape(slope), memory, _by_shape(network))
    return eqx.apply_updates(network, _one_by_one(change, slope)), memory, loss


def _turned(key: PRNGKeyArray, x: Images) -> Images:
    """Each image as one of the eight symmetries of a square shows it."""
    for coin, other in zip(
        jax.random.bernoulli(key, 0.5, (3, len(x), 1, 1, 1)),
        (lambda x: x[:, ::-1], lambda x: x[:, :, ::-1], lambda x: x.swapaxes(1, 2)),
        strict=True,
    ):
        x = jnp.where(coin, other(x), x)
    return x


@eqx.filter_jit
def _encoded(encoder: Tower, images: Images) -> Latents:
    return encoder(_patches(images - GREY)).reshape(len(images), -1)


@eqx.filter_jit
def _decoded(decoder: Tower, grid: Grid) -> Images:
    return _pixels(decoder(grid)) + GREY


def _error(network: Autoencoder, x: Images) -> Float[Array, ""]:
    return jnp.mean((network.decode(network.encode(x)) - x) ** 2)


def _optimizer(schedule: Schedule) -> optax.GradientTransformation:
    """Muon on kernels as matrices (9·channels in, channels out), Adam on biases, by shape."""
    rate = optax.cosine_decay_schedule(schedule.rate, schedule.steps)
    return contrib.muon(
        rate,
        adam_b2=0.99,
        adam_learning_rate=lambda step: ADAM * rate(step),
        muon_weight_dimension_numbers=lambda weights: jax.tree.map(_matrices, weights),
    )


def _matrices(stack: Array) -> contrib.MuonDimensionNumbers | None:
    return contrib.MuonDimensionNumbers((1, 2, 3), 4) if stack.ndim == 5 else None


def _by_shape(network: Autoencoder) -> dict[str, Array]:
    """Arrays of one shape stacked: they are made orthogonal together, and that compiles once."""
    alike: dict[str, list[Array]] = {}
    for array in jax.tree.leaves(eqx.filter(network, eqx.is_array)):
        alike.setdefault(str(array.shape), []).append(array)
    return {shape: jnp.stack(arrays) for shape, arrays in alike.items()}


def _one_by_one(stacks: dict[str, Array], network: Autoencoder) -> Autoencoder:
    """`_by_shape` undone, in the places of another network."""
    arrays = {shape: iter(stack) for shape, stack in stacks.items()}
    return jax.tree.map(lambda array: next(arrays[str(array.shape)]), network)


def _patches(x: Images) -> Grid:
    """Every square of PATCH² pixels as one place of the grid."""
    rows, side, _, colours = x.shape
    places = side // PATCH
    squares = x.reshape(rows, places, PATCH, places, PATCH, colours).transpose(0, 1, 3, 2, 4, 5)
    return squares.reshape(rows, places, places, -1)


def _pixels(x: Grid) -> Images:
    """`_patches` undone."""
    rows, places = x.shape[:2]
    squares = x.reshape(rows, places, places, PATCH, PATCH, COLOURS).transpose(0, 1, 3, 2, 4, 5)
    return squares.reshape(rows, places * PATCH, places * PATCH, COLOURS)


def _tower(rng: np.random.Generator, before: int, after: int, width: int, blocks: int) -> Tower:
    first, last = _drawn(rng, before, width, 1.0), _drawn(rng, width, after, 1.0)
    inner = tuple(
        (_drawn(rng, width, width, GAIN), _drawn(rng, width, width, 0.0)) for _ in range(blocks)
    )
    return Tower(first, inner, last)


def _drawn(rng: np.random.Generator, before: int, after: int, gain: float) -> Convolution:
    """Independent normal weights that keep the size of what they are given, times the gain.

    By NumPy: one compilation a shape would take longer than a short training.
    """
    kernel = rng.standard_normal((3, 3, before, after)) * (gain / math.sqrt(9 * before))
    zeros = np.zeros(after, np.float32)
    return Convolution(jnp.asarray(kernel.astype(np.float32)), jnp.asarray(zeros))
