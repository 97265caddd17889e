"""A_W of Gaussian mixtures against marginal densities, γ_n, and counts of near latents."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from tests.significance import check_mean, check_rejects
from theory import perimeter
from theory.estimate import Estimate
from theory.latent_area import latent_area, latent_facets, seen_from
from theory.mixture import Mixture
from theory.partition import PowerDiagram, half_space, orthants, simplicial_cluster
from theory.tube import interface_area

FAILURE = 1e-10
LINES = 100_000
MEANS = jnp.array([[0.0, 0.3], [1.0, -0.5]])
LATENTS = Mixture(MEANS, jnp.array([1.0, 0.5]), jnp.array([0.3, 0.7]))


def marginal(axis: int, at: float) -> float:
    """The density of one coordinate."""
    means, widths = np.asarray(MEANS)[:, axis], np.asarray(LATENTS.widths)
    return float(np.sum(np.asarray(LATENTS.masses) * stats.norm.pdf(at, means, widths)))


def test_a_half_space_meets_the_marginal_density():
    found = latent_area(jax.random.key(1), LATENTS, half_space(2, 0.4), lines=LINES)
    check_mean(found, marginal(0, 0.4), FAILURE, resolution=0.03)
    check_rejects(check_mean, found, 1.05 * marginal(0, 0.4), FAILURE)


def test_quadrants_meet_both_marginals_and_facets_their_halves():
    quadrants = orthants(2)
    found = latent_area(jax.random.key(2), LATENTS, quadrants, lines=LINES)
    check_mean(found, marginal(0, 0) + marginal(1, 0), FAILURE, resolution=0.03)
    facets = latent_facets(jax.random.key(3), LATENTS, quadrants, lines=LINES)
    total = Estimate(float(np.sum(facets.value)), found.sem, 0.0, LINES)
    check_mean(total, marginal(0, 0) + marginal(1, 0), FAILURE)
    means, widths = np.asarray(MEANS), np.asarray(LATENTS.widths)
    at_zero = stats.norm.pdf(0, means[:, 0], widths) * np.asarray(LATENTS.masses)
    above = stats.norm.sf(0, means[:, 1], widths)
    signs = np.asarray(quadrants.sites) > 0
    upper = sorted(int(k) for k in np.flatnonzero(signs[:, 1]))
    got = Estimate(facets.value[tuple(upper)], facets.sem[tuple(upper)], facets.bias, LINES)
    check_mean(got, float(np.sum(at_zero * above)), FAILURE, resolution=0.1)


def test_one_standard_mode_is_the_gaussian_perimeter():
    cluster = simplicial_cluster(3)
    standard = Mixture(jnp.zeros((1, 2)), 1.0)
    found = latent_area(jax.random.key(4), standard, cluster, lines=LINES)
    check_mean(found, perimeter.simplicial(3), FAILURE, resolution=0.03)
    wide = Mixture(jnp.zeros((1, 2)), 2.0)
    halved = latent_area(jax.random.key(4), wide, cluster, lines=LINES)
    assert halved.value == pytest.approx(found.value / 2, rel=1e-12)


@pytest.mark.slow
def test_margins_of_drawn_latents_give_the_same_area():
    """The density of δ(Z) at zero knows nothing of lines."""
    rng = np.random.default_rng(7)
    readout = PowerDiagram(jnp.asarray(rng.normal(size=(6, 3))), jnp.asarray(rng.normal(size=6)))
    means = jnp.asarray(rng.normal(size=(4, 3)))
    latents = Mixture(means, jnp.array([0.6, 0.8, 1.0, 1.2]), jnp.array([0.4, 0.3, 0.2, 0.1]))
    found = latent_area(jax.random.key(5), latents, readout, lines=50_000)
    drawn, _ = latents.sample(jax.random.key(6), 200_000)
    margins = interface_area(readout.nearest_facet(drawn).distance)
    apart = float(found.value) - margins.value
    spread = math.hypot(float(found.sem), margins.sem)
    check_mean(Estimate(apart, spread, margins.bias + found.bias, LINES), 0.0, FAILURE)
    assert 6 * spread < 0.1 * margins.value


def test_what_is_seen_from_a_mode_is_the_same_label():
    readout = PowerDiagram(MEANS, jnp.array([0.1, -0.2]))
    u = np.random.default_rng(8).normal(size=(500, 2))
    z = np.asarray(MEANS)[1] + 0.5 * u
    seen = seen_from(LATENTS, 1, readout)
    np.testing.assert_array_equal(seen.label(jnp.asarray(u)), readout.label(jnp.asarray(z)))


@pytest.mark.parametrize(
    ("latents", "readout", "said"),
    [
        (LATENTS, half_space(3), r"latents in R\^2, but a readout of R\^3"),
        (Mixture(MEANS, jnp.array([1.0, 0.0])), half_space(2), "mode 1 is an atom"),
    ],
)
def test_laws_without_an_interface_are_refused(latents, readout, said: str):
    with pytest.raises(ValueError, match=said):
        latent_area(jax.random.key(0), latents, readout, lines=100)
