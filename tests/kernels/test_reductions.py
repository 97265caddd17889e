"""Reductions against NumPy's, and ties of numbers that are worked out twice."""

import jax.numpy as jnp
import numpy as np
import pytest

from theory.reductions import above, every, first, highest, some


@pytest.mark.parametrize("chosen", [[False] * 3, [False, True, False], [True] * 3], ids=str)
def test_some_and_every_are_any_and_all(chosen: list[bool]):
    flags = jnp.array(chosen)
    assert bool(some(flags)) == any(chosen)
    assert bool(every(flags)) == all(chosen)


def test_the_first_class_of_the_highest_score_is_found():
    scores = np.random.default_rng(0).normal(size=(50, 7))
    scores[:, 5] = scores[:, 2]
    np.testing.assert_array_equal(highest(jnp.asarray(scores)), scores.argmax(axis=1))


def test_the_least_of_the_classes_chosen_is_found():
    chosen = jnp.array([[False, True, True], [True, False, True]])
    np.testing.assert_array_equal(first(chosen, jnp.array([4, 9, 7])), [7, 4])


@pytest.mark.parametrize("least", [-3.0, 0.0, 1e6])
def test_only_what_rounding_parts_ties_with_the_least(least: float):
    """A few units of rounding tie, a millionth does not."""
    size, eps = 1 + abs(least), np.finfo(float).eps
    (limit,) = np.asarray(above(jnp.array([least])))
    assert least + 8 * eps * size < limit < least + 1e-6 * size
