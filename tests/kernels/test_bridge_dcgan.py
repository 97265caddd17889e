"""The DCGAN port against a plain NumPy forward, on random and on the real weights."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.image_forward import scattered
from tests.refusals import refusals
from theory.bridge import catalog
from theory.bridge.dcgan import DCGAN, EPSILON, PREFIX, STAGES
from theory.bridge.formats import read_tensors
from theory.bridge.image_decoder import ImageAutoencoder, ImageDecoder

TOLERANCE = 1e-4  # float32 over five stages, on the scale [0, 1]; seen: below 1e-5
WIDTHS = (7, 6, 5, 4, 5, 3)  # of the random generator, from latent to colours
STATISTICS = {"mean": 0.3278, "contrast": 0.1816, "distance": 0.2910}  # measured, see below


def random_tensors(seed=0):
    rng = np.random.default_rng(seed)
    tensors = {}
    for stage, sizes in zip(STAGES, itertools.pairwise(WIDTHS), strict=True):
        kernel = rng.normal(size=(*sizes, 4, 4)) / np.sqrt(4 * sizes[0])
        tensors[f"{PREFIX}.{stage}.weight"] = kernel
        if stage < STAGES[-1]:
            for name in ("weight", "bias", "running_mean"):
                tensors[f"{PREFIX}.{stage + 1}.{name}"] = rng.normal(size=sizes[1])
            tensors[f"{PREFIX}.{stage + 1}.running_var"] = rng.uniform(0, 2, size=sizes[1])
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def saved(path, change=None):
    np.savez(path, **(random_tensors() | (change or {})))
    return path


def forward(tensors, z, flip=False):
    """Images in float64, layer by layer as the package lists them."""
    x = np.asarray(z, np.float64)[:, None, None, :]
    for stage in STAGES:
        kernel = tensors[f"{PREFIX}.{stage}.weight"]
        kernel = kernel[:, :, ::-1, ::-1] if flip else kernel
        x = scattered(x, kernel, *((1, 0) if stage == 0 else (2, 1)))
        if stage < STAGES[-1]:
            gamma, beta, mean, variance = (
                tensors[f"{PREFIX}.{stage + 1}.{name}"].astype(np.float64)
                for name in ("weight", "bias", "running_mean", "running_var")
            )
            x = np.maximum(gamma * (x - mean) / np.sqrt(variance + EPSILON) + beta, 0)
    return (np.tanh(x) + 1) / 2


def draws(count, n, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(1).normal(size=(count, n)), dtype)


@pytest.fixture(scope="module")
def real_path():
    try:
        return catalog.locate("dcgan")
    except catalog.WeightsUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def real(real_path):
    return DCGAN.from_file(real_path)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return DCGAN.from_file(saved(tmp_path_factory.mktemp("dcgan") / "random.npz"))


@pytest.fixture(scope="module", params=[("random", 100), ("real", 8)], ids=["random", "real"])
def decoded(request):
    """The tensors a port was read from, latents, and the port's images of them."""
    which, count = request.param
    model = request.getfixturevalue("small" if which == "random" else "real")
    path = request.getfixturevalue("real_path") if which == "real" else None
    tensors = read_tensors(path) if path else random_tensors()
    z = draws(count, model.dimension)
    return tensors, z, eqx.filter_jit(model.decode)(z)


def test_port_equals_a_plain_forward(decoded):
    tensors, z, images = decoded
    assert images.shape == (len(z), 64, 64, 3)
    assert images.dtype == jnp.float32
    np.testing.assert_allclose(images, forward(tensors, z), rtol=0, atol=TOLERANCE)


def test_a_nearly_right_forward_is_rejected(decoded):
    """Kernels that are not flipped are the usual mistake: the comparison must see it."""
    tensors, z, images = decoded
    assert np.abs(images[:2] - forward(tensors, z[:2], flip=True)).max() > 100 * TOLERANCE


@pytest.mark.slow
def test_a_hundred_images_of_the_real_generator(real, real_path):
    z = draws(100, 100)
    expected = forward(read_tensors(real_path), z)
    np.testing.assert_allclose(eqx.filter_jit(real.decode)(z), expected, rtol=0, atol=TOLERANCE)


def test_it_is_an_image_decoder(small):
    assert isinstance(small, ImageDecoder)
    assert not isinstance(small, ImageAutoencoder)
    assert small.image_shape == (64, 64, 3)
    assert (small.latent_shape, small.dimension) == ((7,), 7)


def toy(*widths):
    """A generator with fewer stages, whose weights need no file."""
    rng = np.random.default_rng(2)
    sizes = [(c, 4, 4, d) for c, d in itertools.pairwise(widths)]
    kernels = [rng.normal(size=size).astype(np.float32) / 4 for size in sizes]
    shifts = [rng.normal(size=d).astype(np.float32) for d in widths[1:-1]]
    return DCGAN(tuple(map(jnp.asarray, kernels)), tuple(map(jnp.asarray, shifts)))


