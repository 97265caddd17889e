"""Flips and leaks beside the facets that lines find, against exact rates and plain samples."""

import functools
import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from tests.refusals import refusals
from tests.significance import check_mean, check_proportion, check_rejects
from theory import bound, bridge_identity, flip_law, perimeter
from theory.barrier_map import BarrierMap
from theory.contraction import BATCH, Contraction, contraction, flips_along, limit, ratios
from theory.estimate import Estimate, from_samples, proportion
from theory.line import Cut
from theory.partition import PowerDiagram, half_space, intervals, orthants, simplicial_cluster
from theory.strip import strays
from theory.transport import SignedDistanceMap, sparsemax_leak
from theory.tube import flip_rate

FAILURE = 1e-10
SCALES = (0.1, 0.2, 0.4)
TRIANGLE = np.array([[-0.95, 0], [0, math.sqrt(1 - 0.95**2)], [0.95, 0]])  # sides 1, 1, 1.9


images = eqx.filter_jit(lambda transport, x: jax.vmap(transport)(x))


def fresh(number: int) -> jax.Array:
    return jax.random.fold_in(jax.random.key(170), number)


def sharp(diagram: PowerDiagram, lines: int, key: int = 0, scales=SCALES) -> Contraction:
    """By the map of signed distances onto the vertices of the simplex."""
    transport = functools.partial(SignedDistanceMap, diagram)
    return contraction(fresh(key), diagram, transport, np.eye(diagram.modes), scales, lines=lines)


# Rates


def check_rates(found: Contraction, flips, leaks, resolution: float) -> None:
    """Both rates at every scale; a leak 3% off is told."""
    for scale, flip, leak in zip(found.scales.tolist(), found.flips, found.leaks, strict=True):
        check_mean(from_samples(flip), flips(scale) / scale, FAILURE, resolution)
        check_mean(from_samples(leak), leaks(scale) / scale, FAILURE, resolution)
        ratio = from_samples(leak - leaks(scale) / flips(scale) * flip)
        check_mean(ratio, 0.0, FAILURE)
        bent = from_samples(leak - 1.03 * leaks(scale) / flips(scale) * flip)
        check_rejects(check_mean, bent, 0.0, FAILURE)


