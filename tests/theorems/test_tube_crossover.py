"""Theorem 3 where modes are apart: flips over √(2/π)·s·A_W leave 1 as a function of s·d/τ².

Hypotheses: Z has two modes m·N(−d, τ²) + (1 − m)·N(d, τ²), the facet is at 0, X = Z + sξ.
Conclusion: equal modes flip √(2/π)·s·A_W·R, R → √(π/2)·e^{λ²/2}·erf(λ/√2)/λ as s/τ → 0 at fixed
λ = sd/τ², raw and denoised alike. So the law needs s ≪ τ²/d; s ≪ τ is not enough. Rates down to
1e-9 are measured by weighted draws, and known by quadrature.
"""

import math

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, special

from tests.significance import check_mean, check_rejects
from tests.theorems.keys import root
from theory import bound, crossover
from theory.estimate import Estimate
from theory.mixture import Mixture
from theory.partition import PowerDiagram, half_space
from theory.rare import RareFlips, rare_flips

FAILURE = 1e-10  # a check; this file makes fewer than 60 of them outside the drawn examples
SAMPLES = 60_000


def fresh(number: int = 0) -> jax.Array:
    """A key of this file; made anew, since no key may be used twice."""
    return jax.random.fold_in(root(31), number)


def measured(
    half_distance: float, width: float, scale: float, mass: float = 0.5, key: int = 0
) -> RareFlips:
    law = np.array([mass, 1 - mass])
    modes = Mixture(np.array([[-half_distance], [half_distance]]), width, law)
    return rare_flips(fresh(key), modes, half_space(1), scale, samples=SAMPLES)


def oracle(half_distance: float, width: float, scale: float, mass: float) -> tuple[float, float]:
    """∫ P(X and x*, z and 0 apart | z)p(z)dz by adaptive quadrature, x* = 0 and where μ(x*) = 0."""
    variance = width**2 + scale**2

    def density(z: float) -> float:
        near = np.array([z + half_distance, z - half_distance]) / width
        return float(np.array([mass, 1 - mass]) @ np.exp(-(near**2) / 2)) / width / 2.50662827463

    def mean(x: float) -> float:
        odds = (
            np.log([mass, 1 - mass]) - (x + half_distance * np.array([1, -1])) ** 2 / 2 / variance
        )
        pulled = special.softmax(odds) @ np.array([-half_distance, half_distance])
        return float(scale**2 * pulled + width**2 * x)

    reach = 10 * half_distance * (1 + (scale / width) ** 2)
    turn = optimize.brentq(mean, -reach, reach, xtol=1e-14)
    return tuple(_both_sides(density, edge, half_distance + 9 * width, scale) for edge in (0, turn))


def _both_sides(density, edge: float, reach: float, scale: float) -> float:
    """z > 0 with x below x*, and the mirror image."""
    kinks = {"points": [scale, 3 * scale], "epsabs": 0, "epsrel": 1e-9, "limit": 400}
    sides = [
        integrate.quad(
            lambda t, side=side: density(side * t) * special.ndtr((side * edge - t) / scale),
            0,
            reach,
            **kinks,
        )[0]
        for side in (1.0, -1.0)
    ]
    return math.fsum(sides)


# Equality: exact rates, down to 1e-9


RATES = {1e-3: (1.0, 0.3, 0.1), 1e-6: (1.0, 0.2, 0.08), 1e-9: (1.0, 0.16, 0.05)}


@pytest.mark.parametrize("mass", [0.5, 0.9])
@pytest.mark.parametrize("rate", RATES)
def test_rates_are_those_of_quadrature(rate: float, mass: float):
    found = measured(*RATES[rate], mass, key=round(-math.log10(rate)))
    exact = oracle(*RATES[rate], mass)
    closed = crossover.two_modes(*RATES[rate], mass)
    assert (closed.raw, closed.mean) == pytest.approx(exact, rel=1e-7)
    assert 0.1 < exact[0] / rate < 10
    for rare, value in zip(found, exact, strict=True):
        check_mean(rare.rate, value, FAILURE, resolution=0.06)
        check_rejects(check_mean, rare.rate, 1.1 * value, FAILURE)
        assert rare.largest < 0.01


# Property


