"""Labels and points that would touch are moved apart."""

import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from figures import marks


def test_labels_are_moved_apart_in_their_order():
    axes = Figure(figsize=(3.5, 3)).subplots()
    axes.set(yscale="log", ylim=(1, 100))
    marks.label_ends(axes, [(10.1, "b", "black"), (10.0, "a", "black"), (50.0, "c", "black")])
    height = {text.get_text(): text.get_position()[1] for text in axes.texts}
    inches = axes.bbox.height / 100
    assert (height["b"] - height["a"]) * inches * 72 == pytest.approx(1.2 * 6.5)
    assert (height["a"] + height["b"]) / 2 == pytest.approx(0.5, abs=2e-3)
    assert height["c"] == pytest.approx(math.log10(50) / 2)


def test_points_at_the_same_place_are_set_about_it():
    found = marks.dodged(np.array([1.0, 2.0, 1.0]), 0.4)
    np.testing.assert_allclose(found, [0.9, 2.0, 1.1])
