"""Claims on slope and floor of the leak, and on earlier results: true rows hold, bent ones fail."""

import math
from typing import Any

import numpy as np
import pytest

from experiments import store
from experiments.claims import CLAIMS, earlier, leak
from theory.transport import sparsemax_leak

BY_ID = {claim.id: claim for claim in CLAIMS}
MINE = [claim.id for part in (leak, earlier) for claim in part.CLAIMS]
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
            exact = sparsemax_leak(m, stiffness)
            leaked = min(0.999, factor * (stiffness / 16) ** power * exact)
            own = {"family": "sparsemax", "modes": m, "dimension": m, "stiffness": stiffness}
            rows.append({**own, "barrier": KAPPA, "exact": exact, **share("leak", leaked, count)})
    leaked = factor * sparsemax_leak(4, 16.0)
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


BENT = {
    "leak-floor": rows_of(0.9),
    "floor-two-modes": rows_of(1.05),
    "leak-from-below": rows_of(1.1),
    "leak-slope": rows_of(power=0.1),
    "leak-deficit": rows_of(power=-0.1),
    "raw-scores-limit": bent("raw_rate_value", 0.7),
    "stiffness-mean-square": bent("stretch_mean_square_value", 14.0),
    "salmona-total-variation": rows_of(0.9),
    "salmona-modes": rows_of(0.7),
    "issenhuth-recalled": rows_of(),
    "issenhuth-many": rows_of(0.9),
    "tanielian-precision": rows_of(0.5, (64, 256)),
}
VAGUE = {
    "floor-two-modes": rows_of(count=3000),
    "leak-from-below": rows_of(count=3000),
    "leak-slope": rows_of(count=3000),
    "leak-deficit": rows_of(count=3000),
    "raw-scores-limit": bent("raw_rate_sem", 30.0),
    "stiffness-mean-square": bent("stretch_mean_square_sem", 100.0),
    "salmona-modes": rows_of(count=300),
    "issenhuth-many": rows_of(count=3000),
}


@pytest.mark.parametrize("claim", [name for name in MINE if name != "issenhuth-recalled"])
def test_true_rows_hold(claim: str):
    verdict = BY_ID[claim].judge(rows_of())
    assert verdict.verdict == "holds", verdict
    assert verdict.interval[0] <= verdict.effect <= verdict.interval[1]


def test_the_recalled_form_holds_on_many_modes_alone_and_says_why_not_on_few():
    many = rows_of(modes=(16, 64))
    assert BY_ID["issenhuth-recalled"].judge(many).verdict == "holds"
    few = BY_ID["issenhuth-recalled"].judge(rows_of(modes=(4, 64)))
    assert few.verdict == "refuted"
    assert "up to M = 8" in few.reason


def test_every_claim_is_bent():
    assert set(BENT) == set(MINE)


@pytest.mark.parametrize("claim", BENT)
def test_bent_rows_are_refuted(claim: str):
    assert BY_ID[claim].judge(BENT[claim]).verdict == "refuted"


@pytest.mark.parametrize("claim", VAGUE)
def test_vague_rows_are_inconclusive(claim: str):
    assert BY_ID[claim].judge(VAGUE[claim]).verdict == "inconclusive"


@pytest.mark.parametrize("claim", MINE)
def test_no_row_is_missing(claim: str):
    assert BY_ID[claim].judge([]).verdict == "missing"


def test_a_slope_is_that_of_the_law_whatever_the_errors_of_the_leaks():
    """log leak = −0.95·log Λ exactly, the errors a hundred times larger at one end."""
    exact = [0.5 * stiffness**-0.95 for stiffness in STIFFNESS]
    rows = [
        {"family": "sparsemax", "modes": 16, "stiffness": s, "exact": e, **share("leak", e, 10**6)}
        for s, e in zip(STIFFNESS, exact, strict=True)
    ]
    rows[0]["leak_sem"] *= 100
    ((modes, found, law),) = leak.slopes(rows)
    assert (modes, float(found.value), law) == (16, pytest.approx(-0.95), pytest.approx(-0.95))
    logs = np.log(STIFFNESS) - np.mean(np.log(STIFFNESS))
    sems = np.array([row["leak_sem"] / row["leak_value"] for row in rows])
    assert found.sem == pytest.approx(np.linalg.norm(logs * sems) / np.sum(logs**2))


def test_half_of_the_masses_is_known_by_symmetry_or_by_their_largest_error():
    """With a mode lost the masses of a trained map say nothing, and no bound follows."""
    rows = rows_of()
    trained = [row for row in rows if row["family"] == "trained"]
    lost = [{**row, "mass_error": 1.0} for row in trained]
    assert BY_ID["salmona-total-variation"].judge(lost).interval[1] == math.inf
    known = BY_ID["salmona-total-variation"].judge(trained)
    assert 1 < known.interval[0] < known.effect < known.interval[1] < 2 * known.effect
