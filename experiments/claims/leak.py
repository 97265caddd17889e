"""Claims on how the leak falls with stiffness (Theorem 5): floor, slope, versions of stiffness.

They were written when the tables had been seen.
"""

import math
from typing import Any

import numpy as np
from theory import bound
from theory.estimate import Estimate, Interval, stack

from experiments.claims.columns import estimate, inside, number, of_family, over, rate
from experiments.store import Row
from experiments.verdict import Check, Checks, Claim

ONE = Interval(1.0, 1.0)
ROOT = 2 * (1 - 2**-0.25)  # told from κ = √2 replaced by its root
SLOPE = 0.03  # a slope told from another one, half of the least deficit from −1 at M ≥ 16
RIDGES = 16  # modes from which on the ridges' deficit is told from none
# Limit and leak at the largest Λ are told from the rate of signed distances, 1.41 times less.
NEAR, TOLD = Interval(0.95, 1.05), 0.4


def _over_floor(rows: list[Row], failure: float, modes: int | None) -> list[tuple[float, Interval]]:
    """Leak of sparsemax over 1 − M·Φ(Φ⁻¹(1/M) − κ/2Λ): its masses are equal by symmetry."""
    mine = of_family(rows, "sparsemax")
    mine = [row for row in mine if modes is None or row["modes"] == modes]
    found = []
    for row in mine:
        floor = bound.leak_floor(
            int(number(row, "modes")), number(row, "stiffness"), number(row, "barrier")
        )
        leaked, ends = rate(row, "leak", failure / len(mine))
        found.append((leaked / floor, Interval(ends.lower / floor, ends.upper / floor)))
    return found


def _leak_floor(rows: list[Row], failure: float) -> list[Check]:
    found = _over_floor(rows, failure, None)
    return [Check(effect, ends, Interval(1.0, math.sqrt(2))) for effect, ends in found]


def _two_modes(rows: list[Row], failure: float) -> list[Check]:
    return [Check(effect, ends, ONE, ROOT) for effect, ends in _over_floor(rows, failure, 2)]


def _from_below(rows: list[Row], failure: float) -> list[Check]:
    """Leak of sparsemax over κP_S(M)/Λ, M ≥ 3: at most 1; told from κ replaced by its root."""
    mine = [row for row in of_family(rows, "sparsemax") if number(row, "modes") >= 3]
    checks = []
    for row in mine:
        modes, stiffness = int(number(row, "modes")), number(row, "stiffness")
        first = bound.leak_expansion(modes)[0] / stiffness
        leaked, ends = rate(row, "leak", failure / len(mine))
        found = Interval(ends.lower / first, ends.upper / first)
        checks.append(Check(leaked / first, found, Interval(0.0, 1.0), ROOT))
    return checks


def _slope_of(stiffness: list[float], leaks: Estimate) -> Estimate:
    """Plain least squares of log leak on log Λ, with the errors of the leaks carried along.

    Unweighted: the slope of a bent curve depends on the weights.
    """
    logs = np.log(stiffness) - np.mean(np.log(stiffness))
    influence = logs / np.sum(logs**2)
    spread = math.sqrt(np.sum((influence * leaks.sem / leaks.value) ** 2))
    slope = float(np.sum(influence * np.log(leaks.value)))
    return Estimate(slope, spread, 0.0, int(np.min(leaks.count)))


def slopes(rows: list[Row]) -> list[tuple[int, Estimate, float]]:
    """M, the log–log slope of sparsemax's sampled leak in Λ, and that of the exact one."""
    groups: dict[int, list[Row]] = {}
    for row in of_family(rows, "sparsemax"):
        groups.setdefault(int(number(row, "modes")), []).append(row)
    found = []
    for modes, group in groups.items():
        stiffness = [number(row, "stiffness") for row in group]
        if len(group) < 2:
            continue
        leaks = stack([estimate(row, "leak") for row in group])
        exact = stack([Estimate(number(row, "exact")) for row in group])
        law = _slope_of(stiffness, exact)
        found.append((modes, _slope_of(stiffness, leaks), float(law.value)))
    return found


