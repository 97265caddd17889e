"""The taef2 port against a plain NumPy forward, on random weights and on the published ones."""

import functools
import os
import tempfile
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.image_forward import convolved, enlarged
from tests.refusals import refusals
from theory.bridge import catalog, photographs
from theory.bridge.formats import read_tensors
from theory.bridge.image_decoder import ImageAutoencoder
from theory.bridge.taef2 import TAEF2

TOLERANCE = 1e-4  # float32 over some 40 convolutions; seen: below 1e-5
SIDE, WIDTH, LATENT = 16, 4, 3  # of the random model
# What stands at every place of the two sequences, as the repository's own listing has it.
ENCODER = ["conv", "block", *["half", *["block"] * 3] * 2, "half", *["pooled"] * 3, "conv"]
DECODER = ["clamp", "conv", "relu", *["pooled"] * 3, *["twice", "bare", *["block"] * 3] * 2]
DECODER += ["twice", "bare", "block", "conv"]


def random_tensors(layers, read, written, seed=0):
    """Tensors by PyTorch's names for one half."""
    rng, tensors = np.random.default_rng(seed), {}

    def draw(name, *shape):
        spread = np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 2
        tensors[name] = (rng.normal(size=shape) / spread).astype(np.float32)

    for place, kind in enumerate(layers):
        if kind in ("conv", "half", "bare"):
            last = place == len(layers) - 1
            c_in, c_out = read if place < 2 else WIDTH, written if last else WIDTH
            draw(f"{place}.weight", c_out, c_in, 3, 3)
            if kind == "conv":
                draw(f"{place}.bias", c_out)
        if kind in ("block", "pooled"):
            for name in ("conv.0", "conv.2", "conv.4"):
                draw(f"{place}.{name}.weight", WIDTH, WIDTH, 3, 3)
                draw(f"{place}.{name}.bias", WIDTH)
        if kind == "pooled":
            draw(f"{place}.pool.0.weight", 4 * WIDTH, WIDTH, 1, 1)
            draw(f"{place}.pool.1.weight", 4 * WIDTH)
            draw(f"{place}.pool.1.bias", 4 * WIDTH)
            draw(f"{place}.pool.3.weight", WIDTH, 4 * WIDTH, 1, 1)
    return tensors


def normalized(x, gamma, beta):
    """Four groups of channels, each with its own mean and variance over the whole image."""
    parts = [
        (part - part.mean(axis=(1, 2, 3), keepdims=True))
        / np.sqrt(part.var(axis=(1, 2, 3), keepdims=True) + 1e-5)
        for part in np.split(x, 4, axis=3)
    ]
    return np.concatenate(parts, axis=3) * gamma + beta


def forward(layers, tensors, x, pools=True):
    """The sequence in float64, layer by layer."""

    def conv(name, x, stride=1):
        return convolved(x, tensors[f"{name}.weight"], tensors.get(f"{name}.bias", 0.0), stride)

    for place, kind in enumerate(layers):
        if kind == "pooled" and pools:
            y = conv(f"{place}.pool.0", x)
            y = normalized(y, *(tensors[f"{place}.pool.1.{name}"] for name in ("weight", "bias")))
            x = x + conv(f"{place}.pool.3", np.maximum(y, 0))
        if kind in ("block", "pooled"):
            y = np.maximum(conv(f"{place}.conv.0", x), 0)
            y = np.maximum(conv(f"{place}.conv.2", y), 0)
            x = np.maximum(x + conv(f"{place}.conv.4", y), 0)
        elif kind == "twice":
            x = enlarged(x)
        elif kind == "relu":
            x = np.maximum(x, 0)
        elif kind == "clamp":
            x = 3 * np.tanh(x / 3)
        else:
            x = conv(f"{place}", x, stride=2 if kind == "half" else 1)
    return x


def saved(folder, change=None):
    """Paths of both halves; the change is made in whichever half has the tensor's name."""
    halves = (ENCODER, 3, LATENT), (DECODER, LATENT, 3)
    paths = folder / "encoder.npz", folder / "decoder.npz"
    for path, half in zip(paths, halves, strict=True):
        tensors = random_tensors(*half)
        known = {name: tensor for name, tensor in (change or {}).items() if name in tensors}
        np.savez(path, **(tensors | known))
    return paths


