"""Measured flips against exact rates and against each other; limits of known curves."""

import math

import jax
import numpy as np
import pytest
from scipy import optimize

from tests.significance import check_mean, check_proportion, check_rejects
from theory import flip_law
from theory.estimate import Estimate
from theory.extrapolation import extrapolated, leading_coefficient
from theory.flips import paired_flips
from theory.latent_area import latent_facets
from theory.line_flips import LineFlips, circle_flips, in_its_span, line_flips
from theory.mixture import Mixture
from theory.partition import PowerDiagram, half_space, orthants, simplicial_cluster

FAILURE = 1e-10
SCALES = np.array([0.05, 0.4])
RATE = math.sqrt(2 / math.pi)
TWO = Mixture(np.array([[-1.0], [0.8]]), np.array([0.7, 0.5]), np.array([0.4, 0.6]))


def fresh(number: int = 0) -> jax.Array:
    """A key of this file; made anew, since no key may be used twice."""
    return jax.random.fold_in(jax.random.key(17), number)


def standard(dimension: int, width: float = 1.0) -> Mixture:
    return Mixture(np.zeros((1, dimension)), width)


def difference(a: Estimate, b: Estimate) -> Estimate:
    """a − b of independent estimates; the fewer units decide the quantile."""
    sem = np.hypot(np.asarray(a.sem), np.asarray(b.sem))
    return Estimate(np.asarray(a.value) - np.asarray(b.value), sem, 0.0, min(a.count, b.count))


@pytest.fixture(scope="module")
def uneven() -> tuple[Mixture, PowerDiagram]:
    """Three modes of uneven widths in R^3 under five cells of uneven offsets."""
    rng = np.random.default_rng(3)
    law = Mixture(rng.normal(size=(3, 3)), np.array([0.5, 0.8, 1.1]), [0.5, 0.3, 0.2])
    return law, PowerDiagram(rng.normal(size=(5, 3)), 0.4 * rng.normal(size=5))


@pytest.fixture(scope="module")
def along_lines(uneven) -> LineFlips:
    return line_flips(fresh(1), *uneven, SCALES, lines=1 << 9, replicates=40)


# Exact rates


@pytest.mark.parametrize("width", [1.0, 0.5])
def test_lines_know_the_half_space(width: float):
    found = line_flips(
        fresh(2), standard(1, width), half_space(1, 0.7), SCALES, lines=256, replicates=40
    )
    exact = [flip_law.half_space_flips(s, 0.7, width) for s in SCALES.tolist()]
    for got, name in zip(found.rates()[:2], ("raw", "mean"), strict=True):
        wanted = np.array([getattr(e, name) for e in exact])
        check_mean(got, wanted, FAILURE, resolution=0.01)
        check_rejects(check_mean, got, 1.02 * wanted, FAILURE)


def test_lines_know_a_mixture_on_the_line():
    found = line_flips(fresh(3), TWO, half_space(1, 0.2), SCALES, lines=512, replicates=40)
    exact = np.array([flip_law.mixture_half_space_flips(TWO, s, 0.2) for s in SCALES.tolist()])
    raw, mean, apart = found.rates()
    check_mean(raw, exact[:, 0], FAILURE, resolution=0.01)
    check_mean(mean, exact[:, 1], FAILURE, resolution=0.01)
    check_mean(apart, exact[:, 1] - exact[:, 0], FAILURE, resolution=0.3)
    check_rejects(check_mean, mean, exact[:, 0], FAILURE)


@pytest.mark.parametrize("modes", [8])
def test_circles_and_lines_know_the_simplicial_readout(modes: int):
    diagram, law = simplicial_cluster(modes), standard(modes - 1)
    exact = np.array([flip_law.simplicial_flips(modes, s) for s in SCALES.tolist()])
    circles = circle_flips(fresh(4), diagram, SCALES, lines=1 << 9, replicates=40).rates()[0]
    lines = line_flips(fresh(5), law, diagram, SCALES, lines=1 << 9, replicates=40).rates()
    check_mean(circles, exact, FAILURE, resolution=0.04)
    for got in lines[:2]:
        check_mean(got, exact, FAILURE, resolution=0.06)
    for got in (circles, lines[0]):
        check_rejects(check_mean, got, 1.1 * exact, FAILURE)


