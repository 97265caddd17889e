"""Coarea: level sets by line crossings, total variation by autodiff, against known perimeters."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from tests.significance import check_mean, check_rejects
from theory.estimate import Estimate
from theory.gaussian import pdf
from theory.level_sets import Chord, Levels, level_integral, level_perimeter
from theory.total_variation import Variation, total_variation

FAILURE = 1e-10
COUNT = 1 << 15
WHOLE = Chord(16.0, 257)  # the line as a whole, but for tails of 1e-15


def fresh(number: int) -> jax.Array:
    return jax.random.fold_in(jax.random.key(17), number)


class Linear(eqx.Module):
    """u = ⟨a, x⟩."""

    slope: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.slope @ x


class Radius(eqx.Module):
    """u = ‖x‖."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.linalg.norm(x)


class Wave(eqx.Module):
    """u = sin(kx_1)/k."""

    number: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.sin(self.number * x[0]) / self.number


class Logistic(eqx.Module):
    """u = 1/(1 + e^{−βx_1}), whose level sets are half-spaces."""

    sharpness: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.nn.sigmoid(self.sharpness * x[0])


def sphere_area(n: int, radius: float) -> float:
    """∫_{|x| = r} φ_n = r^{n−1} e^{−r²/2} 2^{1−n/2}/Γ(n/2)."""
    return radius ** (n - 1) * math.exp(-(radius**2) / 2) * 2 ** (1 - n / 2) / math.gamma(n / 2)


def wave_variation(number: float) -> float:
    """E|cos(kx)|, x ~ N(0, 1): 2/π + (4/π) Σ_m (−1)^{m+1} e^{−2m²k²}/(4m² − 1)."""
    terms = [
        (-1) ** (m + 1) * math.exp(-2 * (m * number) ** 2) / (4 * m**2 - 1) for m in range(1, 50)
    ]
    return 2 / math.pi + 4 / math.pi * math.fsum(terms)


# One level


@pytest.mark.parametrize(("n", "chord"), [(1, WHOLE), (1, Chord()), (16, Chord())])
def test_half_spaces(n: int, chord: Chord):
    slope = np.zeros(n)
    slope[0] = 2.0
    function, count = Linear(jnp.asarray(slope)), 4096 if chord is WHOLE else 4 * COUNT
    got = level_perimeter(fresh(n), function, 1.4, dimension=n, chords=count, chord=chord)
    exact = float(pdf(0.7))
    check_mean(got, exact, FAILURE, resolution=0.16)
    if chord is WHOLE:  # one line: nothing is random but from where it is seen
        assert got.value == pytest.approx(exact, abs=1e-4)
        assert abs(got.value - exact) <= got.bias + 1e-12


@pytest.mark.parametrize("n", [2, 8])
def test_spheres_are_crossed_twice(n: int):
    radius = math.sqrt(n) - 0.3
    got = level_perimeter(fresh(10 + n), Radius(), radius, dimension=n, chords=COUNT, chord=WHOLE)
    exact = sphere_area(n, radius)
    check_mean(got, exact, FAILURE, resolution=0.06)
    check_rejects(check_mean, got, 1.08 * exact, FAILURE)


# All levels


def test_the_integral_of_a_linear_function_is_its_slope():
    function = Linear(jnp.asarray([3.0, -4.0, 0.0]))
    got = level_integral(fresh(20), function, dimension=3, chords=COUNT)
    check_mean(got.total, 5.0, FAILURE, resolution=0.04)
    left = total_variation(fresh(21), function, dimension=3, samples=8)
    assert left.total.value == pytest.approx(5.0, rel=1e-12)


def test_the_integral_of_the_radius_is_one():
    got = level_integral(fresh(22), Radius(), dimension=16, chords=4 * COUNT)
    check_mean(got.total, 1.0, FAILURE, resolution=0.02)
    left = total_variation(fresh(24), Radius(), dimension=16, samples=8)
    assert left.total.value == pytest.approx(1.0, rel=1e-12)


def test_bands_of_levels_hold_their_half_spaces():
    """P({u > t}) = φ(c(t)), c = log(t/(1 − t))/β, integrated over each band in closed form."""
    beta, edges = 2.0, np.linspace(0, 1, 6)
    function = Logistic(jnp.asarray(beta))
    with np.errstate(divide="ignore"):
        cuts = special.logit(edges) / beta
    nodes, weights = np.polynomial.legendre.leggauss(200)
    exact = []
    for low, high in np.clip(np.stack([cuts[:-1], cuts[1:]], 1), -12, 12):
        x = (low + high) / 2 + (high - low) / 2 * nodes
        slope = beta * special.expit(beta * x) * special.expit(-beta * x)
        exact.append((high - low) / 2 * np.sum(weights * slope * pdf(x)))
    common = {"dimension": 2, "edges": edges}
    left = total_variation(fresh(30), function, samples=4 * COUNT, **common)
    right = level_integral(fresh(31), function, chords=4 * COUNT, **common)
    for side in (left, right):
        check_mean(side.bands, np.array(exact), FAILURE, resolution=0.12)
        check_mean(side.total, math.fsum(exact), FAILURE, resolution=0.04)
        assert float(np.sum(side.bands.value)) == pytest.approx(side.total.value, rel=1e-12)
        check_rejects(check_mean, side.bands, np.roll(exact, 1), FAILURE)
        check_rejects(check_mean, side.total, 1.05 * math.fsum(exact), FAILURE)


