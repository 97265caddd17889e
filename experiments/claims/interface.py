"""Claims on partitions that are known (Theorem 6): floors, optimum, growth, estimators."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from theory import bound
from theory.estimate import Interval, fit_power_law, quotient, stack

from experiments.claims.columns import ended, estimate, inside, number, of_family
from experiments.store import Row
from experiments.verdict import FAILURE, Check, Claim


def _against(rows: Sequence[Row], failure: float, reference: str, resolution: float) -> list[Check]:
    """P over a reference column must be 1."""
    checks = []
    for row in rows:
        ratio = estimate(row, "perimeter").scaled(1 / number(row, reference))
        interval = ratio.interval(failure / len(rows))
        checks.append(Check(float(ratio.value), interval, Interval(1.0, 1.0), resolution))
    return checks


def _simplicial_optimum(rows: list[Row], failure: float) -> list[Check]:
    # 4% of width is ±2%: 1.05·P_S is then excluded.
    return _against(of_family(rows, "simplicial"), failure, "interface_floor", 0.04)


def _interface_floor(rows: list[Row], failure: float) -> list[Check]:
    equal = of_family(rows, "intervals", "orthants", "simplicial")
    checks = _against(equal, failure, "interface_floor", math.inf)
    above = Interval(1.0, math.inf)
    return [Check(c.effect, c.interval, above, c.resolution) for c in checks]


def _exponent(
    rows: list[Row], failure: float, family: str, estimator: str, abscissa: Callable[[float], float]
) -> list[Check]:
    """The exponent of P in a function of M must be 1, told from 1 ± 0.1 by its interval."""
    chosen = [row for row in of_family(rows, family) if row["estimator"] == estimator]
    if len(chosen) < 2:
        return []
    found = [estimate(row, "perimeter") for row in chosen]
    stacked = stack(found)
    slope = fit_power_law([abscissa(number(r, "modes")) for r in chosen], stacked)
    return [Check(slope.value, slope.interval(failure), Interval(1.0, 1.0), 0.2)]


def _orthants(rows: list[Row], failure: float) -> list[Check]:
    return _exponent(rows, failure, "orthants", "crofton", math.log)


def _intervals(rows: list[Row], failure: float) -> list[Check]:
    # Below M = 256 the finite-M correction would be read as a wrong exponent. Crofton is exact at
    # n = 1, so the tube is the route that could disagree.
    large = [row for row in rows if number(row, "modes") >= 256]
    return _exponent(large, failure, "intervals", "tube", float)


def _facets(rows: list[Row], failure: float) -> list[Check]:
    """Facets outside their interval must be none; those of a row miss one at FAILURE together."""
    found = [row for row in of_family(rows, "unequal") if row["facets"]]
    none = Interval(0.0, 0.0)
    counts = [number(row, "facets_outside") for row in found]
    return [Check(n, Interval(n, n), none, failure=FAILURE) for n in counts]


def _routes_agree(rows: list[Row], failure: float) -> list[Check]:
    known = of_family(rows, "half-space", "intervals", "orthants", "simplicial")
    return _against(known, failure, "exact", math.inf)


def _elementary_floor(rows: list[Row], failure: float) -> list[Check]:
    equal = of_family(rows, "intervals", "orthants", "simplicial")
    checks = _against(equal, failure, "elementary_floor", math.inf)
    return [Check(c.effect, c.interval, Interval(1.0, math.inf)) for c in checks]


def _floors_apart(rows: list[Row], failure: float) -> list[Check]:
    """The cluster, which has P_S(M), over (M/2)·I(1/M): above 1 from M = 3 on, below √2."""
    more = [row for row in of_family(rows, "simplicial") if number(row, "modes") > 2]
    checks = _against(more, failure, "elementary_floor", math.inf)
    return [inside(c.effect, c.interval, Interval(1.0, math.sqrt(2))) for c in checks]


def _unequal_optimum(rows: list[Row], failure: float) -> list[Check]:
    """P of clusters with masses ∝ 1, …, M over P_S(m) by convex duality; told from 1.1."""
    mine = of_family(rows, "unequal")
    checks = []
    for row in mine:
        masses = np.arange(1.0, number(row, "modes") + 1)
        floor, _ = bound.unequal_floor(masses / masses.sum())
        found = estimate(row, "perimeter").scaled(1 / floor)
        checks.append(Check(*ended(found, failure / len(mine)), Interval(1.0, 1.0), 0.1))
    return checks


def _gauss_green(rows: list[Row], failure: float) -> list[Check]:
    """E max_i(s_i) − Σ b_i m_i over the sites' distance and the perimeter; told from 1.05."""
    mine = [row for row in rows if row["estimator"] == "gauss-green"]
    return _against(mine, failure, "exact", 0.05)


def _root_log(rows: list[Row], failure: float) -> list[Check]:
    """P/√log M of the cluster over that of the next smaller one, and itself: above, below 1."""
    mine = [row for row in of_family(rows, "simplicial") if row["estimator"] == "crofton"]
    mine.sort(key=lambda row: number(row, "modes"))
    shares = [estimate(r, "perimeter").scaled(1 / number(r, "root_log_modes")) for r in mine]
    if len(shares) < 2:
        return []
    share, above = failure / (2 * len(shares)), Interval(1.0, math.inf)
    rises = [quotient(high, low) for low, high in pairwise(shares)]
    checks = [inside(*ended(one, share), above) for one in rises]
    return checks + [inside(*ended(one, share), Interval(0.0, 1.0)) for one in shares]


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
        "unequal-optimum",
        "Theorem 6",
        "The simplicial cluster of unequal masses has P_S(m) = min_b[E max(x + b) − ⟨b, m⟩]/√2 (P "
        "over it is 1)",
        "interface_exact",
        _unequal_optimum,
    ),
    Claim(
        "elementary-floor",
        "Theorem 6",
        "Nor has any less than (M/2)·I(1/M), where two cells have just that (P over it, at least "
        "1)",
        "interface_exact",
        _elementary_floor,
    ),
    Claim(
        "floors-apart",
        "Theorem 6",
        "From three cells on the sharp floor is above the elementary one, by less than √2 (ratio)",
        "interface_exact",
        _floors_apart,
    ),
    Claim(
        "gauss-green",
        "Theorem 6",
        "E max of the scores is the perimeter times the distance of the sites (over it is 1)",
        "interface_exact",
        _gauss_green,
    ),
    Claim(
        "simplicial-root-log",
        "Theorem 6",
        "P_S(M)/√log M rises with M and stays below 1 (P/√log M over that of the next fewer cells)",
        "interface_exact",
        _root_log,
    ),
]
