"""Neighbouring cells of a grid as one task for a worker, and what the worker does with it."""

import importlib
import pickle
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from experiments import runtime, sources, store
from experiments.ledger import Ledger, Outcome

# A new program takes seconds to compile, so a task of that length spares most of it.
SECONDS = 15.0


@dataclass(frozen=True)
class Piece:
    """A cell on its way to a worker; pickled inside, since reading it imports the experiment."""

    identity: dict[str, Any]
    cell: bytes
    path: Path


@dataclass(frozen=True)
class Task:
    """Cells of one experiment that one worker computes, one after the other."""

    module: str
    pieces: tuple[Piece, ...]


def task(ledger: Ledger, indices: Sequence[int]) -> Task:
    """The task of these cells of a ledger's plan."""
    plan = ledger.plan
    pieces = [
        Piece(plan.identities[k], pickle.dumps(plan.cells[k]), ledger.paths[k]) for k in indices
    ]
    return Task(plan.module, tuple(pieces))


def portions(
    missing: Sequence[tuple[float, int]], limit: float
) -> Iterator[tuple[float, list[int]]]:
    """Cost and cells of each task: neighbours of the grid, together at most `limit` seconds.

    Neighbours share what is compiled and what is loaded, and in one process that is done once. A
    cell that takes longer than the limit goes alone. `missing` has cost and index of each cell.
    """
    total, cells = 0.0, list[int]()
    for cost, index in missing:
        if cells and total + cost > limit:
            yield total, cells
            total, cells = 0.0, []
        total, cells = total + cost, [*cells, index]
    if cells:
        yield total, cells


def compute(task: Task) -> list[Outcome]:
    """Measure cells and store each at once. Runs in a worker, of whatever executor.

    A cell that is stored already is kept: an executor that lost a worker gives its task to another.
    """
    runtime.configure()
    return [_outcome(task.module, piece) for piece in task.pieces]


def _outcome(name: str, piece: Piece) -> Outcome:
    try:
        if record := store.read_cell(piece.path, piece.identity):
            return Outcome(record)
        module = importlib.import_module(name)
        if sources.imported_digest(name) != piece.identity["sources"]:
            raise RuntimeError("the sources changed while the run started: run it again")
        return Outcome(_measured(module, piece))
    except store.Unavailable as reason:
        return Outcome(skipped=str(reason))
    except Exception as error:  # whatever it is, the other cells go on
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Outcome(error=text, traceback=traceback.format_exc())


def _measured(module: ModuleType, piece: Piece) -> store.Record:
    started = time.perf_counter()
    key = runtime.cell_key(piece.identity["config"], piece.identity["seed"])
    checkpoint = store.Checkpoint(piece.path)
    states = (checkpoint,) if getattr(module, "CHECKPOINTS", False) else ()
    answer = module.measure(pickle.loads(piece.cell), key, *states)
    row, arrays = answer if isinstance(answer, tuple) else (answer, None)
    row, seconds = store.flatten(row), time.perf_counter() - started
    record = store.Record(row, None, round(seconds, 3), runtime.peak_memory())
    written = store.write_cell(piece.path, piece.identity, record, arrays)
    checkpoint.clear()
    return written
