"""Claims on categorical commitment (`commitment_rounds`)."""

import math
from typing import Any

from theory.estimate import Interval

from experiments.claims.columns import all_inside, number, over
from experiments.store import Row
from experiments.verdict import Check, Checks, Claim

ONE = Interval(1.0, 1.0)


def _exact(rows: list[Row], failure: float) -> list[Check]:
    """Perplexities of transitions and sequences over e^h and the truth; told from 5% more."""
    mine = [r for r in rows if r["order"] == "bisection" and str(r["language"])[:6] == "markov"]
    names = ("transition_over_truth", "over_truth")
    found = [over(r, name, 1.0, failure / (2 * len(mine))) for r in mine for name in names]
    return [Check(effect, ends, ONE, 0.05) for effect, ends in found]


def _random(rows: list[Row], failure: float) -> list[Check]:
    """Random order in as many rounds as bisection takes, or fewer."""
    mine = [
        r
        for r in rows
        if r["order"] in ("random", "confidence")
        and number(r, "steps") <= math.ceil(math.log2(number(r, "length") + 1))
    ]
    return all_inside(mine, "over_truth", Interval(1.02, math.inf), failure)


def _second(rows: list[Row], failure: float) -> list[Check]:
    mine = [r for r in rows if r["order"] == "bisection" and str(r["language"])[:5] == "pairs"]
    return all_inside(mine, "over_truth", Interval(1.02, math.inf), failure)


def _claim(name: str, statement: str, checks: Checks, **said: Any) -> Claim:
    return Claim(name, "Few-step generation", statement, "commitment_rounds", checks, **said)


CLAIMS = [
    _claim(
        "commit-exact",
        "Bisection in ⌈log₂(L+1)⌉ rounds has the perplexities of the language (over them)",
        _exact,
    ),
    _claim(
        "commit-orders",
        "Random and confidence orders in so few rounds do not (perplexity over the truth)",
        _random,
    ),
    _claim(
        "commit-second-order",
        "Bisection of a second-order language does not either (perplexity over the truth)",
        _second,
    ),
]
