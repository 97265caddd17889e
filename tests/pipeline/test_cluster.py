"""Sweeps on a dask cluster: a worker that is lost, one that comes late, one that does not fit."""

import collections
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, Executor, Future
from pathlib import Path
from types import SimpleNamespace

import pytest

from experiments import cli, cluster, planning, registry, sweep
from tests.pipeline.clusters import ROOT, Cluster, wait_for

distributed = pytest.importorskip("distributed", reason="pip install 'noncommit[cluster]'")

GRID = {"modes": tuple(range(2, 14)), "scales": (0.5, 1.0, 2.0)}
CELLS = len(GRID["modes"]) * len(GRID["scales"])
WORDS = ["--preset", "quick", "--modes", *map(str, GRID["modes"])]
WORDS += ["--scales", *map(str, GRID["scales"])]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The table of one process."""
    out = tmp_path_factory.mktemp("unbroken")
    wanted = planning.Request("logged", "tests.pipeline.logged", "quick", 0, GRID)
    sweep.start([wanted], out, workers=1)
    return (out / "logged.csv").read_bytes()


@pytest.fixture
def registered(monkeypatch):
    """The command line knows the toys, and soon notices a new worker."""
    monkeypatch.setattr(sweep, "LOOK", 0.5)
    monkeypatch.setattr(registry, "PACKAGE", "tests.pipeline")
    monkeypatch.setattr(registry, "EXPERIMENTS", {"logged": "the toy", "toy": "the toy"})


def events(log):
    """What the cells wrote: began or ended, process, cell."""
    lines = log.read_text().splitlines() if log.exists() else []
    words = map(str.split, lines)
    return [(event, int(process), (modes, scale)) for event, process, modes, scale in words]


def in_flight(log, process):
    """The cells that a process has begun and not ended."""
    mine = [(event, cell) for event, who, cell in events(log) if who == process]
    return {cell for _, cell in mine} - {cell for event, cell in mine if event == "ended"}


def kill_in_flight(log, process):
    """Stopped first, so that it has not ended its cell when it is killed."""
    while True:
        wait_for(lambda: in_flight(log, process.pid))
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        if in_flight(log, process.pid):
            process.kill()
            process.wait()
            return
        process.send_signal(signal.SIGCONT)


def check_disturbed_run(unbroken, folder, capsys):
    """Three workers; one is lost with its cell, two come late, and one of these does not fit."""
    log, out, gate = (folder / name for name in ("log", "out", "gate"))
    with Cluster(folder, TOY_LOG=str(log), TOY_SECONDS="0.2", TOY_GATE=str(gate)) as computers:
        workers = [computers.worker() for _ in range(3)]

        def disturb():
            wait_for(log.exists)
            workers.append(computers.worker())
            misfit = computers.worker(threads=2)
            kill_in_flight(log, workers[0])
            wait_for(lambda: workers[3].pid in {process for _, process, _ in events(log)})
            wait_for(lambda: misfit.poll() is not None)
            gate.touch()

        trouble = threading.Thread(target=disturb, daemon=True)
        trouble.start()
        where = ["--scheduler", computers.address, "--out", str(out)]
        assert cli.main(["run", "logged", *WORDS, *where]) == 0
        trouble.join()
    assert (out / "logged.csv").read_bytes() == unbroken
    printed = capsys.readouterr()
    assert f"logged: {CELLS} computed, 0 already there" in printed.out
    assert "is retired: it has 2 threads: start workers with --nthreads 1\n" in printed.err
    begun = collections.Counter(cell for event, _, cell in events(log) if event == "began")
    assert len(begun) == CELLS
    lost = in_flight(log, workers[0].pid)
    assert len(lost) == 1
    assert dict.fromkeys(lost, 2) == {cell: n for cell, n in begun.items() if n > 1}
    assert {process for _, process, _ in events(log)} == {worker.pid for worker in workers}


def test_a_worker_is_lost_and_another_comes_late(registered, unbroken, tmp_path, capsys):
    check_disturbed_run(unbroken, tmp_path, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(10))
def test_so_it_goes_ten_times_in_a_row(registered, unbroken, tmp_path, capsys, turn):
    check_disturbed_run(unbroken, tmp_path, capsys)


@pytest.mark.slow
def test_ctrl_c_leaves_the_cluster_alive(registered, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["run", "toy", *WORDS, "--pause", "0.2", "--out", str(out), "--scheduler"]
    with Cluster(tmp_path) as computers:
        workers = [computers.worker() for _ in range(2)]
        words.append(computers.address)
        command = [sys.executable, "-m", "tests.pipeline.driver", *words]
        run = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: len([*out.glob("toy/*.json")]) > 1)
        run.send_signal(signal.SIGINT)
        assert (run.communicate(timeout=30)[1], run.returncode) == ("", 130)
        time.sleep(1.0)  # a cell cannot be stopped, but the next would be stored by now
        kept = len([*out.glob("toy/*.json")])
        time.sleep(1.0)
        assert kept == len([*out.glob("toy/*.json")]) < CELLS
        assert [worker.poll() for worker in workers] == [None, None]
        assert not [*out.glob(".noncommit*")]
        assert cli.main(words) == 0
    assert f"toy: {CELLS - kept} computed, {kept} already there" in capsys.readouterr().out


def test_a_worker_that_does_not_fit_is_named(registered, tmp_path, capsys):
    with Cluster(tmp_path) as computers:
        computers.worker(threads=2)
        where = ["--scheduler", computers.address, "--out", str(tmp_path)]
        assert cli.main(["run", "toy", *where]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"noncommit: workers of {computers.address} cannot be used: tcp://127.0")
    assert line.endswith(": it has 2 threads: start workers with --nthreads 1")


def test_a_scheduler_that_ends_is_one_line(registered, tmp_path, capsys):
    log, out = tmp_path / "log", tmp_path / "out"
    with Cluster(tmp_path, TOY_LOG=str(log), TOY_SECONDS="0.4") as computers:
        computers.worker()
        killed = threading.Thread(target=lambda: wait_for(log.exists) and computers.end())
        killed.start()
        where = ["--scheduler", computers.address, "--out", str(out)]
        assert cli.main(["run", "logged", *WORDS, *where]) == 2
        killed.join()
    *waiting, line = capsys.readouterr().err.splitlines()
    assert line.endswith("run again for what is missing")
    assert all("waiting for the first" in line for line in waiting)


@pytest.fixture
def worker(monkeypatch, tmp_path):
    """The terms that a worker in this process meets."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("NPROC", "1")
    mark = tmp_path / "mark"
    mark.touch()
    return cluster.Terms(cluster.setup(), str(mark))


