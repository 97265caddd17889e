"""The crossover map: cells that measure, grids that are refused, claims that judge, pictures."""

import math
from dataclasses import asdict, replace
from typing import Any

import pytest

from experiments import runtime, store, tube_crossover
from experiments.claims import crossover as claims
from figures import tube_crossover as pictures
from theory.crossover import departure

BLANK = (0.0, 0.0, 0.0, 0.0)
MAP = tube_crossover.Cell("map", 4, 3, 0, 1.0, 0.5, 0.2, *BLANK, 0.1)
RARE = tube_crossover.Cell("rare", 4, 3, 0, 1.0, *BLANK, 1e-6, 0.25, 0.2)
PLACE = tube_crossover.Cell("place", 4, 3, 0, 1.0, 0.0, 1.0, 0.032, 2.3, 0.0, 0.0, 0.5)
BY_ID = {claim.id: claim for claim in claims.CLAIMS}


def measured(cell: tube_crossover.Cell) -> store.Row:
    """The row under one fixed key, so that only the cell can make the difference."""
    row = tube_crossover.measure(cell, runtime.cell_key({"fixed": True}, 0))
    return asdict(cell) | store.flatten(row)


# Cells


@pytest.mark.slow
def test_swept_fields_change_the_row():
    before = measured(MAP)
    changes = {"restart": 1, "radius": 1.2, "width": 0.4, "scale": 0.1, "effort": 0.2}
    for name, value in changes.items():
        after = measured(replace(MAP, **{name: value}))
        assert after["raw_value"] != before["raw_value"], name


@pytest.mark.slow
def test_a_rare_cell_has_the_rate_it_is_asked_for():
    row = measured(RARE)
    assert row["pair_rate"] == pytest.approx(1e-6, rel=1e-3)
    assert row["latent_scale"] == pytest.approx(0.25 * row["latent_width"], rel=1e-12)
    for kind in ("raw", "mean"):
        apart = abs(row[f"{kind}_value"] / row["pair_rate"] - 1)
        assert apart < 0.05 + 6 * row[f"{kind}_relative_sem"]
        assert row[f"{kind}_relative_sem"] < 0.05 < row[f"{kind}_plain_sem"]
    assert BY_ID["rare-sem"].judge([row]).verdict == "holds"
    assert set(pictures.draw([row])) == {"rare"}


@pytest.mark.slow
def test_a_place_has_what_is_reported_there():
    row = measured(PLACE)
    assert row["pair_area"] * row["latent_scale"] == pytest.approx(0.032, rel=1e-6)
    assert row["pair_ratio"] == pytest.approx(2.3, rel=1e-4)
    assert 0.8 < row["raw_ratio_value"] / 2.3 < 1.05
    assert 0.8 < row["scaled_area_value"] / 0.032 < 1.05


def test_presets_have_every_family():
    found = {cell.family for cell in tube_crossover.cells(tube_crossover.PRESETS["default"])}
    assert found == {"map", "place", "rare"}
    cells = tube_crossover.cells(tube_crossover.PRESETS["paper"])
    assert len({str(runtime.cell_key(asdict(cell), 0)) for cell in cells}) == len(cells)
    assert all(tube_crossover.cost(cell) > 0 for cell in cells)


BAD = {
    "a code is 'M n', got '16'": {"codes": ("16",)},
    "M = 2 in R^1, got '3 1'": {"places": ("3 1",)},
    "a code has 2 ≤ M ≤ 256": {"rare": ("1 4",)},
    "widths must be positive and finite, got 0": {"widths": (0.0,)},
    "scales must be positive and finite, got nan": {"scales": (math.nan,)},
    "reported must be positive and finite, got -1": {"reported": (1.0, -1.0, 2.0)},
    "a rare rate is below 0.1, got 0.5": {"rate": 0.5},
    "restarts must be ≥ 1, got 0": {"restarts": 0},
}


@pytest.mark.parametrize("said", BAD)
def test_a_grid_out_of_range_is_one_clear_line(said: str):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        tube_crossover.Grid(**BAD[said])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


# Claims


