"""Sweeps on many machines: the executor of a dask cluster, and what it asks of the workers.

Scheduler and workers are dask's own programs, started by whoever runs the cluster. Nothing is
installed in them: each task comes with the terms of its run, and a worker that comes late and does
not meet them passes it on and is retired. A command that dies leaves nothing behind.
"""

import functools
import importlib.metadata
import logging
import os
import platform
import socket
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tqdm import tqdm

from experiments import runtime, sources, store

T = TypeVar("T")

PACKAGES = ("jax", "jaxlib", "numpy", "scipy", "equinox", "optax")
CONNECT = 10.0  # seconds for a scheduler to answer
PATIENCE = 1.0  # seconds for a worker that does not fit to be retired before its task moves on


class Cluster(NamedTuple):
    """What `sweep.run` takes: an executor, and a function that counts its workers now."""

    executor: Executor
    workers: Callable[[], int]


@dataclass(frozen=True)
class Terms:
    """What a worker must share with the command: sources, versions, the folder of tables.

    `mark` is a file that the command has put into that folder, under a name of its own.
    """

    setup: tuple[tuple[str, str], ...]
    mark: str

    def fault(self, threads: int) -> str | None:
        """Why a worker with that many threads, in this process, gets no cells; None if it does."""
        if threads != 1:
            return f"it has {threads} threads: start workers with --nthreads 1"
        if os.environ.get("OMP_NUM_THREADS") != "1":  # read when distributed imported numpy
            return "it may give NumPy more threads: use dask's nanny, or OMP_NUM_THREADS=1"
        if "jax" in sys.modules and os.environ.get("NPROC") != "1":
            return "it has imported jax before, with more threads: restart it"
        for (what, wanted), (_, found) in zip(self.setup, setup(), strict=True):
            if wanted != found:
                versions = "" if what == "sources" else f" ({found}, not {wanted})"
                return f"it began with other {what} than this command{versions}: restart it"
        if not os.path.exists(self.mark):
            return f"it does not see this command's folder {os.path.dirname(self.mark)}"
        return None


@contextmanager
def cluster(address: str, out: Path) -> Iterator[Cluster]:
    """The workers of a dask scheduler, which both live on afterwards; waits until there is one.

    Args:
        address: of the scheduler, tcp://HOST:PORT.
        out: the folder of tables, under the same absolute path on all machines.

    Raises:
        ValueError: when dask is not installed, when the address is none, when the scheduler cannot
            import this package, or when a worker that is there does not meet the `Terms`.
        OSError: when nobody answers at the address, or `out` cannot be written to.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError(
            f"a scheduler is reached with the package distributed, which cannot be imported "
            f"({error}); pip install 'noncommit[cluster]'"
        ) from error
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # the error says enough
    store.check_writable(out)
    _reach(address)
    with (
        tempfile.NamedTemporaryFile(prefix=".noncommit-", dir=out.absolute()) as mark,
        Client(address, set_as_default=False) as client,
    ):
        terms = Terms(setup(), mark.name)
        _look_around(client, terms)
        client.subscribe_topic(terms.mark, functools.partial(_retire, client, set()))
        yield Cluster(_Borrowed(client, terms), lambda: _count(client))


def _reach(address: str) -> None:
    """An OSError at once: dask's client would try for half a minute and leave threads behind."""
    where = urllib.parse.urlsplit(address)
    if not where.hostname or not where.port:
        raise ValueError(f"the address of a scheduler is tcp://HOST:PORT, not {address!r}")
    try:
        socket.create_connection((where.hostname, where.port), CONNECT).close()
    except OSError as error:
        raise OSError(f"no scheduler answers at {address}: {error.strerror or error}") from error


def _look_around(client: Any, terms: Terms) -> None:
    """Wait for a worker; a ValueError that names those that do not meet the terms."""
    address = client.scheduler.address
    try:
        client.run_on_scheduler(setup)
    except ImportError as error:
        raise ValueError(f"the scheduler {address} runs without noncommit ({error})") from error
    if not _count(client):
        _say(f"no workers at {address} yet: waiting for the first")
        client.wait_for_workers(1)
    answers = client.run(_fault, terms, on_error="return")
    if faults := [f"{worker}: {fault}" for worker, fault in answers.items() if fault is not None]:
        raise ValueError(f"workers of {address} cannot be used: {'; '.join(faults)}")


async def _retire(client: Any, retired: set[str], event: tuple[float, tuple[str, str]]) -> None:
    """Else the scheduler may give what a worker has passed on to the same worker, for ever."""
    worker, fault = event[1]
    if worker not in retired:  # it may have passed on several tasks
        retired.add(worker)
        _say(f"{worker} is retired: {fault}")
        await client.retire_workers([worker])


def _count(client: Any) -> int:
    return int(client.scheduler_info(n_workers=0)["n_workers"])


class _Borrowed(Executor):
    """The client's executor; every task passes `_enter`, also on workers that come later."""

    def __init__(self, client: Any, terms: Terms) -> None:
        self._pool = client.get_executor(pure=False)  # pure: equal tasks would be computed once
        self._terms = terms

    def submit(self, call: Callable[..., T], /, *args: Any, **named: Any) -> "Future[T]":
        """As of any executor."""
        future: Future[T] = self._pool.submit(_enter, self._terms, call, *args, **named)
        return future


_met: set[Terms] = set()  # by the process that this is


def _enter(terms: Terms, call: Callable[..., T], *args: Any, **named: Any) -> T:
    """Make the call here, or pass it on to another worker and say why. Runs in a worker."""
    from distributed import Reschedule, get_worker

    if terms not in _met:
        worker = get_worker()
        if fault := terms.fault(worker.state.nthreads):
            worker.log_event(terms.mark, (worker.address, fault))
            time.sleep(PATIENCE)
            raise Reschedule
        _prepare()
        _met.add(terms)
    return call(*args, **named)


def _fault(terms: Terms, dask_worker: Any) -> str | None:
    """The same question before there is a task; dask gives the worker by this name."""
    return terms.fault(dask_worker.state.nthreads)


def _prepare() -> None:
    """As `runtime.start_worker`, except that the operating system chooses the core.

    It alone knows who else computes on this machine, and bits do not depend on the core.
    """
    cores = runtime.usable_cores()
    runtime.pin(cores[0])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    runtime.configure()
    runtime.keep_compilations()


@functools.cache
def setup() -> tuple[tuple[str, str], ...]:
    """Digest of the sources, and versions, as they were when this process first asked.

    A worker asks before it imports an experiment, so it also notices an edit of what it imported.
    """
    found = (runtime.SOURCE / package for package in ("experiments", "theory"))
    files = [path for folder in found for path in folder.rglob("*.py")]
    digest = sources.digest_of({str(path.relative_to(runtime.SOURCE)): path for path in files})
    python = ".".join(platform.python_version_tuple()[:2])
    versions = ((name, importlib.metadata.version(name)) for name in PACKAGES)
    return (("sources", digest), ("python", python), *versions)


def _say(line: str) -> None:
    tqdm.write(f"noncommit: {line}", file=sys.stderr)