@pytest.mark.parametrize("dimension", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_orthants_at_every_scale(dimension: int):
    """Each of n coordinates flips at arctan(s)/π and leaks within t/√2 of 0."""
    check_rates(
        sharp(orthants(dimension), 8 * BATCH),
        lambda s: 1 - (1 - math.atan(s) / math.pi) ** dimension,
        lambda t: 1 - math.erfc(t / 2) ** dimension,
        0.05,
    )


def intervals_flip(scale: float) -> float:
    """1 − Σ_i P(both Z and X in interval i), by quadrature over Z."""
    cuts = np.concatenate([[-12], special.ndtri(np.arange(1, 5) / 5), [12]])
    nodes, weights = np.polynomial.legendre.leggauss(120)
    stays = 0.0
    for low, high in itertools.pairwise(cuts):
        z = (low + high) / 2 + (high - low) / 2 * nodes
        inside = special.ndtr((high - z) / scale) - special.ndtr((low - z) / scale)
        density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        stays += float((high - low) / 2 * np.sum(weights * density * inside))
    return 1 - stays


def intervals_leak(scale: float) -> float:
    cuts = special.ndtri(np.arange(1, 5) / 5)
    low, high = cuts - scale / math.sqrt(2), cuts + scale / math.sqrt(2)
    low = np.maximum(low, np.concatenate([[-np.inf], high[:-1]]))
    return float(np.sum(special.ndtr(high) - special.ndtr(low)))


def test_intervals_at_every_scale():
    """On the line the crossings are exact, and strips overlap from t = 0.37 on."""
    check_rates(sharp(intervals(5), 4 * BATCH), intervals_flip, intervals_leak, 0.02)


@pytest.mark.slow
def test_leaks_of_the_simplicial_cluster_are_those_of_sparsemax():
    found = sharp(simplicial_cluster(4), 4 * BATCH)
    for scale, leak in zip(SCALES, found.leaks, strict=True):
        check_mean(from_samples(leak), sparsemax_leak(4, 1 / scale) / scale, FAILURE, 0.05)
    check_mean(from_samples(found.perimeter), perimeter.simplicial(4), FAILURE, 0.05)


@pytest.mark.slow
def test_plain_samples_say_the_same_of_unequal_cells():
    drawn = np.random.default_rng(1).normal(size=(9, 3))
    diagram = PowerDiagram(drawn[:, :2], drawn[:, 2] / 2)
    found, x = sharp(diagram, 4 * BATCH, 1), np.random.default_rng(2).normal(size=(200_000, 2))
    plain = flip_rate(fresh(2), x, diagram, 0.2)
    check_proportion(plain, float(found.flips[1].mean()) * 0.2, 1e-6, 0.05)
    distance = np.asarray(diagram.nearest_facet(x).distance)
    tube = proportion(int((distance < 0.2 / math.sqrt(2)).sum()), len(x))
    check_proportion(tube, float(found.leaks[1].mean()) * 0.2, 1e-6, 0.05)


def test_blocks_are_independent_and_their_mean_has_the_spread_it_says():
    found = [sharp(orthants(2), BATCH, 100 + k, (0.2,)) for k in range(24)]
    for rates in ([c.flips[0] for c in found], [c.leaks[0] for c in found]):
        means = [r.mean() for r in rates]
        said = np.mean([from_samples(r).sem for r in rates])
        assert 0.6 < np.std(means, ddof=1) / said < 1.6
    assert found[0].perimeter.shape == (256,)


def test_a_half_space_that_no_line_meets_has_no_rates():
    found = sharp(half_space(2, 40.0), BATCH, 3, (0.1,))
    assert (found.perimeter == 0).all()
    assert (found.flips == 0).all()
    assert (found.leaks == 0).all()


def test_flips_along_a_line_count_every_crossing_between():
    """Cuts at 0 and 0.5, r = 1: Z in (−1, 0.5) flips forwards, in (0, 1.5) backwards."""
    sides = np.array([0, 1]), np.array([1, 2])
    cut = Cut(np.zeros(2, int), np.array([0.0, 0.5]), *sides, np.array([2]), *np.ones((2, 1, 1)))
    got = flips_along(cut, np.array([[1.0]]))
    forwards = special.ndtr(0.5) - special.ndtr(-1)
    backwards = special.ndtr(1.5) - special.ndtr(0)
    assert got == pytest.approx([(forwards + backwards) / 2], rel=1e-14)


# Strips


def test_strays_are_counted_where_the_strip_is_taken_too_narrow(monkeypatch):
    diagram = orthants(2)
    transport = functools.partial(SignedDistanceMap, diagram)
    assert strays(fresh(4), diagram, transport, np.eye(4), 0.1, samples=50_000) == 0
    monkeypatch.setattr("theory.strip.REACH", 0.45)  # the leak is within ½
    assert strays(fresh(5), diagram, transport, np.eye(4), 0.1, samples=50_000) > 0


# Unequal barriers


def slabs() -> PowerDiagram:
    return PowerDiagram(np.arange(3.0)[:, None] * np.eye(2)[0], np.asarray(intervals(3).offsets))


@pytest.mark.parametrize("name", ["slabs", "tripod"])
def test_strips_are_as_wide_as_the_barriers(name: str):
    """Points across the middle of a facet leave one mode and reach the other after κ_ij/Λ."""
    diagram = slabs() if name == "slabs" else simplicial_cluster(3)
    pairs = [(0, 1), (1, 2)] if name == "slabs" else [(0, 1), (1, 2), (0, 2)]
    transport, sites = BarrierMap(diagram, TRIANGLE, 50.0), np.asarray(diagram.sites)
    for i, j in pairs:
        across = sites[j] - sites[i]
        across /= np.linalg.norm(across)
        third = sites[3 - i - j]
        foot = -2 * (third - np.dot(third, across) * across)  # on the hyperplane, far from it
        offset = (float(diagram.offsets[i]) - float(diagram.offsets[j])) / np.linalg.norm(
            sites[j] - sites[i]
        )
        foot = (foot if name == "tripod" else np.zeros(2)) + offset * across
        h = np.linspace(-0.04, 0.04, 4001)
        image = np.asarray(images(transport, jnp.asarray(foot + h[:, None] * across)))
        off = np.linalg.norm(image[:, None] - TRIANGLE, axis=2).min(axis=1) > 1e-9
        barrier = np.linalg.norm(TRIANGLE[i] - TRIANGLE[j])
        assert np.ptp(h[off]) == pytest.approx(barrier / 50, abs=5e-5)
        slope = np.linalg.norm(np.diff(image[off], axis=0), axis=1) / np.diff(h)[0]
        np.testing.assert_allclose(slope, 50, rtol=1e-6)


def test_equal_barriers_give_the_leak_of_signed_distances():
    diagram, x = simplicial_cluster(3), np.random.default_rng(3).normal(size=(20_000, 2))
    image = images(BarrierMap(diagram, np.eye(3), 8.0), jnp.asarray(x))
    other = images(SignedDistanceMap(diagram, 8.0), jnp.asarray(x))
    lands, landed = ((np.asarray(z).max(axis=1) > 1 - 1e-9) for z in (image, other))
    np.testing.assert_array_equal(lands, landed)


# Extrapolation


def test_limits_are_free_of_what_they_say():
    """R = 3 + 2t + 5t² at t = 1, 2, 4: 2R(t) − R(2t) = 3 − 10t², and the next order is exact."""
    t, one = np.array([0.1, 0.2, 0.4])[:, None], np.ones(64)
    got = limit((3 + 2 * t + 5 * t**2) * one)
    assert got.value == pytest.approx(3 - 10 * 0.01, rel=1e-12)
    assert got.bias == pytest.approx(10 * 0.01, rel=1e-9)
    assert got.sem == pytest.approx(0, abs=1e-12)
    noise = np.random.default_rng(4).normal(size=64)
    noisy = limit((3 + 2 * t) * (1 + noise), (1 + 2 * t / 3) * (1 + noise))
    assert noisy.value == pytest.approx(3, rel=1e-12)  # what both share cancels
    assert noisy.sem == pytest.approx(0, abs=1e-12)
    noisy = limit(3 + np.stack([noise] * 3))
    assert noisy.sem == pytest.approx(np.std(noise, ddof=1) / 8, rel=1e-12)


def test_influences_are_the_errors_of_a_ratio_of_means():
    top, bottom = np.array([[1.0, 2.0, 4.0]]), np.array([[1.0, 1.0, 2.0]])
    value, influence = ratios(top, bottom)
    assert value == pytest.approx([7 / 4])
    np.testing.assert_allclose(influence, (top - 7 / 4 * bottom) / (4 / 3))


# Closed forms


def test_ridges_of_a_simplicial_cluster_are_those_of_its_leak():
    """b = (√3/2)·L, by the integral of φ³Φ^{M−3}."""
    for modes in (3, 4, 8, 64):
        ridges = flip_law.simplicial_ridges(modes)
        assert math.sqrt(3) / 2 * ridges == pytest.approx(bound.leak_expansion(modes)[1], rel=1e-10)
    assert flip_law.simplicial_ridges(2) == 0
    assert 3 * bridge_identity.ridge_effect(bridge_identity.TRIPLE) == pytest.approx(
        0.3758, abs=5e-5
    )


def test_corrections_are_the_slopes_of_exact_ratios():
    """Of orthants: (1 − erfc(t/2)^n) over (1 − (1 − arctan(t)/π)^n), at t → 0."""

    def slope(n: int, t: float) -> float:
        flips = -math.expm1(n * math.log1p(-math.atan(t) / math.pi))
        leaks = -math.expm1(n * math.log(math.erfc(t / 2)))
        return (1 - leaks / flips / bridge_identity.limit_ratio()) / t

    for n in (1, 2, 3, 8):
        exact = 2 * slope(n, 1e-4) - slope(n, 2e-4)
        assert bridge_identity.orthant_correction(n) == pytest.approx(exact, abs=1e-6)


def test_the_orderings_turn_at_1_6456():
    one, far = np.ones((3, 3)), bridge_identity.opposing_barrier()
    tables = bridge_identity.slabs(), bridge_identity.tripod()
    plain = [bridge_identity.weighted_perimeter(areas, one) for areas in tables]
    assert plain == [
        pytest.approx(perimeter.intervals(3), rel=1e-12),
        pytest.approx(perimeter.simplicial(3), rel=1e-12),
    ]
    assert far == pytest.approx(1.6456, abs=5e-5)
    at = [
        bridge_identity.weighted_perimeter(areas, bridge_identity.far_barriers(far))
        for areas in tables
    ]
    assert at[0] == pytest.approx(at[1], rel=1e-12)


BAD = {
    "lines must be an integer ≥ 2, got 1": lambda: sharp(orthants(2), 1),
    "at least one scale, got none": lambda: sharp(orthants(2), 2, scales=()),
    "scale must be a positive finite number, got -0.1": lambda: sharp(
        orthants(2), 2, scales=(-0.1,)
    ),
    "expected 4 modes, one a cell, got 3": lambda: contraction(
        fresh(6), orthants(2), SignedDistanceMap, np.eye(3), SCALES, lines=2
    ),
    "duplicate sites have no facet": lambda: sharp(PowerDiagram(np.ones((2, 2))), 2),
    "modes lie in R^4, but T maps to R^2": lambda: contraction(
        fresh(7), orthants(2), lambda s: lambda x: s * x, np.eye(4), SCALES, lines=2
    ),
    "expected 3 distinct modes": lambda: BarrierMap(slabs(), np.ones((3, 2)), 1.0),
    "stiffness must be a positive finite number, got 0": lambda: BarrierMap(slabs(), TRIANGLE, 0),
    "expected arrays of shape (K, blocks)": lambda: ratios(np.ones(3)),
    "positive denominators": lambda: ratios(np.ones((1, 3)), np.zeros((1, 3))),
    "κ_13 ≤ κ_12 + κ_23 = 2 for a metric, got 2.5": lambda: bridge_identity.far_barriers(2.5),
    "expected two (M, M) tables": lambda: bridge_identity.weighted_perimeter(
        np.ones((2, 3)), np.ones((2, 3))
    ),
    "the measure of a ridge is finite and ≥ 0, got -1": lambda: bridge_identity.first_correction(
        1.0, [(1.0, -1)]
    ),
    "a dihedral angle lies in (0, π), got 4": lambda: bridge_identity.ridge_effect(4),
    "perimeter must be a positive finite number": lambda: bridge_identity.first_correction(0, []),
    "samples must be an integer ≥ 1, got 0": lambda: strays(
        fresh(8), orthants(2), SignedDistanceMap, np.eye(4), 0.1, samples=0
    ),
}


test_bad_input_is_named = refusals(BAD)


def test_estimates_of_a_limit_are_estimates():
    found = sharp(orthants(2), BATCH, 9)
    assert isinstance(limit(found.leaks, found.flips), Estimate)
