"""Rare flips and areas against plain draws; honest standard errors; a dropped weight is seen."""

import functools
import math

import jax
import numpy as np
import pytest
from scipy import special, stats

from tests.refusals import refusals
from tests.significance import check_mean, check_rejects
from theory import perimeter
from theory.estimate import Estimate, from_samples, proportion
from theory.gaussian import pdf
from theory.mixture import Mixture
from theory.partition import PowerDiagram, simplicial_cluster
from theory.rare import RareFlips, rare_flips, weighted_flips
from theory.rare_area import facet_area, hyperplanes
from theory.rare_proposal import NOMINAL, SHARES, crossing, propose

FAILURE = 1e-10  # a check; this file makes fewer than 50 of them


def fresh(number: int = 0) -> jax.Array:
    """A key of this file; made anew, since no key may be used twice."""
    return jax.random.fold_in(jax.random.key(11), number)


MEANS = np.random.default_rng(4).normal(size=(5, 3))
MASSES = np.array([0.05, 0.4, 0.25, 0.2, 0.1])


def latents(width: float) -> Mixture:
    """Modes of unequal masses and widths."""
    return Mixture(MEANS, width * np.linspace(0.8, 1.2, 5), MASSES)


def readout() -> PowerDiagram:
    """Not the Voronoi cells: the facets are nowhere near half way, and one site comes twice."""
    sites = np.concatenate([MEANS + 0.05, MEANS[:1] + 0.05])
    offsets = -0.5 * np.sum(sites**2, axis=1) + np.array([0.05, -0.1, 0.1, 0.0, -0.05, -3.0])
    return PowerDiagram(sites, offsets)


def labels(x: np.ndarray) -> np.ndarray:
    diagram = readout()
    return np.argmax(x @ np.asarray(diagram.sites).T + np.asarray(diagram.offsets), axis=1)


@functools.cache
def plain(width: float, scale: float) -> tuple[Estimate, Estimate]:
    """Raw and denoised flips by counting, in NumPy and by the formula of the posterior mean."""
    rng, count = np.random.default_rng(12), 500_000
    widths = width * np.linspace(0.8, 1.2, 5)
    mode = rng.choice(5, count, p=MASSES)
    z = MEANS[mode] + widths[mode, None] * rng.normal(size=(count, 3))
    x = z + scale * rng.normal(size=(count, 3))
    variance = widths**2 + scale**2
    square = np.sum((x[:, None] - MEANS) ** 2, axis=2)
    weight = special.softmax(
        np.log(MASSES) - 1.5 * np.log(variance) - square / 2 / variance, axis=1
    )
    shrunk = MEANS + (widths**2 / variance)[:, None] * (x[:, None] - MEANS)
    mean = np.sum(weight[:, :, None] * shrunk, axis=1)
    flips = [int(np.sum(labels(seen) != labels(z))) for seen in (x, mean)]
    return proportion(flips[0], count), proportion(flips[1], count)


def check_equal(first: Estimate, second: Estimate, resolution: float) -> None:
    """Two independent estimates of one number, neither of them vague."""
    spread = math.hypot(first.sem, second.sem)
    gap = Estimate(first.value - second.value, spread, 0.0, min(first.count, second.count))
    check_mean(gap, 0.0, FAILURE)
    assert spread <= resolution * second.value


@pytest.mark.parametrize(
    ("width", "scale", "least", "most"), [(0.35, 0.15, 5e-3, 5e-2), (0.12, 0.06, 5e-4, 5e-3)]
)
def test_rates_are_those_of_plain_draws(width: float, scale: float, least: float, most: float):
    mixture = latents(width)
    found = rare_flips(fresh(3), mixture, readout(), scale, samples=40_000)
    for rare, rate in zip(found, plain(width, scale), strict=True):
        assert least < rate.value < most
        check_equal(rare.rate, rate, resolution=0.05)
        assert rare.effective > 2000
        assert rare.largest < 0.01


def runs(mixture: Mixture, scale: float, count: int) -> list[RareFlips]:
    return [
        rare_flips(fresh(100 + k), mixture, readout(), scale, samples=4096) for k in range(count)
    ]


