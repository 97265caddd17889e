"""Denoisers stay below their certificate, go on to the same bits, and learn the exact posterior."""

import math
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.refusals import refusals
from tests.strategies import reals
from theory.gaussian import normal
from theory.language import Language, random_embeddings
from theory.markov_chain import dirichlet_chain
from theory.sampler import plan, roll, times
from theory.terminal import RECTIFIED_FLOW
from theory.transport.denoise import (
    FEATURES,
    LipschitzDenoiser,
    LipschitzStudent,
    certified_law,
    certified_map,
    lipschitz_denoiser,
    lipschitz_student,
    windows,
)
from theory.transport.denoise_fit import (
    Denoising,
    Distilling,
    Learning,
    Pace,
    begin_learning,
    fenchel_young,
    learn,
)
from theory.transport.project import nearest
from theory.transport.sparsemax import sparsemax

V, N, L = 6, 3, 8
SHAPE = {"window": 3, "width": 32}
SHORT = Pace(steps=60, batch=8)


@cache
def language() -> Language:
    chain = dirichlet_chain(jax.random.key(0), V, 0.3)
    return Language(chain, random_embeddings(jax.random.key(1), V, N))


@cache
def denoiser() -> LipschitzDenoiser:
    return lipschitz_denoiser(jax.random.key(2), language(), 3.0, **SHAPE)


@cache
def student() -> LipschitzStudent:
    return lipschitz_student(jax.random.key(3), language(), 8.0, **SHAPE)


@cache
def lesson() -> Denoising:
    return Denoising(language(), L)


def key(number: int) -> jax.Array:
    return jax.random.key(number)


def widened(model):
    floating = lambda a: jnp.issubdtype(a.dtype, jnp.floating)  # noqa: E731
    return jax.tree.map(lambda a: a.astype(jnp.float64) if floating(a) else a, model)


# The nearest point of the simplex without a sort

both_nearest = jax.jit(lambda x: (nearest(x), sparsemax(x)))


@given(reals((4, 7), 3.0), st.sampled_from([1e-3, 1.0, 30.0]))
def test_newton_finds_the_nearest_point_of_the_simplex(x, scale):
    found, wanted = both_nearest(jnp.asarray(scale * x))
    np.testing.assert_allclose(found, wanted, atol=1e-14 * max(scale, 1) * 10)


@jax.jit
def _slopes_of_both(x, dx):
    forward = [jax.jvp(f, (x,), (dx,))[1] for f in (nearest, sparsemax)]
    return *forward, jax.vjp(nearest, x)[1](dx)[0]


def test_its_slope_is_that_of_the_sorted_one_and_symmetric():
    x, dx = normal(key(4), (2, 50, 7), "float64")
    own, sorted_one, back = _slopes_of_both(x, dx)
    np.testing.assert_allclose(own, sorted_one, atol=1e-12)
    np.testing.assert_allclose(own, back, atol=1e-12)


# Windows and certificates


def test_windows_hold_the_latents_around_and_zeros_beyond():
    z = jnp.arange(1.0, 13.0).reshape(1, 4, 3)
    found = np.asarray(windows(z, 3)).reshape(4, 3, 3)
    np.testing.assert_array_equal(found[1], z[0, :3])
    np.testing.assert_array_equal(found[0, 0], 0)
    np.testing.assert_array_equal(found[3, 2], 0)


SLOPES = eqx.filter_jit(
    lambda model, z, t: (
        jax.jacfwd(lambda x: model.laws(x[None], 1 - t, t)[0])(z),
        jax.jacfwd(lambda x: model(x[None], 1 - t, t)[0])(z),
    )
)


def norms(model, z, t):
    """Largest ‖∂p/∂z‖ of a position, and ‖∂x̂/∂z‖ of the sequence."""
    laws, whole = map(np.asarray, SLOPES(widened(model), jnp.asarray(z), jnp.asarray(t)))
    own = np.linalg.norm(laws.reshape(len(z), V, -1), 2, axis=(1, 2)).max()
    return own, np.linalg.norm(whole.reshape(z.size, z.size), 2)


