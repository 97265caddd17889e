"""Theorem 7, depth: B steps of m branches reach M = m^B modes with a lower peak stiffness.

Hypotheses: M = m^B, independent coordinates x^k ~ γ for every step, a leak ε of each step.
Conclusion: the peak stiffness κP_S(m)/ε is P_S(M)/P_S(m) > √B times lower than that of one step.
The price: leaks compound to 1 − (1 − ε)^B, so that at equal *total* leak a step is stiffer by
about B·P_S(m)/P_S(M), between 1 and √B. A block hierarchy is Λ-Lipschitz when its steps are, a
nested one √(1 + ρ² + … + ρ^{2(B−1)})Λ-Lipschitz.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import strategies
from tests.significance import check_mean, check_proportion, check_rejects
from tests.theorems.keys import root
from theory import bound
from theory.estimate import Estimate, Interval
from theory.hierarchy import (
    Hierarchy,
    level_leaks,
    sparsemax_hierarchy,
    step_leak,
    total_leak,
)
from theory.leak import leads, leak, reaching_stiffness
from theory.stiffness import operator_norms
from theory.transport import sparsemax_leak, sparsemax_stiffness
from theory.tube import interface_area


def fresh(number: int = 0) -> jax.Array:
    """A key of this file; made anew, since no key may be used twice."""
    return jax.random.fold_in(root(7), number)


FAILURE = 1e-10  # a check; this file makes fewer than 100 of them outside the drawn examples
BARRIER = math.sqrt(2)  # κ of the vertices of the simplex
DEPTHS = {2: (1.547, 1.293), 3: (2.053, 1.461), 4: (2.547, 1.570)}  # peak and price at M = 4096

images = jax.jit(lambda transport, x: jax.vmap(transport)(x))


def modes_of(hierarchy: Hierarchy, branches: int) -> np.ndarray:
    """The M = m^B images of vertices: products of them, or leaves of the tree."""
    choices = itertools.product(np.eye(branches), repeat=len(hierarchy.levels))
    if hierarchy.ratio is None:
        return np.array([np.concatenate(choice) for choice in choices])
    sizes = hierarchy.ratio ** np.arange(len(hierarchy.levels))
    return np.array([np.tensordot(sizes, choice, 1) for choice in choices])


# Equality


@pytest.mark.parametrize("depth", DEPTHS)
def test_4096_modes_in_levels(depth: int):
    peak, price = bound.peak_ratio(4096, depth), bound.price_ratio(4096, depth)
    assert (peak, price) == tuple(pytest.approx(wanted, abs=5e-4) for wanted in DEPTHS[depth])
    assert peak > math.sqrt(depth) > price > 1
    assert peak * price == pytest.approx(depth, rel=1e-12)


def test_one_level_is_one_step():
    assert bound.peak_ratio(64, 1) == bound.price_ratio(64, 1) == 1
    assert total_leak(0.3, 1) == pytest.approx(0.3, rel=1e-15)
    assert step_leak(0.3, 1) == pytest.approx(0.3, rel=1e-15)
    found = level_leaks(fresh(1), sparsemax_hierarchy(8, 1, 3.0), samples=50_000)
    assert float(found.total.value) == float(found.steps.value[0])
    check_proportion(found.total, sparsemax_leak(8, 3.0), FAILURE, resolution=0.05)


@pytest.mark.parametrize(
    ("modes", "depth", "ratio"),
    [
        pytest.param(64, 2, None, marks=pytest.mark.slow, id="64-2-block"),
        pytest.param(64, 2, 0.4, id="64-2-nested"),
        pytest.param(27, 3, None, id="27-3-block"),
        pytest.param(27, 3, 0.4, marks=pytest.mark.slow, id="27-3-nested"),
    ],
)
def test_steps_leak_as_sparsemax_and_the_whole_as_their_product(
    modes: int, depth: int, ratio: float | None
):
    """Counted step by step, and by how often T is off all of its M modes."""
    branches, stiffness, samples = round(modes ** (1 / depth)), 8.0, 60_000
    hierarchy = sparsemax_hierarchy(modes, depth, stiffness, ratio)
    step = sparsemax_leak(branches, stiffness)
    found = level_leaks(fresh(2), hierarchy, samples=samples)
    for rate in found.steps.value:
        check_proportion(Estimate(rate, count=samples), step, FAILURE, resolution=0.1)
    whole = total_leak(step, depth)
    check_proportion(found.total, whole, FAILURE, resolution=0.1)
    options = {"radius": 0.0, "samples": samples, "dimension": hierarchy.dimension}
    landed = leak(fresh(3), hierarchy, modes_of(hierarchy, branches), **options)
    check_proportion(landed.leak, whole, FAILURE, resolution=0.1)
    assert landed.mass_intervals(FAILURE).contains((1 - whole) / modes).all()


def test_a_total_leak_is_shared_out_and_put_together_again():
    assert total_leak(step_leak(0.1, 5), 5) == pytest.approx(0.1, rel=1e-14)
    assert step_leak(0.19, 2) == pytest.approx(0.1, rel=1e-14)


# Property

LEVELS = [  # (M, B)
    *(pytest.param(*level, marks=pytest.mark.slow) for level in ((4, 2), (9, 2))),
    (8, 3),
]
RATIOS = st.sampled_from([None, 0.2, 0.45])  # part of what is compiled


@settings(max_examples=15)
@given(stiffness=st.floats(0.5, 60.0), ratio=RATIOS, seed=st.integers(0, 2**31))
@pytest.mark.parametrize(("modes", "depth"), LEVELS)
def test_the_total_leak_is_that_of_independent_steps(
    modes: int, depth: int, stiffness: float, ratio: float | None, seed: int
):
    hierarchy = sparsemax_hierarchy(modes, depth, stiffness, ratio)
    found = level_leaks(jax.random.key(seed), hierarchy, samples=10_000)
    step = sparsemax_leak(round(modes ** (1 / depth)), stiffness)
    check_proportion(found.total, total_leak(step, depth), 1e-12)
    for rate in found.steps.value:
        check_proportion(Estimate(rate, count=10_000), step, 1e-12)


@settings(max_examples=15)
@given(data=st.data(), stiffness=strategies.scales(1.5), ratio=RATIOS, size=strategies.scales(2.0))
@pytest.mark.parametrize(("modes", "depth"), LEVELS)
def test_no_pair_of_points_is_torn_apart_by_more_than_the_hierarchy_may(
    data: st.DataObject,
    stiffness: float,
    ratio: float | None,
    size: float,
    modes: int,
    depth: int,
):
    hierarchy = sparsemax_hierarchy(modes, depth, stiffness, ratio)
    x, step = (data.draw(strategies.points(6, hierarchy.dimension)) for _ in range(2))
    x, step = x / stiffness, size * step / stiffness  # where the steps are between vertices
    here, there = (np.asarray(images(hierarchy, jnp.asarray(y))) for y in (x, x + step))
    moved, apart = np.linalg.norm(there - here, axis=1), np.linalg.norm(step, axis=1)
    rounding = 1e-13 * (1 + size)
    assert (moved <= lipschitz(hierarchy, stiffness) * apart + rounding).all()


def lipschitz(hierarchy: Hierarchy, stiffness: float) -> float:
    """Λ, or √(1 + ρ² + …)Λ where the steps share an output."""
    if hierarchy.ratio is None:
        return stiffness
    sizes = hierarchy.ratio ** np.arange(len(hierarchy.levels))
    return stiffness * float(np.linalg.norm(sizes))


@pytest.mark.parametrize(
    "ratio",
    [pytest.param(None, marks=pytest.mark.slow, id="block"), pytest.param(0.4, id="nested")],
)
def test_the_stretch_is_attained_where_all_steps_are_between_vertices(ratio: float | None):
    """And the Λ of the steps is none of a nested hierarchy."""
    stiffness, hierarchy = 10.0, sparsemax_hierarchy(8, 3, 10.0, ratio)
    x = np.random.default_rng(0).normal(size=(2000, hierarchy.dimension)) / stiffness
    norms = operator_norms(fresh(4), hierarchy, x, tolerance=1e-6).value
    most = lipschitz(hierarchy, stiffness)
    assert norms.max() == pytest.approx(most, rel=1e-6)
    assert norms.max() <= most * (1 + 1e-12)
    if ratio is not None:
        assert most > 1.08 * stiffness


# Measured ratios


def quotient(top: Interval, bottom: Interval) -> Interval:
    """Of two numbers, each within its own interval."""
    return Interval(top.lower / bottom.upper, top.upper / bottom.lower)


def test_the_peak_of_64_modes_in_two_levels_of_8():
    """From the interfaces of the leads, and from the stiffness they need at a leak of 0.1."""
    found = [
        leads(fresh(10 + m), lambda x: x, samples=n, dimension=m)
        for m, n in ((64, 400_000), (8, 600_000))
    ]
    areas = [interface_area(one / BARRIER) for one in found]
    for area, modes in zip(areas, (64, 8), strict=True):
        check_mean(area, bound.interface_floor(modes), FAILURE, resolution=0.1)
    ratio = quotient(*(area.interval(FAILURE) for area in areas))
    assert ratio.contains(bound.peak_ratio(64, 2))
    assert not ratio.contains(math.sqrt(2))
    ends = [reaching_stiffness(one, 0.1, FAILURE).interval for one in found]
    exact = [sparsemax_stiffness(modes, 0.1) for modes in (64, 8)]
    for one, wanted in zip(ends, exact, strict=True):
        assert one.contains(wanted)
    needed = quotient(*ends)
    assert needed.contains(exact[0] / exact[1])
    assert not needed.contains(math.sqrt(2))
    careful = quotient(reaching_stiffness(found[1], step_leak(0.1, 2), FAILURE).interval, ends[0])
    assert 1 < careful.lower < careful.upper < math.sqrt(2)  # the price, at a total leak of 0.1


@pytest.mark.parametrize(("modes", "depth"), [(16, 2), (64, 3), (4096, 4)])
def test_blocks_gain_nothing_at_equal_total_leak(modes: int, depth: int):
    """They are one map onto the M modes of a product partition, of perimeter B·P_S(m) ≥ P_S(M)."""
    branches = round(modes ** (1 / depth))
    for stiffness in (2.0, 16.0, 128.0):
        blocks = total_leak(sparsemax_leak(branches, stiffness), depth)
        assert blocks > sparsemax_leak(modes, stiffness)
        assert bound.core_sum(np.full(modes, (1 - blocks) / modes), stiffness, BARRIER) < 1
    limit = BARRIER * depth * bound.interface_floor(branches)
    steps = total_leak(sparsemax_leak(branches, 1e4), depth)
    assert 1e4 * steps == pytest.approx(limit, rel=5e-3)


# Rate


@pytest.mark.parametrize("depth", [2, 3])
def test_the_peak_over_root_depth_falls_towards_one(depth: int):
    ratios = [bound.peak_ratio(m**depth, depth) / math.sqrt(depth) for m in (4, 16, 64, 256, 1024)]
    assert (np.diff(ratios) < 0).all()
    assert 1 < ratios[-1] < 1 + 0.6 * (ratios[0] - 1)
    prices = [bound.price_ratio(m**depth, depth) / math.sqrt(depth) for m in (4, 16, 64, 256, 1024)]
    assert (np.diff(prices) > 0).all()
    assert prices[-1] < 1


def test_the_ratios_are_those_of_exact_stiffness_at_small_leaks():
    for depth, (peak, price) in DEPTHS.items():
        branches, share = round(4096 ** (1 / depth)), 1e-4
        once = sparsemax_stiffness(4096, share)
        assert once / sparsemax_stiffness(branches, share) == pytest.approx(peak, abs=1e-3)
        careful = sparsemax_stiffness(branches, step_leak(share, depth))
        assert careful / once == pytest.approx(price, abs=1e-3)


# Falsification


@pytest.mark.parametrize("depth", [2, 3])
def test_adding_leaks_up_is_refuted(depth: int):
    stiffness = sparsemax_stiffness(3, 0.3)
    hierarchy = sparsemax_hierarchy(3**depth, depth, stiffness)
    found = level_leaks(fresh(20 + depth), hierarchy, samples=50_000)
    check_proportion(found.total, total_leak(0.3, depth), FAILURE, resolution=0.04)
    check_rejects(check_proportion, found.total, depth * 0.3, FAILURE)
    check_rejects(check_proportion, found.total, 0.3, FAILURE)


def test_steps_on_common_coordinates_do_not_compound():
    """Without independence the whole leaks as one step: here both steps see the same x."""
    hierarchy = sparsemax_hierarchy(9, 2, 4.0)
    x = jax.random.normal(fresh(30), (50_000, 3))
    z = np.asarray(images(hierarchy, jnp.concatenate([x, x], axis=1)))
    missed = Estimate(
        float(np.mean((z.reshape(-1, 2, 3).max(axis=2) < 1).any(axis=1))), count=50_000
    )
    step = sparsemax_leak(3, 4.0)
    check_proportion(missed, step, FAILURE, resolution=0.06)
    check_rejects(check_proportion, missed, total_leak(step, 2), FAILURE)


@pytest.mark.parametrize(
    "made",
    [
        lambda: sparsemax_hierarchy(10, 2, 4.0),
        lambda: bound.peak_ratio(10, 2),
        lambda: bound.price_ratio(10, 2),
    ],
)
def test_modes_that_are_no_power_are_refused_in_one_line(made):
    with pytest.raises(
        ValueError, match="modes must be m\\^depth with m ≥ 2, got modes=10"
    ) as said:
        made()
    assert "\n" not in str(said.value)
