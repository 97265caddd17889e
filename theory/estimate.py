"""Numbers that carry their uncertainty: value, standard error, stated bias, count."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from scipy import optimize, special

FIELDS = ("value", "sem", "bias", "count")  # of an estimate


class Interval(NamedTuple):
    """A closed interval that misses the truth with at most the stated failure probability."""

    lower: Any
    upper: Any

    def contains(self, number: Any) -> Any:
        """Whether lower ≤ number ≤ upper, elementwise."""
        return (self.lower <= number) & (number <= self.upper)


class Estimate(eqx.Module):
    """A Monte Carlo mean with what is known of its error.

    Fields (all of one shape, count broadcasts):
        value: the estimate.
        sem: standard error of the mean over `count` independent units; 0 for exact numbers.
        bias: a bound on |E value − truth|, or an estimate of one where the estimator says so;
            0 for unbiased estimators.
        count: number of independent units behind `sem`.
    """

    value: Any
    sem: Any = 0.0
    bias: Any = 0.0
    count: Any = 1

    def interval(self, failure_probability: float = 1e-9) -> Interval:
        """value ± (t·sem + bias + rounding), t the two-sided Student quantile, count − 1 degrees.

        Rounding is allowed for at 1e-12·|value|, so that exact routes have an interval too.
        """
        check_probability(failure_probability)
        degrees = np.maximum(np.asarray(self.count) - 1, 1)
        quantile = -special.stdtrit(degrees, failure_probability / 2)
        half = np.where(np.asarray(self.sem) == 0, 0.0, quantile * np.asarray(self.sem))
        half = half + np.asarray(self.bias) + 1e-12 * np.abs(self.value)
        return Interval(np.asarray(self.value) - half, np.asarray(self.value) + half)

    def scaled(self, factor: float) -> "Estimate":
        """The estimate of factor × truth."""
        size = abs(factor)
        return Estimate(self.value * factor, self.sem * size, self.bias * size, self.count)


def from_samples(samples: Any, bias: Any = 0.0) -> Estimate:
    """Mean over the leading axis of independent samples, with its standard error."""
    samples = np.asarray(samples, dtype=np.float64)
    if samples.ndim == 0 or samples.shape[0] < 2:
        raise ValueError(f"an estimate needs at least 2 samples, got shape {samples.shape}")
    sem = samples.std(axis=0, ddof=1) / math.sqrt(samples.shape[0])
    return Estimate(samples.mean(axis=0), sem, bias, samples.shape[0])


def ratio_of_means(numerator: Any, denominator: Any, cluster: Any = None) -> Estimate:
    """E N / E D from paired samples, to first order: residuals (N − R·D)/mean D per cluster.

    Args:
        numerator: N, shape (K,).
        denominator: D, shape (K,), with a mean that is not 0.
        cluster: integer labels, shape (K,); samples of one cluster may depend on each other.

    Raises:
        ValueError: on mismatched shapes, fewer than two clusters, or a denominator of mean 0.
    """
    top, bottom = np.asarray(numerator, float), np.asarray(denominator, float)
    if top.ndim != 1 or top.shape != bottom.shape:
        raise ValueError(f"expected two arrays of shape (K,), got {top.shape} and {bottom.shape}")
    _, cluster = np.unique(np.arange(top.size) if cluster is None else cluster, return_inverse=True)
    clusters = int(cluster.max(initial=-1)) + 1
    if clusters < 2 or bottom.sum() == 0:
        raise ValueError("a ratio of means needs two clusters and a denominator of mean not 0")
    ratio = top.sum() / bottom.sum()
    residual = np.bincount(cluster, top - ratio * bottom, clusters)
    spread = math.sqrt(clusters / (clusters - 1) * float((residual**2).sum()))
    return Estimate(float(ratio), spread / abs(float(bottom.sum())), 0.0, clusters)


def quotient(top: Estimate, bottom: Estimate) -> Estimate:
    """top/bottom of independent scalar estimates, to first order in their errors.

    Raises:
        ValueError: when either is 0.
    """
    if top.value == 0 or bottom.value == 0:
        raise ValueError(f"a quotient needs parts that are not 0, got {top.value}/{bottom.value}")
    ratio = float(top.value) / float(bottom.value)
    share = math.hypot(top.sem / top.value, bottom.sem / bottom.value)
    bias = top.bias / abs(top.value) + bottom.bias / abs(bottom.value)
    sampled = [int(part.count) for part in (top, bottom) if part.sem > 0]
    return Estimate(ratio, abs(ratio) * share, abs(ratio) * float(bias), min(sampled, default=1))


def pool(estimates: Sequence[Estimate]) -> Estimate:
    """One estimate from independent ones of one shape, as if their samples had been one.

    Means weighted by count, and sums of squares within and between (Chan, Golub, LeVeque 1983).

    Raises:
        ValueError: when there is none, or the shapes differ.
    """
    shapes = {np.shape(one.value) for one in estimates}
    if len(shapes) != 1:
        raise ValueError(f"expected estimates of one shape, got {sorted(shapes)}")
    if len(estimates) == 1:
        return estimates[0]
    columns = ([np.broadcast_to(getattr(e, f), *shapes) for e in estimates] for f in FIELDS)
    value, sem, bias, count = (np.array(column, np.float64) for column in columns)
    total = count.sum(axis=0)
    mean, drift = (np.sum(count * part, axis=0) / total for part in (value, bias))
    square = np.sum(count * (count - 1) * sem**2 + count * (value - mean) ** 2, axis=0)
    return Estimate(mean, np.sqrt(square / (total - 1) / total), drift, total.astype(int))


def stack(estimates: Sequence[Estimate]) -> Estimate:
    """Scalar estimates as one of shape (K,)."""
    columns = ([getattr(e, f) for e in estimates] for f in FIELDS)
    return Estimate(*map(np.array, columns))


def proportion(successes: Any, trials: int) -> Estimate:
    """successes / trials with its binomial standard error; `proportion_interval` is exact."""
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"expected 0 ≤ successes ≤ trials, got {successes} of {trials}")
    rate = successes / trials
    return Estimate(rate, math.sqrt(rate * (1 - rate) / trials), 0.0, trials)


def proportion_interval(estimate: Estimate, failure_probability: float = 1e-9) -> Interval:
    """Clopper–Pearson interval of a rate; successes are value × count.

    Exact for iid trials. For independent trials of unequal rates the binomial tail bounds
    the true one beyond the mean (Hoeffding 1956), so the interval stays on the safe side.
    """
    check_probability(failure_probability)
    trials = float(estimate.count)
    successes = round(float(estimate.value) * trials)
    tail = failure_probability / 2
    failures = trials - successes
    lower = special.betaincinv(successes, failures + 1, tail) if successes else 0.0
    upper = special.betainccinv(successes + 1, failures, tail) if failures else 1.0
    return Interval(float(lower), float(upper))


def fit_power_law(x: Any, y: Estimate) -> Estimate:
    """The exponent b of y = a·x^b, by least squares of log y on log x weighted by known errors.

    A prefactor is fitted beside it. Errors are carried to first order, sem/value; `bias` is the
    worst shift that the biases of y can make together.

    Args:
        x: positive abscissae, shape (K,), at least two distinct.
        y: positive values with positive sem, shape (K,).

    Raises:
        ValueError: on mismatched shapes, fewer than two distinct x, or non-positive x, y, sem.
    """
    x = np.asarray(x, dtype=np.float64)
    value, sem = np.asarray(y.value, dtype=np.float64), np.asarray(y.sem, dtype=np.float64)
    if x.ndim != 1 or value.shape != x.shape or np.unique(x).size < 2:
        raise ValueError(f"expected K ≥ 2 distinct x and K values, got {x.shape}, {value.shape}")
    for name, column in (("x", x), ("y", value), ("sem", sem)):
        if not ((column > 0) & np.isfinite(column)).all():
            raise ValueError(f"a power law needs positive finite {name}, got {column.min()}")
    log_x = np.log(x)
    weight = (value / sem) ** 2
    centred = log_x - np.average(log_x, weights=weight)
    influence = weight * centred / np.sum(weight * centred**2)
    bias = np.sum(np.abs(influence) * np.broadcast_to(y.bias, value.shape) / value)
    exponent = float(np.sum(influence * np.log(value)))
    spread = math.sqrt(np.sum((influence * sem / value) ** 2))
    return Estimate(exponent, spread, float(bias), int(np.min(y.count)))


class OffsetPowerLaw(NamedTuple):
    """y = offset + slope·x^exponent, each with its error."""

    offset: Estimate
    slope: Estimate
    exponent: Estimate


def fit_offset_power_law(x: Any, y: Estimate) -> OffsetPowerLaw:
    """Offset, slope and exponent b of y = d + a·x^b together, by least relative squares.

    The error of a point is a share of y that is the same for all: the scatter about the curve
    (K − 3 degrees of freedom, Student's intervals) or the rms sem/y, whichever is more. So the
    intervals hold the lack of fit of the curve, as far as it looks like scatter.

    Args:
        x: positive abscissae, shape (K,), at least five distinct.
        y: positive values, shape (K,).

    Raises:
        ValueError: on mismatched shapes, fewer than five distinct x, non-positive x or y, or
            values that no such curve comes near.
    """
    x, value = np.asarray(x, dtype=np.float64), np.asarray(y.value, dtype=np.float64)
    if x.ndim != 1 or value.shape != x.shape or np.unique(x).size < 5:
        raise ValueError(f"expected K ≥ 5 distinct x and K values, got {x.shape}, {value.shape}")
    for name, column in (("x", x), ("y", value)):
        if not ((column > 0) & np.isfinite(column)).all():
            raise ValueError(f"a power law needs positive finite {name}, got {column.min()}")

    def curve(x: np.ndarray, offset: float, slope: float, exponent: float) -> np.ndarray:
        return offset + slope * x**exponent

    guess = np.polyfit(np.log(x), np.log(value), 1)[0]
    first = (0.0, value.max() / x.max() ** guess, guess)
    try:
        found, unit = optimize.curve_fit(
            curve, x, value, first, sigma=value, absolute_sigma=True, maxfev=10_000
        )
    except RuntimeError as error:
        raise ValueError(f"no offset, slope and exponent fit these values: {error}") from error
    degrees = x.size - 3
    scatter = np.sum((curve(x, *found) / value - 1) ** 2) / degrees
    known = np.mean((np.broadcast_to(y.sem, value.shape) / value) ** 2)
    sems = np.sqrt(np.diag(unit) * max(scatter, known))
    parts = (
        Estimate(float(v), float(s), 0.0, degrees + 1) for v, s in zip(found, sems, strict=True)
    )
    return OffsetPowerLaw(*parts)


def check_probability(failure_probability: float) -> None:
    """ValueError unless 0 < failure_probability < 1."""
    if not 0 < failure_probability < 1:
        raise ValueError(f"a failure probability lies in (0, 1), got {failure_probability}")
