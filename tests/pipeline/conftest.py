"""The toy experiment in place of the real ones, and threads in place of processes."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest

from experiments import cli, planning, registry, sweep


@pytest.fixture
def toy(monkeypatch):
    """Register the toy; returns a function from grid overrides to a plan."""
    monkeypatch.setattr(registry, "PACKAGE", "tests.pipeline")
    monkeypatch.setattr(registry, "EXPERIMENTS", {"toy": "means of normals"})

    def plan(preset="quick", seed=0, **overrides):
        return planning.plan(planning.request("toy", preset, seed, overrides))

    return plan


@pytest.fixture
def threads():
    """An executor other than the default one, without the seconds that a process takes."""
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def noncommit(toy, threads, monkeypatch, capsys):
    """Run the command line here: status, stdout, stderr."""
    monkeypatch.setattr(sweep, "process_pool", lambda workers=None: nullcontext(threads))

    def run(*argv):
        status = cli.main([str(word) for word in argv])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run
