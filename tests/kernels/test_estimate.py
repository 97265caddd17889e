"""Estimates: intervals against scipy, means, ratios, proportions and weighted power-law fits."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.refusals import refusals
from tests.significance import check_mean, check_rejects, check_slope
from tests.strategies import reals, scales
from theory.estimate import (
    Estimate,
    fit_offset_power_law,
    fit_power_law,
    from_samples,
    proportion,
    proportion_interval,
    quotient,
    ratio_of_means,
)

X = 2.0 ** np.arange(6)


def power_law(exponent: float, noise: float = 0.0, seed: int = 0, bias: float = 0.0) -> Estimate:
    """3·x^b with relative errors that differ between the points."""
    truth, relative = 3 * X**exponent, 0.01 * np.arange(1, 7)
    draws = np.random.default_rng(seed).normal(size=6)
    return Estimate(truth * (1 + noise * relative * draws), truth * relative, bias * truth, 1000)


def test_interval_is_students_with_bias_and_rounding():
    got = Estimate(2.0, 0.1, 0.05, 11).interval(0.01)
    half = 0.1 * stats.t.ppf(0.995, 10) + 0.05 + 2e-12
    assert got.lower == pytest.approx(2 - half, rel=1e-12)
    assert got.upper == pytest.approx(2 + half, rel=1e-12)


def test_an_exact_number_has_an_interval_of_rounding():
    got = Estimate(5.0).interval()
    assert 0 < got.upper - got.lower < 2e-11
    assert got.contains(5.0)
    assert not got.contains(5.0 + 1e-9)


def test_intervals_are_entrywise():
    got = Estimate(np.array([1.0, 2.0]), np.array([0.0, 0.1]), 0.0, 100).interval(1e-3)
    np.testing.assert_array_equal(got.contains(np.array([1.0, 2.3])), [True, True])
    np.testing.assert_array_equal(got.contains(np.array([1.1, 2.5])), [False, False])


@given(values=reals((12,), 5.0), factor=scales(2.0), sign=st.sampled_from([-1.0, 1.0]))
def test_scaled_estimates_the_scaled_truth(values: np.ndarray, factor: float, sign: float):
    direct = from_samples(sign * factor * values, bias=factor * 0.3)
    got = from_samples(values, bias=0.3).scaled(sign * factor)
    for field in ("value", "sem", "bias"):
        np.testing.assert_allclose(
            getattr(got, field), getattr(direct, field), rtol=1e-9, atol=1e-12 * factor
        )
    assert got.count == direct.count == 12


def test_from_samples_is_the_mean_and_its_standard_error():
    table = np.random.default_rng(0).normal(size=(50, 3))
    got = from_samples(table)
    np.testing.assert_allclose(got.value, table.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(got.sem, stats.sem(table, axis=0), rtol=1e-12)
    assert got.count == 50


def test_proportion_and_its_exact_interval():
    got = proportion(3, 20)
    assert got.value == 0.15
    assert got.sem == pytest.approx(math.sqrt(0.15 * 0.85 / 20), rel=1e-14)
    wanted = stats.binomtest(3, 20).proportion_ci(0.99, "exact")
    assert proportion_interval(got, 0.01) == pytest.approx((wanted.low, wanted.high), rel=1e-9)


def test_proportion_interval_keeps_its_count_over_many_trials():
    got = proportion_interval(proportion(123_456_789, 10**9), 1e-9)
    assert got.lower < 0.123456789 < got.upper
    assert got.upper - got.lower < 2 * 6.2 * math.sqrt(0.1235 * 0.8765 / 1e9)


def test_ratio_of_means_contains_the_truth_also_with_clusters():
    rng = np.random.default_rng(1)
    shared = np.repeat(rng.normal(size=2000), 5)
    bottom = rng.exponential(2.0, 10_000)
    top = 3 * bottom + shared
    clustered = ratio_of_means(top, bottom, np.repeat(np.arange(2000), 5))
    check_mean(clustered, 3.0, resolution=0.05)
    check_rejects(check_mean, clustered, 3.0 * 1.05)
    naive = ratio_of_means(top, bottom)
    assert clustered.sem > 1.8 * naive.sem  # √5 where a cluster shares its noise


def test_a_quotient_of_independent_estimates_misses_as_often_as_its_error_says():
    rng, hits = np.random.default_rng(5), 0
    for _ in range(400):
        top, bottom = (from_samples(rng.normal(mean, 1, 200)) for mean in (-3.0, 2.0))
        hits += bool(quotient(top, bottom).interval(0.1).contains(-1.5))
    assert stats.binomtest(hits, 400, 0.9).pvalue > 1e-10


def test_a_quotient_carries_bias_and_the_count_of_what_was_sampled():
    found = quotient(Estimate(6.0, 0.06, 0.3, 50), Estimate(-2.0, 0.0, 0.1, 1))
    assert (found.value, found.count) == (-3.0, 50)
    assert found.sem == pytest.approx(0.03)
    assert found.bias == pytest.approx(3 * (0.05 + 0.05))


def test_fit_is_exact_without_noise():
    assert fit_power_law(X, power_law(-0.7)).value == pytest.approx(-0.7, rel=1e-12)


def test_fit_is_numpys_weighted_polynomial():
    y = power_law(0.5, noise=1.0)
    got = fit_power_law(X, y)
    weights = y.value / y.sem
    slope, _ = np.polyfit(np.log(X), np.log(y.value), 1, w=weights)
    _, covariance = np.polyfit(np.log(X), np.log(y.value), 1, w=weights, cov="unscaled")
    assert got.value == pytest.approx(slope, rel=1e-10)
    assert got.sem == pytest.approx(math.sqrt(covariance[0, 0]), rel=1e-10)


def test_fit_misses_as_often_as_its_error_says():
    fits = [fit_power_law(X, power_law(0.5, noise=1.0, seed=seed)) for seed in range(2000)]
    scores = np.array([(fit.value - 0.5) / fit.sem for fit in fits])
    check_mean(from_samples(scores**2), 1.0, resolution=0.25)
    check_rejects(check_mean, from_samples(scores**2), 1.5)


def test_fit_carries_the_worst_bias():
    y = power_law(0.5, bias=0.01)
    got = fit_power_law(X, y)
    signs = np.array(np.meshgrid(*[[-1, 1]] * 6)).reshape(6, -1).T
    fits = [fit_power_law(X, Estimate(y.value * (1 + 0.01 * s), y.sem)).value for s in signs]
    assert got.bias == pytest.approx(np.abs(np.array(fits) - 0.5).max(), rel=0.02)
    check_slope(X, y, 0.5 + 0.9 * float(got.bias))


ONE = Estimate(np.ones(2), np.ones(2))
BAD = {
    "at least 2 samples, got shape (1,)": lambda: from_samples([1.0]),
    "at least 2 samples, got shape ()": lambda: from_samples(1.0),
    "got 5 of 3": lambda: proportion(5, 3),
    "got -1 of 3": lambda: proportion(-1, 3),
    "got 0 of 0": lambda: proportion(0, 0),
    "got (3,), (2,)": lambda: fit_power_law([1.0, 2.0, 3.0], ONE),
    "expected K ≥ 2 distinct x": lambda: fit_power_law([1.0, 1.0], ONE),
    "finite x, got -1.0": lambda: fit_power_law([-1.0, 2.0], ONE),
    "finite x, got 0.0": lambda: fit_power_law([0.0, 2.0], ONE),
    "finite x, got nan": lambda: fit_power_law([math.nan, 2.0], ONE),
    "finite y, got 0.0": lambda: fit_power_law([1.0, 2.0], Estimate(np.zeros(2), np.ones(2))),
    "finite sem, got 0.0": lambda: fit_power_law([1.0, 2.0], Estimate(np.ones(2), np.zeros(2))),
    "(0, 1), got 1.5": lambda: ONE.interval(1.5),
    "(0, 1), got nan": lambda: proportion_interval(proportion(1, 2), math.nan),
    "got (2,) and (3,)": lambda: ratio_of_means(np.ones(2), np.ones(3)),
    "parts that are not 0, got 1.0/0.0": lambda: quotient(Estimate(1.0), Estimate(0.0)),
    "a denominator of mean not 0": lambda: ratio_of_means(np.ones(2), np.array([1.0, -1.0])),
}


test_bad_input_is_named = refusals(BAD)


# Offset, slope and exponent together


@pytest.mark.parametrize("offset", [0.0, -0.3, 2.0])
def test_an_exact_curve_gives_its_offset_slope_and_exponent(offset):
    x = 2.0 ** np.arange(3, 11)
    fit = fit_offset_power_law(x, Estimate(offset + 0.7 * x**0.4))
    for found, truth in zip(fit, (offset, 0.7, 0.4), strict=True):
        np.testing.assert_allclose(found.value, truth, atol=1e-5)


def test_intervals_of_a_noisy_curve_cover_and_reject():
    """200 fits at failure 0.05 each: misses are binomial, and a wrong exponent is rejected."""
    rng, x = np.random.default_rng(5), 2.0 ** np.arange(3, 11)
    truth = -0.2 + 0.7 * x**0.5
    fits = [
        fit_offset_power_law(x, Estimate(truth * (1 + 0.003 * rng.normal(size=x.size))))
        for _ in range(200)
    ]
    misses = sum(not fit.exponent.interval(0.05).contains(0.5) for fit in fits)
    lower, upper = stats.binom.ppf([1e-10, 1 - 1e-10], 200, 0.05)
    assert lower <= misses <= upper
    assert not any(fit.exponent.interval(1e-3).contains(0.7) for fit in fits)


def test_known_errors_widen_a_fit_that_happens_to_be_exact():
    x = 2.0 ** np.arange(3, 11)
    fit = fit_offset_power_law(x, Estimate(x**0.5, 0.01 * x**0.5, 0.0, 10))
    assert fit.exponent.sem > 1e-4


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], "K ≥ 5 distinct x"),
        ([1, 2, 3, 4, 5], [1, 2, 3, 4], "K ≥ 5 distinct x"),
        ([1, 2, 3, 4, -5], [1, 2, 3, 4, 5], "positive finite x"),
        ([1, 2, 3, 4, 5], [1, 2, 3, 4, math.nan], "positive finite y"),
    ],
)
def test_a_curve_with_an_offset_needs_five_positive_points(x, y, message):
    with pytest.raises(ValueError, match=message):
        fit_offset_power_law(x, Estimate(np.array(y, dtype=float)))
