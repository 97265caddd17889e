"""Runs the tests on a mutant: a copy of the checkout of its own, the first failure ends it."""

import contextlib
import hashlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from tests.mutants.mutation import Mutant

COPIED = (
    "theory",
    "experiments",
    "figures",
    "tests",
    "benchmarks",
    "docs",
    "results/reference",
    "README.md",
    "CHANGELOG.md",
    "CITATION.cff",
    "LICENSE",
    "Makefile",
    "constraints.txt",
    "pyproject.toml",
)
SECONDS = 150.0  # of computing, for the tests of a mutant
LOADED = 6  # times as long by the clock, on a machine that others use too
MEMORY = 12 * 2**20  # KiB of data that a mutant may hold


class Outcome(NamedTuple):
    """What came of a run of tests.

    Fields:
        verdict: "killed", "survived", or "timeout".
        killer: the test that failed first.
        seconds: of the run.
    """

    verdict: str
    killer: str
    seconds: float


class Runner:
    """Runs test files on copies of a checkout, and keeps each outcome as soon as it is known."""

    def __init__(self, root: Path, cache: Path, seconds: float = SECONDS) -> None:
        self.root, self.seconds = root, seconds
        self.outcomes = cache / "mutants" / "outcomes"
        self.outcomes.mkdir(parents=True, exist_ok=True)
        self.cache = shared_cache(cache)

    def of(self, mutant: Mutant, tests: Sequence[str]) -> Outcome:
        """The outcome on a mutant, from an earlier run if its text and what decided are the same.

        What decided is the file of the killing test, or all tests where none has killed.
        """
        found = self._kept(mutant, tests)
        if found.verdict == "timeout":
            unharmed = self._kept(None, tests)
            if unharmed.verdict != "survived":
                return found._replace(verdict="survived", killer="no test within the time limit")
        return found

    def _kept(self, mutant: Mutant | None, tests: Sequence[str]) -> Outcome:
        words = [mutant.file, mutant.text] if mutant else ["no fault", *tests]
        path = self.outcomes / f"{_digest(words)}.json"
        selections = [tests]
        if path.exists():
            *fields, decided = json.loads(path.read_text("utf-8")).values()
            found = Outcome(*fields)
            if decided == self._decisive(found, tests):
                return found
            if found.verdict == "killed":  # an edited file most often kills as before
                selections.insert(0, [found.killer])
        for selection in selections:
            found = self._run(mutant, selection)
            if found.verdict == "killed":
                break
        _write(path, found._asdict() | {"decided": self._decisive(found, tests)})
        return found

    def _decisive(self, found: Outcome, tests: Sequence[str]) -> str:
        files = [found.killer.split("::")[0]] if found.verdict == "killed" else tests
        texts = (self.root / file for file in files)
        texts = (path.read_text("utf-8") if path.exists() else "" for path in texts)
        return _digest([found.verdict, *texts])

    def failing(self, killers: Sequence[str]) -> set[str]:
        """Those that do not pass without the fault, and so have killed nothing.

        One that has passed is not run again while its file and theory/ are the same.
        """
        theory = [path.read_text("utf-8") for path in sorted((self.root / "theory").rglob("*.py"))]
        paths = {}
        for killer in killers:
            own = (self.root / killer.split("::")[0]).read_text("utf-8")
            paths[killer] = self.outcomes / f"{_digest([killer, *theory, own])}.json"
        unknown = [killer for killer, path in paths.items() if not path.exists()]
        for killer in self._passing(unknown) if unknown else []:
            _write(paths[killer], {"passes": True})
        return {killer for killer, path in paths.items() if not path.exists()}

    def _passing(self, killers: Sequence[str]) -> list[str]:
        """Those that pass without any fault, all run together; of a file, that some test does."""
        with tempfile.TemporaryDirectory() as folder:
            copy, report = Path(folder, "copy"), Path(folder, "report.xml")
            copy_checkout(self.root, copy)
            options = ["--continue-on-collection-errors"]
            self._pytest(copy, report, killers, options, len(killers) * self.seconds)
            passed = {name for name, failed in _cases(report) if not failed}
        passed |= {name.split("::")[0] for name in passed}
        return [killer for killer in killers if killer in passed]

    def _run(self, mutant: Mutant | None, tests: Sequence[str]) -> Outcome:
        with tempfile.TemporaryDirectory() as folder:
            copy, report = Path(folder, "copy"), Path(folder, "report.xml")
            copy_checkout(self.root, copy)
            if mutant:
                (copy / mutant.file).write_text(mutant.text, "utf-8")
            start = time.monotonic()
            limit = self.seconds if mutant else self.seconds / 2  # far from what is called hanging
            status = self._pytest(copy, report, tests, ["-x"], limit)
            seconds = round(time.monotonic() - start, 1)
            if status is None:
                return Outcome("timeout", "", seconds)
            if status == 0:
                return Outcome("survived", "", seconds)
            failed = [name for name, failed in _cases(report) if failed]
            if not failed:
                return Outcome("survived", f"pytest itself: exit status {status}", seconds)
            return Outcome("killed", failed[0], seconds)

    def _pytest(
        self, copy: Path, report: Path, tests: Sequence[str], options: list[str], seconds: float
    ) -> int | None:
        """The exit status, or None when the time is over; the whole process group ends with it."""
        command = [sys.executable, "-m", "pytest", "-q", "--no-header", "--tb=no", *options]
        command += ["-m", "not slow", "-p", "no:cacheprovider", f"--junitxml={report}", *tests]
        limited = [
            "sh",
            "-c",
            f'ulimit -d {MEMORY}; ulimit -S -t {math.ceil(seconds)}; exec "$@"',
            "sh",
            *command,
        ]
        environment = os.environ | {
            "PYTHONPATH": str(copy),  # before the checkout that is installed
            "NONCOMMIT_CACHE": str(self.cache),
            "HYPOTHESIS_PROFILE": "mutants",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(
            limited, cwd=copy, env=environment, start_new_session=True, **quiet
        )
        try:
            status = process.wait(LOADED * seconds)
            return None if status == -signal.SIGXCPU else status
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(process)


def _digest(words: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:24]


def _write(path: Path, content: dict[str, object]) -> None:
    """As a whole or not at all: the run may be stopped at any time."""
    partial = path.with_suffix(f".{threading.get_ident()}")
    partial.write_text(json.dumps(content), "utf-8")
    partial.replace(path)


def _end(process: subprocess.Popen) -> None:
    """Kill what the process started, and itself if it still runs."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def copy_checkout(root: Path, copy: Path) -> None:
    """What the tests need of a checkout."""
    unwanted = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in COPIED:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=unwanted)
        elif source.exists():
            copy.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy / name)


def shared_cache(cache: Path) -> Path:
    """A cache for all mutants: compilations shared with the real one, weights out of reach.

    A faulty reader could spoil the weights, so that the mutants see links to the files, which
    writing a new file under the same name does not follow.
    """
    own = cache / "mutants" / "cache"
    own.mkdir(parents=True, exist_ok=True)
    (cache / "compiled").mkdir(exist_ok=True)
    for folder in cache.iterdir():
        if folder.name == "mutants" or not folder.is_dir() or (own / folder.name).exists():
            continue
        if folder.name == "compiled":
            (own / folder.name).symlink_to(folder.resolve(), target_is_directory=True)
        else:
            shutil.copytree(folder, own / folder.name, copy_function=os.link)
    return own


def _cases(report: Path) -> list[tuple[str, bool]]:
    """The tests that were run, and whether each failed; none where pytest got to no report."""
    if not report.exists():
        return []
    cases = ElementTree.parse(report).getroot().iter("testcase")
    return [(_name(case), any(part.tag in ("failure", "error") for part in case)) for case in cases]


def _name(case: ElementTree.Element) -> str:
    """file::test, as pytest takes it; a file that does not import has no test."""
    place, name = case.get("classname") or "", case.get("name") or ""
    if not place:
        return name.replace(".", "/") + ".py"
    return f"{place.replace('.', '/')}.py::{name}"