def test_the_claimed_standard_error_is_the_spread_of_runs():
    """40 runs: their variance over the mean claimed one is χ²/39, but for the tails of w."""
    found = runs(latents(0.12), 0.05, 40)
    for kind in range(2):
        rates = [run[kind].rate for run in found]
        claimed = np.mean([rate.sem**2 for rate in rates])
        ratio = np.var([rate.value for rate in rates], ddof=1) / claimed
        assert stats.chi2.ppf(1e-10, 39) / 39 < ratio < stats.chi2.isf(1e-10, 39) / 39
        share = math.sqrt(claimed) / np.mean([rate.value for rate in rates])
        assert share < 0.05


def test_a_dropped_weight_is_refuted():
    """As a draw of the fourth component would be weighted by one who forgot that component."""
    width, scale = 0.35, 0.15
    mixture = latents(width)
    proposal = propose(mixture, readout(), scale)
    forgotten = proposal._replace(chance=proposal.chance.at[..., 3].set(0.0))
    _, rate = plain(width, scale)
    parts = [(proposal, check_mean), (forgotten, None)]
    for tables, check in parts:
        draws = [
            np.asarray(weighted_flips(fresh(200 + k), tables, mixture, readout(), scale, 4096))
            for k in range(10)
        ]
        got = from_samples(np.concatenate(draws)[:, 1])
        gap = Estimate(got.value - rate.value, math.hypot(got.sem, rate.sem), 0.0, got.count)
        if check is None:
            check_rejects(check_mean, gap, 0.0, FAILURE)
        else:
            check(gap, 0.0, FAILURE)


def test_weights_are_bounded_and_the_shares_sum_to_one():
    mixture = latents(0.12)
    proposal = propose(mixture, readout(), 0.05)
    assert float(proposal.chance.sum()) == pytest.approx(1, abs=1e-12)
    by_component = np.asarray(proposal.chance).sum(axis=(0, 1))
    np.testing.assert_allclose(by_component, SHARES, rtol=1e-12)
    weights = np.asarray(weighted_flips(fresh(5), proposal, mixture, readout(), 0.05, 4096))
    assert weights.max() <= 1 / NOMINAL
    assert (weights >= 0).all()
    # Far below the trivial bound: no draw of a flip depends on the plain law being lucky.
    assert weights.max() < 1000 * weights.mean()


@pytest.mark.parametrize(("c", "edge"), [(1.0, 1.0), (2.0, 1.5), (0.0, 0.0), (1.5, 2.5)])
def test_what_crosses_one_hyperplane(c: float, edge: float):
    """Its probability by bivariate normals, its moments by draws; both steer, none decides."""
    width, scale = 0.8, 0.6
    tables = (np.array([[c]]), np.array([[edge]]), np.array([[width]]), scale)
    mass, shape = crossing(*tables)
    square = width**2
    law = stats.multivariate_normal([0, 0], [[square, square], [square, square + scale**2]])
    both = law.cdf([c, edge])
    marginals = stats.norm.cdf(c / width) + stats.norm.cdf(edge / math.hypot(width, scale))
    assert mass[0, 0] == pytest.approx(marginals - 2 * both, rel=1e-3)
    u, xi = np.random.default_rng(0).normal(size=(2, 2_000_000))
    crossed = (width * u < c) != (width * u + scale * xi < edge)
    mean = u[crossed].mean(), xi[crossed].mean()
    np.testing.assert_allclose(shape[0, 0, :2], mean, atol=0.02)
    spread = np.linalg.cholesky(np.cov(u[crossed], xi[crossed]) * 1.5)
    np.testing.assert_allclose(shape[0, 0, 2:], spread[[0, 1, 1], [0, 0, 1]], atol=0.02)


def test_what_flips_the_posterior_mean_is_where_it_leaves_the_cell():
    """For one mode μ(X) = τ²X/(τ² + s²), so that it meets the plane at c where X is at cv/τ²."""
    width, scale, c = 0.8, 0.5, 0.6
    line = PowerDiagram(np.array([[0.0], [1.0]]), [0.0, -c])
    shape = np.asarray(propose(Mixture(np.zeros((1, 1)), width), line, scale).shape)[0, 1]
    tables = np.array([[c]]), np.array([[c * (1 + (scale / width) ** 2)]]), np.array([[width]])
    np.testing.assert_allclose(shape[4], crossing(*tables, scale)[1][0, 0], atol=2e-3)
    assert np.abs(shape[3] - shape[4]).max() > 0.1  # raw noise, which meets it at c


