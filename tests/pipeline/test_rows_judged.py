"""Which rows and columns of its table a claim goes by."""

import math

import numpy as np
import pytest

from experiments.claims import CLAIMS
from experiments.claims.leak import slopes
from tests.pipeline.claim_tables import escape, leak, profile, separated

BY_ID = {claim.id: claim for claim in CLAIMS}


def test_the_best_restart_is_judged():
    rows = separated.leak_rows()
    worse = [
        {**row, **separated.ended("ratio", 1.4, 0.02)} for row in rows if row["family"] == "trained"
    ]
    verdict = BY_ID["trained-sharp"].judge(rows + worse)
    assert verdict.verdict == "holds"
    assert math.isclose(verdict.effect, 1.02)


def test_the_recalled_form_fails_on_few_modes_and_says_so():
    few = BY_ID["issenhuth-recalled"].judge(leak.rows_of(modes=(4, 64)))
    assert few.verdict == "refuted"
    assert "up to M = 8" in few.reason


def test_a_slope_is_that_of_the_law_whatever_the_errors_of_the_leaks():
    """log leak = −0.95·log Λ exactly, the errors a hundred times larger at one end."""
    exact = [0.5 * stiffness**-0.95 for stiffness in leak.STIFFNESS]
    shared = {"family": "sparsemax", "modes": 16}
    rows = [
        {**shared, "stiffness": s, "exact": e, **leak.share("leak", e, 10**6)}
        for s, e in zip(leak.STIFFNESS, exact, strict=True)
    ]
    rows[0]["leak_sem"] *= 100
    ((modes, found, law),) = slopes(rows)
    assert (modes, float(found.value), law) == (16, pytest.approx(-0.95), pytest.approx(-0.95))
    logs = np.log(leak.STIFFNESS) - np.mean(np.log(leak.STIFFNESS))
    sems = np.array([row["leak_sem"] / row["leak_value"] for row in rows])
    assert found.sem == pytest.approx(np.linalg.norm(logs * sems) / np.sum(logs**2))


def test_half_of_the_masses_is_known_by_symmetry_or_by_their_largest_error():
    """With a mode lost the masses of a trained map say nothing, and no bound follows."""
    trained = [row for row in leak.rows_of() if row["family"] == "trained"]
    lost = [{**row, "mass_error": 1.0} for row in trained]
    assert BY_ID["salmona-total-variation"].judge(lost).interval[1] == math.inf
    known = BY_ID["salmona-total-variation"].judge(trained)
    assert 1 < known.interval[0] < known.effect < known.interval[1] < 2 * known.effect


def test_churn_on_other_grids_and_sizes_is_not_the_order():
    """On the cosine grid churn collapses, and n = 64 lies between the two."""
    rows = escape.churn_rows((0.5, 2.0), 0.01, 0.0)
    other = escape.pair(128, 0.1, 0.01, grid="cosine") + escape.pair(64, 0.1, 0.01)
    assert BY_ID["churn-ingredients"].judge(rows + other).verdict == "holds"


def test_the_predicted_side_is_not_the_tables():
    """What a table says of floors and bands is not looked at: the law comes from `bound`."""
    for name in ("fixed_n", "ball_floor", "band_lower", "band_upper", "interface_floor"):
        rows = [{**row, name: 1e9} for row in profile.table()]
        assert {BY_ID[claim].judge(rows).verdict for claim in profile.NAMES} == {"holds"}
