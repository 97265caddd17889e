"""The head against a plain NumPy one and against the model's own graph; CTC decoding by hand."""

import sys
from itertools import pairwise

import numpy as np
import pytest

from theory.bridge import catalog
from theory.bridge.pp_ocr import (
    BIAS,
    BLANK,
    HEIGHT,
    LATENT,
    WEIGHT,
    Recognizer,
    collapsed,
    prepared,
)
from theory.bridge.reading import MissingReader
from theory.bridge.text_images import lines, render

onnx = pytest.importorskip("onnx", reason="pip install 'noncommit[weights]'")
pytest.importorskip("onnxruntime", reason="pip install 'noncommit[weights]'")

LINE = "Voronoi cells of a linear readout"
ALPHABET = "abcdefg"
TOLERANCE = 1e-4  # float32 means of 384 pixels, times a mixing of 10; seen: below 4e-5
ROUNDING = 5e-6  # of a probability, float32


def random_tensors(n=4):
    rng, classes = np.random.default_rng(0), len(ALPHABET) + 2
    shapes = {"mixing": (3, n), WEIGHT: (n, classes), BIAS: (classes,)}
    tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return tensors | {"mixing": 10 * tensors["mixing"]}


def save(path, tensors, latent=LATENT, alphabet=ALPHABET):
    """A recognizer with z = tanh(mixing · mean colour of 8 columns), tensors as Constants."""
    node, helper = onnx.helper.make_node, onnx.helper
    stored = {name: onnx.numpy_helper.from_array(t, name) for name, t in tensors.items()}
    nodes = [node("Constant", [], [name], value=tensor) for name, tensor in stored.items()]
    nodes += [
        node("AveragePool", ["x"], ["mean"], kernel_shape=[HEIGHT, 8], strides=[HEIGHT, 8]),
        node("Squeeze", ["mean"], ["row"], axes=[2]),
        node("Transpose", ["row"], ["frames"], perm=[0, 2, 1]),
        node("MatMul", ["frames", "mixing"], ["mixed"]),
        node("Tanh", ["mixed"], [latent]),
        node("MatMul", [latent, WEIGHT], ["product"]),
        node("Add", ["product", BIAS], ["scores"]),
        node("Softmax", ["scores"], ["law"], axis=2),
    ]
    value, kind = helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    ends = [value("x", kind, [1, 3, HEIGHT, None])], [value("law", kind, [1, None, None])]
    graph = helper.make_graph(nodes, "recognizer", *ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=8)
    if alphabet:
        helper.set_model_props(model, {"character": "\n".join(alphabet)})
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def real():
    try:
        return Recognizer(catalog.locate("pp-ocr"))
    except catalog.WeightsUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def small(tmp_path):
    return Recognizer(save(tmp_path / "random.onnx", random_tensors()))


def softmax(z, weight, bias):
    scores = np.asarray(z, np.float64) @ weight + bias
    law = np.exp(scores - scores.max(axis=1, keepdims=True))
    return law / law.sum(axis=1, keepdims=True)


def forward(image, tensors, blue_first=True):
    """Latents of an image of height 48 and a width that is a multiple of 8, in float64."""
    colours = image[:, :, ::-1] if blue_first else image
    x = (colours / 255 - 0.5) / 0.5
    frames = x.reshape(HEIGHT, -1, 8, 3).mean(axis=(0, 2))
    return np.tanh(frames @ tensors["mixing"])


