"""Mixtures against SciPy and NumPy, the denoiser against its defining properties, placements."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from tests import strategies
from tests.refusals import refusals
from tests.significance import check_mean, check_rejects
from tests.strategies import SHAPES, masses, points, reals, scales
from theory import mixture
from theory.estimate import Estimate, from_samples
from theory.gaussian import composite_legendre, normal
from theory.mixture import Mixture, code, grid, simplex, tree

SMALL = [
    SHAPES[1],
    *(pytest.param(shape, marks=pytest.mark.slow) for shape in ((1, 2), SHAPES[0], SHAPES[4])),
]
COUNT = 16  # points an example: one compiled size
DRAWS = 1 << 17
LAW = np.array([0.1, 0.2, 0.3, 0.4])
UNEQUAL = Mixture(
    np.array([[0.0, 0.0], [2.0, 0.0], [0.5, 1.5], [-1.0, 1.0]]), [0.3, 0.6, 0.2, 1.0], LAW
)
SPOTS = np.random.default_rng(0).normal(size=(COUNT, 2)) * 2
FUNCTIONS = ["log_density", "posterior", "posterior_mean", "score"]


SLOPE = jax.jit(jax.grad(lambda x, law, s: jnp.sum(law.log_density(x, s))))


def mixtures(modes: int, dimension: int) -> st.SearchStrategy[Mixture]:
    """Means in [−4, 4]^n, widths from 0.1 to 3, unequal masses."""
    widths = reals((modes,), 1.0).map(lambda e: np.sqrt(0.3) * np.sqrt(30.0) ** e)
    return st.builds(Mixture, reals((modes, dimension), 4.0), widths, masses(modes))


def drawn(data: st.DataObject, shape: tuple[int, int]) -> tuple[Mixture, np.ndarray, float]:
    x = data.draw(points(COUNT, shape[1]))
    return data.draw(mixtures(*shape)), x, data.draw(scales(1.0))


def joint(law: Mixture, x: np.ndarray, scale: float) -> np.ndarray:
    """log m_i + log N(x; a_i, (τ_i² + s²)I) by SciPy, shape (K, M)."""
    columns = [
        np.log(mass) + stats.multivariate_normal(mean, width**2 + scale**2).logpdf(x)
        for mean, width, mass in zip(
            np.asarray(law.means), np.asarray(law.widths), np.asarray(law.masses), strict=True
        )
    ]
    return np.stack(columns, axis=-1)


def test_the_sample_has_the_masses_means_and_widths():
    z, labels = map(np.asarray, UNEQUAL.sample(jax.random.key(0), DRAWS))
    hits = np.eye(4)[labels]
    check_mean(from_samples(hits), LAW, resolution=0.1)
    check_rejects(check_mean, from_samples(hits), np.full(4, 0.25))
    noise = (z - np.asarray(UNEQUAL.means)[labels]) / np.asarray(UNEQUAL.widths)[labels][:, None]
    moments = np.concatenate([noise, noise**2, noise[:, :1] * noise[:, 1:], noise**4], axis=1)
    check_mean(from_samples(moments), np.array([0.0, 0, 1, 1, 0, 3, 3]))
    together = (noise[:, :, None] * (hits - LAW)[:, None, :]).reshape(DRAWS, -1)
    check_mean(from_samples(together), np.zeros(8))  # noise and label are independent
    check_mean(from_samples(z), LAW @ np.asarray(UNEQUAL.means))
    check_rejects(check_mean, from_samples(z), np.mean(UNEQUAL.means, axis=0))


def test_samples_follow_their_key_and_atoms_are_hit_exactly():
    z, labels = Mixture(UNEQUAL.means, 0.0).sample(jax.random.key(1), DRAWS)
    np.testing.assert_array_equal(z, np.asarray(UNEQUAL.means)[np.asarray(labels)])
    one, same, other = (np.asarray(UNEQUAL.sample(jax.random.key(k), COUNT)[0]) for k in (2, 2, 3))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).min() > 0


@pytest.mark.parametrize("shape", SMALL)
@given(data=st.data())
def test_density_and_posterior_are_those_of_bayes(shape, data):
    law, x, scale = drawn(data, shape)
    wanted = joint(law, x, scale)
    np.testing.assert_allclose(
        law.log_density(x, scale), special.logsumexp(wanted, axis=1), rtol=1e-11, atol=1e-11
    )
    posterior = np.asarray(law.posterior(x, scale))
    np.testing.assert_allclose(posterior, special.softmax(wanted, axis=1), rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(posterior.sum(axis=1), 1, rtol=1e-14)


@pytest.mark.parametrize("scale", [0.0, 0.05, 1.0])
def test_the_density_integrates_to_1_on_the_line(scale: float):
    law = Mixture(np.array([[-2.0], [0.0], [0.3]]), [0.05, 1.0, 0.4], [0.5, 0.2, 0.3])
    nodes, weights = composite_legendre(-16.0, 16.0, panels=400)
    density = np.exp(law.log_density(nodes[:, None], scale))
    assert weights @ density == pytest.approx(1, abs=1e-12)
    mean, square = (weights @ (density * nodes**k) for k in (1, 2))
    assert mean == pytest.approx(-0.91, abs=1e-12)
    assert square == pytest.approx(2 + 0.027 + 0.5 * 0.0025 + 0.2 + 0.048 + scale**2, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SMALL)
@given(data=st.data())
def test_tweedie_by_differentiation(shape, data):
    law, x, scale = drawn(data, shape)
    slope = SLOPE(x, law, scale)
    size = np.abs(np.asarray(slope)).max() + 1
    np.testing.assert_allclose(law.score(x, scale), slope, rtol=1e-10, atol=1e-10 * size)
    wanted = x + scale**2 * np.asarray(slope)
    np.testing.assert_allclose(
        law.posterior_mean(x, scale), wanted, rtol=1e-10, atol=1e-10 * (1 + scale**2)
    )


@pytest.mark.parametrize("shape", SMALL)
@given(data=st.data())
def test_a_rigid_motion_moves_the_posterior_mean_with_it(shape, data):
    law, x, scale = drawn(data, shape)
    turn, shift = data.draw(strategies.rotations(shape[1])), data.draw(reals((shape[1],), 5.0))
    moved = Mixture(np.asarray(law.means) @ turn.T + shift, law.widths, law.masses)
    got = np.asarray(moved.posterior_mean(x @ turn.T + shift, scale))
    np.testing.assert_allclose(
        got, np.asarray(law.posterior_mean(x, scale)) @ turn.T + shift, rtol=1e-9, atol=1e-9
    )


def errors_by_features(law: Mixture, scale: float, assumed: float) -> Estimate:
    """E (Z − μ(X)) ⊗ g(X) with μ at the assumed scale; zero at the true one, for every g."""
    sample_key, noise_key = jax.random.split(jax.random.key(4))
    z, _ = law.sample(sample_key, DRAWS)
    x = z + scale * normal(noise_key, z.shape)
    mu = np.asarray(law.posterior_mean(x, assumed))
    x = np.asarray(x)
    features = np.concatenate([np.ones((DRAWS, 1)), x, np.cos(2 * x), mu], axis=1)
    return from_samples((np.asarray(z) - mu)[:, :, None] * features[:, None, :])


@pytest.mark.parametrize("widths", [UNEQUAL.widths, 0.0], ids=["widths", "atoms"])
@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_the_error_of_the_posterior_mean_is_orthogonal_to_every_function(widths, scale: float):
    law = Mixture(UNEQUAL.means, widths, LAW)
    check_mean(errors_by_features(law, scale, scale), np.zeros((2, 7)))
    check_rejects(check_mean, errors_by_features(law, scale, 1.1 * scale), np.zeros((2, 7)))


def test_without_noise_nothing_moves_and_with_little_an_atom_is_found():
    np.testing.assert_allclose(UNEQUAL.posterior_mean(SPOTS, 0.0), SPOTS, rtol=1e-15)
    np.testing.assert_allclose(UNEQUAL.posterior_mean(SPOTS, 1e-7), SPOTS, rtol=0, atol=1e-11)
    nearest = np.linalg.norm(SPOTS[:, None] - UNEQUAL.means, axis=-1).argmin(axis=1)
    got = Mixture(UNEQUAL.means, 0.0, LAW).posterior_mean(SPOTS, 1e-4)
    np.testing.assert_array_equal(got, np.asarray(UNEQUAL.means)[nearest])


def test_with_much_noise_the_posterior_is_the_prior():
    np.testing.assert_allclose(UNEQUAL.posterior(SPOTS, 1e7), np.tile(LAW, (COUNT, 1)), rtol=1e-11)
    wanted = np.tile(LAW @ np.asarray(UNEQUAL.means), (COUNT, 1))
    np.testing.assert_allclose(UNEQUAL.posterior_mean(SPOTS, 1e7), wanted, atol=1e-11)


def test_one_mode_is_a_shrinkage():
    law = Mixture(np.array([[1.0, -2.0]]), 0.5)
    wanted = np.array([1.0, -2.0]) + 0.25 / 0.29 * (SPOTS - np.array([1.0, -2.0]))
    np.testing.assert_allclose(law.posterior_mean(SPOTS, 0.2), wanted, rtol=1e-14)
    np.testing.assert_array_equal(law.posterior(SPOTS, 0.2), np.ones((COUNT, 1)))


def test_separated_modes_are_told_apart():
    law = Mixture(UNEQUAL.means, 0.01, LAW)
    assert law.separation() == pytest.approx(math.sqrt(2) / 0.02, rel=1e-13)
    z, labels = law.sample(jax.random.key(5), COUNT)
    np.testing.assert_allclose(law.posterior(z, 0.02), np.eye(4)[np.asarray(labels)], atol=1e-100)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("widths", [[0.3, 0.6, 0.2, 1.0], 0.1, 0.0], ids=str)
def test_far_away_all_is_finite(dtype: str, widths):
    law = Mixture(UNEQUAL.means.astype(dtype), widths, LAW)
    x = jnp.asarray([[1e6, 0], [-1e6, 1e6], [3.0, -1e6], [1e5, 2e5]] * (COUNT // 4), dtype)
    for scale in (0.01, 1.0, 1e3):
        found = [getattr(law, name)(x, scale) for name in FUNCTIONS]
        for got in (*found, SLOPE(x, law, scale)):
            assert got.dtype == dtype
            assert np.isfinite(np.asarray(got)).all()


@pytest.mark.parametrize("height", [0.0, 1e3, 1e6, 1e9])
def test_the_posterior_is_accurate_far_along_a_bisector(height: float):
    law = Mixture(np.array([[1.0, 0.0], [-1.0, 0.0]]), 0.5)
    odds = 2 * 0.25 / (0.25 + 0.25)  # ⟨x, a_1 − a_2⟩/v at x_1 = ¼
    got = law.posterior(np.array([0.25, height]), 0.5)
    np.testing.assert_allclose(got, [special.expit(odds), special.expit(-odds)], rtol=1e-13)


def test_float32_stays_float32_and_accurate_close_to_modes_far_from_the_origin():
    shift = np.array([64.0, -128.0])
    wide = Mixture(UNEQUAL.means + shift, [0.01, 0.03, 0.02, 0.01], LAW)
    narrow = Mixture(jnp.float32(wide.means), [0.01, 0.03, 0.02, 0.01], LAW)
    assert {leaf.dtype for leaf in jax.tree.leaves(narrow)} == {jnp.dtype("float32")}
    z, _ = narrow.sample(jax.random.key(6), COUNT)
    assert z.dtype == jnp.float32
    for name in FUNCTIONS:
        got = getattr(narrow, name)(z, np.float64(0.05))
        wanted = getattr(wide, name)(np.float64(z), 0.05)
        assert (got.dtype, wanted.dtype) == (jnp.float32, jnp.float64)
        np.testing.assert_allclose(got, wanted, rtol=2e-3, atol=1e-4)
    mixed = jax.eval_shape(narrow.score, jnp.float64(z), 0.05)
    assert mixed.dtype == jnp.float64


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("widths", [[0.02, 0.02, 0.02], [1e-3, 1e-3, 1.0]], ids=str)
def test_float32_is_accurate_whichever_mode_is_first_and_however_far_another(widths, reverse: bool):
    means, x = np.array([[-1000.0, 0.0], [0.0, 0.0], [0.0625, 0.0]]), np.array([[0.03, 0.5]])
    order = slice(None, None, -1 if reverse else 1)
    narrow = Mixture(jnp.float32(means[order]), widths[order])
    wide, x = Mixture(means[order], narrow.widths.astype("float64")), jnp.float32(x)
    for name in ("log_density", "posterior"):
        wanted = getattr(wide, name)(np.float64(x), 0.0)
        np.testing.assert_allclose(getattr(narrow, name)(x, 0.0), wanted, rtol=1e-4, atol=1e-6)


def test_without_x64_all_is_float32():
    with jax.enable_x64(False):
        law = Mixture(simplex(3, 2), 0.3, [0.2, 0.3, 0.5])
        x = jnp.zeros((COUNT, 2))
        types = {jax.eval_shape(getattr(law, name), x, 0.1).dtype for name in FUNCTIONS}
        types |= {jax.eval_shape(lambda: law.sample(jax.random.key(7), 20))[0].dtype}
        types |= {made.dtype for made in (law.posterior_mean(x, 0.1), tree(2, 4, 3, 0.4))}
        assert types == {jnp.dtype("float32")}


def test_chunks_do_not_show_and_leading_axes_are_kept():
    rng = np.random.default_rng(1)
    law = Mixture(rng.normal(size=(70, 30)), rng.uniform(0.5, 1, 70))
    x = rng.normal(size=(5, 37, 30))
    assert x.shape[0] * x.shape[1] > 2 * (mixture.CELLS // law.means.size)  # several, and a rest
    wanted = joint(law, x, 0.5)
    got = law.log_density(x, 0.5)
    np.testing.assert_allclose(got, special.logsumexp(wanted, axis=-1), rtol=1e-12)
    np.testing.assert_allclose(law.posterior(x, 0.5), special.softmax(wanted, -1), rtol=1e-9)
    for name, last in zip(FUNCTIONS, [(), (70,), (30,), (30,)], strict=True):
        assert jax.eval_shape(getattr(law, name), jnp.asarray(x), 0.5).shape == (5, 37, *last)
    np.testing.assert_allclose(law.log_density(x[2, 3], 0.5), got[2, 3], rtol=1e-12)


def test_a_mixture_is_built_sampled_and_denoised_under_jit():
    @jax.jit
    def mean(means, widths, law, x, scale):
        return Mixture(means, widths, law).posterior_mean(x, scale)

    wanted = UNEQUAL.posterior_mean(SPOTS, 0.4)
    got = mean(UNEQUAL.means, UNEQUAL.widths, UNEQUAL.masses, SPOTS, 0.4)
    np.testing.assert_allclose(got, wanted, rtol=1e-13)
    z, labels = jax.jit(lambda law, key: law.sample(key, COUNT))(UNEQUAL, jax.random.key(8))
    for one, other in zip((z, labels), UNEQUAL.sample(jax.random.key(8), COUNT), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14)
    each = jax.vmap(lambda x, s: UNEQUAL.posterior_mean(x, s))(SPOTS, jnp.full(COUNT, 0.4))
    np.testing.assert_allclose(each, wanted, rtol=1e-13)
    least = jax.jit(lambda law: (law.closest(), law.separation()))(UNEQUAL)
    np.testing.assert_allclose(least, (UNEQUAL.closest(), UNEQUAL.separation()), rtol=1e-14)


def test_another_scale_and_another_mixture_compile_nothing():
    with jax.debug_key_reuse(False):
        UNEQUAL.posterior_mean(SPOTS, 0.1)
        compiled = mixture._over_points._cache_size()
        UNEQUAL.posterior_mean(SPOTS + 1, 0.7)
        Mixture(UNEQUAL.means + 1, 0.5).posterior_mean(SPOTS, 3.0)
        assert mixture._over_points._cache_size() == compiled


@pytest.mark.parametrize("shape", [(2, 1), (17, 4), (300, 40)])
def test_closest_and_separation_by_brute_force(shape: tuple[int, int]):
    rng = np.random.default_rng(2)
    means, widths = rng.normal(size=shape), rng.uniform(0, 1, shape[0])
    law, upper = Mixture(means, widths), np.triu_indices(shape[0], 1)
    assert law.closest() == pytest.approx(strategies.closest(means), rel=1e-13)
    ratio = np.linalg.norm(means[:, None] - means, axis=-1) / (widths[:, None] + widths)
    assert law.separation() == pytest.approx(ratio[upper].min(), rel=1e-13)


def test_closest_and_separation_at_the_ends():
    alone = Mixture(np.zeros((1, 3)), 0.0)
    assert (alone.closest(), alone.separation()) == (math.inf, math.inf)
    atoms = Mixture(np.eye(2), 0.0)
    assert (atoms.closest(), atoms.separation()) == (pytest.approx(math.sqrt(2)), math.inf)
    equal = Mixture(np.zeros((2, 3)), [0.0, 1.0])  # an atom and a cloud around it
    assert (equal.closest(), equal.separation()) == (0, 0)
    assert np.isfinite(equal.posterior(np.ones(3), 0.5)).all()


@pytest.mark.parametrize(("modes", "dimension", "barrier"), [(2, 1, 3.0), (4, 3, 0.1), (9, 12, 1)])
def test_a_simplex_is_equidistant_and_centred(modes: int, dimension: int, barrier: float):
    means = np.asarray(simplex(modes, dimension, float(barrier)))
    assert means.shape == (modes, dimension)
    apart = np.linalg.norm(means[:, None] - means, axis=-1)[~np.eye(modes, dtype=bool)]
    np.testing.assert_allclose(apart, barrier, rtol=1e-13)
    np.testing.assert_allclose(means.sum(axis=0), 0, atol=1e-13)
    assert Mixture(simplex(modes, dimension), 1.0).closest() == pytest.approx(math.sqrt(2))


def test_a_code_lies_on_its_sphere_without_a_direction_and_differs_by_key():
    one, two = (np.asarray(code(jax.random.key(k), 4000, 3, 2.5)) for k in (0, 1))
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 2.5, rtol=1e-14)
    assert np.abs(one - two).max() > 0.1
    second = (one[:, :, None] * one[:, None, :]).reshape(-1, 9)
    check_mean(from_samples(one), np.zeros(3))
    check_mean(from_samples(second), 2.5**2 / 3 * np.eye(3).ravel())


@pytest.mark.parametrize(("side", "dimension"), [(1, 2), (2, 1), (4, 1), (3, 3), (2, 5)])
def test_a_grid_is_a_product_of_centred_axes(side: int, dimension: int):
    axis = 0.7 * (np.arange(side) - (side - 1) / 2)
    wanted = np.stack(np.meshgrid(*[axis] * dimension, indexing="ij"), -1).reshape(-1, dimension)
    means = grid(side, dimension, 0.7)
    np.testing.assert_allclose(means, wanted, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(np.sum(means, axis=0), 0, atol=1e-13)
    if side > 1:
        assert Mixture(means, 1.0).closest() == pytest.approx(0.7, rel=1e-13)


@pytest.mark.parametrize(
    ("branches", "depth", "dimension", "ratio"),
    [(2, 1, 1, 0.9), (2, 5, 1, 0.5), (2, 2, 3, 0.9), (3, 4, 2, 0.3), (4, 3, 5, 0.5)],
)
def test_a_tree_is_a_smaller_tree_with_a_simplex_at_every_leaf(branches, depth, dimension, ratio):
    leaves = np.asarray(tree(branches, depth, dimension, ratio))
    assert leaves.shape == (branches**depth, dimension)
    families = leaves.reshape(-1, branches, dimension)
    roots, size = families.mean(axis=1), ratio ** (depth - 1)
    wanted = tree(branches, depth - 1, dimension, ratio) if depth > 1 else np.zeros((1, dimension))
    np.testing.assert_allclose(roots, wanted, atol=1e-14)
    shape = size * np.asarray(simplex(branches, dimension, 1.0))
    np.testing.assert_allclose(
        families - roots[:, None], np.broadcast_to(shape, families.shape), atol=1e-14
    )
    if ratio <= 0.5:
        assert Mixture(leaves, 1.0).closest() == pytest.approx(size, rel=1e-9)


def test_the_bound_on_the_ratio_of_a_tree_is_where_leaves_meet():
    golden = (math.sqrt(5) - 1) / 2  # golden + golden² = 1
    assert Mixture(tree(2, 3, 1, golden - 1e-6), 1.0).closest() < 1e-5
    with pytest.raises(ValueError, match="must be < 1"):
        tree(2, 3, 1, golden)


E2, ONE = np.eye(2), Mixture(np.eye(2), 1.0)
KEY = jax.random.key(0)
BAD = {
    "means must have shape (M, n) with M, n ≥ 1, got (3,)": lambda: Mixture(np.zeros(3), 1.0),
    "M, n ≥ 1, got (0, 2)": lambda: Mixture(np.zeros((0, 2)), 1.0),
    "M, n ≥ 1, got (2, 0)": lambda: Mixture(np.zeros((2, 0)), 1.0),
    "means must be floating, got dtype int64": lambda: Mixture(np.zeros((2, 2), np.int64), 1.0),
    "means must be finite, got NaN": lambda: Mixture(np.full((2, 2), np.nan), 1.0),
    "widths must be finite": lambda: Mixture(E2, [1.0, np.inf]),
    "widths must be ≥ 0, got -0.5": lambda: Mixture(E2, [1.0, -0.5]),
    "widths must have shape () or (2,), got (3,)": lambda: Mixture(E2, np.ones(3)),
    "or (2,), got (2, 1)": lambda: Mixture(E2, np.ones((2, 1))),
    "two of the 2 atoms (width 0) coincide": lambda: Mixture(np.ones((3, 2)), [0.0, 1.0, 0.0]),
    "masses must have shape (2,), got (3,)": lambda: Mixture(E2, 1.0, np.full(3, 1 / 3)),
    "must sum to 1, got 0.9: divide": lambda: Mixture(E2, 1.0, [0.5, 0.4]),
    "must sum to 1, got inf": lambda: Mixture(E2, 1.0, [0.5, np.inf]),
    "masses must be positive, got -0.5": lambda: Mixture(E2, 1.0, [1.5, -0.5]),
    "masses must be positive, got 0:": lambda: Mixture(E2, 1.0, [1.0, 0.0]),
    "masses must be positive, got nan": lambda: Mixture(E2, 1.0, [0.5, np.nan]),
    "points of shape (…, 2), at least one, got (4, 3)": lambda: ONE.posterior(np.ones((4, 3)), 1.0),
    "at least one, got ()": lambda: ONE.score(np.zeros(()), 1.0),
    "at least one, got (0, 2)": lambda: ONE.log_density(np.zeros((0, 2))),
    "points must be floating": lambda: ONE.posterior_mean(np.zeros((4, 2), np.int64), 1.0),
    "points must be finite": lambda: ONE.posterior(np.full(2, np.inf), 1.0),
    "scale must be finite and ≥ 0, got -0.1": lambda: ONE.posterior(E2, -0.1),
    "scale must be finite and ≥ 0, got nan": lambda: ONE.score(E2, math.nan),
    "scale must be finite and ≥ 0, got inf": lambda: ONE.posterior_mean(E2, math.inf),
    "scale must be one number, got an array of shape (2,)": lambda: ONE.score(E2, np.ones(2)),
    "no density without noise, got scale 0.0": lambda: Mixture(E2, [1.0, 0.0]).log_density(E2),
    "no density without noise, got scale 0": lambda: Mixture(E2, 0.0).posterior_mean(E2, 0),
    "no density without noise, got scale 1e-200": lambda: Mixture(E2, 0.0).score(E2, 1e-200),
    "count must be an integer ≥ 1, got 0": lambda: ONE.sample(KEY, 0),
    "needs dimension ≥ 3, got 2": lambda: simplex(4, 2),
    "modes must be an integer ≥ 2, got 1": lambda: simplex(1, 2),
    "barrier must be a positive finite number, got 0.0": lambda: simplex(3, 2, 0.0),
    "modes must be an integer ≥ 2, got 2.5": lambda: code(KEY, 2.5, 2, 1.0),
    "collide": lambda: code(KEY, 5, 1, 1.0),
    "radius must be a positive finite number, got -1.0": lambda: code(KEY, 3, 2, -1.0),
    "side must be an integer ≥ 1, got 0": lambda: grid(0, 2, 1.0),
    "dimension must be an integer ≥ 1, got 0": lambda: grid(2, 0, 1.0),
    "spacing must be a positive finite number, got nan": lambda: grid(2, 2, math.nan),
    "2^17 modes are too many: at most 65536": lambda: grid(2, 17, 1.0),
    "1000000000000^1 modes are too many": lambda: grid(10**12, 1, 1.0),
    "branches must be an integer ≥ 2, got 1": lambda: tree(1, 2, 2, 0.5),
    "depth must be an integer ≥ 1, got 0": lambda: tree(2, 0, 2, 0.5),
    "needs dimension ≥ 2, got 1": lambda: tree(3, 2, 1, 0.5),
    "3^11 modes are too many": lambda: tree(3, 11, 2, 0.3),
    "2^1000000000 modes": lambda: tree(2, 10**9, 1, 0.3),
    "ratio must be a positive finite number, got 0.0": lambda: tree(2, 2, 1, 0.0),
    "ratio^1 + … + ratio^1 must be < 1, got a ratio of 1.0": lambda: tree(2, 1, 1, 1.0),
    "ratio^1 + … + ratio^2 must be < 1, got a ratio of 1e+300": lambda: tree(2, 3, 1, 1e300),
    "ratio^1 + … + ratio^3 must be < 1, got a ratio of 0.55": lambda: tree(2, 4, 1, 0.55),
    "ratio 1e-09 is so small that leaves coincide at depth 3": lambda: tree(2, 3, 1, 1e-9),
}


test_bad_input_is_named_on_one_line = refusals(BAD)
