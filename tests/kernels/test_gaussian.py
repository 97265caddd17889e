"""φ, Φ, quantiles, I(v), a_M and Gaussian draws against arbitrary precision and exact laws."""

import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import special, stats

from tests.significance import FAILURE, check_mean, check_rejects
from theory import bound
from theory.estimate import from_samples
from theory.gaussian import (
    composite_legendre,
    expected_maximum,
    isoperimetric_profile,
    log_cdf,
    normal,
    pdf,
    quantile,
    tail,
    tail_quantile,
)
from theory.perimeter import intervals

LOWER = [float(f"1e-{k}") for k in (300, 200, 100, 50, 20, 12, 8, 5, 3, 2, 1)]
MASSES = [*LOWER, 0.3, 0.5, 0.7, *(1 - v for v in LOWER if v >= 1e-12)]
TABLE = {  # M: a_M/√2, (M/2)·I(1/M), intervals at n = 1
    2: (0.3989422804014327, 0.3989422804014327, 0.3989422804014327),
    3: (0.5984134206021490, 0.5453996620129766, 0.7271995493506356),
    4: (0.7278783066375349, 0.6355531453682140, 1.0344954257696468),
    8: (1.0066374301038603, 0.8234141206865747, 2.2045929707271252),
    16: (1.2487444895461, 0.9838715649957409, 4.485000339754818),
    64: (1.6572698264515, 1.2550924945892348, 18.04582928366585),
    256: (1.9988941940252, 1.484550840089005, 72.21395841172414),
    1024: (2.2968522490512, 1.6868252643397563, 288.86443282333585),
    4096: (2.5640272970402, 1.869615764994263, 1155.4600954516254),
}


@pytest.fixture(autouse=True)
def _precision():
    with mpmath.workdps(40):
        yield


def exact_tail_quantile(q: mpmath.mpf) -> mpmath.mpf:
    """Q⁻¹(q) ≥ 0 for q ≤ ½, by Newton steps on log Q."""
    x = mpmath.mpf(float(special.ndtri(float(q))))
    for _ in range(8):
        x -= (mpmath.log(mpmath.ncdf(x)) - mpmath.log(q)) * mpmath.ncdf(x) / mpmath.npdf(x)
    return -x


def exact_expected_maximum(count: int, degree: int) -> mpmath.mpf:
    """M ∫ x φ(x) Φ(x)^{M−1} dx, by Gauss–Legendre on half-unit panels."""

    def density(x: mpmath.mpf) -> mpmath.mpf:
        below = mpmath.log1p(-mpmath.erfc(x / mpmath.sqrt(2)) / 2)
        return x * mpmath.npdf(x) * mpmath.exp((count - 1) * below)

    panels = mpmath.linspace(-13, 13, 53)
    return count * mpmath.quad(density, panels, method="gauss-legendre", maxdegree=degree)


def relative(got: float, wanted: mpmath.mpf) -> float:
    return float(abs(mpmath.mpf(float(got)) / wanted - 1))


@pytest.mark.parametrize("v", MASSES)
def test_isoperimetric_profile_in_both_tails(v: float):
    mass = mpmath.mpf(v)
    wanted = mpmath.npdf(exact_tail_quantile(min(mass, 1 - mass)))
    assert relative(isoperimetric_profile(v), wanted) < 1e-12


def test_isoperimetric_profile_at_the_ends_and_by_symmetry():
    assert isoperimetric_profile(0.0) == 0
    assert isoperimetric_profile(1.0) == 0
    assert isoperimetric_profile(0.5) == pytest.approx(1 / math.sqrt(2 * math.pi), rel=1e-15)
    grid = np.arange(1, 256) / 256
    np.testing.assert_array_equal(isoperimetric_profile(grid), isoperimetric_profile(1 - grid))
    assert (np.diff(isoperimetric_profile(grid), 2) < 0).all()  # strictly concave


@pytest.mark.parametrize("v", MASSES)
def test_log_cdf_has_small_relative_error_in_both_tails(v: float):
    for x in (float(special.ndtri(v)), -float(special.ndtri(v))):
        q = mpmath.erfc(mpmath.mpf(x) / mpmath.sqrt(2)) / 2
        wanted = mpmath.log1p(-q) if x > 0 else mpmath.log(1 - q)
        if x < 0:
            wanted = mpmath.log(mpmath.erfc(-mpmath.mpf(x) / mpmath.sqrt(2)) / 2)
        assert relative(log_cdf(x), wanted) < 1e-12


@pytest.mark.parametrize("v", MASSES)
def test_quantiles_invert_their_tails(v: float):
    mass = mpmath.mpf(v)
    wanted = exact_tail_quantile(mass) if v <= 0.5 else -exact_tail_quantile(1 - mass)
    scale = max(abs(wanted), mpmath.mpf(1))
    assert abs(mpmath.mpf(tail_quantile(v)) - wanted) / scale < 1e-13
    assert abs(mpmath.mpf(quantile(v)) + wanted) / scale < 1e-13


@pytest.mark.parametrize("x", [-37.0, -8.0, -1.0, 0.0, 1.0, 8.0, 20.0, 37.0])
def test_pdf_and_tail(x: float):
    assert relative(pdf(x), mpmath.npdf(x)) < 1e-12
    assert relative(tail(x), mpmath.erfc(mpmath.mpf(x) / mpmath.sqrt(2)) / 2) < 1e-12


