"""Claims on the bridge identity: two contractions of one interface, and coarea (Theorem 17)."""

import math

from theory.estimate import Interval, quotient

from experiments.claims.columns import estimate, inside, number, of_family, over
from experiments.store import Row
from experiments.verdict import FAILURE, Check, Checks, Claim

ONE = Interval(1.0, 1.0)
PERCENT = 0.02  # within 1% on either side
TWENTIETH = 0.1  # told from 1.05 times the other side
QUARTER = 0.5  # told from 1.25 times the other side: a band has few of the points
RIDGES = 0.6  # told from 1.63, the leak's ridges without those of the flips, and from 0, no ridges


def _is_one(name: str, resolution: float, *families: str) -> Checks:
    """A column of estimates, over what it is predicted to be."""

    def checks(rows: list[Row], failure: float) -> list[Check]:
        chosen = of_family(rows, *families)
        found = [over(row, name, 1.0, failure / len(chosen)) for row in chosen]
        return [Check(effect, ends, ONE, resolution) for effect, ends in found]

    return checks


def _strays(rows: list[Row], failure: float) -> list[Check]:
    """Plain points off the modes beyond the strips that are looked at: none."""
    counts = [number(row, "strays") for row in rows]
    return [Check(count, Interval(count, count), Interval(0.0, 0.0)) for count in counts]


def _ordering(rows: list[Row], failure: float) -> list[Check]:
    """Slabs over tripod: the flips above 1, the cost, by mapping and by facets, below it."""
    found: dict[float, dict[str, Row]] = {}
    for row in of_family(rows, "ordering"):
        found.setdefault(number(row, "far"), {})[str(row["partition"])] = row
    pairs = [pair for pair in found.values() if len(pair) == 2]
    above, below = Interval(1.0, math.inf), Interval(0.0, 1.0)
    wanted = {"flip_limit": above, "plain": above, "leak_limit": below, "weighted": below}
    checks = []
    for pair in pairs:
        for name, allowed in wanted.items():
            ratio = quotient(estimate(pair["slabs"], name), estimate(pair["tripod"], name))
            ends = ratio.interval(failure / (len(pairs) * len(wanted)))
            checks.append(inside(ratio.value, ends, allowed))
    return checks


def _levels(rows: list[Row], failure: float) -> list[Check]:
    """The worst of all bands: the failure probability is split over bands and rows."""
    checks = []
    for row in rows:
        share = failure / len(rows) / number(row, "bands")
        checks.append(Check(*over(row, "worst_band", 1.0, share), ONE, QUARTER))
    return checks


def _claim(name: str, statement: str, experiment: str, checks: Checks) -> Claim:
    return Claim(name, "Theorem 17", statement, experiment, checks, FAILURE)


CLAIMS = [
    _claim(
        "bridge-ratio",
        "Λε over flip/s of one partition at s = 1/Λ → 0 is κ√(π/2), to 1% (ratio over it)",
        "bridge_identity",
        _is_one("ratio", PERCENT, "ratio"),
    ),
    _claim(
        "bridge-flips",
        "flip/s → √(2/π) Σ P_ij (flips over it, P by Crofton on the same lines)",
        "bridge_identity",
        _is_one("flip_over", PERCENT, "ratio"),
    ),
    _claim(
        "bridge-leak",
        "Λε → κ Σ P_ij (leak of the mapped points over it, P by Crofton on the same lines)",
        "bridge_identity",
        _is_one("leak_over", PERCENT, "ratio"),
    ),
    _claim(
        "bridge-strays",
        "Beyond 0.75κt from every facet no point leaks (plain points that do)",
        "bridge_identity",
        _strays,
    ),
    _claim(
        "bridge-correction",
        "The ratio falls by 0.3758·t·L/P at simplicial clusters (measured slope over it)",
        "bridge_identity",
        _is_one("correction_over", RIDGES, "correction"),
    ),
    _claim(
        "opposite-ordering",
        "Under κ_13 > 1.6456 slabs cost less than the tripod, and flip more (slabs over tripod)",
        "bridge_identity",
        _ordering,
    ),
    _claim(
        "coarea",
        "∫ P({u > t}) dt by root search is E‖∇u‖ by autodiff (one over the other)",
        "coarea_levels",
        _is_one("ratio", TWENTIETH, "fourier", "softmax", "trained"),
    ),
    _claim(
        "coarea-levels",
        "The same in every band of levels (the band in which the sides are most apart)",
        "coarea_levels",
        _levels,
    ),
]
