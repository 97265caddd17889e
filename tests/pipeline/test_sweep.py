"""A sweep: same rows from any executor and in any order, and only what is missing is computed."""

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from experiments import runtime, store, sweep, tasks
from tests.pipeline import toy as toy_module


def files(out):
    return sorted(path.name for path in (out / "toy").iterdir())


def test_processes_and_threads_give_the_same_bytes(toy, threads, tmp_path):
    plan = toy(label="arrays", samples=4096)
    with sweep.process_pool(2) as pool:
        workers = {pool.submit(runtime.usable_cores).result()[0] for _ in range(4)}
        assert all(len(pool.submit(runtime.usable_cores).result()) == 1 for _ in range(4))
        sweep.run([plan], tmp_path / "processes", executor=pool)
    assert workers <= set(runtime.usable_cores())
    sweep.run([plan], tmp_path / "threads", executor=threads)
    for name in (
        "toy.csv",
        *(f"toy/{name}" for name in files(tmp_path / "threads") if "npz" in name),
    ):
        ours, theirs = (tmp_path / folder / name for folder in ("processes", "threads"))
        assert ours.read_bytes() == theirs.read_bytes(), name


def test_a_cell_alone_gives_the_row_it_gives_among_others(toy, threads, tmp_path):
    sweep.run([toy()], tmp_path / "all", executor=threads)
    sweep.run([toy(modes=(3,), scales=(1.0,))], tmp_path / "one", executor=threads)
    sweep.run([toy(modes=(3, 2), scales=(1.0, 0.5))], tmp_path / "back", executor=threads)
    rows = store.read_table(tmp_path / "all" / "toy.csv")
    assert store.read_table(tmp_path / "one" / "toy.csv") == rows[-1:]
    assert store.read_table(tmp_path / "back" / "toy.csv") == rows[::-1]


@pytest.mark.parametrize(
    "change",
    [
        *({"modes": (4,)}, {"scales": (0.25,)}, {"samples": 65}),
        *({"label": "x"}, {"pause": 0.001}, {"whole": False}),
    ],
)
def test_every_field_reaches_the_row(toy, threads, tmp_path, change):
    one = {"modes": (2,), "scales": (1.0,)}
    sweep.run([toy(**one)], tmp_path / "a", executor=threads)
    sweep.run([toy(**(one | change))], tmp_path / "b", executor=threads)
    fields = {field.name for field in dataclasses.fields(toy_module.Cell)}
    measured = []
    for folder in "ab":
        (row,) = store.read_table(tmp_path / folder / "toy.csv")
        measured.append({name: value for name, value in row.items() if name not in fields})
    assert measured[0] != measured[1]


def test_the_seed_reaches_the_row(toy, threads, tmp_path):
    for seed in (0, 1):
        sweep.run([toy(seed=seed)], tmp_path / str(seed), executor=threads)
    means = [[r["mean_value"] for r in store.read_table(tmp_path / s / "toy.csv")] for s in "01"]
    assert not set(means[0]) & set(means[1])


def test_a_rerun_computes_only_what_is_missing(toy, threads, tmp_path, monkeypatch):
    measured = []
    measure = toy_module.measure
    monkeypatch.setattr(toy_module, "measure", lambda c, k: measured.append(c) or measure(c, k))
    sweep.run([toy()], tmp_path, executor=threads)
    before, times = (tmp_path / "toy.csv").read_bytes(), files(tmp_path)
    assert len(measured) == 4
    (result,) = sweep.run([toy()], tmp_path, executor=threads)
    assert (len(measured), result.count("kept")) == (4, 4)
    sweep.run([toy(modes=(2, 3, 4))], tmp_path, executor=threads)
    assert {cell.modes for cell in measured[4:]} == {4}
    sweep.run([toy()], tmp_path, executor=threads)
    assert (tmp_path / "toy.csv").read_bytes() == before
    assert set(times) < set(files(tmp_path))


def test_the_longest_cells_go_first_and_the_grid_orders_the_rows(toy, tmp_path, monkeypatch):
    order = []
    measure = toy_module.measure
    monkeypatch.setattr(toy_module, "measure", lambda c, k: order.append(c.modes) or measure(c, k))
    with ThreadPoolExecutor(1) as one:
        sweep.run([toy(modes=(2, 4, 3), scales=(1.0,))], tmp_path, executor=one)
    assert order == [4, 3, 2]
    assert [row["modes"] for row in store.read_table(tmp_path / "toy.csv")] == [2, 4, 3]


def test_a_cell_of_the_same_program_follows(toy, tmp_path, monkeypatch):
    """Two programs of equal cost: a single worker does not go to and fro."""
    order = []
    measure = toy_module.measure
    monkeypatch.setattr(toy_module, "measure", lambda c, k: order.append(c.scale) or measure(c, k))
    monkeypatch.setattr(toy_module, "program", lambda cell: str(cell.scale), raising=False)
    with ThreadPoolExecutor(1) as one:
        sweep.run([toy(modes=(2, 3))], tmp_path, one, workers=1)
    assert order in ([0.5, 0.5, 1.0, 1.0], [1.0, 1.0, 0.5, 0.5])


