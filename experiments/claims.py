"""Claims: theorem → rows → verdict, from the tables alone.

A claim holds when every one of its checks holds, is refuted when one of them excludes what the
theorem says, and is inconclusive when an interval is too wide to tell the theorem from a nearly
right law. The failure probability of a claim is split over its checks.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from theory.estimate import Estimate, Interval, fit_power_law, proportion_interval, stack

from experiments.registry import choose
from experiments.store import Row, read_table

FAILURE = 1e-9


@dataclass(frozen=True)
class Verdict:
    """What the tables say of a claim; `effect` and `interval` are of the worst check."""

    id: str
    theorem: str
    statement: str
    verdict: str
    effect: float | None
    interval: tuple[float, float] | None
    failure_probability: float | None
    command: str


@dataclass(frozen=True)
class Check:
    """One comparison: an interval for the effect, and the effects that the theorem allows.

    `resolution` is the widest interval that still tells the theorem from its falsifier.
    """

    effect: float
    interval: Interval
    allowed: Interval
    resolution: float = math.inf

    @property
    def verdict(self) -> str:
        """Refuted, inconclusive or holds."""
        lower, upper = self.interval
        if upper < self.allowed.lower or lower > self.allowed.upper:
            return "refuted"
        narrow = upper - lower <= self.resolution
        return "holds" if narrow and lower <= upper else "inconclusive"


Checks = Callable[[list[Row], float], list[Check]]


@dataclass(frozen=True)
class Claim:
    """A statement of the theory, the experiment whose rows bear on it, and how they are judged."""

    id: str
    theorem: str
    statement: str
    experiment: str
    checks: Checks

    @property
    def command(self) -> str:
        """What makes the rows of this claim and judges it."""
        return f"noncommit run {self.experiment} && noncommit verify --claim {self.id}"

    def judge(self, rows: list[Row]) -> Verdict:
        """The verdict on these rows: missing when none of them bears on the claim."""
        checks = self.checks(rows, FAILURE)
        said = {check.verdict for check in checks}
        order = ("refuted", "inconclusive", "holds")
        verdict = next((v for v in order if v in said), "missing")
        if not checks:
            return self._verdict("missing", None, None, None)
        worst = max(checks, key=lambda c: (-order.index(c.verdict), _strain(c)))
        ends = (float(worst.interval.lower), float(worst.interval.upper))
        return self._verdict(verdict, worst.effect, ends, FAILURE)

    def _verdict(
        self,
        verdict: str,
        effect: float | None,
        interval: tuple[float, float] | None,
        failure: float | None,
    ) -> Verdict:
        return Verdict(
            self.id, self.theorem, self.statement, verdict, effect, interval, failure, self.command
        )


def evaluate(out: Path, claim: str | None = None) -> list[Verdict]:
    """Verdicts of all claims, or of one, from the tables in `out`.

    Raises:
        ValueError: when no claim has this id.
    """
    known = {c.id: c for c in CLAIMS}
    chosen = CLAIMS if claim is None else [known[choose("claim", claim, known)]]
    return [c.judge(_rows(out / f"{c.experiment}.csv")) for c in chosen]


def _rows(path: Path) -> list[Row]:
    return read_table(path) if path.is_file() else []


def _strain(check: Check) -> float:
    """How near the interval comes to being excluded, to choose which check to show."""
    half = (check.interval.upper - check.interval.lower) / 2
    nearest = float(np.clip(check.effect, *check.allowed))
    return abs(check.effect - nearest) / half if half > 0 else 0.0


def _number(row: Row, name: str) -> float:
    value = row[name]
    if not isinstance(value, int | float):
        raise ValueError(f"column {name} of a table must be a number, got {value!r}")
    return float(value)


def _estimate(row: Row, name: str) -> Estimate:
    parts = [row[f"{name}_{part}"] for part in ("value", "sem", "bias", "count")]
    return Estimate(*(math.inf if part is None else part for part in parts))


def _of_family(rows: Sequence[Row], *families: str) -> list[Row]:
    return [row for row in rows if row["family"] in families]


def _against(rows: Sequence[Row], failure: float, reference: str, resolution: float) -> list[Check]:
    """P over a reference column must be 1."""
    checks = []
    for row in rows:
        ratio = _estimate(row, "perimeter").scaled(1 / _number(row, reference))
        interval = ratio.interval(failure / len(rows))
        checks.append(Check(float(ratio.value), interval, Interval(1.0, 1.0), resolution))
    return checks


def _simplicial_optimum(rows: list[Row], failure: float) -> list[Check]:
    # 4% of width is ±2%: 1.05·P_S is then excluded.
    return _against(_of_family(rows, "simplicial"), failure, "interface_floor", 0.04)


def _interface_floor(rows: list[Row], failure: float) -> list[Check]:
    equal = _of_family(rows, "intervals", "orthants", "simplicial")
    checks = _against(equal, failure, "interface_floor", math.inf)
    above = Interval(1.0, math.inf)
    return [Check(c.effect, c.interval, above, c.resolution) for c in checks]


def _exponent(
    rows: list[Row], failure: float, family: str, estimator: str, abscissa: Callable[[float], float]
) -> list[Check]:
    """The exponent of P in a function of M must be 1, told from 1 ± 0.1 by its interval."""
    chosen = [row for row in _of_family(rows, family) if row["estimator"] == estimator]
    if len(chosen) < 2:
        return []
    found = [_estimate(row, "perimeter") for row in chosen]
    stacked = stack(found)
    slope = fit_power_law([abscissa(_number(r, "modes")) for r in chosen], stacked)
    return [Check(slope.value, slope.interval(failure), Interval(1.0, 1.0), 0.2)]


def _orthants(rows: list[Row], failure: float) -> list[Check]:
    return _exponent(rows, failure, "orthants", "crofton", math.log)


def _intervals(rows: list[Row], failure: float) -> list[Check]:
    # Below M = 256 the finite-M correction would be read as a wrong exponent. Crofton is exact at
    # n = 1, so the tube is the route that could disagree.
    large = [row for row in rows if _number(row, "modes") >= 256]
    return _exponent(large, failure, "intervals", "tube", float)


def _facets(rows: list[Row], failure: float) -> list[Check]:
    """Facets outside their interval must be none; the rows' intervals are at `failure` each."""
    found = [row for row in _of_family(rows, "unequal") if row["facets"]]
    none = Interval(0.0, 0.0)
    counts = [_number(row, "facets_outside") for row in found]
    return [Check(n, Interval(n, n), none) for n in counts]


