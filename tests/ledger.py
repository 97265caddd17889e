"""What a run of the tests stakes: the sum of the failure probabilities of all of its checks.

By the union bound a run whose statements are all true turns red with at most that probability, over
the keys it might have been given. `tests.significance` enters every check as it is made, so that
examples, parameters and loops count as often as they run; an interval that a test asks for itself
is entered by `watch`. Rejections of wrong laws stake nothing: they are demands on the power.
"""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

LIMIT = 1e-6  # of a whole run
STUDIED = 1e-6  # an interval that misses more often is what a test is about, not what it rests on
TESTS = Path(__file__).resolve().parent


class Stated(NamedTuple):
    """Checks of p-values in a file that does not go through `tests.significance`.

    Fields:
        lines: of asserts, rejections among them.
        probability: what they stake together, over parameters and loops.
    """

    lines: int
    probability: float


OUTSIDE = {
    "kernels/test_commitment.py": Stated(2, 2e-10),
    "kernels/test_crossover.py": Stated(2, 6e-9),
    "kernels/test_estimate.py": Stated(2, 3e-10),
    "kernels/test_feedback.py": Stated(2, 2e-9),
    "kernels/test_gaussian.py": Stated(1, 1e-9),
    "kernels/test_language.py": Stated(2, 2e-10),
    "kernels/test_markov_chain.py": Stated(2, 1e-10),
    "kernels/test_rare.py": Stated(1, 4e-10),
    "kernels/test_sampler.py": Stated(6, 1.6e-9),
    "kernels/test_transport_lipschitz.py": Stated(2, 4e-9),
}
OURS = {str(TESTS / name) for name in ("ledger.py", "significance.py")}


class Ledger:
    """Checks made so far and the sum of their failure probabilities."""

    def __init__(self) -> None:
        self.checks, self.total, self._paused = 0, 0.0, False

    def enter(self, failure_probability: float, checks: int = 1) -> None:
        """That many checks, each with this failure probability."""
        if not self._paused:
            self.checks += checks
            self.total += checks * failure_probability

    def enter_file(self, path: Path) -> None:
        """What a test file states by itself."""
        name = path.relative_to(TESTS).as_posix() if path.is_relative_to(TESTS) else ""
        if name in OUTSIDE:
            self.enter(OUTSIDE[name].probability)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is entered within."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before


LEDGER = Ledger()


def watch() -> None:
    """Enter every interval that a test asks of `theory` itself, one check an entry of its value."""
    from theory import estimate, leak

    for module in (estimate, leak):
        module.check_probability = _entering(module.check_probability)


def _entering(check):
    def check_probability(failure_probability: float) -> None:
        check(failure_probability)
        frame = sys._getframe(1)
        if failure_probability < STUDIED and _asked_by_a_test(frame):
            value = getattr(frame.f_locals.get("self"), "value", 0.0)
            LEDGER.enter(failure_probability, getattr(value, "size", 1))

    return check_probability


def _asked_by_a_test(frame) -> bool:
    """Whether the nearest caller outside of the packages that are tested is a test."""
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(str(TESTS)):
            return file not in OURS
        if file.startswith(str(TESTS.parent / "experiments")):
            return False
        frame = frame.f_back
    return False


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error) -> None:
    """What a worker of pytest-xdist has entered; one that crashed says nothing."""
    checks, total = getattr(node, "workeroutput", {}).get("staked", (0, 0.0))
    LEDGER.checks += checks
    LEDGER.total += total


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the sum on, or fail a run that stakes more than it may."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["staked"] = (LEDGER.checks, LEDGER.total)
    elif LEDGER.total > LIMIT and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter) -> None:
    """One line: how many checks, and how likely one of them fails though all is true."""
    if LEDGER.checks:
        said = f"{LEDGER.checks} statistical checks fail, though all is true, with probability"
        limit = f", more than the {LIMIT:g} of a run" if LEDGER.total > LIMIT else ""
        terminalreporter.write_line(f"{said} ≤ {LEDGER.total:.2g}{limit}")
