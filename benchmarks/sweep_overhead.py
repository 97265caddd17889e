"""`python -m benchmarks.sweep_overhead`: what a sweep costs a cell besides measuring it.

Cells that measure nothing, on processes of this machine and on a dask cluster of as many. The time
of the run is given a cell, and so is the processor's time of the submitting process: that is one
for all workers, so cells of t seconds keep no more than t over it busy.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments import sweep
from experiments.cluster import cluster
from experiments.planning import Request
from experiments.store import Row

Count = Callable[[], int]

WORKERS = 2
COUNTS = (100, 1000, 10000)


@dataclass(frozen=True)
class Grid:
    """As many cells as said."""

    count: int = 100


PRESETS = {"default": Grid()}


@dataclass(frozen=True)
class Cell:
    """Nothing but a number."""

    index: int


def cells(grid: Grid) -> list[Cell]:
    """0, 1, 2 and so on."""
    return [Cell(index) for index in range(grid.count)]


def measure(cell: Cell, key: Any) -> Row:
    """The number again."""
    return {"again": cell.index}


@contextmanager
def processes(out: Path) -> Iterator[tuple[Executor, Count]]:
    """The pool that a run on one machine has."""
    with sweep.process_pool(WORKERS) as pool:
        yield pool, lambda: WORKERS


@contextmanager
def dask(out: Path) -> Iterator[tuple[Executor, Count]]:
    """A scheduler and workers, each a process of its own."""
    from distributed.deploy.subprocess import SubprocessCluster

    with (
        SubprocessCluster(n_workers=WORKERS, threads_per_worker=1) as computers,
        cluster(computers.scheduler_address, out) as found,
    ):
        yield found


def run(count: int, out: Path, executor: Executor, workers: Count) -> tuple[float, float]:
    """Seconds of a run of so many cells, and processor seconds of this process."""
    wanted = Request(f"cells_{count}", "benchmarks.sweep_overhead", "default", 0, {"count": count})
    started, busy = time.perf_counter(), time.process_time()
    (result,) = sweep.start([wanted], out, executor, workers=workers)
    assert result.count("record") == count
    return time.perf_counter() - started, time.process_time() - busy


def syncing(out: Path, count: int = 200) -> float:
    """Seconds that this disk takes to have a small file written for good; a cell is one."""
    started = time.perf_counter()
    for index in range(count):
        with (out / f"synced-{index}").open("wb") as stream:
            stream.write(b"x" * 500)
            stream.flush()
            os.fsync(stream.fileno())
    return (time.perf_counter() - started) / count


def main() -> None:
    """Print the table."""
    kinds = {"processes": processes, "dask": dask}
    print(f"{'executor':10} {'cells':>6} {'ms a cell':>10} {'here':>6}   ({WORKERS} workers)")
    for kind, make in kinds.items():
        with (
            tempfile.TemporaryDirectory() as folder,
            make(out := Path(folder)) as (executor, workers),
        ):
            run(1, out, executor, workers)  # imports
            for count in COUNTS:
                total, busy = run(count, out, executor, workers)
                shown = f"{1e3 * total / count:10.2f} {1e3 * busy / count:6.2f}"
                print(f"{kind:10} {count:6} {shown}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        print(f"a small file written and synced: {1e3 * syncing(Path(folder)):.2f} ms")


if __name__ == "__main__":
    main()
