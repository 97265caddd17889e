"""Closed-form perimeters against arbitrary precision, adaptive quadrature and each other."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from scipy import integrate, special, stats

from tests.refusals import refusals
from tests.strategies import masses
from theory import perimeter
from theory.gaussian import expected_maximum
from theory.partition import simplicial_cluster

LAW = [0.5, 0.25, 0.15, 0.1]
TOTAL = 0.63480430543  # P_S of LAW, to the digits given


def pair_integral(modes: int) -> mpmath.mpf:
    """C(M,2)(2π)^{−1/2} ∫ π^{−1/2} e^{−u²} Φ(u)^{M−2} du in 30 digits."""
    with mpmath.workdps(30):
        power = lambda u: mpmath.exp(-(u**2)) * mpmath.ncdf(u) ** (modes - 2)  # noqa: E731
        value = mpmath.quad(power, mpmath.linspace(-11, 11, 23), maxdegree=5)
        return mpmath.binomial(modes, 2) * value / (mpmath.sqrt(2) * mpmath.pi)


def facet(offsets: np.ndarray, i: int, j: int) -> float:
    """P_ij = e^{−(b_i−b_j)²/4}/√(2π) · E Π_k Φ(g/√2 + (b_i+b_j)/2 − b_k), by quadrature."""
    others = np.delete(offsets, [i, j])
    middle = (offsets[i] + offsets[j]) / 2
    density = lambda g: (  # noqa: E731
        stats.norm.pdf(g) * special.ndtr(g / math.sqrt(2) + middle - others).prod()
    )
    value = integrate.quad(density, -10, 10, epsabs=1e-13, limit=200)[0]
    return math.exp(-((offsets[i] - offsets[j]) ** 2) / 4) / math.sqrt(2 * math.pi) * value


@pytest.mark.parametrize("threshold", [-3.0, 0.0, 0.5, 8.0])
def test_half_space(threshold: float):
    wanted = math.exp(-(threshold**2) / 2) / math.sqrt(2 * math.pi)
    assert perimeter.half_space(threshold) == pytest.approx(wanted, rel=1e-14)


@pytest.mark.parametrize("modes", [2, 3, 10, 1000])
def test_intervals(modes: int):
    cuts = stats.norm.ppf(np.arange(1, modes) / modes)
    assert perimeter.intervals(modes) == pytest.approx(stats.norm.pdf(cuts).sum(), rel=1e-12)


def test_intervals_grow_as_modes():
    assert perimeter.intervals(10**5) / 10**5 == pytest.approx(
        1 / (2 * math.sqrt(math.pi)), rel=1e-4
    )


def test_orthants_are_n_half_spaces():
    assert perimeter.orthants(5) == pytest.approx(5 * perimeter.half_space(), rel=1e-15)
    for same in (perimeter.simplicial(2), perimeter.intervals(2), perimeter.half_space()):
        assert perimeter.orthants(1) == pytest.approx(same, rel=1e-14)


@pytest.mark.parametrize("modes", [2, 3, 5, 64, 4096])
def test_simplicial_by_another_quadrature_and_by_the_expected_maximum(modes: int):
    got = perimeter.simplicial(modes)
    assert got == pytest.approx(float(pair_integral(modes)), rel=1e-11)
    assert got == pytest.approx(expected_maximum(modes) / math.sqrt(2), rel=1e-11)


@pytest.mark.parametrize("modes", [10**5, 10**7, 10**9])
def test_simplicial_of_very_many_cells(modes: int):
    got = perimeter.simplicial(modes)
    assert got == pytest.approx(expected_maximum(modes) / math.sqrt(2), rel=1e-9)


def test_simplicial_over_root_log_rises_towards_1():
    ratio = [perimeter.simplicial(10**k) / math.sqrt(k * math.log(10)) for k in (1, 2, 4, 8)]
    assert (np.diff(ratio) > 0).all()
    assert ratio[-1] < 1


@pytest.mark.parametrize("modes", [2, 3, 4, 33])
def test_equal_facets_are_equal_and_sum_to_the_simplicial(modes: int):
    table = perimeter.simplicial_facets(np.zeros(modes))
    upper = table[np.triu_indices(modes, 1)]
    np.testing.assert_allclose(upper, upper[0], rtol=1e-13)
    assert np.tril(table).sum() == 0
    assert table.sum() == pytest.approx(perimeter.simplicial(modes), rel=1e-12)


def test_unequal_masses_have_the_known_total_and_facets():
    offsets = np.asarray(simplicial_cluster(4, LAW).offsets)
    table = perimeter.simplicial_facets(offsets)
    assert table.sum() == pytest.approx(TOTAL, abs=5e-12)
    wanted = [[facet(offsets, i, j) if i < j else 0 for j in range(4)] for i in range(4)]
    np.testing.assert_allclose(table, wanted, rtol=1e-10)
    assert abs(table.sum() * 1.05 - TOTAL) > 0.01


@given(law=masses(5))
def test_facets_of_any_masses_against_quadrature_and_blind_to_a_common_shift(law: np.ndarray):
    offsets = np.asarray(simplicial_cluster(5, law).offsets)
    table = perimeter.simplicial_facets(offsets)
    np.testing.assert_allclose(perimeter.simplicial_facets(offsets + 1.5), table, rtol=1e-9)
    i, j = (0, 3)
    assert table[i, j] == pytest.approx(facet(offsets, i, j), rel=1e-8, abs=1e-13)
    equal = perimeter.simplicial(5)
    assert table.sum() <= equal * (1 + 1e-12)  # equal masses have the most boundary


BAD = {
    "threshold must be finite, got nan": lambda: perimeter.half_space(math.nan),
    "modes must be an integer ≥ 2, got 1": lambda: perimeter.intervals(1),
    "modes must be an integer ≥ 2, got 2.5": lambda: perimeter.simplicial(2.5),
    "modes must be an integer ≥ 2, got True": lambda: perimeter.simplicial(True),
    "dimension must be an integer ≥ 1, got 0": lambda: perimeter.orthants(0),
    "modes must be an integer ≥ 2, got 0": lambda: perimeter.simplicial_facets(np.zeros(0)),
}


test_bad_input_is_named = refusals(BAD)
