"""The checks themselves: they accept the truth as often as they say, and reject what is wrong."""

import numpy as np
import pytest
from scipy import stats

from tests.ledger import LEDGER
from tests.significance import (
    check_at_least,
    check_at_most,
    check_likely,
    check_mean,
    check_proportion,
    check_rejects,
    check_slope,
)
from theory.estimate import Estimate, from_samples, proportion, proportion_interval


@pytest.fixture(autouse=True)
def _paused():
    """The checks are what is tested here: what they are told to allow for stakes nothing."""
    with LEDGER.paused():
        yield


def samples(mean: float, count: int, seed: int = 0) -> Estimate:
    return from_samples(np.random.default_rng(seed).normal(mean, 1.0, count))


def test_mean_accepts_the_truth_and_rejects_a_shift():
    got = samples(10.0, 10_000)
    check_mean(got, 10.0, resolution=0.01)
    check_rejects(check_mean, got, 10.0 * 1.05)
    check_rejects(check_mean, got, -10.0)
    check_rejects(check_mean, got, float("nan"))


def test_mean_rejects_an_estimate_that_is_not_a_number():
    check_rejects(check_mean, Estimate(float("nan"), 0.1, 0.0, 100), 1.0)
    check_rejects(check_mean, Estimate(1.0, float("nan"), 0.0, 100), 1.0)


def test_resolution_rejects_a_vague_interval():
    got = samples(10.0, 16)
    check_mean(got, 10.0)
    check_rejects(check_mean, got, 10.0, resolution=0.01)


def test_bias_widens_the_interval_by_just_itself():
    got = Estimate(1.0, 0.0, 0.1, 100)
    check_mean(got, 1.0999)
    check_rejects(check_mean, got, 1.1001)


def test_one_wrong_entry_among_many_is_found():
    right = np.ones(1000)
    got = Estimate(right, np.full(1000, 0.01), 0.0, 10_000)
    check_mean(got, right)
    wrong = right.copy()
    wrong[617] = 1.1
    check_rejects(check_mean, got, wrong)


@pytest.mark.parametrize("failure", [0.3, 0.05])
def test_mean_misses_as_often_as_it_says(failure: float):
    draws = np.random.default_rng(1).normal(0.0, 1.0, (4000, 8))
    intervals = [from_samples(d).interval(failure) for d in draws]
    missed = sum(not i.contains(0.0) for i in intervals)
    assert stats.binomtest(missed, 4000, failure).pvalue > 1e-9


def test_proportion_accepts_the_truth_and_rejects_a_shift():
    got = proportion(3000, 10_000)
    check_proportion(got, 0.3, resolution=0.15)
    check_rejects(check_proportion, got, 0.35)
    check_rejects(check_proportion, got, 0.25)


def test_proportion_of_no_success_has_an_upper_end():
    none, all_ = (proportion_interval(proportion(s, 100), 1e-3) for s in (0, 100))
    assert none.lower == 0
    assert none.upper == pytest.approx(1 - 0.0005 ** (1 / 100), rel=1e-12)
    assert all_.upper == 1
    assert all_.lower == pytest.approx(1 - none.upper, rel=1e-12)


def test_proportion_never_misses_more_often_than_it_says():
    successes = np.arange(41)
    misses = [not proportion_interval(proportion(s, 40), 0.05).contains(0.13) for s in successes]
    assert stats.binom.pmf(successes, 40, 0.13)[misses].sum() <= 0.05


def test_inequalities_reject_on_one_side_only():
    got = samples(1.0, 10_000)
    check_at_most(got, 1.0)
    check_at_most(got, 2.0)
    check_rejects(check_at_most, got, 0.9)
    check_at_least(got, 1.0)
    check_at_least(got, 0.0)
    check_rejects(check_at_least, got, 1.1)
    check_rejects(check_at_most, Estimate(float("nan"), 0.1, 0.0, 10), 1.0)


