"""A cell as a task for a worker, and what the worker does with it."""

import importlib
import pickle
import time
import traceback
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path
from types import ModuleType
from typing import Any

from experiments import runtime, sources, store
from experiments.ledger import Ledger, Outcome

ROOM = 3 << 29  # bytes that a worker may hold when it takes up a cell


@dataclass(frozen=True)
class Task:
    """A cell on its way to a worker; pickled inside, since reading it imports the experiment."""

    module: str
    identity: dict[str, Any]
    cell: bytes
    path: Path


def task(ledger: Ledger, index: int) -> Task:
    """The task of one cell of a ledger's plan; a worker may be in another folder."""
    plan, path = ledger.plan, ledger.paths[index].absolute()
    return Task(plan.module, plan.identities[index], plan.cells[index], path)


def compute(task: Task) -> Outcome:
    """Measure one cell and store it at once. Runs in a worker, of whatever executor.

    A cell that is stored already is kept: an executor that lost a worker gives its task to another.
    """
    runtime.configure()
    if parent_process() is not None:  # this process is for cells alone
        runtime.forget_programs(ROOM)
    try:
        if record := store.read_cell(task.path, task.identity):
            return Outcome(record)
        module = importlib.import_module(task.module)
        if sources.imported_digest(task.module) != task.identity["sources"]:
            raise RuntimeError("the sources changed while the run started: run it again")
        return Outcome(_measured(module, task))
    except store.Unavailable as reason:
        return Outcome(skipped=str(reason))
    except Exception as error:  # whatever it is, the other cells go on
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Outcome(error=text, traceback=traceback.format_exc())


def _measured(module: ModuleType, task: Task) -> store.Record:
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
    return written
