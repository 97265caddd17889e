"""The experiments of the separated regime: fields that count, and grids that are refused."""

from dataclasses import asdict, fields, replace

import pytest

from experiments import (
    depth_hierarchy,
    inverse_stiffness,
    runtime,
    sharp_maps,
    stiffness_phase,
    store,
)
from tests.refusals import refusals
from theory import perimeter

SPARSEMAX = inverse_stiffness.Cell("sparsemax", 4, 4, 4.0, 0, 0.0, 0, 0.01)
TRAINED = inverse_stiffness.Cell("trained", 2, 2, 4.0, 0, 0.0, 20, 0.01)
PHASE = stiffness_phase.Cell("trained", 2, 2, 0.1, 0, 20, 0.01)
DEPTH = depth_hierarchy.Cell("block", 16, 2, 0.1, 0, 0.02)


def measured(module, cell) -> dict:
    """The row under one fixed key, so that only the cell can make the difference."""
    found = module.measure(cell, runtime.cell_key({"fixed": True}, 0))
    return store.flatten(found[0] if isinstance(found, tuple) else found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "cell", "changes"),
    [
        (
            inverse_stiffness,
            SPARSEMAX,
            {"family": "orthants", "modes": 5, "stiffness": 5.0, "effort": 0.02},
        ),
        (inverse_stiffness, TRAINED, {"radius": 0.2, "steps": 30}),
        (stiffness_phase, PHASE, {"leak": 0.2, "steps": 30, "effort": 0.02}),
        (depth_hierarchy, DEPTH, {"modes": 9, "depth": 1, "leak": 0.2, "effort": 0.05}),
    ],
)
def test_swept_fields_change_the_row(module, cell, changes: dict):
    before = measured(module, cell)
    for name, value in changes.items():
        dimension = {"dimension": 2} if value == "orthants" else {}
        assert measured(module, replace(cell, **{name: value}, **dimension)) != before, name


def test_dimension_and_restart_are_fields_of_the_cell_and_so_of_its_key():
    assert {"dimension", "restart"} <= {field.name for field in fields(inverse_stiffness.Cell)}
    cells = inverse_stiffness.cells(
        replace(inverse_stiffness.PRESETS["default"], restarts=2, trained=(2,))
    )
    restarts = [cell for cell in cells if cell.family == "trained"]
    keys = {str(runtime.cell_key(asdict(cell), 0)) for cell in restarts}
    assert len(keys) == len(restarts) == 2


BAD = {
    "sparsemax has M from 2 to 1024, got 1": lambda: inverse_stiffness.Grid(sparsemax=(1,)),
    "stiffness must be positive and finite, got 0": lambda: inverse_stiffness.Grid(stiffness=(0,)),
    "overlapping modes: 0 ≤ radius < √2/2, got 0.8": lambda: inverse_stiffness.Grid(radius=0.8),
    "got 'orthants 5 2'": lambda: inverse_stiffness.Grid(partitions=("orthants 5 2",)),
    "got 'cubes 4 2'": lambda: inverse_stiffness.Grid(partitions=("cubes 4 2",)),
    "intervals lie in R^1, got 'intervals 4 2'": lambda: sharp_maps.parsed("intervals 4 2"),
    "leak must lie in (0, 1), got 1.0": lambda: stiffness_phase.Grid(leak=1.0),
    "fixed dimensions are 1 to 4, got 5": lambda: stiffness_phase.Grid(fixed_dimensions=(5,)),
    "leak must lie in (0, 1), got 0.0": lambda: depth_hierarchy.Grid(leak=0.0),
    "modes must be m^depth with m ≥ 2, got modes=12, depth=2": lambda: depth_hierarchy.Grid(
        block=("12 2",)
    ),
    "a hierarchy is 'M B', got '12'": lambda: depth_hierarchy.Grid(nested=("12",)),
    "effort must be positive and finite, got -1": lambda: depth_hierarchy.Grid(effort=-1),
}


test_a_grid_out_of_range_is_one_clear_line = refusals(BAD)


def test_tubes_of_intervals_and_orthants_are_their_perimeters_in_the_limit():
    """γ(δ < w)/(2w) → P, to O(w), with w = 1/(√2Λ)."""
    for family, modes, n, exact in [
        ("intervals", 4, 1, perimeter.intervals(4)),
        ("orthants", 8, 3, perimeter.orthants(3)),
    ]:
        tube = sharp_maps.exact_tube(family, modes, n, 1e5)
        assert tube * 1e5 / 2**0.5 == pytest.approx(exact, rel=1e-4)
    assert sharp_maps.exact_tube("intervals", 8, 1, 0.01) == pytest.approx(1, abs=1e-12)
    assert sharp_maps.exact_tube("balanced", 16, 2, 4.0) is None
