"""Every route to the Gaussian perimeter contains the exact number and refuses 1.05 of it."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from tests.refusals import refusals
from tests.significance import check_mean, check_rejects
from theory import partition, perimeter
from theory.estimate import Estimate
from theory.partition import PowerDiagram, simplicial_cluster
from theory.perimeter.coarea import total_variation
from theory.perimeter.crofton import REACH, envelope, mean_cosine

SEED = 7
LAW = [0.5, 0.25, 0.15, 0.1]


def lifted(diagram: PowerDiagram) -> PowerDiagram:
    """The same partition times a flat space, as 8 classes in R^3 of which some are never chosen.

    The perimeter stays, and every estimator compiles once for all small diagrams.
    """
    sites, offsets = np.zeros((8, 3)), np.full(8, -1e3)
    sites[:, 2] = 0.01 * np.arange(8)
    sites[: diagram.modes] = 0
    sites[: diagram.modes, : diagram.dimension] = diagram.sites
    offsets[: diagram.modes] = diagram.offsets
    return PowerDiagram(sites, offsets)


def narrow(diagram: PowerDiagram) -> PowerDiagram:
    return PowerDiagram(np.float32(diagram.sites), np.float32(diagram.offsets))


ORACLES = {  # diagram, P, distance of two neighbouring sites
    "half-space": (lifted(partition.half_space(2, 0.5)), perimeter.half_space(0.5), 1.0),
    "intervals": (lifted(partition.intervals(5)), perimeter.intervals(5), 1.0),
    "orthants": (partition.orthants(3), perimeter.orthants(3), 2.0),
    "simplicial 3": (lifted(simplicial_cluster(3)), perimeter.simplicial(3), math.sqrt(2)),
    "simplicial 16": (simplicial_cluster(16), perimeter.simplicial(16), math.sqrt(2)),
    "simplicial 64": (simplicial_cluster(64), perimeter.simplicial(64), math.sqrt(2)),
}
NOWHERE = [PowerDiagram(np.ones((8, 3))), lifted(partition.half_space(3, 40.0))]
ROUTES = {
    "crofton": lambda key, d, size: perimeter.crofton(key, d, lines=size >> 4),
    "projection": lambda key, d, size: perimeter.facet_projection(key, d, samples=size >> 3),
    "tube": lambda key, d, size: perimeter.tube(key, d, samples=size),
    "coarea": lambda key, d, size: perimeter.coarea(key, d, samples=size),
    "gauss_green": lambda key, d, size: perimeter.gauss_green(key, d, samples=size >> 3),
}


SHOWN = ("half-space", "simplicial 3")
SOON = [  # compiled; facet projection takes longest
    pytest.param(r, marks=pytest.mark.slow) if r == "projection" else r for r in ROUTES
]


def key() -> jax.Array:
    """The same key in every test, made anew: none is used twice."""
    return jax.random.key(SEED)


def weight(route: str, gap: float) -> float:
    """What the route multiplies P by when all neighbouring sites are `gap` apart."""
    return gap if route == "gauss_green" else 1.0


@pytest.mark.parametrize(
    "oracle",
    [
        oracle if oracle in SHOWN else pytest.param(oracle, marks=pytest.mark.slow)
        for oracle in ORACLES
    ],
)
@pytest.mark.parametrize("route", ROUTES)
def test_contains_the_exact_perimeter_and_rejects_a_twentieth_more(route: str, oracle: str):
    diagram, exact, gap = ORACLES[oracle]
    exact = exact * weight(route, gap)
    got = ROUTES[route](key(), diagram, 1 << 20)
    check_mean(got, exact, resolution=0.045)
    check_rejects(check_mean, got, 1.05 * exact)
    check_rejects(check_mean, got, exact / 1.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("route", "x64"), [*((route, False) for route in ROUTES), ("projection", True)]
)
def test_float32_sites_with_and_without_x64(route: str, x64: bool):
    with jax.enable_x64(x64):
        diagram = narrow(lifted(simplicial_cluster(4)))
        exact = perimeter.simplicial(4) * weight(route, math.sqrt(2))
        check_mean(ROUTES[route](jax.random.key(8), diagram, 1 << 18), exact, resolution=0.08)


def test_intervals_of_a_line_are_exact_by_crofton():
    got = perimeter.crofton(key(), partition.intervals(5), lines=2)
    assert got.value == pytest.approx(perimeter.intervals(5), rel=1e-14)


def test_mean_cosine():
    got = [mean_cosine(n) for n in (1, 2, 3)]
    np.testing.assert_allclose(got, [1, 2 / math.pi, 0.5], rtol=1e-14)


@pytest.mark.parametrize(
    "table",
    [
        lambda d: perimeter.facet_areas(key(), d, lines=1 << 18),
        lambda d: perimeter.projected_facet_areas(key(), d, samples=1 << 15),
    ],
)
def test_facet_by_facet_of_unequal_masses(table):
    diagram = lifted(simplicial_cluster(4, LAW))
    exact = perimeter.simplicial_facets(np.asarray(diagram.offsets[:4]))
    got, pairs = table(diagram), np.triu_indices(4, 1)
    assert got.value.shape == (8, 8)
    assert got.value.sum() == pytest.approx(np.triu(got.value[:4, :4], 1).sum(), rel=1e-14)
    upper = Estimate(got.value[pairs], got.sem[pairs], got.bias, got.count)
    check_mean(upper, exact[pairs], resolution=0.06)
    check_rejects(check_mean, upper, 1.05 * exact[pairs])
    check_rejects(check_mean, upper, exact[pairs][[1, 0, 2, 3, 4, 5]])


def test_sparse_facets_are_the_dense_ones():
    diagram = partition.random_code(jax.random.key(1), 8, 3)
    dense = perimeter.facet_areas(key(), diagram, lines=1 << 14)
    pairs, sparse = perimeter.sparse_facet_areas(key(), diagram, lines=1 << 14)
    np.testing.assert_array_equal(pairs, np.argwhere(dense.value > 0))
    np.testing.assert_array_equal(dense.value[tuple(pairs.T)], sparse.value)
    np.testing.assert_array_equal(dense.sem[tuple(pairs.T)], sparse.sem)
    total = perimeter.crofton(key(), diagram, lines=1 << 14)
    assert dense.value.sum() == pytest.approx(total.value, rel=1e-12)
    assert (dense.sem[np.triu_indices(8, 1)] > 0).all()  # an unseen facet is not known to be 0


@pytest.mark.parametrize("route", SOON)
def test_translated_sites_change_nothing(route: str):
    rng = np.random.default_rng(0)
    sites, offsets = rng.normal(size=(8, 3)), 0.3 * rng.normal(size=8)
    one, other = (
        ROUTES[route](key(), PowerDiagram(moved, offsets), 1 << 18) for moved in (sites, sites + 3)
    )
    assert one.value == pytest.approx(other.value, rel=1e-7)


@pytest.mark.parametrize("route", SOON)
def test_duplicated_sites_change_nothing(route: str):
    sites = np.asarray(simplicial_cluster(4).sites)
    diagram = PowerDiagram(np.tile(sites, (2, 1)), np.repeat([-0.7, 0.0], 4))
    got = ROUTES[route](key(), diagram, 1 << 18)
    check_mean(got, perimeter.simplicial(4) * weight(route, math.sqrt(2)), resolution=0.09)


@pytest.mark.parametrize("route", ["crofton", "projection", "gauss_green"])
@pytest.mark.parametrize("diagram", NOWHERE)
def test_no_facet_within_reach_is_perimeter_0(route: str, diagram: PowerDiagram):
    check_mean(ROUTES[route](key(), diagram, 1 << 18), 0.0)


@pytest.mark.parametrize("route", ["tube", "coarea"])
def test_a_bandwidth_needs_a_facet(route: str):
    with pytest.raises(ValueError, match="no bandwidth"):
        ROUTES[route](key(), NOWHERE[0], 1 << 18)


def test_gauss_green_weighs_facets_by_the_distance_of_their_sites():
    rng = np.random.default_rng(3)
    diagram = PowerDiagram(rng.normal(size=(8, 3)), 0.3 * rng.normal(size=8))
    areas = perimeter.facet_areas(key(), diagram, lines=1 << 16)
    apart = np.linalg.norm(np.asarray(diagram.sites)[:, None] - diagram.sites, axis=-1)
    got = perimeter.gauss_green(key(), diagram, samples=1 << 17)
    wanted = float((apart * areas.value).sum())
    error = float(np.hypot(got.sem, (apart * areas.sem).sum()))
    both = Estimate(got.value, error, 0.0, got.count)
    check_mean(both, wanted, resolution=0.09)
    check_rejects(check_mean, got, 1.05 * wanted)
    check_rejects(check_mean, got, float(areas.value.sum()))


def test_gauss_green_on_a_line_in_closed_form():
    sites, cuts = np.array([-2.0, 0.5, 1.0, 4.0]), np.array([-0.7, 0.1, 1.2])
    offsets = -np.concatenate([[0.0], np.cumsum(np.diff(sites) * cuts)])
    line = lifted(PowerDiagram(sites[:, None], offsets))
    exact = float((np.diff(sites) * stats.norm.pdf(cuts)).sum())
    got = perimeter.gauss_green(key(), line, samples=1 << 17)
    check_mean(got, exact, resolution=0.03)
    check_rejects(check_mean, got, 1.05 * exact)


def tube_mass(modes: int, width: float) -> float:
    """γ(δ < ε) = 1 − M ∫ φ(x) Φ(x − √2 ε)^{M−1} dx of the simplicial cluster."""

    def cleared(x: float) -> float:
        below = special.log_ndtr(x - math.sqrt(2) * width)
        return math.exp(-x * x / 2 + (modes - 1) * below) / math.sqrt(2 * math.pi)

    return 1 - modes * integrate.quad(cleared, -12, 12, epsabs=1e-15, limit=400)[0]


def ridges(modes: int) -> float:
    """L = C(M,3)(2π)⁻¹ E Φ(g/√3)^{M−3}, the Gaussian measure of the triple ridges."""
    g = lambda x: stats.norm.pdf(x) * special.ndtr(x / math.sqrt(3)) ** (modes - 3)  # noqa: E731
    return math.comb(modes, 3) / (2 * math.pi) * integrate.quad(g, -10, 10)[0]


@pytest.mark.parametrize("modes", [3, pytest.param(16, marks=pytest.mark.slow)])
@pytest.mark.parametrize("width", [0.05, 0.2])
def test_tube_ratio_is_the_tube_mass_at_its_width(modes: int, width: float):
    got = perimeter.tube_ratio(
        key(), ORACLES[f"simplicial {modes}"][0], width=width, samples=1 << 20
    )
    exact = tube_mass(modes, width) / (2 * width)
    check_mean(got, exact, resolution=0.03)
    check_rejects(check_mean, got, 1.05 * exact)
    if width == 0.2:  # there the ridges show, and are as large as stated
        check_rejects(check_mean, got, perimeter.simplicial(modes))


@pytest.mark.parametrize("modes", [3, 16, 64])
def test_the_tube_ratios_bias_is_the_ridges(modes: int):
    widths = np.array([4e-3, 2e-3])
    lost = [perimeter.simplicial(modes) - tube_mass(modes, w) / (2 * w) for w in widths]
    slope = 2 * np.array(lost) / widths
    limit = 2 * slope[1] - slope[0]
    assert limit == pytest.approx(math.sqrt(3) * ridges(modes), rel=1e-3)


def test_envelope_against_the_scores_along_each_line():
    rng = np.random.default_rng(5)
    slopes, intercepts = rng.normal(size=(2, 64, 30))
    found, finished = envelope(jnp.asarray(slopes), jnp.asarray(intercepts), 16)
    assert finished
    for line, (t, left, right) in enumerate(zip(*map(np.asarray, found), strict=True)):
        met = np.isfinite(t)
        assert (np.diff(t[met]) > 0).all()
        np.testing.assert_array_equal(right[met][:-1], left[met][1:])
        edges = np.concatenate([[-REACH], t[met], [REACH]])
        middle = (edges[1:] + edges[:-1]) / 2
        best = np.argmax(intercepts[line] + middle[:, None] * slopes[line], axis=1)
        np.testing.assert_array_equal(best, np.append(left[met], best[-1]))
        assert best[-1] == (right[met][-1] if met.any() else best[-1])
    assert not envelope(jnp.asarray(slopes), jnp.asarray(intercepts), 2)[1]


def test_total_variation_against_autodiff():
    rng = np.random.default_rng(6)
    sites, x = rng.normal(size=(5, 3)), rng.normal(size=(20, 3))
    soft = lambda z: jax.nn.softmax(2.5 * (sites @ z))  # noqa: E731
    wanted = 0.5 * np.linalg.norm(jax.vmap(jax.jacobian(soft))(x), axis=2).sum(axis=1)
    got = jax.jit(total_variation)(jnp.asarray(sites), jnp.asarray(x @ sites.T), jnp.asarray(2.5))
    np.testing.assert_allclose(got, wanted, rtol=1e-9)


def test_total_variation_in_float32_has_no_floor_far_from_the_facets():
    rng = np.random.default_rng(7)
    sites, x = rng.normal(size=(64, 32)), rng.normal(size=(4000, 32))
    wide = [jnp.asarray(a) for a in (sites, x @ sites.T, 200.0)]
    slim = [a.astype(jnp.float32) for a in wide]
    variation = jax.jit(total_variation)
    wanted = float(np.mean(variation(*wide)))
    assert float(np.mean(variation(*slim))) == pytest.approx(wanted, rel=1e-3)


SMALL = ORACLES["simplicial 3"][0]
MANY = PowerDiagram(np.arange(4097.0)[:, None])
BAD = {
    "lines must be an integer ≥ 2, got 0": lambda: perimeter.crofton(key(), SMALL, lines=0),
    "lines must be an integer ≥ 2, got 1": lambda: perimeter.facet_areas(key(), SMALL, lines=1),
    "lines must be an integer ≥ 2, got 2.5": lambda: perimeter.crofton(key(), SMALL, lines=2.5),
    "samples must be an integer ≥ 2, got 1": lambda: perimeter.gauss_green(key(), SMALL, samples=1),
    "samples must be an integer ≥ 2, got 0": lambda: perimeter.tube(key(), SMALL, samples=0),
    "samples must be an integer ≥ 2, got 3.5": lambda: perimeter.coarea(key(), SMALL, samples=3.5),
    "samples must be an integer ≥ 2, got True": lambda: perimeter.facet_projection(
        key(), SMALL, samples=True
    ),
    "got 0.0": lambda: perimeter.tube_ratio(key(), SMALL, width=0.0, samples=10),
    "got -0.1": lambda: perimeter.tube(key(), SMALL, width=-0.1, samples=10),
    "got nan": lambda: perimeter.coarea(key(), SMALL, width=math.nan, samples=10),
    "4097² facets": lambda: perimeter.facet_areas(key(), MANY, lines=2),
    "M ≤ 4096, got 4097": lambda: perimeter.facet_projection(key(), MANY, samples=2),
    "M ≤ 1024, got 4097": lambda: perimeter.projected_facet_areas(key(), MANY, samples=2),
}


test_bad_input_is_named = refusals(BAD)
