"""Every contender of every benchmark at a tiny size: it runs, and its answer is the right one."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import equal_masses, growth, harness, nearest_facet, perimeter
from experiments import report, runtime
from theory.partition import simplicial_cluster

LONG = {"equal_masses", "training"}  # to compile
ENTRIES = [
    pytest.param(
        name,
        number,
        id=f"{name}-{entry.contender}-{number}",
        marks=pytest.mark.slow if name in LONG or entry.cases[0].get("dtype") == "float64" else (),
    )
    for name in harness.BENCHMARKS
    if name != "growth"  # the kernels of the others on ladders
    for number, entry in enumerate(harness.module(name).entries("tiny"))
]


@pytest.fixture(autouse=True)
def _as_a_child(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory):
    """Flags of XLA are set once in a process; two calls tell as much as seven."""
    monkeypatch.setattr(harness, "prepare", lambda library: None)
    monkeypatch.setattr(harness, "REPEATS", 2)
    monkeypatch.setattr(perimeter, "REPEATS", 2)
    monkeypatch.setenv("NONCOMMIT_CACHE", str(tmp_path_factory.getbasetemp()))
    nearest_facet.prepare("tiny")


def right(name: str, row: dict) -> bool:
    """Whether the columns that say how right an answer is say that it is."""
    limits = {"brute_error": 1e-3, "worst_error": 0.2, "error": 2e-3}
    if name == "nearest_facet" and row["contender"] == "faiss, top 2":
        return row["excess"] >= 0  # the facet of the runner-up is never the nearer one
    if name == "nearest_facet":
        assert row.get("brute_wrong", 0) <= 0.05  # float32 of the dense forms may swap near ties
    if "value" in row:
        reference = 1.1905  # of the code of 8 cells: ± 0.0006, by a million of Crofton's lines
        return abs(row["value"] - reference) <= 7 * row["value_sem"] + abs(row["bias"]) + 0.005
    return all(row[column] <= limit for column, limit in limits.items() if column in row)


# ott-jax imports a library that announces its own end.
@pytest.mark.filterwarnings("ignore:JAXopt is no longer maintained")
@pytest.mark.parametrize(("name", "number"), ENTRIES)
def test_a_contender_gives_the_right_answer(name: str, number: int):
    entry = harness.module(name).entries("tiny")[number]
    if why := harness.missing(harness.module(name).CONTENDERS[entry.contender].library):
        pytest.skip(why)
    for row in harness.measure(name, "tiny", number):
        assert 0 < row["seconds_least"] <= row["seconds"] <= row["seconds_most"]
        assert row["gflop_per_second"] >= 0
        assert right(name, row), row


def test_training_is_the_same_in_both():
    """Losses of the first steps from one network, on points of their own."""
    pytest.importorskip("torch")
    ours, theirs = (harness.measure("training", "tiny", number)[0] for number in range(2))
    assert theirs["loss"] == pytest.approx(ours["loss"], rel=0.1)


def test_the_judge_of_masses_knows_the_exact_ones():
    diagram = simplicial_cluster(5)
    masses = equal_masses.cell_masses(np.asarray(diagram.sites), np.zeros(5), 1 << 12)
    np.testing.assert_allclose(masses.mean(axis=0), 0.2, rtol=0.01)
    tilted = equal_masses.cell_masses(np.asarray(diagram.sites), np.array([0.1, 0, 0, 0, 0]), 4096)
    assert abs(tilted.mean(axis=0)[0] / 0.2 - 1) > 0.05


def test_the_judge_knows_a_cell_with_two_ends():
    """On the line: a middle cell between −½ and ½."""
    sites, offsets = np.array([[-1.0], [0.1], [0.8]]), np.array([0.0, 0.55, 0.2])
    masses = equal_masses.cell_masses(sites, offsets, 64).mean(axis=0)
    np.testing.assert_allclose(masses, [0.3085375387, 0.3829249226, 0.3085375387], rtol=1e-9)


def test_solvers_are_compared_at_equal_time():
    """A peer's error falls as 1/time here, and its least effort takes a second."""

    def row(contender: str, seconds: float, error: float) -> dict:
        held = {"modes": 4, "dimension": 2, "contender": contender, "seconds": seconds}
        library = "noncommit" if contender == "noncommit" else contender
        return held | {"library": library, "worst_error": error}

    peers = [row("ott-jax", s, 0.1 / s) for s in (1.0, 4.0, 16.0)] + [row("POT", 1.0, 0.3)]
    ours = [row("noncommit", s, 0.001) for s in (0.5, 2.0, 20.0)]
    early, between, late = equal_masses.summary([*peers, *ours])
    assert early["times"] is None
    assert between["best_peer"] == late["best_peer"] == "ott-jax"
    assert between["times"] == pytest.approx(50)
    assert late["times"] == pytest.approx(5)


