"""The paper side by side: every number is there, a judgement follows from the table's numbers."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from experiments import paper, registry, store
from experiments.paper import ABSENT, generation, measures
from experiments.paper.judgement import APART, DIFFERENT, SAME, judged, ranged
from theory.estimate import Interval

REPORTED = (
    *("−0.90 to −0.97", "approaching −1", "M^(1/2)", "M^(1/3)", "M^(1/4)", "√log M", "2.3"),
    *("0.064", "12–41%", "90%", "10–33", "1%", "5·10²", "10⁵", "45.7", "21.2", "≈ 1"),
    *("294", "50", "47.3", "34.8", "3.07", "2.01"),
)
EXPERIMENTS = dict(registry.EXPERIMENTS)


@pytest.fixture(scope="module")
def compared() -> list[paper.Comparison]:
    return paper.compare(store.reference_folder() / "paper")


def test_every_number_of_the_paper_has_a_row(compared):
    reported = " ".join(one.paper for one in compared)
    assert [number for number in REPORTED if number not in reported] == []
    assert {one.where for one in compared} == {
        *("fig 2, 7", "fig 3", "fig 5a", "fig 5b–d", "fig 6", "fig 9")
    }
    assert len({one.quantity for one in compared}) == len(compared)


def test_at_the_paper_preset_every_row_is_measured_and_says_why(compared):
    for one in compared:
        assert one.ours != ABSENT, one
        assert one.ours.endswith("; paper preset"), one
        assert one.judgement in (SAME, DIFFERENT, APART)
        assert re.fullmatch(r"[^a-z].*\.", one.why), one
        assert ". " not in one.why, one
    assert {one.judgement for one in compared} == {SAME, DIFFERENT, APART}


def test_without_tables_every_row_is_there_and_names_what_to_run(tmp_path: Path):
    for one in paper.compare(tmp_path):
        assert (one.ours, one.judgement) == (ABSENT, APART)
        command = re.search(r"`noncommit run (\w+) --preset paper`", one.why)
        assert command, one
        assert command[1] in EXPERIMENTS


def test_the_preset_is_the_tables_own(tmp_path: Path):
    reference = store.reference_folder() / "paper"
    for suffix in ("csv", "manifest.json"):
        shutil.copy(reference / f"few_step.{suffix}", tmp_path)
    manifest = tmp_path / "few_step.manifest.json"
    manifest.write_text(json.dumps({"preset": "default"}))
    ours = {one.quantity: one.ours for one in paper.compare(tmp_path)}
    assert ours["entropy of one ODE step"].endswith("; default preset")
    manifest.unlink()
    ours = {one.quantity: one.ours for one in paper.compare(tmp_path)}
    assert ours["entropy of one ODE step"].endswith("; unknown preset")


# How it is judged


RANGE = Interval(10.0, 33.0)


@pytest.mark.parametrize(
    ("found", "strict", "judgement"),
    [
        ([(20.0, Interval(15.0, 25.0))], False, SAME),
        ([(20.0, Interval(0.1, 900.0))], False, SAME),  # the value itself is in the range
        ([(40.0, Interval(8.0, 50.0))], False, APART),  # too wide to be its value
        ([(5.0, Interval(4.0, 6.0))], False, DIFFERENT),
        ([(5.0, Interval(4.0, 6.0)), (40.0, Interval(30.0, 50.0))], False, APART),
        ([(5.0, Interval(4.0, 6.0)), (40.0, Interval(30.0, 50.0))], True, DIFFERENT),
        ([(5.0, Interval(4.0, 6.0)), (20.0, Interval(15.0, 25.0))], True, SAME),
    ],
)
def test_ours_is_told_from_a_range(found, strict, judgement):
    assert judged(found, RANGE, strict) == judgement


def test_a_narrow_interval_about_the_papers_value_is_the_same():
    assert judged([(20.8, Interval(18.4, 23.7))], Interval(21.2, 21.2)) == SAME
    assert judged([(20.8, Interval(2.0, 230.0))], Interval(21.2, 21.2)) == APART


def test_ratios_of_rare_events_are_counted_and_not_shown():
    wide = (3.0, Interval(1e-9, 1e9))
    found = ranged({"one": (5.0, Interval(4.0, 6.0)), "two": wide}, RANGE, "same", "no")
    assert found == ("5 [4, 6] (one), and 1 with events too rare to say", DIFFERENT, "no")
    ours, judgement, _ = ranged({"two": wide}, RANGE, "same", "no")
    assert (ours, judgement) == ("1 with events too rare to say", APART)
    assert ranged({}, RANGE, "same", "no") is None


# Tables that say something else


def estimated(relative: float = 1e-3, **named: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in named.items():
        found |= {f"{name}_value": value, f"{name}_sem": relative * abs(value)}
        found |= {f"{name}_bias": 0.0, f"{name}_count": 10**6}
    return found


def leaks(power: float, bend: float = 0.0) -> list[store.Row]:
    """Λ^power at M = 16, steeper by `bend` at the larger half."""
    rows = []
    for stiffness in (4.0, 8.0, 16.0, 32.0):
        value = 0.4 * (stiffness / 4) ** power * max(1.0, stiffness / 16) ** bend
        own = {"family": "sparsemax", "modes": 16, "stiffness": stiffness, "exact": value}
        rows.append({**own, **estimated(leak=value)})
    return rows


@pytest.mark.parametrize(("power", "judgement"), [(-0.95, SAME), (-0.5, DIFFERENT)])
def test_a_slope(power: float, judgement: str):
    assert measures.slope(leaks(power))[1] == judgement


@pytest.mark.parametrize(("bend", "judgement"), [(-0.1, SAME), (0.0, APART), (0.1, DIFFERENT)])
def test_a_slope_that_approaches_minus_1(bend: float, judgement: str):
    assert measures.steepening(leaks(-0.9, bend))[1] == judgement


@pytest.mark.parametrize(
    ("gain", "relative", "judgement"),
    [(1.5, 1e-3, DIFFERENT), (5.9, 1e-3, SAME), (3.0, 0.1, APART)],
)
def test_a_gain_of_churn(gain: float, relative: float, judgement: str):
    shared = {"language": "markov 64 0.05 16 random", "schedule": "flow", "grid": "uniform"}
    shared |= {"length": 64, "guidance": 0.0, "floor": 0.0, "draw": 0, "steps": 4}
    rows = [
        {**shared, "churn": churn, **estimated(relative, perplexity=value)}
        for churn, value in ((0.0, 50 * gain), (0.5, 50.0))
    ]
    assert generation.churn_gain(rows)[1] == judgement
    assert generation.churn_gain(rows[:1]) is None


@pytest.mark.parametrize(
    ("entropy", "perplexity", "judgements"),
    [(0.0, 622.0, (SAME, DIFFERENT)), (3.9, 3.1, (DIFFERENT, SAME))],
)
def test_one_step(entropy: float, perplexity: float, judgements: tuple[str, str]):
    values = estimated(entropy=entropy, perplexity=perplexity)
    rows = [{"family": "reference", "steps": 1, "entropy_truth": 4.0, **values}]
    found = generation.one_step_entropy(rows), generation.one_step_perplexity(rows)
    assert tuple(one[1] for one in found) == judgements


@pytest.mark.parametrize(("share", "judgement"), [(0.18, DIFFERENT), (0.01, SAME)])
def test_a_share_of_the_row_space(share: float, judgement: str):
    row = {"family": "terminal", "rank": 8, "dimension": 32, "isotropic_share": 0.25}
    assert measures.row_space([{**row, **estimated(share=share)}])[1] == judgement


def image(lower: float, upper: float) -> list[store.Row]:
    row: store.Row = {"family": "step", "kind": "image", "decoder": "dcgan", "length": 0.1}
    for way in ("residual", "singular"):
        ends = {"value": (lower + upper) / 2, "lower": lower, "upper": upper}
        row |= {f"dabi_{way}_output_{k}": v for k, v in ends.items()}
    return [row]


@pytest.mark.parametrize(
    ("lower", "upper", "judgements"),
    [
        (0.9, 1.1, (SAME, SAME)),
        (3.0, 5.0, (DIFFERENT, DIFFERENT)),
        (0.1, 7.0, (APART, APART)),
    ],
)
def test_images(lower: float, upper: float, judgements: tuple[str, str]):
    rows = image(lower, upper)
    found = measures.image_residual("dcgan")(rows), measures.image_worst(rows)
    assert tuple(one[1] for one in found) == judgements
    assert measures.image_residual("taef2")(rows) is None


def test_a_claim_that_is_refuted_is_different_and_one_that_is_open_says_so():
    measure = measures.claimed("tube-limit", "flips over the law", "yes", "no")
    for value, relative, judgement, why in (
        (1.0, 1e-4, SAME, "yes"),
        (0.8, 1e-4, DIFFERENT, "no"),
        (1.0, 0.1, APART, "The interval"),
    ):
        limits = estimated(relative, limit_raw=value, limit_mean=value)
        found = measure([{"pair": "quadrants", "scale": 0, "limit_width": 0.05, **limits}])
        assert found[1] == judgement
        assert found[2].startswith(why)
    assert measure([{"pair": "quadrants", "scale": 0.5}]) is None
