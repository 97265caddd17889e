"""Right-hand sides: inverses, limits, known numbers and refused input."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.refusals import refusals
from tests.strategies import masses, scales
from theory import bound, perimeter
from theory.gaussian import isoperimetric_profile
from theory.partition import simplicial_cluster


@given(modes=st.integers(2, 4096), leak=st.floats(1e-4, 0.99), barrier=scales(2.0))
def test_stiffness_and_leak_floors_are_inverse(modes: int, leak: float, barrier: float):
    stiffness = bound.stiffness_floor(modes, leak, barrier)
    assert bound.leak_floor(modes, stiffness, barrier) == pytest.approx(leak, rel=1e-9)


@pytest.mark.parametrize("modes", [2, 64])
def test_the_leak_floor_falls_as_one_over_stiffness_with_the_elementary_floor(modes: int):
    leaks = [bound.leak_floor(modes, stiffness, 1.0) for stiffness in (1.0, 10.0, 1e5)]
    assert (np.diff(leaks) < 0).all()
    assert 1e5 * leaks[-1] == pytest.approx(bound.elementary_floor(modes), rel=1e-4)


def test_a_linear_map_attains_the_leak_floor_of_two_modes():
    leak = 1 - 2 * (1 - 0.5 * (1 + math.erf(0.125 / math.sqrt(2))))  # P(|x| < κ/(2Λ)), Λ = 4
    assert bound.leak_floor(2, 4.0, 1.0) == pytest.approx(leak, rel=1e-12)


@pytest.mark.parametrize("modes", [3, 16, 4096])
def test_elementary_floor_is_below_the_interface_floor(modes: int):
    lower, upper = bound.elementary_floor(modes), bound.interface_floor(modes)
    assert 0.7 * upper < lower < upper
    assert lower == pytest.approx(modes / 2 * isoperimetric_profile(1 / modes), rel=1e-15)


@given(law=masses(4))
def test_unequal_floor_is_the_perimeter_of_the_simplicial_cluster(law: np.ndarray):
    value, gradient = bound.unequal_floor(law)
    offsets = np.asarray(simplicial_cluster(4, law).offsets)
    assert value == pytest.approx(perimeter.simplicial_facets(offsets).sum(), rel=1e-10)
    np.testing.assert_allclose(gradient, -offsets / math.sqrt(2), atol=1e-6)


def test_unequal_floor_at_the_known_masses():
    assert bound.unequal_floor(np.array([0.5, 0.25, 0.15, 0.1]))[0] == pytest.approx(
        0.63480430543, abs=1e-10
    )
    assert bound.unequal_floor(np.full(5, 0.2))[0] == pytest.approx(
        bound.interface_floor(5), rel=1e-10
    )


@pytest.mark.parametrize("mass", [0.3, 1e-4, 1e-8, 1e-12])
def test_of_two_cells_the_unequal_floor_is_the_isoperimetric_profile(mass: float):
    value, _ = bound.unequal_floor(np.array([mass, 1 - mass]))
    assert value == pytest.approx(float(isoperimetric_profile(mass)), rel=1e-12, abs=3e-15)


def test_the_gradient_of_the_unequal_floor_tells_the_least_masses_too():
    law = np.array([1e-12, 1e-9, 1e-6, 1e-3, 1.0])
    law /= law.sum()
    value, gradient = bound.unequal_floor(law)
    offsets = -math.sqrt(2) * gradient
    assert value == pytest.approx(perimeter.simplicial_facets(offsets).sum(), rel=1e-10)
    reached = np.array(simplicial_cluster(5, law).offsets)
    np.testing.assert_allclose(offsets, reached, atol=1e-7)


def test_tube_rate_and_the_half_space():
    assert bound.tube_rate(0.1, 2.0) == pytest.approx(0.2 * math.sqrt(2 / math.pi), rel=1e-15)
    assert bound.tube_rate(0.1, 0.0) == 0
    small = 1e-5
    area = perimeter.half_space()
    assert bound.half_space_flip(small) == pytest.approx(bound.tube_rate(small, area), rel=1e-9)
    assert bound.half_space_flip(1.0) == pytest.approx(0.25, rel=1e-15)
    assert bound.half_space_flip(1e9) == pytest.approx(0.5, rel=1e-8)


def test_ridge_coefficients():
    triple = 3 * bound.ridge_coefficient(2 * math.pi / 3)  # three cells meet
    assert triple == pytest.approx(3 / (2 * math.pi) - 1 / (2 * math.sqrt(3)), rel=1e-14)
    assert triple == pytest.approx(0.18879, abs=5e-6)
    assert bound.ridge_coefficient(math.pi / 2) == pytest.approx(1 / (2 * math.pi), rel=1e-14)
    assert bound.ridge_coefficient(math.pi - 1e-6) == pytest.approx(0, abs=1e-9)  # a flat facet


@pytest.mark.parametrize(("depth", "ratio"), [(1, 1.0), (2, 1.547), (3, 2.053), (4, 2.547)])
def test_peak_ratio_of_4096_modes(depth: int, ratio: float):
    got = bound.peak_ratio(4096, depth)
    assert got == pytest.approx(ratio, abs=5e-4)
    assert got >= math.sqrt(depth)


BAD = {
    "modes must be an integer ≥ 2, got 1": lambda: bound.interface_floor(1),
    "modes must be an integer ≥ 2, got 2.0": lambda: bound.elementary_floor(2.0),
    "modes must be an integer ≥ 2, got True": lambda: bound.leak_floor(True, 1.0, 1.0),
    "leak must lie in (0, 1), got 0": lambda: bound.stiffness_floor(2, 0, 1.0),
    "leak must lie in (0, 1), got 1.0": lambda: bound.stiffness_floor(2, 1.0, 1.0),
    "leak must lie in (0, 1), got nan": lambda: bound.stiffness_floor(2, math.nan, 1.0),
    "barrier must be positive and finite, got -1.0": lambda: bound.leak_floor(2, 1.0, -1.0),
    "stiffness must be positive and finite, got inf": lambda: bound.leak_floor(2, math.inf, 1.0),
    "scale must be positive and finite, got 0": lambda: bound.tube_rate(0, 1.0),
    "area must be finite and ≥ 0, got nan": lambda: bound.tube_rate(1.0, math.nan),
    "scale must be positive and finite, got nan": lambda: bound.half_space_flip(math.nan),
    "(0, π), got 3.2": lambda: bound.ridge_coefficient(3.2),
    "got modes=10, depth=2": lambda: bound.peak_ratio(10, 2),
    "depth must be an integer ≥ 1, got 0": lambda: bound.peak_ratio(4096, 0),
    "depth must be an integer ≥ 1, got 1.5": lambda: bound.peak_ratio(4096, 1.5),
    "depth must be an integer ≥ 1, got True": lambda: bound.peak_ratio(4096, True),
    "leave out the smallest": lambda: bound.unequal_floor(np.array([1e-200, 1.0])),
    "sum 0.9": lambda: bound.unequal_floor(np.array([0.5, 0.4])),
    "least -0.5": lambda: bound.unequal_floor(np.array([1.5, -0.5])),
}


test_bad_input_is_named = refusals(BAD)


@pytest.mark.parametrize(
    ("dimension", "sharp", "ball"),
    [(1, 0.28209, None), (2, 0.49501, 0.4714), (3, 0.6863, 0.6265), (4, 0.8588, 0.7611)],
)
def test_fixed_dimension_constants(dimension: int, sharp: float, ball: float | None):
    scale = 1000 ** (1 / dimension)
    assert bound.fixed_dimension_law(1000, dimension) / scale == pytest.approx(sharp, abs=6e-5)
    if ball:
        assert bound.ball_law(1000, dimension) / scale == pytest.approx(ball, abs=6e-5)


def test_fixed_dimension_constants_from_the_cells_themselves():
    """Half the surface at volume 1: a hexagon of side a, a 24-cell of edge a, a unit ball."""
    side = (2 / (3 * math.sqrt(3))) ** 0.5
    assert bound.HALF_SURFACE[2] == pytest.approx(6 * side / 2, rel=1e-12)
    edge = 0.5**0.25  # the 24-cell has volume 2a⁴
    octahedron = math.sqrt(2) / 3 * edge**3
    assert bound.HALF_SURFACE[4] == pytest.approx(24 * octahedron / 2, rel=1e-12)
    radius = (3 / (4 * math.pi)) ** (1 / 3)
    assert bound.BALL_HALF_SURFACE[3] == pytest.approx(2 * math.pi * radius**2, rel=1e-12)


def test_the_band_of_large_dimension():
    lower, upper = bound.large_dimension_band(0.4)
    assert (lower, upper) == (1.0, pytest.approx(1.238, abs=5e-4))
    lower, upper = bound.large_dimension_band(2.0)
    assert upper / lower == pytest.approx(math.sqrt(2), rel=1e-12)
    assert bound.large_dimension_band(1e-9)[1] == pytest.approx(1, abs=1e-8)


def test_a_cell_of_unknown_surface_and_no_rate_are_refused():
    with pytest.raises(ValueError, match="n = 1, 2, 3, 4"):
        bound.fixed_dimension_law(16, 5)
    with pytest.raises(ValueError, match="rate"):
        bound.large_dimension_band(0.0)
