"""The floors of Theorem 5 and the price of Theorem 7 against quadrature, maps of R and mpmath."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, optimize, stats

from tests.refusals import refusals
from tests.strategies import SHAPES, masses, reals, rotations, scales
from theory import bound, perimeter
from theory.partition import orthants, simplicial_cluster
from theory.transport import sparsemax_leak

P_S = {  # M: a_M/√2, to 13 digits and more
    8: 1.0066374301038603,
    16: 1.2487444895461,
    64: 1.6572698264515,
    4096: 2.5640272970402,
}
CHAIN = np.array([[0.0, 1.0, 1.5], [1.0, 0.0, 0.5], [1.5, 0.5, 0.0]])  # e_1 – e_2 – e_3 on a line


def leaky_masses(modes: int) -> st.SearchStrategy[np.ndarray]:
    """Core masses with a leak from 1e-4 to 0.9."""
    return st.builds(lambda m, log: (1 - 10**log) * m, masses(modes), st.floats(-4, -0.05))


def interval_masses(starts: list[float], widths: np.ndarray) -> np.ndarray:
    """Masses of the intervals of R that are left between gaps of these widths."""
    left = np.append(-np.inf, np.array(starts) + widths)
    return stats.norm.cdf(np.append(starts, np.inf)) - stats.norm.cdf(left)


# The sum of the enlarged cores


@given(law=leaky_masses(4), stiffness=scales(2.0), barrier=scales(2.0))
def test_core_sum_is_its_definition(law: np.ndarray, stiffness: float, barrier: float):
    inner = stats.norm.ppf(law) + barrier / (2 * stiffness)
    got = bound.core_sum(law, stiffness, barrier)
    assert got == pytest.approx(stats.norm.cdf(inner).sum(), rel=1e-12)


@given(law=leaky_masses(3), entries=reals((3, 3), 2.0), stiffness=scales(1.0))
def test_core_sum_of_unequal_barriers_takes_the_least_of_each(
    law: np.ndarray, entries: np.ndarray, stiffness: float
):
    barriers = np.exp(entries + entries.T)
    diagonal = barriers * (1 - np.eye(3))  # is not looked at
    terms = []
    for i in range(3):
        least = min(barriers[i, j] for j in range(3) if j != i)
        terms.append(stats.norm.cdf(stats.norm.ppf(law[i]) + least / (2 * stiffness)))
    for table in (barriers, diagonal):
        assert bound.core_sum(law, stiffness, table) == pytest.approx(sum(terms), rel=1e-12)


@given(start=st.floats(-3, 3), stiffness=scales(1.0), barrier=scales(0.5))
def test_a_ramp_between_two_modes_attains_it(start: float, stiffness: float, barrier: float):
    """Cores (−∞, a] and [a + κ/Λ, ∞), of unequal mass: the sum is 1."""
    law = np.array([stats.norm.cdf(start), stats.norm.sf(start + barrier / stiffness)])
    assert bound.core_sum(law, stiffness, barrier) == pytest.approx(1, abs=1e-12)
    if law.min() > 0.01 and law.sum() < 0.999:
        assert bound.core_sum(law, 0.99 * stiffness, barrier) > 1 + 1e-6
        got = bound.unequal_stiffness_floor(law, barrier)
        assert got == pytest.approx(stiffness, rel=1e-9)


@given(start=st.floats(-2, 1), core=scales(1.0), stiffness=scales(1.0))
def test_a_map_of_the_line_through_three_modes_obeys_it(
    start: float, core: float, stiffness: float
):
    """Intervals with gaps κ_12/Λ and κ_23/Λ, at κ = 1, ½ and 1½."""
    widths = np.array([1.0, 0.5]) / stiffness
    law = interval_masses([start, start + widths[0] + core], widths)
    total = bound.core_sum(law, stiffness, CHAIN)
    assert total <= 1 + 1e-12
    assert bound.core_sum(law, stiffness, 0.5) <= total <= bound.core_sum(law, stiffness, 1.5)


def test_a_gap_too_narrow_is_refuted():
    """Barriers of ½ between all three: at a fifth of the due width the cores cannot be so heavy."""
    widths = np.array([0.5, 0.5])
    law = interval_masses([-0.6, 0.6], widths)
    assert 0.9 < bound.core_sum(law, 1.0, 0.5) < 1
    narrow = interval_masses([-0.6, 0.6], widths / 5)
    assert bound.core_sum(narrow, 1.0, 0.5) > 1.05


@given(modes=st.integers(2, 200), leak=st.floats(1e-4, 0.99), barrier=scales(2.0))
def test_at_equal_masses_it_is_1_at_the_stiffness_floor(modes: int, leak: float, barrier: float):
    law = np.full(modes, (1 - leak) / modes)
    stiffness = bound.stiffness_floor(modes, leak, barrier)
    assert bound.core_sum(law, stiffness, barrier) == pytest.approx(1, abs=1e-11)
    assert bound.unequal_stiffness_floor(law, barrier) == pytest.approx(stiffness, rel=1e-7)


def test_a_mode_that_is_never_reached_adds_nothing():
    law = np.array([0.3, 0.4, 0.0])
    assert bound.core_sum(law, 2.0, 1.0) == bound.core_sum(law[:2], 2.0, 1.0)
    assert bound.unequal_stiffness_floor(law, 1.0) == bound.unequal_stiffness_floor(law[:2], 1.0)


# The stiffness that masses need


@given(law=leaky_masses(5), entries=reals((5, 5), 1.0))
def test_unequal_floor_is_inverse_to_the_core_sum(law: np.ndarray, entries: np.ndarray):
    barriers = np.exp(entries + entries.T)
    for table in (barriers, 0.3):
        stiffness = bound.unequal_stiffness_floor(law, table)
        assert bound.core_sum(law, stiffness, table) == pytest.approx(1, abs=1e-12)
        assert (
            bound.core_sum(law, 0.9 * stiffness, table)
            > 1
            > bound.core_sum(law, 1.1 * stiffness, table)
        )
    scaled = bound.unequal_stiffness_floor(law, 7 * barriers)
    wanted = 7 * bound.unequal_stiffness_floor(law, barriers)
    assert scaled == pytest.approx(wanted, rel=1e-9)


def test_unequal_masses_need_less_and_the_equal_form_does_not_cover_them():
    """At (0.85, 0.05) the formula for equal masses asks for more stiffness than a ramp has."""
    law = np.array([0.85, 0.05])
    width = stats.norm.isf(0.05) - stats.norm.ppf(0.85)
    got = bound.unequal_stiffness_floor(law, 1.0)
    assert got == pytest.approx(1 / width, rel=1e-10)
    assert got < 0.7 * bound.stiffness_floor(2, 0.1, 1.0)


def precise_floor(modes: int, leak: float) -> float:
    """1/(2[Φ⁻¹(1/M) − Φ⁻¹((1−ε)/M)]), by Newton's method with 40 digits more than ε takes off."""
    with mpmath.workdps(40 - math.floor(math.log10(leak))):

        def quantile(v: mpmath.mpf) -> mpmath.mpf:
            x = mpmath.mpf(float(stats.norm.ppf(float(v))))
            for _ in range(8):  # each doubles the digits
                x -= (mpmath.ncdf(x) - v) / mpmath.npdf(x)
            return x

        share = 1 / mpmath.mpf(modes)
        apart = quantile(share) - quantile((1 - mpmath.mpf(leak)) * share)
        return float(1 / (2 * apart))


