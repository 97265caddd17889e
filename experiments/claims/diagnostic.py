"""Claims on the diagnostics: what CCI and DABI say of known generators, and the commit ablation."""

import math
from typing import Any

from theory.estimate import Interval, proportion_interval

from experiments.claims.columns import estimate, inside, number, of_family, over, ready
from experiments.store import Row
from experiments.verdict import Check, Checks, Claim

SAME = 1e-9  # rounding of what is exact
READ = 0.25  # noise up to which carried embeddings are read without doubt
KEPT, LOST = 0.98, 0.1  # retention of a commit, and of a constant
STRUCTURED = 2.0
WAYS = ("isotropic", "normal")
VARIANTS = ("normal", "singular", "residual", "oriented")


def _carried(rows: list[Row], name: str, near: bool = False) -> list[Row]:
    """Rows of the carriers of this name; with `near` those from latents without noise."""
    return [
        row
        for row in of_family(rows, "generator")
        if str(row["carrier"]).split()[0] == name and not (near and number(row, "noise") > 0)
    ]


def _cci(row: Row, way: str, failure: float) -> tuple[float, Interval]:
    return over(row, f"cci_{way}", 1.0, failure)


def _exactly(name: str, value: float) -> Checks:
    """CCI in both directions, to rounding."""

    def checks(rows: list[Row], failure: float) -> list[Check]:
        allowed = Interval(value - SAME, value + SAME)
        mine = _carried(rows, name)
        found = [_cci(row, way, failure / (2 * len(mine))) for row in mine for way in WAYS]
        return [inside(effect, ends, allowed) for effect, ends in found]

    return checks


def _retention(name: str, allowed: Interval) -> Checks:
    def checks(rows: list[Row], failure: float) -> list[Check]:
        mine = _carried(rows, name)
        checks = []
        for row in mine:
            ends = proportion_interval(estimate(row, "retention"), failure / len(mine))
            checks.append(inside(number(row, "retention_value"), ends, allowed))
        return checks

    return checks


def _both(*parts: Checks) -> Checks:
    def checks(rows: list[Row], failure: float) -> list[Check]:
        return [check for part in parts for check in part(rows, failure / len(parts))]

    return checks


def _between(rows: list[Row], failure: float) -> list[Check]:
    """CCI of soft feedback beside embeddings; CCI is at most 1, whatever its interval says."""
    mine = _carried(rows, "soft", near=True)
    checks = []
    for row in mine:
        for way in WAYS:
            effect, ends = _cci(row, way, failure / (2 * len(mine)))
            found = Interval(ends.lower, min(ends.upper, 1.0))
            checks.append(inside(effect, found, Interval(0.0, 1.0)))
    return checks


def _partial(rows: list[Row], failure: float) -> list[Check]:
    """Isotropic CCI of one ODE step from s to s′ over that of a token without doubt."""
    mine = [r for r in _carried(rows, "ode", near=True) if _times(r)[0] <= 0.5]
    checks = []
    for row in mine:
        effect, ends = over(row, "cci_isotropic", carried_law(row), failure / len(mine))
        checks.append(inside(effect, ends, Interval(0.95, 1.05)))
    return checks


def _times(row: Row) -> tuple[float, float]:
    _, before, after = str(row["carrier"]).split()
    return float(before), float(after)


def carried_law(row: Row) -> float:
    """1 − (ρ + (1−ρ)τ²/(τ²+s²))², ρ = s′/s, τ the width of the latents: x′ = x̂ + ρ(x − x̂)."""
    before, after = _times(row)
    kept, width = after / before, number(row, "width")
    return 1 - (kept + (1 - kept) * width**2 / (width**2 + before**2)) ** 2


def _rotation(rows: list[Row], failure: float) -> list[Check]:
    mine = [row for row in of_family(rows, "generator") if row["decoder"] == "smooth"]
    one = Interval(1 - SAME, 1 + SAME)
    return [ready(row, f"dabi_{way}_output", one) for row in mine for way in VARIANTS]


def _argmax(rows: list[Row], failure: float) -> list[Check]:
    mine = [row for row in of_family(rows, "generator") if row["decoder"] == "argmax"]
    return [ready(row, "dabi_normal_flips", Interval(STRUCTURED, math.inf)) for row in mine]


def _ablated(rows: list[Row], softness: float) -> list[Row]:
    return [
        row
        for row in of_family(rows, "ablation")
        if row["softness"] == softness and number(row, "read") <= READ
    ]


def _hard(rows: list[Row], failure: float) -> list[Check]:
    """Perplexity over the truth; told from a tenth more."""
    mine = _ablated(rows, 0)
    found = [over(row, "perplexity_over_truth", 1.0, failure / len(mine)) for row in mine]
    return [Check(effect, ends, Interval(1.0, 1.0), 0.2) for effect, ends in found]


def _soft(rows: list[Row], failure: float) -> list[Check]:
    mine = _ablated(rows, 1)
    found = [over(row, "perplexity_over_truth", 1.0, failure / len(mine)) for row in mine]
    return [inside(effect, ends, Interval(1.0, math.inf)) for effect, ends in found]


def _collapse(rows: list[Row], failure: float) -> list[Check]:
    """Unigram entropy over the language's."""
    mine = _ablated(rows, 1)
    found = [
        over(row, "entropy", number(row, "entropy_truth"), failure / len(mine)) for row in mine
    ]
    return [inside(effect, ends, Interval(0.0, 1.0)) for effect, ends in found]


def _claim(name: str, statement: str, checks: Checks, **said: Any) -> Claim:
    return Claim(name, "Diagnostics", statement, "diagnostic_taxonomy", checks, **said)


CLAIMS = [
    _claim("cci-pass", "A pass-through erases nothing (CCI is 0)", _exactly("pass", 0.0)),
    _claim(
        "cci-commit",
        f"A hard commit has CCI 1 and keeps {KEPT:g} of tokens at least (worst of both)",
        _both(_exactly("commit", 1.0), _retention("commit", Interval(KEPT, 1.0))),
    ),
    _claim(
        "cci-constant",
        f"A constant has CCI 1 too, but keeps {LOST:g} of tokens at most (worst of both)",
        _both(_exactly("constant", 1.0), _retention("constant", Interval(0.0, LOST))),
    ),
    _claim(
        "cci-soft",
        "Soft feedback beside embeddings lies between pass-through and commit (CCI in 0 to 1)",
        _between,
    ),
    _claim(
        "cci-ode",
        "An ODE step carries s′/s of an isotropic perturbation (CCI over 1 − (s′/s)², to 5%)",
        _partial,
    ),
    _claim(
        "dabi-rotation",
        "A rotation without argmax feels all directions alike (DABI of output is 1)",
        _rotation,
    ),
    _claim(
        "dabi-argmax",
        f"Nearest-embedding readouts feel the normal over {STRUCTURED:g} times as much (DABI)",
        _argmax,
    ),
    _claim(
        "ablation-hard",
        "Tokens fed back in an exact order say the language (perplexity over the truth is 1)",
        _hard,
    ),
    _claim(
        "ablation-soft",
        "Softmax averages fed back raise perplexity over the truth (ratio above 1)",
        _soft,
        if_refuted="in a small language averages say less than the truth, which is collapse and "
        "no win, since entropy falls with it",
    ),
    _claim(
        "ablation-collapse",
        "They lose entropy of single tokens (entropy over the language's below 1)",
        _collapse,
    ),
]
