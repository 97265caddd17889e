"""The search for small perimeters: its gradient, and minima that are known."""

import functools
import math

import jax
import numpy as np
import pytest

from tests.significance import check_at_least, check_at_most
from theory import bound, minimal, perimeter
from theory.minimal import Found
from theory.partition import PowerDiagram

FAILURE = 1e-10
SETS, COUNT = 24, 4096  # independent sets of lines, and lines in each
MODES, DIMENSION = 12, 3
WIDTH = 0.1
EQUAL = np.full(MODES, 1 / MODES)


def key(number: int = 0) -> jax.Array:
    return jax.random.key(number)


@functools.cache
def searched(modes: int, dimension: int) -> Found:
    return minimal.minimal(key(), modes, dimension, effort=0.5)


@pytest.mark.slow
@pytest.mark.parametrize(("modes", "dimension"), [(3, 2), (4, 3), (5, 8)])
def test_up_to_n_plus_1_cells_the_cluster_is_found_within_a_percent(modes: int, dimension: int):
    found, floor = searched(modes, dimension), bound.interface_floor(modes)
    sites = np.asarray(found.diagram.sites)
    assert sites.shape == (modes, dimension)
    assert (sites[:, modes - 1 :] == 0).all()
    assert found.certificate.upper < 0.02
    assert found.found_by in found.trials
    assert {name.split(", ")[0] for name in found.trials} == set(found.starts)
    check_at_least(found.perimeter, floor, FAILURE)
    check_at_most(found.perimeter, 1.01 * floor, FAILURE)
    # Measured once more, for an interval that tells one percent apart.
    planar = PowerDiagram(sites[:, : modes - 1], found.diagram.offsets)
    interval = perimeter.crofton(key(1), planar, lines=1 << 19).interval(FAILURE)
    assert 0.99 * floor < interval.lower < interval.upper < 1.01 * floor


@pytest.mark.slow
def test_the_same_key_and_starts_repeat_a_search():
    found = searched(3, 2)
    again = minimal.minimal(key(), 3, 2, starts=found.starts, effort=0.5)
    np.testing.assert_array_equal(np.asarray(again.diagram.sites), np.asarray(found.diagram.sites))
    assert again.perimeter.value == found.perimeter.value
    assert again.trials == found.trials


@pytest.mark.parametrize(("modes", "dimension"), [(6, 1), (2, 5)])
def test_on_the_line_and_for_two_cells_the_quantiles_are_exact(modes: int, dimension: int):
    found = minimal.minimal(key(), modes, dimension)
    assert found.perimeter.value == pytest.approx(perimeter.intervals(modes), rel=1e-12)
    assert found.certificate.upper < 1e-9
    assert found.diagram.sites.shape == (modes, dimension)
    assert found.found_by == "quantiles"
    assert found.trials == found.starts == {}


def test_starts_are_balanced_before_they_are_judged(monkeypatch: pytest.MonkeyPatch):
    """Three sites on a line, near or far: the same slabs of a third each, on the same lines."""
    monkeypatch.setattr(minimal, "COMPACT", 0)  # no Lloyd, which would balance too
    monkeypatch.setattr(minimal, "COARSEST", 0)
    places = np.array([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    starts = {"near": 0.5 * places, "far": 1.1 * places}
    trials = minimal.minimal(key(2), 3, 2, starts=starts, effort=0.01).trials
    assert trials["near"] == pytest.approx(trials["far"], rel=0.01)


@pytest.mark.parametrize(
    ("modes", "dimension", "options", "said"),
    [
        (1, 3, {}, "modes"),
        (4, 0, {}, "dimension"),
        (4, 3, {"effort": 0.0}, "effort"),
        (4, 3, {"effort": -1.0}, "effort"),
        (4, 3, {"effort": math.inf}, "effort"),
        (4, 3, {"effort": math.nan}, "effort"),
        (4, 3, {"starts": {}}, "at least one start"),
        (4, 3, {"starts": {"flat": np.ones((4, 2))}}, r"'flat'.*\(4, 3\), got \(4, 2\)"),
        (4, 8, {"starts": {"lifted": np.ones((4, 8))}}, r"\(4, 3\), got \(4, 8\)"),
        (4, 3, {"starts": {"nan": np.full((4, 3), np.nan)}}, "finite"),
    ],
)
def test_bad_arguments_are_refused(modes: int, dimension: int, options: dict, said: str):
    with pytest.raises(ValueError, match=said):
        minimal.minimal(key(), modes, dimension, **options)
