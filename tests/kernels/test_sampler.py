"""Few-step samplers: exact laws on Gaussian data, limits in K, and what re-noising gets wrong."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.refusals import refusals
from theory.denoiser import ChainDenoiser, GuidedDenoiser, MixtureDenoiser
from theory.language import Language
from theory.markov_chain import MarkovChain
from theory.mixture import Mixture
from theory.sampler import GRIDS, SAMPLERS, generate, plan, roll, times
from theory.terminal import RECTIFIED_FLOW, SCHEDULES, VARIANCE_PRESERVING

GAUSSIAN = MixtureDenoiser(Mixture(jnp.zeros((1, 1)), 1.0))
SHAPE = (65_536, 1, 1)
FAILURE = 1e-10


def gaussian_variance(steps) -> float:
    """Of the results when z_0 ~ N(0, 1) and z_1 ~ N(0, 1): every step is linear."""
    variance = 1.0
    for step in steps:
        variance = step.raised[0] ** 2 * variance + step.raised[1] ** 2
        gain = step.signal / (step.signal**2 + step.noise**2)  # x̂ = gain·z
        factor = step.moved[0] + step.moved[1] * gain
        if step.corrected is not None:
            signal, noise, own, first, second = step.corrected
            factor = own + first * gain + second * signal / (signal**2 + noise**2) * factor
        variance = factor**2 * variance + step.moved[2] ** 2
    return variance


def sampled(steps, shape=SHAPE, denoiser=GAUSSIAN, width=1) -> np.ndarray:
    made = generate(jax.random.key(0), denoiser, steps, shape, width=width)
    return np.concatenate([np.asarray(z) for z in made])


def chance_of_variance(rows: np.ndarray, variance: float) -> float:
    """Two-sided, of N(0, variance) rows."""
    tail = stats.chi2.cdf(np.sum(rows.astype(float) ** 2) / variance, rows.size)
    return 2 * min(tail, 1 - tail)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(
    "schedule",
    [pytest.param(s, marks=() if s is RECTIFIED_FLOW else pytest.mark.slow) for s in SCHEDULES],
    ids=lambda s: s.name.split()[0],
)
def test_gaussian_data_has_the_variance_of_linear_steps(sampler, schedule):
    steps = plan(sampler, schedule, times("uniform", 8), 0.5 if sampler == "churn" else 0.0)
    rows, want = sampled(steps), gaussian_variance(steps)
    assert chance_of_variance(rows, want) > FAILURE
    assert chance_of_variance(rows, 1.1 * want) < FAILURE


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name.split()[0])
def test_as_steps_grow_many_the_variance_is_that_of_the_data_but_for_renoising(schedule):
    """Rate 1/K of exact steps and the SDEs, 1/K² of Heun; the wrong control ends elsewhere."""
    off = {}
    for sampler in SAMPLERS:
        churn = 0.5 if sampler == "churn" else 0.0
        plans = [plan(sampler, schedule, times("uniform", k), churn) for k in (256, 512)]
        off[sampler] = [abs(gaussian_variance(steps) - 1) for steps in plans]
    for sampler in ("exact", "ancestral", "churn"):
        assert off[sampler][1] < 0.02
        assert off[sampler][0] / off[sampler][1] == pytest.approx(2, rel=0.15)
    assert off["heun"][1] < 1e-4
    assert off["renoise"][1] > 0.3
    if schedule is RECTIFIED_FLOW:
        assert 1 - off["renoise"][1] == pytest.approx(0.5, abs=0.02)
    else:  # the flow of data of unit variance stands still, and Euler's slope is 0
        assert off["euler"][1] < 1e-12


@pytest.mark.parametrize("grid", GRIDS)
@given(steps=st.integers(1, 64), start=st.floats(0.05, 1))
def test_grids_fall_from_the_start_to_zero(grid: str, steps: int, start: float):
    found = times(grid, steps, start)
    assert len(found) == steps + 1
    assert found[0] == pytest.approx(start, rel=1e-12)
    assert found[-1] == 0
    assert (np.diff(found) < 0).all()


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name.split()[0])
@given(at=st.floats(0.05, 1), share=st.floats(0, 0.95))
def test_steps_keep_the_marginal_where_the_denoiser_is_right(schedule, at: float, share: float):
    """Of known data x̂ = z_0 every sampler goes from N(αz_0, σ²) to N(α'z_0, σ'²), Euler apart."""
    to = at * share if share > 0.01 else 0.0
    for sampler in ("exact", "churn", "ancestral", "renoise"):
        churn = 0.7 if sampler == "churn" else 0.0
        ends = (at, to) if to == 0 else (at, to, 0.0)
        step = plan(sampler, schedule, ends, churn)[0]
        a, b, c = step.moved
        spread = step.raised[0] ** 2 * schedule.noise(at) ** 2 + step.raised[1] ** 2
        mean = step.raised[0] * schedule.signal(at)
        if sampler == "churn" and at < 1:
            assert mean == pytest.approx(step.signal, abs=1e-9)
            assert spread == pytest.approx(step.noise**2, abs=1e-9)
        assert a * mean + b == pytest.approx(schedule.signal(to), abs=1e-9)
        assert a**2 * spread + c**2 == pytest.approx(schedule.noise(to) ** 2, abs=1e-9)


def test_rates_are_derivatives_of_the_schedules():
    for schedule in SCHEDULES:
        for t in (0.1, 0.5, 0.9):
            for of, rate in zip((schedule.signal, schedule.noise), schedule.rates(t), strict=True):
                assert (of(t + 1e-6) - of(t - 1e-6)) / 2e-6 == pytest.approx(rate, abs=1e-8)


def test_euler_is_the_exact_step_under_rectified_flow_alone():
    for grid in GRIDS:
        same = [plan(name, RECTIFIED_FLOW, times(grid, 5)) for name in ("exact", "euler")]
        other = [plan(name, VARIANCE_PRESERVING, times(grid, 5)) for name in ("exact", "euler")]
        for one, two in zip(*same, strict=True):
            np.testing.assert_allclose(one.moved, two.moved, atol=1e-12)
        assert abs(np.array(other[0][0].moved) - other[1][0].moved).max() > 1e-3


# Two modes on a line: the exact law is known

PAIR = Mixture(jnp.array([[-1.0], [1.0]]), 0.3, jnp.array([0.3, 0.7]))


def law_of_pair(x: np.ndarray) -> np.ndarray:
    return 0.3 * stats.norm.cdf(x, -1, 0.3) + 0.7 * stats.norm.cdf(x, 1, 0.3)


def distance_of_pair(sampler: str, steps: int, churn: float = 0.0) -> float:
    """Kolmogorov's, of 16,384 results."""
    plans = plan(sampler, RECTIFIED_FLOW, times("uniform", steps), churn)
    rows = sampled(plans, (16_384, 1, 1), MixtureDenoiser(PAIR)).ravel()
    return float(stats.kstest(rows, law_of_pair).statistic)


