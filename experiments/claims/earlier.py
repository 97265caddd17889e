"""Claims on earlier results: what they say of the maps measured here (`inverse_stiffness`).

All were written when the leaks had been seen: the first is a theorem, the recalled form was known
to fail for few modes. Point modes carry all of the target, so that β = 0 and the leak is at most
the total variation.
"""

import math
from typing import Any

from theory import earlier
from theory.estimate import Interval

from experiments.claims.columns import inside, number, of_family, rate
from experiments.store import Row
from experiments.verdict import Check, Checks, Claim

ABOVE = Interval(1.0, math.inf)
ROOT = 2 * (1 - 2**-0.25)  # told from κ = √2 replaced by its root
MANY = 64  # modes at which the bound of two sets is far off
FAR = 3.0
ENOUGH = 9  # modes from which on P_S(M) exceeds √(log M/2)


def _half(row: Row, leaks: Interval, failure: float) -> tuple[float, float]:
    """Least and largest P(T on half of the modes), ⌊M/2⌋ of them that lie nearest to a half.

    By symmetry exact for sparsemax; else within the largest relative error of a mass in the
    sample, and Hoeffding's √(log(2/η)/2N) about that.
    """
    modes = number(row, "modes")
    share = modes // 2 / modes
    if row["family"] == "sparsemax":
        return share * (1 - leaks.upper), share * (1 - leaks.lower)
    sampled = share * (1 - number(row, "leak_value"))
    slack = math.sqrt(math.log(2 / failure) / (2 * number(row, "leak_count")))
    apart = sampled * number(row, "mass_error") + slack
    return max(0.0, sampled - apart), min(1.0, sampled + apart)


def _over_gap(row: Row, failure: float) -> tuple[float, Interval]:
    """Leak over the least total variation, at the worst mass that half of the modes may have."""
    leaked, ends = rate(row, "leak", failure / 2)
    # Signed distances stretch more at corners; by Kirszbraun some Λ-Lipschitz map leaks as they do.
    stiffness = number(row, "certified" if row["family"] == "trained" else "stiffness")
    barrier = number(row, "barrier")
    masses = _half(row, ends, failure / 2)
    # a is concave in the mass: least at an end, nowhere more than that of two equal modes.
    least = min(earlier.total_variation_floor(m, stiffness, barrier) for m in masses)
    most = math.erf(barrier / stiffness / math.sqrt(8))
    middle = earlier.total_variation_floor(sum(masses) / 2, stiffness, barrier)
    upper = ends.upper / least if least > 0 else math.inf
    return leaked / middle, Interval(ends.lower / most, upper)


def _total_variation(rows: list[Row], failure: float) -> list[Check]:
    """The leak of every map over a − β: 1 or more."""
    found = [_over_gap(row, failure / len(rows)) for row in rows]
    return [Check(effect, ends, ABOVE) for effect, ends in found]


def _blind(rows: list[Row], failure: float) -> list[Check]:
    """The same of sparsemax with MANY modes or more: FAR or more."""
    mine = [row for row in of_family(rows, "sparsemax") if number(row, "modes") >= MANY]
    found = [_over_gap(row, failure / len(mine)) for row in mine]
    return [inside(effect, ends, Interval(FAR, math.inf)) for effect, ends in found]


def _recalled(fewest: int) -> Checks:
    """Leak of sparsemax over 1 − exp(−e²/8 − e√(log M/2)), from so many modes on."""

    def checks(rows: list[Row], failure: float) -> list[Check]:
        mine = [row for row in of_family(rows, "sparsemax") if number(row, "modes") >= fewest]
        checks = []
        for row in mine:
            leaked, ends = rate(row, "leak", failure / len(mine))
            said = 1 - earlier.recalled_precision(*_setting(row))
            found = Interval(ends.lower / said, ends.upper / said)
            checks.append(Check(leaked / said, found, ABOVE, ROOT))
        return checks

    return checks


def _precision(rows: list[Row], failure: float) -> list[Check]:
    """1 − ε of sparsemax over (1 + x²)/x²·exp(−e²/2 − ex): 1 or less."""
    mine = [row for row in of_family(rows, "sparsemax") if number(row, "modes") >= 3]
    checks = []
    for row in mine:
        leaked, ends = rate(row, "leak", failure / len(mine))
        said = earlier.gaussian_precision(*_setting(row))
        found = Interval((1 - ends.upper) / said, (1 - ends.lower) / said)
        checks.append(Check((1 - leaked) / said, found, Interval(0.0, 1.0)))
    return checks


def _setting(row: Row) -> tuple[int, float, float]:
    return int(number(row, "modes")), number(row, "stiffness"), number(row, "barrier")


def _claim(name: str, paper: str, statement: str, checks: Checks, **said: Any) -> Claim:
    return Claim(name, paper, statement, "inverse_stiffness", checks, **said)


CLAIMS = [
    _claim(
        "salmona-total-variation",
        "Salmona et al. 2022",
        "Total variation is at least Φ(κ/Λ + Φ⁻¹(η)) − η − β, η the mass of half of the modes, "
        "β = 0 (leak over it)",
        _total_variation,
    ),
    _claim(
        "salmona-modes",
        "Salmona et al. 2022",
        f"It does not see how many modes there are: at M ≥ {MANY} sparsemax leaks over {FAR:g} "
        "times that (ratio)",
        _blind,
    ),
    _claim(
        "issenhuth-recalled",
        "Issenhuth et al. 2023",
        "The leak is at least 1 − exp(−e²/8 − e√(log M/2)), e = κ/Λ, for every M (as recalled; "
        "leak of sparsemax over it)",
        _recalled(2),
        if_refuted="to first order the recalled form asks for √(log M/2), which exceeds P_S(M) up "
        "to M = 8, so that the sharp map leaks less; the floor with Φ⁻¹(1/M) holds there",
    ),
    _claim(
        "issenhuth-many",
        "Issenhuth et al. 2023",
        f"It is from M = {ENOUGH} on, where √(log M/2) is below P_S(M) (leak of sparsemax over it)",
        _recalled(ENOUGH),
    ),
    _claim(
        "tanielian-precision",
        "Tanielian et al. 2020",
        "M ≥ 3 equal modes are hit with at most (1 + x²)/x²·exp(−e²/2 − ex), x = Q⁻¹(1/M), e = "
        "κ/2Λ (1 − leak of sparsemax over it)",
        _precision,
    ),
]
