"""Limits at s → 0 of what was measured at several s from the same random numbers.

Rows are independent replicates, columns the scales. Whatever is linear in a row has its error from
the replicates, however much the scales share; a fitted order has it from the jackknife.
"""

import numpy as np
from scipy import optimize

from theory.estimate import Estimate, OffsetPowerLaw, from_samples

ORDERS = (0.3, 4.0)  # of what follows the first order
CAUTION = 4.0


def extrapolated(scales: object, ratios: np.ndarray) -> OffsetPowerLaw:
    """Offset, slope and exponent of ratio(s) = offset + slope·s^p at s → 0, p fitted too.

    Least squares of the mean over replicates, weighted by 1/s. `bias` is CAUTION times the change
    when the largest s is left out: of two further terms a single power fits a mixture, and with
    scales a factor of 2 apart leaving one out takes about a third off its error. The change is
    measured too, so `sem` is that of value ± CAUTION·change, the larger one, by the jackknife.

    Args:
        scales: s > 0, shape (S,), S ≥ 5 distinct.
        ratios: shape (R, S), R ≥ 2 independent rows.
    """
    s = check_scales(scales)
    rows = _checked_replicates(ratios, s, 5)
    means = rows.mean(axis=0), *((rows.sum(axis=0) - rows) / (len(rows) - 1))
    whole = np.array([_fit(s, mean) for mean in means])
    inner = np.argsort(s)[:-1]
    change = whole - np.array([_fit(s[inner], mean[inner]) for mean in means])
    ends = [(whole + sign * CAUTION * change)[1:] for sign in (1, -1)]
    sems = np.sqrt((len(rows) - 1) * np.max([end.var(axis=0) for end in ends], axis=0))
    parts = zip(whole[0], sems, CAUTION * np.abs(change[0]), strict=True)
    return OffsetPowerLaw(*(Estimate(float(v), float(e), float(b), len(rows)) for v, e, b in parts))


def _fit(s: np.ndarray, value: np.ndarray) -> np.ndarray:
    def linear(order: float) -> tuple[np.ndarray, float]:
        design = np.stack([np.ones_like(s), s**order], axis=1) / s[:, None]
        found, *_ = np.linalg.lstsq(design, value / s, rcond=None)
        return found, float(np.sum((design @ found - value / s) ** 2))

    best = optimize.minimize_scalar(
        lambda p: linear(p)[1], bounds=ORDERS, method="bounded", options={"xatol": 1e-9}
    )
    return np.array([*linear(best.x)[0], best.x])


def leading_coefficient(scales: object, excess: np.ndarray, order: int, step: int) -> Estimate:
    """lim excess/s^order, by the polynomial in s^step through all scales, at s = 0.

    Linear in the excess, so replicates give the error; `bias` is the change when the largest s is
    left out.

    Args:
        scales: s > 0, shape (S,), S ≥ 3 distinct.
        excess: shape (R, S), R ≥ 2 independent rows.
        order: of the leading term.
        step: from one power of s to the next.
    """
    s = check_scales(scales)
    rows = _checked_replicates(excess, s, 3) / s**order
    inner = np.argsort(s)[:-1]
    value = from_samples(rows @ _at_zero(s**step))
    shorter = float(rows[:, inner].mean(axis=0) @ _at_zero(s[inner] ** step))
    return Estimate(value.value, value.sem, abs(float(value.value) - shorter), value.count)


def _at_zero(x: np.ndarray) -> np.ndarray:
    """Weights of the values at x in the polynomial through them, at 0 (Lagrange)."""
    others = [np.delete(x, k) for k in range(len(x))]
    return np.array([np.prod(o / (o - one)) for o, one in zip(others, x, strict=True)])


def check_scales(scales: object) -> np.ndarray:
    """The scales as float64 of shape (S,), or ValueError unless all are positive and finite."""
    s = np.asarray(scales, np.float64)
    if s.ndim != 1 or s.size == 0 or not ((s > 0) & np.isfinite(s)).all():
        raise ValueError(f"scales must be positive and finite, of shape (S,), got {scales!r}")
    return s


def _checked_replicates(values: np.ndarray, s: np.ndarray, least: int) -> np.ndarray:
    rows = np.asarray(values, np.float64)
    if np.unique(s).size != s.size or s.size < least:
        raise ValueError(f"expected at least {least} distinct scales, got {s.tolist()}")
    if rows.ndim != 2 or rows.shape[1] != s.size or len(rows) < 2 or not np.isfinite(rows).all():
        raise ValueError(f"expected finite values of shape (R ≥ 2, {s.size}), got {rows.shape}")
    return rows
