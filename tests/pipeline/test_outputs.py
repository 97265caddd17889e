"""Verdicts, figures and report: functions of the tables in a folder."""

import json
import math
import sys
import types
from dataclasses import dataclass

import pytest

import figures
from experiments import claims, store

FIGURE = """
from matplotlib.figure import Figure


def draw(table):
    found = {}
    for name in ("means", "spreads"):
        figure = Figure()
        points = [(row["modes"], row["mean_value"]) for row in table]
        figure.subplots().plot(*zip(*points))
        found[name] = figure
    return found
"""


@dataclass(frozen=True)
class Verdict:
    id: str
    theorem: str
    statement: str
    verdict: str
    effect: float | None
    interval: tuple[float, float] | None
    failure_probability: float | None
    command: str
    reason: str = ""


HOLDS = Verdict(
    "floor", "6", "P ≥ P_S <always>", "holds", 0.25, (0.2, 0.3), 1e-9, "noncommit run toy"
)
GONE = Verdict("tube", "3", "flips", "missing", None, None, None, "noncommit run tube")
ODD = Verdict(
    "law", "5", "leak", "inconclusive", math.nan, (0.0, math.inf), 1e-9, "noncommit run x"
)


@pytest.fixture
def folder(noncommit, tmp_path, monkeypatch):
    """A results folder with the toy's table, a figure module, claims and recorded verdicts."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "toy.py").write_text(FIGURE)
    monkeypatch.setattr(figures, "__path__", [*figures.__path__, str(tmp_path / "modules")])
    monkeypatch.setattr(store, "reference_folder", lambda: tmp_path / "reference")
    out = tmp_path / "out"
    assert noncommit("run", "toy", "--preset", "quick", "--out", out)[0] == 0
    yield out
    sys.modules.pop("figures.toy", None)


@pytest.fixture
def judge(monkeypatch, tmp_path):
    """Fix what the claims say, and what is on record for the quick preset."""

    def fix(verdicts, recorded):
        monkeypatch.setattr(
            claims, "evaluate", lambda out, claim: [v for v in verdicts if claim in (None, v.id)]
        )
        (tmp_path / "reference" / "quick").mkdir(parents=True, exist_ok=True)
        (tmp_path / "reference" / "quick" / "verdicts.json").write_text(json.dumps(recorded))

    return fix


def test_recorded_verdicts_are_status_0(noncommit, folder, judge):
    judge([HOLDS, ODD], {"floor": "holds", "law": "inconclusive"})
    status, printed, errors = noncommit("verify", "--out", folder)
    assert (status, errors) == (0, "")
    head, first, *_ = printed.splitlines()
    assert head.split()[:4] == ["claim", "theorem", "verdict", "recorded"]
    assert first.split() == ["floor", "6", "holds", "holds", "0.25", "[0.2,", "0.3]", "1e-09"]


@pytest.mark.parametrize(
    ("verdicts", "recorded", "reason"),
    [
        ([HOLDS], {"floor": "refuted"}, "floor is holds; the recorded verdict is refuted"),
        ([HOLDS], {}, "floor is holds; the recorded verdict is none"),
        ([HOLDS, GONE], {"floor": "holds", "tube": "holds"}, "run `noncommit run tube`"),
        ([GONE], {"tube": "missing"}, "tube is missing"),
    ],
)
def test_a_verdict_that_differs_is_named_and_status_1(
    noncommit, folder, judge, verdicts, recorded, reason
):
    judge(verdicts, recorded)
    status, _, errors = noncommit("verify", "--out", folder)
    assert status == 1
    assert errors.count("\n") == 1
    assert reason in errors


def test_json_holds_the_public_fields_and_no_nan(noncommit, folder, judge):
    judge([HOLDS, ODD], {"law": "inconclusive"})
    status, printed, _ = noncommit("verify", "--json", "--claim", "law", "--out", folder)
    assert status == 0
    (law,) = json.loads(printed)
    keys = ["id", "theorem", "verdict", "effect", "interval", "failure_probability", "command"]
    assert list(law) == keys
    assert law["effect"] is None
    assert law["interval"] == [0.0, None]


def test_a_preset_without_a_record_says_so(noncommit, folder, judge):
    judge([HOLDS], {"floor": "holds"})
    status, _, errors = noncommit("verify", "--preset", "paper", "--out", folder)
    assert status == 1
    assert "no verdicts are recorded for paper" in errors


def test_figures_are_drawn_to_the_same_bytes(noncommit, folder):
    paths = [
        folder / "figures" / f"toy-{n}.{k}" for n in ("means", "spreads") for k in ("svg", "png")
    ]
    contents = []
    for _ in range(2):
        status, printed, errors = noncommit("figures", "--out", folder)
        assert (status, errors) == (0, "")
        assert printed.split() == [str(path) for path in paths]
        contents.append([path.read_bytes() for path in paths])
    assert contents[0] == contents[1]
    ids = [
        {word for word in text.split(b'"') if word.startswith(b"#p")} for text in contents[0][::2]
    ]
    assert not ids[0] & ids[1]


def test_the_report_is_one_page_with_everything(noncommit, folder, judge):
    judge([HOLDS, GONE], {})
    status, printed, _ = noncommit("report", "--out", folder)
    assert (status, printed) == (0, f"{folder / 'report.html'}\n")
    page = (folder / "report.html").read_text("utf-8")
    assert "P ≥ P_S &lt;always&gt;" in page
    assert page.count("<figure>") == 2
    assert "http" not in page.replace("http-equiv", "")
    assert "noncommit run toy --preset quick" in page
    before = (folder / "report.html").read_bytes()
    assert noncommit("report", "--out", folder)[0] == 0
    assert (folder / "report.html").read_bytes() == before


def test_the_report_names_what_was_skipped(noncommit, folder, judge):
    judge([], {})
    assert noncommit("run", "toy", "--label", "gone", "--modes", "2", "--out", folder)[0] == 0
    (folder / "figures").mkdir(exist_ok=True)
    sys.modules["figures.toy"] = types.ModuleType("figures.toy")
    sys.modules["figures.toy"].draw = lambda table: {}
    sys.modules["figures.toy"].__spec__ = figures.__spec__
    assert noncommit("report", "--out", folder)[0] == 0
    assert (folder / "report.html").read_text("utf-8").count("no such weights here") == 2
