"""The JAX port against a plain NumPy forward written here, on small random and on the real weights.

Tolerances bound the error of every states relative to its norm: float32 against float64 over a few
layers.
"""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.special import erf

from theory.bridge import catalog
from theory.bridge.minilm import HEADS, PARTS, MiniLM

TOLERANCE = 1e-4  # of the norm; seen: 1e-6 over 2 layers and over 6
N, INNER, DEPTH, CONTEXT, ROWS = 48, 96, 2, 24, 100  # more rows than one part
EPSILON = 1e-12
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = [*MARKS, *"abcdefghijklmnopqrstuvwxyz", "the", "cell", "##s", "wall", "##ed", "."]
TEXT = "The walls, the cells. Walled cells: the wall a cell. " * 9


def random_tensors(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"query": (N, N), "key": (N, N), "value": (N, N), "attended": (N, N)}
    shapes |= {"attended_norm": (N,), "inner": (INNER, N), "outer": (N, INNER), "outer_norm": (N,)}
    tensors = {
        f"encoder.layer.{i}.{PARTS[part]}": shape
        for i in range(DEPTH)
        for part, shape in shapes.items()
    } | {"embeddings.LayerNorm": (N,)}
    drawn = {
        f"embeddings.{name}_embeddings.weight": rng.normal(size=(rows, N))
        for name, rows in [("word", len(WORDS)), ("position", CONTEXT), ("token_type", 2)]
    }
    for name, shape in tensors.items():
        scale = rng.uniform(0.5, 2.0, shape) if len(shape) == 1 else rng.normal(size=shape) / 7
        drawn[f"{name}.weight"] = scale
        drawn[f"{name}.bias"] = rng.normal(0, 0.3, shape[0])
    return {name: tensor.astype(np.float32) for name, tensor in drawn.items()}


def write_tokenizer(path, words=WORDS):
    """A tokenizer.json of word pieces that pads and cuts, as the real one does."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    marks = [(mark, vocabulary[mark]) for mark in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=marks
    )
    tokenizer.add_special_tokens(MARKS)
    tokenizer.enable_padding(length=8)
    tokenizer.enable_truncation(8)
    tokenizer.save(str(path))
    return path


@pytest.fixture(scope="module")
def tokenizer_path(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("minilm") / "tokenizer.json")


@pytest.fixture(scope="module")
def pair(tmp_path_factory, tokenizer_path):
    """A port of small random weights, and the tensors it was read from."""
    path, tensors = tmp_path_factory.mktemp("minilm") / "random.safetensors", random_tensors()
    ids = {"embeddings.position_ids": np.arange(CONTEXT)[None]}  # integers, as in the real file
    save_file(tensors | ids, path)
    return MiniLM.from_files(path, tokenizer_path), tensors


@pytest.fixture(scope="module")
def model(pair):
    return pair[0]


@pytest.fixture(scope="module")
def real_paths():
    try:
        return catalog.locate("minilm"), catalog.locate("minilm-tokenizer")
    except catalog.WeightsUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def real(real_paths):
    return MiniLM.from_files(*real_paths)


def normed(x, tensors, name):
    mean, variance = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    return (x - mean) / np.sqrt(variance + EPSILON) * weight + bias


def affine(x, tensors, name):
    return x @ tensors[f"{name}.weight"].T.astype(np.float64) + tensors[f"{name}.bias"]


def attention(x, tensors, base):
    """Head by head."""
    q, k, v = (affine(x, tensors, f"{base}.attention.self.{n}") for n in ("query", "key", "value"))
    d, out = x.shape[-1] // HEADS, []
    for i in range(0, x.shape[-1], d):
        mine = slice(i, i + d)
        weight = np.exp(q[..., mine] @ k[..., mine].swapaxes(1, 2) / np.sqrt(d))
        out.append(weight / weight.sum(axis=-1, keepdims=True) @ v[..., mine])
    return affine(np.concatenate(out, axis=-1), tensors, f"{base}.attention.output.dense")


def feed_forward(x, tensors, base, mistake):
    x = affine(x, tensors, f"{base}.intermediate.dense")
    if mistake == "gelu of tanh":
        gate = (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2
    else:
        gate = (1 + erf(x / np.sqrt(2))) / 2
    return affine(x * gate, tensors, f"{base}.output.dense")


def forward(tokens, tensors, depth, mistake=None):
    """States of texts of one length after `depth` layers, in float64."""
    h = tensors["embeddings.word_embeddings.weight"][tokens].astype(np.float64)
    h = h + tensors["embeddings.position_embeddings.weight"][: tokens.shape[1]]
    if mistake != "no kind of sentence":
        h = h + tensors["embeddings.token_type_embeddings.weight"][0]
    h = normed(h, tensors, "embeddings.LayerNorm")
    for i in range(depth):
        base = f"encoder.layer.{i}"
        one, two = f"{base}.attention.output.LayerNorm", f"{base}.output.LayerNorm"
        if mistake == "norms before":
            h = h + attention(normed(h, tensors, one), tensors, base)
            h = h + feed_forward(normed(h, tensors, two), tensors, base, mistake)
        else:
            h = normed(h + attention(h, tensors, base), tensors, one)
            h = normed(h + feed_forward(h, tensors, base, mistake), tensors, two)
    return h


def random_tokens(rows=ROWS, length=22, size=None):
    drawn = np.random.default_rng(0).integers(0, size or len(WORDS), (rows, length))
    return drawn.astype(np.int32)


def worst(found, expected):
    """The largest error of a row, relative to the row's norm."""
    error = np.linalg.norm(found - expected, axis=-1)
    return (error / np.linalg.norm(expected, axis=-1)).max()