def test_workers_that_come_later_are_used(toy, tmp_path):
    """As many tasks are under way as there are workers: one until three cells are stored."""
    under_way, futures = [], []

    class Watched(ThreadPoolExecutor):
        def submit(self, *given, **named):
            stored = len(list(tmp_path.glob("toy/*.json")))
            futures.append(super().submit(*given, **named))
            under_way.append((stored, sum(not future.done() for future in futures)))
            return futures[-1]

    with Watched(4) as pool:
        plan = toy(modes=(2, 3, 4, 5), pause=0.1)
        sweep.run(
            [plan],
            tmp_path,
            pool,
            workers=lambda: 4 if len([*tmp_path.glob("toy/*.json")]) > 2 else 1,
        )
    assert max(count for stored, count in under_way if stored < 3) == 1
    assert max(count for _, count in under_way) == 4


def test_a_damaged_cell_is_computed_again(toy, threads, tmp_path, capsys):
    plan = toy(label="arrays")
    sweep.run([plan], tmp_path, executor=threads)
    before = (tmp_path / "toy.csv").read_bytes()
    torn = store.cell_path(tmp_path, plan.identities[0])
    torn.write_bytes(torn.read_bytes()[:-40])
    (result,) = sweep.run([plan], tmp_path, executor=threads)
    assert torn.name in capsys.readouterr().err
    assert result.count("kept") == 3
    assert (tmp_path / "toy.csv").read_bytes() == before
    assert {f"{torn.name}.aside-1", f"{torn.stem}.npz.aside-1", torn.name} <= set(files(tmp_path))
    assert sweep.run([plan], tmp_path, executor=threads)[0].count("kept") == 4


def test_what_is_unavailable_is_skipped_by_name(toy, threads, tmp_path, capsys):
    (result,) = sweep.run([toy(label="gone", modes=(2,))], tmp_path, executor=threads)
    assert (result.count("skipped"), result.count("error")) == (2, 0)
    assert "skipped: no such weights here" in capsys.readouterr().err
    manifest = json.loads((tmp_path / "toy.manifest.json").read_text())
    assert [cell["config"]["scale"] for cell in manifest["skipped"]] == [0.5, 1.0]
    assert files(tmp_path) == []
    assert store.read_table(tmp_path / "toy.csv") == []


def test_a_failing_cell_does_not_stop_the_others(toy, threads, tmp_path, capsys):
    (result,) = sweep.run([toy(label="fails")], tmp_path, executor=threads)
    assert (result.count("error"), result.count("record")) == (2, 2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert '"modes":3' in lines[0]
    assert lines[0].endswith("failed: ArithmeticError: three is one too many")
    assert (
        "measure"
        in json.loads((tmp_path / "toy.manifest.json").read_text())["failed"][0]["traceback"]
    )


def test_a_worker_that_dies_is_one_line_and_what_was_stored_is_kept(toy, tmp_path, capsys):
    with sweep.process_pool(1) as pool:
        (kept,) = sweep.run([toy()], tmp_path, executor=pool)
        (lost,) = sweep.run([toy(label="dies")], tmp_path, executor=pool)
    assert (kept.count("error"), lost.count("error")) == (0, 4)
    errors = capsys.readouterr().err
    assert errors.count("a worker process died") == errors.count("\n") == 1
    assert len(files(tmp_path)) == 4


def test_the_manifest_says_how_the_table_was_made(toy, threads, tmp_path):
    sweep.run([toy(seed=5)], tmp_path, executor=threads, command="noncommit run toy")
    manifest = json.loads((tmp_path / "toy.manifest.json").read_text())
    assert (manifest["seed"], manifest["preset"]) == (5, "quick")
    assert manifest["command"] == "noncommit run toy"
    assert manifest["grid"]["modes"] == [2, 3]
    assert set(manifest["versions"]) == {"noncommit", "python", "jax", "numpy", "scipy"}
    assert manifest["dtype"] == "float64"
    assert manifest["peak_memory_bytes"] > 10**7
    assert len(manifest["cells"]) == 4


def test_nothing_on_disk_holds_a_nan(toy, threads, tmp_path):
    sweep.run([toy()], tmp_path, executor=threads)
    for path in [*tmp_path.glob("*.*"), *tmp_path.glob("toy/*.json")]:
        assert "nan" not in path.read_text("utf-8").lower()
        assert "Infinity" not in path.read_text("utf-8")
    (row, *_) = store.read_table(tmp_path / "toy.csv")
    assert row["odds"] is row["bound"] is None


def test_a_cell_holds_plain_finite_scalars():
    cell = toy_module.Cell(2, float("inf"), 1, "a", 0.0, True)
    with pytest.raises(ValueError, match="scale = inf is not finite"):
        store.configuration(cell)
    with pytest.raises(ValueError, match="samples"):
        store.configuration(dataclasses.replace(cell, scale=1.0, samples=np.int64(3)))


def test_a_source_that_changes_under_the_run_is_noticed(toy, threads, tmp_path, monkeypatch):
    plan = toy(modes=(2,), scales=(1.0,))
    monkeypatch.setattr(tasks.sources, "imported_digest", lambda module: "other")
    (result,) = sweep.run([plan], tmp_path, executor=threads)
    assert "sources changed" in result.outcomes[0].error