def test_circles_know_quadrants_and_their_second_order():
    places = np.array([0.2, 0.4, 0.6])
    found = circle_flips(fresh(6), orthants(2), np.tan(places), lines=1 << 9, replicates=40)
    exact = np.array([flip_law.orthant_flips(2, s) for s in np.tan(places).tolist()])
    check_mean(found.rates()[0], exact, FAILURE, resolution=0.04)
    second = leading_coefficient(places, found.raw_missed, 2, 1)
    check_mean(second, flip_law.orthant_second_order(2), FAILURE, resolution=0.3)
    np.testing.assert_array_equal(found.raw, found.mean)
    np.testing.assert_allclose(
        found.excess()[0] + RATE * found.scales * found.area[:, None], found.raw, rtol=1e-12
    )


def test_arcs_leave_room_for_the_largest_of_unlike_noises():
    """Crossings up to ω beyond an arc are looked for, at every noise: none is beyond the cuts."""
    scales = np.array([0.01, 2.0])
    found = circle_flips(fresh(18), orthants(2), scales, lines=1 << 9, replicates=40).rates()[0]
    exact = np.array([flip_law.orthant_flips(2, s) for s in scales.tolist()])
    check_mean(found, exact, FAILURE, resolution=0.08)


# Routes against each other


def test_lines_and_counts_agree(uneven, along_lines: LineFlips):
    law, diagram = uneven
    raw, mean, apart = along_lines.rates()
    counted = paired_flips(fresh(7), law, diagram, 0.4, samples=200_000)
    for got, other in ((raw, counted.raw), (mean, counted.mean), (apart, counted.difference)):
        one = Estimate(got.value[1], got.sem[1], 0.0, got.count)
        check_mean(difference(one, other), 0.0, FAILURE)
    assert counted.raw.sem < 0.02 * counted.raw.value
    check_proportion(counted.raw, float(raw.value[1]), FAILURE, resolution=0.05)
    assert counted.difference.value == pytest.approx(counted.mean.value - counted.raw.value)
    assert counted.difference.sem < 0.5 * math.hypot(counted.raw.sem, counted.mean.sem)


@pytest.mark.slow
def test_flips_between_cells_are_their_facets():
    """Σ over pairs is the rate; each is √(2/π)·s·∫_{F_ij} p up to second order, 10% here."""
    law, diagram = standard(3), orthants(3)
    s = 0.05
    counted = paired_flips(fresh(11), law, diagram, s, samples=200_000)
    assert counted.facets.value.sum() == pytest.approx(counted.raw.value)
    areas = latent_facets(fresh(12), law, diagram, lines=1 << 14)
    law_rate = RATE * s * np.asarray(areas.value)
    apart = Estimate(
        counted.facets.value - law_rate,
        np.hypot(counted.facets.sem, RATE * s * areas.sem),
        0.1 * law_rate,
        200_000,
    )
    seen = law_rate * 200_000 > 500
    assert seen.sum() == 12
    chosen = Estimate(apart.value[seen], apart.sem[seen], apart.bias[seen], 200_000)
    check_mean(chosen, 0.0, FAILURE)
    shuffled = Estimate(chosen.value + 0.5 * law_rate[seen], chosen.sem, chosen.bias, 200_000)
    check_rejects(check_mean, shuffled, 0.0, FAILURE)


