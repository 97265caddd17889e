"""The JAX port against a plain NumPy forward written here, on small random and on the real weights.

Tolerances bound the error of every latents relative to its norm: float32 against float64 over a few
layers.
"""

import equinox as eqx
import gguf
import jax.numpy as jnp
import numpy as np
import pytest

from theory.bridge import catalog, text_latents
from theory.bridge.autoregressive import generate
from theory.bridge.byte_pairs import BytePairs
from theory.bridge.formats import read_metadata
from theory.bridge.rotary_transformer import RotaryTransformer, turned
from theory.bridge.smollm2 import DROPPED, SmolLM2
from theory.bridge.text_latents import windows
from theory.partition import PowerDiagram

TOLERANCE = 1e-4  # of the norm; seen: 2e-6 over 2 layers, 2e-5 over 30
SIZES = {"layers": 2, "n": 32, "inner": 64, "heads": 4, "groups": 2, "context": 64}
ROWS = 100  # more than one part of them
BASE, EPSILON = 1e5, 1e-5
MERGES = ["t h", "Ġ th", "Ġth e", "e r", "i n", "in g"]
TEXT = "The answer: 2048 naïve cells,\n\n  isn't 北 the <|im_end|> thing\t…" * 9


def alphabet():
    """The 256 symbols of byte-level encoding, in order of bytes."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = iter(range(256, 512))
    return [chr(byte) if byte in shown else chr(next(hidden)) for byte in range(256)]


TOKENS = ["<|im_end|>", *alphabet(), *(merge.replace(" ", "") for merge in MERGES)]


def random_tensors(seed=0):
    rng, z = np.random.default_rng(seed), SIZES
    shared = z["n"] // z["heads"] * z["groups"]
    shapes = {"token_embd": (len(TOKENS), z["n"]), "output_norm": (z["n"],)}
    for i in range(z["layers"]):
        shapes |= {f"blk.{i}.{name}_norm": (z["n"],) for name in ("attn", "ffn")}
        shapes |= {f"blk.{i}.attn_{name}": (z["n"], z["n"]) for name in ("q", "output")}
        shapes |= {f"blk.{i}.attn_{name}": (shared, z["n"]) for name in "kv"}
        shapes |= {f"blk.{i}.ffn_{name}": (z["inner"], z["n"]) for name in ("gate", "up")}
        shapes |= {f"blk.{i}.ffn_down": (z["n"], z["inner"])}
    return {
        f"{name}.weight": rng.normal(0, shape[-1] ** -0.5, shape).astype(np.float32)
        if len(shape) == 2
        else rng.uniform(0.5, 2.0, shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def write(path, tensors, *, kind=None, architecture="llama", **changed):
    """A .gguf with the names of the real one; matrices quantized when a kind is given."""
    writer = gguf.GGUFWriter(path, architecture)
    sizes = SIZES | changed
    writer.add_block_count(sizes["layers"])
    writer.add_embedding_length(sizes["n"])
    writer.add_feed_forward_length(sizes["inner"])
    writer.add_head_count(sizes["heads"])
    writer.add_head_count_kv(sizes["groups"])
    writer.add_context_length(sizes["context"])
    writer.add_rope_freq_base(BASE)
    writer.add_rope_dimension_count(sizes.get("turned", sizes["n"] // sizes["heads"]))
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_tokenizer_model(sizes.get("tokenizer", "gpt2"))
    writer.add_tokenizer_pre(sizes.get("pre", "smollm"))
    writer.add_token_list(sizes.get("tokens", TOKENS))
    writer.add_token_merges(sizes.get("merges", MERGES))
    for name, tensor in tensors.items():
        if kind is not None and tensor.ndim == 2:
            packed = gguf.quants.quantize(tensor, kind)
            writer.add_tensor(name, packed, raw_dtype=kind)
        else:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def stored(path):
    """What the file holds, by the package's own reader."""
    return {
        t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(path).tensors
    }