def test_the_best_width_balances_bias_and_variance():
    """Counts as their means are, of P = 2 and the bias −3ε + 4ε²: ε³ = P/(2·9·N)."""
    samples, seconds = 1 << 20, 1.0
    share = 2 * perimeter.WIDTHS * (2 - 3 * perimeter.WIDTHS + 4 * perimeter.WIDTHS**2)
    counts = np.round(share * samples * perimeter.REPEATS)
    found = perimeter.best_tube(counts, samples, seconds, 2.0)
    best = (2 / (4 * 9 * samples * perimeter.MINUTE)) ** (1 / 3)
    assert found["width"] == pytest.approx(best, rel=0.13)  # a grid of steps of 12%
    assert found["bias"] == pytest.approx(-3 * found["width"], rel=0.1)


def test_exponents_are_those_of_the_ladder():
    ends = ("seconds", "seconds_least", "seconds_most")
    (found,) = growth.summary(
        [
            {"kernel": "k", "axis": "N", "N": size, "gflop": 5.0 * size}
            | dict.fromkeys(ends, 3.0 * size**2)
            for size in (1, 2, 4, 8, 16)
        ]
    )
    assert found["exponent"] == pytest.approx(2)
    assert found["flop_exponent"] == pytest.approx(1)
    assert (found["from"], found["to"]) == (1, 16)


def test_a_missing_peer_is_skipped_by_name():
    assert harness.missing(harness.OURS) is None
    assert harness.missing("numpy") is None
    assert "make bench" in (harness.missing("no-such-distribution") or "")


@pytest.mark.slow
def test_the_command_writes_a_table_and_its_manifest(tmp_path: Path):
    command = [sys.executable, "-m", "benchmarks", "product_rate", "--size", "tiny"]
    subprocess.run([*command, "--out", str(tmp_path)], check=True, cwd=runtime.SOURCE)
    with (tmp_path / "bench" / "product_rate.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {"JAX", "NumPy"} <= {row["contender"] for row in rows}
    assert {row["repeats"] for row in rows} == {"7"}
    facts = json.loads((tmp_path / "bench" / "product_rate.manifest.json").read_text())
    assert facts["size"] == "tiny"
    assert facts["versions"]["jax"] == jax.__version__
    assert {skip["contender"] for skip in facts["skipped"]} <= {"PyTorch"}


def test_the_report_shows_tables_and_pictures_of_benchmarks(tmp_path: Path):
    rows = [{"side": 8, "dtype": "float32", "contender": "<NumPy>", "library": "numpy"}]
    numbers = ("seconds", "seconds_least", "seconds_most", "cores_busy", "gflop_per_second")
    rows[0] |= dict.fromkeys(numbers, 0.25) | {"peak_memory": 1 << 21, "error": 1e-7}
    rows[0] |= {"share_of_product_rate": None}
    (tmp_path / "bench").mkdir()
    harness.write(tmp_path / "bench", "product_rate", rows, {"processor": "P", "threads": 2})
    page = report.write(tmp_path, [], []).read_text("utf-8")
    assert "&lt;NumPy&gt;" in page
    assert "error 1e-07" in page
    (tmp_path / "bench" / "product_rate.manifest.json").unlink()
    with pytest.raises(ValueError, match=r"has no manifest .* run `make bench` again"):
        report.write(tmp_path, [], [])