def _routes_agree(rows: list[Row], failure: float) -> list[Check]:
    known = _of_family(rows, "half-space", "intervals", "orthants", "simplicial")
    return _against(known, failure, "exact", math.inf)


def _penalty(row: Row, failure: float, allowed: Interval, resolution: float) -> Check:
    """D = P/P_S at the masses as measured."""
    penalty = _estimate(row, "penalty")
    return Check(float(penalty.value), penalty.interval(failure), allowed, resolution)


def _dimension_penalty(rows: list[Row], failure: float) -> list[Check]:
    above = Interval(1.0, math.inf)
    return [_penalty(row, failure / len(rows), above, math.inf) for row in rows]


def _found_cluster(rows: list[Row], failure: float) -> list[Check]:
    """D = 1 where the simplicial cluster fits; 4% of width is ±2%, as for the cluster put in."""
    best = _of_family(rows, "best")
    room = [row for row in best if _number(row, "modes") <= _number(row, "dimension") + 1]
    return [_penalty(row, failure / len(room), Interval(1.0, 1.0), 0.04) for row in room]


def _sandwich(rows: list[Row], failure: float) -> list[Check]:
    """Flips minus the nearer side of the sandwich: at least 0 below, at most 0 above."""
    checks = []
    for row in rows:
        inside = proportion_interval(_estimate(row, "flips"), failure / len(rows))
        allowed = Interval(_number(row, "sandwich_lower"), _number(row, "sandwich_upper"))
        checks.append(Check(_number(row, "flips_value"), inside, allowed))
    return checks


def _tube_law(rows: list[Row], failure: float) -> list[Check]:
    """Flips over the law at the smallest noise of each head must be 1, told from √(2/π)·law."""
    checks = []
    for decoder in sorted({str(row["decoder"]) for row in rows}):
        own = [row for row in rows if row["decoder"] == decoder]
        smallest = min(own, key=lambda row: _number(row, "ratio"))
        ratio = _estimate(smallest, "ratio_to_law")
        interval = ratio.interval(failure)
        falsifier = 2 * (1 - math.sqrt(2 / math.pi))
        checks.append(Check(float(ratio.value), interval, Interval(1.0, 1.0), falsifier))
    return checks


CLAIMS = [
    Claim(
        "simplicial-optimum",
        "Theorem 6",
        "The simplicial cluster has P_S(M) = a_M/√2 (P over P_S is 1)",
        "interface_exact",
        _simplicial_optimum,
    ),
    Claim(
        "interface-floor",
        "Theorem 6",
        "No partition into M equal cells has less than P_S(M) (P over P_S is at least 1)",
        "interface_exact",
        _interface_floor,
    ),
    Claim(
        "orthants-log",
        "Theorem 6",
        "The 2^n orthants have P of order log M, not √log M (exponent of P in log M is 1)",
        "interface_exact",
        _orthants,
    ),
    Claim(
        "intervals-linear",
        "Theorem 6",
        "At n = 1, P → M/(2√π) (exponent of P in M is 1 from M = 256)",
        "interface_exact",
        _intervals,
    ),
    Claim(
        "facet-areas",
        "Theorem 6",
        "Every facet of an unequal simplicial cluster has its quadrature area (facets outside)",
        "interface_exact",
        _facets,
    ),
    Claim(
        "routes-agree",
        "Estimators",
        "Crofton, projection, tube, coarea and Gauss–Green give the exact perimeter (P over it)",
        "interface_exact",
        _routes_agree,
    ),
    Claim(
        "dimension-penalty",
        "Theorem 6",
        "In R^n no M equal cells have less than P_S(M), whatever is searched (D is at least 1)",
        "interface_profile",
        _dimension_penalty,
    ),
    Claim(
        "found-cluster",
        "Theorem 6",
        "Where M ≤ n + 1 a search ends at the simplicial cluster's perimeter (D is 1)",
        "interface_profile",
        _found_cluster,
    ),
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
