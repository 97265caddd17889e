"""SmolLM2 from files, small ones and the real one: latents of text, and what is refused.

Tolerances bound the error of every latent relative to its norm: float32 against float64 over a few
layers.
"""

import numpy as np
import pytest

from tests.rotary_forward import (
    SIZES,
    TEXT,
    TOKENS,
    TOLERANCE,
    check_generation,
    forward,
    random_tensors,
    random_tokens,
    stored,
    worst,
    write,
)
from theory.bridge import catalog, text_latents
from theory.bridge.formats import read_metadata
from theory.bridge.smollm2 import DROPPED, SmolLM2
from theory.bridge.text_latents import windows
from theory.partition import PowerDiagram


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
    ],
)
def test_files_of_another_kind_are_refused(tmp_path, changed, message):
    path = write(tmp_path / "other.gguf", random_tensors(), **changed)
    with pytest.raises(ValueError, match=message) as refused:
        SmolLM2.from_file(path)
    assert "other.gguf" in str(refused.value)


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
