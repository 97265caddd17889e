"""The super-resolver against a plain run of the graph that its model.json writes down."""

import functools
import json
import tempfile
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from tests.image_forward import convolved, enlarged
from tests.refusals import refusals
from theory.bridge import catalog, photographs
from theory.bridge.formats import read_tensors
from theory.bridge.image_decoder import ImageAutoencoder
from theory.bridge.super_resolver import SuperResolver

TOLERANCE = 1e-4  # float32 over at most 12 convolutions, on the scale [0, 1]; seen: below 1e-6
SIDE, WIDTH, GROWTH = 6, 5, 2  # of the random model
# Layers in order, each with its kind and what it reads; then side and channels of the random model.
GRAPH = {
    "LR": ("InputLayer", []),
    "F_m1": ("Conv2D", ["LR"], 3, WIDTH),
    "F_0": ("Conv2D", ["F_m1"], 3, WIDTH),
    "F_1_1": ("Conv2D", ["F_0"], 3, GROWTH),
    "F_1_1_Relu": ("Activation", ["F_1_1"]),
    "RDB_Concat_1_1": ("Concatenate", ["F_0", "F_1_1_Relu"]),
    "LFF_1": ("Conv2D", ["RDB_Concat_1_1"], 1, WIDTH),
    "LRL_1": ("Add", ["LFF_1", "F_0"]),
    "F_2_1": ("Conv2D", ["LRL_1"], 3, GROWTH),
    "F_2_1_Relu": ("Activation", ["F_2_1"]),
    "RDB_Concat_2_1": ("Concatenate", ["LRL_1", "F_2_1_Relu"]),
    "LFF_2": ("Conv2D", ["RDB_Concat_2_1"], 1, WIDTH),
    "LRL_2": ("Add", ["LFF_2", "LRL_1"]),
    "LRLs_Concat": ("Concatenate", ["LRL_1", "LRL_2"]),
    "GFF_1": ("Conv2D", ["LRLs_Concat"], 1, WIDTH),
    "GFF_2": ("Conv2D", ["GFF_1"], 3, WIDTH),
    "FDF": ("Add", ["GFF_2", "F_m1"]),
    "UPN1": ("Conv2D", ["FDF"], 5, 4),
    "UPN1_Relu": ("Activation", ["UPN1"]),
    "UPN2": ("Conv2D", ["UPN1_Relu"], 3, 3),
    "UPN2_Relu": ("Activation", ["UPN2"]),
    "UPN3": ("Conv2D", ["UPN2_Relu"], 3, 7),
    "UPsample": ("UpSampling2D", ["UPN3"]),
    "SR": ("Conv2D", ["UPsample"], 3, 3),
}


def random_tensors(seed=0):
    """By the names of the package, kernels of shape (side, side, in, out)."""
    rng, channels, tensors = np.random.default_rng(seed), {"LR": 3}, {}
    for name, (kind, read, *sizes) in GRAPH.items():
        c_in = sum(channels[source] for source in read)
        if kind in ("Activation", "Add", "UpSampling2D"):
            channels[name] = channels[read[0]]
        elif kind == "Concatenate":
            channels[name] = c_in
        elif kind == "Conv2D":
            side, channels[name] = sizes
            shape = (side, side, c_in, channels[name])
            spread = np.sqrt(side**2 * c_in)
            tensors[f"{name}/kernel"] = (rng.normal(size=shape) / spread).astype(np.float32)
            tensors[f"{name}/bias"] = (10 * rng.normal(size=channels[name])).astype(np.float32)
    return tensors


def save(folder, change=None, drop=None):
    """A model.json without a topology, which no port reads, and its shard."""
    tensors = random_tensors() | (change or {})
    tensors = {name: tensor for name, tensor in tensors.items() if name != drop}
    (folder / "shard.bin").write_bytes(b"".join(tensor.tobytes() for tensor in tensors.values()))
    listed = [
        {"name": name, "shape": list(tensor.shape), "dtype": "float32"}
        for name, tensor in tensors.items()
    ]
    manifest = [{"paths": ["shard.bin"], "weights": listed}]
    path = folder / "model.json"
    path.write_text(json.dumps({"format": "layers-model", "weightsManifest": manifest}))
    return path


def run(tensors, values, last, skip=()):
    """Values of all layers up to the last one, in float64; those given are not computed."""
    done = dict(values)
    for name, (kind, read, *_) in GRAPH.items():
        if name in done or any(source not in done for source in read) or kind == "InputLayer":
            continue
        sources = [done[source] for source in read]
        if kind == "Conv2D":
            kernel = tensors[f"{name}/kernel"].transpose(3, 2, 0, 1)
            done[name] = convolved(sources[0], kernel, tensors[f"{name}/bias"])
        elif kind == "Activation":
            done[name] = sources[0] if name in skip else np.maximum(sources[0], 0)
        elif kind == "Concatenate":
            done[name] = np.concatenate(sources, axis=3)
        elif kind == "Add":
            done[name] = sources[0] + sources[1]
        else:
            done[name] = enlarged(sources[0])
    return done[last]