def test_hyperplanes_see_differences_of_sites_alone():
    sites, offsets = np.asarray(readout().sites), readout().offsets
    here, moved = (
        hyperplanes(latents(0.35), PowerDiagram(sites + by, offsets)) for by in (0.0, [3.0, -1, 2])
    )
    for one, other in zip(here, moved, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)
    assert np.isfinite(here.threshold).mean() > 0.3


def test_the_area_of_slabs_is_exact():
    """Parallel cuts, one class never chosen: A_W = Σ_i m_i Σ_cuts φ((cut − ⟨e, a_i⟩)/τ_i)/τ_i."""
    unit, slopes = np.array([2.0, -1.0, 2.0]) / 3, np.array([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0])
    cuts = np.array([-1.5, -0.4, 0.3, 1.1])
    kept = slopes[[0, 1, 2, 4, 5]]
    offsets = np.insert(np.concatenate([[0.0], -np.cumsum(cuts * np.diff(kept))]), 3, -9.0)
    slabs, mixture = PowerDiagram(slopes[:, None] * unit, offsets), latents(0.35)
    found = facet_area(fresh(6), mixture, slabs, samples=50_000)
    widths = 0.35 * np.linspace(0.8, 1.2, 5)[:, None]
    exact = float(MASSES @ (pdf((cuts - (MEANS @ unit)[:, None]) / widths) / widths).sum(axis=1))
    check_mean(found, exact, FAILURE, resolution=0.04)
    check_rejects(check_mean, found, 1.05 * exact, FAILURE)


def test_the_area_of_wide_modes_is_the_perimeter():
    """Away from the modes' own class every facet is seen through a half of its hyperplane."""
    sites = np.asarray(simplicial_cluster(4).sites)
    offsets = np.array([0.0, 0.0, 0.0, 0.0, -5.0, -5.0])  # two that are never chosen
    cluster = PowerDiagram(np.concatenate([sites, sites[:2] / 2]), offsets)
    found = facet_area(fresh(8), Mixture(np.zeros((5, 3)), 1.0, MASSES), cluster, samples=100_000)
    check_mean(found, perimeter.simplicial(4), FAILURE, resolution=0.04)
    check_rejects(check_mean, found, 1.05 * perimeter.simplicial(4), FAILURE)


def test_rows_are_the_same_whatever_their_number():
    mixture = latents(0.35)
    first, second = (
        rare_flips(fresh(9), mixture, readout(), 0.15, samples=count) for count in (4096, 4097)
    )
    assert first.raw.rate.value * 4096 == pytest.approx(
        second.raw.rate.value * 4097, abs=1 / NOMINAL
    )


BAD = {
    "scale must be a positive finite number, got 0": lambda: rare_flips(
        fresh(), latents(0.3), readout(), 0.0, samples=10
    ),
    "samples must be an integer ≥ 2, got 1": lambda: rare_flips(
        fresh(), latents(0.3), readout(), 0.1, samples=1
    ),
    "latents in R^3, but a readout of R^5": lambda: rare_flips(
        fresh(), latents(0.3), simplicial_cluster(6), 0.1, samples=10
    ),
    "every width must be positive, got an atom": lambda: rare_flips(
        fresh(), Mixture(MEANS, 0.0), readout(), 0.1, samples=10
    ),
    "the rate of these flips is 0 in floating point": lambda: rare_flips(
        fresh(), latents(1e-3), readout(), 1e-3, samples=10
    ),
    "300 modes × 300 classes exceed 65536 pairs": lambda: rare_flips(
        fresh(), Mixture(np.eye(300), 0.1), PowerDiagram(np.eye(300)), 0.1, samples=10
    ),
    "A_W is 0 in floating point": lambda: facet_area(fresh(), latents(1e-3), readout(), samples=10),
    "are more than 8388608 triples": lambda: facet_area(
        fresh(), Mixture(np.eye(300), 0.1), PowerDiagram(np.eye(300)), samples=10
    ),
}


test_bad_input_is_one_clear_line = refusals(BAD)
