"""Claims on few-step generation with the exact denoiser, and on its two escapes."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from theory.estimate import Estimate, Interval, quotient

from experiments.claims.columns import estimate, inside, number, of_family, over
from experiments.store import Row
from experiments.verdict import FAILURE, Check, Checks, Claim

ONE = Interval(1.0, 1.0)
MANY = 64  # steps from which a sampler should be near the truth
NEAR = Interval(0.97, 1.1)
GAP = 2.0
CLOSE = Interval(0.8, 1.25)
SAME = ("language", "length", "schedule", "grid", "guidance", "floor", "draw", "steps")
Rows = Sequence[Row]


def _ends(found: Estimate, failure: float) -> tuple[float, Interval]:
    ends = found.interval(failure)
    return float(found.value), Interval(float(ends.lower), float(ends.upper))


def _inside(rows: Rows, name: str, allowed: Interval, failure: float) -> list[Check]:
    """Estimates that must lie in an interval with the whole of theirs."""
    share = failure / max(1, len(rows))
    return [inside(*_ends(estimate(row, name), share), allowed) for row in rows]


def _mean_over_draws(rows: Rows, name: str) -> Estimate:
    """Of independent rows: what differs between draws of the language is not their error."""
    parts = [estimate(row, name) for row in rows]
    sem = math.sqrt(sum(float(part.sem) ** 2 for part in parts)) / len(parts)
    value = float(np.mean([part.value for part in parts]))
    return Estimate(value, sem, 0.0, min(int(part.count) for part in parts))


def _ways(rows: Rows, sampler: str) -> list[Row]:
    return [
        row
        for row in of_family(rows, "way", "sweep")
        if row["sampler"] == sampler and row["ending"] == "argmax"
    ]


# few_step


def _converged(rows: list[Row], failure: float) -> list[Check]:
    mine = [r for r in of_family(rows, "reference") if number(r, "steps") >= MANY]
    steps = sorted({number(row, "steps") for row in mine})
    found = [
        _mean_over_draws([r for r in mine if number(r, "steps") == k], "over_truth") for k in steps
    ]
    return [inside(*_ends(one, failure / len(steps)), NEAR) for one in found]


def _gap(rows: list[Row], failure: float) -> list[Check]:
    mine = [r for r in of_family(rows, "reference") if number(r, "steps") == 2]
    return _inside(mine, "over_truth", Interval(GAP, math.inf), failure)


def _collapse(rows: list[Row], failure: float) -> list[Check]:
    mine = [r for r in _ways(rows, "renoise") if number(r, "steps") >= MANY]
    return _inside(mine, "over_truth", Interval(0.0, 1.0), failure)


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
            checks.append(inside(*_ends(found, failure / len(mine)), CLOSE))
    return checks


def _look(rows: list[Row], failure: float) -> list[Check]:
    """Perplexity of a second look at t = 0.8 over that of one at 0.4: n ≤ 16, and over n ≥ 128."""
    mine = {(r["language"], r["grid"]): r for r in of_family(rows, "look")}
    names = [n for n in dict.fromkeys(name for name, _ in mine) if not 16 < _dimension(n) < 128]
    checks = []
    for name in names:
        late, early = (mine.get((name, f"look {t}")) for t in (0.8, 0.4))
        if late is None or early is None:
            continue
        small = _dimension(name) <= 16
        top, bottom = (late, early) if small else (early, late)
        found = quotient(estimate(top, "perplexity"), estimate(bottom, "perplexity"))
        checks.append(inside(*_ends(found, failure / len(names)), Interval(1.0, math.inf)))
    return checks


def _modes(rows: Rows, ending: str, samplers: tuple[str, ...]) -> list[Row]:
    mine = of_family(rows, "modes")
    return [r for r in mine if r["ending"] == ending and r["sampler"] in samplers]


def _mode_leak(rows: list[Row], failure: float) -> list[Check]:
    """With one step, and with two, the results are means: all of them have leaked."""
    mine = [r for r in _modes(rows, "argmax", ("exact",)) if number(r, "steps") <= 1]
    ends = [Interval(number(r, "leak_lower"), number(r, "leak_upper")) for r in mine]
    return [
        inside(number(r, "leak_value"), e, Interval(0.99, 1.0))
        for r, e in zip(mine, ends, strict=True)
    ]


def _mode_commit(rows: list[Row], failure: float) -> list[Check]:
    """Leak of committed modes, in any number of steps."""
    mine = _modes(rows, "sampled", ("exact",))
    ends = [Interval(number(r, "leak_lower"), number(r, "leak_upper")) for r in mine]
    checks = [
        inside(number(r, "leak_value"), e, Interval(0.0, 0.01))
        for r, e in zip(mine, ends, strict=True)
    ]
    return checks + _inside(mine, "unbalance", Interval(-math.inf, 0.1), failure)


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


# churn_sweep


def _pairs(rows: Rows, churn: float, chosen: Callable[[Row], bool]) -> list[tuple[Row, Row]]:
    """Rows at churn γ with the ODE's beside them."""
    ode = {tuple(r[n] for n in SAME): r for r in rows if number(r, "churn") == 0}
    mine = [r for r in rows if number(r, "churn") == churn and chosen(r)]
    return [(r, ode[key]) for r in mine if (key := tuple(r[n] for n in SAME)) in ode]


