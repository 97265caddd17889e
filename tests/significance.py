"""Statistical checks that state a failure probability instead of a tolerance.

Each raises AssertionError naming what was got, what was wanted and the probability that a true
statement is rejected, which `tests.ledger` adds up. `resolution` demands that the interval also be
narrow: half-width at most that share of the expected value, so that a check cannot pass by being
vague.
"""

import math
from collections.abc import Callable

import numpy as np

from tests.ledger import LEDGER
from theory.estimate import (
    Estimate,
    Interval,
    check_probability,
    fit_power_law,
    proportion_interval,
)

FAILURE = 1e-9


def check_mean(
    got: Estimate,
    expected: float | np.ndarray,
    failure_probability: float = FAILURE,
    resolution: float | None = None,
) -> None:
    """The interval of every entry contains the expected one; the probability is split over them."""
    __tracebackhide__ = True
    LEDGER.enter(failure_probability)
    entries = max(1, np.broadcast(np.asarray(got.value), np.asarray(expected)).size)
    interval = got.interval(failure_probability / entries)
    _check_inside(interval, expected, failure_probability)
    if resolution is not None:
        _check_narrow(interval, expected, resolution)


def check_proportion(
    got: Estimate,
    expected: float,
    failure_probability: float = FAILURE,
    resolution: float | None = None,
) -> None:
    """The Clopper–Pearson interval of a rate contains the expected one."""
    __tracebackhide__ = True
    LEDGER.enter(failure_probability)
    interval = proportion_interval(got, failure_probability)
    _check_inside(interval, expected, failure_probability)
    if resolution is not None:
        _check_narrow(interval, expected, resolution)


def check_at_most(got: Estimate, bound: float, failure_probability: float = FAILURE) -> None:
    """The data do not show got > bound in any entry; the probability is split over them."""
    __tracebackhide__ = True
    LEDGER.enter(failure_probability)
    entries = max(1, np.broadcast(np.asarray(got.value), np.asarray(bound)).size)
    lower = np.max(np.asarray(got.interval(failure_probability / entries).lower) - bound)
    if not lower <= 0:
        raise AssertionError(
            f"{got.value} ± {got.sem} exceeds the bound {bound}: its lower end at failure "
            f"probability {failure_probability:g} lies {lower:.3g} above"
        )


def check_at_least(got: Estimate, bound: float, failure_probability: float = FAILURE) -> None:
    """The data do not show got < bound in any entry."""
    __tracebackhide__ = True
    check_at_most(got.scaled(-1.0), -bound, failure_probability)


def check_slope(
    x: np.ndarray,
    got: Estimate,
    expected: float,
    failure_probability: float = FAILURE,
    resolution: float | None = None,
) -> None:
    """The fitted exponent of got ∝ x^b contains the expected one; `resolution` is absolute."""
    __tracebackhide__ = True
    LEDGER.enter(failure_probability)
    interval = fit_power_law(x, got).interval(failure_probability)
    _check_inside(interval, expected, failure_probability)
    if resolution is not None and not interval.upper - interval.lower <= 2 * resolution:
        raise AssertionError(
            f"exponent in [{interval.lower:.4g}, {interval.upper:.4g}]: half-width exceeds "
            f"{resolution:g}, too wide to tell laws apart"
        )


def check_likely(p_value: float, failure_probability: float = FAILURE) -> None:
    """A p-value, which a true law brings below x with probability x at most, is not that small."""
    __tracebackhide__ = True
    check_probability(failure_probability)
    LEDGER.enter(failure_probability)
    if not p_value > failure_probability:
        raise AssertionError(
            f"a true law has a p-value of {p_value:g} or less with probability {p_value:g}, and "
            f"{failure_probability:g} was allowed for"
        )


def check_rejects(check: Callable[..., None], *arguments: object, **options: object) -> None:
    """The check fails on these (wrong) numbers."""
    __tracebackhide__ = True
    try:
        with LEDGER.paused():
            check(*arguments, **options)
    except AssertionError:
        return
    law = arguments[1:] or arguments
    raise AssertionError(f"{check.__name__} accepted a wrong law: {law}, {options}")


def _check_inside(interval: Interval, expected: float | np.ndarray, probability: float) -> None:
    __tracebackhide__ = True
    inside = np.asarray(interval.contains(np.asarray(expected)))
    if not inside.all():  # NaN is in no interval
        lower, upper, wanted = (
            np.broadcast_to(a, inside.shape)[~inside][:3]
            for a in (interval.lower, interval.upper, np.asarray(expected))
        )
        raise AssertionError(
            f"{(~inside).sum()} of {inside.size} outside at failure probability {probability:g}: "
            f"got [{lower}, {upper}], wanted {wanted}"
        )


def _check_narrow(interval: Interval, expected: float | np.ndarray, resolution: float) -> None:
    __tracebackhide__ = True
    half = np.asarray((interval.upper - interval.lower) / 2)
    share = np.max(half / np.abs(expected)) if np.all(np.asarray(expected)) else math.inf
    if not share <= resolution:
        raise AssertionError(f"relative half-width {share:.3g} exceeds the resolution {resolution}")