def test_inequalities_of_many_entries_hold_together():
    """At 0.05 each a thousand true entries would be refused fifty times; together, seldom."""
    value = np.random.default_rng(4).normal(0.0, 1.0, 1000)
    got = Estimate(value, np.ones(1000), 0.0, 10_000)
    check_at_most(got, 0.0, 0.05)
    check_at_least(got, np.zeros(1000), 0.05)
    value[617] = 6.0
    check_rejects(check_at_most, Estimate(value, np.ones(1000), 0.0, 10_000), 0.0, 0.05)
    check_rejects(check_at_least, Estimate(-value, np.ones(1000), 0.0, 10_000), 0.0, 0.05)


def test_inequalities_reject_what_is_not_a_number():
    for check in (check_at_least, check_at_most):
        check_rejects(check, Estimate(1.0, float("nan"), 0.0, 10), 1.0)
        check_rejects(check, samples(1.0, 100), float("nan"))


def test_proportion_rejects_what_is_vague_or_not_a_number():
    check_rejects(check_proportion, proportion(3, 10), 0.3, resolution=0.1)
    check_rejects(check_proportion, proportion(3, 10), float("nan"))
    check_rejects(check_proportion, proportion(0, 1000), 0.05)
    check_rejects(check_proportion, proportion(1000, 1000), 0.95)


def test_no_interval_is_narrow_beside_zero():
    check_rejects(check_mean, samples(0.0, 10_000), 0.0, resolution=0.5)


def test_p_values_are_rejected_where_they_are_small_or_not_numbers():
    check_likely(2e-3, 1e-3)
    check_rejects(check_likely, 1e-3, 1e-3)
    check_rejects(check_likely, 0.0)
    check_rejects(check_likely, float("nan"), 1e-3)
    with pytest.raises(ValueError, match="failure probability"):
        check_likely(0.5, 0.0)


def test_p_values_of_a_true_law_are_refused_as_often_as_stated():
    draws = np.random.default_rng(3).normal(size=(2000, 20))
    refused = 0
    for p_value in stats.kstest(draws, stats.norm.cdf, axis=1).pvalue:
        try:
            check_likely(float(p_value), 0.05)
        except AssertionError:
            refused += 1
    assert stats.binomtest(refused, 2000, 0.05).pvalue > 1e-9


def test_slope_rejects_biased_values_only_beyond_their_bias():
    x = 2.0 ** np.arange(8)
    got = Estimate(3.0 * x**0.55, 1e-4 * x**0.5, 0.0, 10_000)
    check_rejects(check_slope, x, got, 0.5)
    check_slope(x, Estimate(got.value, got.sem, 0.3 * got.value, 10_000), 0.5)


def test_slope_accepts_the_exponent_and_rejects_one_off_by_a_tenth():
    x = 2.0 ** np.arange(8)
    noise = np.random.default_rng(2).normal(0, 0.01, 8)
    got = Estimate(3.0 * x**0.5 * (1 + noise), 3.0 * x**0.5 * 0.01, 0.0, 10_000)
    check_slope(x, got, 0.5, resolution=0.05)
    check_rejects(check_slope, x, got, 0.6)
    check_rejects(check_slope, x, got, 0.4)
    vague = Estimate(got.value, got.sem * 30, 0.0, 10_000)
    check_rejects(check_slope, x, vague, 0.5, resolution=0.05)


def test_rejects_is_itself_rejected_when_the_check_passes():
    with pytest.raises(AssertionError, match="accepted a wrong law"):
        check_rejects(check_mean, samples(1.0, 1000), 1.0)


def test_rejects_passes_on_errors_that_are_no_rejection():
    with pytest.raises(ValueError, match="failure probability"):
        check_rejects(check_mean, samples(1.0, 1000), 2.0, -1.0)


@pytest.mark.parametrize("probability", [0.0, 1.0, -1.0, float("nan")])
def test_a_failure_probability_outside_0_1_is_an_error(probability: float):
    with pytest.raises(ValueError, match="failure probability"):
        samples(0.0, 10).interval(probability)
