"""The tube law's experiment: fields that count, refused grids, its claims and its figures."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from experiments import runtime, store, tube_law, tube_pairs
from experiments.claims import tube
from figures import tube_law as figure
from tests.refusals import refusals

BY_ID = {claim.id: claim for claim in tube.CLAIMS}
POINT = tube_law.Cell("half_space", 0.1, 0.05, 0.5, 0.002)
LIMIT = replace(POINT, scale=0.0)


def measured(cell: tube_law.Cell) -> dict:
    """The row under one fixed key, so that only the cell can make the difference."""
    row = store.flatten(tube_law.measure(cell, runtime.cell_key({"fixed": True}, 0))[0])
    assert not row.keys() & asdict(cell).keys()
    return row


@pytest.mark.slow
def test_every_field_of_a_cell_changes_its_row():
    changes = {"pair": "quadrants", "scale": 0.2, "effort": 0.01}
    asked = {"limit_width", "coefficient_width"}  # of intervals, by the claims; of no number
    assert {*asked, *changes} == set(asdict(LIMIT))
    before = measured(LIMIT)
    for name, value in changes.items():
        assert measured(replace(LIMIT, **{name: value})) != before, name


@pytest.mark.slow
def test_a_row_at_s_holds_the_exact_rates_and_its_margins():
    row, arrays = tube_law.measure(POINT, runtime.cell_key({"fixed": True}, 0))
    assert row["oracle_raw"] > row["oracle_mean"]
    assert row["sandwich_lower"] <= row["sandwich_upper"]
    assert row["second_raw"] == pytest.approx(row["oracle_raw"], rel=1e-4)
    assert row["second_mean"] == pytest.approx(row["oracle_mean"], rel=1e-4)
    assert arrays["margin_density"].shape == (len(arrays["margin_edges"]) - 1,)
    whole = store.configuration(POINT) | store.flatten(row)
    assert figure.draw([whole]).keys() == {"predicted", "ratio", "areas"}
    assert figure.draw_arrays([(whole, arrays)]).keys() == {"margins"}


def test_every_grid_field_reaches_the_cells():
    base = tube_law.Grid(("half_space",), (0.1,), ("half_space",), 0.05, 0.5, 0.1)
    changes = {
        "pairs": ("quadrants",),
        "scales": (0.2,),
        "point_pairs": ("quadrants",),
        "limit_width": 0.04,
        "coefficient_width": 0.4,
        "effort": 0.2,
    }
    assert set(changes) == set(asdict(base))
    for name, value in changes.items():
        assert tube_law.cells(replace(base, **{name: value})) != tube_law.cells(base), name


BAD = {
    "unknown pair 'cubes': expected any of": lambda: tube_law.Grid(("cubes",)),
    "scales must lie in (0, 2], got 0.0": lambda: tube_law.Grid(scales=(0.0,)),
    "scales must lie in (0, 2], got nan": lambda: tube_law.Grid(scales=(float("nan"),)),
    "limit_width must be positive and finite, got 0": lambda: tube_law.Grid(limit_width=0),
    "effort must be positive and finite, got inf": lambda: tube_law.Grid(effort=float("inf")),
}


test_a_grid_out_of_range_is_one_clear_line = refusals(BAD)


@pytest.mark.parametrize("name", [n for n in tube_pairs.PAIRS if n != "simplicial_64"])
def test_pairs_are_well_formed(name: str):
    pair = tube_pairs.PAIRS[name]()
    assert pair.law.dimension == pair.diagram.dimension
    assert (pair.area is None) == (name == "code")
    assert (pair.raw is None) == (pair.mean is None)


# Claims


def estimated(name: str, value: float, sem: float, count: int = 64) -> dict[str, Any]:
    return {f"{name}_value": value, f"{name}_sem": sem, f"{name}_bias": 0.0, f"{name}_count": count}


def limit_row(pair: str, order: int, factor: float, noise: float, score: float) -> store.Row:
    mean = score if pair == "half_space" else 1.0
    return {
        "pair": pair,
        "scale": 0.0,
        "order": order,
        "limit_width": 0.03,
        "coefficient_width": 0.2,
        "predicted_raw": -0.17,
        "predicted_mean": -0.17 * mean,
        **estimated("limit_raw", factor, 1e-3 * noise),
        **estimated("limit_mean", factor, 1e-3 * noise),
        **estimated("order_raw", order * factor**8, 0.02 * noise),
        **estimated("order_mean", order * factor**8, 0.02 * noise),
        **estimated("coefficient_raw", -0.17, 1e-3 * noise),
        **estimated("coefficient_mean", -0.17 * mean * factor**8, 1e-3 * noise),
        **estimated("coefficient_ratio_raw", factor**4, 5e-3 * noise),
        **estimated("coefficient_ratio_mean", factor**4, 5e-3 * noise),
    }


def point_row(s: float, factor: float, noise: float) -> store.Row:
    rate = factor * s / np.pi
    return {
        "pair": "half_space",
        "scale": s,
        "oracle_raw": s / np.pi,
        "oracle_mean": s / np.pi,
        "sandwich_lower": 0.98 * s / np.pi,
        "sandwich_upper": 1.02 * s / np.pi,
        **{
            k: v
            for kind in ("raw", "mean")
            for k, v in estimated(kind, rate, 1e-3 * noise * rate).items()
        },
        **estimated("paired_raw", rate, 0.0, 10**6),
        **estimated("paired_mean", rate, 0.0, 10**6),
        **estimated("sandwiched", rate, 0.0, 10**7),
    }


def rows(factor: float = 1.0, noise: float = 1.0, score: float = 0.415 / 0.17) -> list[store.Row]:
    limits = [("half_space", 2), ("quadrants", 1), ("unequal", 1)]
    found = [limit_row(pair, order, factor, noise, score) for pair, order in limits]
    return found + [point_row(s, factor, noise) for s in (0.05, 0.5)]


@pytest.mark.parametrize("claim", BY_ID)
def test_true_rows_hold(claim: str):
    verdict = BY_ID[claim].judge(rows())
    assert verdict.verdict == "holds"
    assert verdict.interval[0] <= verdict.effect <= verdict.interval[1]


@pytest.mark.parametrize("claim", BY_ID)
def test_rows_bent_by_a_twentieth_are_refuted(claim: str):
    assert BY_ID[claim].judge(rows(1.05)).verdict == "refuted"


def test_the_law_without_its_constant_is_refuted():
    """Rates over s·A_W for √(2/π)·s·A_W."""
    assert BY_ID["tube-limit"].judge(rows((2 / np.pi) ** 0.5)).verdict == "refuted"


def test_a_residual_without_the_score_is_refuted():
    """Raw noise in the place of the posterior mean: the two terms are one."""
    bent = rows()
    for row in bent:
        if "coefficient_mean_value" in row:
            row["coefficient_mean_value"] = row["coefficient_raw_value"]
    assert BY_ID["tube-score"].judge(bent).verdict == "refuted"


@pytest.mark.parametrize(
    "claim", ["tube-oracles", "tube-limit", "tube-order", "tube-second-order", "tube-score"]
)
def test_vague_rows_are_inconclusive(claim: str):
    assert BY_ID[claim].judge(rows(noise=60.0)).verdict == "inconclusive"


@pytest.mark.parametrize("claim", BY_ID)
def test_no_row_is_missing_and_no_row_of_its_kind_inconclusive(claim: str):
    assert BY_ID[claim].judge([]).verdict == "missing"
    other = [{"pair": "half_space", "scale": 0.3}]
    assert BY_ID[claim].judge(other).verdict == "inconclusive"


def test_limits_are_drawn():
    limits = [row for row in rows() if row["scale"] == 0]
    assert figure.draw(limits).keys() == {"limits"}
    assert figure.draw_arrays([(limits[0], {})]) == {}