@settings(max_examples=15)
@given(
    widths=st.floats(0.15, 1.0),
    noise=st.floats(0.1, 1.5),
    mass=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**31),
)
def test_any_two_modes_flip_as_predicted(widths: float, noise: float, mass: float, seed: int):
    exact = crossover.two_modes(1.0, widths, noise * widths, mass)
    law = np.array([mass, 1 - mass])
    modes = Mixture(np.array([[-1.0], [1.0]]), widths, law)
    found = rare_flips(jax.random.key(seed), modes, half_space(1), noise * widths, samples=20_000)
    for rare, value in zip(found, (exact.raw, exact.mean), strict=True):
        if rare.effective > 1000:  # else the interval is not to be trusted, as it says itself
            check_mean(rare.rate, value, 1e-12)


def test_modes_that_are_apart_flip_pair_by_pair():
    """Three on a line, the outer two of different distances and with no facet between them."""
    places = np.array([[-1.0], [0.0], [1.3]])
    readout = PowerDiagram(places, -(places[:, 0] ** 2) / 2)
    found = rare_flips(fresh(20), Mixture(places, 0.13), readout, 0.04, samples=SAMPLES)
    halves = np.abs(places - places.T) / 2
    flips, _, half = crossover.pair_sum(halves, 0.13, 0.04, np.full(3, 1 / 3))
    check_mean(found.raw.rate, flips, FAILURE, resolution=0.06)
    assert 0.5 < half < 0.52
    check_rejects(check_mean, found.raw.rate, 1.1 * flips, FAILURE)


# Rate: where the ratio leaves 1


@pytest.mark.parametrize("strain", [0.1, 0.5, 1.0])
def test_the_ratio_tends_to_its_scaling_function(strain: float):
    """At fixed sd/τ² the remainder is O((s/τ)²)."""
    shares = np.array([0.2, 0.1, 0.05])
    left = []
    for share in shares.tolist():
        half_distance = strain / share  # with τ = 1
        ratio = crossover.two_modes(half_distance, 1.0, share).ratios(share)[0]
        left.append(crossover.departure(strain) / ratio - 1)
    orders = np.diff(np.log(np.abs(left))) / np.diff(np.log(shares))
    assert orders[-1] == pytest.approx(2, abs=0.05)


def test_the_scaling_function_holds_for_noise_as_wide_as_the_modes():
    """With λ = sd/(τ√(τ² + s²)), once sd/(τ² + s²) is large."""
    for width, within in ((0.1, 0.03), (0.05, 0.01)):
        ratio = crossover.two_modes(1.0, width, width).ratios(width)[0]
        assert ratio / crossover.departure(crossover.strain(1.0, width, width)) == pytest.approx(
            1, abs=within
        )


@pytest.mark.parametrize("strain", [0.1, 1.0, 3.0])
def test_the_measured_ratio_departs_with_it(strain: float):
    width, scale = 0.1 / strain, 0.01 / strain  # s/τ = 0.1 for all, and λ = 0.1·d/τ
    found = measured(0.1, width, scale, key=30 + round(10 * strain))
    area = math.exp(-((0.1 / width) ** 2) / 2) / width / math.sqrt(2 * math.pi)
    law = bound.tube_rate(scale, area)
    expected = crossover.departure(crossover.strain(0.1, width, scale))
    for rare in found:
        ratio = rare.rate.scaled(1 / law)
        biased = Estimate(ratio.value, ratio.sem, 0.01 * expected, ratio.count)
        check_mean(biased, expected, FAILURE, resolution=0.08)


# Falsification


def test_noise_far_below_the_width_is_not_enough():
    """s = τ/8, and yet twice the law: s ≪ τ²/d is what it needs."""
    half_distance, width, scale = 1.2, 0.1, 0.0125
    found = measured(half_distance, width, scale, key=40)
    law = bound.tube_rate(scale, crossover.two_modes(half_distance, width, scale).area)
    check_rejects(check_mean, found.raw.rate, law, FAILURE)
    check_rejects(check_mean, found.raw.rate, 1.3 * law, FAILURE)
    strain = crossover.strain(half_distance, width, scale)
    allowed = Estimate(found.raw.rate.value, found.raw.rate.sem, 0.02 * law, SAMPLES)
    check_mean(allowed, law * crossover.departure(strain), FAILURE)
    check_rejects(check_mean, allowed, law * crossover.departure(1.15 * strain), FAILURE)


def test_raw_noise_is_not_the_posterior_mean_where_masses_differ():
    found = measured(1.0, 0.3, 0.3, 0.9, key=41)
    exact = crossover.two_modes(1.0, 0.3, 0.3, 0.9)
    check_mean(found.mean.rate, exact.mean, FAILURE, resolution=0.06)
    check_rejects(check_mean, found.mean.rate, exact.raw, FAILURE)
