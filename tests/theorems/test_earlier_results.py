"""Earlier results: total variation of Lipschitz maps (Salmona et al.), precision (two forms).

Hypotheses: T: R^n → R^d is Λ-Lipschitz, x ~ γ_n, A a set of mass η = P(T(x) ∈ A), of which the
target has β at most within r, outside of it. Conclusion: TV(law of T(x), target) ≥ Φ(r/Λ + Φ⁻¹(η))
− η − β. For M equal modes at mutual distances κ and x = Q⁻¹(1/M), e = κ/2Λ: precision
P(T(x) on a mode) ≤ (1 + x²)/x²·exp(−e²/2 − ex); with √(2 log M) in the place of x and without the
factor it fails for M ≤ 8. Maps are sparsemax(Λx), whose leak is exact, and intervals of R.
"""

import math

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from tests.refusals import refusals
from tests.strategies import scales
from theory import bound, earlier
from theory.transport import sparsemax_leak

KAPPA = math.sqrt(2)
STIFFNESS = (0.5, 2.0, 16.0, 128.0)
MODES = (2, 3, 8, 9, 64, 1024)
FAILS = range(2, 9)  # modes at which the recalled form asks for too large a leak


def half(modes: int, leak: float) -> float:
    """Mass of ⌊M/2⌋ of M equal modes."""
    return modes // 2 / modes * (1 - leak)


# Statement


@pytest.mark.parametrize("modes", MODES)
@pytest.mark.parametrize("stiffness", STIFFNESS)
def test_statement_of_total_variation(modes: int, stiffness: float):
    """All of the target is on the modes: its total variation is the leak or more."""
    leak = sparsemax_leak(modes, stiffness)
    floor = earlier.total_variation_floor(half(modes, leak), stiffness, KAPPA)
    assert 0 < floor <= leak * (1 + 1e-12)


@pytest.mark.parametrize("modes", MODES[1:])
@pytest.mark.parametrize("stiffness", STIFFNESS)
def test_statement_of_precision(modes: int, stiffness: float):
    precision = 1 - sparsemax_leak(modes, stiffness)
    assert precision <= earlier.gaussian_precision(modes, stiffness, KAPPA)


# Equality


@pytest.mark.parametrize("stiffness", STIFFNESS)
def test_equality_two_modes_have_no_more_total_variation(stiffness: float):
    leak = sparsemax_leak(2, stiffness)
    floor = earlier.total_variation_floor(half(2, leak), stiffness, KAPPA)
    assert floor == pytest.approx(leak, rel=1e-12)


def test_equality_the_gap_of_a_half_space_is_what_enlarging_it_adds():
    """{x < Φ⁻¹(η)} enlarged by r/Λ, by mpmath, from masses of 1e-12 to 1 − 1e-12."""
    for mass in (1e-12, 0.1, 0.5, 0.9, 1 - 1e-12):
        inner = mpmath.mpf(float(stats.norm.ppf(mass)))
        wanted = mpmath.ncdf(inner + mpmath.mpf("0.25")) - mpmath.ncdf(inner)
        assert earlier.expansion_gap(mass, 4.0, 1.0) == pytest.approx(float(wanted), rel=1e-9)
    assert earlier.expansion_gap(0.0, 4.0, 1.0) == earlier.expansion_gap(1.0, 4.0, 1.0) == 0


# Property


@given(
    ends=st.lists(st.floats(-3, 3), min_size=3, max_size=3, unique=True),
    stiffness=scales(2.0),
    distance=scales(2.0),
)
def test_property_any_union_of_intervals(ends: list[float], stiffness: float, distance: float):
    """A ray and an interval: what lies within r/Λ outside of them is the gap or more."""
    a, b, c = sorted(ends)
    reach = distance / stiffness
    inside = stats.norm.cdf(a) + stats.norm.cdf(c) - stats.norm.cdf(b)
    between = max(0.0, b - a - 2 * reach)
    left = stats.norm.cdf(a + reach + between) - stats.norm.cdf(a + reach) if between else 0.0
    enlarged = stats.norm.cdf(c + reach) - left
    gap = earlier.expansion_gap(float(inside), stiffness, distance)
    assert enlarged - inside >= gap - 1e-12


@given(mass=st.floats(0.01, 0.99), stiffness=scales(2.0), between=st.floats(0, 1))
def test_property_what_the_target_has_between_modes_is_taken_off(
    mass: float, stiffness: float, between: float
):
    gap = earlier.expansion_gap(mass, stiffness, KAPPA)
    floor = earlier.total_variation_floor(mass, stiffness, KAPPA, between)
    assert floor == pytest.approx(max(0.0, gap - between), abs=1e-15)


@given(modes=st.integers(3, 10**6), stiffness=scales(3.0))
def test_property_mills_only_weakens_the_gaussian_floor(modes: int, stiffness: float):
    floor = 1 - bound.leak_floor(modes, stiffness, KAPPA)
    assert floor <= earlier.gaussian_precision(modes, stiffness, KAPPA) * (1 + 1e-9)


# Rate


