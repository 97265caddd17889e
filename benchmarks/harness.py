"""Contenders on cases: a process of its own for each, the median of REPEATS calls, its own peak.

A benchmark is a module with `entries(size)`, what to measure, and `CONTENDERS`, how. Every library
is given the same number of threads. The floor of a contender is its matrix products alone, at the
rate of the fastest large product of the same run (`benchmarks.product_rate`).
"""

import importlib
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from experiments import runtime, store
from experiments.store import Row

REPEATS = 7
SIZES = ("full", "tiny")
BENCHMARKS = {
    "product_rate": "one large matrix product: the measure of all others",
    "nearest_facet": "nearest facets of a linear head over all classes",
    "perimeter": "Gaussian perimeter of a random code, error in a minute",
    "equal_masses": "offsets of equal cell masses, worst error against time",
    "operator_norm": "largest singular values of Jacobians",
    "forward_backward": "posteriors of the tokens of a Markov chain",
    "training": "training of a map of certified stiffness",
    "growth": "how the cost of a kernel grows with each of its sizes",
}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
OURS = "noncommit"
GIVEN = dict(os.environ)  # as it was before this process asked anything of XLA


Case = dict[str, Any]  # its fields, which a contender's set-up takes by name


class Run(NamedTuple):
    """A contender set up on a case.

    Fields:
        call: what is timed, given the number of the repeat; it returns when the work is done.
        flops: of the matrix products of all the work of the case.
        dtype: of those products.
        facts: how right the answers of the timed calls are, given them and the median seconds.
        part: the share of the case's work that a call does, where the whole would take too long.
    """

    call: Callable[[int], Any]
    flops: float
    dtype: str
    facts: Callable[[list[Any], float], Mapping[str, Any]] = lambda answers, seconds: {}
    part: float = 1.0


class Contender(NamedTuple):
    """The distribution that does the work, and a function from a case's fields to a `Run`."""

    library: str
    setup: Callable[..., Run]


class Entry(NamedTuple):
    """Cases that one process measures, from small to large, so that its peak is the last one's."""

    contender: str
    cases: Sequence[Case]


def module(name: str) -> ModuleType:
    """The module of a benchmark."""
    return importlib.import_module(f"benchmarks.{name}")


def measure(name: str, size: str, number: int) -> list[Row]:
    """The rows of one entry, in this process."""
    benchmark = module(name)
    entry = benchmark.entries(size)[number]
    contender = benchmark.CONTENDERS[entry.contender]
    prepare(contender.library)
    named = {"contender": entry.contender, "library": contender.library}
    return [dict(case) | named | timed(contender.setup(**case)) for case in entry.cases]


def prepare(library: str) -> None:
    """Ours as the command line runs it; a peer in JAX with XLA's own flags."""
    if library == OURS:
        runtime.configure()
        return
    import jax

    jax.config.update("jax_enable_x64", True)


def timed(run: Run) -> Row:
    """Times of one call that may compile and of REPEATS that do not, peak memory, accuracy."""
    start = time.perf_counter()
    run.call(0)
    first, times, answers = time.perf_counter() - start, [], []
    busy = time.process_time()
    for repeat in range(REPEATS):
        start = time.perf_counter()
        answers.append(run.call(repeat + 1))
        times.append((time.perf_counter() - start) / run.part)
    busy = (time.process_time() - busy) / (sum(times) * run.part)
    peak, seconds = runtime.peak_memory(), statistics.median(times)
    return {
        "repeats": REPEATS,
        "seconds": seconds,
        "seconds_least": min(times),
        "seconds_most": max(times),
        "seconds_first": first,
        "cores_busy": busy,
        "peak_memory": peak,
        "dtype": run.dtype,
        "gflop": run.flops / 1e9,
        "gflop_per_second": run.flops / seconds / 1e9,
    } | store.flatten(run.facts(answers, seconds))


def missing(library: str) -> str | None:
    """Why a contender cannot run here; None if it can."""
    if library == OURS:
        return None
    try:
        importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return f"{library} is not installed: `make bench` installs it (extra 'bench')"
    return None


def own_process(environment: Mapping[str, str], *arguments: str) -> Any:
    """What `python -m benchmarks --own …` printed last, as JSON.

    Raises:
        RuntimeError: when it failed, with the last line of what it said.
    """
    command = [sys.executable, "-m", "benchmarks", "--own", *arguments]
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise RuntimeError(said[-1])
    return json.loads(done.stdout.splitlines()[-1])


def threads() -> dict[str, str]:
    """The environment of a contender: as many threads as there are usable cores, in any library."""
    return GIVEN | dict.fromkeys(THREADS, str(len(runtime.usable_cores())))


def table(name: str, size: str, rates: Mapping[str, float]) -> tuple[list[Row], list[Row]]:
    """All rows of a benchmark, and what was skipped with the reason."""
    benchmark, environment = module(name), threads()
    rows: list[Row] = []
    skipped: list[Row] = []
    for number, entry in enumerate(benchmark.entries(size)):
        said = f"{name}: {entry.contender} {dict(entry.cases[0])}"
        library = benchmark.CONTENDERS[entry.contender].library
        try:
            if why := missing(library):
                raise RuntimeError(why)
            found = own_process(environment, name, size, str(number))
        except RuntimeError as error:
            skipped.append({"contender": entry.contender, "reason": str(error)})
            print(f"{said}: skipped, {error}", file=sys.stderr, flush=True)
            continue
        rows += found
        print(f"{said}: {found[0]['seconds']:.4g} s", file=sys.stderr, flush=True)
    for row in rows:
        rate = rates.get(str(row["dtype"]))
        row["share_of_product_rate"] = float(row["gflop_per_second"] or 0) / rate if rate else None
    return rows, skipped


def write(out: Path, name: str, rows: Sequence[Row], facts: Mapping[str, Any]) -> Path:
    """`OUT/NAME.csv` and its manifest."""
    path = out / f"{name}.csv"
    store.collect(path, [{}] * len(rows), rows)
    store.write_json(path.with_suffix(".manifest.json"), dict(facts))
    return path