@pytest.mark.parametrize("modes", [2, 7, 4096])
@pytest.mark.parametrize("leak", [0.3, 1e-3, 1e-6, 1.001e-8, 0.999e-8, 1e-12, 1e-200])
def test_stiffness_floor_keeps_digits_at_tiny_leaks(modes: int, leak: float):
    """Above 1e-8 the quantiles cancel to about 1e-15/ε, below the first order is taken.

    Its relative error is below ε.
    """
    rounding = 3e-15 / leak if leak > 1e-8 else leak + 1e-14
    assert bound.stiffness_floor(modes, leak, 1.0) == pytest.approx(
        precise_floor(modes, leak), rel=rounding + 1e-14
    )


# The leak of the simplicial cluster


@pytest.mark.parametrize("modes", [2, 3, 5, 16, 64, 256])
def test_the_expansion_is_that_of_the_leak(modes: int):
    """Λ(a − Λε) = b + O(1/Λ), extrapolated from Λ = 50, 100, 200 and 400."""
    a, b = bound.leak_expansion(modes)
    assert a == pytest.approx(math.sqrt(2) * perimeter.simplicial(modes), rel=1e-12)
    stiffness = 50 * 2.0 ** np.arange(4)
    got = np.array([value * (a - value * sparsemax_leak(modes, value)) for value in stiffness])
    for order in (1, 2, 3):
        got = (2**order * got[1:] - got[:-1]) / (2**order - 1)
    assert got[0] == pytest.approx(b, rel=1e-6, abs=1e-8)
    leak = sparsemax_leak(modes, 50.0)
    assert leak < a / 50
    if modes > 2:
        assert abs(leak - (a / 50 - b / 2500)) < 0.1 * b / 2500