def test_rate_the_gap_is_largest_at_two_equal_modes_and_blind_to_more():
    """max_η a = 2Φ(κ/2Λ) − 1 at η = Φ(−κ/2Λ); the leak grows with M, the bound does not."""
    for stiffness in STIFFNESS:
        found = optimize.minimize_scalar(
            lambda mass, s=stiffness: -earlier.expansion_gap(mass, s, KAPPA),
            bounds=(0.0, 1.0),
            method="bounded",
            options={"xatol": 1e-10},
        )
        reach = KAPPA / (2 * stiffness)
        assert -found.fun == pytest.approx(2 * stats.norm.cdf(reach) - 1, rel=1e-9)
        assert found.x == pytest.approx(stats.norm.cdf(-reach), abs=1e-5)
    leak = sparsemax_leak(1024, 128.0)
    over = leak / earlier.total_variation_floor(half(1024, leak), 128.0, KAPPA)
    assert over == pytest.approx(bound.interface_floor(1024) / bound.interface_floor(2), rel=0.02)


def test_rate_of_the_recalled_form_is_root_half_log_modes():
    for modes in MODES:
        slope = (1 - earlier.recalled_precision(modes, 1e6, 1.0)) * 1e6
        assert slope == pytest.approx(math.sqrt(math.log(modes) / 2), rel=1e-5)


def test_rate_of_mills_form_is_that_of_the_gaussian_floor_at_many_modes():
    """At e = 2 the precision falls as M grows, and Mills' ratio is within 1/x² of it."""
    for modes in (10**3, 10**9):
        floor = 1 - bound.leak_floor(modes, 0.5, 2.0)
        x = float(stats.norm.isf(1 / modes))
        ratio = earlier.gaussian_precision(modes, 0.5, 2.0) / floor
        assert 1 <= ratio <= (1 + 1 / x**2) * (1 + 3 / x)


def test_rate_the_factor_is_all_that_mills_form_gives_away():
    """−(log Q)′ is at least its argument, so that exp(−e²/2 − ex) alone is a bound too."""
    for modes in MODES[1:]:
        x = float(stats.norm.isf(1 / modes))
        for stiffness in STIFFNESS:
            alone = earlier.gaussian_precision(modes, stiffness, KAPPA) / (1 + 1 / x**2)
            e = KAPPA / (2 * stiffness)
            assert alone == pytest.approx(math.exp(-(e**2) / 2 - e * x), rel=1e-12)
            assert 1 - bound.leak_floor(modes, stiffness, KAPPA) <= alone * (1 + 1e-12)


# Falsification


def test_falsification_the_recalled_form_fails_up_to_eight_modes_and_not_beyond():
    """At Λ = 10³; the floor with Q⁻¹(1/M) in the place of √(2 log M) fails nowhere."""
    for modes in MODES:
        leak = sparsemax_leak(modes, 1e3)
        asked = 1 - earlier.recalled_precision(modes, 1e3, KAPPA)
        assert (asked > leak) == (modes in FAILS)
        assert bound.leak_floor(modes, 1e3, KAPPA) <= leak * (1 + 1e-9)
    excess = [math.sqrt(math.log(m) / 2) - bound.interface_floor(m) for m in range(2, 20)]
    assert [m for m, e in zip(range(2, 20), excess, strict=True) if e > 0] == list(FAILS)


@pytest.mark.parametrize("wrong", [2 * KAPPA, KAPPA**2, 1.05 * KAPPA])
def test_falsification_a_longer_reach_is_refuted_by_two_modes(wrong: float):
    leak = sparsemax_leak(2, 4.0)
    assert earlier.total_variation_floor(half(2, leak), 4.0, wrong) > leak


def test_falsification_without_what_lies_between_the_bound_fails():
    """A target that is the law of T itself: TV = 0, and β = a cannot be dropped."""
    mass, stiffness = half(2, sparsemax_leak(2, 4.0)), 4.0
    gap = earlier.expansion_gap(mass, stiffness, KAPPA)
    assert earlier.total_variation_floor(mass, stiffness, KAPPA) > 0
    assert earlier.total_variation_floor(mass, stiffness, KAPPA, between=gap) == 0


@pytest.mark.parametrize("modes", [64, 1024])
def test_falsification_of_mills_form_with_twice_the_quantile(modes: int):
    """e is half of κ/Λ: all of it in the place of e, exp(−2e² − 2ex), is refuted at Λ = 128."""
    x, e = float(stats.norm.isf(1 / modes)), KAPPA / 256
    assert math.exp(-2 * e**2 - 2 * e * x) < 1 - sparsemax_leak(modes, 128.0)


test_refusals = refusals(
    {
        "a mass lies in [0, 1], got 1.5": lambda: earlier.expansion_gap(1.5, 1.0, 1.0),
        "stiffness must be a positive finite number": lambda: earlier.expansion_gap(0.5, 0.0, 1.0),
        "distance must be a positive finite number": lambda: earlier.expansion_gap(
            0.5, 1.0, math.inf
        ),
        "between modes lies in [0, 1], got -0.1": lambda: earlier.total_variation_floor(
            0.5, 1.0, 1.0, -0.1
        ),
        "modes must be an integer ≥ 3, got 2": lambda: earlier.gaussian_precision(2, 1.0, 1.0),
        "modes must be an integer ≥ 2, got 1": lambda: earlier.recalled_precision(1, 1.0, 1.0),
    }
)
