"""The suite's own runs, killed at random moments, end with the bytes of a run left alone."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KILLS = {"quick": 20, "default": 1}
MOMENTS = {"quick": (2.0, 20.0), "default": (60.0, 240.0)}  # seconds after a start


def start(preset, out):
    command = [sys.executable, "-m", "experiments.cli", "run", "all", "--preset", preset]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, "--out", out], cwd=ROOT, start_new_session=True, **pipes)


def finish(preset, out):
    process = start(preset, out)
    _, errors = process.communicate()
    assert process.returncode == 0, errors  # XLA may complain there of a machine that is busy
    return {path.name: path.read_bytes() for path in out.glob("*.csv")}


def killed(preset, out, after, whole):
    """Whether the run was killed `after` seconds (the group, or the parent alone), not done."""
    process = start(preset, out)
    try:
        process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        (os.killpg if whole else os.kill)(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("preset", list(KILLS))
def test_a_run_killed_at_random_moments_ends_with_the_same_tables(preset, tmp_path):
    seed = int(os.environ.get("NONCOMMIT_KILL_SEED", "0"))
    draw = random.Random(seed)
    disturbed = tmp_path / "disturbed"
    kills = [
        killed(preset, disturbed, draw.uniform(*MOMENTS[preset]), draw.random() < 0.5)
        for _ in range(KILLS[preset])
    ]
    assert all(kills), f"the run was done after {kills.index(False)} kills: shorten MOMENTS"
    tables = finish(preset, disturbed)
    assert len(tables) > 15
    assert tables == finish(preset, tmp_path / "alone")
