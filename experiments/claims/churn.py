"""Claims on churn against the ODE, both with the exact denoiser (`churn_sweep`)."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from theory.estimate import Interval, quotient

from experiments.claims.columns import (
    all_inside,
    dimension_of,
    ended,
    estimate,
    inside,
    number,
)
from experiments.store import Row
from experiments.verdict import Check, Checks, Claim

GAP = 2.0
CLOSE = Interval(0.8, 1.25)
SAME = ("language", "length", "schedule", "grid", "guidance", "floor", "draw", "steps")


def pairs(
    rows: Sequence[Row], churn: float, chosen: Callable[[Row], bool]
) -> list[tuple[Row, Row]]:
    """Rows at churn γ with the ODE's beside them."""
    ode = {tuple(r[n] for n in SAME): r for r in rows if number(r, "churn") == 0}
    mine = [r for r in rows if number(r, "churn") == churn and chosen(r)]
    return [(r, ode[key]) for r in mine if (key := tuple(r[n] for n in SAME)) in ode]


def _gain(churn: float, chosen: Callable[[Row], bool], allowed: Interval) -> Checks:
    """ODE's perplexity over the SDE's."""

    def checks(rows: list[Row], failure: float) -> list[Check]:
        beside = pairs(rows, churn, chosen)
        found = [quotient(estimate(o, "perplexity"), estimate(s, "perplexity")) for s, o in beside]
        return [inside(*ended(one, failure / len(found)), allowed) for one in found]

    return checks


def _plain(row: Row) -> bool:
    """Rectified flow on a uniform grid, without guidance or floor."""
    free = not number(row, "guidance") and not number(row, "floor")
    return row["schedule"] == "flow" and row["grid"] == "uniform" and free


def _is_place(rows: list[Row], failure: float) -> list[Check]:
    """At K = 2: churn ½ on the uniform grid over the ODE that looks where it does."""
    shifted = {
        (r["language"], r["draw"]): r
        for r in rows
        if r["grid"] == "shifted" and number(r, "churn") == 0 and number(r, "steps") == 2
        if not number(r, "guidance") and not number(r, "floor")
    }
    mine = [
        r
        for r in rows
        if _plain(r) and number(r, "churn") == 0.5 and number(r, "steps") == 2
        if (r["language"], r["draw"]) in shifted and dimension_of(r["language"]) >= 64
    ]
    checks = []
    for row in mine:
        other = shifted[row["language"], row["draw"]]
        found = quotient(estimate(row, "perplexity"), estimate(other, "perplexity"))
        effect, ends = ended(found, failure / len(mine))
        checks.append(Check(effect, ends, CLOSE, 1.0))
    return checks


def _indifferent(most: float) -> Checks:
    """Fréchet distance where tokens are more than a tenth off: K ≥ 4, churn up to `most`."""

    def checks(rows: list[Row], failure: float) -> list[Check]:
        mine = [
            r
            for r in rows
            if number(r, "steps") >= 4 and number(r, "churn") <= most
            if number(r, "over_truth_value") > 1.1
        ]
        return all_inside(mine, "frechet", Interval(-math.inf, 0.05), failure)

    return checks


def _claim(name: str, statement: str, checks: Checks, **said: Any) -> Claim:
    return Claim(name, "Few-step generation", statement, "churn_sweep", checks, **said)


CLAIMS = [
    _claim(
        "churn-small",
        "At n = 16, K ≥ 4 churn ½ changes perplexity by less than a fifth (ODE over SDE)",
        _gain(
            0.5,
            lambda r: _plain(r) and dimension_of(r["language"]) == 16 and number(r, "steps") >= 4,
            CLOSE,
        ),
        if_inconclusive="churn costs up to a tenth there, and the error of so few sequences is as "
        "large as what is left to a fifth",
    ),
    _claim(
        "churn-dimension",
        f"At n ≥ 128, K = 2 churn ½ lowers perplexity over {GAP:g} times (ODE over SDE)",
        _gain(
            0.5,
            lambda r: _plain(r) and dimension_of(r["language"]) >= 128 and number(r, "steps") == 2,
            Interval(GAP, math.inf),
        ),
        if_refuted="with clustered embeddings at n = 128 churn gains nothing, only random ones "
        "have the gain",
    ),
    _claim(
        "churn-is-place",
        "At n ≥ 64, K = 2 an ODE that looks at churn's noise level does as well (SDE over ODE)",
        _is_place,
    ),
    _claim(
        "smooth-indifferent",
        "Where tokens are a tenth off a smooth readout is within 5%, K ≥ 4, γ ≤ ½ (Fréchet)",
        _indifferent(0.5),
        if_refuted="on the shifted and the cosine grid churn at K = 4 goes back to nearly pure "
        "noise, and moves the latents themselves",
    ),
    _claim(
        "smooth-ode",
        "Of the ODE alone it is, at every schedule, n, guidance and floor (Fréchet distance)",
        _indifferent(0.0),
    ),
]
