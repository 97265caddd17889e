"""Runs that are stopped, killed or doubled end with the bytes of a run that was left alone."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from experiments import sweep

ROOT = Path(__file__).resolve().parents[2]
GRID = {"modes": (2, 3, 4), "scales": (0.5, 1.0), "pause": 0.4}
WORDS = ["--preset", "quick", "--modes", "2", "3", "4", "--pause", "0.4", "--workers", "2"]


def start(out):
    command = [sys.executable, "-m", "tests.pipeline.driver", "run", "toy", *WORDS, "--out", out]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes)


def finished_cells(out):
    return len(list(out.glob("toy/*.json")))


def wait_for(condition, seconds=60.0):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited too long"
        time.sleep(0.02)


def workers(process):
    """Ids of the process's children, or an empty list where /proc does not tell."""
    listing = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(word) for word in listing.read_text().split()] if listing.exists() else []


def alive(pid):
    """Whether the process still runs (one that nobody has waited for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def unbroken(toy, tmp_path):
    """The table of a run in one go, in threads."""
    with ThreadPoolExecutor(6) as pool:
        sweep.run([toy(**GRID)], tmp_path / "unbroken", executor=pool)
    return (tmp_path / "unbroken" / "toy.csv").read_bytes()


def test_a_stopped_and_then_killed_run_goes_on_where_it_was(unbroken, tmp_path):
    out = tmp_path / "out"
    for stop in (signal.SIGINT, signal.SIGKILL):
        before = finished_cells(out)
        process = start(out)
        wait_for(lambda before=before: finished_cells(out) > before)
        children = workers(process)
        send = os.killpg if stop == signal.SIGINT else os.kill  # a terminal stops the whole group
        send(process.pid, stop)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == (130 if stop == signal.SIGINT else -signal.SIGKILL)
        assert "Traceback" not in errors
        wait_for(lambda children=children: not any(map(alive, children)), 15)
    kept = finished_cells(out)
    assert 2 <= kept < 6
    printed, errors = start(out).communicate(timeout=60)
    assert f"{6 - kept} computed, {kept} already there" in printed
    assert errors == ""
    assert (out / "toy.csv").read_bytes() == unbroken


@pytest.mark.slow
def test_two_runs_into_one_folder_do_each_other_no_harm(unbroken, tmp_path):
    out = tmp_path / "out"
    runs = [start(out), start(out)]
    for run in runs:
        _, errors = run.communicate(timeout=60)
        assert (run.returncode, errors) == (0, "")
    assert (out / "toy.csv").read_bytes() == unbroken
    assert finished_cells(out) == 6
