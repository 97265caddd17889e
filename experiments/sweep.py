"""Cells → any `concurrent.futures` executor → store; a row depends on nothing but its cell."""

import itertools
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from experiments import planning, runtime, store, tasks
from experiments.agenda import Agenda
from experiments.ledger import LOST, Ledger, Outcome, Result
from experiments.planning import Plan, Request

LOOK = 5.0  # seconds after which to see whether there are more workers now


@contextmanager
def process_pool(workers: int | None = None) -> Iterator[Executor]:
    """Spawned workers, one core each; killed, not waited for, when the block ends.

    What they were asked for is stored by then, and half a second of farewells is spared.
    """
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
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - others:
            child.kill()


def start(
    requests: Sequence[Request],
    out: Path,
    executor: Executor | None = None,
    *,
    workers: int | Callable[[], int] | None = None,
    **said: Any,
) -> list[Result]:
    """Plan and `run` on the workers; only they import the experiments and jax.

    Arguments are those of `run`; without an executor there are `workers` processes here. One of
    these without a plan to make makes one that another makes: it needs the imports soon.
    """
    store.check_writable(out)
    count = _counted(workers)
    if executor is not None:
        plans = list(executor.map(planning.plan, requests))
        return _run(plans, out, executor, count, borrowed=True, **said)
    with process_pool(count()) as pool:
        asked = itertools.islice(itertools.cycle(requests), max(len(requests), count()))
        plans = list(pool.map(planning.plan, asked))[: len(requests)]
        return _run(plans, out, pool, count, borrowed=False, **said)


def _counted(workers: int | Callable[[], int] | None) -> Callable[[], int]:
    """At least one: a cell that waits for the first worker is under way."""
    given = workers if callable(workers) else lambda: workers or len(runtime.usable_cores())
    return lambda: max(1, given())


def run(
    plans: Sequence[Plan],
    out: Path,
    executor: Executor,
    *,
    workers: int | Callable[[], int] | None = None,
    **said: Any,
) -> list[Result]:
    """Compute what is missing, all experiments in one executor, in the order of `Agenda`.

    Args:
        plans: what to compute.
        out: the folder of tables.
        executor: of your choice; the bytes are those of any other if each of its workers calls
            `runtime.pin` before jax is imported there. It is not shut down.
        workers: how many it has, or a function that says how many it has now; as many as there
            are cores here if not given.
        said: `command`, for the manifest, and `announce`, called as each table is written.
    """
    return _run(plans, out, executor, _counted(workers), borrowed=True, **said)


def _run(
    plans: Sequence[Plan],
    out: Path,
    pool: Executor,
    workers: Callable[[], int],
    *,
    borrowed: bool,
    command: str = "",
    announce: Callable[[Result], None] = lambda result: None,
) -> list[Result]:
    for plan in plans:
        store.check_writable(out / plan.name)
    ledgers = [Ledger(plan, out) for plan in plans]
    complete, results = [ledger for ledger in ledgers if ledger.complete], []
    for ledger in itertools.chain(complete, _computed(ledgers, pool, workers, borrowed)):
        results.append(ledger.close(command))
        announce(results[-1])
    return results


def _computed(
    ledgers: Sequence[Ledger], pool: Executor, workers: Callable[[], int], borrowed: bool
) -> Iterator[Ledger]:
    """Each ledger with missing cells, once it has none; a task for every worker at any time.

    When it ends early, tasks of a borrowed executor are cancelled. Our own pool is shut down and
    cancels its own: its thread fails on tasks that others cancelled (cpython issue 107219).
    """
    missing = ((ledger, *one) for ledger in ledgers for one in ledger.missing())
    agenda = Agenda((ledger.plan.programs[k], cost, (ledger, k)) for ledger, cost, k in missing)
    flying: dict[Future[Outcome], tuple[str, Ledger, int]] = {}
    free: list[str] = []  # the last programs of workers that have nothing to do
    try:
        with tqdm(total=len(agenda), unit="cell", disable=not sys.stderr.isatty()) as bar:
            while agenda or flying:
                count = workers()
                while agenda and len(flying) < count:
                    program, (ledger, index) = agenda.take(free.pop() if free else None)
                    future = _submit(pool, tasks.task(ledger, index))
                    flying[future] = program, ledger, index
                done, _ = wait(flying, timeout=LOOK, return_when=FIRST_COMPLETED)
                for future in done:
                    program, ledger, index = flying.pop(future)
                    free.append(program)
                    ledger.add(index, _outcome(future))
                    bar.update()
                    if ledger.complete:
                        yield ledger
    finally:
        for future in flying if borrowed else ():
            future.cancel()


def _submit(pool: Executor, task: tasks.Task) -> "Future[Outcome]":
    """A pool that broke meanwhile refuses the task; the future then says so like the others."""
    try:
        return pool.submit(tasks.compute, task)
    except BrokenExecutor as error:
        refused: Future[Outcome] = Future()
        refused.set_exception(error)
        return refused


def _outcome(future: "Future[Outcome]") -> Outcome:
    """Of an executor that fails in another way than our own pool the text is all we know."""
    try:
        return future.result()
    except BrokenExecutor:
        return LOST
    except CancelledError:
        lost = "the executor has cancelled a cell (its scheduler ended?)"
        raise OSError(f"{lost}: run again for what is missing") from None
    except Exception as error:  # dask's KilledWorker: the workers that took up this cell all died
        return Outcome(error=" ".join(f"{type(error).__name__}: {error}".split()))
