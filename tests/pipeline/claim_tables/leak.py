"""Slope and floor of the leak, and earlier results: the exact leaks, or these bent."""

import math
from functools import cache, partial
from typing import Any

from experiments import store
from experiments.claims import earlier, leak
from theory.transport import sparsemax_leak

CLAIMS = [claim for part in (leak, earlier) for claim in part.CLAIMS]
exact_leak = cache(sparsemax_leak)  # asked for by every table
STIFFNESS = (4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
KAPPA = math.sqrt(2)


def share(name: str, value: float, count: int) -> dict[str, Any]:
    sem = math.sqrt(max(0.0, value * (1 - value)) / count)
    return {f"{name}_value": value, f"{name}_sem": sem, f"{name}_bias": 0.0, f"{name}_count": count}


def rows_of(
    factor: float = 1.0,
    modes: tuple[int, ...] = (2, 16, 64),
    count: int = 3 * 10**6,
    power: float = 0.0,
) -> list[store.Row]:
    """Leaks `factor`·(Λ/16)^power times the exact ones; trained maps and orthants beside them."""
    rows: list[store.Row] = []
    for m in modes:
        for stiffness in STIFFNESS:
            exact = exact_leak(m, stiffness)
            leaked = min(0.999, factor * (stiffness / 16) ** power * exact)
            own = {"family": "sparsemax", "modes": m, "dimension": m, "stiffness": stiffness}
            rows.append({**own, "barrier": KAPPA, "exact": exact, **share("leak", leaked, count)})
    leaked = factor * exact_leak(4, 16.0)
    own = {"family": "trained", "modes": 4, "dimension": 4, "stiffness": 16.0, "mass_error": 0.01}
    stretch = {"stretch_mean_square_value": 18.0, "stretch_mean_square_sem": 1.0}
    stretch |= {"stretch_mean_square_bias": 0.0, "stretch_mean_square_count": 2000}
    trained = {
        **own,
        "barrier": KAPPA,
        "certified": 16.0,
        **share("leak", leaked, count),
        **stretch,
    }
    rate = {"raw_rate_value": 1.13, "raw_rate_sem": 0.01, "raw_rate_bias": 0.0}
    orthants = {
        **own,
        "family": "orthants",
        "stiffness": 64.0,
        "barrier": KAPPA,
        "raw_limit": 1.128,
    }
    orthants |= rate | {"raw_rate_count": count} | share("leak", leaked / 4, count)
    return [*rows, trained, orthants]


def bent(column: str, factor: float) -> list[store.Row]:
    return [
        {**row, column: row[column] * factor} if row.get(column) is not None else row
        for row in rows_of()
    ]


MANY = partial(rows_of, modes=(16, 64))  # where the recalled form holds
TRUE = [(claim.id, MANY if claim.id == "issenhuth-recalled" else rows_of) for claim in CLAIMS]
BENT = [
    ("leak-floor", partial(rows_of, 0.9)),
    ("floor-two-modes", partial(rows_of, 1.05)),
    ("leak-from-below", partial(rows_of, 1.1)),
    ("leak-slope", partial(rows_of, power=0.1)),
    ("leak-deficit", partial(rows_of, power=-0.1)),
    ("raw-scores-limit", partial(bent, "raw_rate_value", 0.7)),
    ("stiffness-mean-square", partial(bent, "stretch_mean_square_value", 14.0)),
    ("salmona-total-variation", partial(rows_of, 0.9)),
    ("salmona-modes", partial(rows_of, 0.7)),
    ("issenhuth-recalled", rows_of),
    ("issenhuth-many", partial(rows_of, 0.9)),
    ("tanielian-precision", partial(rows_of, 0.5, (64, 256))),
]
VAGUE = [
    ("floor-two-modes", partial(rows_of, count=3000)),
    ("leak-from-below", partial(rows_of, count=3000)),
    ("leak-slope", partial(rows_of, count=3000)),
    ("leak-deficit", partial(rows_of, count=3000)),
    ("raw-scores-limit", partial(bent, "raw_rate_sem", 30.0)),
    ("stiffness-mean-square", partial(bent, "stretch_mean_square_sem", 100.0)),
    ("salmona-modes", partial(rows_of, count=300)),
    ("issenhuth-many", partial(rows_of, count=3000)),
]
OTHER: list = []
