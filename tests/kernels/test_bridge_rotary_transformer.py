"""The rotary transformer against a plain NumPy forward, on small random weights from a .gguf.

Tolerances bound the error of every latent relative to its norm: float32 against float64 over two
layers.
"""

import equinox as eqx
import gguf
import jax.numpy as jnp
import numpy as np
import pytest

from tests.rotary_forward import (
    SIZES,
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
from theory.bridge.autoregressive import generate
from theory.bridge.rotary_transformer import RotaryTransformer, turned
from theory.bridge.smollm2 import SmolLM2


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


def test_layers_are_traced_once(model, monkeypatch):
    """Whatever their number: compilation stays short."""
    traced, finish = [], RotaryTransformer._finish

    def counted(self, *arguments):
        traced.append(1)
        return finish(self, *arguments)

    monkeypatch.setattr(RotaryTransformer, "_finish", counted)
    eqx.filter_eval_shape(model.model.forward, jnp.asarray(random_tokens()))
    assert len(traced) == 1 < SIZES["layers"]
