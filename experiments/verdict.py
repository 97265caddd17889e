"""What a table says of a statement: an interval for an effect, and the effects it allows.

A claim holds when every one of its checks holds, is refuted when one of them excludes what the
theorem says, and is inconclusive when an interval is too wide to tell the theorem from a nearly
right law. The failure probability of a claim is split over its checks.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from theory.estimate import Interval

from experiments.store import Row

FAILURE = 1e-9


@dataclass(frozen=True)
class Verdict:
    """What the tables say of a claim; `effect` and `interval` are of the worst check."""

    id: str
    theorem: str
    statement: str
    verdict: str
    effect: float | None
    interval: tuple[float, float] | None
    failure_probability: float | None
    command: str


@dataclass(frozen=True)
class Check:
    """One comparison: an interval for the effect, and the effects that the theorem allows.

    `resolution` is the widest interval that still tells the theorem from its falsifier.
    """

    effect: float
    interval: Interval
    allowed: Interval
    resolution: float = math.inf

    @property
    def verdict(self) -> str:
        """Refuted, inconclusive or holds."""
        lower, upper = self.interval
        if upper < self.allowed.lower or lower > self.allowed.upper:
            return "refuted"
        narrow = upper - lower <= self.resolution
        return "holds" if narrow and lower <= upper else "inconclusive"


Checks = Callable[[list[Row], float], list[Check]]


@dataclass(frozen=True)
class Claim:
    """A statement of the theory, the experiment whose rows bear on it, and how they are judged."""

    id: str
    theorem: str
    statement: str
    experiment: str
    checks: Checks
    failure: float = FAILURE

    @property
    def command(self) -> str:
        """What makes the rows of this claim and judges it."""
        return f"noncommit run {self.experiment} && noncommit verify --claim {self.id}"

    def judge(self, rows: list[Row]) -> Verdict:
        """The verdict on these rows: missing without a row, inconclusive where none bears on it."""
        checks = self.checks(rows, self.failure)
        if not checks:
            return self._verdict("inconclusive" if rows else "missing", None, None, None)
        said = {check.verdict for check in checks}
        order = ("refuted", "inconclusive", "holds")
        verdict = next(v for v in order if v in said)
        worst = max(checks, key=lambda c: (-order.index(c.verdict), _strain(c)))
        ends = (float(worst.interval.lower), float(worst.interval.upper))
        return self._verdict(verdict, worst.effect, ends, self.failure)

    def _verdict(
        self,
        verdict: str,
        effect: float | None,
        interval: tuple[float, float] | None,
        failure: float | None,
    ) -> Verdict:
        return Verdict(
            self.id, self.theorem, self.statement, verdict, effect, interval, failure, self.command
        )


def _strain(check: Check) -> float:
    """How near the interval comes to being excluded, to choose which check to show."""
    half = (check.interval.upper - check.interval.lower) / 2
    nearest = float(np.clip(check.effect, *check.allowed))
    return abs(check.effect - nearest) / half if half > 0 else 0.0
