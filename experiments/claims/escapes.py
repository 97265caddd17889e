"""Claims on what ends in one token, what sets the order of ODE and SDE, and what is vacuous.

They were written when the tables had been seen.
"""

import math

from theory.estimate import Interval, quotient

from experiments.claims.churn import pairs
from experiments.claims.columns import (
    all_inside,
    dimension_of,
    ended,
    estimate,
    inside,
    number,
    of_family,
    over,
)
from experiments.store import Row
from experiments.verdict import Check, Claim

SAME = 1e-9  # rounding of what is exact
NOTHING = Interval(0.0, 0.01)  # nats
SIZES = {16: Interval(-math.inf, 1.0), 128: Interval(1.0, math.inf)}


def _one_step(rows: list[Row], failure: float) -> list[Check]:
    """Entropy of single tokens after one exact ODE step from noise, which ends in the mean."""
    mine = [r for r in of_family(rows, "reference") if number(r, "steps") == 1]
    return all_inside(mine, "entropy", NOTHING, failure)


def _restart(rows: list[Row], failure: float) -> list[Check]:
    """The same at K = 2 with churn that goes back to noise, on every grid."""
    mine = [r for r in rows if number(r, "churn") >= 1 and number(r, "steps") == 2]
    return all_inside(mine, "entropy", NOTHING, failure)


def _order(rows: list[Row], failure: float) -> list[Check]:
    """ODE's perplexity over that of churn ½, K = 2, uniform grid: below 1 at n = 16, above at 128.

    Schedule, guidance and noise floor are varied, one at a time.
    """
    beside = pairs(rows, 0.5, _varied)
    checks = []
    for churned, ode in beside:
        found = quotient(estimate(ode, "perplexity"), estimate(churned, "perplexity"))
        allowed = SIZES[dimension_of(churned["language"])]
        checks.append(inside(*ended(found, failure / len(beside)), allowed))
    return checks


def _varied(row: Row) -> bool:
    """K = 2 on the uniform grid, V = 64, n of SIZES."""
    two = number(row, "steps") == 2 and row["grid"] == "uniform"
    return (
        two
        and str(row["language"]).startswith("markov 64")
        and dimension_of(row["language"]) in SIZES
    )


def _vacuous(rows: list[Row], failure: float) -> list[Check]:
    """Row-space share of residuals where W has full column rank."""
    mine = [r for r in of_family(rows, "terminal") if r["rank"] == r["dimension"]]
    return all_inside(mine, "share", Interval(1 - SAME, 1 + SAME), failure)


def _factor(rows: list[Row], failure: float) -> list[Check]:
    """CCI of G = cz, isotropic and along normals, over 1 − c²."""
    mine = [r for r in of_family(rows, "generator") if str(r["carrier"]).startswith("factor ")]
    found = [
        over(row, f"cci_{way}", 1 - float(str(row["carrier"]).split()[1]) ** 2, share)
        for share in [failure / max(1, 2 * len(mine))]
        for row in mine
        for way in ("isotropic", "normal")
    ]
    return [inside(effect, ends, Interval(1 - SAME, 1 + SAME)) for effect, ends in found]


CLAIMS = [
    Claim(
        "one-step-collapse",
        "Few-step generation",
        "One exact ODE step from noise says one token for ever (entropy of tokens, nats)",
        "few_step",
        _one_step,
    ),
    Claim(
        "churn-restart",
        "Few-step generation",
        "Churn of 1 at K = 2 restarts from noise and does the same, on every grid (entropy)",
        "churn_sweep",
        _restart,
    ),
    Claim(
        "churn-ingredients",
        "Few-step generation",
        "Neither schedule nor guidance nor a noise floor turns the order of ODE and churn ½ at K = "
        "2, V = 64: the ODE is better at n = 16, churn at n = 128 (ODE over SDE)",
        "churn_sweep",
        _order,
    ),
    Claim(
        "row-space-vacuous",
        "Diagnostics",
        "Where W has full column rank the row-space share of any residual is 1 (share)",
        "oracle_rollin",
        _vacuous,
    ),
    Claim(
        "cci-factor",
        "Diagnostics",
        "G = cz has CCI 1 − c² in every direction (over it)",
        "diagnostic_taxonomy",
        _factor,
    ),
]
