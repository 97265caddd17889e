"""Every claim is there, says why it does not hold, and spends no more than it says it may fail."""

import json
import math
from pathlib import Path

import pytest

from experiments import claims, registry, store
from experiments.claims import CLAIMS, Check
from experiments.verdict import FAILURE, Claim, Verdict
from theory.estimate import Interval

PRESETS = ("quick", "default", "paper")
DEFAULT = Claim("id", "theorem", "statement", "toy", lambda rows, failure: [])
EXPERIMENTS = dict(registry.EXPERIMENTS)


def judged(*checks: Check, rows: int = 3, **said: str) -> Verdict:
    claim = Claim("id", "theorem", "statement", "toy", lambda r, f: list(checks), **said)
    return claim.judge([{"family": "any"}] * rows)


def check(lower: float, upper: float, resolution: float = math.inf, failure: float = 0.0) -> Check:
    """1 is what the law says."""
    ends = Interval(lower, upper)
    return Check((lower + upper) / 2, ends, Interval(1.0, 1.0), resolution, failure)


@pytest.fixture(scope="module", params=PRESETS)
def reference(request: pytest.FixtureRequest) -> tuple[Path, list[Verdict]]:
    out = store.reference_folder() / request.param
    return out, claims.evaluate(out)


def test_no_claim_is_silently_absent(reference):
    """Every claim has a verdict, the recorded one, and no recorded one is of no claim."""
    out, verdicts = reference
    recorded = json.loads((out / "verdicts.json").read_text("utf-8"))
    assert {v.id: v.verdict for v in verdicts} == recorded
    assert [v.id for v in verdicts] == list(dict.fromkeys(claim.id for claim in CLAIMS))


def test_every_experiment_has_a_claim_and_every_claim_an_experiment():
    assert {claim.experiment for claim in CLAIMS} == set(EXPERIMENTS)


def test_what_does_not_hold_has_its_reason_in_one_sentence(reference):
    _, verdicts = reference
    for verdict in verdicts:
        assert bool(verdict.reason) == (verdict.verdict != "holds"), verdict
        assert not verdict.reason or verdict.reason.endswith("."), verdict
        assert verdict.reason.count(". ") == 0, verdict
        assert verdict.reason[:1] == verdict.reason[:1].upper(), verdict


def test_what_is_refuted_says_why_by_itself(reference):
    """And so does what is inconclusive at the paper preset, which no larger one would settle."""
    out, verdicts = reference
    by_id = {claim.id: claim for claim in CLAIMS}
    for verdict in verdicts:
        own = by_id[verdict.id]
        if verdict.verdict == "refuted":
            assert own.if_refuted != DEFAULT.if_refuted, verdict
            assert own.if_refuted in verdict.reason
        if verdict.verdict == "inconclusive" and out.name == "paper":
            assert own.if_inconclusive != DEFAULT.if_inconclusive, verdict
            assert own.if_inconclusive in verdict.reason


def test_no_claim_of_the_paper_preset_is_without_rows(reference):
    out, verdicts = reference
    assert out.name != "paper" or all(v.effect is not None for v in verdicts)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (check(0.9, 1.1), ""),
        (check(1.2, 1.3), "The interval [1.2, 1.3] lies outside 1: BAD."),
        (
            check(0.5, 1.5, resolution=0.5),
            "The interval [0.5, 1.5] is wider than 0.5, the widest that tells the law from its "
            "falsifier: VAGUE.",
        ),
        (check(0.5, 1.5, resolution=0.0), "The interval [0.5, 1.5] reaches beyond 1: VAGUE."),
        (check(0.5, math.inf, 0.0), "The interval [0.5, ∞] reaches beyond 1: VAGUE."),
        (check(math.nan, math.nan), "The effect is not a number: VAGUE."),
    ],
)
def test_a_reason_is_what_was_found_and_why(found: Check, said: str):
    assert judged(found, if_refuted="BAD", if_inconclusive="VAGUE").reason == said


def test_without_a_table_and_without_a_row_that_bears_on_it_the_reason_says_so():
    missing, small = judged(rows=0), judged(rows=7)
    assert missing.verdict == "missing"
    assert "no table of toy" in missing.reason
    assert "noncommit run toy && noncommit verify --claim id" in missing.reason
    assert small.verdict == "inconclusive"
    assert small.reason.startswith("None of the 7 rows of toy bears on it")


def test_the_worst_check_is_shown():
    """The one that is refuted; of a law the effect most half-widths away, whatever the width."""
    verdict = judged(check(0.9, 1.1), check(1.2, 1.3), check(0.8, 1.2))
    assert (verdict.verdict, verdict.effect) == ("refuted", 1.25)
    assert judged(check(0.5, 1.5), check(0.99, 1.02), check(0.9, 1.2)).effect == pytest.approx(1.05)


def test_of_a_bound_the_interval_nearest_to_it_is_shown():
    ends = [(1.4, 1.6), (1.2, 99.0), (5.0, math.inf), (3.0, 3.0)]
    above = [
        Check(lower + 0.05, Interval(lower, upper), Interval(1.0, math.inf))
        for lower, upper in ends
    ]
    assert judged(*above).interval == (1.2, 99.0)
    below = [
        Check(-lower, Interval(-upper, -lower), Interval(-math.inf, 1.0)) for lower, upper in ends
    ]
    assert judged(*below).interval == (-99.0, -1.2)


def test_failure_probabilities_are_shared_or_added_up():
    """What is made here shares the claim's; an interval that a table holds ready adds its own."""
    assert judged(check(0.9, 1.1), check(0.9, 1.1)).failure_probability == FAILURE
    ready = check(0.9, 1.1, failure=FAILURE)
    assert judged(ready, ready, ready).failure_probability == pytest.approx(3 * FAILURE)
    assert judged(ready, check(0.9, 1.1)).failure_probability == pytest.approx(2 * FAILURE)


def test_all_claims_together_fail_rarely_but_for_the_fits(reference):
    _, verdicts = reference
    spent = {v.id: v.failure_probability or 0.0 for v in verdicts}
    fits = [f"exponent-{n}" for n in (1, 2, 3, 4)]
    assert math.fsum(p for name, p in spent.items() if name not in fits) < 1e-6
    assert all(spent[name] in (0.0, 0.01) for name in fits)


def test_verify_prints_the_reasons_and_what_all_may_fail_with(noncommit, reference):
    out, verdicts = reference
    status, printed, errors = noncommit("verify", "--preset", out.name, "--out", out)
    assert (status, errors) == (0, "")
    lines = printed.splitlines()
    assert len(lines) == 2 + len(CLAIMS) + sum(v.verdict != "holds" for v in verdicts)
    for verdict in verdicts:
        said = f"{verdict.id} is {verdict.verdict}. {verdict.reason}"
        assert (said in lines) == (verdict.verdict != "holds")
    spent = math.fsum(v.failure_probability for v in verdicts if v.failure_probability)
    judged_ones = sum(v.failure_probability is not None for v in verdicts)
    assert lines[-1].startswith(
        f"failure probability of {judged_ones} claims together: {spent:.2g}"
    )
    assert ("fits of few points" in lines[-1]) == (spent > 1e-6)


def test_verify_of_an_empty_folder_names_every_claim(noncommit, tmp_path):
    status, printed, errors = noncommit("verify", "--preset", "quick", "--out", tmp_path)
    assert status == 1
    assert errors.count("is missing; the recorded verdict is") == len(CLAIMS)
    assert printed.count(" is missing. There is no table of ") == len(CLAIMS)
    assert printed.splitlines()[-1] == "failure probability of 0 claims together: 0"