def test_ode_and_sdes_end_at_the_law_and_renoising_does_not():
    critical = float(stats.kstwo.isf(FAILURE, 16_384))
    for sampler, churn in (("exact", 0.0), ("ancestral", 0.0), ("churn", 1.0)):
        few, many = (distance_of_pair(sampler, k, churn) for k in (2, 256))
        assert many < critical + 0.012, sampler  # of the steps' own order 1/K
        assert few > 2 * many, sampler
    assert distance_of_pair("renoise", 256) > 4 * critical


@pytest.mark.slow
def test_the_deterministic_flow_carries_quantiles():
    """On a line the probability flow is monotone: z_0 = F⁻¹(Φ(z_1))."""
    z = jnp.linspace(-2.5, 2.5, 41)[:, None, None]
    steps = plan("heun", RECTIFIED_FLOW, times("uniform", 512))
    got = np.asarray(roll(jax.random.key(0), MixtureDenoiser(PAIR), steps, z)).ravel()
    np.testing.assert_allclose(law_of_pair(got), stats.norm.cdf(np.asarray(z).ravel()), atol=2e-3)


# Denoisers

CHAIN = MarkovChain([0.5, 0.3, 0.2], [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
TABLE = jnp.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])


def test_a_denoiser_without_signal_gives_the_prior_mean():
    z = jnp.ones((2, 4, 2))
    zero, one = jnp.zeros(()), jnp.ones(())
    law = np.asarray(CHAIN.initial)
    got = np.asarray(ChainDenoiser(CHAIN, TABLE)(z, zero, one))
    for place in range(4):
        np.testing.assert_allclose(got[:, place], np.tile(law @ TABLE, (2, 1)), atol=1e-12)
        law = law @ np.asarray(CHAIN.transition)
    mixture = MixtureDenoiser(Mixture(TABLE, 0.1, jnp.array([0.5, 0.3, 0.2])))
    want = np.array([0.5, 0.3, 0.2]) @ np.asarray(TABLE)
    np.testing.assert_allclose(mixture(z, zero, one)[0, 0], want, atol=1e-12)