def test_missed_pairs_of_crossings_are_within_the_stated_bias():
    """A wave of length 0.5 seen at steps of 1/16: what is missed is real, and allowed for."""
    function, exact = Wave(jnp.asarray(4 * math.pi)), wave_variation(4 * math.pi)
    options = {"dimension": 2, "chords": 4 * COUNT}
    coarse = level_integral(fresh(40), function, chord=Chord(0.5, 9), **options).total
    fine = level_integral(fresh(41), function, chord=Chord(0.5, 65), **options).total
    check_mean(coarse, exact, FAILURE, resolution=0.12)
    check_mean(fine, exact, FAILURE, resolution=0.03)
    blind = Estimate(coarse.value, coarse.sem, 0.0, coarse.count)
    check_rejects(check_mean, blind, exact, FAILURE)
    assert coarse.value < fine.value
    assert coarse.bias > 20 * fine.bias
    variation = total_variation(fresh(42), function, dimension=2, samples=4 * COUNT).total
    check_mean(variation, exact, FAILURE, resolution=0.02)


def test_the_mean_over_keys_is_as_spread_as_it_says():
    class Both(eqx.Module):
        def __call__(self, x: jax.Array) -> jax.Array:
            return jnp.sin(x[0]) + x[1] ** 2 / 2

    both = Both()

    found = [level_integral(fresh(50 + k), both, dimension=2, chords=2).total for k in range(24)]
    spread = np.std([one.value for one in found], ddof=1)
    assert 0.5 < spread / np.mean([one.sem for one in found]) < 1.7
    assert {one.count for one in found} == {8192}


def test_float32_functions_are_seen_in_float32():
    function = Linear(jnp.asarray([1.0, 1.0], "float32"))
    common = {"dimension": 2, "dtype": "float32"}
    right = level_integral(fresh(80), function, chords=COUNT, **common).total
    left = total_variation(fresh(81), function, samples=8, **common).total
    check_mean(right, math.sqrt(2), FAILURE, resolution=0.05)
    assert left.value == pytest.approx(math.sqrt(2), rel=1e-6)


def test_a_constant_has_no_levels():
    zero = Linear(jnp.zeros(2))
    got = level_integral(fresh(82), zero, dimension=2, chords=2, edges=(-1, 0, 1))
    assert isinstance(got, Levels)
    assert got.total.value == 0
    left = total_variation(
        fresh(83), Linear(jnp.zeros(2)), dimension=2, samples=2, edges=(-1, 0, 1)
    )
    assert isinstance(left, Variation)


class Pair(eqx.Module):
    def __call__(self, x: jax.Array) -> jax.Array:
        return x[:2]


class Nowhere(eqx.Module):
    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.sqrt(x[0])


UNIT = Linear(jnp.ones(2))
BAD = {
    "dimension must be an integer ≥ 1, got 0": lambda k: level_integral(
        k, UNIT, dimension=0, chords=2
    ),
    "chords must be an integer ≥ 2, got 1": lambda k: level_integral(
        k, UNIT, dimension=2, chords=1
    ),
    "samples must be an integer ≥ 2, got 1": lambda k: total_variation(
        k, UNIT, dimension=2, samples=1
    ),
    "length must be a positive finite number, got 0": lambda k: level_integral(
        k, UNIT, dimension=2, chords=2, chord=Chord(0, 9)
    ),
    "nodes are odd in number": lambda k: level_integral(
        k, UNIT, dimension=2, chords=2, chord=Chord(1.0, 8)
    ),
    "increasing numbers, got shape (2,)": lambda k: level_integral(
        k, UNIT, dimension=2, chords=2, edges=(1.0, 0.0)
    ),
    "increasing numbers, got shape (1,)": lambda k: total_variation(
        k, UNIT, dimension=2, samples=2, edges=(1.0,)
    ),
    "a level is a finite number, got nan": lambda k: level_perimeter(
        k, UNIT, math.nan, dimension=2, chords=2
    ),
    "u maps a point to a number, got shape (2,)": lambda k: level_integral(
        k, Pair(), dimension=2, chords=2
    ),
    "to a number, got shape (2,)": lambda k: total_variation(k, Pair(), dimension=2, samples=2),
    "u must be finite, got NaN": lambda k: level_integral(k, Nowhere(), dimension=1, chords=2),
    "gradient of u must be finite, got NaN": lambda k: total_variation(
        k, Nowhere(), dimension=1, samples=2
    ),
}


@pytest.mark.parametrize("said", BAD)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named(said: str):
    with pytest.raises(ValueError, match=r"got|nodes") as error:
        BAD[said](fresh(90))
    assert said in str(error.value)
    assert "\n" not in str(error.value)
