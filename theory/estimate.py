"""Numbers that carry their uncertainty: value, standard error, stated bias, count."""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import stats

Scalar = Float[Array, ""] | float


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
        bias: a bound on |E value − truth|; 0 for unbiased estimators.
        count: number of independent units behind `sem`.
    """

    value: Any
    sem: Any = 0.0
    bias: Any = 0.0
    count: Any = 1

    def interval(self, failure_probability: float = 1e-9) -> Interval:
        """value ± (t·sem + bias), t the two-sided Student quantile with count − 1 degrees."""
        check_probability(failure_probability)
        degrees = np.maximum(np.asarray(self.count) - 1, 1)
        quantile = stats.t.isf(failure_probability / 2, degrees)
        half = np.where(np.asarray(self.sem) == 0, 0.0, quantile * np.asarray(self.sem))
        half = half + np.asarray(self.bias)
        return Interval(np.asarray(self.value) - half, np.asarray(self.value) + half)

    def scaled(self, factor: float) -> "Estimate":
        """The estimate of factor × truth."""
        size = abs(factor)
        return Estimate(self.value * factor, self.sem * size, self.bias * size, self.count)


class Moments(eqx.Module):
    """Running count, mean and sum of squared deviations of a stream (Chan, Golub, LeVeque)."""

    count: Any
    mean: Any
    deviation: Any

    @classmethod
    def of(cls, samples: Float[Array, "samples ..."]) -> "Moments":
        """Moments over the leading axis."""
        mean = jnp.mean(samples, axis=0)
        return cls(samples.shape[0], mean, jnp.sum((samples - mean) ** 2, axis=0))

    def merge(self, other: "Moments") -> "Moments":
        """Moments of the two streams together."""
        count = self.count + other.count
        gap = other.mean - self.mean
        mean = self.mean + gap * (other.count / count)
        across = gap**2 * (self.count * (other.count / count))
        return Moments(count, mean, self.deviation + other.deviation + across)

    def estimate(self, bias: Any = 0.0) -> Estimate:
        """The mean with its standard error √(deviation / (count (count − 1)))."""
        count = np.asarray(self.count)
        spread = np.asarray(self.deviation) / np.maximum(count - 1, 1) / count
        sem = np.where(count > 1, np.sqrt(spread), np.inf)
        return Estimate(np.asarray(self.mean), sem, bias, count)


def from_samples(samples: Any, bias: Any = 0.0) -> Estimate:
    """Mean over the leading axis of independent samples, with its standard error."""
    samples = np.asarray(samples, dtype=np.float64)
    if samples.ndim == 0 or samples.shape[0] < 2:
        raise ValueError(f"an estimate needs at least 2 samples, got shape {samples.shape}")
    sem = samples.std(axis=0, ddof=1) / math.sqrt(samples.shape[0])
    return Estimate(samples.mean(axis=0), sem, bias, samples.shape[0])


def proportion(successes: int, trials: int) -> Estimate:
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
    lower = stats.beta.ppf(tail, successes, trials - successes + 1) if successes else 0.0
    upper = stats.beta.isf(tail, successes + 1, trials - successes) if successes < trials else 1.0
    return Interval(float(lower), float(upper))


def check_probability(failure_probability: float) -> None:
    """ValueError unless 0 < failure_probability < 1."""
    if not 0 < failure_probability < 1:
        raise ValueError(f"a failure probability lies in (0, 1), got {failure_probability}")
