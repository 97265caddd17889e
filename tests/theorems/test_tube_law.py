"""Theorem 3, the tube law: P(y(Z + sξ) ≠ y(Z)) = √(2/π)·s·A_W + o(s), and so for y(E[Z|X]).

Hypotheses: Z ~ p with a continuous density, ξ ~ N(0, I) independent, y a power diagram.
A_W = Σ_{i<j} ∫_{F_ij} p; for p = γ_n it is the Gaussian perimeter. Conclusion: the above, with the
remainder −s² Σ_{(cell, ridge)} g(α)∫p, or O(s³) without ridges; and for every s and every Z,
E Q(δ/s) ≤ P(flip) ≤ E min(1, Σ_j Q(δ_j/s)).
"""

import itertools
import math

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from tests import strategies
from tests.significance import (
    check_at_least,
    check_at_most,
    check_mean,
    check_proportion,
    check_rejects,
    check_slope,
)
from tests.theorems.keys import root
from theory import bound, flip_law, perimeter
from theory.estimate import Estimate, proportion, proportion_interval, stack
from theory.gaussian import normal
from theory.mixture import Mixture
from theory.partition import PowerDiagram, half_space, orthants, simplicial_cluster
from theory.terminal import SCHEDULES, noised, terminal_step, time_of
from theory.tube import flip_rate, interface_area, sandwich


def fresh() -> jax.Array:
    """The key of this file; made anew, since no key may be used twice."""
    return root(3)


FAILURE = 1e-10  # a check; this file makes fewer than 100 of them outside the drawn examples
COUNT = 1_000_000


def gaussian(diagram: PowerDiagram, count: int = COUNT) -> jax.Array:
    return normal(jax.random.fold_in(fresh(), diagram.modes), (count, diagram.dimension), "float64")


def raw_flips(diagram: PowerDiagram, scale: float, count: int = COUNT) -> Estimate:
    key = jax.random.fold_in(fresh(), round(1e6 * scale))
    return flip_rate(key, gaussian(diagram, count), diagram, scale)


def half_space_at(threshold: float, scale: float) -> float:
    """P(one of Z, X beyond its threshold, the other not), a bivariate normal probability."""
    rho = 1 / math.hypot(1, scale)
    both = stats.multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf([threshold, rho * threshold])
    return special.ndtr(threshold) + special.ndtr(rho * threshold) - 2 * both


def quadrants_flip(scale: float) -> float:
    """1 − (1 − a)², a = arctan(s)/π: either coordinate changes sign."""
    a = math.atan(scale) / math.pi
    return 2 * a - a**2