def test_a_worker_that_shares_everything_gets_cells(worker):
    assert worker.fault(threads=1) is None
    assert worker.fault(threads=2) == "it has 2 threads: start workers with --nthreads 1"


@pytest.mark.parametrize(
    ("name", "reason"), [("OMP_NUM_THREADS", "NumPy"), ("NPROC", "has imported jax before")]
)
def test_threads_that_were_counted_before_are_no_longer_ours(worker, monkeypatch, name, reason):
    monkeypatch.delenv(name)
    assert reason in worker.fault(threads=1)


def test_a_worker_of_other_sources_or_versions_is_told_what_differs(worker):
    for what, found in worker.setup:
        other = cluster.Terms(
            tuple((k, "1.2.3" if k == what else v) for k, v in worker.setup), worker.mark
        )
        fault = other.fault(threads=1)
        assert f"other {what} than this command" in fault
        assert (f"({found}, not 1.2.3)" in fault) == (what != "sources")


def test_a_worker_in_another_file_system_is_told_so(worker, tmp_path):
    Path(worker.mark).unlink()
    assert worker.fault(threads=1) == f"it does not see this command's folder {tmp_path}"


class Failing(Executor):
    """Every task ends with the same error, as those of an executor that lost its workers do."""

    def __init__(self, error):
        self.error = error

    def submit(self, call, /, *args, **named):
        future = Future()
        future.set_exception(self.error)
        return future


def test_a_cell_that_kills_its_workers_is_named_and_the_others_go_on(toy, tmp_path, capsys):
    killed = distributed.KilledWorker("cell", SimpleNamespace(address="tcp://lost:1"), 3)
    (result,) = sweep.run([toy()], tmp_path, Failing(killed))
    assert result.count("error") == 4
    assert all("KilledWorker" in line for line in capsys.readouterr().err.splitlines())


def test_a_cancelled_cell_ends_the_run(toy, tmp_path):
    with pytest.raises(OSError, match="run again for what is missing"):
        sweep.run([toy()], tmp_path, Failing(CancelledError()))


MISTAKES = {
    "both": (["--workers", "2", "--scheduler", "tcp://localhost:1"], "not allowed with"),
    "no port": (["--scheduler", "localhost"], "is tcp://HOST:PORT, not 'localhost'"),
    "nobody": (["--scheduler", "tcp://127.0.0.1:1"], "no scheduler answers at tcp://127.0.0.1:1"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(registered, tmp_path, capsys, name):
    words, reason = MISTAKES[name]
    assert cli.main(["run", "toy", "--out", str(tmp_path), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line


def test_without_dask_the_extra_is_named(registered, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    words = ["run", "toy", "--out", str(tmp_path), "--scheduler", "tcp://127.0.0.1:1"]
    assert cli.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("pip install 'noncommit[cluster]'")
