"""The certificate against dense singular values, sampled Jacobians and drawn pairs of points."""

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.significance import FAILURE, check_mean, check_rejects
from tests.strategies import points, reals, scales
from theory.estimate import Estimate, from_samples
from theory.gaussian import normal
from theory.transport import LipschitzNetwork, certified, lipschitz_network, orthonormal
from theory.transport.lipschitz import CENTRING, smooth_sort

SHAPES = ((4, 4, 4), (3, 1, 6), (2, 5, 6))  # M, n, width
SHOWN = [*(pytest.param(shape, marks=pytest.mark.slow) for shape in SHAPES[:2]), SHAPES[2]]
EPS = float(np.finfo(np.float32).eps)
RNG = np.random.default_rng(41)

images = jax.jit(lambda network, x: network(x))
jacobians = jax.jit(lambda network, x: jax.vmap(jax.jacfwd(network))(x))


@functools.cache
def fresh(seed: int, modes: int, dimension: int, width: int, **options) -> LipschitzNetwork:
    stiffness = options.pop("stiffness", 8.0)
    return lipschitz_network(
        jax.random.key(seed), modes, dimension, stiffness, width=width, **options
    )


def raw(shape: tuple[int, int, int], dtype: str = "float32") -> st.SearchStrategy:
    """Networks of three layers whose weights are any matrices, entries of size 0.01 to 100."""
    modes, n, width = shape
    sizes = ((width, n), (width, width), (modes, width))
    start = fresh(1, modes, n, width)
    start = in_float64(start) if dtype == "float64" else start
    weights = st.tuples(*(st.builds(lambda a, s: s * a, reals(z, 1.0), scales()) for z in sizes))

    def build(drawn: tuple[np.ndarray, ...], stiffness: float) -> LipschitzNetwork:
        cast = tuple(jnp.asarray(w, dtype) for w in drawn)
        where = lambda t: (t.weights, t.stiffness)  # noqa: E731
        return eqx.tree_at(where, start, (cast, jnp.asarray(stiffness, dtype)))

    return st.builds(build, weights, scales(2.0))


def in_float64(network: LipschitzNetwork) -> LipschitzNetwork:
    """The same numbers, so that rounding is no excuse."""
    return jax.tree.map(lambda a: a.astype(jnp.float64), network)


def dense(network: LipschitzNetwork) -> float:
    """Λ·Π‖W_k‖ by SVD."""
    norms = [np.linalg.norm(np.asarray(w, np.float64), 2) for w in network.weights]
    return float(network.stiffness) * math.prod(norms)


