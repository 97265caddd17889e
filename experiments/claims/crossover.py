"""Claims on the map of the tube law (3): where it holds, how it departs, rates of 1e-6."""

import math

from theory.estimate import Interval

from experiments.claims.columns import inside, number, of_family, over
from experiments.store import Row
from experiments.verdict import FAILURE, Check, Claim

SMALL = 0.1  # λ ≈ s·d/τ² up to which departure and ridges are below a few percent
LAW = Interval(0.95, 1.05)
CONSTANT = 1 - math.sqrt(2 / math.pi)  # told from √(2/π) replaced by 1
APART = 3.0  # separation of modes whose pairs flip as if alone
DEPARTED = 1.5  # predicted ratios from which departure is told from none
ALONE = Interval(0.88, 1.05)
RARE, KINDS = 0.05, ("raw", "mean")


def _both_kinds(
    rows: list[Row], name: str, unit: str | None, failure: float
) -> list[tuple[float, Interval]]:
    """A column of raw and posterior-mean flips over another one, or over 1."""
    share = failure / max(1, len(KINDS) * len(rows))
    units = [number(row, unit) if unit else 1.0 for row in rows]
    return [
        over(row, name.format(kind), one, share)
        for row, one in zip(rows, units, strict=True)
        for kind in KINDS
    ]


def _law(rows: list[Row], failure: float) -> list[Check]:
    """Measured over √(2/π)·s·A_W of both kinds of flips."""
    chosen = [row for row in of_family(rows, "map") if number(row, "strain") <= SMALL]
    found = _both_kinds(chosen, "{}_ratio", None, failure)
    return [Check(effect, ends, LAW, CONSTANT) for effect, ends in found]


def _departure(rows: list[Row], failure: float) -> list[Check]:
    """The ratio over that of pairs alone; without a departure it would be 1/1.5 or less."""
    chosen = [
        row
        for row in of_family(rows, "map")
        if number(row, "separation") >= APART
        and number(row, "scale") <= number(row, "width")
        and number(row, "pair_ratio") >= DEPARTED
    ]
    found = _both_kinds(chosen, "{}_ratio", "pair_ratio", failure)
    return [Check(effect, ends, ALONE, 1 - 1 / DEPARTED) for effect, ends in found]


def _rare_sem(rows: list[Row], failure: float) -> list[Check]:
    """Standard error over value, both kinds."""
    errors = [number(r, f"{k}_relative_sem") for r in of_family(rows, "rare") for k in KINDS]
    return [inside(e, Interval(e, e), Interval(0.0, RARE)) for e in errors]


def _rare_rate(rows: list[Row], failure: float) -> list[Check]:
    """The rate over that of pairs alone, which quadrature knows; told from a third more."""
    found = _both_kinds(of_family(rows, "rare"), "{}", "pair_rate", failure)
    return [Check(effect, ends, ALONE, 0.33) for effect, ends in found]


CLAIMS = [
    Claim(
        "crossover-law",
        "Theorem 3",
        f"The tube law holds to 5% while s·d/τ² ≤ {SMALL} (flips over √(2/π)·s·A_W)",
        "tube_crossover",
        _law,
        FAILURE,
    ),
    Claim(
        "crossover-departure",
        "Theorem 3",
        f"Modes {APART:g} widths apart, s ≤ τ: flips exceed the law as pairs alone do (ratio)",
        "tube_crossover",
        _departure,
        FAILURE,
    ),
    Claim(
        "rare-sem",
        "Theorem 3",
        f"Flips of rate 1e-6 are estimated to {RARE:.0%} (standard error over value)",
        "tube_crossover",
        _rare_sem,
        FAILURE,
    ),
    Claim(
        "rare-rate",
        "Theorem 3",
        "Flips of rate 1e-6 are those of pairs alone (rate over their sum is 0.88 to 1.05)",
        "tube_crossover",
        _rare_rate,
        FAILURE,
    ),
]
