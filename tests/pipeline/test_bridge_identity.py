"""Experiments, claims and figures of the bridge identity and of coarea, on small or made tables."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from experiments import bridge_identity, coarea_levels, runtime, store
from experiments.claims import bridge
from figures import bridge_identity as bridge_figures
from figures import coarea_levels as coarea_figures
from tests.refusals import refusals
from theory import bridge_identity as predicted
from theory import perimeter
from theory.estimate import Estimate

BY_ID = {claim.id: claim for claim in bridge.CLAIMS}


# Experiments


def measured(module, cell) -> tuple[dict, dict]:
    found = module.measure(cell, runtime.cell_key(store.configuration(cell), 0))
    row, arrays = found if isinstance(found, tuple) else (found, {})
    return {**store.configuration(cell), **store.flatten(row)}, arrays


@pytest.mark.slow
def test_an_ordering_has_both_functionals_and_its_picture():
    cell = bridge_identity.Cell("ordering", "tripod", 3, 2, 0.01, 1.9, 0.001)
    row, arrays = measured(bridge_identity, cell)
    exact = Estimate(row["plain_value"], row["plain_sem"], 0.0, row["plain_count"])
    assert exact.interval(1e-9).contains(perimeter.simplicial(3))
    assert row["weighted_value"] == pytest.approx(row["plain_value"] * 3.9 / 3, rel=0.15)
    assert row["leak_exact"] == pytest.approx(3.9 * 0.19947114, rel=1e-6)
    assert row["strays"] == 0
    assert set(arrays) == {"sites", "offsets", "flipped", "leaked", "points", "scale"}
    share = len(arrays["leaked"]) / int(arrays["points"]) / float(arrays["scale"])
    assert share == pytest.approx(row["leak_exact"], rel=0.15)
    share = len(arrays["flipped"]) / int(arrays["points"]) / float(arrays["scale"])
    assert share == pytest.approx(row["flip_exact"], rel=0.15)
    drawn = bridge_figures.draw_arrays([(row, arrays)])
    assert list(drawn) == ["interface"]
    save(drawn)


def test_swept_fields_are_those_of_the_cells():
    grid = bridge_identity.PRESETS["default"]
    for name, module in (("bridge", bridge_identity), ("coarea", coarea_levels)):
        for preset, made in module.PRESETS.items():
            cells = module.cells(made)
            keys = {str(runtime.cell_key(store.configuration(cell), 0)) for cell in cells}
            assert len(keys) == len(cells) > 0, (name, preset)
            assert all(0 < module.cost(cell) < 3600 for cell in cells)
    finer = dataclasses.replace(grid, scale=0.005, far=(1.7, 1.9))
    scales = {c.scale for c in bridge_identity.cells(finer) if c.family == "ratio"}
    assert scales == {0.005}
    assert len(bridge_identity.cells(finer)) == len(bridge_identity.cells(grid)) + 2


def test_predictions_beside_a_partition():
    cell = bridge_identity.Cell("ratio", "orthants", 8, 3, 0.01, math.sqrt(2), 1.0)
    assert bridge_identity.correction(cell) == predicted.orthant_correction(3)
    drawn = dataclasses.replace(cell, partition="unequal", modes=16)
    assert bridge_identity.correction(drawn) is None
    sites = bridge_identity.triangle(1.9)
    apart = np.linalg.norm(sites[:, None] - sites, axis=2)
    np.testing.assert_allclose(apart, predicted.far_barriers(1.9), atol=1e-12)


@pytest.mark.slow
def test_levels_of_a_function_cover_it():
    cell = coarea_levels.Cell("softmax", 2, 4, 0, 1e-9)
    row, arrays = measured(coarea_levels, cell)
    np.testing.assert_allclose(arrays["edges"], [0, 0.25, 0.5, 0.75, 1])
    for side in ("variation", "integral"):
        total = float(np.sum(arrays[f"{side}_value"]))
        assert total == pytest.approx(row[f"{side}_value"], rel=1e-6)
    assert row["ratio_value"] == pytest.approx(row["integral_value"] / row["variation_value"])
    spread = math.hypot(
        row["integral_sem"] / row["integral_value"], row["variation_sem"] / row["variation_value"]
    )
    assert row["ratio_sem"] == pytest.approx(row["ratio_value"] * spread)
    assert abs(row["ratio_value"] - 1) < 7 * row["ratio_sem"] + row["ratio_bias"]


BAD = {
    "got 'cubes 8 3'": lambda: bridge_identity.Grid(partitions=("cubes 8 3",)),
    "no orthants of M = 5 cells in R^2": lambda: bridge_identity.Grid(partitions=("orthants 5 2",)),
    "no simplicial of M = 3 cells in R^3": lambda: bridge_identity.Grid(
        partitions=("simplicial 3 3",)
    ),
    "κ_13 lies in (0, 2)": lambda: bridge_identity.Grid(far=(2.5,)),
    "corrections have M from 3": lambda: bridge_identity.Grid(corrections=(2,)),
    "scale must be positive, got 0": lambda: bridge_identity.Grid(scale=0),
    "families are": lambda: coarea_levels.Grid(families=("spline",)),
    "dimensions are 1 to 64, got 65": lambda: coarea_levels.Grid(dimensions=(65,)),
    "bands and steps are ≥ 1, got 0, 400": lambda: coarea_levels.Grid(bands=0),
    "effort must be positive and finite, got -1": lambda: coarea_levels.Grid(effort=-1),
}


test_a_grid_out_of_range_is_one_clear_line = refusals(BAD)


# Claims


def estimated(name: str, value: float, sem: float, bias: float = 0.0) -> dict[str, Any]:
    return dict(
        zip(
            [f"{name}_{part}" for part in ("value", "sem", "bias", "count")],
            [value, sem, bias, 4096],
            strict=True,
        )
    )


def ratio_row(partition="simplicial", modes=8, dimension=7, bend=1.0, sem=5e-4, **over):
    row = {
        "family": "ratio",
        "partition": partition,
        "modes": modes,
        "dimension": dimension,
        "scale": 0.01,
        "far": math.sqrt(2),
        "strays": 0,
        "correction_exact": 0.3,
    }
    for k in range(3):
        row |= estimated(f"ratio_{k}", bend * (1 - 0.003 * 2**k), sem)
    for name in ("ratio", "flip_over", "leak_over"):
        row |= estimated(name, bend, sem)
    return row | over


def correction_row(bend=1.0, sem=0.02, **over):
    row = ratio_row(family="correction", scale=0.08) | estimated("correction_over", bend, sem)
    return row | estimated("correction", 0.3 * bend, 0.3 * sem) | over


def ordering_rows(far=1.9, sem=1e-3):
    rows = []
    for name, plain, cost in (("slabs", 0.7272, 0.7272), ("tripod", 0.5984, 0.1995 * (2 + far))):
        row = {"family": "ordering", "partition": name, "modes": 3, "dimension": 2, "scale": 0.01}
        row |= {"far": far, "strays": 0, "flip_exact": 0.7979 * plain, "leak_exact": cost}
        row |= {"opposing_barrier": 1.6456, "effort": 1.0}
        row |= estimated("flip_limit", 0.7979 * plain, sem) | estimated("plain", plain, sem)
        row |= estimated("leak_limit", cost, sem) | estimated("weighted", cost, sem)
        rows.append(row)
    return rows


def coarea_row(family="softmax", n=4, bend=1.0, sem=2e-3):
    row = {"family": family, "dimension": n, "bands": 8}
    return row | estimated("ratio", bend, sem, 1e-4) | estimated("worst_band", bend, 10 * sem)


def rows_of(claim: str, bend=1.0, sem=None):
    known = {} if sem is None else {"sem": sem}
    if claim == "bridge-correction":
        return [correction_row(bend, **known)]
    if claim.startswith("coarea"):
        return [coarea_row(name, bend=bend, **known) for name in ("fourier", "trained")]
    return [ratio_row(bend=bend, **known), ratio_row("intervals", 5, 1, bend=bend, **known)]


LAWS = [name for name in BY_ID if name not in ("opposite-ordering", "bridge-strays")]
BENDS = {"bridge-correction": 1.63, "coarea": 1.05, "coarea-levels": 1.25}
VAGUE = {"bridge-correction": 0.1, "coarea": 0.02, "coarea-levels": 0.02}


@pytest.mark.parametrize("name", LAWS)
def test_laws_hold_are_refuted_when_bent_and_vague_rows_say_nothing(name: str):
    claim = BY_ID[name]
    assert claim.judge(rows_of(name)).verdict == "holds"
    assert claim.judge(rows_of(name, BENDS.get(name, 1.02))).verdict == "refuted"
    assert claim.judge(rows_of(name, 1.0, VAGUE.get(name, 5e-3))).verdict == "inconclusive"
    assert claim.judge([]).verdict == "missing"


def test_one_bent_partition_is_enough():
    rows = [ratio_row(), ratio_row("unequal", 16, 3, bend=1.02)]
    assert BY_ID["bridge-ratio"].judge(rows).verdict == "refuted"


def test_orderings_are_opposite_beyond_the_barrier_only():
    claim = BY_ID["opposite-ordering"]
    assert claim.judge(ordering_rows()).verdict == "holds"
    assert claim.judge(ordering_rows(1.5)).verdict == "refuted"
    assert claim.judge(ordering_rows(1.66)).verdict == "inconclusive"
    assert claim.judge(ordering_rows()[:1]).verdict == "inconclusive"
    assert claim.judge([]).verdict == "missing"


def test_a_single_stray_is_a_refutation():
    claim = BY_ID["bridge-strays"]
    assert claim.judge([ratio_row()]).verdict == "holds"
    assert claim.judge([ratio_row(), ratio_row(strays=1)]).verdict == "refuted"


# Figures


def save(figures) -> None:
    for figure in figures.values():
        assert figure.get_size_inches()[0] == 3.5
        figure.savefig("/dev/null", format="svg")


def test_figures_show_the_rows():
    rows = [ratio_row(), ratio_row("unequal", 16, 3, correction_exact=None), correction_row()]
    figures = bridge_figures.draw(rows + ordering_rows())
    assert list(figures) == ["ratio", "ordering"]
    save(figures)
    (axes,) = figures["ratio"].axes
    points = [y for c in axes.containers for y in c.lines[0].get_ydata()]
    assert sorted(points) == pytest.approx(
        sorted(row[f"ratio_{k}_value"] for row in rows for k in range(3))
    )
    dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert len(dashed) == 1  # of the partition whose ridges are known
    t, line = (np.asarray(part, float) for part in dashed[0].get_data())
    np.testing.assert_allclose(line, 1 - 0.3 * t)
    left, right = figures["ordering"].axes
    flips = [y for c in left.containers for y in c.lines[0].get_ydata()]
    assert sorted(flips) == pytest.approx([0.7979 * 0.5984, 0.7979 * 0.7272])
    costs = [y for c in right.containers for y in c.lines[0].get_ydata()]
    assert sorted(costs) == pytest.approx(sorted([0.7272, 0.1995 * 3.9]))
    slanted = next(line for line in right.lines if len(set(line.get_ydata())) > 2)
    far, cost = (np.asarray(part, float) for part in slanted.get_data())
    np.testing.assert_allclose(cost, 0.1995 * (2 + far), rtol=1e-9)


def test_levels_show_both_sides_of_every_band_at_the_largest_n():
    edges = np.linspace(0, 1, 5)
    stored = []
    for n in (4, 16):
        sides = {"edges": edges}
        for side, value in (("variation", 0.1), ("integral", 0.11)):
            sides |= {f"{side}_value": value * np.arange(1, 5) * n}
            sides |= {f"{side}_sem": np.full(4, 0.01), f"{side}_bias": np.zeros(4)}
        stored.append((coarea_row(n=n), sides))
    figures = coarea_figures.draw_arrays(stored)
    save(figures)
    (axes,) = figures["levels"].axes
    assert "16" in axes.get_title()
    points = [y for c in axes.containers for y in c.lines[0].get_ydata()]
    assert points == pytest.approx(0.11 * np.arange(1, 5) * 16 / 0.25)
    ratio = coarea_figures.draw([row for row, _ in stored])
    save(ratio)
    (axes,) = ratio["ratio"].axes
    assert [y for c in axes.containers for y in c.lines[0].get_ydata()] == [1.0, 1.0]


def test_empty_and_small_tables_draw():
    assert bridge_figures.draw([]) == bridge_figures.draw_arrays([]) == {}
    assert coarea_figures.draw([]) == coarea_figures.draw_arrays([]) == {}
    assert list(bridge_figures.draw(ordering_rows()[:1])) == ["ordering"]
    save(bridge_figures.draw(ordering_rows()[:1]))
    save(coarea_figures.draw([coarea_row()]))
