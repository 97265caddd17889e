"""The strategies produce what they describe, and all of it: no collapse to a special case."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from tests.strategies import SHAPES, closest, diagrams, masses, points, reals, rotations, scales

SEARCH = settings(
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def draws(strategy: st.SearchStrategy, count: int = 100) -> list:
    """The values a test would see."""
    seen = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: object) -> None:
        seen.append(value)

    collect()
    return seen


def some(seen: list, holds: Callable, least: float = 0.1) -> bool:
    """Whether the property holds for a share of the draws, and fails for a share of them."""
    share = np.mean([bool(holds(value)) for value in seen])
    return least <= share <= 1 - least


@pytest.mark.parametrize("modes", [2, 5, 17])
def test_masses_are_laws_from_nearly_equal_to_very_unequal(modes: int):
    seen = draws(masses(modes))
    assert all((m > 0).all() and abs(m.sum() - 1) < 1e-12 for m in seen)
    assert all(m.max() / m.min() <= np.exp(8) * (1 + 1e-12) for m in seen)
    ratios = np.array([m.max() / m.min() for m in seen])
    assert ratios.max() > 100
    assert ratios.min() < 20
    assert len(np.unique(ratios)) > 30


def test_scales_span_all_their_decades_on_both_sides_of_one():
    seen = draws(scales())
    assert all(1e-3 * (1 - 1e-12) <= s <= 1e3 * (1 + 1e-12) for s in seen)
    assert min(seen) < 0.01
    assert max(seen) > 100
    assert some(seen, lambda s: s < 1)


@pytest.mark.parametrize("dimension", [2, 3, 4])
def test_rotations_are_orthogonal_and_seldom_the_identity(dimension: int):
    seen = draws(rotations(dimension))
    unit = np.eye(dimension)
    assert all(np.abs(q @ q.T - unit).max() < 1e-12 for q in seen)
    assert some(seen, lambda q: np.linalg.det(q) > 0, least=0.05)
    far = [np.abs(q - unit).max() > 0.1 and np.abs(q + unit).max() > 0.1 for q in seen]
    assert np.mean(far) > 0.5


@pytest.mark.parametrize("shape", SHAPES)
def test_diagrams_have_the_shape_and_different_sites_and_offsets(shape: tuple[int, int]):
    seen = draws(diagrams(*shape, apart=0.1))
    assert all((d.modes, d.dimension) == shape for d in seen)
    assert all(closest(np.asarray(d.sites)) >= 0.1 for d in seen)
    assert len({np.asarray(d.sites).tobytes() for d in seen}) > 40
    assert np.mean([np.ptp(d.offsets) > 0.5 for d in seen]) > 0.3


def test_points_fall_in_many_cells():
    diagram = draws(diagrams(8, 3, apart=0.5), 20)[-1]
    labels = np.concatenate([np.asarray(diagram.label(x)) for x in draws(points(16, 3))])
    assert len(np.unique(labels)) >= 3


def test_diagrams_may_have_duplicates_unless_told_otherwise():
    assert any(closest(np.asarray(d.sites)) == 0 for d in draws(diagrams(5, 2)))


def test_closest_is_the_least_distance_of_two_rows():
    assert closest(np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 4.5]])) == 0.5


def reaches(strategy: st.SearchStrategy, holds: Callable, tries: int = 3000) -> bool:
    """Whether some example has the property: what is described can come up."""
    search = settings(SEARCH, max_examples=tries)
    try:
        find(strategy, lambda value: bool(holds(value)), settings=search)
    except NoSuchExample:
        return False
    return True


EXTREMES = {
    "reals: either end": (reals((3,), 2.0), lambda x: x.max() == 2 and x.min() < 0),
    "reals: the lower end": (reals((3,), 2.0), lambda x: x.min() == -2),
    "reals: zeros": (reals((3,), 2.0), lambda x: (x == 0).any()),
    "reals: different entries": (reals((3,), 2.0), lambda x: len(set(x.tolist())) == 3),
    "reals: equal entries": (reals((3,), 2.0), lambda x: len(set(x.tolist())) == 1),
    "scales: the least": (scales(2.0), lambda s: s == 0.01),
    "scales: the greatest": (scales(2.0), lambda s: s == 100),
    "scales: one": (scales(2.0), lambda s: s == 1),
    "scales: within any decade": (scales(2.0), lambda s: 0.02 < s < 0.05),
    "masses: a ratio of e⁸": (masses(3), lambda m: m.max() / m.min() > np.exp(7.99)),
    "masses: equal": (masses(3), lambda m: np.ptp(m) < 1e-15),
    "masses: any order, up": (masses(3), lambda m: m[0] < m[1] < m[2]),
    "masses: any order, down": (masses(3), lambda m: m[0] > m[1] > m[2]),
    "rotations: determinant 1": (rotations(3), lambda q: np.linalg.det(q) > 0.999),
    "rotations: determinant −1": (rotations(3), lambda q: np.linalg.det(q) < -0.999),
    "rotations: no axis kept": (rotations(3), lambda q: np.abs(q).max() < 0.8),
    "rotations: determinant 1 of the line": (rotations(1), lambda q: q[0, 0] == 1),
    "rotations: determinant −1 of the line": (rotations(1), lambda q: q[0, 0] == -1),
    "points: a corner": (points(1, 2), lambda x: (np.abs(x) == 3).all()),
    "points: the origin": (points(1, 2), lambda x: (x == 0).all()),
    "points: in every quadrant": (points(4, 2), lambda x: len({*map(tuple, x > 0)}) == 4),
    "diagrams: all sites equal": (diagrams(2, 1), lambda d: d.sites[0] == d.sites[1]),
    "diagrams: sites far apart": (diagrams(2, 1), lambda d: closest(np.asarray(d.sites)) > 7),
    "diagrams: offsets far apart": (diagrams(2, 1), lambda d: np.ptp(d.offsets) > 3),
    "diagrams: no offsets": (diagrams(2, 1), lambda d: not np.any(d.offsets)),
    "diagrams: an empty cell": (
        diagrams(3, 1),
        lambda d: len(np.unique(d.label(np.linspace(-9, 9, 64)[:, None]))) == 2,
    ),
    "diagrams: sites just apart": (
        diagrams(2, 1, apart=0.5),
        lambda d: 0.5 <= closest(np.asarray(d.sites)) < 0.6,
    ),
}


@pytest.mark.parametrize("described", EXTREMES)
def test_every_extreme_that_is_described_comes_up(described: str):
    assert reaches(*EXTREMES[described])


@pytest.mark.parametrize(
    ("strategy", "holds"),
    [
        (reals((3,), 2.0), lambda x: np.abs(x).max() > 2),
        (scales(2.0), lambda s: not 0.01 <= s <= 100),
        (masses(3), lambda m: m.max() / m.min() > np.exp(8.001)),
        (rotations(3), lambda q: np.abs(q @ q.T - np.eye(3)).max() > 1e-12),
        (points(1, 2), lambda x: np.abs(x).max() > 3),
        (diagrams(2, 1, apart=0.5), lambda d: closest(np.asarray(d.sites)) < 0.5),
        (diagrams(2, 1), lambda d: np.abs(d.sites).max() > 4 or np.abs(d.offsets).max() > 2),
    ],
)
def test_nothing_beyond_what_is_described_comes_up(strategy: st.SearchStrategy, holds: Callable):
    assert not reaches(strategy, holds, tries=100)
