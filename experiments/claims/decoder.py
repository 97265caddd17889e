"""Claims on real decoder heads (Theorem 3): the sandwich and the tube law."""

import math

from theory.estimate import Interval, proportion_interval

from experiments.claims.columns import estimate, number
from experiments.store import Row
from experiments.verdict import Check, Claim


def _sandwich(rows: list[Row], failure: float) -> list[Check]:
    """Flips minus the nearer side of the sandwich: at least 0 below, at most 0 above."""
    checks = []
    for row in rows:
        inside = proportion_interval(estimate(row, "flips"), failure / len(rows))
        allowed = Interval(number(row, "sandwich_lower"), number(row, "sandwich_upper"))
        checks.append(Check(number(row, "flips_value"), inside, allowed))
    return checks


def _tube_law(rows: list[Row], failure: float) -> list[Check]:
    """Flips over the law at the smallest noise of each head must be 1, told from √(2/π)·law."""
    checks = []
    for decoder in sorted({str(row["decoder"]) for row in rows}):
        own = [row for row in rows if row["decoder"] == decoder]
        smallest = min(own, key=lambda row: number(row, "ratio"))
        ratio = estimate(smallest, "ratio_to_law")
        interval = ratio.interval(failure)
        falsifier = 2 * (1 - math.sqrt(2 / math.pi))
        checks.append(Check(float(ratio.value), interval, Interval(1.0, 1.0), falsifier))
    return checks


CLAIMS = [
    Claim(
        "decoder-sandwich",
        "Theorem 3",
        "Raw-noise flips of a real head lie within E Q(δ/s) and E min(1, Σ Q(δ_j/s)) (flip rate)",
        "decoder_tube",
        _sandwich,
    ),
    Claim(
        "decoder-tube-law",
        "Theorem 3",
        "As s → 0 a real head flips at √(2/π)·s·A_W (flips over the law at the smallest s)",
        "decoder_tube",
        _tube_law,
    ),
]
