"""Theorem 17, the bridge: one interface, two contractions.

Hypotheses: a partition of R^n with Gaussian facet areas P_ij; X = Z + sξ, Z ~ γ_n; T_Λ the map of
stiffness Λ that is sharp on the partition, onto modes at distances κ_ij. Conclusion: as s → 0 and
Λ → ∞, P(flip)/s → √(2/π) Σ P_ij and Λ·P(T off its modes) → Σ κ_ij P_ij; for equal barriers and
s = 1/Λ = t the ratio is κ√(π/2)·(1 − c·t + O(t²)), c = 0.3758·L/P for simplicial clusters, c = 0
without ridges. Coarea, for every Lipschitz u: E‖∇u‖ = ∫ P({u > t}) dt.
"""

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from tests import strategies
from tests.significance import check_mean, check_rejects
from tests.theorems.keys import root
from theory import bound, flip_law, perimeter
from theory import bridge_identity as predicted
from theory.barrier_map import BarrierMap
from theory.contraction import BATCH, Contraction, contraction, limit, ratios
from theory.estimate import Estimate, from_samples
from theory.gaussian import composite_legendre
from theory.level_sets import Chord, level_integral
from theory.partition import PowerDiagram, intervals, orthants, simplicial_cluster
from theory.total_variation import total_variation
from theory.transport import ScoreMap, SignedDistanceMap, lipschitz_network, sparsemax_leak

FAILURE = 1e-10  # a check; this file makes fewer than 100 of them outside the drawn examples
SCALES = (0.01, 0.02, 0.04)
ROOT_PI = math.sqrt(math.pi)  # κ√(π/2) at κ = √2


def fresh(number: int = 0) -> jax.Array:
    return jax.random.fold_in(root(1717), number)


def sharp(diagram: PowerDiagram, lines: int, key: int = 0, scales=SCALES) -> Contraction:
    transport = functools.partial(SignedDistanceMap, diagram)
    return contraction(fresh(key), diagram, transport, np.eye(diagram.modes), scales, lines=lines)


def unequal() -> PowerDiagram:
    """Nine cells of the plane, drawn: masses from nothing to a third."""
    drawn = np.random.default_rng(7).normal(size=(9, 3))
    return PowerDiagram(drawn[:, :2], drawn[:, 2] / 2)


def simplicial_flip(modes: int, scale: float) -> float:
    """1 − M ∬ φ₂Φ₂^{M−1} = M ∬ φ₂ (Φ(x)^{M−1} − Φ₂(x, y)^{M−1}), Φ₂ by Owen's T function."""
    rho = 1 / math.hypot(1, scale)
    nodes, weights = composite_legendre(-9.0, 9.0, panels=40, order=10)
    weights = weights * np.exp(-(nodes**2) / 2) / math.sqrt(2 * math.pi)
    x, y = nodes[:, None], rho * nodes[:, None] + math.sqrt(1 - rho**2) * nodes
    root = math.sqrt(1 - rho**2)
    slopes = (y / x - rho) / root, (x / y - rho) / root
    owen = special.owens_t(x, slopes[0]) + special.owens_t(y, slopes[1])
    apart = np.where(x * y > 0, 0.0, 0.5)
    both = (special.ndtr(x) + special.ndtr(y)) / 2 - owen - apart
    lost = special.ndtr(x) ** (modes - 1) - both ** (modes - 1)
    return modes * float(weights @ lost @ weights)


def exact_ratio(modes: int, scale: float) -> float:
    """Of simplicial clusters, both sides by quadrature."""
    return sparsemax_leak(modes, 1 / scale) / simplicial_flip(modes, scale)


# Equality: no free parameter


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: simplicial_cluster(4), id="simplicial", marks=pytest.mark.slow),
        pytest.param(lambda: intervals(5), id="intervals"),
        pytest.param(unequal, id="unequal"),
    ],
)
def test_the_ratio_of_the_rates_has_no_free_parameter(make):
    diagram = make()
    found = sharp(diagram, 4 * BATCH, diagram.modes)
    ratio = limit(found.leaks, found.flips)
    check_mean(ratio, ROOT_PI, FAILURE, resolution=0.01)
    for wrong in (1.02 * ROOT_PI, math.sqrt(2), 2**0.25 * math.sqrt(math.pi / 2)):
        check_rejects(check_mean, ratio, wrong, FAILURE)  # √(2/π) → 1; κ → √κ
    area = np.broadcast_to(found.perimeter, found.flips.shape)
    flips, leaks = limit(found.flips, area), limit(found.leaks, area)
    check_mean(flips, math.sqrt(2 / math.pi), FAILURE, resolution=0.01)
    check_mean(leaks, math.sqrt(2), FAILURE, resolution=0.01)


