"""Predicted flips against quadrature by other routes, and second orders against their limits."""

import math

import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import special

from theory import bound, flip_law, perimeter
from theory.gaussian import composite_legendre
from theory.mixture import Mixture
from theory.partition import PowerDiagram, simplicial_cluster

TWO = Mixture(np.array([[-1.0], [0.8]]), np.array([0.7, 0.5]), np.array([0.4, 0.6]))
# The posterior mean is ½ beyond the mean of the rare mode, on whose other side ½ lies.
RARE = Mixture(np.array([[-1.0], [1.0]]), 0.3, np.array([0.95, 0.05]))


def parted(scale: float, threshold: float, cut: float, width: float, mean: float = 0.0) -> float:
    """P(one of Z ≤ c, X ≤ cut holds without the other), X = Z + sξ, over Z in 20 digits."""
    s, c, x, w, m = map(mpmath.mpf, (scale, threshold, cut, width, mean))
    with mpmath.workdps(20):
        level = (c - m) / w
        near = [k * s / w for k in (2, 12)]
        below, above = [level - k for k in reversed(near)], [level + k for k in near]

        def crossing(u, side):
            return mpmath.npdf(u) * mpmath.ncdf(side * (m + w * u - x) / s)

        lower = mpmath.quad(lambda u: crossing(u, 1), [-mpmath.inf, *below, level])
        upper = mpmath.quad(lambda u: crossing(u, -1), [level, *above, mpmath.inf])
        return float(lower + upper)


@pytest.mark.parametrize(
    ("scale", "threshold", "width"),
    [(0.5, 1.0, 1.0), (0.005, 0.7, 1.0), (0.3, 5.0, 1.0), (2.0, -1.5, 0.6)],
)
def test_half_space_flips_in_twenty_digits(scale: float, threshold: float, width: float):
    got = flip_law.half_space_flips(scale, threshold, width)
    cut = threshold * (1 + (scale / width) ** 2)  # where ρ²x = c
    assert got.raw == pytest.approx(parted(scale, threshold, threshold, width), rel=1e-12)
    assert got.mean == pytest.approx(parted(scale, threshold, cut, width), rel=1e-12)


def test_the_half_space_through_the_mean_is_arctan():
    for scale, width in ((1e-6, 1.0), (0.5, 2.0), (30.0, 1.0)):
        exact = math.atan(scale / width) / math.pi
        assert flip_law.half_space_flips(scale, 0.0, width) == pytest.approx((exact, exact))
    assert flip_law.half_space_flips(0.5, 1.0) == pytest.approx((0.095914, 0.086129), abs=5e-7)


@pytest.mark.parametrize(("law", "scale", "threshold"), [(TWO, 0.4, 0.2), (RARE, 0.8, 0.5)])
def test_mixture_flips_mode_by_mode(law: Mixture, scale: float, threshold: float):
    got = flip_law.mixture_half_space_flips(law, scale, threshold)
    modes = list(
        zip(law.means[:, 0].tolist(), law.widths.tolist(), law.masses.tolist(), strict=True)
    )
    # Where the posterior mean of the law itself is c.
    low, high = -3.0, 3.0
    for _ in range(36):
        middle = (low + high) / 2
        inner = float(law.posterior_mean(jnp.array([middle]), scale)[0])
        low, high = (middle, high) if inner < threshold else (low, middle)
    for value, cut in ((got.raw, threshold), (got.mean, low)):
        exact = sum(m * parted(scale, threshold, cut, w, a) for a, w, m in modes)
        assert value == pytest.approx(exact, rel=1e-8)


def test_a_mixture_of_one_mode_flips_as_a_half_space():
    one = Mixture(np.zeros((1, 1)), 1.0)
    assert flip_law.mixture_half_space_flips(one, 0.3, 0.7) == pytest.approx(
        flip_law.half_space_flips(0.3, 0.7), rel=1e-12
    )


