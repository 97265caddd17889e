"""CCI of carriers with a known one, what they retain, and a rotation's DABI."""

import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.refusals import refusals
from tests.significance import check_mean, check_proportion, check_rejects
from theory.carrier import (
    Constant,
    Factor,
    HardCommit,
    PassThrough,
    SamplerSteps,
    SoftFeedback,
    cci,
    nearest_embedding,
)
from theory.denoiser import ChainDenoiser, MixtureDenoiser
from theory.markov_chain import dirichlet_chain
from theory.mixture import Mixture
from theory.partition import PowerDiagram
from theory.sampler import plan
from theory.sensitivity import DIRECTIONS, LinearDecoder, sensitivity
from theory.terminal import RECTIFIED_FLOW

RNG = np.random.default_rng(5)
WIDTH = 0.05
TABLE = RNG.normal(size=(8, 5))
READOUT = nearest_embedding(TABLE)
LAW = Mixture(TABLE, WIDTH)
COUNT = 4000
ROWS_ON_LINE = 99  # one shape to compile


@cache
def drawn() -> np.ndarray:
    """Latents of the law."""
    return np.asarray(LAW.sample(jax.random.key(0), COUNT)[0])


def fresh(number: int) -> jax.Array:
    return jax.random.fold_in(jax.random.key(77), number)


def found(carrier, number: int = 0, latents=None, diagram=READOUT, **options):
    rows = drawn() if latents is None else latents
    return cci(fresh(number), carrier, rows, diagram, **options)


def both(erasure) -> tuple[float, float]:
    return float(erasure.isotropic.value), float(erasure.normal.value)


def test_the_readout_is_the_nearest_embedding():
    x = RNG.normal(size=(200, 5))
    nearest = ((x[:, None] - TABLE) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(READOUT.label(x), nearest)


@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0])
def test_a_factor_has_one_less_its_square(factor: float):
    """G = 2z has −3, a pass-through 0."""
    assert both(found(Factor(factor))) == pytest.approx([1 - factor**2] * 2, abs=1e-12)
    assert both(found(PassThrough())) == pytest.approx([0, 0], abs=1e-12)
    assert found(PassThrough()).retention.value == 1


def test_a_hard_commit_and_a_constant_differ_in_retention_alone():
    hard, fixed = found(HardCommit(READOUT, TABLE)), found(Constant(jnp.asarray(TABLE[0])))
    assert both(hard) == both(fixed) == (1, 1)
    assert hard.moved_normal.value == fixed.moved_isotropic.value == 0
    assert hard.retention.value == 1
    check_proportion(fixed.retention, 1 / 8, resolution=0.4)
    assert fixed.kept().upper < 0.2 < hard.kept().lower


def test_perturbations_are_half_the_margin_and_do_not_cross_it():
    distance = np.asarray(READOUT.nearest_facet(drawn()).distance)
    seen = []

    def watched(z):
        seen.append(np.asarray(z))
        return z

    erasure = found(watched, reach=0.9)
    assert erasure.step.value == pytest.approx(np.mean((0.9 * distance) ** 2))
    assert erasure.moved_normal.value == pytest.approx(erasure.step.value)
    for moved in seen[1:]:
        length = np.linalg.norm(moved - seen[0], axis=1)
        np.testing.assert_allclose(length, 0.9 * distance, rtol=1e-9)
        np.testing.assert_array_equal(READOUT.label(moved), READOUT.label(seen[0]))
    left = np.asarray(READOUT.nearest_facet(seen[2]).distance)
    np.testing.assert_allclose(left, 0.1 * distance, rtol=1e-6)


def test_the_ratio_is_one_of_means_with_its_error():
    """A projection erases what is across it: CCI isotropic 1 − rank/n."""
    keep = jnp.asarray(np.diag([1.0, 1.0, 0, 0, 0]))
    erasure = found(lambda z: z @ keep)
    check_mean(erasure.isotropic, 3 / 5, resolution=0.1)
    check_rejects(check_mean, erasure.isotropic, 2 / 3)
    towards = TABLE[np.asarray(READOUT.nearest_facet(drawn()).neighbour)]
    towards = towards - TABLE[np.asarray(READOUT.label(drawn()))]
    square = np.asarray(READOUT.nearest_facet(drawn()).distance) ** 2
    share = (towards[:, :2] ** 2).sum(axis=1) / (towards**2).sum(axis=1)
    wanted = 1 - (square * share).sum() / square.sum()
    assert erasure.normal.value == pytest.approx(wanted)