def _dimension(language: object) -> int:
    return int(str(language).split()[3])


def _gain(churn: float, chosen: Callable[[Row], bool], allowed: Interval) -> Checks:
    """ODE's perplexity over the SDE's."""

    def checks(rows: list[Row], failure: float) -> list[Check]:
        pairs = _pairs(rows, churn, chosen)
        found = [quotient(estimate(o, "perplexity"), estimate(s, "perplexity")) for s, o in pairs]
        return [inside(*_ends(one, failure / len(found)), allowed) for one in found]

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
        if (r["language"], r["draw"]) in shifted and _dimension(r["language"]) >= 64
    ]
    checks = []
    for row in mine:
        other = shifted[row["language"], row["draw"]]
        found = quotient(estimate(row, "perplexity"), estimate(other, "perplexity"))
        effect, ends = _ends(found, failure / len(mine))
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
        return _inside(mine, "frechet", Interval(-math.inf, 0.05), failure)

    return checks


# commitment_rounds


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
    return _inside(mine, "over_truth", Interval(1.02, math.inf), failure)


def _second(rows: list[Row], failure: float) -> list[Check]:
    mine = [r for r in rows if r["order"] == "bisection" and str(r["language"])[:5] == "pairs"]
    return _inside(mine, "over_truth", Interval(1.02, math.inf), failure)


def _claim(name: str, statement: str, experiment: str, checks: Checks) -> Claim:
    theorem = "Theorems 5–7" if name.startswith("mode") else "Few-step generation"
    return Claim(name, theorem, statement, experiment, checks, FAILURE)


CLAIMS = [
    _claim(
        "few-step-gap",
        f"Two exact ODE steps say sequences of over {GAP:g} times the true perplexity (over it)",
        "few_step",
        _gap,
    ),
    _claim(
        "ode-truth",
        f"From K = {MANY} on the exact ODE is near the truth (mean over draws, over it)",
        "few_step",
        _converged,
    ),
    _claim(
        "ancestral-equal",
        "From K = 8 on ancestral steps say what ODE steps do, to a fifth (perplexity over it)",
        "few_step",
        _ancestral,
    ),
    _claim(
        "renoise-collapse",
        f"At K ≥ {MANY} re-noising the mean is below the true perplexity (over it)",
        "few_step",
        _collapse,
    ),
    _claim(
        "look-dimension",
        "Of two looks the second is better early at n ≤ 16, late at n ≥ 128 (worse over better)",
        "few_step",
        _look,
    ),
    _claim(
        "mode-leak",
        "One deterministic step of the exact denoiser puts all mass between the modes (leak)",
        "few_step",
        _mode_leak,
    ),
    _claim(
        "mode-commit",
        "A mode sampled at the last look leaks nothing and keeps the masses, at every K (leak)",
        "few_step",
        _mode_commit,
    ),
    _claim(
        "mode-floor",
        "K steps together are as stiff as their leak demands (sampled Λ over the floor)",
        "few_step",
        _mode_floor,
    ),
    _claim(
        "churn-small",
        "At n = 16, K ≥ 4 churn ½ changes perplexity by less than a fifth (ODE over SDE)",
        "churn_sweep",
        _gain(
            0.5,
            lambda r: _plain(r) and _dimension(r["language"]) == 16 and number(r, "steps") >= 4,
            CLOSE,
        ),
    ),
    _claim(
        "churn-dimension",
        f"At n ≥ 128, K = 2 churn ½ lowers perplexity over {GAP:g} times (ODE over SDE)",
        "churn_sweep",
        _gain(
            0.5,
            lambda r: _plain(r) and _dimension(r["language"]) >= 128 and number(r, "steps") == 2,
            Interval(GAP, math.inf),
        ),
    ),
    _claim(
        "churn-is-place",
        "At n ≥ 64, K = 2 an ODE that looks at churn's noise level does as well (SDE over ODE)",
        "churn_sweep",
        _is_place,
    ),
    _claim(
        "smooth-indifferent",
        "Where tokens are a tenth off a smooth readout is within 5%, K ≥ 4, γ ≤ ½ (Fréchet)",
        "churn_sweep",
        _indifferent(0.5),
    ),
    _claim(
        "smooth-ode",
        "Of the ODE alone it is, at every schedule, n, guidance and floor (Fréchet distance)",
        "churn_sweep",
        _indifferent(0.0),
    ),
    _claim(
        "commit-exact",
        "Bisection in ⌈log₂(L+1)⌉ rounds has the perplexities of the language (over them)",
        "commitment_rounds",
        _exact,
    ),
    _claim(
        "commit-orders",
        "Random and confidence orders in so few rounds do not (perplexity over the truth)",
        "commitment_rounds",
        _random,
    ),
    _claim(
        "commit-second-order",
        "Bisection of a second-order language does not either (perplexity over the truth)",
        "commitment_rounds",
        _second,
    ),
]
