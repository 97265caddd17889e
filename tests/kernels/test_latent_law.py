"""The fitted law of latents: its bandwidth against a direct search and against a known density."""

import math

import numpy as np
import pytest

from theory.latent_law import fit, log_likelihood
from theory.mixture import Mixture

RNG = np.random.default_rng(4)


def drawn(count: int, width: float = 0.5) -> np.ndarray:
    centres = 3 * np.random.default_rng(0).normal(size=(5, 4))
    return centres[RNG.integers(5, size=count)] + width * RNG.normal(size=(count, 4))


def test_the_likelihood_is_that_of_the_mixture():
    means, others = drawn(40), drawn(30)
    law = fit(means, others)
    assert law.held_out == pytest.approx(float(np.mean(law.mixture.log_density(others))), rel=1e-9)
    square = ((others[:, None] - means) ** 2).sum(axis=2)
    wanted = float(np.mean(Mixture(means, 0.7).log_density(others)))
    assert log_likelihood(square, 4, 0.7) == pytest.approx(wanted, rel=1e-12)


def test_no_other_bandwidth_is_likelier():
    means, others = drawn(60), drawn(200)
    law = fit(means, others)
    for factor in (0.5, 0.8, 0.97, 1.03, 1.25, 2.0):
        other = Mixture(means, factor * law.bandwidth)
        assert float(np.mean(other.log_density(others))) < law.held_out


def test_more_training_latents_fit_better_with_a_smaller_bandwidth():
    others = drawn(500)
    few, many = fit(drawn(20), others), fit(drawn(2000), others)
    assert many.bandwidth < few.bandwidth
    assert many.held_out > few.held_out
    best = float(
        np.mean(Mixture(3 * np.random.default_rng(0).normal(size=(5, 4)), 0.5).log_density(others))
    )
    assert best - 0.5 < many.held_out < best + 3 * 2 / math.sqrt(500)


def test_repeated_latents_are_left_out():
    means, others = drawn(30), drawn(20)
    alone, both = fit(means, others), fit(means, np.concatenate([others, means[:7]]))
    assert (alone.repeated, both.repeated) == (0, 7)
    assert both.bandwidth == alone.bandwidth


def test_far_from_the_origin_it_is_the_same():
    means, others = drawn(30), drawn(20)
    moved = fit(means + 1e6, others + 1e6)
    assert moved.bandwidth == pytest.approx(fit(means, others).bandwidth, rel=1e-3)


MISTAKES = {
    r"training must have shape \(rows, n\), got \(3,\)": (np.ones(3), np.ones((2, 3))),
    r"got \(2, 3\) and \(2, 4\)": (np.eye(3)[:2], np.eye(4)[:2]),
    r"M ≥ 2": (np.ones((1, 3)), np.zeros((2, 3))),
    "held_out must be finite": (np.eye(3), np.full((2, 3), np.nan)),
    "every held-out latent is a training latent": (np.eye(3), np.eye(3)[:2]),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_named(message):
    with pytest.raises(ValueError, match=message):
        fit(*MISTAKES[message])
