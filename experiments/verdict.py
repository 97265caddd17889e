"""What a table says of a statement: an interval for an effect, and the effects it allows.

A claim holds when every one of its checks holds, is refuted when one of them excludes what the
theorem says, and is inconclusive when an interval is too wide to tell the theorem from a nearly
right law. The failure probability of a claim is split over its checks; an interval that a table
holds ready has its own, which is added.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from theory.estimate import Interval

from experiments.store import Row

FAILURE = 1e-9
ROUNDING = 1e-12  # how far the interval of an exact effect reaches
ORDER = ("refuted", "inconclusive", "holds")  # the first of its checks' verdicts is the claim's


@dataclass(frozen=True)
class Verdict:
    """What the tables say of a claim; `effect` and `interval` are of the worst check.

    `reason` is one sentence, empty when the claim holds.
    """

    id: str
    theorem: str
    statement: str
    verdict: str
    effect: float | None
    interval: tuple[float, float] | None
    failure_probability: float | None
    command: str
    reason: str = ""


@dataclass(frozen=True)
class Check:
    """One comparison: an interval for the effect, and the effects that the theorem allows.

    `resolution` is the widest interval that still tells the theorem from its falsifier, 0 where
    the whole interval must be allowed. `failure` is the failure probability of an interval that
    the table holds ready; 0 where the interval is made here from a share of the claim's.
    """

    effect: float
    interval: Interval
    allowed: Interval
    resolution: float = math.inf
    failure: float = 0.0

    @property
    def verdict(self) -> str:
        """Refuted, inconclusive or holds."""
        lower, upper = self.interval
        if upper < self.allowed.lower or lower > self.allowed.upper:
            return "refuted"
        narrow = upper - lower <= self.resolution
        return "holds" if narrow and lower <= upper else "inconclusive"

    @property
    def finding(self) -> str:
        """What keeps the check from holding, without its cause."""
        if self.verdict == "refuted":
            return f"the interval {_ends(self.interval)} lies outside {_ends(self.allowed)}"
        if not self.interval.lower <= self.interval.upper:
            return "the effect is not a number"
        if self.resolution > 0:
            widest = f"{self.resolution:.3g}, the widest that tells the law from its falsifier"
            return f"the interval {_ends(self.interval)} is wider than {widest}"
        return f"the interval {_ends(self.interval)} reaches beyond {_ends(self.allowed)}"


Checks = Callable[[list[Row], float], list[Check]]


@dataclass(frozen=True)
class Claim:
    """A statement of the theory, the experiment whose rows bear on it, and how they are judged.

    `if_refuted` and `if_inconclusive` say why, as far as it is known, when it is.
    """

    id: str
    theorem: str
    statement: str
    experiment: str
    checks: Checks
    failure: float = FAILURE
    if_refuted: str = "the statement is false as it stands"
    if_inconclusive: str = "this preset draws too few samples, a larger one has more"

    @property
    def command(self) -> str:
        """What makes the rows of this claim and judges it."""
        return f"noncommit run {self.experiment} && noncommit verify --claim {self.id}"

    def judge(self, rows: list[Row]) -> Verdict:
        """The verdict on these rows: missing without a row, inconclusive where none bears on it."""
        checks = self.checks(rows, self.failure)
        if not checks:
            return self._unjudged(len(rows))
        worst = max(checks, key=lambda c: (-ORDER.index(c.verdict), _strain(c)))
        ends = (float(worst.interval.lower), float(worst.interval.upper))
        shared = self.failure if any(check.failure == 0 for check in checks) else 0.0
        spent = shared + math.fsum(check.failure for check in checks)
        reason = self._reason(worst)
        return self._verdict(worst.verdict, worst.effect, ends, spent, reason)

    def _reason(self, worst: Check) -> str:
        if worst.verdict == "holds":
            return ""
        why = self.if_refuted if worst.verdict == "refuted" else self.if_inconclusive
        return _sentence(f"{worst.finding}: {why}")

    def _unjudged(self, rows: int) -> Verdict:
        """Without a row, or with none of the kind that the claim reads."""
        if not rows:
            absent = f"there is no table of {self.experiment}: run `{self.command}`"
            return self._verdict("missing", None, None, None, _sentence(absent))
        few = f"none of the {rows} rows of {self.experiment} bears on it: its grid is too small"
        reason = _sentence(f"{few} at this preset, a larger one has such rows")
        return self._verdict("inconclusive", None, None, None, reason)

    def _verdict(
        self,
        verdict: str,
        effect: float | None,
        interval: tuple[float, float] | None,
        failure: float | None,
        reason: str,
    ) -> Verdict:
        said = (self.id, self.theorem, self.statement, verdict, effect, interval, failure)
        return Verdict(*said, self.command, reason)


def _strain(check: Check) -> float:
    """How near a check comes to its edge, to choose which one to show.

    Of a law, with edges on both sides, how far the effect is outside, or with a minus inside, in
    the reach of its interval towards that edge. Of a bound how far the end of the interval is
    beyond the edge, or with a minus within, in units of the edge or of 1.
    """
    (lower, upper), (least, most) = check.interval, check.allowed
    if math.isinf(most):
        return (least - lower) / max(1.0, abs(least))
    if math.isinf(least):
        return (upper - most) / max(1.0, abs(most))
    below, above = (max(reach, ROUNDING) for reach in (check.effect - lower, upper - check.effect))
    return max((least - check.effect) / below, (check.effect - most) / above)


def _ends(interval: Interval) -> str:
    lower, upper = (f"{end:.4g}".replace("inf", "∞").replace("-", "−") for end in interval)
    return lower if lower == upper else f"[{lower}, {upper}]"


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."
