"""What became of an experiment's cells, and the table and manifest made of it."""

import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from experiments import store
from experiments.planning import Plan


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a cell: a record, or the reason for a skip, or an error."""

    record: store.Record | None = None
    skipped: str | None = None
    error: str | None = None
    traceback: str | None = None
    kept: bool = False


LOST = Outcome(error="a worker process died (out of memory?); run again for what is missing")


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished experiment: outcomes in the order of the grid, and the table they went to."""

    plan: Plan
    outcomes: tuple[Outcome, ...]
    table: Path
    seconds: float

    def count(self, what: str) -> int:
        """How many cells were kept, skipped or failed (`error`)."""
        return sum(bool(getattr(outcome, what)) for outcome in self.outcomes)

    def summary(self) -> str:
        """One line for a person."""
        done = sum(outcome.record is not None and not outcome.kept for outcome in self.outcomes)
        parts = [f"{done} computed", f"{self.count('kept')} already there"]
        parts += [f"{self.count('skipped')} skipped"] if self.count("skipped") else []
        parts += [f"{self.count('error')} FAILED"] if self.count("error") else []
        return f"{self.plan.name}: {', '.join(parts)}, {self.seconds:.1f} s → {self.table}"


class Ledger:
    """Outcomes of one experiment as they come in."""

    def __init__(self, plan: Plan, out: Path) -> None:
        self.plan = plan
        self.out = out
        self.started = time.perf_counter()
        self.paths = [store.cell_path(out, identity) for identity in plan.identities]
        self.outcomes: dict[int, Outcome] = {}
        self._lost = False
        for index, (path, identity) in enumerate(zip(self.paths, plan.identities, strict=True)):
            if record := store.read_cell(path, identity):
                self.outcomes[index] = Outcome(record, kept=True)

    def missing(self) -> list[tuple[float, int]]:
        """Cost and index of the cells still to be computed."""
        return [(c, i) for i, c in enumerate(self.plan.costs) if i not in self.outcomes]

    @property
    def complete(self) -> bool:
        """Whether every cell has an outcome."""
        return len(self.outcomes) == len(self.plan.cells)

    def add(self, index: int, outcome: Outcome) -> None:
        """Take in an outcome; skips and failures are named at once."""
        repeated = outcome is LOST and self._lost  # one death, many cells
        self._lost = self._lost or outcome is LOST
        self.outcomes[index] = outcome
        config = store.canonical(self.plan.configs[index])
        if outcome.skipped:
            _say(f"noncommit: {self.plan.name} {config} skipped: {outcome.skipped}")
        if outcome.error and not repeated:
            _say(f"noncommit: {self.plan.name} {config} failed: {outcome.error}")

    def close(self, command: str) -> Result:
        """Write the table and the manifest."""
        outcomes = tuple(self.outcomes[index] for index in range(len(self.plan.cells)))
        table = self.out / f"{self.plan.name}.csv"
        rows = [outcome.record.row if outcome.record else None for outcome in outcomes]
        store.collect(table, self.plan.configs, rows)
        result = Result(self.plan, outcomes, table, time.perf_counter() - self.started)
        store.write_json(
            table.with_suffix(".manifest.json"), _manifest(result, self.paths, command)
        )
        return result


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)


def _manifest(result: Result, paths: Sequence[Path], command: str) -> dict[str, Any]:
    """Everything about a run that is not a number of the table."""
    plan = result.plan
    cells: list[dict[str, Any]] = []
    skipped, failed, memory = [], [], [0]
    for config, path, outcome in zip(plan.configs, paths, result.outcomes, strict=True):
        if record := outcome.record:
            cells.append({"config": config, "file": path.name, "seconds": record.seconds})
            memory.append(record.peak_memory or 0)
        elif outcome.skipped:
            skipped.append({"config": config, "reason": outcome.skipped})
        else:
            trace = outcome.traceback
            failed.append({"config": config, "error": outcome.error, "traceback": trace})
    return {
        "experiment": plan.name,
        "preset": plan.preset,
        "seed": plan.seed,
        "grid": plan.grid,
        "command": command,
        **plan.environment,
        "dtype": plan.identities[0]["dtype"],
        "sources": plan.identities[0]["sources"],
        "seconds": round(result.seconds, 3),
        "cell_seconds": round(sum(cell["seconds"] for cell in cells), 3),
        "peak_memory_bytes": max(memory) or None,
        "skipped": skipped,
        "failed": failed,
        "cells": cells,
    }