def colourful(count=100):
    """Images whose columns have colours of their own, so that the order of channels is seen."""
    rng = np.random.default_rng(1)
    for width in rng.choice([320, 400], count):
        base = rng.integers(0, 256, (1, width // 8, 3)).repeat(8, axis=1)
        yield np.clip(base + rng.integers(-9, 10, (HEIGHT, width, 3)), 0, 255).astype(np.uint8)


def test_small_model_equals_a_plain_forward(small):
    tensors, head = random_tensors(), small.head()
    for image in colourful():
        states, law = small.run(image)
        np.testing.assert_allclose(states, forward(image, tensors), rtol=0, atol=TOLERANCE)
        expected = softmax(forward(image, tensors), tensors[WEIGHT], tensors[BIAS])
        np.testing.assert_allclose(law, expected, rtol=0, atol=TOLERANCE)
        scores = states @ np.asarray(head.sites).T + head.offsets
        np.testing.assert_allclose(
            np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True), expected, atol=TOLERANCE
        )


def test_nearly_right_models_are_rejected(small):
    tensors, image = random_tensors(), next(colourful())
    states, law = small.run(image)
    assert np.abs(states - forward(image, tensors, blue_first=False)).max() > 0.1
    assert np.abs(law - softmax(states, tensors[WEIGHT], 0)).max() > 0.1


def test_images_are_brought_to_size():
    image = np.zeros((24, 60, 3), np.uint8)
    image[:, :, 0] = 255  # red
    values = prepared(image)
    assert values.shape == (3, HEIGHT, 320)
    np.testing.assert_array_equal(values[:, :, :120].max(axis=(1, 2)), [-1, -1, 1])
    np.testing.assert_array_equal(values[:, :, 120:], 0)
    assert prepared(image.repeat(10, axis=1)).shape == (3, HEIGHT, 1200)
    with pytest.raises(ValueError, match=r"shape \(0, 5, 3\), expected at least one pixel"):
        prepared(np.zeros((0, 5, 3), np.uint8))


@pytest.mark.parametrize(
    ("labels", "written"),
    [
        ([], []),
        ([0, 0], []),
        ([3, 3, 0, 3], [3, 3]),
        ([0, 1, 1, 2, 0, 0, 2, 2], [1, 2, 2]),
        ([5, 5, 5], [5]),
    ],
)
def test_collapse_by_hand(labels, written):
    assert collapsed(np.array(labels, int)).tolist() == written


def test_a_line_is_read(real):
    """Correct, and not without the collapse, nor when the blank is no class."""
    assert real.read(render(LINE)) == LINE
    states, law = real.run(render(LINE))
    labels = np.asarray(real.head().label(states))
    np.testing.assert_array_equal(labels, law.argmax(axis=1))
    assert "".join(real.characters[label] for label in labels) != LINE
    assert "".join(real.characters[label - 1] for label in collapsed(labels)) != LINE


def test_head_is_the_graph_s_own(real):
    """100 frames and more: softmax(W z + b) is the law that the graph makes of them."""
    head, frames = real.head(), 0
    assert head.sites.shape == (6625, 120)
    assert len(np.unique(np.asarray(head.sites), axis=0)) == 6625
    for line in lines(3):
        states, law = real.run(line.image)
        expected = softmax(states, np.asarray(head.sites).T, np.asarray(head.offsets))
        np.testing.assert_allclose(law, expected, rtol=0, atol=ROUNDING)
        assert np.abs(law - softmax(states, np.asarray(head.sites).T, 0)).max() > 100 * ROUNDING
        frames += len(states)
    assert frames > 100


def test_latents_of_the_real_model(real):
    """Two kinds of frames; 43% were blank on another line, read by another code."""
    latents = real.latents(200)
    assert latents.states.dtype == np.float32
    assert latents.states.shape == (200, 120)
    np.testing.assert_array_equal(latents.blank, latents.token == BLANK)
    first = real.run(next(lines(1)).image)[0]
    np.testing.assert_array_equal(latents.states[latents.group == 0], first)
    assert np.all(np.diff(latents.group) >= 0)
    assert 0.3 < latents.blank.mean() < 0.6
    norms = np.linalg.norm(latents.states, axis=1)
    assert 18 < np.median(norms[latents.blank]) < 26
    assert 33 < np.median(norms[~latents.blank]) < 41


MIDDLES = (57, 75, 93, 110, 128)  # rows of the middles of a paragraph's lines on the page


@pytest.mark.slow
def test_print_cut_through_lies_as_near_as_another_code_found(real):
    """Its crops of this page cut through lines: medians 26.1 of ‖z‖, 1.34 of δ, 0.052 of δ/‖z‖.

    Within 25% on frames with a character, from the middle of a line to the middle of the next.
    Rendered lines are read surely and lie twice as far.
    """
    page = pytest.importorskip("skimage.data", reason="pip install 'noncommit[images]'").page()
    crops = [page[top:end, :, None].repeat(3, axis=2) for top, end in pairwise(MIDDLES)]

    def medians(images):
        states = np.concatenate([real.run(image)[0] for image in images]).astype(np.float64)
        facet, norms = real.head().nearest_facet(states), np.linalg.norm(states, axis=1)
        seen = np.asarray(facet.label) != BLANK
        distance = np.asarray(facet.distance)[seen]
        return np.median(norms[seen]), np.median(distance), np.median(distance / norms[seen])

    np.testing.assert_allclose(medians(crops), [26.1, 1.34, 0.052], rtol=0.25)
    assert medians([render(LINE)])[1] > 2 * medians(crops)[1]


def test_too_many_frames_are_refused(small):
    with pytest.raises(ValueError, match=r"expected 1 to \d+ lines"):
        small.latents(10**9)
    with pytest.raises(ValueError, match="count"):
        small.latents(0)


def test_files_of_another_model_are_refused(tmp_path):
    good, path = random_tensors(), tmp_path / "bad.onnx"
    for changed, complaint in [
        ({WEIGHT: good[WEIGHT][:, 1:]}, rf"{WEIGHT} has shape \(4, 8\), expected \(any, 9\); give"),
        ({BIAS: good[BIAS][1:]}, rf"{BIAS} has shape \(8,\), expected \(9\); give"),
    ]:
        save(path, good | changed)
        with pytest.raises(ValueError, match=complaint):
            Recognizer(path)
    save(path, good, latent="other")
    with pytest.raises(ValueError, match=f"computes no value '{LATENT}'"):
        Recognizer(path)
    save(path, good, alphabet="")
    with pytest.raises(ValueError, match=r"no 'character' in its metadata but \[\]"):
        Recognizer(path)
    with pytest.raises(FileNotFoundError):
        Recognizer(tmp_path / "absent.onnx")


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named(tmp_path, monkeypatch, missing):
    path = save(tmp_path / "random.onnx", random_tensors())
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingReader, match=rf"{missing}, which cannot .*noncommit\[weights\]"):
        Recognizer(path)