def test_the_span_keeps_distances():
    """Sites askew in R^40: 3 dimensions hold them; classes that are never chosen are left out."""
    frame = np.linalg.qr(np.random.default_rng(4).normal(size=(40, 2)))[0]
    sites = np.array([[1.0, 0.0], [-0.5, 1.0], [-0.5, -1.0], [1.0, 0.0]]) @ frame.T
    diagram = PowerDiagram(sites, [0.1, 0.0, 0.2, -1.0])
    means = np.zeros((2, 40))
    means[1, 5] = 1.0
    law = Mixture(means, 0.8)
    inner, small = in_its_span(law, diagram)
    assert (small.modes, small.dimension, inner.dimension) == (3, 3, 3)
    apart, inside = sites[:3] - sites[0], np.asarray(small.sites) - np.asarray(small.sites)[0]
    np.testing.assert_allclose(inside @ inside.T, apart @ apart.T, atol=1e-12)
    lengths = np.linalg.norm(np.diff(np.asarray(inner.means), axis=0), axis=1)
    np.testing.assert_allclose(lengths, 1.0, atol=1e-12)
    scores, wanted = small.scores(inner.means), diagram.scores(law.means)[:, :3]
    np.testing.assert_allclose(np.diff(scores), np.diff(wanted), atol=1e-12)
    uneven = Mixture(means, np.array([0.8, 0.5]))
    assert in_its_span(uneven, diagram)[0].dimension == 40  # the posterior sees all of it


# Limits


def test_limits_of_known_curves():
    s = np.array([0.005, 0.01, 0.02, 0.04, 0.08])
    noise = 1 + 1e-3 * np.random.default_rng(5).normal(size=(40, 1))
    for order in (1.0, 2.0):
        found = extrapolated(s, (1.3 - 0.4 * s**order) * noise)
        check_mean(found.offset, 1.3, FAILURE, resolution=0.002)
        check_mean(found.slope, -0.4, FAILURE, resolution=0.02)
        check_mean(found.exponent, order, FAILURE, resolution=0.01)
    mixed = extrapolated(s, (1 - 0.4 * s - 0.3 * s**2) * np.ones((2, 1)))
    assert abs(mixed.offset.value - 1) <= mixed.offset.bias < 1e-3
    assert abs(mixed.exponent.value - 1) <= mixed.exponent.bias


def test_a_change_that_noise_hides_is_allowed_for():
    """Six of its standard errors on the last scale: it may be so at 1e-9, and nothing changes."""
    s, last = np.array([0.005, 0.01, 0.02, 0.04, 0.08]), np.eye(5)[4]
    curve, noise = 1 - 0.4 * s - 0.3 * s**2, np.random.default_rng(8).normal(size=(32, 1))
    noise = (noise - noise.mean()) / (noise.std(ddof=1) / np.sqrt(32))

    def found(shift: float, noise: np.ndarray) -> Estimate:
        return extrapolated(s, curve + shift * last * (1 + noise)).exponent

    search = optimize.minimize_scalar(
        lambda shift: found(shift, np.zeros((2, 1))).bias, bounds=(4e-4, 6e-4), method="bounded"
    )
    hidden = found(search.x, noise / 6)
    assert hidden.bias < 1e-3 < abs(hidden.value - 1)
    low, high = hidden.interval(1e-9)
    assert low <= 1 <= high


def test_stated_bias_covers_exact_ratios():
    s = np.array([0.005, 0.01, 0.02, 0.04, 0.08])
    for modes in (3,):
        area = flip_law.equidistant_interface(standard(modes - 1), simplicial_cluster(modes)).area
        exact = np.array([flip_law.simplicial_flips(modes, x) for x in s.tolist()])
        found = extrapolated(s, np.tile(exact / (RATE * s * area), (2, 1)))
        assert abs(found.offset.value - 1) <= found.offset.bias < 5e-4


