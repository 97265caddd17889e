"""The JAX port against a plain NumPy forward written here, on random and on the real weights."""

import json

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from tests.kernels.test_compilation import compilations
from theory.bridge import catalog
from theory.bridge.corpus import english_sentences, english_text
from theory.bridge.textgenrnn import LSTM, START, STRIDE, WINDOW, TextGenRNN

h5py = pytest.importorskip("h5py", reason="pip install 'noncommit[weights]'")

TOLERANCE = 1e-4  # float32 over 80 recurrent steps; seen: below 2e-6
QUESTION = "What is the best way to learn a new language?"
TABLE = "embedding/embedding/embeddings:0"
HEAD = "output/output/kernel:0"


def random_vocabulary():
    symbols = [START, *sorted(set(english_text()) | set(QUESTION))]
    return {symbol: index for index, symbol in enumerate(symbols, 1)}


def random_tensors(e=6, lower=5, upper=4, seed=0):
    rng, classes = np.random.default_rng(seed), len(random_vocabulary()) + 1
    shapes = {TABLE: (classes, e), "attention/attention/attention_W:0": (e + lower + upper, 1)}
    for layer, read, hidden in [("rnn_1/rnn_1", e, lower), ("rnn_2/rnn_2", lower, upper)]:
        shapes[f"{layer}/kernel:0"] = (read, 4 * hidden)
        shapes[f"{layer}/recurrent_kernel:0"] = (hidden, 4 * hidden)
        shapes[f"{layer}/bias:0"] = (8 * hidden,)
    shapes |= {HEAD: (e + lower + upper, classes), "output/output/bias:0": (classes,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def save(path, tensors):
    with h5py.File(path, "w") as file:
        for name, tensor in tensors.items():
            file[name] = tensor
    return path


@pytest.fixture(scope="module")
def random_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("textgenrnn")
    vocabulary = folder / "vocabulary.json"
    vocabulary.write_text(json.dumps(random_vocabulary()))
    return save(folder / "random.hdf5", random_tensors()), vocabulary


@pytest.fixture(scope="module")
def real_files():
    try:
        return catalog.locate("textgenrnn"), catalog.locate("textgenrnn-vocabulary")
    except catalog.WeightsUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def real(real_files):
    return TextGenRNN.from_files(*real_files)


@pytest.fixture(scope="module", params=["random", pytest.param("real", marks=pytest.mark.slow)])
def pair(request):
    """A port, and the tensors it was read from."""
    files = request.getfixturevalue(f"{request.param}_files")
    with h5py.File(files[0]) as file:
        tensors = {name: file[name][()].astype(np.float64) for name in random_tensors()}
    return TextGenRNN.from_files(*files), tensors


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def from_cudnn(matrix, swapped):
    """One gate out of CuDNN's layout, in the words of Keras' own conversion."""
    if not swapped:
        return matrix
    return matrix.T.reshape(matrix.shape, order="F") if swapped == "input" else matrix.T


def lstm(x, tensors, layer, mistake=None):
    """The states of one layer, step by step, in float64."""
    kernel, recurrent, bias = (
        tensors[f"{layer}/{name}:0"] for name in ("kernel", "recurrent_kernel", "bias")
    )
    hidden = len(recurrent)
    converted = mistake != "layout"
    own, past = {}, {}
    order = "fico" if mistake == "order" else "ifco"
    for index, gate in enumerate(order):
        part = slice(index * hidden, (index + 1) * hidden)
        own[gate] = from_cudnn(kernel[:, part], converted and "input")
        past[gate] = from_cudnn(recurrent[:, part], converted and "recurrent")
    both = bias[: 4 * hidden] + (0 if mistake == "bias" else bias[4 * hidden :])
    offset = dict(zip(order, both.reshape(4, hidden), strict=True))
    h, c, states = np.zeros(hidden), np.zeros(hidden), []
    for row in x:
        i, f, g, o = (row @ own[k] + h @ past[k] + offset[k] for k in "ifco")
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.array(states)


def forward(window, tensors, mistake=None):
    """The latent of one window of embeddings."""
    lower = lstm(window, tensors, "rnn_1/rnn_1", mistake)
    upper = lstm(lower, tensors, "rnn_2/rnn_2", mistake)
    x = np.hstack([window, lower, upper])
    weight = np.exp(x @ tensors["attention/attention/attention_W:0"][:, 0])
    if mistake == "attention":  # no softmax: a plain mean
        weight = np.ones(len(x))
    return weight @ x / weight.sum()


def window_of(text, model, tensors):
    """The embeddings of the last characters, padded on the left with those of symbol 0."""
    classes = [model.symbols.index(s) for s in [START, *text]]
    return tensors[TABLE][([0] * WINDOW + classes)[-WINDOW:]]


def log_law(z, tensors):
    scores = z @ tensors[HEAD] + tensors["output/output/bias:0"]
    shifted = scores - scores.max()
    return shifted - np.log(np.exp(shifted).sum())


def texts(count=100):
    """Beginnings of sentences, of every length from none to beyond the window."""
    return [s[: i % (WINDOW + 10)] for i, s in enumerate(english_sentences(count))]


def test_port_equals_a_plain_forward(pair):
    model, tensors = pair
    context, z = map(
        np.asarray, model.begin(texts())
    )  # rows of a jax.Array are compiled one by one
    scores = np.asarray(model.head().scores(z))
    for text, window, latent, score in zip(texts(), context, z, scores, strict=True):
        expected = window_of(text, model, tensors)
        np.testing.assert_allclose(window, expected, rtol=0, atol=0)
        latent_expected = forward(expected, tensors)
        np.testing.assert_allclose(latent, latent_expected, rtol=0, atol=TOLERANCE)
        law = score - np.log(np.exp(score - score.max()).sum()) - score.max()
        np.testing.assert_allclose(law, log_law(latent_expected, tensors), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mistake", ["layout", "order", "bias", "attention"])
def test_a_nearly_right_model_is_rejected(pair, mistake):
    model, tensors = pair
    wrong = forward(window_of(QUESTION, model, tensors), tensors, mistake)
    assert np.abs(model.begin([QUESTION])[1][0] - wrong).max() > 100 * TOLERANCE


def test_advance_equals_reading_one_more(pair):
    model, _ = pair
    context, z = model.begin(texts())
    fed = jnp.tile(model.table[model.encode("?")[1]], (len(z), 1))
    context, z = eqx.filter_jit(TextGenRNN.advance)(model, context, z, fed)
    expected, latents = model.begin([text + "?" for text in texts()])
    np.testing.assert_array_equal(context, expected)
    np.testing.assert_allclose(z, latents, rtol=0, atol=1e-6)


@pytest.mark.parametrize("softness", [0.0, 0.3, 1.0])
def test_nats_equal_a_plain_reading(pair, softness):
    model, tensors = pair
    tokens = model.encode(QUESTION[:12])
    window = window_of("", model, tensors)
    expected = []
    for token in tokens[1:]:
        law = log_law(forward(window, tensors), tensors)
        expected.append(-law[token])
        fed = (1 - softness) * tensors[TABLE][token] + softness * np.exp(law) @ tensors[TABLE]
        window = np.vstack([window[1:], fed])
    got = model.nats(np.stack([tokens, tokens]), softness)
    np.testing.assert_allclose(got, [expected, expected], rtol=1e-4, atol=1e-4)


def test_texts_of_other_lengths_compile_nothing(pair):
    model, _ = pair
    tokens = np.tile(model.encode(QUESTION), (2, 1))
    model.nats(tokens[:, :12])
    with compilations() as said:
        model.nats(tokens[:, :20])
    assert not [line for line in said if "_nats" in line]


def test_a_question_is_predicted(real):
    """0.89 nats and 74% on one such sentence by another code; uniform guesses have 6.14."""
    tokens = real.encode(QUESTION)
    _, z = real.begin([QUESTION[:i] for i in range(len(QUESTION))] + texts()[len(QUESTION) :])
    likeliest = np.asarray(real.head().scores(z)).argmax(axis=1)
    right = likeliest[: len(QUESTION)] == tokens[1:]
    assert real.nats(np.stack([tokens, tokens])).mean() < 1.2
    assert right.mean() > 0.65


def test_latents_of_the_real_model(real):
    """The order of magnitude measured by another code on another text: 5.4, 0.118, 0.87."""
    latents, head = real.latents(200), real.head()
    assert latents.states.dtype == head.sites.dtype == np.float32
    assert head.sites.shape == (465, 356)
    assert len(np.unique(np.asarray(head.sites), axis=0)) == 465
    rows, states = np.asarray(head.sites, np.float64), latents.states.astype(np.float64)
    scores = states @ rows.T + np.asarray(head.offsets)
    np.testing.assert_array_equal(scores.argmax(axis=1), latents.token)
    square, own = (rows**2).sum(axis=1), rows[latents.token]
    norms = np.sqrt(np.maximum(square[latents.token][:, None] + square - 2 * own @ rows.T, 0))
    gaps = scores.max(axis=1, keepdims=True) - scores
    distance = np.where(gaps > 0, gaps / np.maximum(norms, 1e-6), np.inf)
    runner_up = np.argsort(-scores, axis=1)[:, 1] == distance.argmin(axis=1)
    assert 4.8 < np.median(np.linalg.norm(states, axis=1)) < 5.8
    assert 0.03 < np.median(distance.min(axis=1)) < 0.13
    assert 0.80 < runner_up.mean() < 0.95


QUESTIONS = (
    QUESTION,
    "What do you think is the most important thing in your life?",
    "How do you deal with people who never listen to anything you say?",
    "Why do so many people believe that the earth is flat?",
    "Where can I find a good place to live near the sea?",
    "Who was the first person to walk on the moon and why did they go there?",
)


def test_latents_of_questions_lie_as_far_as_another_code_found(real):
    """On 120 latents of such text: medians 5.4 of ‖z‖, 0.118 of δ, 0.021 of δ/‖z‖; within 25%."""
    _, states = real.begin([text[:end] for text in QUESTIONS for end in range(len(text))])
    states = np.asarray(states, np.float64)
    norms, distance = np.linalg.norm(states, axis=1), real.head().nearest_facet(states).distance
    assert len(states) > 300
    found = np.median(norms), np.median(distance), np.median(distance / norms)
    np.testing.assert_allclose(found, [5.4, 0.118, 0.021], rtol=0.25)


def test_latents_are_of_distinct_full_windows(pair):
    model, tensors = pair
    latents = model.latents(20)
    first = english_text().split("\n\n")[latents.group[0]]
    for row in range(3):
        text = first[: WINDOW - 1 + row * STRIDE]
        expected = forward(window_of(text, model, tensors), tensors)
        np.testing.assert_allclose(latents.states[row], expected, rtol=0, atol=TOLERANCE)
    assert len(np.unique(latents.states, axis=0)) == 20
    assert np.all(np.diff(latents.group) >= 0)
    with pytest.raises(ValueError, match=r"expected at most \d+ windows, got 1000000000"):
        model.latents(10**9)


def test_conversion_by_hand():
    """Two read, one hidden: a gate's row of two is its column of two; the biases are summed."""
    kernel = np.arange(8.0).reshape(2, 4)
    layer = LSTM.from_cudnn(*map(jnp.asarray, (kernel, np.arange(4.0)[None], np.arange(8.0))))
    np.testing.assert_array_equal(layer.kernel, kernel)
    np.testing.assert_array_equal(layer.bias, [4, 6, 8, 10])


def test_foreign_characters_and_tokens_are_refused(pair):
    model, _ = pair
    with pytest.raises(ValueError, match="'語' in 'a 語' is none of the"):
        model.begin(["a 語"])
    for none in ([], "text"):
        with pytest.raises(ValueError, match="a list of at least one text"):
            model.begin(none)
    for tokens in ([[1]], [[1, 10**6]], [[1, -1]]):
        with pytest.raises(ValueError, match="rows of at least two tokens from 0 to"):
            model.nats(np.array(tokens))
    with pytest.raises(ValueError, match=r"softness lies in \[0, 1\], got 1.5"):
        model.nats(np.array([[1, 1]]), 1.5)


def test_checkpoints_of_another_shape_are_refused(random_files, tmp_path):
    good, (_, vocabulary) = random_tensors(), random_files
    for name, bad in [
        (TABLE, good[TABLE][:-1]),
        (HEAD, good[HEAD].T),
        ("rnn_2/rnn_2/kernel:0", good["rnn_2/rnn_2/kernel:0"][:-1]),
        ("rnn_1/rnn_1/bias:0", good["rnn_1/rnn_1/bias:0"][:20]),
        ("rnn_1/rnn_1/recurrent_kernel:0", good["rnn_1/rnn_1/recurrent_kernel:0"][0]),
    ]:
        path = save(tmp_path / "bad.hdf5", good | {name: bad})
        with pytest.raises(ValueError, match=rf"{name} has shape \(.*\), expected \(.*\); give"):
            TextGenRNN.from_files(path, vocabulary)
    path = save(tmp_path / "bad.hdf5", {n: t for n, t in good.items() if n != TABLE})
    with pytest.raises(ValueError, match=f"holds no tensor '{TABLE}'"):
        TextGenRNN.from_files(path, vocabulary)
    with pytest.raises(FileNotFoundError):
        TextGenRNN.from_files(tmp_path / "absent.hdf5", vocabulary)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "is no JSON"),
        ("[]", "does not number its symbols"),
        ('{"a": 1, "<s>": 3}', "does not number its symbols"),
        ('{"a": 1, "b": 2}', "has no symbol '<s>'"),
        ('{"a": 1, "<s>": 2}', r"expected \(3, any\)"),
    ],
)
def test_other_vocabularies_are_refused(random_files, tmp_path, text, complaint):
    path = tmp_path / "vocabulary.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=complaint):
        TextGenRNN.from_files(random_files[0], path)
