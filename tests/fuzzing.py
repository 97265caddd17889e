"""Every reader on spoilt files, in a process of its own: `python -m tests.fuzzing COUNT KIND...`.

What the parsers' C code does on hostile bytes must not take the tests down with it, and the limit
on memory holds for a whole process. Prints one line of JSON.
"""

import json
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.mutations import KINDS
from theory.bridge.formats import read_headers, read_metadata, read_tensors

HEADROOM = 2**28  # bytes of address space beside what the process has before the first file


def read_each(path: Path) -> None:
    """The tensors one by one, so that one that is refused hides no other."""
    refused = None
    for name in read_headers(path):
        try:
            read_tensors(path, [name])
        except ValueError as error:
            refused = error
    if refused:
        raise refused


READS: tuple[Callable[[Path], object], ...] = (read_headers, read_metadata, read_tensors, read_each)


def fault(read: Callable[[Path], object], path: Path) -> str | None:
    """What is wrong with how a file is read; None when it is, or is refused as it should be."""
    try:
        read(path)
    except ValueError as error:
        said = str(error)
        if isinstance(error.__cause__, MemoryError):
            return f"asked for too much memory: {said}"
        return None if str(path) in said and "\n" not in said else f"unclear: {said!r}"
    except BaseException as error:
        return repr(error)
    return None


def fuzz(name: str, count: int, folder: Path) -> dict[str, object]:
    """Read that many spoilt copies; counts, the slowest in seconds, memory gained, all faults."""
    kind, path = KINDS[name], folder / f"file{KINDS[name].suffix}"
    kind.write(path)
    whole = {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
    faults, outcomes, slowest = [], Counter[str](), 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        for file, content in kind.spoil(whole, number).items():
            (folder / file).write_bytes(content)
        start = time.process_time()
        found = [f"{number} {read.__name__}: {fault(read, path)}" for read in READS]
        slowest = max(slowest, time.process_time() - start)
        faults += [line for line in found if not line.endswith(": None")]
        outcomes[readable(path)] += 1
    gained = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {**outcomes, "slowest": slowest, "kilobytes": gained, "faults": faults}


def readable(path: Path) -> str:
    """Whether the file still has headers and numbers."""
    try:
        read_tensors(path)
    except Exception:  # whether it should have been is told above
        return "refused"
    return "read"


def limit_memory() -> None:
    """Let no allocation pass that is far beyond these small files."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(li for li in status.read_text().splitlines() if li.startswith("VmSize:"))
        limit = int(line.split()[1]) * 1024 + HEADROOM
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def first(name: str) -> None:
    """Read a whole file: the packages' own memory is not the spoilt files'."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"file{KINDS[name].suffix}")
        KINDS[name].write(path)
        read_tensors(path)


def main() -> None:
    """Fuzz the named readers."""
    warnings.simplefilter("error")
    count, names = int(sys.argv[1]), sys.argv[2:]
    for name in names:
        first(name)
    limit_memory()
    found = {}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = fuzz(name, count, Path(folder))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