def hunted(network: LipschitzNetwork, count: int = 2000) -> float:
    """The largest ‖DT(x)‖_op found: over x ~ 2γ, then thrice in ever smaller clouds of the best.

    A lower bound of the supremum: it may refute a certificate, never confirm one.
    """
    network, rng = in_float64(network), np.random.default_rng(42)
    x = 2 * rng.normal(size=(count, network.dimension))
    best = 0.0
    for spread in (1.0, 0.1, 0.01, 0.0):
        norms = np.linalg.norm(np.asarray(jacobians(network, jnp.asarray(x))), 2, axis=(1, 2))
        best = max(best, norms.max())
        top = x[np.argsort(norms)[-20:]]
        x = np.repeat(top, count // 20, axis=0) + spread * rng.normal(size=x.shape)
    return best


# The layers

slopes_of_sort = jax.jit(jax.vmap(jax.jacfwd(smooth_sort), in_axes=(0, None)))


@given(x=reals((5, 8), 3.0), smoothing=scales(2.0))
def test_smooth_sort_stretches_by_1_and_less(x: np.ndarray, smoothing: float):
    jacobian = slopes_of_sort(jnp.asarray(x), smoothing)
    got = np.linalg.svd(np.asarray(jacobian), compute_uv=False)
    apart = np.abs(x[:, ::2] - x[:, 1::2])
    wanted = np.concatenate([np.ones((5, 4)), apart / np.hypot(apart, smoothing)], axis=1)
    np.testing.assert_allclose(got, -np.sort(-wanted, axis=1), atol=1e-14)


def test_smooth_sort_sorts_pairs():
    x = jnp.asarray(RNG.normal(size=(4, 3, 6)))
    got = np.asarray(smooth_sort(x, 1e-9)).reshape(4, 3, 3, 2)
    wanted = -np.sort(-np.asarray(x).reshape(4, 3, 3, 2), axis=-1)
    np.testing.assert_allclose(got, wanted, atol=1e-9)
    equal = smooth_sort(jnp.ones(2), 0.5)
    np.testing.assert_allclose(equal, [1.25, 0.75], rtol=1e-15)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "layers", "dtype"),
    [((3, 1, 6), 2, "float32"), ((2, 5, 64), 3, "float32"), ((2, 5, 64), 3, "float64")],
)
def test_fresh_weights_are_isometries(shape: tuple[int, int, int], layers: int, dtype: str):
    modes, n, width = shape
    network = fresh(2, modes, n, width, layers=layers, dtype=dtype)
    hidden = [(width, width)] * (layers - 2)
    assert [w.shape for w in network.weights] == [(width, n), *hidden, (modes, width)]
    assert (network.modes, network.dimension) == (modes, n)
    assert {leaf.dtype for leaf in jax.tree.leaves(network)} == {np.dtype(dtype)}
    assert float(network.smoothing) == pytest.approx(1 / 32, rel=1e-7)
    rounding = 4 * float(jnp.finfo(dtype).eps) * width
    for weight in map(np.asarray, network.weights):
        small = weight.T @ weight if weight.shape[0] >= weight.shape[1] else weight @ weight.T
        np.testing.assert_allclose(small, np.eye(len(small)), atol=rounding)


def test_fresh_weights_are_uniform():
    """An entry w of a uniform direction of R^16 has (w + 1)/2 ~ Beta(7.5, 7.5).

    Each of four true laws is refused with probability 1e-9.
    """
    keys = jax.random.split(jax.random.key(3), 3000)
    one = lambda key: lipschitz_network(key, 2, 3, 1.0, width=16).weights  # noqa: E731
    # One after the other: batches of QR side by side may hang on few cores (jaxlib 0.10.2).
    draw = jax.jit(lambda keys: jax.lax.map(one, keys))
    first, _, last = (np.asarray(w, np.float64) for w in draw(keys))
    for entry in (first[:, 0, 0], first[:, 5, 2], last[:, 0, 0], last[:, 1, 7]):
        assert stats.kstest((entry + 1) / 2, stats.beta(7.5, 7.5).cdf).pvalue > FAILURE
        # The Q of Householder without the signs: the first entry is never positive.
        assert stats.kstest((1 - np.abs(entry)) / 2, stats.beta(7.5, 7.5).cdf).pvalue < FAILURE


def test_orthonormal_keeps_spans_and_isometries():
    network = orthonormal(in_float64(fresh(4, 2, 5, 6)))
    bent = eqx.tree_at(
        lambda t: t.weights,
        network,
        tuple(
            w @ jnp.asarray(np.triu(RNG.uniform(1, 2, (w.shape[1],) * 2))) for w in network.weights
        ),
    )
    for got, given_ in ((orthonormal(network), network), (orthonormal(bent), bent)):
        for ours, theirs in zip(map(np.asarray, got.weights), given_.weights, strict=True):
            square = min(ours.shape)
            assert np.linalg.matrix_rank(np.asarray(theirs)) == square
            norms = np.linalg.svd(ours, compute_uv=False)
            np.testing.assert_allclose(norms, 1, atol=1e-13)
            tall, other = (a if ours.shape[0] >= ours.shape[1] else a.T for a in (ours, theirs))
            np.testing.assert_allclose(tall @ (tall.T @ other), other, atol=1e-11)
    for ours, theirs in zip(orthonormal(network).weights, network.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-14)


# The certificate


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
@pytest.mark.parametrize("shape", SHOWN)
@given(data=st.data())
def test_the_certificate_is_no_less_than_the_singular_values(
    shape: tuple[int, int, int], dtype: str, data: st.DataObject
):
    network = data.draw(raw(shape, dtype))
    assert certified(network) >= dense(network) * (1 - 1e-14)  # the rounding of the SVD


