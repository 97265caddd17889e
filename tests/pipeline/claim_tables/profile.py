"""The best partitions found: foams, the band of large n, orthants, growth at n = 256."""

import math
from functools import partial
from typing import Any

from experiments import store
from experiments.claims import profile
from theory import bound

FOAMS = [f"coefficient-{n}" for n in (1, 2, 3, 4)]
NAMES = [*FOAMS, "ball-floor", "penalty-strict", "above-slices", "orthants-leave", "growth-256"]
CLAIMS = [claim for claim in profile.CLAIMS if claim.id in NAMES]
ABOVE = 1.01  # the true rows over the local foam, and D over the band's lower side


def row(
    modes: int, dimension: int, perimeter: float, sem: float, family: str = "best"
) -> store.Row:
    """A cell of perimeter P and relative error `sem`, D beside it."""
    penalty = perimeter / bound.interface_floor(modes)
    shared: dict[str, Any] = {"modes": modes, "dimension": dimension, "family": family}
    for name, value in (("perimeter", perimeter), ("penalty", penalty)):
        shared |= {f"{name}_value": value, f"{name}_sem": sem * value}
        shared |= {f"{name}_bias": 0.0, f"{name}_count": 10**5}
    return shared


def table(factor: float = 1.0, sem: float = 1e-3, power: float = 0.0) -> list[store.Row]:
    """Foams at n = 1 to 4, cells at n = 16, orthants, and n = 256, where P grows too fast."""
    rows = [
        row(m, n, factor * ABOVE * bound.fixed_dimension_law(m, n), sem)
        for n in (1, 2, 3, 4)
        for m in (64, 256, 1024)
    ]
    for m in (64, 1024):
        lower, _ = bound.large_dimension_band(math.log(m) / 16)
        rows.append(row(m, 16, factor * ABOVE * lower * bound.interface_floor(m), sem))
    rows += [row(2**n, n, factor * n / math.sqrt(2 * math.pi), 0.0, "orthants") for n in (4, 8, 12)]
    return rows + [
        row(m, 256, bound.interface_floor(m) * math.log(m) ** power, sem) for m in (4, 64, 4096)
    ]


def small_rows() -> list[store.Row]:
    """Of so few modes that no claim speaks of them."""
    return [row(3, 5, 1.0, 1e-3)]


TRUE = [(name, table) for name in NAMES]
BENT = [
    # Another foam; cubes for cells: 1.075 at n = 2.
    *((name, partial(table, factor)) for name in FOAMS for factor in (0.93, 1.07)),
    ("ball-floor", partial(table, 0.9)),
    ("penalty-strict", partial(table, 0.5)),
    ("above-slices", partial(table, 0.95)),
    ("orthants-leave", partial(table, 0.9)),
    # Growth as a higher power of log M: that of orthants, and a tenth more than that of P_S.
    *(("growth-256", partial(table, power=power)) for power in (0.1, 0.5)),
]
VAGUE = [
    (name, partial(table, sem=0.1)) for name in (*FOAMS, "ball-floor", "above-slices", "growth-256")
]
OTHER = [(name, small_rows) for name in NAMES]