@pytest.fixture(scope="module")
def real_path():
    try:
        path, _ = (catalog.locate(part) for part in ("super-resolver", "super-resolver-weights"))
    except catalog.WeightsUnavailable as reason:
        pytest.skip(str(reason))
    return path


@pytest.fixture(scope="module", params=[("random", 100), ("real", 20)], ids=["random", "real"])
def coded(request, tmp_path_factory):
    """Tensors, images, latents, and what the port makes of these two."""
    which, count = request.param
    if which == "real":
        path = request.getfixturevalue("real_path")
    else:
        path = save(tmp_path_factory.mktemp("resolver"))
    model = SuperResolver.from_file(path, SIDE)
    rng = np.random.default_rng(1)
    images = jnp.asarray(rng.uniform(size=(count, SIDE, SIDE, 3)), jnp.float32)
    z = jnp.asarray(20 * rng.normal(size=(count, model.dimension)), jnp.float32)
    done = eqx.filter_jit(lambda m: (m.encode(images), m.decode(z)))(model)
    return read_tensors(path), images, z, *done


def test_port_equals_a_plain_run_of_the_graph(coded):
    tensors, images, z, latents, decoded = coded
    assert latents.dtype == decoded.dtype == jnp.float32
    expected = run(tensors, {"LR": 255 * np.asarray(images, np.float64)}, "FDF")
    np.testing.assert_allclose(
        latents / 255, expected.reshape(len(z), -1) / 255, rtol=0, atol=TOLERANCE
    )
    large = run(tensors, {"FDF": np.reshape(z, (len(z), SIDE, SIDE, -1))}, "SR") / 255
    np.testing.assert_allclose(decoded, large, rtol=0, atol=TOLERANCE)


def test_a_nearly_right_run_is_rejected(coded):
    """Without one relu of the encoder or of the decoder all sizes are the same."""
    tensors, images, z, latents, decoded = coded
    values = {"LR": 255 * np.asarray(images[:2], np.float64)}
    other = run(tensors, values, "FDF", skip=["F_2_1_Relu"]).reshape(2, -1)
    assert np.abs(latents[:2] - other).max() > 100 * 255 * TOLERANCE
    values = {"FDF": np.reshape(z[:2], (2, SIDE, SIDE, -1))}
    large = run(tensors, values, "SR", skip=["UPN2_Relu"]) / 255
    assert np.abs(decoded[:2] - large).max() > 100 * TOLERANCE


def test_the_graph_is_that_of_the_package(real_path):
    layers = json.loads(real_path.read_text())["modelTopology"]["model_config"]["config"]["layers"]
    found, tensors = {}, read_tensors(real_path)
    for layer in layers:
        read = [source[0] for node in layer["inbound_nodes"] for source in node]
        found[layer["name"]] = layer["class_name"], read
        config = layer["config"]
        if layer["class_name"] == "Conv2D":
            assert config["activation"] == "linear"
            assert (config["strides"], config["dilation_rate"]) == ([1, 1], [1, 1])
            side = tensors[f"{layer['name']}/kernel"].shape[0]
            assert config["padding"] == "same" or side == 1
        elif layer["class_name"] == "Activation":
            assert config["activation"] == "relu"
        elif layer["class_name"] == "Concatenate":
            assert config["axis"] == 3
        elif layer["class_name"] == "UpSampling2D":
            assert (config["size"], config["interpolation"]) == ([2, 2], "nearest")
    assert found == {name: (kind, read) for name, (kind, read, *_) in GRAPH.items()}


@pytest.fixture
def model(tmp_path):
    return SuperResolver.from_file(save(tmp_path), SIDE)


def test_it_is_an_autoencoder_of_twice_the_side(model):
    assert isinstance(model, ImageAutoencoder)
    assert model.latent_shape == (SIDE, SIDE, WIDTH)
    assert model.dimension == SIDE**2 * WIDTH
    assert model.image_shape == (2 * SIDE, 2 * SIDE, 3)