def test_leading_coefficients_of_polynomials():
    s, rng = np.array([0.1, 0.2, 0.3, 0.4]), np.random.default_rng(6)
    rows = s**2 * (-0.5 + 0.3 * s + 0.2 * s**2) + 1e-5 * rng.normal(size=(40, 4))
    check_mean(leading_coefficient(s, rows, 2, 1), -0.5, FAILURE, resolution=0.2)
    exact = leading_coefficient(s, np.tile(s**3 * (0.7 - s**2), (2, 1)), 3, 2)
    assert exact.value == pytest.approx(0.7, abs=1e-12)
    assert exact.bias < 1e-12
    assert exact.sem < 1e-12


# Refusals

GOOD = {"scales": [0.1], "lines": 64, "replicates": 2}
BAD = {
    "scales must be positive and finite, of shape (S,), got [0.0]": {"scales": [0.0]},
    "lines must be a power of two, got 48": {"lines": 48},
    "lines must be an integer ≥ 16, got 8": {"lines": 8},
    "replicates must be an integer ≥ 2, got 1": {"replicates": 1},
}


@pytest.mark.parametrize("said", BAD)
def test_lines_refuse_bad_input(said: str):
    options = GOOD | BAD[said]
    scales = options.pop("scales")
    for call in (
        lambda: line_flips(fresh(), standard(2), orthants(2), scales, **options),
        lambda: circle_flips(fresh(), orthants(2), scales, **options),
    ):
        with pytest.raises(ValueError) as error:  # noqa: PT011
            call()
        assert str(error.value) == said


def test_pairs_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"latents in R\^3, but a readout of R\^2"):
        line_flips(fresh(), standard(3), orthants(2), [0.1], lines=64)
    with pytest.raises(ValueError, match=r"latents in R\^3, but a readout of R\^2"):
        paired_flips(fresh(), standard(3), orthants(2), 0.1, samples=10)
    with pytest.raises(ValueError, match=r"got 2 sites and a least width of 0"):
        line_flips(fresh(), standard(1, 0.0), half_space(1), [0.1], lines=64)
    with pytest.raises(ValueError, match=r"two distinct sites and no atom, got 1 sites"):
        in_its_span(standard(1), PowerDiagram(np.ones((2, 1)), [0.0, 1.0]))
    with pytest.raises(ValueError, match="circles need offsets 0 and s ≤ 2"):
        circle_flips(fresh(), half_space(1, 0.7), [0.1], lines=64)
    with pytest.raises(ValueError, match="circles need offsets 0 and s ≤ 2"):
        circle_flips(fresh(), orthants(2), [2.5], lines=64)
    with pytest.raises(ValueError, match="scale must be a positive finite number"):
        paired_flips(fresh(), standard(2), orthants(2), 0.0, samples=10)
    with pytest.raises(ValueError, match="samples must be an integer ≥ 2"):
        paired_flips(fresh(), standard(2), orthants(2), 0.1, samples=1)


def test_limits_refuse_bad_input():
    with pytest.raises(ValueError, match="expected at least 5 distinct scales"):
        extrapolated([0.1, 0.2], np.ones((2, 2)))
    with pytest.raises(ValueError, match="expected at least 3 distinct scales"):
        leading_coefficient([0.1, 0.1, 0.2], np.ones((2, 3)), 2, 1)
    with pytest.raises(ValueError, match=r"finite values of shape \(R ≥ 2, 3\), got \(1, 3\)"):
        leading_coefficient([0.1, 0.2, 0.3], np.ones((1, 3)), 2, 1)
    bent = np.ones((2, 3))
    bent[0, 0] = math.nan
    with pytest.raises(ValueError, match="finite values"):
        leading_coefficient([0.1, 0.2, 0.3], bent, 2, 1)


def test_the_same_key_gives_the_same_flips():
    one, two = (
        circle_flips(fresh(15), orthants(2), [0.1], lines=64, replicates=2) for _ in range(2)
    )
    other = circle_flips(fresh(16), orthants(2), [0.1], lines=64, replicates=2)
    np.testing.assert_array_equal(one.raw, two.raw)
    assert not np.array_equal(one.raw, other.raw)