def estimated(name: str, value: float, relative: float) -> dict[str, Any]:
    sem = relative * value
    return {f"{name}_value": value, f"{name}_sem": sem, f"{name}_bias": 0.0, f"{name}_count": 10**6}


def map_row(width: float, scale: float, factor: float, relative: float) -> store.Row:
    strain = scale / (width * math.hypot(width, scale))  # half distance 1
    ratio = departure(strain)
    row: dict[str, Any] = asdict(replace(MAP, width=width, scale=scale))
    row |= {"strain": strain, "separation": 1 / width, "departure": ratio, "pair_ratio": ratio}
    row |= {"latent_width": width, "latent_scale": scale}
    for kind in ("raw", "mean"):
        row |= estimated(f"{kind}_ratio", factor * ratio, relative)
    return row


def rows(factor: float = 1.0, relative: float = 0.005) -> list[store.Row]:
    """A map and rare rates that are `factor` times what they should be."""
    found = [map_row(w, s, factor, relative) for w in (1.0, 0.3) for s in (0.02, 0.2)]
    rare: dict[str, Any] = asdict(RARE) | {"pair_rate": 1e-6}
    for kind in ("raw", "mean"):
        rare |= estimated(kind, factor * 1e-6, relative)
        rare |= {f"{kind}_relative_sem": relative, f"{kind}_plain_sem": 4.0}
    return [*found, rare]


@pytest.mark.parametrize("claim", BY_ID)
def test_true_rows_hold(claim: str):
    assert BY_ID[claim].judge(rows()).verdict == "holds"


@pytest.mark.parametrize("claim", ["crossover-law", "crossover-departure", "rare-rate"])
@pytest.mark.parametrize("factor", [math.sqrt(2 / math.pi), 1.15])
def test_bent_rows_are_refuted(claim: str, factor: float):
    assert BY_ID[claim].judge(rows(factor)).verdict == "refuted"


def test_a_law_without_departure_is_refuted():
    flat = [row | {"raw_ratio_value": 1.0} for row in rows() if row["family"] == "map"]
    assert BY_ID["crossover-law"].judge(flat).verdict == "holds"
    assert BY_ID["crossover-departure"].judge(flat).verdict == "refuted"


def test_vague_rows_are_inconclusive():
    for claim in ("crossover-law", "crossover-departure", "rare-rate"):
        assert BY_ID[claim].judge(rows(relative=0.08)).verdict == "inconclusive"
    assert BY_ID["rare-sem"].judge(rows(relative=0.08)).verdict == "refuted"


@pytest.mark.parametrize("claim", BY_ID)
def test_no_row_is_missing_and_no_row_of_its_kind_inconclusive(claim: str):
    assert BY_ID[claim].judge([]).verdict == "missing"
    assert BY_ID[claim].judge([{"family": "other"}]).verdict == "inconclusive"


# Pictures


def drawn_rows() -> list[store.Row]:
    place: dict[str, Any] = asdict(PLACE) | {"latent_width": 0.5, "latent_scale": 0.1}
    return [*rows(), place]


def test_the_map_writes_out_every_ratio_and_marks_the_place():
    figures = pictures.draw(drawn_rows())
    assert set(figures) == {"map", "collapse", "rare"}
    axes = figures["map"].axes[0]
    expected = {f"{row['raw_ratio_value']:.2f}" for row in rows() if row["family"] == "map"}
    assert {text.get_text() for text in axes.texts} == expected
    star = next(line for line in axes.lines if line.get_marker() == "*")
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (0.1, 0.5)


def test_points_of_the_collapse_lie_on_the_scaling_function():
    axes = pictures.draw(drawn_rows())["collapse"].axes[0]
    points = [line for line in axes.lines if line.get_marker() == "o"]
    heights = sorted(float(y) for line in points for y in line.get_ydata())
    expected = sorted(float(row["departure"]) for row in rows() if row["family"] == "map")
    assert heights == pytest.approx(expected)


def test_a_table_of_one_cell_is_drawn():
    assert set(pictures.draw(rows()[:1])) == {"map", "collapse"}
    assert pictures.draw([]) == {}