def double_integral(modes: int, scale: float) -> float:
    """1 − M ∬ φ₂ Φ₂^{M−1}, Φ₂ itself by an integral: nothing shared with the form under test."""
    rho = 1 / math.hypot(1, scale)
    root = math.sqrt(1 - rho**2)
    x, x_weights = composite_legendre(-7.0, 8.0, panels=10)
    z, z_weights = composite_legendre(-8.0, 8.0, panels=6)
    inner, inner_weights = composite_legendre(-17.0, 0.0, panels=17, order=12)
    y = rho * x[:, None] + root * z
    u = x[:, None] + inner  # Φ₂(x, y) = ∫_{−∞}^x φ(u) Φ((y − ρu)/√(1−ρ²)) du
    bell = np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi) * inner_weights
    joint = np.stack(
        [
            special.ndtr((row[:, None] - rho * v) / root) @ b
            for row, v, b in zip(y, u, bell, strict=True)
        ]
    )
    density = np.outer(np.exp(-(x**2) / 2) * x_weights, np.exp(-(z**2) / 2) * z_weights)
    return 1 - modes * float(np.sum(density / (2 * math.pi) * joint ** (modes - 1)))


@pytest.mark.parametrize("modes", [2, 8, 64])
@pytest.mark.parametrize(("scale", "close"), [(0.1, 1e-6), (0.5, 1e-8), (1.0, 1e-8)])
def test_simplicial_flips_against_the_double_integral(modes: int, scale: float, close: float):
    exact = double_integral(modes, scale)
    assert flip_law.simplicial_flips(modes, scale) == pytest.approx(exact, rel=close)
    assert flip_law.simplicial_flips(modes, 2 * scale, 2.0) == pytest.approx(exact, rel=close)


def test_simplicial_flips_where_the_double_integral_loses_its_digits():
    for scale in (1e-5, 0.005, 0.1):
        exact = math.atan(scale) / math.pi
        assert flip_law.simplicial_flips(2, scale) == pytest.approx(exact, rel=1e-12)
    known = (0.0930766, 0.0472897, 0.0237784)
    got = [flip_law.simplicial_flips(3, s) for s in (0.2, 0.1, 0.05)]
    assert got == pytest.approx(known, abs=1e-7)


def test_orthants_are_products():
    for n in (1, 2, 5):
        sign = flip_law.half_space_flips(0.3).raw
        assert flip_law.orthant_flips(n, 0.3) == pytest.approx(1 - (1 - sign) ** n, rel=1e-13)
    assert flip_law.orthant_flips(3, 0.6, 2.0) == pytest.approx(flip_law.orthant_flips(3, 0.3))


@pytest.mark.parametrize("modes", [2, 3, 8, 64])
def test_equidistant_readouts_include_the_simplicial_cluster(modes: int):
    width = 0.7
    law, diagram = Mixture(np.zeros((1, modes - 1)), width), simplicial_cluster(modes)
    area, second = flip_law.equidistant_interface(law, diagram)
    assert area == pytest.approx(bound.interface_floor(modes) / width, rel=1e-12)
    expected = flip_law.simplicial_second_order(modes, width)
    assert second == pytest.approx(expected, rel=1e-11, abs=1e-15)
    ridges = bound.leak_expansion(modes)[1] / (math.sqrt(3) / 2) / width**2
    assert flip_law.simplicial_ridges(modes, width) == pytest.approx(ridges, rel=1e-11, abs=1e-15)


