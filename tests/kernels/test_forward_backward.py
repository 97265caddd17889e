"""Exact posteriors of chains against the enumeration of all sequences, in logarithms."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from tests.kernels.test_markov_chain import CHAIN, every_sequence
from tests.refusals import refusals
from theory.forward_backward import gaussian_evidence, posterior_mean, token_posteriors
from theory.markov_chain import MarkovChain, dirichlet_chain

LENGTH = 4
RNG = np.random.default_rng(3)


def enumerated(chain: MarkovChain, evidence: np.ndarray) -> np.ndarray:
    """The posteriors of one sequence by all V^L sequences."""
    length, modes = evidence.shape
    said = every_sequence(modes, length)
    with np.errstate(divide="ignore"):
        logs = np.log(np.asarray(chain.initial))[said[:, 0]]
        logs = logs + np.log(np.asarray(chain.transition))[said[:, :-1], said[:, 1:]].sum(axis=1)
    logs = logs + evidence[np.arange(length), said].sum(axis=1)
    law = np.exp(logs - logsumexp(logs))
    return np.array([np.bincount(said[:, t], law, modes) for t in range(length)])


@settings(max_examples=40)
@given(scale=st.sampled_from([0.1, 3.0, 100.0, 600.0]), seed=st.integers(0, 2**31))
def test_posteriors_are_those_of_all_sequences(scale: float, seed: int):
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet(np.full(3, 0.3), 4)
    chain = MarkovChain(rows[0] / rows[0].sum(), rows[1:] / rows[1:].sum(axis=1, keepdims=True))
    evidence = scale * rng.normal(size=(2, LENGTH, 3))
    got = token_posteriors(chain, evidence)
    want = np.stack([enumerated(chain, one) for one in evidence])
    np.testing.assert_allclose(got, want, atol=1e-9)
    np.testing.assert_allclose(np.sum(got, axis=-1), 1, rtol=1e-12)


def test_without_evidence_they_are_the_marginals():
    law, got = np.asarray(CHAIN.initial), token_posteriors(CHAIN, np.zeros((1, 5, 3)))[0]
    for step in got:
        np.testing.assert_allclose(step, law, rtol=1e-12)
        law = law @ np.asarray(CHAIN.transition)


def test_evidence_may_rule_tokens_out_and_strong_evidence_decides():
    evidence = np.zeros((1, 3, 3))
    evidence[0, 0, [0, 2]] = -np.inf  # the first token is 1, after which 0 is never said
    got = np.asarray(token_posteriors(CHAIN, evidence))[0]
    np.testing.assert_allclose(got[0], [0, 1, 0], atol=1e-15)
    assert got[1, 0] == 0
    wanted = [2, 0, 1]
    evidence = 1e5 * np.eye(3)[wanted][None]
    np.testing.assert_allclose(token_posteriors(CHAIN, evidence)[0], np.eye(3)[wanted], atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_evidence_for_what_is_never_said_has_no_say(dtype: type):
    """From 0 only 1 follows, and so on: e^2000 for other tokens is evidence about none."""
    turn = MarkovChain(np.array([0.5, 0.5, 0.0]), np.roll(np.eye(3), 1, axis=1))
    evidence = np.zeros((1, 3, 3), dtype)
    evidence[0, 1] = [2000, 0, 1]  # 0 is not the second token, as 2 is not the first
    evidence[0, 2] = [0, 2000, 0]  # nor is 1 the third
    want = np.array([[1, math.e, 0], [0, 1, math.e], [math.e, 0, 1]]) / (1 + math.e)
    np.testing.assert_allclose(token_posteriors(turn, evidence)[0], want, rtol=1e-6)


def test_a_constant_of_a_position_changes_nothing():
    evidence = RNG.normal(size=(2, LENGTH, 3))
    moved = evidence + 50 * RNG.normal(size=(2, LENGTH, 1))
    got, want = (token_posteriors(CHAIN, one) for one in (moved, evidence))
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_without_memory_positions_do_not_speak_to_each_other():
    law = np.array([0.2, 0.3, 0.5])
    chain, evidence = MarkovChain(law, np.tile(law, (3, 1))), RNG.normal(size=(1, LENGTH, 3))
    want = law * np.exp(evidence[0])
    got = token_posteriors(chain, evidence)[0]
    np.testing.assert_allclose(got, want / want.sum(axis=1, keepdims=True), rtol=1e-12)


def test_float32_stays_float32_and_close():
    chain = dirichlet_chain(jax.random.key(6), 16, 0.1)
    evidence = 3 * RNG.normal(size=(4, 20, 16))
    got = token_posteriors(chain, evidence.astype(np.float32))
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, token_posteriors(chain, evidence), atol=1e-4)


# Gaussian evidence


def test_gaussian_evidence_is_the_density_up_to_a_constant():
    table, z = RNG.normal(size=(5, 2)), RNG.normal(size=(2, 3, 2))
    got = np.asarray(gaussian_evidence(z, table, 0.7, 0.4))
    want = -np.sum((z[:, :, None] - 0.7 * table) ** 2, axis=-1) / (2 * 0.4**2)
    shift = got - want
    np.testing.assert_allclose(shift, np.broadcast_to(shift[..., :1], shift.shape), atol=1e-10)


def test_the_posterior_mean_is_tweedies():
    """E[αW_y | z] = z + σ²∇log p(z), the gradient by differentiation of the enumerated density."""
    table, signal, noise = RNG.normal(size=(3, 2)), 0.6, 0.8
    said = every_sequence(3, LENGTH)
    prior = np.asarray(CHAIN.log_likelihood(said))
    said, prior = said[np.isfinite(prior)], prior[np.isfinite(prior)]

    def log_density(z: jax.Array) -> jax.Array:
        away = jnp.sum((z - signal * jnp.asarray(table)[said]) ** 2, axis=(1, 2))
        return jax.scipy.special.logsumexp(jnp.asarray(prior) - away / (2 * noise**2))

    z = RNG.normal(size=(LENGTH, 2))
    mean = posterior_mean(CHAIN, table, z[None], signal, noise)[0]
    want = z + noise**2 * jax.grad(log_density)(jnp.asarray(z))
    np.testing.assert_allclose(signal * mean, want, atol=1e-10)


def test_posteriors_of_samples_are_calibrated():
    """Of the chances given to what was said, the mean is that of the chances squared."""
    chain, table = dirichlet_chain(jax.random.key(7), 8, 0.5), RNG.normal(size=(8, 2))
    tokens = np.asarray(chain.sample(jax.random.key(8), 4000, 6))
    z = 0.5 * table[tokens] + 0.5 * RNG.normal(size=(4000, 6, 2))
    law = np.asarray(token_posteriors(chain, gaussian_evidence(z, table, 0.5, 0.5)))
    given = np.take_along_axis(law, tokens[..., None], axis=-1)[..., 0]
    apart = (given - np.sum(law**2, axis=-1)).mean(axis=1)
    assert abs(apart.mean()) < 7 * apart.std() / math.sqrt(len(apart))
    wrong = np.asarray(token_posteriors(chain, gaussian_evidence(z, table, 0.5, 0.4)))
    given = np.take_along_axis(wrong, tokens[..., None], axis=-1)[..., 0]
    apart = (given - np.sum(wrong**2, axis=-1)).mean(axis=1)
    assert abs(apart.mean()) > 7 * apart.std() / math.sqrt(len(apart))


GOOD = np.zeros((1, 2, 3))
TABLE = np.zeros((3, 2))
BAD = {
    "evidence has shape (sequences, length, 3), got (1, 2)": lambda: token_posteriors(
        CHAIN, GOOD[..., 0]
    ),
    "got (0, 2, 3)": lambda: token_posteriors(CHAIN, GOOD[:0]),
    "none may be NaN or +∞": lambda: token_posteriors(CHAIN, GOOD + math.nan),
    "needs a finite log-likelihood": lambda: token_posteriors(CHAIN, GOOD - math.inf),
    "leaves no sequence that the chain says": lambda: token_posteriors(
        CHAIN,  # 0 is never said after 1; beside a sequence that is said
        np.stack([np.where(np.eye(3)[[1, 0]] > 0, 0.0, -np.inf), GOOD[0]]),
    ),
    "expected latents (sequences, length, n) and embeddings (V, n)": lambda: gaussian_evidence(
        GOOD, TABLE, 1.0, 1.0
    ),
    "expected α ≥ 0 and σ > 0, finite, got α = 1.0, σ = 0": lambda: gaussian_evidence(
        GOOD[..., :2], TABLE, 1.0, 0
    ),
    "must be finite, got NaN": lambda: gaussian_evidence(GOOD[..., :2] + math.nan, TABLE, 1.0, 1.0),
}


test_bad_input_is_named_on_one_line = refusals(BAD)