@pytest.mark.parametrize("modes", [3, 4, 8, 64, 256])
def test_the_second_coefficient_is_the_measure_of_the_triple_ridges(modes: int):
    """(√3/2)·C(M,3)/(2π)·E Φ(g/√3)^{M−3} by Gauss–Hermite."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(180)
    mean = weights @ stats.norm.cdf(nodes / math.sqrt(3)) ** (modes - 3) / math.sqrt(2 * math.pi)
    wanted = math.sqrt(3) / 2 * math.comb(modes, 3) / (2 * math.pi) * mean
    assert bound.leak_expansion(modes)[1] == pytest.approx(wanted, rel=1e-10)


def test_known_coefficients():
    """Two cells have no ridge, three have one; a point of R² has density 1/(2π)."""
    assert bound.leak_expansion(2) == (pytest.approx(1 / math.sqrt(math.pi), rel=1e-14), 0)
    wanted = 1.5 / math.sqrt(math.pi), math.sqrt(3) / (4 * math.pi)
    assert bound.leak_expansion(3) == pytest.approx(wanted, rel=1e-13)
    assert bound.leak_expansion(4096)[0] == pytest.approx(math.sqrt(2) * P_S[4096], rel=1e-12)


# Raw scores


def test_scores_of_quadrants_leak_more_than_their_perimeter():
    """Axes of half-length: 2/√π against √(2/π); the leak itself is 1 − (2Q(1/Λ))²."""
    areas = np.zeros((4, 4))
    first, second = np.triu_indices(4, 1)
    sites = np.asarray(orthants(2).sites)
    adjacent = (sites[first] != sites[second]).sum(axis=1) == 1
    areas[first[adjacent], second[adjacent]] = stats.norm.pdf(0) / 2
    assert areas.sum() == pytest.approx(perimeter.orthants(2), rel=1e-14)
    rate = bound.score_leak_rate(areas, sites)
    assert rate == pytest.approx(1.128, abs=5e-4)
    assert rate == pytest.approx(2 / math.sqrt(math.pi), rel=1e-14)
    stiffness = 1e4
    outside = math.erfc(1 / (stiffness * math.sqrt(2)))
    got = stiffness * (1 - outside**2) / math.sqrt(2)
    assert got == pytest.approx(rate, rel=1e-4)


@pytest.mark.parametrize("modes", [2, 3, 8])
def test_scores_of_the_simplicial_cluster_leak_at_its_perimeter(modes: int):
    areas = perimeter.simplicial_facets(np.zeros(modes))
    got = bound.score_leak_rate(areas, np.asarray(simplicial_cluster(modes).sites))
    assert got == pytest.approx(bound.interface_floor(modes), rel=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
@given(data=st.data(), size=scales(2.0))
def test_no_sites_leak_less_than_their_perimeter(
    shape: tuple[int, int], data: st.DataObject, size: float
):
    """‖a_i − a_j‖ ≤ √2‖A‖; neither place nor scale nor frame of the sites counts."""
    modes, n = shape
    sites = data.draw(reals(shape, 1.0).filter(lambda a: np.ptp(a, axis=0).min() > 0.1))
    sites = sites + 1e-3 * np.arange(modes)[:, None]  # no two sites equal
    areas = np.triu(data.draw(reals((modes, modes), 1.0)) ** 2, 1)
    distances = np.linalg.norm(sites[:, None] - sites, axis=-1)
    areas[distances < 1e-6] = 0
    rate = bound.score_leak_rate(areas, sites)
    assert rate >= areas.sum() * (1 - 1e-12)
    centred = sites - sites.mean(axis=0)
    norm = math.sqrt(np.linalg.eigvalsh(centred.T @ centred)[-1])
    wanted = sum(
        areas[i, j] * math.sqrt(2) * norm / distances[i, j]
        for i in range(modes)
        for j in range(i + 1, modes)
        if areas[i, j]
    )
    assert rate == pytest.approx(wanted, rel=1e-9)
    turned = size * sites @ data.draw(rotations(n)) + 1.5
    assert bound.score_leak_rate(areas, turned) == pytest.approx(rate, rel=1e-6)


# Energy


def ramp_energy(start: float, stiffness: float) -> float:
    """E[V(T)‖DT‖] of the ramp from e_1 = 0 at x = a to e_2 = 1, V = min(z, 1 − z)."""
    density = lambda z: min(z, 1 - z) * stats.norm.pdf(start + z / stiffness)  # noqa: E731
    return integrate.quad(density, 0, 1, points=[0.5], epsabs=1e-13)[0]


@given(start=st.floats(-2.5, 2.5), stiffness=st.floats(0.3, 200))
def test_the_energy_of_a_ramp_is_no_less_than_its_floor(start: float, stiffness: float):
    """κ = ∫V = ¼. Either of the two modes gives the same floor."""
    mass, rest = stats.norm.cdf(start), stats.norm.sf(start + 1 / stiffness)
    floor = bound.energy_floor(mass, rest, 0.25)
    assert floor == bound.energy_floor(rest, mass, 0.25)
    energy = ramp_energy(start, stiffness)
    assert floor <= energy * (1 + 1e-9)
    if stiffness > 50:
        assert 1.06 * floor > energy  # the density moves by |x|/Λ of itself across the gap


@given(law=leaky_masses(2))
def test_the_energy_floor_is_the_least_profile_of_what_lies_between(law: np.ndarray):
    """min I(v) over m ≤ v ≤ 1 − q, on a grid."""
    mass, rest = law
    between = np.linspace(mass, 1 - rest, 1001)
    least = stats.norm.pdf(stats.norm.ppf(between)).min()
    assert bound.energy_floor(mass, rest, 3.0) == pytest.approx(3 * least, rel=1e-9)


def test_the_energy_floor_of_two_halves():
    assert bound.energy_floor(0.5, 0.5, 2.0) == pytest.approx(math.sqrt(2 / math.pi), rel=1e-15)


# Depth


@pytest.mark.parametrize(
    ("depth", "price", "peak"), [(2, 1.293, 1.547), (3, 1.461, 2.053), (4, 1.570, 2.547)]
)
def test_the_price_of_levels_for_4096_modes(depth: int, price: float, peak: float):
    branches = round(4096 ** (1 / depth))
    got = bound.price_ratio(4096, depth), bound.peak_ratio(4096, depth)
    np.testing.assert_allclose(got, (price, peak), atol=5e-4)
    assert got[0] == pytest.approx(depth * P_S[branches] / P_S[4096], rel=1e-12)
    assert got[0] * got[1] == pytest.approx(depth, rel=1e-14)
    assert 1 < got[0] < math.sqrt(depth) < got[1]


def test_one_level_costs_nothing():
    assert bound.price_ratio(64, 1) == bound.peak_ratio(64, 1) == 1


@pytest.mark.parametrize(("modes", "depth"), [(64, 2), (64, 3), (4096, 4)])
def test_the_price_is_that_of_sparsemax_at_equal_total_leak(modes: int, depth: int):
    """The stiffness of one of B independent blocks over that of one shot, total leak 1e-5."""
    total = 1e-5
    single = -math.expm1(math.log1p(-total) / depth)

    def stiffness(count: int, leak: float) -> float:
        excess = lambda log: math.log(sparsemax_leak(count, math.exp(log)) / leak)  # noqa: E731
        return math.exp(optimize.brentq(excess, 0, 30, xtol=1e-12))

    branches = round(modes ** (1 / depth))
    got = stiffness(branches, single) / stiffness(modes, total)
    assert got == pytest.approx(bound.price_ratio(modes, depth), rel=1e-4)


TWO = np.array([0.4, 0.5])
BAD = {
    "shape (M,), M ≥ 2, got shape (1,)": lambda: bound.core_sum(np.ones(1), 1.0, 1.0),
    "shape (M,), M ≥ 2, got shape (2, 2)": lambda: bound.core_sum(np.full((2, 2), 0.2), 1.0, 1.0),
    "got least -0.1": lambda: bound.core_sum(np.array([0.5, -0.1]), 1.0, 1.0),
    "got least nan": lambda: bound.core_sum(np.array([0.5, math.nan]), 1.0, 1.0),
    "sum 1.2": lambda: bound.core_sum(np.array([0.6, 0.6]), 1.0, 1.0),
    "stiffness must be positive and finite, got 0.0": lambda: bound.core_sum(TWO, 0.0, 1.0),
    "stiffness must be positive and finite, got nan": lambda: bound.core_sum(TWO, math.nan, 1.0),
    "barrier must be positive and finite, got 0.0": lambda: bound.core_sum(TWO, 1.0, 0.0),
    "symmetric, κ or κ_ij of shape (M, M)": lambda: bound.unequal_stiffness_floor(
        TWO, np.array([[0.0, 1.0], [2.0, 0.0]])
    ),
    "1 − ε with ε in (0, 1), got 2 positive of sum 1.0": lambda: bound.unequal_stiffness_floor(
        np.array([0.5, 0.5]), 1.0
    ),
    "1 − ε with ε in (0, 1), got 0 positive of sum 0.0": lambda: bound.unequal_stiffness_floor(
        np.zeros(2), 1.0
    ),
    "got 1 positive of sum 0.7": lambda: bound.unequal_stiffness_floor(np.array([0.7, 0.0]), 1.0),
    "modes must be an integer ≥ 2, got 1": lambda: bound.leak_expansion(1),
    "modes must be an integer ≥ 2, got 3.0": lambda: bound.leak_expansion(3.0),
    "barrier must be positive and finite, got 0": lambda: bound.energy_floor(0.4, 0.5, 0),
    "barrier must be positive and finite, got inf": lambda: bound.energy_floor(0.4, 0.5, math.inf),
    "masses in (0, 1) of sum ≤ 1: 0.6, 0.5": lambda: bound.energy_floor(0.6, 0.5, 1.0),
    "masses in (0, 1) of sum ≤ 1: 0.0, 0.5": lambda: bound.energy_floor(0.0, 0.5, 1.0),
    "masses in (0, 1) of sum ≤ 1: nan, 0.5": lambda: bound.energy_floor(math.nan, 0.5, 1.0),
    "got modes=10, depth=2": lambda: bound.price_ratio(10, 2),
    "depth must be an integer ≥ 1, got 0": lambda: bound.price_ratio(64, 0),
    "depth must be an integer ≥ 1, got True": lambda: bound.price_ratio(64, True),
    "leak must lie in (0, 1), got -1e-12": lambda: bound.stiffness_floor(2, -1e-12, 1.0),
}


test_bad_input_is_named = refusals(BAD)
