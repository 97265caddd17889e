"""What claims read of a table's rows."""

import math
from collections.abc import Sequence

from theory.estimate import Estimate, Interval, proportion_interval

from experiments.store import Row
from experiments.verdict import FAILURE, Check


def number(row: Row, name: str) -> float:
    """A column that must hold a number."""
    value = row[name]
    if not isinstance(value, int | float):
        raise ValueError(f"column {name} of a table must be a number, got {value!r}")
    return float(value)


def estimate(row: Row, name: str) -> Estimate:
    """The estimate behind four columns; an infinite part was stored as nothing."""
    parts = [row[f"{name}_{part}"] for part in ("value", "sem", "bias", "count")]
    return Estimate(*(math.inf if part is None else part for part in parts))


def over(row: Row, name: str, unit: float, failure: float) -> tuple[float, Interval]:
    """An estimate over an exact number, with its interval."""
    return ended(estimate(row, name).scaled(1 / unit), failure)


def with_ends(row: Row, name: str) -> tuple[float, Interval]:
    """A ratio with its interval; what is unbounded, or not there, was stored as nothing."""
    lower, upper = (row[f"{name}_{end}"] for end in ("lower", "upper"))
    ends = Interval(
        -math.inf if lower is None else float(lower), math.inf if upper is None else float(upper)
    )
    value = row[f"{name}_value"]
    return float(ends.lower if value is None else value), ends


def ended(found: Estimate, failure: float) -> tuple[float, Interval]:
    """A scalar estimate with its interval."""
    ends = found.interval(failure)
    return float(found.value), Interval(float(ends.lower), float(ends.upper))


def rate(row: Row, name: str, failure: float) -> tuple[float, Interval]:
    """A share of independent trials with its Clopper–Pearson interval."""
    share = Estimate(number(row, f"{name}_value"), 0.0, 0.0, number(row, f"{name}_count"))
    return float(share.value), proportion_interval(share, failure)


def ratio(row: Row, name: str, reference: str) -> tuple[float, Interval]:
    """A column with `_lower` and `_upper` over another one."""
    unit = number(row, reference)
    value = row[name] if name in row else row[f"{name}_value"]
    ends = (number(row, f"{name}_{end}") / unit for end in ("lower", "upper"))
    return float(value or 0.0) / unit, Interval(*ends)


def of_family(rows: Sequence[Row], *families: str) -> list[Row]:
    """The rows of some families."""
    return [row for row in rows if row["family"] in families]


def dimension_of(language: object) -> int:
    """n of a language's embeddings, from its name."""
    return int(str(language).split()[3])


def inside(effect: float, interval: Interval, allowed: Interval, failure: float = 0.0) -> Check:
    """A check that holds only when the whole interval is allowed: across the edge nothing is said.

    For statements about what is found, not laws, where an interval across the edge is no support.
    """
    within = allowed.lower <= interval.lower and interval.upper <= allowed.upper
    return Check(effect, interval, allowed, math.inf if within else 0.0, failure)


def ready(row: Row, name: str, allowed: Interval) -> Check:
    """`inside` for a ratio whose interval the table holds, at FAILURE."""
    return inside(*with_ends(row, name), allowed, FAILURE)


def all_inside(rows: Sequence[Row], name: str, allowed: Interval, failure: float) -> list[Check]:
    """`inside` for an estimate of each row, the failure probability split over the rows."""
    share = failure / max(1, len(rows))
    return [inside(*ended(estimate(row, name), share), allowed) for row in rows]