@pytest.fixture(scope="module")
def real_paths():
    """The published files: of the folder NONCOMMIT_TAEF2, or kept by `noncommit weights`."""
    given = os.environ.get("NONCOMMIT_TAEF2")
    try:
        return tuple(
            catalog.locate(f"taef2-{half}", path=given and Path(given, f"taef2_{half}.pth"))
            for half in ("encoder", "decoder")
        )
    except catalog.WeightsUnavailable as reason:
        pytest.skip(str(reason))


REAL = pytest.param(("real", 8), marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=[("random", 100), REAL], ids=["random", "real"])
def coded(request, tmp_path_factory):
    """Tensors of both halves, images, latents, and what the port makes of these two."""
    which, count = request.param
    if which == "real":
        paths = request.getfixturevalue("real_paths")
    else:
        paths = saved(tmp_path_factory.mktemp("taef2"))
    model = TAEF2.from_files(*paths, SIDE)
    rng = np.random.default_rng(1)
    images = jnp.asarray(rng.uniform(size=(count, SIDE, SIDE, 3)), jnp.float32)
    z = jnp.asarray(2 * rng.normal(size=(count, model.dimension)), jnp.float32)
    done = eqx.filter_jit(lambda m: (m.encode(images), m.decode(z)))(model)
    return [read_tensors(path) for path in paths], images, z, *done