@given(eta=st.floats(-0.5, 0.5), size=scales(2.0))
def test_the_certificate_of_scaled_rotations_and_of_ones(eta: float, size: float):
    """Both routes at their sharp cases: an isometry, and a matrix of one repeated entry."""
    network = orthonormal(in_float64(fresh(5, 4, 4, 4)))
    scaled = eqx.tree_at(lambda t: t.weights[1], network, (1 + eta) * network.weights[1])
    truth = 8 * (1 + eta)
    assert (
        truth * (1 - 1e-14)
        <= certified(scaled)
        <= 8 * math.sqrt(1 + 2 * abs(2 * eta + eta**2)) + 1e-9
    )
    ones = eqx.tree_at(lambda t: t.weights[1], network, size * jnp.ones((4, 4)))
    if size >= 1:  # otherwise the other route may be the sharper one, and no longer sharp
        assert certified(ones) == pytest.approx(32 * size, rel=1e-12)
    assert certified(ones) >= 32 * size


@pytest.mark.parametrize("width", [6, pytest.param(64, marks=pytest.mark.slow)])
def test_the_certificate_of_an_orthonormal_network_is_its_stiffness(width: int):
    for seed in range(3):
        single = fresh(seed, 2, 5, width, stiffness=0.1)
        stiffness = float(single.stiffness)  # of float32, not 0.1
        assert stiffness * (1 - 2 * EPS) <= certified(single) <= 1.0001 * stiffness
        double = fresh(seed, 2, 5, width, stiffness=0.1, dtype="float64")
        # The stated rounding of a product grows as the square of the width.
        assert (
            0.1 * (1 - 1e-15) <= certified(double) <= 0.1 * (1 + 1e-12 * max(1, (width / 16) ** 2))
        )


def test_a_scaled_weight_raises_the_certificate_and_needs_to():
    """At n = M = width no layer loses a direction, and the supremum is nearly attained."""
    network = fresh(6, 4, 4, 4)
    for factor in (1.0, 1.05):
        scaled = eqx.tree_at(lambda t: t.weights[1], network, factor * network.weights[1])
        stiffness, found = certified(scaled), hunted(scaled)
        assert 8 * factor * (1 - 1e-6) <= stiffness
        assert 0.995 * 8 * factor < found <= stiffness
    assert found > 8 * 1.0001  # so Λ alone would be no certificate


@pytest.mark.parametrize("shape", SHOWN)
def test_no_jacobian_exceeds_the_certificate(shape: tuple[int, int, int]):
    for seed, smoothing in ((7, None), (8, 1e-4), (9, 3.0)):
        network = fresh(seed, *shape, stiffness=30.0, smoothing=smoothing)
        assert 1 < hunted(network, 500) <= certified(network)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@given(data=st.data(), size=scales(3.0))
def test_no_pair_of_points_is_torn_apart_by_more_than_the_certificate(
    shape: tuple[int, int, int], data: st.DataObject, size: float
):
    network, n = data.draw(raw(shape)), shape[1]
    x = np.float32(data.draw(points(8, n)))
    y = np.float32(x + size * data.draw(points(8, n)))
    limit = certified(network) * np.linalg.norm(np.float64(y) - np.float64(x), axis=1)
    # Rounding: every layer adds about width·ε times the largest number it can have met.
    reach = dense(network) * (3 + 3 * size) * n + float(network.stiffness) * 9 * np.prod(
        [1 + np.linalg.norm(w, 2) for w in network.weights]
    )
    for dtype, eps in ((np.float32, EPS), (np.float64, 1e-15)):
        cast = in_float64(network) if dtype is np.float64 else network
        image = lambda z, cast=cast, dtype=dtype: np.float64(images(cast, z.astype(dtype)))  # noqa: E731
        moved = np.linalg.norm(image(y) - image(x), axis=1)
        assert (moved <= limit + 10 * eps * (1 + reach)).all()


# The map


