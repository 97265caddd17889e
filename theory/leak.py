"""Leak: how often a map T lands off all of its modes, and the masses of the modes, by counting."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray
from scipy import stats
from scipy.spatial import cKDTree

from theory.batches import Transport, check_rows, chunks, draws, values
from theory.estimate import (
    Estimate,
    Interval,
    check_probability,
    proportion,
    proportion_interval,
)
from theory.nearest import wide_dtype

ALLOWANCE = 1e-6  # modes are widened by this times max(1, the longest centre), for rounding


class Leak(eqx.Module):
    """P(T(x) ∉ ∪D_i), the masses P(T(x) ∈ D_i), shape (M,), and the number of points."""

    leak: Estimate
    masses: Estimate
    count: int

    def leak_interval(self, failure_probability: float = 1e-9) -> Interval:
        """Clopper–Pearson interval of the leak."""
        return proportion_interval(self.leak, failure_probability)

    def mass_intervals(self, failure_probability: float = 1e-9) -> Interval:
        """Clopper–Pearson intervals of shape (M,), right together: failure_probability/M each."""
        rates = [Estimate(mass, count=self.count) for mass in self.masses.value]
        each = [proportion_interval(rate, failure_probability / len(rates)) for rate in rates]
        return Interval(*np.array(each).T)


def leak(
    key: PRNGKeyArray,
    transport: Transport,
    modes: object,
    *,
    radius: float,
    samples: int,
    dimension: int,
) -> Leak:
    """`count_leak` at x ~ γ_n, n = `dimension`, drawn in the dtype of the centres.

    Raises:
        ValueError: when samples < 2 or dimension < 1, or as `count_leak`.
    """
    centres = check_rows("modes", modes)
    return _counted(draws(key, samples, dimension, centres.dtype), transport, centres, radius)


def count_leak(transport: Transport, modes: object, x: object, radius: float) -> Leak:
    """Leak and masses at given points: x is in mode i when ‖T(x) − e_i‖ ≤ r + a.

    a = ALLOWANCE·max(1, max_i ‖e_i‖), so that point modes (r = 0) are met in float32 too: this
    is the leak off balls wider by a.

    Args:
        transport: T.
        modes: centres e_i, shape (M, d); the balls B(e_i, r + a) must be disjoint.
        x: points, shape (N, n).
        radius: r ≥ 0.

    Raises:
        ValueError: on a negative radius, overlapping modes, centres or points not finite or of
            the wrong rank, or a T whose values are not finite or not of shape (d,).
    """
    points = check_rows("points", x)
    batches = ((rows, live) for _, rows, live in chunks(points, points.shape[1]))
    return _counted(batches, transport, check_rows("modes", modes), radius)


def _counted(
    batches: Iterable[tuple[Array, int]], transport: Transport, centres: np.ndarray, radius: float
) -> Leak:
    if not isinstance(radius, int | float | np.number) or not 0 <= radius < np.inf:
        raise ValueError(f"radius must be a finite number ≥ 0, got {radius!r}")
    wide = centres.astype(np.float64)
    reach = np.float64(radius + ALLOWANCE * max(1.0, np.linalg.norm(wide, axis=1).max()))
    least = cKDTree(wide).query(wide, k=2)[0][:, 1].min()  # ∞ for a single mode
    if 2 * reach >= least:
        raise ValueError(f"overlapping modes: radius {radius}, and centres {least:.6g} apart")
    hits, trials = np.zeros(len(centres), np.int64), 0
    for rows, live in batches:
        counted = jnp.asarray(live, jnp.int32)
        counts, finite = map(np.asarray, _hits(transport, jnp.asarray(wide), rows, counted, reach))
        if not finite:
            raise ValueError("T must be finite, got NaN or infinity")
        hits, trials = hits + counts, trials + live
    rates = hits / trials
    masses = Estimate(rates, np.sqrt(rates * (1 - rates) / trials), 0.0, trials)
    return Leak(proportion(trials - int(hits.sum()), trials), masses, trials)


@eqx.filter_jit
def _hits(
    transport: Transport, centres: Array, x: Array, live: Array, reach: Any
) -> tuple[Int[Array, " modes"], Array]:
    """Of the first `live` points those in each mode, and whether T is finite at all of them."""
    out = values(transport, x)
    if out.shape[1] != centres.shape[1]:
        raise ValueError(f"modes lie in R^{centres.shape[1]}, but T maps to R^{out.shape[1]}")
    z = out.astype(wide_dtype(out.dtype))
    centres = jnp.asarray(centres, z.dtype)
    inner = jnp.matmul(z, centres.T, precision="highest")
    near = jnp.argmin(jnp.sum(centres**2, axis=1) - 2 * inner, axis=1)
    inside = jnp.linalg.norm(z - centres[near], axis=1) <= reach
    inside &= jnp.arange(len(x)) < live
    return jnp.zeros(len(centres), jnp.int32).at[near].add(inside), jnp.all(jnp.isfinite(out))


@eqx.filter_jit
def _leads(logits: Transport, x: Array) -> Array:
    z = values(logits, x)
    best = jnp.argmax(z, axis=1)
    rest = jnp.where(jnp.arange(z.shape[1]) == best[:, None], -jnp.inf, z)
    return jnp.max(z, axis=1) - jnp.max(rest, axis=1)


def leads(
    key: PRNGKeyArray, logits: Transport, *, samples: int, dimension: int, dtype: Any = None
) -> np.ndarray:
    """By how much the largest entry of g(x) leads the second, at x ~ γ_n, shape (samples,).

    sparsemax(Λg) is a vertex exactly where the lead is at least 1/Λ: with the leads of one g the
    leak is known at every Λ.

    Raises:
        ValueError: when samples < 2 or dimension < 1, or g maps to fewer than two entries.
    """
    fresh = draws(key, samples, dimension, jnp.zeros((), dtype).dtype)
    found = np.concatenate([np.asarray(_leads(logits, rows))[:live] for rows, live in fresh])
    if not np.isfinite(found).all():
        raise ValueError("leads need at least two entries, all finite, got NaN or infinity")
    return found


class Reached(NamedTuple):
    """The least Λ of a family sparsemax(Λg) whose leak is ε, and an interval for it."""

    value: float
    interval: Interval


def reaching_stiffness(leads: object, leak: float, failure_probability: float = 1e-9) -> Reached:
    """Λ(ε) = 1/q_ε, q_ε the ε-quantile of the leads, with a distribution-free interval.

    Of N leads a Binomial(N, ε) number lies below q_ε, so that order statistics hold it.

    Args:
        leads: N independent leads, shape (N,).
        leak: ε in (0, 1).
        failure_probability: of the interval.

    Raises:
        ValueError: on ε outside (0, 1), leads negative or not finite, or so few of them that the
            interval has no end.
    """
    ordered = np.sort(np.asarray(leads, np.float64).ravel())
    check_probability(failure_probability)
    if not 0 < leak < 1:
        raise ValueError(f"leak must lie in (0, 1), got {leak}")
    if ordered.size == 0 or not (np.isfinite(ordered).all() and ordered[0] >= 0):
        raise ValueError(f"leads are finite and ≥ 0, got {ordered.size} of them")
    tail = failure_probability / 2
    low = int(stats.binom.ppf(tail, ordered.size, leak))
    high = int(stats.binom.isf(tail, ordered.size, leak)) + 1
    if low < 1 or high > ordered.size or ordered[low - 1] <= 0:
        raise ValueError(
            f"{ordered.size} leads are too few for an interval at leak {leak} and failure "
            f"probability {failure_probability:g}"
        )
    middle = ordered[max(0, round(ordered.size * leak) - 1)]
    ends = Interval(float(1 / ordered[high - 1]), float(1 / ordered[low - 1]))
    return Reached(float(1 / middle), ends)
