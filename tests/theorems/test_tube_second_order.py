"""Theorem 3, beyond the first order: where and how the ratio to √(2/π)·s·A_W leaves 1.

Hypotheses: Z ~ p smooth, X = Z + sξ, μ(X) = E[Z|X], y a power diagram. Conclusion: with ridges the
flips are √(2/π)sA_W − s²Σg(α)∫p + O(s³), raw and posterior mean alike; without,
√(2/π)(sA_W + s³∫_F(∂²_νp/3 − θ(∂_νp)²/(2p))) + …, θ = 0 raw, 1 posterior mean.
"""

import functools
import math

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import strategies
from tests.significance import check_mean, check_rejects
from tests.theorems.keys import root
from theory import bound, flip_law, perimeter
from theory.estimate import Estimate
from theory.extrapolation import extrapolated, leading_coefficient
from theory.line_flips import LineFlips, circle_flips, line_flips
from theory.mixture import Mixture
from theory.partition import PowerDiagram, half_space, orthants, simplicial_cluster

FAILURE = 1e-10  # a check; this file makes fewer than 60 of them
RATE = math.sqrt(2 / math.pi)
LADDER = np.array([0.005, 0.01, 0.02, 0.04, 0.08])
ANGLES = np.array([0.2, 0.4, 0.6])
UNEQUAL = simplicial_cluster(4, [0.5, 0.25, 0.15, 0.1])
STEPS = {2: np.array([0.1, 0.2, 0.4]), 3: np.array([0.1, 0.2, 0.3, 0.4])}


def fresh(number: int) -> jax.Array:
    """A key of this file; made anew, since no key may be used twice."""
    return jax.random.fold_in(root(23), number)


def standard(dimension: int) -> Mixture:
    return Mixture(np.zeros((1, dimension)), 1.0)


def uneven() -> tuple[Mixture, PowerDiagram]:
    """Two modes of uneven widths and masses under four equidistant sites of uneven offsets."""
    law = Mixture(np.array([[0.5, 0.0, 0.2], [-0.8, 0.4, 0.0]]), np.array([0.8, 1.0]), [0.6, 0.4])
    return law, PowerDiagram(simplicial_cluster(4).sites, [0.3, -0.2, 0.1, 0.0])


PAIRS = {  # latents and readout, on circles or not, A_W
    "half_space": lambda: (standard(1), half_space(1, 0.7), False, perimeter.half_space(0.7)),
    "quadrants": lambda: (standard(2), orthants(2), True, perimeter.orthants(2)),
    "simplicial": lambda: (standard(7), simplicial_cluster(8), True, bound.interface_floor(8)),
    "unequal": lambda: (
        standard(3),
        UNEQUAL,
        False,
        bound.unequal_floor(np.array([0.5, 0.25, 0.15, 0.1]))[0],
    ),
    "mixture": lambda: (*uneven(), False, flip_law.equidistant_interface(*uneven()).area),
}


SHOWN = [
    name if name == "quadrants" else pytest.param(name, marks=pytest.mark.slow) for name in PAIRS
]


def measured(name: str, scales: np.ndarray, key: int, lines: int = 1 << 10) -> LineFlips:
    law, diagram, circles, _ = PAIRS[name]()
    options = {"lines": lines, "replicates": 32}
    if circles:
        return circle_flips(fresh(key), diagram, scales, **options)
    return line_flips(fresh(key), law, diagram, scales, **options)


@functools.cache
def limits(name: str) -> tuple[Estimate, Estimate]:
    """Flips over √(2/π)·s at s → 0, raw and posterior mean."""
    found = measured(name, LADDER, list(PAIRS).index(name))
    return tuple(
        extrapolated(LADDER, rates / (RATE * LADDER)).offset for rates in (found.raw, found.mean)
    )


# Equality: the limit is A_W


@pytest.mark.parametrize("name", SHOWN)
def test_the_limit_is_the_area(name: str):
    area = PAIRS[name]()[-1]
    for limit in limits(name):
        check_mean(limit, area, FAILURE, resolution=0.045)


# Property: what is left has the order of facets, or of ridges, whatever the widths


def left_over(flips: float, scale: float, area: float, order: int) -> float:
    """(flips − √(2/π)·s·A_W)/s^order, which tends to the coefficient."""
    return (flips - RATE * scale * area) / scale**order