@pytest.mark.parametrize("shape", SHOWN)
@given(data=st.data(), stiffness=scales(2.0))
def test_images_lie_on_the_simplex(
    shape: tuple[int, int, int], data: st.DataObject, stiffness: float
):
    network = eqx.tree_at(lambda t: t.stiffness, fresh(10, *shape), jnp.float32(stiffness))
    x = jnp.asarray(data.draw(reals((2, 3, shape[1]), 5.0)), jnp.float32)
    got = np.asarray(images(network, x))
    assert got.shape == (2, 3, shape[0])
    assert got.dtype == np.float32
    assert (got >= 0).all()
    np.testing.assert_allclose(got.sum(axis=-1), 1, atol=10 * EPS * (1 + stiffness))
    one = np.asarray(images(network, x[0, 0]))
    np.testing.assert_allclose(one, got[0, 0], atol=100 * EPS * (1 + stiffness))


@pytest.mark.parametrize("shape", [(4, 4, 4), pytest.param((3, 1, 6), marks=pytest.mark.slow)])
def test_fresh_outputs_have_mean_0(shape: tuple[int, int, int]):
    """The mean over other points, which misses 0 by the error of either sample of points."""
    network = fresh(11, *shape)
    x = normal(jax.random.key(12), (100_000, shape[1]), "float32")
    got = from_samples(np.asarray(network.logits(x) / network.stiffness))
    wide = Estimate(got.value, got.sem * math.sqrt(1 + got.count / CENTRING), 0.0, CENTRING)
    check_mean(wide, np.zeros(shape[0]))
    assert wide.sem.max() < 0.02
    off = wide.value + 0.2 * np.eye(shape[0])[0]
    check_rejects(check_mean, Estimate(off, wide.sem, 0.0, CENTRING), np.zeros(shape[0]))
    spread = np.asarray(network.biases[0])
    assert (np.abs(spread) <= 1).all()
    assert np.ptp(spread) > 0.5


def test_keys_make_networks():
    one, same, other = (fresh(seed, 2, 5, 6) for seed in (13, 13, 14))
    assert eqx.tree_equal(one, same)
    for name in ("weights", "biases"):
        for a, b in zip(getattr(one, name), getattr(other, name), strict=True):
            assert not np.isclose(a, b).any()


def test_without_x64():
    with jax.enable_x64(False):
        network = fresh(15, 4, 4, 4)
        got = images(network, jnp.ones((4, 4)))
        assert got.dtype == np.float32
        assert 8 * (1 - 2 * EPS) <= certified(network) <= 8 * 1.0001


def network(**options) -> LipschitzNetwork:
    given_ = {"modes": 4, "dimension": 3, "stiffness": 1.0, "width": 8} | options
    return lipschitz_network(jax.random.key(16), **given_)


BAD = {
    "modes must be an integer ≥ 2, got 1": {"modes": 1},
    "modes must be an integer ≥ 2, got 2.0": {"modes": 2.0},
    "dimension must be an integer ≥ 1, got 0": {"dimension": 0},
    "layers must be an integer ≥ 2, got 1": {"layers": 1},
    "layers must be an integer ≥ 2, got True": {"layers": True},
    "width must be an integer ≥ 4, got 2": {"width": 2},
    "width must be an integer ≥ 9, got 8": {"dimension": 9},
    "width must be even, got 9": {"width": 9},
    "stiffness must be a positive finite number, got 0": {"stiffness": 0},
    "stiffness must be a positive finite number, got -1.0": {"stiffness": -1.0},
    "stiffness must be a positive finite number, got nan": {"stiffness": math.nan},
    "stiffness must be a positive finite number, got inf": {"stiffness": math.inf},
    "smoothing must be a positive finite number, got 0.0": {"smoothing": 0.0},
    "smoothing must be a positive finite number, got -0.1": {"smoothing": -0.1},
}


@pytest.mark.parametrize("said", BAD)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named(said: str):
    with pytest.raises(ValueError, match="got") as error:
        network(**BAD[said])
    assert said in str(error.value)
    assert "\n" not in str(error.value)