@pytest.fixture(scope="module", params=[None, gguf.GGMLQuantizationType.Q8_0], ids=["F32", "Q8_0"])
def pair(request, tmp_path_factory):
    """A port of small random weights, and the tensors it was read from."""
    path = tmp_path_factory.mktemp("smollm2") / "random.gguf"
    write(path, random_tensors(), kind=request.param)
    return SmolLM2.from_file(path), stored(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = write(tmp_path_factory.mktemp("smollm2") / "random.gguf", random_tensors(1))
    return SmolLM2.from_file(path)


@pytest.fixture(scope="module")
def real_path():
    try:
        return catalog.locate("smollm2")
    except catalog.WeightsUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def real(real_path):
    return SmolLM2.from_file(real_path)


def rms(h, weight):
    return h / np.sqrt(np.mean(h**2, axis=-1, keepdims=True) + EPSILON) * weight


def rotate(x, halves):
    """Positions turned by their index: as complex numbers of neighbouring pairs, or of halves."""
    length, d = x.shape[-2:]
    turn = np.exp(1j * np.arange(length)[:, None] * BASE ** (-2 * np.arange(d // 2) / d))
    if halves:
        out = (x[..., : d // 2] + 1j * x[..., d // 2 :]) * turn
        return np.concatenate([out.real, out.imag], axis=-1)
    out = (x[..., ::2] + 1j * x[..., 1::2]) * turn
    return np.stack([out.real, out.imag], axis=-1).reshape(x.shape)


def attention(q, k, v, heads, groups, mistake):
    """Head by head; query head i reads the keys of group i // (heads / groups)."""
    length, d, out = q.shape[1], q.shape[2] // heads, []
    allowed = np.tril(np.ones((length, length), bool))
    for i in range(heads):
        j = i % groups if mistake == "heads of a group apart" else i * groups // heads
        mine = rotate(q[..., i * d : (i + 1) * d], mistake == "rotation of halves")
        theirs = rotate(k[..., j * d : (j + 1) * d], mistake == "rotation of halves")
        scores = mine @ theirs.swapaxes(1, 2) / np.sqrt(d)
        weight = np.exp(np.where(allowed, scores, -np.inf))
        out.append(weight / weight.sum(axis=-1, keepdims=True) @ v[..., j * d : (j + 1) * d])
    return np.concatenate(out, axis=-1)


def forward(tokens, tensors, heads=SIZES["heads"], groups=SIZES["groups"], mistake=None):
    """Latents of texts of one length in float64, layer by layer."""
    h = tensors["token_embd.weight"][tokens].astype(np.float64)
    for i in range(sum(name.endswith("attn_q.weight") for name in tensors)):
        names = [name for name in tensors if name.startswith(f"blk.{i}.")]
        own = {name.split(".")[2]: tensors[name].astype(np.float64) for name in names}
        x = rms(h, own["attn_norm"])
        q, k, v = (x @ own[f"attn_{name}"].T for name in "qkv")
        h = h + attention(q, k, v, heads, groups, mistake) @ own["attn_output"].T
        x = rms(h, own["ffn_norm"])
        gate = x @ own["ffn_gate"].T
        h = h + (gate / (1 + np.exp(-gate)) * (x @ own["ffn_up"].T)) @ own["ffn_down"].T
    return h if mistake == "no last norm" else rms(h, tensors["output_norm.weight"])


def random_tokens(rows=ROWS, length=12, size=None):
    drawn = np.random.default_rng(0).integers(0, size or len(TOKENS), (rows, length))
    return drawn.astype(np.int32)


def worst(found, expected):
    """The largest error of a row, relative to the row's norm."""
    error = np.linalg.norm(found - expected, axis=-1)
    return (error / np.linalg.norm(expected, axis=-1)).max()


def test_port_equals_a_plain_forward(pair):
    port, tensors = pair
    tokens = random_tokens()
    latents = port.hidden(tokens)
    assert latents.dtype == np.float32
    assert worst(latents, forward(tokens, tensors)) < TOLERANCE
    np.testing.assert_array_equal(port.table, tensors["token_embd.weight"])


@pytest.mark.parametrize(
    "mistake", ["rotation of halves", "no last norm", "heads of a group apart"]
)
def test_a_nearly_right_model_is_rejected(pair, mistake):
    port, tensors = pair
    tokens = random_tokens()
    wrong = forward(tokens, tensors, mistake=mistake)
    assert worst(port.hidden(tokens), wrong) > 100 * TOLERANCE


def test_a_product_of_turned_vectors_depends_on_their_distance():
    """⟨R_s q, R_t k⟩ is the same wherever s − t is."""
    angle = np.arange(20)[:, None] * np.array([1.0, 0.1])
    q, k = np.random.default_rng(0).normal(size=(2, 1, 1, 1, 4)).repeat(20, axis=2)
    turns = jnp.cos(jnp.asarray(angle)), jnp.sin(jnp.asarray(angle))
    one, two = (np.asarray(turned(jnp.asarray(x), *turns)) for x in (q, k))
    products = one[0, :, 0] @ two[0, :, 0].T
    for gap in range(-19, 20):
        along = np.diagonal(products, gap)
        np.testing.assert_allclose(along, along[0], rtol=0, atol=1e-12)
    assert np.ptp(products[0]) > 0.1


def test_a_later_token_changes_nothing_before(model):
    tokens = random_tokens()
    other = tokens.copy()
    other[:, 7] = (other[:, 7] + 1) % len(TOKENS)
    one, two = model.hidden(tokens), model.hidden(other)
    np.testing.assert_array_equal(one[:, :7], two[:, :7])
    assert (np.abs(one[:, 7:] - two[:, 7:]).max(axis=2) > 1e-3).all()


def test_losses_are_those_of_the_readout(model):
    tokens = random_tokens()
    scores = np.asarray(model.hidden(tokens)[:, :-1] @ np.asarray(model.table).T, np.float64)
    chosen = np.take_along_axis(scores, tokens[:, 1:, None], axis=2)[..., 0]
    expected = np.log(np.exp(scores).sum(axis=2)) - chosen
    np.testing.assert_allclose(model.nats(tokens), expected, rtol=TOLERANCE, atol=TOLERANCE)


def check_generation(port, prompts, steps):
    """Greedy tokens, whose rows are fed back through the cache: the latents of the whole text."""
    advance, table = eqx.filter_jit(port.advance), np.asarray(port.table)
    context, z = port.begin(prompts, prompts.shape[1] + steps)
    text, latents = prompts, [z]
    for _ in range(steps):
        token = np.argmax(latents[-1] @ table.T, axis=1)
        text = np.column_stack([text, token])
        context, z = advance(context, z, port.table[token])
        latents.append(z)
    expected = port.hidden(text)[:, prompts.shape[1] - 1 :]
    assert worst(np.stack(latents, axis=1), expected) < TOLERANCE
    np.testing.assert_array_equal(context.length, text.shape[1])
    return text


def test_the_cache_equals_the_full_forward(model):
    text = check_generation(model, random_tokens(5, 6), 8)
    assert not np.array_equal(text[0, 6:], text[1, 6:])
    written = generate(model, *model.begin(text[:, :6], 14), 8)
    np.testing.assert_array_equal(written.tokens, text[:, 6:])


def test_what_is_fed_back_need_be_no_token_and_must_find_room(model):
    advance = eqx.filter_jit(model.advance)
    context, z = model.begin(random_tokens(5, 6), 14)
    one, two = model.table[:5], model.table[5:10]
    latents = [advance(context, z, fed)[1] for fed in (one, (one + two) / 2, two)]
    assert worst(np.asarray(latents[1]), np.asarray(latents[0])) > 0.01
    assert worst(np.asarray(latents[1]), np.asarray(latents[2])) > 0.01
    last = context._replace(length=context.length.at[2].set(13))
    last, z = advance(last, z, one)
    assert np.isfinite(z).all()
    missing = np.isnan(advance(last, z, one)[1]).all(axis=1)
    assert missing.tolist() == [False, False, True, False, False]


def test_latents_of_text(model, monkeypatch):
    # What decides labels has its own tests, and takes long to compile.
    monkeypatch.setattr(PowerDiagram, "label", lambda self, z: np.argmax(z @ self.sites.T, axis=1))
    found = model.latents(45, window=14, text=TEXT)
    tokens = model.encode(TEXT)[:70].reshape(5, 14)
    assert found.states.shape == (45, SIZES["n"])
    np.testing.assert_array_equal(found.group, np.arange(45) // 10)
    np.testing.assert_array_equal(found.position, np.arange(45) % 10 + DROPPED)
    np.testing.assert_array_equal(found.read, tokens[found.group, found.position])
    np.testing.assert_array_equal(found.states, model.hidden(tokens)[found.group, found.position])
    np.testing.assert_array_equal(found.token, np.argmax(found.states @ model.table.T, axis=1))
    monkeypatch.setattr(text_latents, "english_text", lambda: TEXT)
    more = model.latents(50, window=14)
    np.testing.assert_array_equal(more.states[:45], found.states)


def test_windows_of_too_short_a_text_are_refused():
    tokens = np.arange(47, dtype=np.int32)
    np.testing.assert_array_equal(windows(tokens, 24, 16, 4), tokens[:32].reshape(2, 16))
    np.testing.assert_array_equal(windows(tokens, 12, 16, 4), tokens[:16].reshape(1, 16))
    with pytest.raises(ValueError, match="47 tokens, which give 24 latents in windows of 16, got"):
        windows(tokens, 25, 16, 4)
    with pytest.raises(ValueError, match="window must be an integer ≥ 5, got 4"):
        windows(tokens, 1, 4, 4)
    with pytest.raises(ValueError, match="count must be an integer ≥ 1, got 0"):
        windows(tokens, 0, 16)


def test_tokens_give_the_text_back(model):
    for text in (TEXT, "", " a", "\x00\x7f", "🙂"):
        tokens = model.encode(text)
        assert model.decode(tokens) == text
        assert 0 not in tokens  # a control token, however it is spelled
    assert [TOKENS[i] for i in model.encode("in the 42")] == ["in", "Ġthe", "Ġ", "4", "2"]
    with pytest.raises(ValueError, match=rf"tokens lie in \[0, {len(TOKENS)}\)"):
        model.decode([len(TOKENS)])


def test_wrong_tokens_are_refused(model):
    for bad in (-1, len(TOKENS)):
        with pytest.raises(ValueError, match=rf"tokens lie in \[0, {len(TOKENS)}\), got .*{bad}"):
            model.hidden(np.array([[0, bad]], np.int32))
    with pytest.raises(ValueError, match=r"length from 1 to 64, got \(1, 65\)"):
        model.hidden(random_tokens(1, 65))
    with pytest.raises(ValueError, match=r"got \(1, 0\)"):
        model.nats(random_tokens(1, 0))
    with pytest.raises(ValueError, match="capacity must be an integer ≥ 6, got 5"):
        model.begin(random_tokens(1, 6), 5)
    with pytest.raises(ValueError, match="capacity is 65, the model's context 64"):
        model.begin(random_tokens(1, 6), 65)


def test_files_of_another_shape_are_refused(tmp_path):
    good, path = random_tensors(), tmp_path / "bad.gguf"
    for name, bad in [
        ("token_embd.weight", good["token_embd.weight"][:-1]),
        ("blk.1.attn_k.weight", good["blk.1.attn_q.weight"]),
        ("output_norm.weight", good["output_norm.weight"][:-1]),
    ]:
        shapes = f"{bad.shape}, expected {good[name].shape}".replace("(", r"\(").replace(")", r"\)")
        with pytest.raises(ValueError, match=f"bad.gguf:{name} has shape {shapes}; give SmolLM2"):
            SmolLM2.from_file(write(path, good | {name: bad}))
    lacking = {name: tensor for name, tensor in good.items() if "1.ffn_up" not in name}
    with pytest.raises(ValueError, match=r"holds no tensor 'blk\.1\.ffn_up\.weight'"):
        SmolLM2.from_file(write(path, lacking))
    with pytest.raises(ValueError, match=r"a readout 'output\.weight' beside its table"):
        SmolLM2.from_file(write(path, good | {"output.weight": good["token_embd.weight"]}))
    with pytest.raises(FileNotFoundError):
        SmolLM2.from_file(tmp_path / "absent.gguf")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"architecture": "qwen2"}, "architecture 'qwen2', expected 'llama'"),
        ({"groups": 3}, "4 heads over 3 keys in dimension 32"),
        ({"layers": 0}, "llama.block_count must be an integer ≥ 1, got 0"),
        ({"turned": 4}, "turn 4 of 8 coordinates"),
        ({"tokenizer": "llama"}, "tokenizer.ggml.model is 'llama', expected 'gpt2'"),
        ({"pre": "qwen2"}, "tokenizer.ggml.pre is 'qwen2', expected 'smollm'"),
        ({"merges": ["th"]}, "has 'th', expected two parts"),
        ({"merges": ["q z"]}, "merges do not fit its tokens"),
        ({"tokens": [*TOKENS[:-1], "a"]}, "tokens has 1 repeated entries"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path, changed, message):
    path = write(tmp_path / "other.gguf", random_tensors(), **changed)
    with pytest.raises(ValueError, match=message) as refused:
        SmolLM2.from_file(path)
    assert "other.gguf" in str(refused.value)


def test_a_file_without_a_tokenizer_is_refused():
    with pytest.raises(
        ValueError, match=r"a\.gguf: tokenizer\.ggml\.model is None, expected 'gpt2'"
    ):
        BytePairs({}, "a.gguf")
    kind = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm"}
    for tokens in (None, [], [1, 2]):
        with pytest.raises(ValueError, match=r"a\.gguf: no list of strings 'tokenizer\.ggml\.tok"):
            BytePairs(kind | {"tokenizer.ggml.tokens": tokens}, "a.gguf")


def test_layers_are_traced_once(model, monkeypatch):
    """Whatever their number: compilation stays short."""
    traced, finish = [], RotaryTransformer._finish

    def counted(self, *arguments):
        traced.append(1)
        return finish(self, *arguments)

    monkeypatch.setattr(RotaryTransformer, "_finish", counted)
    eqx.filter_eval_shape(model.model.forward, jnp.asarray(random_tokens()))
    assert len(traced) == 1 < SIZES["layers"]


@pytest.mark.slow
def test_the_real_port_equals_a_plain_forward(real, real_path):
    assert read_metadata(real_path)["llama.block_count"] == 30
    tensors = stored(real_path)
    tokens = random_tokens(100, 6, size=49152)
    latents = real.hidden(tokens)
    assert worst(latents, forward(tokens, tensors, 9, 3)) < TOLERANCE
    wrong = forward(tokens[:1], tensors, 9, 3, "rotation of halves")
    assert worst(latents[:1], wrong) > 100 * TOLERANCE


@pytest.mark.slow
def test_the_real_model_knows_its_capital(real):
    prompt = real.encode("The capital of France is")
    text = check_generation(real, prompt[None], 4)
    assert real.decode(text[0]).startswith("The capital of France is Paris")
    opening = real.encode("In the beginning God created the heaven and the earth")
    assert real.nats(opening[None])[0, -1] < 1


@pytest.mark.slow
def test_latents_of_the_real_model(real):
    """Against numbers measured once, by another code, on another text: 54.0, 0.286, 0.81."""
    latents, head = real.latents(300), real.head()
    assert head.sites.shape == (49152, 576)
    assert head.modes - len(np.unique(head.groups())) == 11
    assert latents.states.dtype == np.float32
    facet = head.nearest_facet(latents.states)
    np.testing.assert_array_equal(facet.label, latents.token)
    norm = np.linalg.norm(latents.states, axis=1)
    runner_up = np.argsort(-np.asarray(head.scores(latents.states)), axis=1)[:, 1]
    assert 45 < np.median(norm) < 60
    assert 0.15 < np.median(facet.distance) < 0.6
    assert 0.65 < np.mean(runner_up == np.asarray(facet.neighbour)) < 0.95
    read = real.encode(text_latents.running_text(None))[:252].reshape(1, -1)
    assert np.exp(real.nats(read).mean()) < 60