@settings(max_examples=15)
@given(
    reals((L, N), 3.0),
    st.floats(0, 1),
    st.integers(0, 50),
    reals((FEATURES, 4), 9.0),
    reals((FEATURES, V), 2.0),
)
def test_no_jacobian_passes_the_certificate(z, t, seed, gates, shift):
    """Whatever the gates and the shift are: time is in no bound."""
    model = lipschitz_denoiser(key(seed), language(), 3.0, **SHAPE)
    drawn = (jnp.asarray(gates, jnp.float32), jnp.asarray(shift, jnp.float32))
    model = eqx.tree_at(lambda m: (m.gates, m.shift), model, drawn)
    own, whole = norms(model, z, t)
    assert own <= certified_law(model) <= 3.001
    assert whole <= certified_map(model)


def test_a_certificate_is_nearly_reached():
    """With gates open: sampled slopes are at most it, and above 0.7 of it somewhere."""
    gates = jnp.zeros_like(denoiser().gates).at[0].set(20.0)
    model = eqx.tree_at(lambda m: m.gates, denoiser(), gates)
    points = np.asarray(normal(key(5), (40, L, N), "float64"))
    most = max(norms(model, z, 0.5)[0] for z in points)
    assert 0.7 * certified_law(model) < most <= certified_law(model)


def test_weights_as_they_are_trained_are_not_certified():
    """A falsifier: the bound is of the weights, not of the name Λ."""
    twice = eqx.tree_at(
        lambda m: m.network.weights[0], denoiser(), 2 * denoiser().network.weights[0]
    )
    assert certified_law(twice) > 1.9 * certified_law(denoiser())


def test_the_bound_of_the_map_has_the_window_and_the_centred_table():
    table = np.asarray(language().embeddings)
    spread = np.linalg.norm(table - table.mean(axis=0), 2)
    wanted = certified_law(denoiser()) * math.sqrt(3) * spread
    assert certified_map(denoiser()) == pytest.approx(wanted, rel=1e-5)


def test_a_student_stands_for_a_denoiser_in_a_step_from_noise():
    noise = normal(key(7), (5, L, N), "float32")
    once = plan("exact", RECTIFIED_FLOW, times("uniform", 1))
    wanted = eqx.filter_jit(student())(noise)
    np.testing.assert_allclose(roll(key(8), student(), once, noise), wanted, atol=1e-4)


# The loss

loss_and_slope = jax.jit(jax.value_and_grad(fenchel_young))


@given(reals((4, V), 3.0), st.integers(0, V - 1))
def test_the_loss_bounds_the_squared_error_and_falls_along_p_less_y(x, token):
    tokens = jnp.full(4, token)
    loss, slope = loss_and_slope(jnp.asarray(x), tokens)
    apart = np.asarray(sparsemax(jnp.asarray(x))) - np.eye(V)[token]
    assert loss >= (apart**2).sum(axis=1).mean() / 2 - 1e-12
    np.testing.assert_allclose(slope, apart / 4, atol=1e-12)


# Training


@pytest.fixture(scope="module")
def history() -> list[Learning]:
    states: list[Learning] = []
    last = learn(key(9), denoiser(), lesson(), pace=SHORT, chunk=30, announce=states.append)
    assert last is states[-1]
    return states


def test_going_on_from_saved_leaves_ends_at_the_same_bits(history):
    half = history[0]
    saved = [np.asarray(leaf) for leaf in jax.tree.leaves((half.model, half.memory))]
    like = begin_learning(denoiser(), SHORT)
    structure = jax.tree.structure((like.model, like.memory))
    model, memory = jax.tree.unflatten(structure, map(jnp.asarray, saved))
    start = Learning(model, memory, half.step, half.losses)
    end = learn(key(9), start, lesson(), pace=SHORT, chunk=30)
    assert bool(eqx.tree_equal(end, history[1]))
    assert not bool(eqx.tree_equal(learn(key(10), start, lesson(), pace=SHORT, chunk=30), end))


def test_what_is_held_stays_and_what_is_trained_is_certified(history):
    trained = history[1].trained
    for held in ("stiffness", "smoothing"):
        assert getattr(trained.network, held) == getattr(denoiser().network, held)
    np.testing.assert_array_equal(trained.table, denoiser().table)
    assert not np.allclose(trained.gates, denoiser().gates)
    assert certified_law(trained) <= 3.001
    assert certified_law(history[1].model) > 3.01