@pytest.mark.parametrize("modes", [2, 3, 8, 64])
def test_exact_ratios_of_simplicial_clusters_tend_to_root_pi(modes: int):
    t = 0.005
    extrapolated = 2 * exact_ratio(modes, t) - exact_ratio(modes, 2 * t)
    assert extrapolated == pytest.approx(ROOT_PI, rel=1e-4)
    if modes == 8:
        assert exact_ratio(8, 0.02) == pytest.approx(1.7618, abs=5e-4)


def test_each_rate_is_its_weight_times_the_perimeter():
    found = sharp(simplicial_cluster(4), 16 * BATCH, 20)
    area = perimeter.simplicial(4)
    check_mean(limit(found.flips), math.sqrt(2 / math.pi) * area, FAILURE, resolution=0.03)
    check_mean(limit(found.leaks), math.sqrt(2) * area, FAILURE, resolution=0.03)
    check_mean(from_samples(found.perimeter), area, FAILURE, resolution=0.03)


# Property: any partition


@settings(max_examples=12)
@given(data=st.data(), seed=st.integers(0, 2**31))
@pytest.mark.parametrize(("modes", "dimension"), [(5, 2)])
def test_any_partition_has_the_same_ratio(
    data: st.DataObject, seed: int, modes: int, dimension: int
):
    """At t → 0 whatever the cells; where facets are few the interval is wide, and says so."""
    diagram = data.draw(strategies.diagrams(modes, dimension, apart=0.5))
    transport = functools.partial(SignedDistanceMap, diagram)
    scales = tuple(s / 20 for s in SCALES)
    found = contraction(
        jax.random.key(seed), diagram, transport, np.eye(modes), scales, lines=BATCH
    )
    if np.count_nonzero(found.perimeter) < 200:  # an interface that lines hardly meet
        return
    check_mean(limit(found.leaks, found.flips), ROOT_PI, 1e-12)


# Rate: the first correction


@pytest.mark.parametrize("modes", [3, 8, 64])
def test_the_first_correction_of_exact_ratios(modes: int):
    """c by extrapolation of (1 − R/√π)/t, whose own error is O(t)."""

    def slope(t: float) -> float:
        return (1 - exact_ratio(modes, t) / ROOT_PI) / t

    exact = predicted.simplicial_correction(modes)
    ridges = flip_law.simplicial_ridges(modes) / bound.interface_floor(modes)
    assert exact == pytest.approx(0.3758 * ridges, rel=2e-4)
    assert 2 * slope(0.01) - slope(0.02) == pytest.approx(exact, rel=2e-3)
    left = [exact - slope(t) for t in (0.01, 0.02)]
    assert left[1] / left[0] == pytest.approx(2, rel=0.02)  # what is left is linear in t
    assert left[0] > 0


def measured_slope(found: Contraction) -> Estimate:
    """(1 − R/√π)/t, extrapolated."""
    value, influence = ratios(found.leaks, found.flips)
    return limit((1 - (value[:, None] + influence) / ROOT_PI) / found.scales[:, None])


@pytest.mark.slow
def test_the_first_correction_of_mapped_points():
    found = sharp(simplicial_cluster(8), 16 * BATCH, 30, (0.08, 0.16, 0.32))
    got, exact = measured_slope(found), predicted.simplicial_correction(8)
    check_mean(got, exact, FAILURE, resolution=0.4)
    check_rejects(check_mean, got, 0.0, FAILURE)
    leak_alone = math.sqrt(3) / 2 / math.sqrt(2) * flip_law.simplicial_ridges(8)
    check_rejects(check_mean, got, leak_alone / bound.interface_floor(8), FAILURE)


def test_without_ridges_there_is_no_first_correction():
    got = measured_slope(sharp(intervals(5), 4 * BATCH, 31))
    check_mean(got, 0.0, FAILURE)
    lower, upper = got.interval(FAILURE)
    assert upper - lower < 0.02


# Coarea: the identity behind both rates


class Cosines(eqx.Module):
    waves: jax.Array
    phases: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.sum(jnp.cos(self.waves @ x + self.phases))