@pytest.mark.slow
def test_derivatives_agree_with_differences_and_each_other(model):
    """In float64 when the latents are; near random points there is no kink of a relu."""
    rng, step = np.random.default_rng(3), 1e-5
    z, direction = (jnp.asarray(20 * rng.normal(size=(1, model.dimension))) for _ in range(2))
    covector = jnp.asarray(rng.normal(size=(1, *model.image_shape)))

    @eqx.filter_jit
    def all_of(model, z):
        images, pushed = jax.jvp(model.decode, (z,), (direction,))
        ends = model.decode(jnp.concatenate([z + step * direction, z - step * direction]))
        (pulled,) = jax.vjp(model.decode, z)[1](covector)
        return images, pushed, (ends[:1] - ends[1:]) / (2 * step), pulled

    images, pushed, quotient, pulled = all_of(model, z)
    assert images.dtype == jnp.float64
    np.testing.assert_allclose(pushed, quotient, rtol=0, atol=1e-8)
    assert np.abs(pushed).max() > 1e-2
    np.testing.assert_allclose(jnp.vdot(pulled, direction), jnp.vdot(covector, pushed), rtol=1e-10)


def decibels(images, truth):
    return -10 * np.log10(np.mean((np.asarray(images, np.float64) - truth) ** 2))


def test_the_astronaut_twice_as_large(real_path):
    """Measured once by another code: 29.9 dB; bicubic interpolation is better, about 30.4."""
    try:
        truth = photographs.photograph("astronaut").astype(np.float64)
    except photographs.MissingPhotographs as reason:
        pytest.skip(str(reason))
    small = truth.reshape(256, 2, 256, 2, 3).mean(axis=(1, 3))
    model = SuperResolver.from_file(real_path, 256)
    back = eqx.filter_jit(lambda m, x: m.decode(m.encode(x)))(
        model, jnp.asarray(small[None], jnp.float32)
    )
    assert abs(decibels(back[0], truth) - 29.9) < 0.1
    levels = Image.fromarray(np.rint(255 * small).astype(np.uint8))
    bicubic = np.asarray(levels.resize((512, 512), Image.Resampling.BICUBIC)) / 255
    assert abs(decibels(bicubic, truth) - 30.4) < 0.1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"GFF_1/kernel": np.ones((1, 1, 5, 5), np.float32)},
            r"GFF_1/kernel has shape \(1, 1, 5, 5\), expected \(1, 1, 10, 5\); give the check",
        ),
        (
            {"SR/bias": np.ones(4, np.float32)},
            r"SR/bias has shape \(4,\), expected \(3\)",
        ),
        (
            {"UPN1/kernel": np.ones((3, 3, 5, 4), np.float32)},
            r"UPN1/kernel has shape \(3, 3, 5, 4\), expected \(5, 5, 5, 4\)",
        ),
        ({"LFF_2/bias": np.full(5, np.nan, np.float32)}, "NaN or infinite"),
    ],
)
def test_models_that_do_not_fit_are_refused(tmp_path, change, said):
    with pytest.raises(ValueError, match=said):
        SuperResolver.from_file(save(tmp_path, change), SIDE)


def test_a_missing_tensor_shard_or_model_is_named(tmp_path):
    with pytest.raises(ValueError, match="holds no tensor 'LFF_1/bias'"):
        SuperResolver.from_file(save(tmp_path, drop="LFF_1/bias"), SIDE)
    path = save(tmp_path)
    (tmp_path / "shard.bin").unlink()
    with pytest.raises((ValueError, FileNotFoundError), match=r"shard\.bin"):
        SuperResolver.from_file(path, SIDE)
    with pytest.raises(FileNotFoundError, match="absent"):
        SuperResolver.from_file(tmp_path / "absent.json", SIDE)


@functools.cache
def toy():
    """The random model, for refusals alone."""
    with tempfile.TemporaryDirectory() as folder:
        return SuperResolver.from_file(save(Path(folder)), SIDE)


def encode(images):
    return toy().encode(jnp.asarray(images))


def decode(z):
    return toy().decode(jnp.asarray(z))


test_refused = refusals(
    {
        "size must be an integer ≥ 1, got 0": lambda: SuperResolver.from_file("a", 0),
        "size must be an integer ≥ 1, got 6.0": lambda: SuperResolver.from_file("a", 6.0),
        "images must have shape (rows, 6, 6, 3), rows ≥ 1, got shape (1, 12, 12, 3)": (
            lambda: encode(np.zeros((1, 12, 12, 3)))
        ),
        "got shape (6, 6, 3)": lambda: encode(np.zeros((6, 6, 3))),
        "images must be floating, got dtype uint8": lambda: encode(np.zeros((1, 6, 6, 3), "u1")),
        "images must lie in [0, 1], got values from -1 to 0": (
            lambda: encode(np.linspace(-1, 0, 108).reshape(1, 6, 6, 3))
        ),
        "got values from nan to nan": lambda: encode(np.full((1, 6, 6, 3), np.nan)),
        "latents must have shape (rows, 180), rows ≥ 1, got shape (2, 108)": (
            lambda: decode(np.zeros((2, 108)))
        ),
        "latents must be finite": lambda: decode(np.full((1, 180), np.nan)),
    }
)
