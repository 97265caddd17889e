"""The command line: one clear line for a mistake, and status 0, 1, 2 or 130."""

import json
import os
import subprocess
import sys

import pytest

from experiments import cli, registry, store


def test_help_and_list_import_nothing_heavy():
    script = (
        "import sys; from experiments.cli import main\n"
        "codes = [main([*words]) for words in (['--help'], ['run', '--help'], ['list'])]\n"
        "heavy = {'jax', 'numpy', 'scipy', 'matplotlib', 'equinox'} & set(sys.modules)\n"
        "sys.exit(f'{codes} {heavy}' if any(codes) or heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for name, summary in registry.EXPERIMENTS.items():
        assert name in done.stdout
        assert summary in done.stdout


def test_run_writes_the_table_and_says_so(noncommit, tmp_path):
    status, printed, errors = noncommit("run", "all", "--preset", "quick", "--out", tmp_path)
    assert (status, errors) == (0, "")
    assert printed.startswith("toy: 4 computed, 0 already there, ")
    assert len(store.read_table(tmp_path / "toy.csv")) == 4
    assert noncommit("run", "toy", "--preset", "quick", "--out", tmp_path)[1].startswith(
        "toy: 0 computed, 4 already there"
    )


def test_several_names_are_run_once_each(noncommit, tmp_path):
    status, printed, errors = noncommit("run", "toy", "toy", "--preset", "quick", "--out", tmp_path)
    assert (status, errors) == (0, "")
    assert printed.count("toy: 4 computed") == 1


def test_grid_options_are_typed_and_reach_the_cells(noncommit, tmp_path):
    options = ["--modes", "5", "7", "--scales", "2", "--samples", "8"]
    options += ["--label", "x", "--whole", "false", "--seed", "9"]
    assert noncommit("run", "toy", *options, "--out", tmp_path)[0] == 0
    rows = store.read_table(tmp_path / "toy.csv")
    assert [row["modes"] for row in rows] == [5, 7]
    assert {(row["scale"], row["samples"], row["label"], row["whole"]) for row in rows} == {
        (2.0, 8, "x", False)
    }
    manifest = json.loads((tmp_path / "toy.manifest.json").read_text())
    assert manifest["command"].startswith("noncommit run toy --modes 5 7 --scales 2")


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_the_help_of_an_experiment_shows_its_grid(noncommit, word):
    status, printed, _ = noncommit("run", "toy", word)
    assert status == 0
    assert "--modes N [N ...]" in printed
    assert "(default preset: 2 3 4)" in printed
    assert "(default preset: true)" in printed


MISTAKES = {
    "unknown experiment": (["run", "toyy"], "did you mean 'toy'? known: toy"),
    "nothing": ([], "required: COMMAND"),
    "unknown command": (["rum"], "rum"),
    "unknown option": (["run", "toy", "--colour", "red"], "unrecognized arguments: --colour red"),
    "grid of all": (["run", "all", "--modes", "3"], "one experiment"),
    "grid of two": (["run", "toy", "all", "--modes", "3"], "one experiment"),
    "second unknown": (["run", "toy", "toyy"], "did you mean 'toy'? known: toy"),
    "abbreviation": (["run", "toy", "--pre", "quick"], "--pre"),
    "preset": (["run", "toy", "--preset", "huge"], "'quick', 'default', 'paper'"),
    "fraction": (["run", "toy", "--modes", "2.5"], "--modes: '2.5' is not a whole number"),
    "nan": (["run", "toy", "--scales", "nan"], "--scales: 'nan' is not a finite number"),
    "truth": (["run", "toy", "--whole", "yes"], "--whole: 'yes' is neither true nor false"),
    "grid": (["run", "toy", "--modes", "1"], "a partition has at least 2 modes, got 1"),
    "seed": (["run", "toy", "--seed", "-1"], "--seed: '-1' is not between 0 and 4294967295"),
    "workers": (["run", "toy", "--workers", "0"], "--workers: '0' is not at least 1"),
    "no tables": (["figures", "--out", "/nonexistent"], "there is no table in /nonexistent"),
    "weights": (["weights", "g2p"], "unknown weights 'g2p': did you mean 'g2p-en'?"),
    "weights path": (["weights", "--path", "x"], "--path needs exactly one NAME"),
    "weights file": (["weights", "g2p-en", "--path", "/nonexistent"], "/nonexistent"),
    "weights differ": (["weights", "g2p-en", "--path", __file__], "found sha256"),
    "bridge": (["bridge"], "needs a DECODER"),
    "bridge both": (["bridge", "g2p-en", "--weight", "w.npy"], "not both"),
    "bridge half": (["bridge", "--weight", "w.npy"], "also needs --latents and --out"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(noncommit, name):
    words, reason = MISTAKES[name]
    status, printed, errors = noncommit(*words)
    assert (status, printed) == (2, "")
    assert errors.startswith("noncommit: ")
    assert errors.count("\n") == 1
    assert reason in errors


def test_a_folder_that_cannot_be_written_is_noticed_first(noncommit, tmp_path):
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / "results"
    status, printed, errors = noncommit("run", "toy", "--out", out)
    assert (status, printed) == (2, "")
    assert errors.count("\n") == 1
    assert f"cannot write to {out}" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failed_cell_is_status_1_and_a_skipped_one_is_not(noncommit, tmp_path):
    status, printed, errors = noncommit("run", "toy", "--label", "fails", "--out", tmp_path)
    assert status == 1
    assert "2 FAILED" in printed
    assert "three is one too many" in errors
    status, printed, _ = noncommit("run", "toy", "--label", "gone", "--out", tmp_path)
    assert status == 0
    assert "6 skipped" in printed


def test_ctrl_c_is_status_130(monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.runtime, "version", stopped)
    assert cli.main(["--version"]) == 130


def test_a_closed_pipe_is_quiet():
    reader, writer = os.pipe()
    os.close(reader)
    for words in (["list"], ["run", "--help"]):
        command = [sys.executable, "-m", "experiments.cli", *words]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environment)
        assert (done.returncode, done.stderr) == (1, b"")
    os.close(writer)


def test_version(noncommit):
    status, printed, _ = noncommit("--version")
    assert status == 0
    assert printed.startswith("noncommit 0.")


def test_bridge_passes_on_what_was_given(monkeypatch, capsys, tmp_path):
    calls = []

    class Fake:
        def run_head(self, *args, **options):
            calls.append((args, options))
            return [tmp_path / "bridge.json"], "2 latents"

    monkeypatch.setitem(sys.modules, "experiments.bridge", Fake())
    monkeypatch.setattr("experiments.bridge", Fake(), raising=False)
    words = ["bridge", "--weight", "w.npy:a", "--latents", "z.npy", "--transpose", "--scales"]
    assert cli.main([*words, "0.1", "1", "--draws", "5", "--out", str(tmp_path)]) == 0
    options = {"seed": 0, "scales": (0.1, 1.0), "draws": 5}
    assert calls == [(("w.npy:a", None, "z.npy", True, tmp_path), options)]
    assert capsys.readouterr().out == f"2 latents\n{tmp_path / 'bridge.json'}\n"
