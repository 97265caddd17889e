"""Claims on few steps of the exact denoiser (`few_step`)."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from theory.estimate import Estimate, Interval, quotient

from experiments.claims.columns import (
    all_inside,
    dimension_of,
    ended,
    estimate,
    inside,
    number,
    of_family,
    rate,
)
from experiments.store import Row
from experiments.verdict import Check, Checks, Claim

MANY = 64  # steps from which a sampler should be near the truth
NEAR = Interval(0.97, 1.1)
GAP = 2.0
CLOSE = Interval(0.8, 1.25)
SAME = ("language", "length", "schedule", "grid", "guidance", "floor", "draw", "steps")


def _mean_over_draws(rows: Sequence[Row], name: str) -> Estimate:
    """Of independent rows: what differs between draws of the language is not their error."""
    parts = [estimate(row, name) for row in rows]
    sem = math.sqrt(sum(float(part.sem) ** 2 for part in parts)) / len(parts)
    value = float(np.mean([part.value for part in parts]))
    return Estimate(value, sem, 0.0, min(int(part.count) for part in parts))


def _ways(rows: Sequence[Row], sampler: str) -> list[Row]:
    return [
        row
        for row in of_family(rows, "way", "sweep")
        if row["sampler"] == sampler and row["ending"] == "argmax"
    ]


def _converged(rows: list[Row], failure: float) -> list[Check]:
    mine = [r for r in of_family(rows, "reference") if number(r, "steps") >= MANY]
    steps = sorted({number(row, "steps") for row in mine})
    found = [
        _mean_over_draws([r for r in mine if number(r, "steps") == k], "over_truth") for k in steps
    ]
    return [inside(*ended(one, failure / len(steps)), NEAR) for one in found]


def _gap(rows: list[Row], failure: float) -> list[Check]:
    mine = [r for r in of_family(rows, "reference") if number(r, "steps") == 2]
    return all_inside(mine, "over_truth", Interval(GAP, math.inf), failure)


def _collapse(rows: list[Row], failure: float) -> list[Check]:
    mine = [r for r in _ways(rows, "renoise") if number(r, "steps") >= MANY]
    return all_inside(mine, "over_truth", Interval(0.0, 1.0), failure)


def _ancestral(rows: list[Row], failure: float) -> list[Check]:
    """Ancestral over exact steps from K = 8 on: not materially better, nor worse."""
    mine = [r for r in _ways(rows, "ancestral") if number(r, "steps") >= 8]
    checks = []
    for row in mine:
        others = [
            r
            for r in rows
            if r["family"] in ("reference", "sweep") and r["sampler"] == "exact"
            if all(r[name] == row[name] for name in SAME) and r["ending"] == "argmax"
        ]
        for other in others[:1]:
            found = quotient(estimate(row, "perplexity"), estimate(other, "perplexity"))
            checks.append(inside(*ended(found, failure / len(mine)), CLOSE))
    return checks


def _look(rows: list[Row], failure: float) -> list[Check]:
    """Perplexity of a second look at t = 0.8 over that of one at 0.4: n ≤ 16, and over n ≥ 128."""
    mine = {(r["language"], r["grid"]): r for r in of_family(rows, "look")}
    names = [n for n in dict.fromkeys(name for name, _ in mine) if not 16 < dimension_of(n) < 128]
    checks = []
    for name in names:
        late, early = (mine.get((name, f"look {t}")) for t in (0.8, 0.4))
        if late is None or early is None:
            continue
        small = dimension_of(name) <= 16
        top, bottom = (late, early) if small else (early, late)
        found = quotient(estimate(top, "perplexity"), estimate(bottom, "perplexity"))
        checks.append(inside(*ended(found, failure / len(names)), Interval(1.0, math.inf)))
    return checks


def _modes(rows: Sequence[Row], ending: str, samplers: tuple[str, ...]) -> list[Row]:
    mine = of_family(rows, "modes")
    return [r for r in mine if r["ending"] == ending and r["sampler"] in samplers]


def _mode_leak(rows: list[Row], failure: float) -> list[Check]:
    """With one step, and with two, the results are means: all of them have leaked."""
    mine = [r for r in _modes(rows, "argmax", ("exact",)) if number(r, "steps") <= 1]
    all_of_them = Interval(0.99, 1.0)
    return [inside(*rate(r, "leak", failure / len(mine)), all_of_them) for r in mine]


def _mode_commit(rows: list[Row], failure: float) -> list[Check]:
    """Leak of committed modes, in any number of steps."""
    mine = _modes(rows, "sampled", ("exact",))
    none = Interval(0.0, 0.01)
    checks = [inside(*rate(r, "leak", failure / (2 * len(mine))), none) for r in mine]
    return checks + all_inside(mine, "unbalance", Interval(-math.inf, 0.1), failure / 2)


def _mode_floor(rows: list[Row], failure: float) -> list[Check]:
    """The largest sampled ‖D(S_K∘…∘S_1)‖, which is at most Λ, over the floor of Λ."""
    mine = [
        r
        for r in _modes(rows, "argmax", ("exact", "heun"))
        if r.get("stiffness_floor") and 0.01 <= number(r, "leak_value") <= 0.5
    ]
    return [
        inside(value, Interval(value, math.inf), Interval(1.0, math.inf))
        for value in (number(r, "whole") / number(r, "stiffness_floor") for r in mine)
    ]


def _claim(name: str, statement: str, checks: Checks, **said: Any) -> Claim:
    theorem = "Theorems 5–7" if name.startswith("mode") else "Few-step generation"
    return Claim(name, theorem, statement, "few_step", checks, **said)


CLAIMS = [
    _claim(
        "few-step-gap",
        f"Two exact ODE steps say sequences of over {GAP:g} times the true perplexity (over it)",
        _gap,
    ),
    _claim(
        "ode-truth",
        f"From K = {MANY} on the exact ODE is near the truth (mean over draws, over it)",
        _converged,
    ),
    _claim(
        "ancestral-equal",
        "From K = 8 on ancestral steps say what ODE steps do, to a fifth (perplexity over it)",
        _ancestral,
        if_inconclusive="at K = 8 ancestral steps say up to a fifth more than the ODE, too near to "
        "the edge for so few sequences",
    ),
    _claim(
        "renoise-collapse",
        f"At K ≥ {MANY} re-noising the mean is below the true perplexity (over it)",
        _collapse,
    ),
    _claim(
        "look-dimension",
        "Of two looks the second is better early at n ≤ 16, late at n ≥ 128 (worse over better)",
        _look,
    ),
    _claim(
        "mode-leak",
        "One deterministic step of the exact denoiser puts all mass between the modes (leak)",
        _mode_leak,
    ),
    _claim(
        "mode-commit",
        "A mode sampled at the last look leaks nothing and keeps the masses, at every K (leak)",
        _mode_commit,
    ),
    _claim(
        "mode-floor",
        "K steps together are as stiff as their leak demands (sampled Λ over the floor)",
        _mode_floor,
    ),
]