def test_port_equals_a_plain_forward(coded):
    (encoder, decoder), images, z, latents, decoded = coded
    assert latents.dtype == decoded.dtype == jnp.float32
    expected = forward(ENCODER, encoder, images).reshape(len(images), -1)
    np.testing.assert_allclose(latents, expected, rtol=0, atol=TOLERANCE)
    squares = np.reshape(z, (len(z), SIDE // 8, SIDE // 8, -1))
    np.testing.assert_allclose(decoded, forward(DECODER, decoder, squares), rtol=0, atol=TOLERANCE)


def test_a_nearly_right_forward_is_rejected(coded):
    """Without the pools, or with latents whose channels come first, all sizes are the same."""
    (encoder, decoder), images, z, latents, decoded = coded
    bare = forward(ENCODER, encoder, images[:2], pools=False).reshape(2, -1)
    assert np.abs(latents[:2] - bare).max() > 100 * TOLERANCE
    mixed = np.reshape(z[:2], (2, -1, SIDE // 8, SIDE // 8)).transpose(0, 2, 3, 1)
    assert np.abs(decoded[:2] - forward(DECODER, decoder, mixed)).max() > 100 * TOLERANCE


@pytest.fixture
def model(tmp_path):
    return TAEF2.from_files(*saved(tmp_path), SIDE)


def test_it_is_an_autoencoder(model):
    assert isinstance(model, ImageAutoencoder)
    assert model.latent_shape == (SIDE // 8, SIDE // 8, LATENT)
    assert model.dimension == (SIDE // 8) ** 2 * LATENT
    assert model.image_shape == (SIDE, SIDE, 3)


@pytest.mark.slow
def test_derivatives_agree_with_differences_and_each_other(model):
    """In float64 when the latents are; near random points there is no kink of a relu."""
    rng, step = np.random.default_rng(3), 1e-6
    z, direction = (jnp.asarray(rng.normal(size=(1, model.dimension))) for _ in range(2))
    covector = jnp.asarray(rng.normal(size=(1, SIDE, SIDE, 3)))

    @eqx.filter_jit
    def all_of(model, z):
        images, pushed = jax.jvp(model.decode, (z,), (direction,))
        ends = model.decode(jnp.concatenate([z + step * direction, z - step * direction]))
        (pulled,) = jax.vjp(model.decode, z)[1](covector)
        return images, pushed, (ends[:1] - ends[1:]) / (2 * step), pulled

    images, pushed, quotient, pulled = all_of(model, z)
    assert images.dtype == jnp.float64
    np.testing.assert_allclose(pushed, quotient, rtol=0, atol=1e-7)
    assert np.abs(pushed).max() > 1e-2
    np.testing.assert_allclose(jnp.vdot(pulled, direction), jnp.vdot(covector, pushed), rtol=1e-10)


@pytest.mark.slow
def test_the_astronaut_comes_back(real_paths):
    """Measured once by another code: 31.2 dB, values outside [0, 1] cut off."""
    try:
        image = photographs.photograph("astronaut")[None]
    except photographs.MissingPhotographs as reason:
        pytest.skip(str(reason))
    model = TAEF2.from_files(*real_paths, 512)
    back = eqx.filter_jit(lambda m, x: m.decode(m.encode(x)))(model, jnp.asarray(image))
    error = np.mean((np.clip(back, 0, 1) - image) ** 2, dtype=np.float64)
    assert abs(-10 * np.log10(error) - 31.2) < 0.1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"3.conv.2.weight": np.ones((4, 5, 3, 3), np.float32)},
            r"3.conv.2.weight has shape \(4, 5, 3, 3\), expected \(4, 4, 3, 3\); give the check",
        ),
        (
            {"12.pool.1.bias": np.ones(4, np.float32)},
            r"encoder.npz:12.pool.1.bias has shape \(4,\), expected \(16\)",
        ),
        ({"18.conv.0.bias": np.full(4, np.nan, np.float32)}, r"decoder.*NaN or infinite"),
        (
            {"1.weight": np.ones((4, 2, 3, 3), np.float32)},
            r"encoder.npz maps 3 channels to 3, .*decoder.npz 2 to 3, expected 3 to n and n to 3",
        ),
        (
            {"19.weight": np.ones((1, 4, 3, 3), np.float32), "19.bias": np.ones(1, np.float32)},
            r"decoder.npz 3 to 1, expected 3 to n and n to 3; give the two files of taef2",
        ),
    ],
)
def test_checkpoints_that_do_not_fit_are_refused(tmp_path, change, said):
    with pytest.raises(ValueError, match=said):
        TAEF2.from_files(*saved(tmp_path, change), SIDE)


def test_halves_exchanged_or_absent_are_named(tmp_path):
    encoder, decoder = saved(tmp_path)
    with pytest.raises(ValueError, match=r"decoder.npz holds no tensor '0.weight'"):
        TAEF2.from_files(decoder, encoder, SIDE)
    with pytest.raises(FileNotFoundError, match="absent"):
        TAEF2.from_files(encoder, tmp_path / "absent.npz", SIDE)


@functools.cache
def toy():
    """The random model, for refusals alone."""
    with tempfile.TemporaryDirectory() as folder:
        return TAEF2.from_files(*saved(Path(folder)), SIDE)


def encode(images):
    return toy().encode(jnp.asarray(images))


def decode(z):
    return toy().decode(jnp.asarray(z))


test_refused = refusals(
    {
        "size must be a multiple of 8 pixels, got 20": lambda: TAEF2.from_files("a", "b", 20),
        "size must be an integer ≥ 8, got 0": lambda: TAEF2.from_files("a", "b", 0),
        "size must be an integer ≥ 8, got 16.0": lambda: TAEF2.from_files("a", "b", 16.0),
        "images must have shape (rows, 16, 16, 3), rows ≥ 1, got shape (16, 16, 3)": (
            lambda: encode(np.zeros((16, 16, 3)))
        ),
        "got shape (1, 24, 16, 3)": lambda: encode(np.zeros((1, 24, 16, 3))),
        "images must be floating, got dtype uint8": (
            lambda: encode(np.zeros((1, 16, 16, 3), np.uint8))
        ),
        "images must lie in [0, 1], got values from 0 to 255": (
            lambda: encode(np.linspace(0, 255, 768).reshape(1, 16, 16, 3))
        ),
        "images must lie in [0, 1], got values from nan to nan": (
            lambda: encode(np.full((1, 16, 16, 3), np.nan))
        ),
        "latents must have shape (rows, 12), rows ≥ 1, got shape (1, 2, 2, 3)": (
            lambda: decode(np.zeros((1, 2, 2, 3)))
        ),
        "latents must be finite": lambda: decode(np.full((1, 12), np.inf)),
    }
)