def test_equidistant_readouts_of_unequal_masses_and_of_mixtures():
    masses = np.array([0.5, 0.25, 0.15, 0.1])
    diagram = simplicial_cluster(4, masses)
    one = flip_law.equidistant_interface(Mixture(np.zeros((1, 3)), 1.0), diagram)
    assert one.area == pytest.approx(bound.unequal_floor(masses)[0], rel=1e-9)
    # A half-space of R: area is the density at the threshold, and there are no ridges.
    readout = PowerDiagram(np.array([[0.0], [3.0]]), [3 * 0.2, 0.0])
    area, second = flip_law.equidistant_interface(TWO, readout)
    assert area == pytest.approx(float(np.exp(TWO.log_density(jnp.array([0.2])))), rel=1e-12)
    assert second == pytest.approx(0, abs=1e-14)
    with pytest.raises(ValueError, match="expected equidistant sites, got distances from 1 to 2"):
        flip_law.equidistant_interface(TWO, PowerDiagram(np.array([[0.0], [1.0], [2.0]])))


@pytest.mark.parametrize("modes", [3, 8, 64])
def test_second_order_of_simplices_is_the_limit_of_their_flips(modes: int):
    """In ω = arctan(s), of which the first order is a multiple, the next term is small."""
    area = bound.interface_floor(modes)
    rest = [
        (flip_law.simplicial_flips(modes, math.tan(w)) - bound.tube_rate(w, area)) / w**2
        for w in (0.001, 0.002)
    ]
    expected = flip_law.simplicial_second_order(modes)
    assert 2 * rest[0] - rest[1] == pytest.approx(expected, rel=1e-6)
    assert -expected == pytest.approx(0.188790 * flip_law.simplicial_ridges(modes), rel=1e-5)


def test_second_order_of_orthants():
    for n in (1, 2, 4):
        expected = -math.comb(n, 2) / math.pi**2
        assert flip_law.orthant_second_order(n) == pytest.approx(expected, rel=1e-12, abs=1e-15)
    area, s = perimeter.orthants(3), 1e-4
    rest = (flip_law.orthant_flips(3, s) - bound.tube_rate(s, area)) / s**2
    assert rest == pytest.approx(flip_law.orthant_second_order(3), rel=1e-3)


def test_third_order_of_facets():
    got = flip_law.facet_third_order(Mixture(np.zeros((1, 1)), 1.0), 0.7)
    unit = math.sqrt(2 / math.pi) * perimeter.half_space(0.7)
    assert got.raw / unit == pytest.approx(-0.17, abs=1e-12)
    assert got.mean / unit == pytest.approx(-0.415, abs=1e-12)
    third = flip_law.facet_third_order(TWO, 0.2)
    area = flip_law.equidistant_interface(
        TWO, PowerDiagram(np.array([[0.0], [1.0]]), [0.2, 0.0])
    ).area
    for kind in (0, 1):
        rest = [
            (flip_law.mixture_half_space_flips(TWO, s, 0.2)[kind] - bound.tube_rate(s, area)) / s**3
            for s in (0.01, 0.02)
        ]
        assert (4 * rest[0] - rest[1]) / 3 == pytest.approx(third[kind], rel=1e-4)


BAD = {
    "scale must be a positive finite number, got 0.0": lambda: flip_law.half_space_flips(0.0),
    "threshold must be finite, got nan": lambda: flip_law.half_space_flips(1.0, math.nan),
    "width must be a positive finite number, got -1.0": lambda: flip_law.orthant_flips(
        2, 1.0, -1.0
    ),
    "modes must be an integer ≥ 2, got 1": lambda: flip_law.simplicial_flips(1, 0.1),
    "dimension must be an integer ≥ 1, got 0": lambda: flip_law.orthant_second_order(0),
    "expected a law of R (n = 1), got one of R^2": lambda: flip_law.facet_third_order(
        Mixture(np.zeros((1, 2)), 1.0), 0.0
    ),
    "a mode is an atom (width 0): it has no density": lambda: flip_law.mixture_half_space_flips(
        Mixture(np.zeros((1, 1)), 0.0), 0.1, 0.0
    ),
    "latents in R^1, but a readout of R^3": lambda: flip_law.equidistant_interface(
        TWO, simplicial_cluster(4)
    ),
}


@pytest.mark.parametrize("said", BAD)
def test_bad_input_is_one_clear_line(said: str):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        BAD[said]()
    assert str(error.value) == said
