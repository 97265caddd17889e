"""Theorem 6, stiffness side: the least Λ that reaches a leak ε follows the interface of its n.

Hypotheses: x ~ γ_n, T: R^n → R^d is Λ-Lipschitz onto M modes at distances κ, of masses (1 − ε)/M.
Conclusion: Λ ≥ κ/(2[Φ⁻¹(1/M) − Φ⁻¹((1−ε)/M)]) for every n, with equality at M = 2, and for other
masses the Λ at which Σ Φ(Φ⁻¹(m_i) + κ/(2Λ)) = 1. Where the simplex fits (n ≥ M − 1) sparsemax has
Λ ≈ κP_S(M)/ε, growing as √log M; on the line the least is ≈ κM/(2√π ε), growing as M^{1/1}.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats

from tests.significance import check_at_least, check_at_most, check_proportion, check_rejects
from tests.theorems.keys import root
from theory import bound, perimeter
from theory.estimate import Interval, proportion
from theory.leak import ALLOWANCE, Reached, leads, leak, reaching_stiffness
from theory.partition import intervals
from theory.transport import (
    LineMap,
    LipschitzNetwork,
    Schedule,
    certified,
    fit,
    line_leak,
    lipschitz_network,
    optimal_line,
    signed_distances,
    sparsemax_stiffness,
)


def fresh(number: int = 0) -> jax.Array:
    """A key of this file; made anew, since no key may be used twice."""
    return jax.random.fold_in(root(66), number)


FAILURE = 1e-10  # a check; this file makes fewer than 100 of them outside the drawn examples
BARRIER = math.sqrt(2)  # κ of the vertices of the simplex
LEAK = 0.1


def line_stiffness(modes: int, leak: float) -> float:
    """The Λ at which the optimal map of the line leaks ε."""
    excess = lambda log: line_leak(modes, math.exp(log)) - leak  # noqa: E731
    return math.exp(optimize.brentq(excess, -3, 14, xtol=1e-13))


def reached(features, dimension: int, samples: int = 100_000, key: int = 0) -> Reached:
    """The least Λ at which sparsemax(Λg) leaks 0.1."""
    found = leads(fresh(key), features, samples=samples, dimension=dimension)
    return reaching_stiffness(found, LEAK, FAILURE)


def coordinates(x: jax.Array) -> jax.Array:
    """The g of sparsemax(Λx)."""
    return x


def along_the_line(modes: int):
    """The g of the map of signed distances to M intervals."""
    diagram = intervals(modes)
    return lambda x: signed_distances(diagram, x) / math.sqrt(2)


# Equality


@pytest.mark.parametrize("leak", [0.02, 0.1, 0.3])
def test_two_modes_need_the_floor_and_no_more(leak: float):
    floor = bound.stiffness_floor(2, leak, BARRIER)
    assert sparsemax_stiffness(2, leak) == pytest.approx(floor, rel=1e-10)
    assert line_stiffness(2, leak) == pytest.approx(floor, rel=1e-9)
    halves = np.full(2, (1 - leak) / 2)
    assert bound.unequal_stiffness_floor(halves, BARRIER) == pytest.approx(floor, rel=1e-10)


@pytest.mark.parametrize("dimension", [1, 2])
def test_two_modes_reach_the_floor_and_refute_one_five_percent_higher(dimension: int):
    features = along_the_line(2) if dimension == 1 else coordinates
    found = reached(features, dimension, key=dimension).interval
    floor = bound.stiffness_floor(2, LEAK, BARRIER)
    assert found.contains(floor)
    assert found.upper - found.lower < 0.14 * floor
    more = reached(features, dimension, 400_000, key=10 + dimension).interval
    assert more.lower <= floor <= more.upper < 1.05 * floor


# Order


@pytest.mark.parametrize("modes", [3, 4, 16, pytest.param(64, marks=pytest.mark.slow)])
def test_the_line_needs_more_than_the_simplex_and_that_more_than_the_floor(modes: int):
    for share in (0.02, 0.1, 0.3):
        line, simplex = line_stiffness(modes, share), sparsemax_stiffness(modes, share)
        floor = bound.stiffness_floor(modes, share, BARRIER)
        assert line > 1.2 * simplex > 1.2 * floor
        assert simplex < 1.5 * floor  # the floor is loose by √2 at most


def test_the_optimal_line_attains_its_cores():
    modes, stiffness = 5, 12.0
    options = {"radius": 0.0, "samples": 200_000, "dimension": 1}
    found = leak(fresh(20), optimal_line(modes, stiffness), np.eye(modes), **options)
    share = (1 - line_leak(modes, stiffness)) / modes
    check_proportion(found.leak, 1 - modes * share, FAILURE, resolution=0.05)
    assert found.mass_intervals(FAILURE).contains(share).all()
    assert not found.mass_intervals(FAILURE).contains(1.05 * share).any()


# Property

WIDTH = 8


def drawn_network(seed: int, modes: int, dimension: int, stiffness: float) -> LipschitzNetwork:
    options = {"width": WIDTH, "dtype": "float64"}
    return lipschitz_network(jax.random.key(seed), modes, dimension, stiffness, **options)


@pytest.mark.slow
@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**31),
    stiffness=st.floats(2.0, 40.0),
    radius=st.floats(0.0, 0.5),
    draw=st.integers(0, 2**31),
)
@pytest.mark.parametrize("modes", [2, 3])
def test_no_certified_map_of_the_line_beats_the_optimal_one(
    seed: int, stiffness: float, radius: float, draw: int, modes: int
):
    """Its least mode is no larger than the equal cores of the line, whatever the others hold."""
    transport = drawn_network(seed, modes, 1, stiffness)
    options = {"radius": radius, "samples": 10_000, "dimension": 1}
    found = leak(jax.random.key(draw), transport, np.eye(modes), **options)
    assume(np.sum(found.masses.value > 0.01) >= 2)
    barrier, proved = BARRIER - 2 * (radius + ALLOWANCE), certified(transport)
    lower = found.mass_intervals(1e-12).lower
    assert bound.core_sum(lower, proved, barrier) <= 1
    assert lower.min() <= (1 - line_leak(modes, proved, barrier)) / modes


@settings(max_examples=20)
@given(seed=st.integers(0, 2**31), share=st.floats(0.05, 0.5), draw=st.integers(0, 2**31))
@pytest.mark.parametrize(
    ("modes", "dimension"), [pytest.param(2, 1, marks=pytest.mark.slow), (4, 3)]
)
def test_no_certified_map_reaches_its_masses_with_less_than_the_floor(
    seed: int, share: float, draw: int, modes: int, dimension: int
):
    """At the upper end of Λ(ε) the map leaks no more than ε, and its masses need that Λ."""
    features = drawn_network(seed, modes, dimension, 1.0)
    lead_key, *keys = jax.random.split(jax.random.key(draw), 3)
    options = {"samples": 10_000, "dimension": dimension}
    found = leads(lead_key, features.logits, **options)
    ends = reaching_stiffness(found, share, 1e-12).interval
    stiff = [eqx.tree_at(lambda t: t.stiffness, features, jnp.asarray(s)) for s in ends]
    loose, tight = (
        leak(key, transport, np.eye(modes), radius=0.0, **options)
        for key, transport in zip(keys, stiff, strict=True)
    )
    assert loose.leak_interval(1e-12).upper >= share
    assert tight.leak_interval(1e-12).lower <= share
    assume(np.sum(tight.masses.value > 0.01) >= 2)
    lower = tight.mass_intervals(1e-12).lower
    assert certified(stiff[1]) >= bound.unequal_stiffness_floor(lower, BARRIER - 2 * ALLOWANCE)


# The interval that all this rests on


@pytest.mark.slow
@pytest.mark.parametrize(("modes", "share"), [(2, 0.1), (8, 0.3)])
def test_the_interval_misses_as_often_as_it_says(modes: int, share: float):
    """2000 intervals at a failure probability of 0.05, each from 400 leads of its own."""
    found = leads(fresh(30 + modes), coordinates, samples=800_000, dimension=modes)
    exact = sparsemax_stiffness(modes, share)
    ends = [reaching_stiffness(row, share, 0.05).interval for row in found.reshape(2000, 400)]
    missed = proportion(sum(not one.contains(exact) for one in ends), 2000)
    check_at_most(missed, 0.05, FAILURE)
    below = stats.binom(400, share)
    low, high = int(below.ppf(0.025)), int(below.isf(0.025)) + 1
    check_proportion(missed, below.cdf(low - 1) + below.sf(high - 1), FAILURE)
    check_rejects(check_proportion, missed, 0.1, FAILURE)
    check_rejects(check_proportion, missed, 0.01, FAILURE)


# Rate


def grown(first: Reached, last: Reached) -> Interval:
    """Of the quotient of two of them, each within its own interval."""
    return Interval(
        last.interval.lower / first.interval.upper, last.interval.upper / first.interval.lower
    )


def line_tube_stiffness(modes: int) -> float:
    """The Λ at which the tubes of width 2/(√2Λ) about the quantiles k/M hold 0.1."""
    cuts = special.ndtri(np.arange(1, modes) / modes)

    def excess(width: float) -> float:
        return float(np.sum(special.ndtr(cuts + width) - special.ndtr(cuts - width))) - LEAK

    return 1 / (math.sqrt(2) * optimize.brentq(excess, 1e-9, 1.0))


def test_samples_tell_linear_growth_on_the_line_from_root_log_growth():
    few, many = 4, 32
    root = math.sqrt(math.log(many) / math.log(few))
    line = grown(*(reached(along_the_line(m), 1, key=40 + m) for m in (few, many)))
    assert line.contains(line_tube_stiffness(many) / line_tube_stiffness(few))
    assert line.lower > 0.85 * many / few > 4 * root
    simplex = grown(*(reached(coordinates, m, key=80 + m) for m in (few, many)))
    assert simplex.contains(sparsemax_stiffness(many, LEAK) / sparsemax_stiffness(few, LEAK))
    assert root < simplex.lower < simplex.upper < 1.5 * root
    assert simplex.upper < many / few / 3


def test_the_line_grows_as_the_number_of_modes_and_sparsemax_as_its_interface():
    modes = np.array([8, 16, 32, 64, 128])
    line, simplex = (
        np.array([solve(m, LEAK) for m in modes.tolist()])
        for solve in (line_stiffness, sparsemax_stiffness)
    )
    orders = np.diff(np.log(line)) / np.diff(np.log(modes))
    np.testing.assert_allclose(orders, 1, atol=0.03)
    assert (np.diff(np.abs(orders - 1)) < 0).all()
    over_root = simplex / np.sqrt(np.log(modes))
    assert (np.diff(over_root) > 0).all()  # as of P_S(M)/√log M, whose limit it shares
    floors = np.array([bound.interface_floor(m) for m in modes.tolist()])
    assert over_root[-1] / over_root[0] < 1.25
    np.testing.assert_allclose(simplex / floors, simplex[0] / floors[0], rtol=0.02)


@pytest.mark.parametrize("modes", [3, 16])
def test_the_least_stiffness_is_the_interface_over_the_leak(modes: int):
    """Λε/(κP) → 1, linearly in ε, in either phase."""
    phases = (
        (line_stiffness, perimeter.intervals(modes)),
        (sparsemax_stiffness, perimeter.simplicial(modes)),
    )
    for solve, area in phases:
        lack = [1 - share * solve(modes, share) / (BARRIER * area) for share in (0.02, 0.01, 0.005)]
        assert 0 < lack[2] < lack[1] < lack[0] < 0.02
        if solve is sparsemax_stiffness:
            assert lack[0] / lack[1] == pytest.approx(2, abs=0.1)
            assert lack[1] / lack[2] == pytest.approx(2, abs=0.05)


# Training


@pytest.mark.slow
def test_a_short_training_comes_near_the_floor_and_never_below():
    exact = sparsemax_stiffness(2, LEAK)
    start = lipschitz_network(fresh(50), 2, 2, exact, width=16)
    schedule = Schedule(steps=300, batch=512, rate=1e-2)
    network = fit(fresh(51), start, schedule=schedule, chunk=300).trained
    features = eqx.tree_at(lambda t: t.stiffness, network, jnp.asarray(1.0, "float32"))
    ends, lipschitz = reached(features.logits, 2, 200_000, key=52).interval, certified(features)
    assert ends.upper * lipschitz < 1.1 * exact
    stiff = eqx.tree_at(lambda t: t.stiffness, network, jnp.asarray(ends.upper, "float32"))
    options = {"radius": 0.0, "samples": 200_000, "dimension": 2}
    found = leak(fresh(53), stiff, np.eye(2, dtype=np.float32), **options)
    lower = found.mass_intervals(FAILURE).lower
    assert certified(stiff) >= bound.unequal_stiffness_floor(lower, BARRIER - 2 * ALLOWANCE)
    assert bound.unequal_stiffness_floor(lower, BARRIER) > 0.9 * exact  # and that is no weak claim


# Falsification


def test_a_floor_five_percent_higher_is_refuted_by_the_line_that_attains_it():
    stiffness = sparsemax_stiffness(2, LEAK)
    options = {"radius": 0.0, "samples": 400_000, "dimension": 1}
    found = leak(fresh(60), optimal_line(2, stiffness), np.eye(2), **options).leak
    check_at_least(found, bound.leak_floor(2, stiffness, BARRIER), FAILURE)
    higher = bound.leak_floor(2, stiffness / 1.05, BARRIER)
    check_rejects(check_at_least, found, higher, FAILURE)


def test_the_floor_of_equal_masses_is_refuted_by_unequal_ones():
    """A ramp between masses 0.85 and 0.05 has 0.41 of the Λ that equal masses would need."""
    start, end = special.ndtri([0.85, 0.95])
    ramp, stiffness = LineMap(jnp.array([start]), jnp.asarray(end - start)), BARRIER / (end - start)
    options = {"radius": 0.0, "samples": 200_000, "dimension": 1}
    found = leak(fresh(61), ramp, np.eye(2), **options)
    least = bound.unequal_stiffness_floor(found.mass_intervals(FAILURE).lower, BARRIER)
    assert 0.85 * stiffness < least <= stiffness
    equal = bound.stiffness_floor(2, found.leak_interval(FAILURE).upper, BARRIER)
    assert equal > 2 * stiffness