class Entry(eqx.Module):
    network: eqx.Module

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.network(x)[0]


def both_sides(function, n: int, key: int, dtype=None) -> tuple[Estimate, Estimate]:
    common = {"dimension": n, "dtype": dtype}
    left = total_variation(fresh(key), function, samples=1 << 16, **common)
    chord = Chord(0.25, 17)
    right = level_integral(fresh(key + 1), function, chords=1 << 16, chord=chord, **common)
    return left.total, right.total


def difference(left: Estimate, right: Estimate, factor: float = 1.0) -> Estimate:
    gap = right.value - factor * left.value
    return Estimate(gap, math.hypot(left.sem, right.sem), right.bias, right.count)


def functions(n: int) -> dict:
    rng = np.random.default_rng(n)
    waves = jnp.asarray(rng.normal(size=(8, n)) * 2 / math.sqrt(n))
    network = lipschitz_network(fresh(50 + n), 3, n, 1.5, width=8, dtype="float64")
    return {"cosines": Cosines(waves, jnp.asarray(rng.uniform(0, 6, 8))), "network": Entry(network)}


@pytest.mark.parametrize(
    ("name", "n"),
    [pytest.param(*pair, marks=pytest.mark.slow) for pair in (("cosines", 8), ("network", 3))],
)
def test_coarea(name: str, n: int):
    left, right = both_sides(functions(n)[name], n, 60 + 2 * n)
    check_mean(difference(left, right), 0.0, FAILURE)
    assert (6.5 * math.hypot(left.sem, right.sem) + right.bias) < 0.05 * left.value
    check_rejects(check_mean, difference(left, right, 1.05), 0.0, FAILURE)


# Falsification: they are two numbers, not one


TRIANGLE = np.array([[-0.95, 0], [0, math.sqrt(1 - 0.95**2)], [0.95, 0]])  # κ_13 = 1.9


def slabs() -> PowerDiagram:
    return PowerDiagram(np.arange(3.0)[:, None] * np.eye(2)[0], np.asarray(intervals(3).offsets))


def test_unequal_barriers_order_slabs_and_tripod_oppositely():
    ones, barriers = np.ones((3, 3)), predicted.far_barriers(1.9)
    rates = {}
    for name, diagram, areas in (
        ("slabs", slabs(), predicted.slabs()),
        ("tripod", simplicial_cluster(3), predicted.tripod()),
    ):
        transport = functools.partial(BarrierMap, diagram, TRIANGLE)
        found = contraction(fresh(40), diagram, transport, TRIANGLE, SCALES, lines=16 * BATCH)
        flips, leaks = limit(found.flips), limit(found.leaks)
        plain = math.sqrt(2 / math.pi) * predicted.weighted_perimeter(areas, ones)
        check_mean(flips, plain, FAILURE, resolution=0.02)
        check_mean(leaks, predicted.weighted_perimeter(areas, barriers), FAILURE, resolution=0.02)
        rates[name] = flips.interval(FAILURE), leaks.interval(FAILURE)
    assert rates["slabs"][0].lower > rates["tripod"][0].upper
    assert rates["slabs"][1].upper < rates["tripod"][1].lower


def test_below_the_opposing_barrier_the_order_is_the_same():
    ones = np.ones((3, 3))
    for far, opposed in ((1.6, False), (1.7, True), (2.0, True)):
        costs = [
            predicted.weighted_perimeter(areas, predicted.far_barriers(far))
            for areas in (predicted.slabs(), predicted.tripod())
        ]
        flips = [
            predicted.weighted_perimeter(areas, ones)
            for areas in (predicted.slabs(), predicted.tripod())
        ]
        assert flips[0] > flips[1]
        assert (costs[0] < costs[1]) == opposed


def test_a_map_of_raw_scores_is_not_sharp_and_misses_the_ratio():
    """The map must stretch every facet alike: quadrants by sparsemax of scores leak √2 too much."""
    diagram = orthants(2)
    transport = functools.partial(ScoreMap, diagram)
    # Their strips are √2‖A‖/‖a_i − a_j‖ = √2 times as wide, still within REACH.
    found = contraction(fresh(41), diagram, transport, np.eye(4), SCALES, lines=4 * BATCH)
    ratio = limit(found.leaks, found.flips)
    check_rejects(check_mean, ratio, ROOT_PI, FAILURE)
    check_mean(ratio, math.sqrt(2) * ROOT_PI, FAILURE, resolution=0.02)