@pytest.mark.parametrize("layer", [0, None])
def test_port_equals_a_plain_forward(pair, layer):
    port, tensors = pair
    tokens = random_tokens()
    states = port.hidden(tokens, layer=layer)
    assert states.dtype == np.float32
    expected = forward(tokens, tensors, DEPTH if layer is None else layer)
    assert worst(states, expected) < TOLERANCE
    np.testing.assert_array_equal(port.table, tensors["embeddings.word_embeddings.weight"])


@pytest.mark.parametrize("mistake", ["norms before", "gelu of tanh", "no kind of sentence"])
def test_a_nearly_right_encoder_is_rejected(pair, mistake):
    port, tensors = pair
    tokens = random_tokens()
    wrong = forward(tokens, tensors, DEPTH, mistake)
    factor = 1 if mistake == "gelu of tanh" else 100  # the two differ by 5e-4 at most
    assert worst(port.hidden(tokens), wrong) > factor * TOLERANCE


def test_latents_of_text(model):
    found = model.latents(50, window=22, text=TEXT)
    whole = model.encode(TEXT)
    assert len(whole) > 100  # neither padded nor cut
    first, last = whole[0], whole[-1]
    tokens = np.array([[first, *whole[1 + 20 * k : 21 + 20 * k], last] for k in range(3)])
    states = model.hidden(tokens.astype(np.int32))
    np.testing.assert_array_equal(found.group, np.arange(50) // 20)
    np.testing.assert_array_equal(found.position, np.arange(50) % 20 + 1)
    np.testing.assert_array_equal(found.read, tokens[found.group, found.position])
    np.testing.assert_array_equal(found.states, states[found.group, found.position])
    np.testing.assert_array_equal(found.token, model.head().label(found.states))
    assert found.states.shape == (50, N)
    embedded = model.latents(50, layer=0, window=22, text=TEXT)
    assert np.mean(embedded.read == embedded.token) > np.mean(found.read == found.token)


PIECES = ["[CLS]", "the", "wall", "##ed", "cell", "##s", ".", "[SEP]"]


def test_tokens_give_the_text_back(model):
    tokens = model.encode("The walled cells.")
    assert [WORDS[i] for i in tokens] == PIECES
    assert model.decode(tokens).replace(" ##", "") == "the walled cells ."


def test_wrong_arguments_are_refused(model):
    for bad in (-1, len(WORDS)):
        with pytest.raises(ValueError, match=rf"tokens lie in \[0, {len(WORDS)}\), got .*{bad}"):
            model.hidden(np.array([[0, bad]], np.int32))
    with pytest.raises(ValueError, match=rf"length from 1 to {CONTEXT}, got \(1, {CONTEXT + 1}\)"):
        model.hidden(random_tokens(1, CONTEXT + 1))
    for layer in (-1, DEPTH + 1):
        with pytest.raises(ValueError, match=rf"layer lies in \[0, {DEPTH}\], got {layer}"):
            model.hidden(random_tokens(), layer=layer)
    with pytest.raises(ValueError, match="window must be an integer ≥ 3, got 2"):
        model.latents(1, window=2, text=TEXT)
    with pytest.raises(ValueError, match="in windows of 20, got count 9999"):
        model.latents(9999, window=22, text=TEXT)


def test_files_of_another_shape_are_refused(tmp_path, tokenizer_path):
    good, path = random_tensors(), tmp_path / "bad.safetensors"
    for part, name in [("query", "weight"), ("outer", "weight"), ("attended_norm", "bias")]:
        key = f"encoder.layer.1.{PARTS[part]}.{name}"
        save_file(good | {key: np.ascontiguousarray(good[key][:-1])}, path)
        shape = str(good[key][:-1].shape).replace("(", r"\(").replace(")", r"\)")
        with pytest.raises(ValueError, match=f"bad.safetensors:{key} has shape {shape}, expected"):
            MiniLM.from_files(path, tokenizer_path)
    for missing in ("embeddings.word_embeddings.weight", "encoder.layer.0.output.dense.weight"):
        save_file({name: tensor for name, tensor in good.items() if name != missing}, path)
        with pytest.raises(ValueError, match=f"holds no tensor '{missing}'"):
            MiniLM.from_files(path, tokenizer_path)
    narrow = {"embeddings.word_embeddings.weight": np.ones((len(WORDS), 40), np.float32)}
    save_file(good | narrow, path)
    with pytest.raises(ValueError, match="12 heads do not divide dimension 40"):
        MiniLM.from_files(path, tokenizer_path)
    with pytest.raises(FileNotFoundError):
        MiniLM.from_files(tmp_path / "absent.safetensors", tokenizer_path)


def test_another_tokenizer_is_refused(tmp_path):
    path, weights = tmp_path / "tokenizer.json", tmp_path / "random.safetensors"
    save_file(random_tensors(), weights)
    write_tokenizer(path, WORDS[:-1])
    with pytest.raises(ValueError, match=f"{len(WORDS) - 1} tokens, the encoder {len(WORDS)}"):
        MiniLM.from_files(weights, path)
    for content in (json.dumps({"version": "1.0"}).encode(), b"\xff"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"is not a readable tokenizer\.json"):
            MiniLM.from_files(weights, path)
    with pytest.raises(FileNotFoundError):
        MiniLM.from_files(weights, tmp_path / "absent.json")


@pytest.mark.slow
def test_the_real_port_equals_a_plain_forward(real, real_paths):
    from safetensors.numpy import load_file

    tensors, tokens = load_file(real_paths[0]), random_tokens(100, 12, 30522)
    assert real.depth == 6
    for layer in (0, 6):
        states = real.hidden(tokens, layer=layer)
        assert worst(states, forward(tokens, tensors, layer)) < TOLERANCE
    assert worst(states[:1], forward(tokens[:1], tensors, 6, "norms before")) > 100 * TOLERANCE


@pytest.mark.slow
def test_the_real_encoder_knows_paraphrases(real):
    def meaning(sentence):
        mean = real.hidden(real.encode(sentence)[None])[0].mean(axis=0)
        return mean / np.linalg.norm(mean)

    guitar, also_guitar, market = map(
        meaning,
        [
            "A man is playing a guitar.",
            "Someone plays an acoustic guitar.",
            "The stock market fell sharply on Tuesday.",
        ],
    )
    assert guitar @ also_guitar > 0.7
    assert abs(guitar @ market) < 0.15


@pytest.mark.slow
def test_latents_of_the_real_encoder(real):
    """Against numbers measured once, by another code, on another text: 3.0, 0.053, 0.91, 67%."""
    latents, head = real.latents(300), real.head()
    assert head.sites.shape == (30522, 384)
    assert len(np.unique(head.groups())) == 30522
    facet = head.nearest_facet(latents.states)
    np.testing.assert_array_equal(facet.label, latents.token)
    assert 2.3 < np.median(np.linalg.norm(latents.states, axis=1)) < 3.5
    assert 0.03 < np.median(facet.distance) < 0.08
    assert 0.3 < np.mean(latents.read == latents.token) < 0.8
    embedded = real.latents(300, layer=0)
    assert 9.5 < np.median(np.linalg.norm(embedded.states, axis=1)) < 12
    assert np.mean(embedded.read == embedded.token) > 0.99
