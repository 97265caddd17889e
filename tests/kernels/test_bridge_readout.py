"""A head's matrix becomes the diagram it is, or says in one line why it cannot."""

import jax.numpy as jnp
import numpy as np
import pytest

from theory.bridge.readout import check_latents, readout

WEIGHT = np.random.default_rng(0).normal(size=(5, 3))
BIAS = np.arange(5.0)


def message(call, *arguments, **options) -> str:
    with pytest.raises(ValueError, match="expected") as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_labels_are_those_of_the_head(dtype):
    weight, latents = WEIGHT.astype(dtype), np.random.default_rng(1).normal(size=(50, 3))
    diagram = readout(weight, BIAS)
    assert diagram.sites.dtype == diagram.offsets.dtype == jnp.asarray(weight).dtype
    labels = diagram.label(latents.astype(dtype))
    np.testing.assert_array_equal(labels, np.argmax(latents @ WEIGHT.T + BIAS, axis=1))
    assert not np.array_equal(labels, np.argmax(latents @ WEIGHT.T, axis=1))


def test_transpose_and_missing_bias():
    turned, plain = readout(WEIGHT.T, transpose=True), readout(jnp.asarray(WEIGHT))
    np.testing.assert_array_equal(turned.sites, plain.sites)
    np.testing.assert_array_equal(turned.offsets, np.zeros(5))


def test_bias_of_another_length_names_both_shapes():
    said = message(readout, WEIGHT, np.zeros(4))
    assert "(4,)" in said
    assert "(5, 3)" in said
    assert "transpose" not in said
    assert "transpose it (--transpose)" in message(readout, WEIGHT, np.zeros(3))
    assert "drop --transpose" in message(readout, WEIGHT, BIAS, transpose=True)


def test_heads_without_a_boundary_are_refused():
    assert "1 class along its rows" in message(readout, WEIGHT[:1])
    assert "add --transpose" in message(readout, WEIGHT[:1])
    assert "drop --transpose" in message(readout, WEIGHT[:, :1], transpose=True)
    assert "all 4 rows" in message(readout, np.ones((4, 3)), np.arange(4.0))
    assert "all 3 columns" in message(readout, np.ones((4, 3)), transpose=True)
    assert "(3,)" in message(readout, np.ones(3))


def test_latents_must_fit():
    diagram = readout(WEIGHT, BIAS)
    check_latents(diagram, np.zeros((1, 3)))
    for shape in [(0, 3), (3,), (2, 2, 3), (7, 4)]:
        said = message(check_latents, diagram, np.zeros(shape))
        assert str(shape) in said
        assert "(5, 3)" in said
        assert "transpose" not in said
    assert "--transpose" in message(check_latents, diagram, np.zeros((9, 5)))
    assert "save them transposed" in message(check_latents, diagram, np.zeros((3, 9)))
