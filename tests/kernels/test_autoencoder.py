"""The autoencoder trained here: its shapes, its training from a saved state, and what it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.refusals import refusals
from theory import autoencoder
from theory.autoencoder import Autoencoder, Schedule, Training, begin, train
from theory.bridge.image_decoder import ImageAutoencoder
from theory.bridge.photographs import MissingPhotographs, crops

SIDE = 8
BRIEF = Schedule(steps=90, batch=16, channels=2, width=16)
RNG = np.random.default_rng(23)


def key(number: int) -> jax.Array:
    return jax.random.fold_in(jax.random.key(8), number)


def fresh() -> Training:
    return begin(key(0), SIDE, BRIEF)


def ramps(count: int) -> np.ndarray:
    """Images with an edge of one slope, place and colour: few numbers, but not linear in them."""
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, SIDE)] * 2), axis=-1)
    angle, place = RNG.uniform(0, 2 * np.pi, count), RNG.uniform(-0.7, 0.7, count)
    across = at @ np.stack([np.cos(angle), np.sin(angle)])  # (SIDE, SIDE, count)
    edge = 1 / (1 + np.exp(-6 * (np.moveaxis(across, 2, 0) - place[:, None, None])))
    colours = RNG.uniform(size=(2, count, 1, 1, 3))
    return colours[0] + edge[..., None] * (colours[1] - colours[0])


IMAGES = ramps(600)


def error(model: Autoencoder, images: np.ndarray) -> float:
    rebuilt = model.decode(model.encode(jnp.asarray(images, jnp.float32)))
    return float(jnp.mean((rebuilt - images) ** 2))


def principal_error(images: np.ndarray, held_out: np.ndarray, dimension: int) -> float:
    """Mean square error of PCA with as many numbers, fitted on the images."""
    flat, other = (np.asarray(a, np.float64).reshape(len(a), -1) for a in (images, held_out))
    mean = flat.mean(axis=0)
    top = np.linalg.eigh((flat - mean).T @ (flat - mean))[1][:, -dimension:]
    left = (other - mean) - (other - mean) @ top @ top.T
    return float(np.mean(left**2))


def test_it_is_an_image_autoencoder_of_the_shapes_it_says():
    model = fresh().trained
    assert isinstance(model, ImageAutoencoder)
    assert (model.latent_shape, model.dimension, model.image_shape) == ((2, 2, 2), 8, (8, 8, 3))
    latents = model.encode(jnp.asarray(IMAGES[:5], jnp.float32))
    assert (latents.shape, latents.dtype) == ((5, 8), jnp.float32)
    images = model.decode(latents.astype(jnp.float64))
    assert (images.shape, images.dtype) == ((5, 8, 8, 3), jnp.float64)


def test_patches_are_squares_of_pixels_and_come_back():
    x = jnp.asarray(IMAGES[:3])
    grid = autoencoder._patches(x)
    np.testing.assert_array_equal(grid[1, 0, 1], x[1, :4, 4:].ravel())
    np.testing.assert_array_equal(autoencoder._pixels(grid), x)


def test_images_are_turned_to_each_of_eight_symmetries():
    x = jnp.broadcast_to(jnp.asarray(IMAGES[:1]), (400, SIDE, SIDE, 3))
    seen = {np.asarray(image).tobytes() for image in autoencoder._turned(key(6), x)}
    square = IMAGES[0]
    shown = [np.rot90(side, k) for side in (square, square[::-1]) for k in range(4)]
    assert seen == {np.ascontiguousarray(image).tobytes() for image in shown}


def test_before_training_it_is_an_affine_map():
    model = fresh().trained
    z, w = jnp.asarray(RNG.normal(size=(2, 4, 8)))
    mixed = model.decode(0.3 * z + 0.7 * w)
    np.testing.assert_allclose(mixed, 0.3 * model.decode(z) + 0.7 * model.decode(w), atol=1e-12)


@pytest.mark.slow
def test_a_training_that_was_stopped_ends_at_the_same_bits():
    whole = train(key(1), fresh(), IMAGES, BRIEF, chunk=45)

    class Killed(Exception):
        pass

    kept: list[Training] = []

    def keep(state: Training) -> None:
        kept.append(state)
        if state.step == 30:
            raise Killed

    with pytest.raises(Killed):
        train(key(1), fresh(), IMAGES, BRIEF, chunk=30, announce=keep)
    again = train(key(1), kept[-1], IMAGES, BRIEF, chunk=45)
    assert (len(kept), again.step, whole.step) == (1, 90, 90)
    for one, other in zip(jax.tree.leaves(again[:2]), jax.tree.leaves(whole[:2]), strict=True):
        np.testing.assert_array_equal(one, other)
    elsewhere = train(key(2), fresh(), IMAGES, BRIEF)
    assert error(elsewhere.trained, IMAGES) != error(whole.trained, IMAGES)


def test_training_learns_what_holds_for_other_images():
    """Below a half of what the mean image leaves, on images that it has not seen."""
    done = train(key(1), fresh(), IMAGES, BRIEF)
    others = ramps(200)
    nothing = float(np.mean((others - IMAGES.mean(axis=0)) ** 2))
    assert error(done.trained, others) < 0.5 * nothing < error(fresh().trained, others)
    early = train(key(1), fresh(), IMAGES, BRIEF, chunk=45).losses
    assert early[1] < early[0] / 2


@pytest.mark.slow
def test_it_beats_principal_components_on_photographs_that_neither_has_seen():
    """With as many numbers: 64 of 768."""
    try:
        images, source = crops(16, 4096, shrink=2)
    except MissingPhotographs as reason:
        pytest.skip(str(reason))
    known, others = images[source % 2 == 0], images[source % 2 == 1]
    done = train(key(4), begin(key(3), 16, Schedule()), known, Schedule()).trained
    assert done.dimension == 64
    assert error(done, others) < 0.98 * principal_error(known, others, 64)


BAD = {
    "a multiple of 4 pixels a side, got 10": lambda: begin(key(5), 10, BRIEF),
    "side must be an integer ≥ 4, got 0": lambda: begin(key(5), 0, BRIEF),
    "steps must be an integer ≥ 1, got 0": lambda: begin(key(5), 8, BRIEF._replace(steps=0)),
    "width must be an integer ≥ 1, got 0": lambda: begin(key(5), 8, BRIEF._replace(width=0)),
    "rate must be a positive finite number, got -1": lambda: begin(
        key(5), 8, BRIEF._replace(rate=-1.0)
    ),
    "images must have shape (rows, 8, 8, 3)": lambda: train(key(5), fresh(), IMAGES[:, :4], BRIEF),
    "images must lie in [0, 1]": lambda: train(key(5), fresh(), 255 * IMAGES, BRIEF),
    "chunk must be an integer ≥ 1, got 0": lambda: train(key(5), fresh(), IMAGES, BRIEF, chunk=0),
    "latents must have shape (rows, 8)": lambda: fresh().trained.decode(jnp.zeros((2, 9))),
    "images must have shape": lambda: fresh().trained.encode(jnp.zeros((2, 8, 8, 1))),
}

test_bad_input_is_named = refusals(BAD)
