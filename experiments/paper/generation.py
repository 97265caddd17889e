"""What the tables have for the paper's numbers of few-step generation (its figure 9)."""

from theory.estimate import Interval, quotient

from experiments.claims.columns import dimension_of, ended, estimate, number, of_family
from experiments.paper.judgement import (
    APART,
    DIFFERENT,
    SAME,
    WIDE,
    Effect,
    Found,
    judged,
    listed,
    ranged,
)
from experiments.store import Row
from experiments.verdict import FAILURE

ALONE = ("language", "length", "schedule", "grid", "guidance", "floor", "draw")


def churn_gain(rows: list[Row]) -> Found | None:
    """The largest gain of churn at K = 4 on the uniform grid against 294/50."""
    ode = {tuple(r[n] for n in ALONE): r for r in rows if _at_four(r, 0.0)}
    found: dict[str, Effect] = {}
    for row in rows:
        other = ode.get(tuple(row[n] for n in ALONE))
        if other is not None and _at_four(row, 0.5):
            gain = quotient(estimate(other, "perplexity"), estimate(row, "perplexity"))
            found[f"n = {dimension_of(row['language'])}"] = ended(gain, FAILURE)
    if not found:
        return None
    name = max(found, key=lambda one: found[one][0])
    different = "with an exact denoiser churn gains so much in many dimensions and at K = 2 only"
    return ranged({f"at most, {name}": found[name]}, Interval(4.0, 8.0), "it does", different)


def trained_gain(rows: list[Row]) -> Found | None:
    """The gain of churn at K = 4 of trained denoisers, by Λ."""
    mine = [r for r in of_family(rows, "lipschitz") if r.get("churn_4_perplexity_value")]
    found = {
        f"Λ = {number(row, 'stiffness'):g}": ended(
            quotient(estimate(row, "ode_4_perplexity"), estimate(row, "churn_4_perplexity")),
            FAILURE,
        )
        for row in mine
        if row["restart"] == 0
    }
    why = "theirs is a distilled student of a guided model, ours are denoisers of proved stiffness"
    return (listed(found), APART, why) if found else None


def one_step_perplexity(rows: list[Row]) -> Found | None:
    """Of the exact ODE at K = 1, over all draws, against 3.07 to a factor of two."""
    values = [number(row, "perplexity_value") for row in _one_step(rows)]
    if not values:
        return None
    ends = {f"{v:.3g}": (v, Interval(v, v)) for v in (min(values), max(values))}
    judgement = judged(ends.values(), Interval(3.07 / 2, 3.07 * 2))
    different = (
        "judged by the chain itself, which hardly ever repeats a token, where a language model "
        "thinks repetition likely"
    )
    why = {SAME: "it is as low here", DIFFERENT: different, APART: WIDE}[judgement]
    return " to ".join(ends), judgement, why


def one_step_entropy(rows: list[Row]) -> Found | None:
    """Of single tokens at K = 1, over that of the language: collapse below a half."""
    mine = _one_step(rows)
    if not mine:
        return None
    most = max(number(row, "entropy_value") for row in mine)
    truth = min(number(row, "entropy_truth") for row in mine)
    ours = f"{most:.3g} nats at most, of {truth:.3g} in the language"
    if most > truth / 2:
        return ours, DIFFERENT, "tokens keep their variety here"
    return (
        ours,
        SAME,
        (
            "collapse: from pure noise the exact step ends in the mean, one token for ever, and "
            "what variety theirs keeps is its network's"
        ),
    )


def _one_step(rows: list[Row]) -> list[Row]:
    return [r for r in of_family(rows, "reference") if number(r, "steps") == 1]


def _at_four(row: Row, churn: float) -> bool:
    return number(row, "steps") == 4 and row["churn"] == churn and row["grid"] == "uniform"
