"""Cells → any `concurrent.futures` executor → store; a row depends on nothing but its cell."""

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from pathlib import Path

from tqdm import tqdm

from experiments import runtime, store, tasks
from experiments.ledger import LOST, Ledger, Outcome, Result
from experiments.planning import Plan


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
    before jax is imported there; say then how many `workers` it has. `announce` is called as each
    experiment's table is written.
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
            share = workers or len(runtime.usable_cores())
            for ledger in _computed(ledgers, pool, share, borrowed=executor is not None):
                close(ledger)
    return results


def _computed(
    ledgers: Sequence[Ledger], pool: Executor, workers: int, borrowed: bool
) -> Iterator[Ledger]:
    """Each ledger with missing cells, once it has none.

    When it ends early, tasks of a borrowed executor are cancelled. Our own pool is shut down and
    cancels its own: its thread fails on tasks that others cancelled (cpython issue 107219).
    """
    futures: dict[Future[list[Outcome]], tuple[Ledger, list[int]]] = {}
    try:
        for ledger, indices in dealt(ledgers, workers):
            futures[_submit(pool, tasks.task(ledger, indices))] = ledger, indices
        quiet, total = not sys.stderr.isatty(), sum(len(indices) for _, indices in futures.values())
        with tqdm(total=total, unit="cell", disable=quiet) as bar:
            for future in as_completed(futures):
                ledger, indices = futures[future]
                for index, outcome in zip(indices, _outcomes(future, len(indices)), strict=True):
                    ledger.add(index, outcome)
                bar.update(len(indices))
                if not ledger.missing():
                    yield ledger
    finally:
        for future in futures if borrowed else ():
            future.cancel()


def dealt(ledgers: Sequence[Ledger], workers: int) -> list[tuple[Ledger, list[int]]]:
    """The cells of each task, the longest tasks first, none above half of a worker's share."""
    missing = [ledger.missing() for ledger in ledgers]
    share = sum(cost for cells in missing for cost, _ in cells) / workers
    limit = min(tasks.SECONDS, share / 2)
    pairs = zip(ledgers, missing, strict=True)
    found = [(ledger, own) for ledger, cells in pairs for own in tasks.portions(cells, limit)]
    return [(ledger, cells) for ledger, (_, cells) in sorted(found, key=lambda pair: -pair[1][0])]


def _submit(pool: Executor, task: tasks.Task) -> "Future[list[Outcome]]":
    """A pool that broke meanwhile refuses the task; the future then says so like the others."""
    try:
        return pool.submit(tasks.compute, task)
    except BrokenExecutor as error:
        refused: Future[list[Outcome]] = Future()
        refused.set_exception(error)
        return refused


def _outcomes(future: "Future[list[Outcome]]", count: int) -> list[Outcome]:
    try:
        return future.result()
    except BrokenExecutor:
        return [LOST] * count