def test_soft_feedback_is_between_and_sharpens_to_a_commit():
    values = [both(found(SoftFeedback(READOUT, TABLE, beta))) for beta in (0.3, 1.0, 30.0)]
    assert all(0 < one < 1 for pair in values for one in pair)
    assert min(values[-1]) > 0.99
    assert found(SoftFeedback(READOUT, TABLE, 30.0)).retention.value == 1
    flat = found(SoftFeedback(READOUT, TABLE, 1e-3))
    assert flat.isotropic.value > 0.99
    assert flat.kept().upper < 0.5


def test_near_facets_soft_feedback_passes_on_more_than_it_is_given():
    """Two tokens at ±1 on a line: near 0 the slope of tanh(βz) is β."""
    line = nearest_embedding(np.array([[-1.0], [1.0]]))
    z = 0.01 * RNG.normal(size=(ROWS_ON_LINE, 1))
    erasure = cci(fresh(1), SoftFeedback(line, line.sites, 2.0), z, line)
    assert erasure.isotropic.value == pytest.approx(1 - 2**2, abs=0.01)
    assert erasure.retention.value == 1


def test_soft_feedback_is_the_denoising_step_of_atoms():
    x, scale = RNG.normal(size=(50, 5)), 0.7
    soft = SoftFeedback(READOUT, TABLE, scale**-2)(jnp.asarray(x))
    np.testing.assert_allclose(soft, Mixture(TABLE, 0.0).posterior_mean(x, scale), atol=1e-10)


def between(s: float, after: float, sampler: str = "exact", churn: float = 0.0) -> dict:
    start, end = (RECTIFIED_FLOW.time(x) for x in (s, after))
    moments = [start, end, 0.0] if end else [start, 0.0]
    steps = plan(sampler, RECTIFIED_FLOW, moments, churn)[:1]
    return {"steps": steps, "signals": (RECTIFIED_FLOW.signal(start), RECTIFIED_FLOW.signal(end))}


def test_a_denoising_step_is_the_posterior_mean_and_an_ode_step_carries_a_share():
    denoiser, key = MixtureDenoiser(LAW), jax.random.key(1)
    x = jnp.asarray(drawn())
    once = SamplerSteps(denoiser, **between(0.3, 0.0), key=key)
    np.testing.assert_allclose(once(x), LAW.posterior_mean(x, 0.3), atol=1e-10)
    part = found(SamplerSteps(denoiser, **between(0.2, 0.1), key=key))
    shrunk = WIDTH**2 / (WIDTH**2 + 0.2**2)
    assert part.isotropic.value == pytest.approx(1 - (0.5 + 0.5 * shrunk) ** 2, abs=0.01)


def test_churn_draws_the_same_noise_at_both_ends():
    carrier = SamplerSteps(MixtureDenoiser(LAW), **between(0.3, 0.1, "churn", 1.0), key=fresh(3))
    x = jnp.asarray(drawn())
    np.testing.assert_array_equal(carrier(x), carrier(x))
    same = found(carrier)
    assert 0 < same.isotropic.value < 1
    calls = iter(range(3))

    def other(z):
        return SamplerSteps(
            MixtureDenoiser(LAW), **between(0.3, 0.1, "churn", 1.0), key=fresh(50 + next(calls))
        )(z)

    assert found(other).isotropic.value < same.isotropic.value - 0.05


