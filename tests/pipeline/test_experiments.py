"""The real experiments: quick preset end to end, and every swept field changes its row."""

import csv
import functools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest

from experiments import decoder_tube, interface_exact, interface_profile, registry, runtime, store
from theory.estimate import Estimate

REPOSITORY = Path(__file__).resolve().parents[2]
FAILURE = 1e-10  # two intervals of every number of every quick table


def noncommit(*words: object, folder: Path | None = None) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "experiments.cli", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder or REPOSITORY, env=environment
    )


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quick preset of everything, run once from another folder, or where it has been run."""
    if "NONCOMMIT_QUICK" in os.environ:
        return Path(os.environ["NONCOMMIT_QUICK"])
    out = tmp_path_factory.mktemp("quick")
    done = noncommit("run", "all", "--preset", "quick", "--out", out, folder=out)
    assert done.returncode == 0, done.stderr
    return out


def needs_weights(quick: Path, name: str) -> None:
    manifest = json.loads((quick / f"{name}.manifest.json").read_text())
    if manifest.get("skipped"):
        pytest.skip(manifest["skipped"][0]["reason"])


@pytest.mark.parametrize("name", registry.EXPERIMENTS)
def test_quick_preset_fills_its_table(quick: Path, name: str):
    needs_weights(quick, name)
    module = registry.load(name)
    rows = store.read_table(quick / f"{name}.csv")
    assert len(rows) == len(module.cells(module.PRESETS["quick"]))
    for row in rows:
        assert all(row[field.name] is not None for field in fields(module.Cell))
        assert not any(isinstance(v, float) and not np.isfinite(v) for v in row.values())


@pytest.mark.parametrize("name", registry.EXPERIMENTS)
def test_fresh_rows_agree_with_the_committed_ones(quick: Path, name: str):
    needs_weights(quick, name)
    module = registry.load(name)
    keys = [field.name for field in fields(module.Cell)]
    reference = REPOSITORY / "results" / "reference" / "quick" / f"{name}.csv"
    committed = {tuple(r[k] for k in keys): r for r in store.read_table(reference)}
    fresh = {tuple(r[k] for k in keys): r for r in store.read_table(quick / f"{name}.csv")}
    assert committed.keys() == fresh.keys()
    for cell, row in fresh.items():
        for column in row:
            if column.endswith("_value") and row[column] is not None:
                check_overlap(row, committed[cell], column.removesuffix("_value"), cell)


def check_overlap(fresh: dict, committed: dict, name: str, cell: tuple) -> None:
    """The intervals of the two rows have a point in common."""
    parts = ("value", "sem", "bias", "count")
    found = [
        Estimate(*(row[f"{name}_{part}"] for part in parts)).interval(FAILURE)
        for row in (fresh, committed)
    ]
    assert found[0].lower <= found[1].upper, (cell, name, found)
    assert found[1].lower <= found[0].upper, (cell, name, found)


def test_quick_verdicts_are_the_recorded_ones(quick: Path):
    needs_weights(quick, "decoder_tube")
    done = noncommit("verify", "--json", "--preset", "quick", "--out", quick)
    assert done.returncode == 0, done.stderr
    verdicts = json.loads(done.stdout)
    assert {v["verdict"] for v in verdicts} <= {"holds", "inconclusive", "refuted"}


PROFILE = (
    "profile",
    "fixed_dimension",
    "large_dimension",
    "phase_diagram",
    "collapse",
    "planar",  # from the cells' arrays, not from the table
)
SEPARATED = (
    "inverse_stiffness-leak",
    "inverse_stiffness-ratio",
    "inverse_stiffness-sharp_maps",
    "stiffness_phase-phase",
    "stiffness_phase-shortfall",
    "stiffness_phase-map",  # from the arrays too; trainings of 500 steps leave no curve of losses
    "depth_hierarchy-tradeoff",
    "depth_hierarchy-leaks",
)
OVERLAPPING = (
    *(f"tube_law-{name}" for name in ("predicted", "ratio", "areas", "limits")),
    "tube_law-margins",  # from the arrays
    *(f"tube_crossover-{name}" for name in ("map", "collapse", "rare")),
    *(f"decoder_sensitivity-{name}" for name in ("dabi", "lowrank-16-4-8")),
    *(f"oracle_rollin-{name}-lowrank-16-4-8" for name in ("terminal", "residual", "rollin")),
    *(f"bridge_identity-{name}" for name in ("ratio", "ordering")),
    "bridge_identity-interface",  # from the arrays
    *(f"coarea_levels-{name}" for name in ("ratio", "levels")),
)
FEW_STEP = (
    *(f"few_step-{name}" for name in ("reference", "look", "modes")),
    *(f"churn_sweep-{name}" for name in ("language-markov-16-0.2-32-random", "gain")),
    "commitment_rounds-markov-16-0.2-8-random",
    *(f"limited_stiffness-{name}" for name in ("depth", "floors", "stiffness")),
    "diagnostic_taxonomy-plane-0",
    "diagnostic_taxonomy-ablation-random-64-16-32",
    "oracle_rollin-sequence-random-64-16-32",
)
DECODERS = (
    *(f"decoder_tube-{name}" for name in ("g2p-en", "g2p-en-law", "textgenrnn", "textgenrnn-law")),
    "decoder_tube-distances",  # from the arrays
    *(f"decoder_response-{name}" for name in ("dabi", "g2p-en")),
    "commit_ablation-g2p-en",
    "decoder_contrast-amplification",
)


FIGURES = (
    *("interface_exact-profile", "interface_exact-agreement"),
    *(f"interface_profile-{name}" for name in PROFILE),
    *(SEPARATED + OVERLAPPING + FEW_STEP + DECODERS),
)


@pytest.mark.parametrize(
    "tables",
    [
        ("interface_exact", "bridge_identity"),  # from the table, and from the cells' arrays too
        pytest.param(tuple(registry.EXPERIMENTS), marks=pytest.mark.slow),
    ],
    ids=["two", "all"],
)
def test_figures_and_report_are_drawn_from_the_tables(
    quick: Path, tmp_path: Path, tables: tuple[str, ...]
):
    if "decoder_tube" in tables:
        needs_weights(quick, "decoder_tube")
    for name in tables:
        for kind in ("csv", "manifest.json"):
            shutil.copy(quick / f"{name}.{kind}", tmp_path)
        shutil.copytree(quick / name, tmp_path / name)
    assert noncommit("figures", "--out", tmp_path).returncode == 0
    names = {path.name for path in (tmp_path / "figures").glob("*.svg")}
    wanted = {f"{name}.svg" for name in FIGURES if name.partition("-")[0] in tables}
    assert names == wanted
    assert noncommit("report", "--out", tmp_path).returncode == 0
    page = (tmp_path / "report.html").read_text()
    assert "simplicial-optimum" in page
    assert page.count("<figure>") == len(wanted)


# Every swept field changes its row

INTERFACE = interface_exact.Cell("simplicial", 4, "crofton", 0.0005)
DECODER = decoder_tube.Cell("g2p-en", 0.5, 60, 2, 20, 30)
SEARCH = interface_profile.Cell("best", 4, 2, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [{"family": "orthants"}, {"modes": 5}, {"estimator": "projection"}, {"effort": 0.001}],
    ids=lambda change: next(iter(change)),
)
def test_every_field_of_interface_exact_changes_its_row(change: dict):
    assert set(asdict(INTERFACE)) == {"family", "modes", "estimator", "effort"}
    assert measured(interface_exact, INTERFACE) != measured(
        interface_exact, replace(INTERFACE, **change)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        *({"decoder": "textgenrnn"}, {"count": 70}, {"ratio": 0.6}),
        *({"draws": 3}, {"modes": 25}, {"denoised": 25}),
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_of_decoder_tube_changes_its_row(change: dict):
    try:
        before = measured(decoder_tube, DECODER)
    except store.Unavailable as reason:
        pytest.skip(str(reason))
    assert before != measured(decoder_tube, replace(DECODER, **change))


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [{"family": "orthants"}, {"modes": 5}, {"dimension": 3}, {"effort": 0.5}],
    ids=lambda change: next(iter(change)),
)
def test_every_field_of_interface_profile_changes_its_row(change: dict):
    assert set(asdict(SEARCH)) == {"family", "modes", "dimension", "effort"}
    assert measured(interface_profile, SEARCH) != measured(
        interface_profile, replace(SEARCH, **change)
    )


@functools.cache
def measured(module, cell) -> dict:
    """The row under one fixed key, so that only the cell can make the difference."""
    found = module.measure(cell, runtime.cell_key({"fixed": True}, 0))
    return store.flatten(found[0] if isinstance(found, tuple) else found)


def test_every_grid_field_reaches_the_cells():
    module = interface_exact
    base = module.Grid(False, (4,), (4,), (4,), (4,), ("crofton",), 0.5)
    changes = {
        "half_space": True,
        "intervals": (8,),
        "orthants": (8,),
        "simplicial": (8,),
        "unequal": (8,),
        "estimators": ("tube",),
        "effort": 0.25,
    }
    assert set(changes) == set(asdict(base))
    for name, value in changes.items():
        assert module.cells(replace(base, **{name: value})) != module.cells(base), name


@pytest.mark.slow
def test_a_row_depends_neither_on_the_order_nor_on_kept_compilations(tmp_path: Path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setenv("NONCOMMIT_CACHE", str(cache))
    arguments = ["--readouts", "lowrank 16 4 8", "--latents", "separated", "--effort", "0.1"]
    arguments += ["--workers", "1", "--lengths"]
    tables, kept = [], []
    for number, lengths in enumerate((["1", "2"], ["2", "1"], ["2", "1"])):
        out = tmp_path / str(number)
        done = noncommit("run", "decoder_sensitivity", *arguments, *lengths, "--out", out)
        assert (done.returncode, "Warning" in done.stderr) == (0, False), done.stderr
        with (out / "decoder_sensitivity.csv").open() as lines:
            tables.append(sorted(map(tuple, csv.reader(lines))))
        kept.append(sorted(cache.rglob("*-cache")))
        if number == 1:  # the third run finds torn files
            for path in kept[1]:
                path.write_bytes(path.read_bytes()[:100])
    assert kept[0]
    assert set(kept[0]) <= set(kept[1])
    assert tables[0] == tables[1] == tables[2]
