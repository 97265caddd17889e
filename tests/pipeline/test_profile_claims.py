"""Claims on the best partitions found: foams, the band of large n, orthants, growth at n = 256."""

import math
from typing import Any

import pytest

from experiments import store
from experiments.claims import CLAIMS
from theory import bound

BY_ID = {claim.id: claim for claim in CLAIMS}
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


FOAMS = [f"coefficient-{n}" for n in (1, 2, 3, 4)]
MINE = [*FOAMS, "ball-floor", "penalty-strict", "above-slices", "orthants-leave", "growth-256"]


@pytest.mark.parametrize("claim", MINE)
def test_true_rows_hold(claim: str):
    verdict = BY_ID[claim].judge(table())
    assert verdict.verdict == "holds", verdict


@pytest.mark.parametrize("claim", FOAMS)
@pytest.mark.parametrize("factor", [0.93, 1.07])  # cubes for cells: 1.075 at n = 2
def test_another_foam_is_refuted(claim: str, factor: float):
    assert BY_ID[claim].judge(table(factor)).verdict == "refuted"


@pytest.mark.parametrize(
    ("claim", "factor"),
    [("ball-floor", 0.9), ("penalty-strict", 0.5), ("above-slices", 0.95), ("orthants-leave", 0.9)],
)
def test_perimeters_below_their_floors_are_refuted(claim: str, factor: float):
    assert BY_ID[claim].judge(table(factor)).verdict == "refuted"


def test_growth_as_a_higher_power_of_log_is_refuted():
    """That of orthants, log M, and a tenth more than that of P_S."""
    for power in (0.1, 0.5):
        assert BY_ID["growth-256"].judge(table(power=power)).verdict == "refuted"


@pytest.mark.parametrize("claim", [*FOAMS, "ball-floor", "above-slices", "growth-256"])
def test_vague_rows_are_inconclusive(claim: str):
    assert BY_ID[claim].judge(table(sem=0.1)).verdict == "inconclusive"


@pytest.mark.parametrize("claim", MINE)
def test_no_row_is_missing_and_none_of_its_kind_inconclusive(claim: str):
    assert BY_ID[claim].judge([]).verdict == "missing"
    small = BY_ID[claim].judge([row(3, 5, 1.0, 1e-3)])
    assert (small.verdict, small.effect) == ("inconclusive", None)


def test_the_predicted_side_is_not_the_tables():
    """What a table says of floors and bands is not looked at: the law comes from `bound`."""
    for name in ("fixed_n", "ball_floor", "band_lower", "band_upper", "interface_floor"):
        rows = [{**one, name: 1e9} for one in table()]
        assert {BY_ID[claim].judge(rows).verdict for claim in MINE} == {"holds"}
