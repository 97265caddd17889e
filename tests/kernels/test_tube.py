"""A_W from known densities, flip rates against the half-space, the sandwich against brute force."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from tests.significance import check_mean, check_proportion, check_rejects
from theory import tube
from theory.estimate import proportion_interval
from theory.gaussian import normal
from theory.partition import PowerDiagram, half_space
from theory.tube import (
    WINDOW,
    flip_counts,
    flip_rate,
    interface_area,
    interface_weights,
    sandwich,
    window,
)

DENSITIES = {  # law of δ, f(0)/2, f''(0)
    "exponential": (stats.expon(scale=0.5), 1.0, 8.0),
    "half-normal": (
        stats.halfnorm(scale=2.0),
        math.sqrt(2 / math.pi) / 4,
        -math.sqrt(2 / math.pi) / 8,
    ),
    "linear": (stats.beta(1, 2), 1.0, 0.0),
    "flat": (stats.uniform(0, 2), 0.25, 0.0),
}
RNG = np.random.default_rng(11)
SHAPE = (200, 3)


@pytest.fixture(scope="module")
def readout() -> PowerDiagram:
    rng = np.random.default_rng(12)
    sites, offsets = rng.normal(size=(8, 3)), 0.3 * rng.normal(size=8)
    sites[7], offsets[7] = sites[0], offsets[0] - 0.5  # a token that is never chosen
    return PowerDiagram(sites, offsets)


@pytest.fixture(scope="module")
def latents() -> np.ndarray:
    return RNG.normal(size=SHAPE)


@pytest.mark.parametrize("name", DENSITIES)
def test_area_contains_half_the_density_at_zero(name: str):
    law, area, _ = DENSITIES[name]
    got = interface_area(law.rvs(1 << 20, random_state=13))
    check_mean(got, area, resolution=0.05)
    check_rejects(check_mean, got, 1.08 * area)
    check_rejects(check_mean, got, 2 * area)


@pytest.mark.parametrize("name", DENSITIES)
def test_the_bias_is_as_stated(name: str):
    """Against quadrature: E value = A − h²f''/24 + O(h³), and the stated bias covers it."""
    law, area, curvature = DENSITIES[name]
    width, count = 0.1, 1 << 16
    kernel = lambda d: (4 - 6 * d / width) / (2 * width) * law.pdf(d)  # noqa: E731
    mean = integrate.quad(kernel, 0, width)[0]
    assert mean - area == pytest.approx(-(width**2) * curvature / 24, rel=0.15, abs=1e-9)
    grid = law.ppf((np.arange(count) + 0.5) / count)
    got = interface_area(grid, width=width)
    assert got.value == pytest.approx(mean, abs=1e-3 * area)
    assert abs(mean - area) <= 1.05 * got.bias + 1e-3 * area


def test_weights_have_their_moments():
    grid = (np.arange(100_000) + 0.5) / 100_000
    terms = interface_weights(2 * grid, 2.0) * 4
    for power, wanted in ((0, [1, 1]), (1, [0, 0])):
        np.testing.assert_allclose((terms * grid**power).mean(axis=1), wanted, atol=1e-8)
    assert (terms[1] * grid**2).mean() == pytest.approx(0, abs=1e-8)
    np.testing.assert_array_equal(interface_weights([2.0, 5.0, math.inf], 2.0), 0)


def test_distances_beyond_the_window_may_be_left_out():
    delta = RNG.exponential(size=10_000)
    got, wanted = (interface_area(d, width=0.2, count=10_000) for d in (delta[delta < 0.2], delta))
    assert got.value == pytest.approx(wanted.value, rel=1e-12)
    assert got.sem == pytest.approx(wanted.sem, rel=1e-12)
    direct = interface_weights(delta, 0.2)[0]
    assert got.sem == pytest.approx(stats.sem(direct), rel=1e-9)


def test_window_holds_its_share_at_any_scale():
    delta = RNG.exponential(size=10_001)
    assert np.mean(delta <= window(delta)) == pytest.approx(WINDOW, abs=1e-4)
    assert window(1e6 * delta) == pytest.approx(1e6 * window(delta), rel=1e-12)


@pytest.mark.parametrize(
    "scale", [0.5, *(pytest.param(s, marks=pytest.mark.slow) for s in (0.05, 2.0))]
)
@pytest.mark.parametrize("denoised", [False, True])
def test_half_space_flips_are_an_arctangent_raw_and_denoised(scale: float, denoised: bool):
    clean = jax.random.normal(jax.random.key(1), (1 << 18, 2))
    denoiser = (lambda x: x / (1 + scale**2)) if denoised else None
    got = flip_rate(jax.random.key(2), clean, half_space(2), scale, denoiser)
    check_proportion(got, math.atan(scale) / math.pi, resolution=0.1)
    check_rejects(check_proportion, got, 1.1 * math.atan(scale) / math.pi)
    if scale >= 0.5:
        check_rejects(check_proportion, got, scale / math.pi)  # the first order alone


@pytest.mark.parametrize(("shrink", "wanted"), [(0.5, 0.0859), (1.0, 0.0959)])
def test_half_space_off_the_mean_raw_and_posterior_mean(shrink: float, wanted: float):
    """Thresholds (c, ρc) raw and (c, c/ρ) for the mean, correlation ρ; c = 1, s = ½."""
    scale, rho = 0.5, 1 / math.sqrt(1.25)
    other = rho if shrink == 1.0 else 1 / rho
    both = stats.multivariate_normal(cov=[[1, rho], [rho, 1]]).cdf([1.0, other])
    exact = stats.norm.cdf(1.0) + stats.norm.cdf(other) - 2 * both
    assert exact == pytest.approx(wanted, abs=3e-4)
    clean = jax.random.normal(jax.random.key(3), (1 << 18, 2))
    denoiser = None if shrink == 1.0 else lambda x: x / (1 + scale**2)
    got = flip_rate(jax.random.key(4), clean, half_space(2, 1.0), scale, denoiser)
    check_proportion(got, exact, resolution=0.05)
    check_rejects(check_proportion, got, 1.05 * exact)


def test_counts_sum_to_the_rate(readout: PowerDiagram, latents: np.ndarray):
    counts = flip_counts(jax.random.key(5), latents, readout, 0.3, draws=7)
    rate = flip_rate(jax.random.key(5), latents, readout, 0.3, draws=7)
    assert counts.shape == (200,)
    assert counts.max() <= 7
    assert rate.value == counts.sum() / 1400
    assert rate.count == 1400


@pytest.mark.parametrize("rows", [150, pytest.param(450, marks=pytest.mark.slow), 1 << 16])
def test_counts_do_not_depend_on_how_many_draws_are_held(
    readout: PowerDiagram, latents: np.ndarray, rows: int, monkeypatch: pytest.MonkeyPatch
):
    want = np.zeros(len(latents), int)
    for draw in range(7):
        noise = normal(jax.random.fold_in(jax.random.key(5), draw), latents.shape, "float64")
        want += np.asarray(readout.label(latents + 0.3 * noise) != readout.label(latents))
    monkeypatch.setattr(tube, "ROWS", rows)
    got = flip_counts(jax.random.key(5), latents, readout, 0.3, draws=7)
    np.testing.assert_array_equal(got, want)


def brute_sides(latents: np.ndarray, diagram: PowerDiagram, scale: float) -> np.ndarray:
    """Q(δ/s) and min(1, Σ_j Q(δ_j/s)) latent by latent, class by class."""
    sites, offsets = np.asarray(diagram.sites), np.asarray(diagram.offsets)
    rows = []
    for z in latents:
        score = sites @ z + offsets
        y = int(np.argmax(score))
        others = [j for j in range(len(sites)) if (sites[j] != sites[y]).any()]
        planes = [(score[y] - score[j]) / np.linalg.norm(sites[y] - sites[j]) for j in others]
        crossing = stats.norm.sf(np.array(planes) / scale)
        rows.append([crossing.max(), min(1.0, crossing.sum())])
    return np.array(rows).T


@pytest.mark.parametrize("scale", [0.01, 0.3, 10.0])
def test_sandwich_is_its_definition(readout: PowerDiagram, latents: np.ndarray, scale: float):
    wanted = brute_sides(latents, readout, scale)
    for got, side in zip(sandwich(latents, readout, scale), wanted, strict=True):
        assert got.value == pytest.approx(side.mean(), rel=1e-9)
        assert got.sem == pytest.approx(stats.sem(side), rel=1e-9)
        assert got.count == 200


@pytest.mark.parametrize("scale", [0.03, 0.3, 3.0])
def test_flips_lie_in_the_sandwich(readout: PowerDiagram, latents: np.ndarray, scale: float):
    lower, upper = sandwich(latents, readout, scale)
    many = np.tile(latents, (50, 1))
    rate = flip_rate(jax.random.key(6), many, readout, scale, draws=20)
    interval = proportion_interval(rate, 1e-9)
    assert lower.value <= interval.upper
    assert interval.lower <= upper.value
    if scale == 0.03:  # so narrow that either side moved by a fifth is refused
        assert 1.2 * lower.value > interval.upper
        assert upper.value / 1.2 < interval.lower


def test_sandwich_of_two_cells_is_an_equality():
    clean = RNG.normal(size=(200, 2))
    lower, upper = sandwich(clean, half_space(2), 0.5)
    assert lower.value == pytest.approx(upper.value, rel=1e-12)
    rate = flip_rate(jax.random.key(7), clean, half_space(2), 0.5, draws=500)
    check_proportion(rate, float(lower.value), resolution=0.06)
    check_rejects(check_proportion, rate, 1.07 * float(lower.value))


def test_one_latent_is_a_statement_about_itself():
    lower, upper = sandwich(np.array([[1.0, 0.0]]), half_space(2), 0.5)
    assert lower.value == pytest.approx(stats.norm.sf(2.0), rel=1e-12)
    assert (lower.count, lower.sem, upper.sem) == (1, math.inf, math.inf)
    interval = lower.interval()
    assert interval.lower == -math.inf
    assert interval.upper == math.inf


def test_without_any_facet_nothing_flips():
    readout = PowerDiagram(np.ones((8, 3)), np.arange(8.0))
    lower, upper = sandwich(np.zeros(SHAPE), readout, 1.0)
    assert (lower.value, upper.value) == (0, 0)
    assert flip_rate(jax.random.key(8), np.zeros(SHAPE), readout, 1.0).value == 0


@pytest.mark.slow
@pytest.mark.parametrize("x64", [False, True])
def test_float32_latents_with_and_without_x64(x64: bool):
    with jax.enable_x64(x64):
        rng = np.random.default_rng(15)
        readout = PowerDiagram(np.float32(rng.normal(size=(8, 3))))
        clean = np.float32(rng.normal(size=SHAPE))
        lower, upper = sandwich(clean, readout, 0.3)
        wanted = brute_sides(np.float64(clean), readout, 0.3).mean(axis=1)
        np.testing.assert_allclose([lower.value, upper.value], wanted, rtol=1e-5)
        rate = proportion_interval(flip_rate(jax.random.key(9), clean, readout, 0.3, draws=20))
        assert lower.value <= rate.upper
        assert rate.lower <= upper.value


HALF, ROW = half_space(2), np.zeros((1, 2))
BAD = {
    "scale must be a positive finite number, got 0": lambda k: flip_rate(k, ROW, HALF, 0),
    "scale must be a positive finite number, got -1.0": lambda k: sandwich(ROW, HALF, -1.0),
    "scale must be a positive finite number, got nan": lambda k: sandwich(ROW, HALF, math.nan),
    "scale must be a positive finite number, got inf": lambda k: flip_rate(k, ROW, HALF, math.inf),
    "scale must be a positive finite number, got True": lambda k: sandwich(ROW, HALF, True),
    "got an array of shape (9, 9)": lambda k: sandwich(ROW, HALF, np.ones((9, 9))),
    "points must be finite": lambda k: sandwich(np.full((2, 2), math.nan), HALF, 1.0),
    "got shape (4, 3)": lambda k: flip_rate(k, np.zeros((4, 3)), HALF, 1.0),
    "latents must have shape (N, 2), got (2,)": lambda k: sandwich(np.zeros(2), HALF, 1.0),
    "at least one point": lambda k: flip_rate(k, np.zeros((0, 2)), HALF, 1.0),
    "draws must be an integer ≥ 1, got 0": lambda k: flip_rate(k, ROW, HALF, 1.0, draws=0),
    "draws must be an integer ≥ 1, got 1.5": lambda k: flip_rate(k, ROW, HALF, 1.0, draws=1.5),
    "width must be a positive finite number, got 0": lambda k: interface_area([1, 2], width=0),
    "width must be a positive finite number, got nan": lambda k: interface_area(
        [1, 2], width=math.nan
    ),
    "not NaN": lambda k: interface_area([math.nan, 1.0], width=1.0),
    "≥ 0": lambda k: interface_area([-0.1, 1.0], width=1.0),
    "at least 2 distances, and no more than count, got 1": lambda k: interface_area([1.0], width=1),
    "no more than count, got 3": lambda k: interface_area([1, 2, 3], width=1.0, count=2),
    "no bandwidth": lambda k: interface_area([0.0, 0.0, 1.0]),
    "no bandwidth from": lambda k: interface_area([math.inf] * 3),
}


@pytest.mark.parametrize("said", BAD)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named(said: str):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        BAD[said](jax.random.key(10))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_denoiser_sees_the_noisy_latents():
    seen = []

    def denoiser(x: jax.Array) -> jax.Array:
        seen.append(np.asarray(x))
        return jnp.zeros_like(x)

    clean = np.array([[3.0, 0.0], [-3.0, 0.0]])
    got = flip_rate(jax.random.key(12), clean, half_space(2), 0.1, denoiser)
    assert got.value == 0.5  # the mean 0 is labelled 0, as the second latent is
    assert 0 < np.abs(seen[0] - clean).max() < 1


@pytest.mark.parametrize("apart", [pytest.param(1e-3, marks=pytest.mark.slow), 1e-7, 0.0])
def test_the_union_bound_in_blocks_and_of_near_duplicates(apart, latents, monkeypatch):
    """A block of near-duplicates is taken by differences: products would lose its distances."""
    monkeypatch.setattr(tube, "BLOCK", 3)
    jax.clear_caches()
    rng = np.random.default_rng(8)
    sites = np.repeat(rng.normal(size=(4, 3)), 2, axis=0)
    sites[1::2] += apart * rng.normal(size=(4, 3))
    readout = PowerDiagram(sites)
    _, upper = sandwich(latents, readout, 0.1)
    jax.clear_caches()
    assert upper.value == pytest.approx(brute_sides(latents, readout, 0.1)[1].mean(), rel=1e-8)