def simplicial_flip(modes: int, scale: float) -> float:
    """1 − M ∬ φ₂(x, y; ρ) Φ₂(x, y; ρ)^{M−1} by quadrature over x and the part of y beside it."""
    rho = 1 / math.hypot(1, scale)
    root = math.sqrt(1 - rho**2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    x, z = np.meshgrid(nodes, nodes)
    y = rho * x + root * z
    law = stats.multivariate_normal([0, 0], [[1, rho], [rho, 1]])
    cdf = np.array([law.cdf(point) for point in zip(x.ravel(), y.ravel(), strict=True)])
    mass = np.outer(weights, weights).ravel() / (2 * math.pi)
    return 1 - modes * float(mass @ cdf ** (modes - 1))


def sectors_flip(sectors: int, scale: float) -> float:
    """k equal sectors of the plane: ∫ g(Δ) min(1, k|Δ|/2π) dΔ over the angle Δ from Z to X.

    g is the law of the angle between planar Gaussians of correlation ρ (Rice): with q = ρ cos Δ,
    g = (1 − ρ²)/(2π(1 − q²))·(1 + q(π − arccos q)/√(1 − q²)).
    """
    rho = 1 / math.hypot(1, scale)

    def density(angle: float) -> float:
        q = rho * math.cos(angle)
        turn = q * (math.pi - math.acos(q)) / math.sqrt(1 - q**2)
        return (1 - rho**2) / (2 * math.pi * (1 - q**2)) * (1 + turn)

    def flipping(angle: float) -> float:
        return 2 * density(angle) * min(1.0, sectors * angle / (2 * math.pi))

    kinks = [0.0, scale, 10 * scale, 2 * math.pi / sectors, math.pi]
    breaks = sorted({min(kink, math.pi) for kink in kinks})
    parts = itertools.pairwise(breaks)
    return math.fsum(integrate.quad(flipping, *ends, epsabs=1e-13)[0] for ends in parts)


# Equality: exact flip rates


@pytest.mark.parametrize(
    ("dimension", "scale"),
    [(2, 2.0), *(pytest.param(4, s, marks=pytest.mark.slow) for s in (0.02, 0.3, 2.0))],
)
def test_half_space_through_the_mean_flips_at_arctan(dimension: int, scale: float):
    diagram = half_space(dimension)
    check_proportion(raw_flips(diagram, scale), bound.half_space_flip(scale), FAILURE, 0.1)


@pytest.mark.parametrize("scale", [pytest.param(0.1, marks=pytest.mark.slow), 0.5])
def test_half_space_off_the_mean(scale: float):
    exact = half_space_at(1.0, scale)
    flips = raw_flips(half_space(2, 1.0), scale)
    check_proportion(flips, exact, FAILURE, 0.05)
    check_rejects(check_proportion, flips, 1.1 * exact, FAILURE)


@pytest.mark.parametrize("scale", [pytest.param(0.1, marks=pytest.mark.slow), 1.0])
def test_quadrants(scale: float):
    check_proportion(raw_flips(orthants(2), scale), quadrants_flip(scale), FAILURE, 0.05)


@pytest.mark.parametrize("modes", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_simplicial_readout(modes: int):
    exact = simplicial_flip(modes, 0.5)
    check_proportion(raw_flips(simplicial_cluster(modes), 0.5), exact, FAILURE, 0.05)


@pytest.mark.parametrize("modes", [3, pytest.param(16, marks=pytest.mark.slow)])
def test_area_from_margins_is_the_gaussian_perimeter(modes: int):
    diagram = simplicial_cluster(modes)
    distance = np.asarray(diagram.nearest_facet(gaussian(diagram, 2_000_000)).distance)
    area = interface_area(distance)
    check_mean(area, perimeter.simplicial(modes), FAILURE, resolution=0.04)
    check_rejects(check_mean, area, 1.05 * perimeter.simplicial(modes), FAILURE)


# Property: the sandwich


@settings(max_examples=20)
@given(data=st.data(), scale=strategies.scales(1.0), seed=st.integers(0, 2**31))
@pytest.mark.parametrize(
    ("modes", "dimension"),
    [(5, 2), *(pytest.param(*shape, marks=pytest.mark.slow) for shape in ((3, 2), (17, 4)))],
)
def test_flips_lie_in_the_sandwich(
    data: st.DataObject, scale: float, seed: int, modes: int, dimension: int
):
    diagram = data.draw(strategies.diagrams(modes, dimension))
    latents = data.draw(strategies.points(64, dimension))
    flips = flip_rate(jax.random.key(seed), latents, diagram, scale, draws=400)
    inside = proportion_interval(flips, 1e-12)
    lower, upper = sandwich(latents, diagram, scale)
    assert lower.value <= upper.value
    assert inside.upper >= lower.value
    assert inside.lower <= upper.value


def test_the_sandwich_closes_on_two_cells():
    latents = np.random.default_rng(0).normal(size=(500, 3))
    lower, upper = sandwich(latents, half_space(3, 0.7), 0.4)
    assert lower.value == pytest.approx(upper.value, rel=1e-12)


@settings(max_examples=6)
@given(data=st.data(), scale=strategies.scales(1.0), seed=st.integers(0, 2**31))
@pytest.mark.parametrize(("modes", "dimension"), [(5, 2)])
def test_flips_of_mixtures_lie_in_the_sandwich(
    data: st.DataObject, scale: float, seed: int, modes: int, dimension: int
):
    """Three modes of any width under any readout; the sides are of the latents drawn."""
    means, spread = data.draw(strategies.points(3, dimension)), data.draw(strategies.scales(1.0))
    law = Mixture(means, spread, data.draw(strategies.masses(3)))
    diagram = data.draw(strategies.diagrams(modes, dimension))
    latents = law.sample(jax.random.key(seed), 64)[0]
    flips = flip_rate(jax.random.key(seed + 1), latents, diagram, scale, draws=150)
    inside = proportion_interval(flips, 1e-12)
    lower, upper = sandwich(latents, diagram, scale)
    assert inside.upper >= lower.value
    assert inside.lower <= upper.value


# Rate: first order, and the order and coefficient of what follows


@pytest.mark.slow
def test_flips_are_linear_in_small_noise():
    diagram = simplicial_cluster(4)
    noise = np.array([0.005, 0.01, 0.02, 0.04])
    found = [raw_flips(diagram, s, 4_000_000) for s in noise.tolist()]
    stacked = stack(found)
    check_slope(noise, stacked, 1.0, FAILURE, resolution=0.05)
    check_rejects(check_slope, noise, stacked, 1.1, FAILURE)


@pytest.mark.parametrize(
    ("sectors", "area"), [(3, perimeter.simplicial(3)), (4, perimeter.orthants(2))]
)
def test_a_ridge_takes_its_coefficient_off_at_second_order(sectors: int, area: float):
    """k equal sectors meet in one ridge, the point 0, of Gaussian measure φ_2(0) = 1/(2π)."""
    ridge = sectors * bound.ridge_coefficient(2 * math.pi / sectors) / (2 * math.pi)

    def remainder(s: float) -> float:
        return (bound.tube_rate(s, area) - sectors_flip(sectors, s)) / s**2

    extrapolated = 2 * remainder(0.01) - remainder(0.02)
    assert extrapolated == pytest.approx(ridge, rel=1e-3)
    assert extrapolated != pytest.approx(1.05 * ridge, rel=1e-2)


def test_without_ridges_the_remainder_is_of_third_order():
    """Its coefficient is −√(2/π)·∂²_ν p/3 = −√(2/π)(c² − 1)φ(c)/3 for raw noise (θ = 0)."""
    scales = np.array([0.2, 0.1, 0.05])
    area = perimeter.half_space(2.0)
    left = [bound.tube_rate(s, area) - half_space_at(2.0, s) for s in scales.tolist()]
    orders = np.diff(np.log(np.abs(left))) / np.diff(np.log(scales))
    assert orders[-1] == pytest.approx(3.0, abs=0.05)
    coefficient = -math.sqrt(2 / math.pi) * (2.0**2 - 1) * area / 3
    assert left[-1] / scales[-1] ** 3 == pytest.approx(coefficient, rel=0.02)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name)
def test_a_terminal_step_flips_as_the_posterior_mean(schedule):
    """Half-space at c = 1, s = ½, by z_t = α_t z + σ_t ε under either schedule."""
    law, diagram, time = Mixture(np.zeros((1, 2)), 1.0), half_space(2, 1.0), time_of(schedule, 0.5)
    latents = gaussian(diagram)
    noisy = noised(jax.random.fold_in(fresh(), 99), latents, schedule, time)
    seen = diagram.label(terminal_step(law, noisy, schedule, time))
    flips = proportion(int((seen != diagram.label(latents)).sum()), COUNT)
    exact = flip_law.half_space_flips(0.5, 1.0)
    check_proportion(flips, exact.mean, FAILURE, resolution=0.05)
    check_rejects(check_proportion, flips, exact.raw, FAILURE)


# Falsification


@pytest.mark.parametrize(
    ("diagram", "area", "s", "count"),
    [
        pytest.param(orthants(2), perimeter.orthants(2), 0.02, 2_000_000, id="quadrants"),
        pytest.param(
            *(simplicial_cluster(8), perimeter.simplicial(8), 0.01, 4_000_000),
            marks=pytest.mark.slow,
            id="simplicial",
        ),
    ],
)
def test_a_law_without_its_constant_is_refuted(
    diagram: PowerDiagram, area: float, s: float, count: int
):
    flips = raw_flips(diagram, s, count)
    check_proportion(flips, bound.tube_rate(s, area), FAILURE, 0.05)
    check_rejects(check_proportion, flips, s * area, FAILURE)
    check_rejects(check_proportion, flips, bound.tube_rate(s, 1.05 * area), FAILURE)


def test_the_posterior_mean_can_flip_less_than_the_lower_side():
    """N(0, I), half-space at c = 1, s = ½: 0.0861 against 0.0959, so only raw noise is bounded."""
    diagram, s = half_space(2, 1.0), 0.5
    latents = gaussian(diagram)
    lower, _ = sandwich(latents, diagram, s)
    raw = flip_rate(fresh(), latents, diagram, s)
    mean = flip_rate(fresh(), latents, diagram, s, denoiser=lambda x: x / (1 + s**2))
    check_at_least(raw, float(lower.value), FAILURE)
    check_rejects(check_at_least, mean, float(lower.value), FAILURE)
    check_at_most(mean, 0.0862, FAILURE)


@pytest.mark.slow
def test_the_upper_side_needs_every_class():
    """With the nearest facet alone, E min(1, Q(δ/s)) is no upper side once there are ridges."""
    diagram = simplicial_cluster(8)
    latents = gaussian(diagram, 100_000)
    lower, upper = sandwich(latents, diagram, 1.0)
    flips = flip_rate(fresh(), latents, diagram, 1.0)
    check_at_most(flips, float(upper.value), FAILURE)
    check_rejects(check_at_most, flips, float(lower.value), FAILURE)


def test_the_oracles_agree_with_each_other():
    assert half_space_at(1.0, 0.7) == pytest.approx(
        flip_law.half_space_flips(0.7, 1.0).raw, rel=1e-9
    )
    assert sectors_flip(3, 0.5) == pytest.approx(flip_law.simplicial_flips(3, 0.5), rel=1e-9)
    assert half_space_at(0.0, 0.7) == pytest.approx(bound.half_space_flip(0.7), rel=1e-9)
    assert sectors_flip(2, 0.7) == pytest.approx(bound.half_space_flip(0.7), rel=1e-9)
    assert sectors_flip(4, 0.7) == pytest.approx(quadrants_flip(0.7), rel=1e-9)
    assert simplicial_flip(3, 0.5) == pytest.approx(sectors_flip(3, 0.5), rel=0.01)