@pytest.mark.slow
def test_sequences_are_perturbed_at_once_and_count_as_one():
    chain = dirichlet_chain(fresh(9), 8, 0.3)
    denoiser = ChainDenoiser(chain, jnp.asarray(TABLE))
    carrier = SamplerSteps(denoiser, **between(0.5, 0.0), key=fresh(4), length=4)
    tokens = np.asarray(chain.sample(fresh(5), 300, 4)).ravel()
    z = TABLE[tokens] + WIDTH * RNG.normal(size=(1200, 5))
    erasure = cci(fresh(6), carrier, z, READOUT, group=4)
    assert erasure.isotropic.count == erasure.retention.count == 300
    assert erasure.step.value == pytest.approx(
        np.mean((0.5 * np.asarray(READOUT.nearest_facet(z).distance)) ** 2)
    )
    assert erasure.isotropic.value > 0.9


def test_copies_of_a_token_are_one_and_rows_on_a_facet_stay():
    twice = np.concatenate([TABLE, TABLE])
    copied = nearest_embedding(twice)
    swapped = found(lambda z: HardCommit(copied, np.roll(twice, 8, axis=0))(z), diagram=copied)
    assert both(swapped) == (1, 1)
    assert swapped.retention.value == 1
    line = PowerDiagram(np.array([[-1.0], [1.0]]))
    z = np.repeat([[0.0], [1.0], [2.0]], ROWS_ON_LINE // 3, axis=0)
    erasure = cci(fresh(7), PassThrough(), z, line)
    assert erasure.still == ROWS_ON_LINE // 3
    assert erasure.step.value == pytest.approx((0 + 0.25 + 1) / 3)
    assert erasure.isotropic.value == pytest.approx(0)


def test_a_rotation_has_dabi_one_in_every_direction():
    rotation = LinearDecoder(jnp.asarray(np.linalg.qr(RNG.normal(size=(5, 5)))[0]), jnp.ones(5))
    stretched = LinearDecoder(jnp.asarray(np.diag([3.0, 1, 1, 1, 1])), jnp.ones(5))
    same, other = sensitivity(
        fresh(8), LAW, READOUT, 0.5, [0.3], samples=500, decoders=[rotation, stretched]
    )
    for way in DIRECTIONS:
        assert same.dabi(way, "output").value == pytest.approx(1, abs=1e-12)
        assert same.response(way, "output").value == pytest.approx(0.3)
    assert other.dabi("singular", "output").value > 1.5


ROWS = np.zeros((4, 5))
BAD = {
    "points must have shape (…, 5)": lambda: found(PassThrough(), latents=np.zeros((4, 3))),
    "latents have shape (N, 5), got (2, 4, 5)": lambda: found(
        PassThrough(), latents=np.zeros((2, 4, 5))
    ),
    "points must be finite": lambda: found(PassThrough(), latents=ROWS + math.nan),
    "a reach in (0, 1), got 1.0": lambda: found(PassThrough(), reach=1.0),
    "a reach in (0, 1), got nan": lambda: found(PassThrough(), reach=math.nan),
    "4 latents are not two or more groups of 3": lambda: found(
        PassThrough(), latents=ROWS, group=3
    ),
    "4 latents are not two or more groups of 4": lambda: found(
        PassThrough(), latents=ROWS, group=4
    ),
    "1 latents are not two": lambda: found(PassThrough(), latents=ROWS[:1]),
    "sites of the readout are all equal": lambda: found(
        PassThrough(), diagram=PowerDiagram(np.ones((3, 5)))
    ),
    "all latents lie on facets": lambda: cci(
        fresh(0), PassThrough(), np.zeros((3, 1)), PowerDiagram(np.array([[-1.0], [1.0]]))
    ),
    "keeps the shape of rows, (4000, 5), got (4000, 2)": lambda: found(lambda z: z[:, :2]),
    "carried rows must be finite": lambda: found(lambda z: z / 0),
    "sharpness must be positive and finite, got 0": lambda: SoftFeedback(READOUT, TABLE, 0.0),
    "sharpness must be positive and finite, got nan": lambda: SoftFeedback(
        READOUT, TABLE, math.nan
    ),
    "both ends of steps need a signal α > 0, got (0.0, 1.0)": lambda: SamplerSteps(
        MixtureDenoiser(LAW), [], (0.0, 1.0), fresh(0)
    ),
}


test_bad_input_is_named_on_one_line = refusals(BAD)