def _slope(rows: list[Row], failure: float) -> list[Check]:
    """Slope of the sampled leak less that of the exact one."""
    found = slopes(rows)
    checks = []
    for _, slope, law in found:
        ends = slope.interval(failure / len(found))
        apart = Interval(float(ends.lower) - law, float(ends.upper) - law)
        checks.append(Check(float(slope.value) - law, apart, Interval(0.0, 0.0), 2 * SLOPE))
    return checks


def _deficit(rows: list[Row], failure: float) -> list[Check]:
    """Slopes between −1 and −0.85 for M ≥ RIDGES."""
    found = [slope for modes, slope, _ in slopes(rows) if modes >= RIDGES]
    checks = []
    for slope in found:
        ends = slope.interval(failure / len(found))
        within = Interval(float(ends.lower), float(ends.upper))
        checks.append(inside(float(slope.value), within, Interval(-1.0, -0.85)))
    return checks


def _raw_limit(rows: list[Row], failure: float) -> list[Check]:
    """Λε/κ of raw scores over Σ P_ij √2‖A‖/‖a_i − a_j‖, orthants and intervals, largest Λ."""
    groups: dict[tuple, list[Row]] = {}
    for row in of_family(rows, "orthants", "intervals"):
        groups.setdefault((row["family"], row["modes"], row["dimension"]), []).append(row)
    mine = [max(group, key=lambda row: number(row, "stiffness")) for group in groups.values()]
    mine = [row for row in mine if number(row, "stiffness") >= 64]
    share = failure / max(1, len(mine))
    found = [over(row, "raw_rate", number(row, "raw_limit"), share) for row in mine]
    return [Check(effect, ends, NEAR, TOLD) for effect, ends in found]


def _mean_square(rows: list[Row], failure: float) -> list[Check]:
    """E‖DT‖² of trained maps over the square of the certified Λ: below ½."""
    mine = of_family(rows, "trained")
    share, below = failure / max(1, len(mine)), Interval(-math.inf, 0.5)
    squares = [number(row, "certified") ** 2 for row in mine]
    found = [
        over(row, "stretch_mean_square", square, share)
        for row, square in zip(mine, squares, strict=True)
    ]
    return [inside(effect, ends, below) for effect, ends in found]


def _claim(name: str, statement: str, checks: Checks, **said: Any) -> Claim:
    return Claim(name, "Theorem 5", statement, "inverse_stiffness", checks, **said)


CLAIMS = [
    _claim(
        "leak-floor",
        "sparsemax leaks 1 to √2 times what M equal modes must, 1 − MΦ(Φ⁻¹(1/M) − κ/2Λ) (ratio)",
        _leak_floor,
    ),
    _claim(
        "floor-two-modes",
        "With two modes it leaks just that, the floor is reached (leak over the floor is 1)",
        _two_modes,
    ),
    _claim(
        "leak-from-below",
        "From three modes on it is below κP_S(M)/Λ, to which it goes (leak over it)",
        _from_below,
    ),
    _claim(
        "leak-slope",
        "The log–log slope of its leak in Λ is that of the exact one, −0.999 to −0.92 over Λ = 4 "
        "to 128 at M = 2 to 256 (difference)",
        _slope,
    ),
    _claim(
        "leak-deficit",
        f"For M ≥ {RIDGES} the ridges keep the slope above −1, below −0.85 (slope)",
        _deficit,
    ),
    _claim(
        "raw-scores-limit",
        "Λε/κ of sparsemax of raw scores goes to Σ P_ij √2‖A‖/‖a_i − a_j‖ (Λ = 64, over it)",
        _raw_limit,
    ),
    _claim(
        "stiffness-mean-square",
        "Stiffness in mean square is not the sup: E‖DT‖² of trained maps is below Λ²/2 (over Λ²)",
        _mean_square,
    ),
]