@given(threshold=st.floats(-2.0, 2.0), width=strategies.scales(1.0))
def test_any_half_space_departs_at_third_order(threshold: float, width: float):
    """In units of the width: O(s³) is missing, as `facet_third_order` says, and then O(s⁵)."""
    law, cut = Mixture(np.zeros((1, 1)), width), threshold * width
    area = perimeter.half_space(threshold) / width
    steps = 0.02 * width, 0.01 * width
    flips = [flip_law.half_space_flips(s, cut, width) for s in steps]
    for kind in ("raw", "mean"):
        wanted = getattr(flip_law.facet_third_order(law, cut), kind) * width**3
        far, near = (
            left_over(getattr(f, kind), s, area, 3) * width**3
            for f, s in zip(flips, steps, strict=True)
        )
        assert abs((4 * near - far) / 3 - wanted) < 1e-5
        assert abs(near - far) < 2e-3


@given(dimension=st.integers(1, 8), width=strategies.scales(1.0))
def test_right_angles_of_any_width_depart_at_second_order(dimension: int, width: float):
    """Orthants: −s² for every two coordinates, then O(s³); a coefficient 5% larger is refuted."""
    area = perimeter.orthants(dimension) / width
    wanted = flip_law.orthant_second_order(dimension, width) * width**2
    near, far = (
        left_over(flip_law.orthant_flips(dimension, s, width), s, area, 2) * width**2
        for s in (0.002 * width, 0.004 * width)
    )
    assert abs(2 * near - far - wanted) < 1e-3 * max(1e-3, abs(wanted))
    assert dimension == 1 or abs(2 * near - far - 1.05 * wanted) > 0.04 * abs(wanted)


# Rate: the order and coefficient of what follows


def coefficients(name: str, order: int, key: int) -> list[Estimate]:
    circles = PAIRS[name]()[2]
    scales = np.tan(ANGLES) if circles else STEPS[order]
    found = measured(name, scales, key, lines=1 << 11)
    places = ANGLES if circles else scales
    rest = (found.raw_missed, found.mean_missed) if order == 2 else found.excess()
    return [leading_coefficient(places, part, order, order - 1) for part in rest]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("quadrants", -1 / math.pi**2),
        pytest.param("simplicial", flip_law.simplicial_second_order(8), marks=pytest.mark.slow),
        pytest.param(
            "unequal",
            flip_law.equidistant_interface(standard(3), UNEQUAL).second_order,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_ridges_take_their_coefficient_off_s_squared(name: str, expected: float):
    """For raw noise and posterior mean alike; none of it, or twice as much, is refuted."""
    for got in coefficients(name, 2, 10 + len(name)):
        check_mean(got, expected, FAILURE, resolution=0.3 if PAIRS[name]()[2] else 0.9)
        check_rejects(check_mean, got, 2 * expected, FAILURE)
        check_rejects(check_mean, got, 0.0, FAILURE)


def test_facets_without_ridges_part_raw_noise_from_the_posterior_mean():
    """−0.170 and −0.415 at c = 0.7, over √(2/π)·φ(c); the mean's without the score is refuted."""
    raw, mean = coefficients("half_space", 3, 30)
    unit = 1 / (RATE * perimeter.half_space(0.7))
    check_mean(raw.scaled(unit), -0.17, FAILURE, resolution=0.05)
    check_mean(mean.scaled(unit), -0.415, FAILURE, resolution=0.05)
    check_rejects(check_mean, mean.scaled(unit), -0.17, FAILURE)


@pytest.mark.parametrize(("name", "order"), [("half_space", 2.0), ("quadrants", 1.0)])
def test_the_ratio_leaves_one_with_its_order(name: str, order: float):
    found = measured(name, LADDER, 40, lines=1 << 12)
    for rates in (found.raw, found.mean):
        power = extrapolated(LADDER, rates / (RATE * LADDER)).exponent
        check_mean(power, order, FAILURE, resolution=0.45)
        check_rejects(check_mean, power, 3 - order, FAILURE)


# Falsification


@pytest.mark.parametrize("name", SHOWN)
def test_nearly_right_laws_are_refuted(name: str):
    """1 for √(2/π), and 1.05·A_W."""
    area = PAIRS[name]()[-1]
    for limit in limits(name):
        check_rejects(check_mean, limit, area / RATE, FAILURE)
        check_rejects(check_mean, limit, 1.05 * area, FAILURE)
