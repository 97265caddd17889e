"""DABI of decoders whose responses are known, a planted steep direction, groups, and erasure."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.refusals import refusals
from tests.significance import check_mean, check_rejects
from theory.estimate import from_samples
from theory.image_sensitivity import DIRECTIONS, image_sensitivity
from theory.latent_erasure import latent_erasure
from theory.latent_steps import drawn
from theory.mixture import Mixture

RNG = np.random.default_rng(41)
N, SIDE = 12, 8  # dimension of the latents, pixels of a side
COUNT, CHUNK = 300, 100
SHAPE = (SIDE, SIDE, 3)
LATENTS = RNG.normal(size=(COUNT, N))
STANDARD = Mixture(np.zeros((1, N)), 1.0)  # N(0, I), whose posterior mean is X/(1 + s²)


class Linear(eqx.Module):
    """z ↦ Az as images."""

    matrix: jax.Array = eqx.field(converter=jnp.asarray)

    def __call__(self, z: jax.Array) -> jax.Array:
        return (z @ self.matrix.T).reshape(len(z), *SHAPE)


class Steep(eqx.Module):
    """z ↦ Az, and beyond it a slope along the normal of a wall that no isotropic step sees much."""

    matrix: jax.Array
    slope: jax.Array = eqx.field(converter=jnp.asarray)  # an array, so that any compiles once

    def __call__(self, z: jax.Array) -> jax.Array:
        out = z @ self.matrix.T
        return out.at[:, 0].add(self.slope * z[:, 0]).reshape(len(z), *SHAPE)


def orthonormal(seed: int = 0) -> np.ndarray:
    shape = (math.prod(SHAPE), N)
    return np.linalg.qr(np.random.default_rng(seed).normal(size=shape))[0]


def key(number: int) -> jax.Array:
    return jax.random.fold_in(jax.random.key(31), number)


def found(decode, number: int = 0, law: Mixture = STANDARD, latents=LATENTS, scale=0.5, **options):
    options = {"chunk": CHUNK} | options
    return image_sensitivity(key(number), decode, law.posterior_mean, latents, scale, **options)


def test_an_orthogonal_decoder_prefers_no_direction():
    """‖Ap‖ = ‖p‖ for orthonormal columns: DABI is 1 in every direction and at every length."""
    got = found(Linear(orthonormal()), steps=[0.1, 2.0])
    for direction in DIRECTIONS:
        for length in (0, 1):
            ends = got.dabi_interval(direction, length=length)
            assert ends.contains(1)
            assert ends.upper - ends.lower < 1e-6
            assert got.amplification(direction, length).value == pytest.approx(1, rel=1e-12)
    np.testing.assert_allclose(got.stretch, 1, rtol=1e-12)
    assert got.outputs == 192
    assert got.response("residual").count == COUNT


def test_a_diagonal_decoder_has_the_ratios_of_its_singular_values():
    """σ₁/E‖Σu‖ along the singular direction, and of N(0, I) residuals are isotropic: 1."""
    sigma = np.array([3.0, *np.linspace(0.5, 1, N - 1)])
    decode = Linear(orthonormal() * sigma)
    got = found(decode, steps=[0.2])
    np.testing.assert_allclose(got.stretch, 3, rtol=1e-9)
    np.testing.assert_allclose(got.responses[:, 0, 0, 0], 0.6, rtol=1e-9)
    u = np.random.default_rng(7).normal(size=(400_000, N))
    isotropic = from_samples(np.linalg.norm(u * sigma, axis=1) / np.linalg.norm(u, axis=1))
    spread = math.hypot(isotropic.sem, got.amplification("isotropic").sem)
    assert abs(got.amplification("isotropic").value - isotropic.value) < 6.2 * spread  # p ≈ 6e-10
    check_mean(got.dabi("singular"), 3 / isotropic.value, resolution=0.3)
    check_rejects(check_mean, got.dabi("singular"), 1.4 * 3 / isotropic.value)
    check_mean(got.dabi("residual"), 1.0, resolution=0.4)


@pytest.mark.parametrize("rank", [1, 3])
def test_residuals_of_a_normal_law_are_isotropic_in_the_leading_directions(rank: int):
    """μ(X) − Z = (sξ − s²Z)/(1 + s²) is isotropic: its share in any k directions is k/n."""
    sigma = np.linspace(3, 0.5, N)
    got = found(Linear(orthonormal(3) * sigma), 1, steps=[0.1], rank=rank)
    for direction in ("residual", "isotropic"):
        check_mean(got.share(direction), rank / N, resolution=0.7)
    np.testing.assert_allclose(got.share("singular").value, 1, rtol=1e-9)
    expected = 0.5 * math.sqrt(N / 1.25)  # E‖r‖² = n s²/(1 + s²)
    assert np.sqrt(np.mean(got.residual**2)) == pytest.approx(expected, rel=0.15)


def test_a_planted_steep_direction_along_the_residual_is_found():
    """Modes on a line: residuals lie along it, and a decoder that is steep there has DABI ≫ 1.

    Across the line the law has width 0.01, and all the noise is taken out but for that; along it
    the modes overlap and nothing is.
    """
    means = np.zeros((41, N))
    means[:, 0] = np.linspace(-4, 4, 41)
    line = Mixture(means, 0.01)
    latents = np.asarray(line.sample(key(50), COUNT)[0])
    base = orthonormal(5)
    flat, steep = (
        found(Steep(jnp.asarray(base), slope), 2, line, latents, 0.5, steps=[0.1])
        for slope in (0.0, 200.0)
    )
    assert flat.dabi_interval("residual").contains(1)
    ends = steep.dabi_interval("residual")
    assert ends.lower > 2.5
    # An isotropic step goes E|u₁| = Γ(n/2)/(√π Γ((n + 1)/2)) along the line: no residual beats 1.
    most = math.sqrt(math.pi) * math.exp(math.lgamma((N + 1) / 2) - math.lgamma(N / 2))
    assert ends.lower < most < 1.5 * ends.upper
    assert steep.share("residual").interval().lower > 0.9
    assert steep.dabi_interval("singular").lower > 2.5


def test_draws_are_those_of_the_definition_and_chunks_change_nothing():
    decode = Linear(orthonormal(2) * np.linspace(1, 2, N))
    whole = found(decode, 4, chunk=160)  # the second chunk is not a full one
    parts = found(decode, 4)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)
    assert whole.steps.shape == (COUNT, 1)  # no length given: that of each residual
    np.testing.assert_array_equal(whole.steps[:, 0], whole.residual)
    draws = drawn(
        jax.random.normal(key(5), (COUNT, 3, N)), STANDARD.posterior_mean, jnp.asarray(LATENTS), 0.5
    )
    noise = 1.25 * (np.asarray(draws.residual) + LATENTS) - LATENTS
    check_mean(from_samples(noise.ravel() ** 2), 0.25, resolution=0.3)
    assert set(np.asarray(draws.sign)) == {-1, 1}
    assert 0.25 < np.mean(np.asarray(draws.sign) > 0) < 0.75  # fails with probability 1e-16
    np.testing.assert_allclose(np.linalg.norm(draws.isotropic, axis=1), 1, rtol=1e-12)
    check_mean(from_samples(np.asarray(draws.isotropic)), np.zeros(N))


def test_groups_that_repeat_a_latent_do_not_count_as_more():
    """Errors go by groups: the same responses four times are worth as much as once."""
    decode = Linear(orthonormal(2) * np.linspace(1, 4, N))
    got = found(decode, 6, steps=[0.3])
    times = lambda a: np.repeat(a, 4, axis=0)  # noqa: E731
    arrays = {name: times(getattr(got, name)) for name in ("responses", "steps", "residual")}
    many = got._replace(**arrays, inside=times(got.inside), group=times(got.group))
    for one, other in (
        (got.dabi("singular"), many.dabi("singular")),
        (got.response("residual"), many.response("residual")),
        (got.share("residual"), many.share("residual")),
    ):
        assert (one.value, one.sem) == pytest.approx((other.value, other.sem), rel=1e-9)
        assert one.count == other.count == COUNT


def test_a_response_that_may_be_zero_leaves_a_lower_end_of_dabi():
    got = found(Linear(orthonormal()), 7, steps=[0.1])
    rare = np.array(got.responses)
    rare[1:, 2] = 0  # one latent alone responds to isotropic steps
    ends = got._replace(responses=rare).dabi_interval("residual")
    assert (ends.lower > 1, ends.upper) == (True, math.inf)
    rare[0, 2] = 0
    with pytest.raises(ValueError, match="does not respond to isotropic steps"):
        got._replace(responses=rare).dabi("residual")


def test_a_distance_is_measured_beside():
    """With a distance that is the L2 itself both responses are one."""

    def root(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.sqrt(jnp.sum((a - b) ** 2, axis=(1, 2, 3)))

    decode = Linear(orthonormal(2) * np.linspace(1, 2, N))
    got = found(decode, 8, steps=[0.1], distance=root)
    np.testing.assert_allclose(got.responses[..., 1], got.responses[..., 0], rtol=1e-9)
    assert got.dabi("singular", "perceptual").value == pytest.approx(got.dabi("singular").value)


@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0])
def test_a_factor_erases_one_less_its_square(factor: float):
    for step in (None, 0.3):
        got = latent_erasure(
            key(9), lambda z: factor * z, STANDARD.posterior_mean, LATENTS, 0.5, step
        )
        values = got.isotropic.value, got.residual.value
        assert values == pytest.approx((1 - factor**2,) * 2, abs=1e-12)


def test_a_projection_erases_what_lies_across():
    """G keeps the first k of n coordinates: 1 − k/n of isotropic steps."""
    kept = np.arange(N) < 3
    got = latent_erasure(
        key(10), lambda z: z * kept, STANDARD.posterior_mean, LATENTS, 0.5, chunk=64
    )
    check_mean(got.isotropic, 1 - 3 / N, resolution=0.2)
    check_mean(got.residual, 1 - 3 / N, resolution=0.2)


TINY = LATENTS[:4]
PLAIN = Linear(orthonormal())
BAD = {
    "latents must have shape (N, n)": lambda: found(PLAIN, latents=np.zeros(4)),
    "latents must be finite": lambda: found(PLAIN, latents=math.nan * TINY),
    "scale must be a positive finite number, got 0": lambda: found(PLAIN, latents=TINY, scale=0),
    "chunk must be an integer ≥ 1, got 0": lambda: found(PLAIN, latents=TINY, chunk=0),
    "rank must be an integer ≥ 1, got 0": lambda: found(PLAIN, latents=TINY, rank=0),
    "R^12 to R^192 has no 13 leading directions": lambda: found(PLAIN, latents=TINY, rank=13),
    "tolerance must be a positive": lambda: found(PLAIN, latents=TINY, tolerance=0.0),
    "group must be 4 integers, one a latent, got int64 (3,)": lambda: found(
        PLAIN, latents=TINY, group=np.arange(3)
    ),
    "at least two independent groups": lambda: found(PLAIN, latents=TINY, group=np.zeros(4, int)),
    "steps must be positive and finite, at least one, got []": lambda: found(
        PLAIN, latents=TINY, steps=[]
    ),
    "got [1.0, -1.0]": lambda: found(PLAIN, latents=TINY, steps=[1.0, -1.0]),
    "a decoder maps rows (N, n) to outputs (N, …), got (12,) of 2": lambda: found(
        lambda z: z.sum(axis=0), latents=TINY
    ),
    "must be finite, got NaN or infinity": lambda: found(lambda z: jnp.log(z - 99), latents=TINY),
    "posterior means keep the shape of the latents, (4, 12), got (4, 6)": lambda: image_sensitivity(
        key(11), PLAIN, lambda x, s: x[:, :6], TINY, 0.5
    ),
    "expected one of singular, residual, isotropic, got 'normal'": lambda: found(
        PLAIN, latents=TINY
    ).response("normal"),
    "expected one of output, got 'perceptual'": lambda: found(PLAIN, latents=TINY).dabi(
        "residual", "perceptual"
    ),
    "carried rows keep the shape of the latents, (4, 12), got (4,)": lambda: latent_erasure(
        key(12), lambda z: z[:, 0], STANDARD.posterior_mean, TINY, 0.5
    ),
}

test_bad_input_is_named = refusals(BAD)
