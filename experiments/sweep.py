"""Cells → any `concurrent.futures` executor → store; a row depends on nothing but its cell."""

import importlib
import math
import multiprocessing
import os
import pickle
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from experiments import runtime, sources, store
from experiments.ledger import LOST, Ledger, Outcome, Result
from experiments.planning import Plan

T = TypeVar("T")


@dataclass(frozen=True)
class Task:
    """A cell on its way to a worker; pickled inside, since reading it imports the experiment."""

    module: str
    identity: dict[str, Any]
    cell: bytes
    path: Path


def compute(task: Task) -> Outcome:
    """Measure one cell and store it at once. Runs in a worker, of whatever executor."""
    runtime.configure()
    try:
        module = importlib.import_module(task.module)
        if sources.imported_digest(task.module) != task.identity["sources"]:
            raise RuntimeError("the sources changed while the run started: run it again")
        started = time.perf_counter()
        key = runtime.cell_key(task.identity["config"], task.identity["seed"])
        checkpoint = store.Checkpoint(task.path)
        states = (checkpoint,) if getattr(module, "CHECKPOINTS", False) else ()
        answer = module.measure(pickle.loads(task.cell), key, *states)
        row, arrays = answer if isinstance(answer, tuple) else (answer, None)
        row, seconds = store.flatten(row), time.perf_counter() - started
        record = store.Record(row, None, round(seconds, 3), runtime.peak_memory())
        written = store.write_cell(task.path, task.identity, record, arrays)
        checkpoint.clear()
        return Outcome(written)
    except store.Unavailable as reason:
        return Outcome(skipped=str(reason))
    except Exception as error:  # whatever it is, the other cells go on
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Outcome(error=text, traceback=traceback.format_exc())


@contextmanager
def process_pool(workers: int | None = None) -> Iterator[Executor]:
    """Spawned workers, one core each; killed, not waited for, when the block ends in an error."""
    cores = runtime.usable_cores()
    workers = workers or len(cores)
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    for index in range(workers):  # two runs of one worker each should not share a core
        queue.put(cores[(index + os.getpid()) % len(cores)])
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, context, runtime.start_worker, (queue,))
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - others:
            child.kill()
        raise
    pool.shutdown()


def run(
    plans: Sequence[Plan],
    out: Path,
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    command: str = "",
    announce: Callable[[Result], None] = lambda result: None,
) -> list[Result]:
    """Compute what is missing, all experiments in one pool, the longest cells first.

    An executor of your own gives the same bytes if each of its workers calls `runtime.pin`
    before jax is imported there. `announce` is called as each experiment's table is written.
    """
    for plan in plans:
        store.check_writable(out / plan.name)
    ledgers = [Ledger(plan, out) for plan in plans]
    results = []

    def close(ledger: Ledger) -> None:
        results.append(ledger.close(command))
        announce(results[-1])

    for ledger in ledgers:
        if not ledger.missing():
            close(ledger)
    if any(ledger.missing() for ledger in ledgers):
        with nullcontext(executor) if executor else process_pool(workers) as pool:
            for ledger in _computed(ledgers, pool, borrowed=executor is not None):
                close(ledger)
    return results


def _computed(ledgers: Sequence[Ledger], pool: Executor, borrowed: bool) -> Iterator[Ledger]:
    """Each ledger with missing cells, once it has none.

    When it ends early, tasks of a borrowed executor are cancelled. Our own pool is shut down and
    cancels its own: its thread fails on tasks that others cancelled (cpython issue 107219).
    """
    missing = [(cost, (ledger, index)) for ledger in ledgers for cost, index in ledger.missing()]
    futures: dict[Future[Outcome], tuple[Ledger, int]] = {}
    try:
        for ledger, index in dealt(missing, len(runtime.usable_cores())):
            futures[_submit(pool, _task(ledger, index))] = ledger, index
        quiet = not sys.stderr.isatty()
        for future in tqdm(as_completed(futures), total=len(futures), unit="cell", disable=quiet):
            ledger, index = futures[future]
            ledger.add(index, _outcome(future))
            if not ledger.missing():
                yield ledger
    finally:
        for future in futures if borrowed else ():
            future.cancel()


def dealt(missing: Sequence[tuple[float, tuple[T, int]]], workers: int) -> list[tuple[T, int]]:
    """The longest first; of about the same cost, neighbours in the grid far from each other.

    Neighbours share what is compiled: two workers that start with them compile the same things at
    the same time, and one that comes later finds them in the cache folder. A cell is a pair of its
    ledger and its index there.
    """
    order: list[tuple[T, int]] = []
    steps = [math.floor(2 * math.log2(max(cost, 1e-3))) for cost, _ in missing]
    for step in sorted(set(steps), reverse=True):
        equal = [cell for (_, cell), own in zip(missing, steps, strict=True) if own == step]
        run = -(-len(equal) // workers)
        order += [equal[k] for first in range(run) for k in range(first, len(equal), run)]
    return _apart(order, workers)


def _apart(order: list[tuple[T, int]], workers: int) -> list[tuple[T, int]]:
    """The same order, but a neighbour of what the other workers take up waits where it can."""
    spread: list[tuple[T, int]] = []
    while order:
        others = spread[max(0, len(spread) - workers + 1) :]
        free = (k for k, cell in enumerate(order) if not any(_neighbours(cell, o) for o in others))
        spread.append(order.pop(next(free, 0)))
    return spread


def _neighbours(one: tuple[T, int], other: tuple[T, int]) -> bool:
    return one[0] is other[0] and abs(one[1] - other[1]) == 1


def _task(ledger: Ledger, index: int) -> Task:
    plan, cell = ledger.plan, pickle.dumps(ledger.plan.cells[index])
    return Task(plan.module, plan.identities[index], cell, ledger.paths[index])


def _submit(pool: Executor, task: Task) -> "Future[Outcome]":
    """A pool that broke meanwhile refuses the task; the future then says so like the others."""
    try:
        return pool.submit(compute, task)
    except BrokenExecutor as error:
        refused: Future[Outcome] = Future()
        refused.set_exception(error)
        return refused


def _outcome(future: "Future[Outcome]") -> Outcome:
    try:
        return future.result()
    except BrokenExecutor:
        return LOST