def error(denoiser, t, sequences=400):
    clean = language().embeddings[language().sample(key(11), sequences, L)].astype(jnp.float32)
    z = (1 - t) * clean + t * normal(key(12), clean.shape, "float32")
    return float(jnp.mean((denoiser(z, jnp.float32(1 - t), jnp.float32(t)) - clean) ** 2))


@pytest.mark.slow
def test_with_stiffness_the_exact_denoiser_is_approached_and_without_it_is_not():
    pace, exact = Pace(steps=500, batch=16), language().denoiser()
    found = {}
    for stiffness in (0.1, 4.0):
        fresh = lipschitz_denoiser(key(13), language(), stiffness, **SHAPE)
        found[stiffness] = learn(key(14), fresh, lesson(), pace=pace).trained
    for t in (0.2, 0.5, 1.0):
        least = error(exact, t)
        assert least < error(found[4.0], t) < least + 0.08
        assert error(found[4.0], t) < error(denoiser(), t)
    # ‖W_i − W_j‖·0.1 is below √2: no two tokens have vertices.
    assert error(found[0.1], 0.2) > error(exact, 0.2) + 0.2


@pytest.mark.slow
def test_a_student_learns_its_teacher():
    """Of the nearest token to every position's own noise, which a stiff map can tell."""
    noise = np.asarray(normal(key(15), (512, L, N), "float32"))
    teach = lambda z: np.asarray(language().read(z))  # noqa: E731
    state = learn(
        key(16), student(), Distilling(noise, teach(noise)), pace=Pace(500, 32), chunk=250
    )
    other = np.asarray(normal(key(17), (256, L, N), "float32"))
    same = [
        float((teach(np.asarray(model(jnp.asarray(other)))) == teach(other)).mean())
        for model in (student(), state.trained)
    ]
    assert same[0] < 0.5 < 0.85 < same[1]
    assert state.losses[1] < state.losses[0]


BAD = {
    "w is odd, got 4": lambda: lipschitz_denoiser(key(0), language(), 1.0, window=4),
    "window must be an integer ≥ 1, got 0": lambda: lipschitz_student(
        key(0), language(), 1.0, window=0
    ),
    "width must be an integer ≥ 17, got 16": lambda: lipschitz_denoiser(
        key(0), language(), 1.0, window=3, width=16
    ),
    "stiffness must be a positive finite number, got 0": lambda: lipschitz_denoiser(
        key(0), language(), 0, **SHAPE
    ),
    "rate must be a positive finite number, got nan": lambda: begin_learning(
        denoiser(), Pace(rate=math.nan)
    ),
    "steps must be an integer ≥ 1, got 0": lambda: learn(
        key(0), denoiser(), lesson(), pace=Pace(0)
    ),
    "batch must be an integer ≥ 1, got 0": lambda: learn(
        key(0), denoiser(), lesson(), pace=Pace(1, 0)
    ),
    "chunk must be an integer ≥ 1, got 0": lambda: learn(key(0), denoiser(), lesson(), chunk=0),
    "length must be an integer ≥ 1, got 0": lambda: learn(
        key(0), denoiser(), Denoising(language(), 0)
    ),
    "a LipschitzStudent learns by Distilling, got Denoising": lambda: learn(
        key(0), student(), lesson()
    ),
    "V, n = 6, 3, the lesson has (6, 2)": lambda: learn(
        key(0), student(), Distilling(np.zeros((2, 4, 2)), np.zeros((2, 4), int))
    ),
    "V, n = 6, 3, the lesson has (8, 3)": lambda: learn(
        key(0), student(), Distilling(np.zeros((2, 4, 3)), np.full((2, 4), 7))
    ),
    "noise (N, L, n) has tokens (N, L), got (2, 4, 3) and (2, 5)": lambda: Distilling(
        np.zeros((2, 4, 3)), np.zeros((2, 5), int)
    ),
}


test_bad_input_is_named = refusals(BAD)


def test_a_loss_that_is_not_finite_is_named():
    broken = eqx.tree_at(lambda m: m.shift, denoiser(), denoiser().shift * math.nan)
    with pytest.raises(FloatingPointError, match="the loss is nan by step 30"):
        learn(key(18), broken, lesson(), pace=SHORT, chunk=30)


def test_a_module_is_a_pytree_whose_window_is_static():
    leaves = jax.tree.leaves(denoiser())
    assert isinstance(denoiser(), LipschitzDenoiser)
    assert len(leaves) == 3 + 3 + 2 + 3