def test_a_floor_is_the_posterior_at_more_noise():
    z, signal = jax.random.normal(jax.random.key(1), (2, 4, 2)), jnp.asarray(0.8)
    floored = ChainDenoiser(CHAIN, TABLE, 1.5)(z, signal, jnp.asarray(0.1))
    want = ChainDenoiser(CHAIN, TABLE)(z, signal, jnp.asarray(1.2))
    np.testing.assert_allclose(floored, want, atol=1e-12)
    above = ChainDenoiser(CHAIN, TABLE, 0.1)(z, signal, jnp.asarray(1.2))
    np.testing.assert_allclose(above, want, atol=1e-12)


def test_guidance_by_one_is_the_conditional_and_by_zero_the_other():
    other = ChainDenoiser(MarkovChain(CHAIN.initial, np.full((3, 3), 1 / 3)), TABLE)
    own, z = ChainDenoiser(CHAIN, TABLE), jax.random.normal(jax.random.key(2), (2, 4, 2))
    at = jnp.asarray(0.5), jnp.asarray(0.5)
    for weight, want in ((1.0, own), (0.0, other)):
        got = GuidedDenoiser(own, other, weight)(z, *at)
        np.testing.assert_allclose(got, want(z, *at), atol=1e-12)
    twice = 2 * own(z, *at) - other(z, *at)
    np.testing.assert_allclose(GuidedDenoiser(own, other, 2.0)(z, *at), twice, atol=1e-12)


def test_chunks_do_not_change_what_is_made(monkeypatch):
    language = Language(CHAIN, TABLE)
    steps = plan("ancestral", RECTIFIED_FLOW, times("uniform", 3))
    whole = sampled(steps, (40, 4, 2), language.denoiser(), width=3)
    monkeypatch.setattr("theory.sampler.CELLS", 4 * 3 * 16)
    parts = sampled(steps, (40, 4, 2), language.denoiser(), width=3)
    assert whole.shape == parts.shape == (40, 4, 2)
    assert whole.dtype == np.float32
    assert np.isfinite(parts).all()
    assert len(np.unique(parts[:, 0, 0])) == 40  # no chunk repeats another's noise


def test_many_steps_say_the_language():
    """Law of all 3⁴ sequences by χ², exact steps K = 64, and not at K = 2."""
    language = Language(CHAIN, 2 * TABLE)
    digits = 3 ** np.arange(4)[::-1]
    said = np.stack(np.unravel_index(np.arange(81), (3,) * 4), axis=1)
    want = np.exp(language.log_likelihood(said))
    chances = []
    for steps in (2, 64):
        plans = plan("exact", RECTIFIED_FLOW, times("uniform", steps))
        z = sampled(plans, (2000, 4, 2), language.denoiser(), width=3)
        seen = np.bincount(np.asarray(language.read(z)) @ digits, minlength=81)
        chances.append(float(stats.chisquare(seen, 2000 * want).pvalue))
    assert chances[0] < FAILURE
    assert chances[1] > FAILURE


def bad_plan(**changes):
    base = {"sampler": "exact", "schedule": RECTIFIED_FLOW, "at": (1.0, 0.0), "churn": 0.0}
    return lambda: plan(**{**base, **changes})


BAD = {
    "shifted, or 'look T' with K = 2, got 'linear'": lambda: times("linear", 2),
    "got 'look 0.5'": lambda: times("look 0.5", 3),
    "got 'look x'": lambda: times("look x", 2),
    "got 'look 1'": lambda: times("look 1", 2),
    "steps must be an integer ≥ 1, got 0": lambda: times("uniform", 0),
    "start must lie in (0, 1], got nan": lambda: times("uniform", 1, math.nan),
    "sampler must be one of exact, euler": bad_plan(sampler="ddim"),
    "fall from at most 1 to 0, got [0.5, 0.5, 0.0]": bad_plan(at=(0.5, 0.5, 0)),
    "fall from at most 1 to 0, got [1.0, 0.1]": bad_plan(at=(1, 0.1)),
    "fall from at most 1 to 0, got [0.0]": bad_plan(at=(0,)),
    "got -1 of churn": bad_plan(sampler="churn", churn=-1),
    "got 0.5 of heun": bad_plan(sampler="heun", churn=0.5),
    "sequences must be an integer ≥ 1, got 0": lambda: next(
        generate(jax.random.key(0), GAUSSIAN, [], (0, 1, 1), width=1)
    ),
    "embeddings has shape (3, n), got (2, 2)": lambda: ChainDenoiser(CHAIN, TABLE[:2]),
    "floor must be a positive finite number, got -1": lambda: ChainDenoiser(CHAIN, TABLE, -1),
}
test_bad_input_is_named_on_one_line = refusals(BAD)
