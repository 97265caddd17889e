"""Claims on hierarchies: what depth buys in stiffness, and what it costs (Theorem 7)."""

import math
from typing import Any

from theory.estimate import Interval, proportion_interval

from experiments.claims.columns import estimate, inside, number, of_family, over, ratio
from experiments.store import Row
from experiments.verdict import FAILURE, Check, Checks, Claim

# Told from the interface of the whole, P_S(M) for P_S(m): 1.17 times at least.
BRANCHES = 0.3


def _hierarchy_peak(rows: list[Row], failure: float) -> list[Check]:
    """Λ of a level at a fixed leak of the step over the exact one, told from P_S(M)/√B."""
    found = [ratio(r, "step_stiffness", "level_exact") for r in of_family(rows, "block", "nested")]
    return [Check(effect, ends, Interval(1.0, 1.0), 0.18, FAILURE) for effect, ends in found]


def _hierarchy_price(rows: list[Row], failure: float) -> list[Check]:
    """Λ of a level at a fixed leak of the whole over one step's: above 1 and below √B."""
    checks = []
    for row in of_family(rows, "block", "nested"):
        depth = number(row, "depth")
        if depth > 1:
            effect, ends = ratio(row, "careful_stiffness", "once_exact")
            checks.append(inside(effect, ends, Interval(1.0, math.sqrt(depth)), FAILURE))
    return checks


def _hierarchy_leak(rows: list[Row], failure: float) -> list[Check]:
    """The total leak over 1 − (1 − ε)^B; Λ was measured, so its interval is part of this one."""
    checks = []
    for row in of_family(rows, "block", "nested"):
        exact = number(row, "total_leak_exact")
        _, slack = ratio(row, "step_stiffness", "step_stiffness")
        ends = proportion_interval(estimate(row, "total_leak"), FAILURE)
        found = Interval(ends.lower * slack.lower / exact, ends.upper * slack.upper / exact)
        effect = number(row, "total_leak_value") / exact
        checks.append(Check(effect, found, Interval(1.0, 1.0), 0.5, 2 * FAILURE))
    return checks


def _peak(row: Row) -> tuple[float, Interval]:
    ends = (number(row, f"step_stiffness_{end}") for end in ("lower", "upper"))
    return number(row, "step_stiffness"), Interval(*ends)


def _hierarchy_root(rows: list[Row], failure: float) -> list[Check]:
    """Λ of one step over Λ of a level and √B, both at the leak of a step: above 1."""
    once = {row["modes"]: row for row in of_family(rows, "block") if number(row, "depth") == 1}
    checks = []
    for row in of_family(rows, "block", "nested"):
        whole = once.get(row["modes"])
        if whole is None or number(row, "depth") == 1:
            continue
        root = math.sqrt(number(row, "depth"))
        (top, high), (bottom, low) = (_peak(one) for one in (whole, row))
        ends = Interval(high.lower / low.upper / root, high.upper / low.lower / root)
        above = Interval(1.0, math.inf)
        checks.append(inside(top / bottom / root, ends, above, 2 * FAILURE))
    return checks


def _hierarchy_interface(rows: list[Row], failure: float) -> list[Check]:
    """The interface of a level over P_S(m)."""
    mine = of_family(rows, "block", "nested")
    found = [over(r, "interface", number(r, "branch_floor"), failure / len(mine)) for r in mine]
    return [Check(effect, ends, Interval(1.0, 1.0), BRANCHES) for effect, ends in found]


def _hierarchy_blocks(rows: list[Row], failure: float) -> list[Check]:
    """B times the interface of a level over P_S(M): above 1, blocks gain nothing in total."""
    mine = [r for r in of_family(rows, "block", "nested") if number(r, "depth") > 1]
    share = failure / max(1, len(mine))
    wholes = [number(row, "interface_floor") / number(row, "depth") for row in mine]
    found = [over(r, "interface", whole, share) for r, whole in zip(mine, wholes, strict=True)]
    return [inside(effect, ends, Interval(1.0, math.inf)) for effect, ends in found]


def _claim(name: str, statement: str, checks: Checks, **said: Any) -> Claim:
    return Claim(name, "Theorem 7", statement, "depth_hierarchy", checks, **said)


CLAIMS = [
    _claim(
        "hierarchy-peak",
        "At a fixed leak of a step the peak falls to Λ of m branches (measured over exact Λ is 1)",
        _hierarchy_peak,
    ),
    _claim(
        "hierarchy-price",
        "At a fixed leak of the whole a step is stiffer than one shot, by less than √B (ratio)",
        _hierarchy_price,
    ),
    _claim(
        "hierarchy-leak",
        "B steps of leak ε leak 1 − (1 − ε)^B together (measured over it is 1)",
        _hierarchy_leak,
    ),
    _claim(
        "hierarchy-root",
        "At a fixed leak of a step B levels lower the peak by more than √B (fall over √B)",
        _hierarchy_root,
    ),
    _claim(
        "hierarchy-interface",
        "The interface of a level is that of its m branches, P_S(m), not of all M (over it)",
        _hierarchy_interface,
    ),
    _claim(
        "hierarchy-blocks",
        "Together the levels have more interface than one step, B·P_S(m) > P_S(M) (over it)",
        _hierarchy_blocks,
    ),
]
