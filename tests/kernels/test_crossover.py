"""Two modes by quadrature against bivariate normals, series and draws; places found again."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from tests.refusals import refusals
from theory import crossover
from theory.gaussian import pdf, tail


def bivariate(half_distance: float, width: float, scale: float) -> float:
    """P(z < 0 < x) + P(z > 0 > x) of one mode at −d, whose other is its mirror image."""
    square = width**2
    covariance = [[square, square], [square, square + scale**2]]
    both = stats.multivariate_normal([half_distance] * 2, covariance).cdf([0, 0])
    beyond = tail(half_distance / width) + tail(half_distance / math.hypot(width, scale))
    return float(beyond - 2 * both)


@pytest.mark.parametrize(
    "lengths",
    [(1.0, 1.0, 0.5), (0.6, 0.3, 0.05), (0.6, 0.3, 0.8), (0.1, 2.0, 3.0), (1.0, 0.5, 9.0)],
)
def test_equal_modes_are_a_bivariate_normal(lengths: tuple[float, float, float]):
    found = crossover.two_modes(*lengths)
    assert found.raw == pytest.approx(bivariate(*lengths), rel=1e-9, abs=1e-14)
    assert found.mean == pytest.approx(found.raw, rel=1e-12)
    assert found.area == pytest.approx(pdf(lengths[0] / lengths[1]) / lengths[1], rel=1e-14)


@pytest.mark.parametrize(("mass", "scale"), [(0.8, 0.6), (0.3, 0.2), (0.999, 1.5)])
def test_unequal_modes_against_draws(mass: float, scale: float):
    rng, count, width = np.random.default_rng(0), 1_000_000, 0.5
    sign = np.where(rng.random(count) < mass, -1.0, 1.0)
    z = sign + width * rng.normal(size=count)
    x = z + scale * rng.normal(size=count)
    variance = width**2 + scale**2
    pull = np.tanh(x / variance - math.log(mass / (1 - mass)) / 2)
    mean = (scale**2 * pull + width**2 * x) / variance
    exact = crossover.two_modes(1.0, width, scale, mass)
    for seen, rate in ((x, exact.raw), (mean, exact.mean)):
        flips = int(np.sum((seen > 0) != (z > 0)))
        assert stats.binomtest(flips, count, rate).pvalue > 1e-9
        assert stats.binomtest(flips, count, 1.1 * rate).pvalue < 1e-9


def test_heavier_modes_flip_less_denoised():
    """To first order both flip alike; then the posterior mean takes the heavier side."""
    found = crossover.two_modes(1.0, 0.5, 1.0, 0.9)
    assert found.mean < 0.8 * found.raw
    near = crossover.two_modes(1.0, 0.5, 0.001, 0.9)
    assert near.mean == pytest.approx(near.raw, rel=1e-5)
    assert near.ratios(0.001)[0] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("lengths", [(1.0, 0.3, 0.03), (2.0, 1.0, 0.7)])
def test_the_ratio_is_its_integral(lengths: tuple[float, float, float]):
    half_distance, width, scale = lengths
    first, second = scale * half_distance / width**2, scale / width

    def near(u: float) -> float:
        return math.cosh(first * u) * math.exp(-((second * u) ** 2) / 2) * float(tail(u))

    exact = math.sqrt(2 * math.pi) * integrate.quad(near, 0, 30, epsabs=0, epsrel=1e-12)[0]
    assert crossover.two_modes(*lengths).ratios(scale)[0] == pytest.approx(exact, rel=1e-10)


def test_departure_is_its_series():
    for strain in (0.0, 1e-5, 1e-3, 0.1, 1.0, 3.0):
        terms = np.cumprod([1.0] + [strain**2 / (2 * k + 1) for k in range(1, 80)])
        assert crossover.departure(strain) == pytest.approx(math.fsum(terms), rel=1e-13)
    assert crossover.departure(40.0) == math.inf


def test_strain_is_that_of_small_noise():
    assert crossover.strain(2.0, 0.5, 1e-6) == pytest.approx(2e-6 / 0.25, rel=1e-10)
    assert crossover.strain(2.0, 0.5, 1e9) == pytest.approx(4.0, rel=1e-10)


def test_pairs_of_two_modes_are_the_two_modes():
    halves = np.array([[np.nan, 1.0], [1.0, np.nan]])
    flips, area, half = crossover.pair_sum(halves, 0.4, 0.3, np.array([0.5, 0.5]))
    found = crossover.two_modes(1.0, 0.4, 0.3)
    assert (flips, area, half) == (
        pytest.approx(found.raw, rel=1e-12),
        pytest.approx(found.area, rel=1e-12),
        pytest.approx(1.0, rel=1e-12),
    )


def test_pairs_add_up_in_bounded_memory():
    """All 1225 distances different: more than are held at once."""
    places = np.sort(np.random.default_rng(1).uniform(0.5, 2, size=1225))
    halves = np.zeros((50, 50))
    halves[np.triu_indices(50, 1)] = places
    halves += halves.T
    flips, area, half = crossover.pair_sum(halves, 0.5, 0.2, np.full(50, 1 / 50))
    each = [crossover.two_modes(d, 0.5, 0.2) for d in places[::200].tolist()]
    assert flips == pytest.approx(2 / 50 * np.sum([_rate(d) for d in places]), rel=1e-9)
    assert area == pytest.approx(2 / 50 * np.sum(pdf(places / 0.5) / 0.5), rel=1e-12)
    assert places[0] < half < places[-1]
    assert each[0].raw == pytest.approx(_rate(places[0]), rel=1e-9)


def _rate(half_distance: float) -> float:
    return bivariate(half_distance, 0.5, 0.2)


def test_where_the_ratio_reaches_a_level():
    scale = crossover.departs_at(1.5, 1.0, 0.3)
    assert crossover.two_modes(1.0, 0.3, scale).ratios(scale)[0] == pytest.approx(1.5, rel=1e-9)
    assert crossover.departure(crossover.strain(1.0, 0.3, scale)) == pytest.approx(1.5, rel=0.05)


def test_the_reported_place_has_what_it_is_asked_for():
    """f(0+) = 0.064, so A_W = 0.032 at s = 1, and 2.3 times the law."""
    width, scale = crossover.locate(0.032, 2.3)
    found = crossover.two_modes(1.0, width, scale)
    assert scale * found.area == pytest.approx(0.032, rel=1e-9)
    assert found.ratios(scale)[0] == pytest.approx(2.3, rel=1e-6)
    assert (width, scale) == (pytest.approx(0.438, abs=1e-3), pytest.approx(0.478, abs=1e-3))


BAD = {
    "strain must be finite and ≥ 0, got -1": lambda: crossover.departure(-1),
    "strain must be finite and ≥ 0, got nan": lambda: crossover.departure(math.nan),
    "width must be a positive finite number, got 0": lambda: crossover.two_modes(1.0, 0, 0.1),
    "mass must lie in (0, 1), got 1": lambda: crossover.two_modes(1.0, 1.0, 0.1, 1),
    "scale must be a positive finite number": lambda: crossover.strain(1.0, 1.0, math.inf),
    "expected M × M distances": lambda: crossover.pair_sum(np.ones((2, 3)), 1.0, 1.0, np.ones(2)),
    "half distances must be positive": lambda: crossover.pair_sum(
        np.zeros((2, 2)), 1.0, 1.0, np.ones(2)
    ),
    "not 5": lambda: crossover.departs_at(5, 1.0, 1.0),
    "have s·A_W = 0.5": lambda: crossover.locate(0.5, 2.3),
}


test_bad_input_is_one_clear_line = refusals(BAD)