@pytest.mark.parametrize("function", [quantile, tail_quantile, isoperimetric_profile])
@pytest.mark.parametrize(
    "bad", [-1e-9, 1 + 1e-9, math.nan, math.inf, [], [0.5, 2.0], np.linspace(-1, 2, 100)]
)
def test_a_mass_outside_0_1_is_an_error_on_one_line(function, bad):
    with pytest.raises(ValueError, match=r"a mass lies in \[0, 1\], got") as error:
        function(bad)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("modes", "row"), TABLE.items())
def test_the_table_of_floors(modes: int, row: tuple[float, float, float]):
    assert expected_maximum(modes) / math.sqrt(2) == pytest.approx(row[0], rel=1e-11)
    assert bound.interface_floor(modes) == pytest.approx(row[0], rel=1e-11)
    assert bound.elementary_floor(modes) == pytest.approx(row[1], rel=1e-11)
    assert intervals(modes) == pytest.approx(row[2], rel=1e-11)


@pytest.mark.parametrize(
    "modes", [2, 3, 1000, 10**9, *(pytest.param(m, marks=pytest.mark.slow) for m in (10, 10**6))]
)
def test_expected_maximum_against_another_integral(modes: int):
    coarse, wanted = (exact_expected_maximum(modes, degree) for degree in (4, 5))
    assert abs(coarse / wanted - 1) < 1e-12  # the oracle agrees with itself at two orders
    assert relative(expected_maximum(modes), wanted) < 1e-9


def test_expected_maximum_in_closed_form():
    wanted = [0, 1 / math.sqrt(math.pi), 1.5 / math.sqrt(math.pi)]
    got = [expected_maximum(count) for count in (1, 2, 3)]
    np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("bad", [0, -3, True, 2.5, math.nan, "4"])
@pytest.mark.usefixtures("unchecked")
def test_expected_maximum_of_no_count_is_an_error(bad):
    with pytest.raises(ValueError, match="count must be an integer ≥ 1, got"):
        expected_maximum(bad)


def test_composite_legendre_is_exact_for_polynomials():
    nodes, weights = composite_legendre(-1.0, 3.0, panels=3, order=4)
    for power in range(8):
        wanted = (3.0 ** (power + 1) - (-1.0) ** (power + 1)) / (power + 1)
        assert weights @ nodes**power == pytest.approx(wanted, rel=1e-13)


@pytest.mark.parametrize(
    ("x64", "dtype", "rtol"), [(False, "float32", 2e-5), (True, "float64", 1e-9)]
)
def test_jax_arrays_keep_their_dtype_and_their_tails(x64: bool, dtype: str, rtol: float):
    with jax.enable_x64(x64):
        x = jnp.asarray(np.linspace(-12, 12, 97), dtype)
        given = np.asarray(x, np.float64)
        for function in (pdf, tail, log_cdf):
            got = jax.jit(function)(x)
            assert got.dtype == dtype
            np.testing.assert_allclose(np.asarray(got), function(given), rtol=rtol)


def test_normal_has_the_moments_of_a_gaussian():
    x = np.asarray(normal(jax.random.key(1), (1 << 17,)))
    assert x.dtype == np.float64
    assert np.isfinite(x).all()
    moments = from_samples(np.stack([x, x**2, x**3, x**4], axis=1))
    check_mean(moments, np.array([0.0, 1.0, 0.0, 3.0]))
    for power, wrong in ((2, 1.05), (4, 3 * 1.1)):
        check_rejects(check_mean, from_samples(x**power), wrong)


def test_normal_has_the_gaussian_distribution_function():
    x = np.asarray(normal(jax.random.key(2), (512, 256))).ravel()
    reach = math.sqrt(math.log(2 / FAILURE) / (2 * x.size))  # Dvoretzky–Kiefer–Wolfowitz, Massart
    assert stats.kstest(x, stats.norm.cdf).statistic <= reach
    assert stats.kstest(1.05 * x, stats.norm.cdf).statistic > reach
    assert stats.kstest(x + 0.05, stats.norm.cdf).statistic > reach


def test_normal_is_finite_and_beyond_8_sigma_at_the_ends_of_the_uniforms(monkeypatch):
    def ends(key, shape, dtype):
        return jnp.array([0.0, 2.0**-52, 0.5, 1 - 2.0**-52], dtype)

    monkeypatch.setattr(jax.random, "uniform", ends)
    jax.clear_caches()
    x = np.asarray(normal(jax.random.key(0), (4,)))
    jax.clear_caches()  # nothing compiled with the patch survives it
    assert np.isfinite(x).all()
    assert x[3] > 8
    np.testing.assert_allclose(x[1:], special.ndtri([2.0**-52, 0.5, 1 - 2.0**-52]), rtol=1e-12)
    assert x[0] < x[1] < -8


@pytest.mark.parametrize("x64", [False, True])
def test_normal_can_be_jitted_and_follows_its_dtype(x64: bool):
    with jax.enable_x64(x64):
        draw = jax.jit(lambda key: normal(key, (64, 3), "float32"))
        narrow = draw(jax.random.key(3))
        assert narrow.dtype == jnp.float32
        assert normal(jax.random.key(4), (2, 2)).dtype == (jnp.float64 if x64 else jnp.float32)
        check_mean(from_samples(np.asarray(narrow).ravel() ** 2), 1.0)
