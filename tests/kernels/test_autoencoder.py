"""The autoencoder that the suite trains: shapes, resuming, learning, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.refusals import refusals
from theory.autoencoder import PATCH, Schedule, begin, train
from theory.bridge.image_decoder import ImageAutoencoder

SIDE = 8
SHORT = Schedule(steps=300, batch=16, rate=1e-2, channels=4, width=16, blocks=1)
RNG = np.random.default_rng(3)
RAMPS = np.linspace(0, 1, SIDE)[None, :, None, None] * RNG.uniform(0, 1, (96, 1, 1, 3))
IMAGES = np.broadcast_to(RAMPS, (96, SIDE, SIDE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def trained():
    seen = []
    done = train(
        jax.random.key(1),
        begin(jax.random.key(0), SIDE, SHORT),
        IMAGES[:64],
        SHORT,
        chunk=100,
        announce=seen.append,
    )
    return done, seen


def test_it_is_an_image_autoencoder_of_the_shapes_it_says(trained):
    network = trained[0].trained
    assert isinstance(network, ImageAutoencoder)
    assert network.latent_shape == (SIDE // PATCH, SIDE // PATCH, 4)
    z = network.encode(jnp.asarray(IMAGES[:5]))
    assert z.shape == (5, network.dimension)
    assert network.decode(z).shape == (5, *network.image_shape)


def test_training_learns_images_it_never_saw(trained):
    done, _ = trained
    held_out = jnp.asarray(IMAGES[64:])

    def error(network):
        return float(jnp.mean((network.decode(network.encode(held_out)) - held_out) ** 2))

    grey = float(jnp.mean((held_out.mean() - held_out) ** 2))
    assert error(done.trained) < grey / 4
    assert done.losses[-1] < done.losses[0]


def test_going_on_from_a_saved_state_ends_at_the_same_bits(trained):
    done, seen = trained
    assert [state.step for state in seen] == [100, 200, 300]
    again = train(jax.random.key(1), seen[0], IMAGES[:64], SHORT, chunk=200)
    for one, other in zip(
        jax.tree.leaves(again.trained), jax.tree.leaves(done.trained), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_before_training_it_is_affine():
    """The last convolution of every block starts at 0."""
    network = begin(jax.random.key(0), SIDE, SHORT).trained
    z = jnp.asarray(RNG.normal(size=(2, network.dimension)), jnp.float32)
    middle = network.decode(z.mean(axis=0, keepdims=True))
    np.testing.assert_allclose(middle[0], network.decode(z).mean(axis=0), atol=1e-5)


def test_images_are_cut_into_patches_and_put_back():
    from theory.autoencoder import _patches, _pixels

    x = jnp.asarray(RNG.uniform(size=(2, SIDE, SIDE, 3)))
    grid = _patches(x)
    np.testing.assert_array_equal(grid[1, 0, 1].reshape(PATCH, PATCH, 3), x[1, :PATCH, PATCH:])
    np.testing.assert_array_equal(_pixels(grid), x)


START = begin(jax.random.key(0), SIDE, SHORT)
test_bad_input_is_one_clear_line = refusals(
    {
        "images have a multiple of 4 pixels a side, got 10": lambda: begin(
            jax.random.key(0), 10, SHORT
        ),
        "steps": lambda: begin(jax.random.key(0), SIDE, Schedule(steps=0)),
        "rate": lambda: begin(jax.random.key(0), SIDE, Schedule(rate=0.0)),
        "chunk": lambda: train(jax.random.key(1), START, IMAGES, SHORT, chunk=0),
        "images must have shape (rows, 8, 8, 3)": lambda: train(
            jax.random.key(1), START, IMAGES[:, :4], SHORT
        ),
        "images must lie in [0, 1]": lambda: train(jax.random.key(1), START, 255 * IMAGES, SHORT),
    }
)