def test_derivatives_agree_with_differences_and_each_other():
    """In float64 when the latents are; near random points there is no kink of a relu."""
    model, step = toy(5, 4, 3), 1e-6
    z, direction = draws(2, 5, np.float64)[:, None]
    covector = draws(1, 8 * 8 * 3, np.float64).reshape(1, 8, 8, 3)

    @jax.jit
    def all_of(z):
        images, pushed = jax.jvp(model.decode, (z,), (direction,))
        ends = model.decode(jnp.concatenate([z + step * direction, z - step * direction]))
        (pulled,) = jax.vjp(model.decode, z)[1](covector)
        return images, pushed, (ends[:1] - ends[1:]) / (2 * step), pulled

    images, pushed, quotient, pulled = all_of(z)
    assert images.dtype == jnp.float64
    np.testing.assert_allclose(pushed, quotient, rtol=0, atol=1e-8)
    assert np.abs(pushed).max() > 1e-2
    np.testing.assert_allclose(jnp.vdot(pulled, direction), jnp.vdot(covector, pushed), rtol=1e-10)


def test_the_dtype_follows_the_weights():
    narrow = toy(5, 4, 3)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), narrow)
    images, same = jax.jit(lambda z: (wide.decode(z), narrow.decode(z)))(draws(1, 5))
    assert (images.dtype, same.dtype) == (jnp.float64, jnp.float32)
    np.testing.assert_allclose(images, same, rtol=0, atol=1e-6)


def test_images_of_the_real_generator(real):
    """Brightness, contrast and variety of 256 draws, against those of 4096 others.

    Each is a mean over independent draws (of pairs, for the distance), compared with its own
    standard error times 6.1 = Φ⁻¹(1 − 5·10⁻¹⁰): a true figure fails once in 10⁹. Contrast is the
    standard deviation within an image, distance the root mean square between two.
    """
    images = np.asarray(eqx.filter_jit(real.decode)(draws(256, 100)), np.float64)
    flat = images.reshape(256, -1)
    per_image = {
        "mean": flat.mean(axis=1),
        "contrast": flat.std(axis=1),
        "distance": np.sqrt(((flat[::2] - flat[1::2]) ** 2).mean(axis=1)),
    }
    for name, values in per_image.items():
        others = 4096 * len(values) // 256
        error = values.std(ddof=1) * np.sqrt(1 / len(values) + 1 / others)
        assert abs(values.mean() - STATISTICS[name]) < 6.1 * error, name
        assert 6.1 * error < 0.2 * STATISTICS[name], name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {f"{PREFIX}.3.weight": np.ones((5, 5, 4, 4), np.float32)},
            r"main.0.weight has shape \(7, 6, 4, 4\), expected \(7, 5, 4, 4\); give the checkpoint",
        ),
        (
            {f"{PREFIX}.12.weight": np.ones((5, 1, 4, 4), np.float32)},
            r"main.12.weight has shape \(5, 1, 4, 4\), expected \(5, 3, 4, 4\)",
        ),
        (
            {f"{PREFIX}.6.weight": np.ones((5, 4, 5, 5), np.float32)},
            r"main.6.weight has shape \(5, 4, 5, 5\), expected \(any, any, 4, 4\)",
        ),
        (
            {f"{PREFIX}.4.bias": np.ones(4, np.float32)},
            r"main.4.bias has shape \(4,\), expected \(5\)",
        ),
        ({f"{PREFIX}.7.weight": np.full(4, np.nan, np.float32)}, "NaN or infinite"),
        ({f"{PREFIX}.7.running_var": np.full(4, -1, np.float32)}, "entries below 0, expected var"),
    ],
)
def test_checkpoints_that_do_not_fit_are_refused(tmp_path, change, said):
    with pytest.raises(ValueError, match=said):
        DCGAN.from_file(saved(tmp_path / "bad.npz", change))


def test_a_missing_tensor_or_file_is_named(tmp_path):
    tensors = random_tensors()
    del tensors[f"{PREFIX}.10.running_mean"]
    np.savez(tmp_path / "bad.npz", **tensors)
    with pytest.raises(ValueError, match=r"holds no tensor 'netG_state_dict.main.10.running_mean'"):
        DCGAN.from_file(tmp_path / "bad.npz")
    with pytest.raises(FileNotFoundError):
        DCGAN.from_file(tmp_path / "absent.npz")


def decode(z):
    return toy(7, 3).decode(jnp.asarray(z))


test_refused = refusals(
    {
        "latents must have shape (rows, 7), rows ≥ 1, got shape (7,)": lambda: decode(np.zeros(7)),
        "got shape (2, 8)": lambda: decode(np.zeros((2, 8))),
        "got shape (0, 7)": lambda: decode(np.zeros((0, 7))),
        "latents must be floating, got dtype int64": lambda: decode(np.zeros((1, 7), int)),
        "latents must be finite, got NaN": lambda: decode(np.full((1, 7), np.nan)),
    }
)
