"""What a run stakes is entered check by check, once, and a run that stakes too much fails."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import ledger
from tests.significance import (
    FAILURE,
    check_at_least,
    check_likely,
    check_mean,
    check_proportion,
    check_rejects,
    check_slope,
)
from theory.estimate import Estimate, proportion, proportion_interval
from theory.leak import Leak, reaching_stiffness

X = 2.0 ** np.arange(4)
GOT = Estimate(1.0, 0.1, 0.0, 100)
RATE = proportion(30, 100)
TESTS = Path(ledger.__file__).parent


@pytest.fixture
def entered(monkeypatch: pytest.MonkeyPatch) -> ledger.Ledger:
    """A ledger of this test's own."""
    own = ledger.Ledger()
    monkeypatch.setattr(ledger, "LEDGER", own)
    monkeypatch.setattr("tests.significance.LEDGER", own)
    return own


@pytest.mark.parametrize(
    "check",
    [
        lambda: check_mean(GOT, 1.0, 1e-9),
        lambda: check_mean(Estimate(np.ones(50), 0.1, 0.0, 100), 1.0, 1e-9),
        lambda: check_proportion(RATE, 0.3, 1e-9),
        lambda: check_at_least(GOT, 0.9, 1e-9),
        lambda: check_likely(0.5, 1e-9),
        lambda: check_slope(X, Estimate(X, 0.1 * X, 0.0, 100), 1.0, 1e-9),
        lambda: GOT.interval(1e-9).contains(1.0),
        lambda: proportion_interval(RATE, 1e-9).contains(0.3),
        lambda: reaching_stiffness(np.linspace(0.1, 1, 1000), 0.3, 1e-9),
    ],
)
def test_a_check_is_entered_once(entered: ledger.Ledger, check):
    check()
    assert (entered.checks, entered.total) == (1, 1e-9)


def test_an_interval_stakes_its_probability_at_every_entry(entered: ledger.Ledger):
    Estimate(np.ones(50), 0.1, 0.0, 100).interval(1e-9)
    assert entered.total == pytest.approx(50e-9)


def test_intervals_that_are_right_together_stake_once(entered: ledger.Ledger):
    Leak(RATE, Estimate(np.full(4, 0.2), 0.1, 0.0, 100), 100).mass_intervals(1e-9)
    assert entered.total == pytest.approx(1e-9)


def test_rejections_and_intervals_that_are_studied_stake_nothing(entered: ledger.Ledger):
    check_rejects(check_mean, GOT, 2.0)
    GOT.interval(0.05)
    assert entered.checks == 0
    check_mean(GOT, 1.0)
    assert entered.total == FAILURE


RUN = """
import pytest
from tests.ledger import LEDGER, {hooks}

__all__ = {exported}
"""
HOOKS = ("pytest_sessionfinish", "pytest_terminal_summary", "pytest_testnodedown")


@pytest.mark.parametrize(("staked", "status", "workers"), [(4e-7, 0, "0"), (6e-7, 1, "2")])
def test_a_run_prints_its_sum_and_fails_above_the_limit(
    tmp_path: Path, staked: float, status: int, workers: str
):
    """Two tests, in the second case on two workers, whose sums the controller adds up."""
    conftest = RUN.format(hooks=", ".join(HOOKS), exported=[*HOOKS, "LEDGER", "pytest"])
    (tmp_path / "conftest.py").write_text(conftest)
    entering = f"from tests.ledger import LEDGER\n\n\ndef test():\n    LEDGER.enter({staked})\n"
    for name in ("test_a.py", "test_b.py"):
        (tmp_path / name).write_text(entering)
    command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "-n", workers]
    command += ["-o", f"pythonpath={TESTS.parent}", "--import-mode=importlib", str(tmp_path)]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    said = "2 statistical checks fail, though all is true, with probability"
    assert f"{said} ≤ {2 * staked:.2g}" in done.stdout, done.stdout + done.stderr
    assert ("more than the 1e-06 of a run" in done.stdout) == bool(status)
    assert done.returncode == status


CHANCE = re.compile(r"assert .*(pvalue|chances?[\[(_]|critical|<= reach|chi2|misses <=)")


def test_checks_that_state_their_chance_by_themselves_are_all_known():
    """Those of p-values outside of `tests.significance`: as many lines as `OUTSIDE` says."""
    found = {
        path.relative_to(TESTS).as_posix(): len(lines)
        for path in sorted(TESTS.rglob("test_*.py"))
        if "harness" not in path.parts
        and (lines := [li for li in path.read_text("utf-8").splitlines() if CHANCE.search(li)])
    }
    assert found == {file: one.lines for file, one in ledger.OUTSIDE.items()}


def test_no_file_states_more_than_a_run_may():
    assert max(one.probability for one in ledger.OUTSIDE.values()) <= ledger.LIMIT / 10


def test_a_file_that_states_its_chance_is_entered_once(entered: ledger.Ledger):
    entered.enter_file(TESTS / "kernels" / "test_gaussian.py")
    entered.enter_file(TESTS / "kernels" / "test_bound.py")
    entered.enter_file(Path("README.md"))
    assert (entered.checks, entered.total) == (1, 1e-9)
