"""Row spaces, moments, denoising steps and responses by brute force; their laws by quadrature."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from tests import strategies
from tests.refusals import refusals
from tests.significance import check_mean, check_rejects
from theory import denoise_step, residual_law, sensitivity
from theory.denoiser import MixtureDenoiser
from theory.estimate import from_samples, proportion_interval, ratio_of_means
from theory.gaussian import normal as gaussian_draws
from theory.mixture import Mixture
from theory.partition import PowerDiagram, half_space, orthants, simplicial_cluster
from theory.residual import Moments, geometry, row_space
from theory.sampler import plan, roll, times
from theory.sensitivity import DIRECTIONS, LinearDecoder, logits, respond, singular_directions
from theory.terminal import RECTIFIED_FLOW

RNG = np.random.default_rng(3)
FLAT = np.linalg.qr(RNG.normal(size=(5, 2)))[0].T  # a plane of R^5
READOUT = PowerDiagram(RNG.normal(size=(6, 2)) @ FLAT + 1.0, 0.2 * RNG.normal(size=6))
LAW = Mixture(2 * RNG.normal(size=(4, 5)), [0.3, 0.5, 0.2, 1.0], [0.1, 0.2, 0.3, 0.4])
COUNT = 3000  # two chunks, the second one not full


def fresh(number: int) -> jax.Array:
    """A key of this file, made anew."""
    return jax.random.fold_in(jax.random.key(31), number)


# Row space


def test_the_row_space_is_the_span_of_differences():
    space = row_space(READOUT)
    assert space.basis.shape == (2, 5)
    np.testing.assert_allclose(space.basis @ space.basis.T, np.eye(2), atol=1e-13)
    sites = np.asarray(READOUT.sites)
    apart = (sites[:, None] - sites).reshape(-1, 5)
    np.testing.assert_allclose(apart @ space.basis.T @ space.basis, apart, atol=1e-12)
    wanted = np.linalg.norm(sites - sites.mean(axis=0))
    assert np.linalg.norm(space.spectrum) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(
    ("diagram", "rank"),
    [
        (half_space(7), 1),
        (orthants(3), 3),
        (simplicial_cluster(4, dimension=9), 3),
        (PowerDiagram(READOUT.sites.astype("float32")), 2),
    ],
    ids=["half-space", "orthants", "simplex", "float32"],
)
def test_ranks_that_are_known(diagram: PowerDiagram, rank: int):
    assert len(row_space(diagram).spectrum) == rank


def test_the_tolerance_is_relative_to_the_largest_site_or_singular_value():
    thin = PowerDiagram(np.diag([1.0, 1.0, 1e-6])[:, [0, 2]] + [[0, 0], [0, 0], [0.0, 0]])
    assert [len(row_space(thin, t).spectrum) for t in (None, 1e-8, 1e-4)] == [2, 2, 1]
    shifted = PowerDiagram(1e9 + np.asarray(READOUT.sites))  # the rounding of 1e9 is no direction
    assert len(row_space(shifted).spectrum) == 2


# Moments


@given(strategies.reals((40, 3), 5.0), st.sampled_from([(13, 27), (1, 39), (20, 20)]))
def test_moments_are_those_of_the_rows_together(rows: np.ndarray, cut: tuple[int, int]):
    found = Moments((3,))
    for part in np.split(rows, [cut[0]]):
        found.add(part)
    wanted = from_samples(rows)
    for i in range(3):
        got = found.mean(i)
        assert got.value == pytest.approx(wanted.value[i], rel=1e-12, abs=1e-12)
        assert got.sem == pytest.approx(wanted.sem[i], rel=1e-6, abs=1e-6)
    if abs(rows[:, 1].mean()) > 0.1:
        got, ratio = found.ratio((0,), (1,)), ratio_of_means(rows[:, 0], rows[:, 1])
        assert got.value == pytest.approx(ratio.value, rel=1e-11, abs=1e-12)
        assert got.sem == pytest.approx(ratio.sem, rel=1e-6, abs=1e-6)
        assert got.count == ratio.count == 40


def test_a_ratio_to_nothing_is_infinite_or_nothing():
    found = Moments((3,))
    found.add(np.array([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]))
    assert found.ratio((0,), (1,)).value == math.inf
    assert math.isnan(found.ratio((2,), (1,)).value)


# Steps


def test_steps_are_denoising_steps_and_their_facets():
    drawn = list(denoise_step.steps(fresh(0), LAW, READOUT, 0.7, samples=COUNT))
    raw = list(denoise_step.steps(fresh(0), LAW, READOUT, 0.7, samples=COUNT, score=False))
    assert [step.live for step in drawn] == [2048, COUNT - 2048]
    for one, other in zip(drawn, raw, strict=True):  # on common random numbers
        np.testing.assert_array_equal(one.clean, other.clean)
        noisy = np.asarray(one.clean + other.residual)
        mean = LAW.posterior_mean(noisy, 0.7)
        np.testing.assert_allclose(one.clean + one.residual, mean, rtol=1e-10, atol=1e-10)
        score = 0.7**2 * np.asarray(LAW.score(noisy, 0.7))
        np.testing.assert_allclose(one.residual - other.residual, score, atol=1e-10)
        facet = READOUT.nearest_facet(one.clean)
        np.testing.assert_array_equal(one.facet.distance, facet.distance)
        edge = one.clean + np.asarray(facet.distance)[:, None] * one.towards
        scores = np.asarray(READOUT.scores(edge))
        rows = np.arange(len(scores))
        gap = scores[rows, np.asarray(facet.label)] - scores[rows, np.asarray(facet.neighbour)]
        np.testing.assert_allclose(gap, 0, atol=1e-12)
    first, second = (np.asarray(step.residual)[0] for step in raw)
    assert np.abs(first - second).min() > 0


def test_geometry_is_its_definition():
    found = geometry(fresh(1), LAW, READOUT, 0.7, samples=COUNT)
    drawn = list(denoise_step.steps(fresh(1), LAW, READOUT, 0.7, samples=COUNT))
    r, way = (
        np.concatenate([np.asarray(getattr(step, name))[: step.live] for step in drawn])
        for name in ("residual", "towards")
    )
    centred = np.asarray(READOUT.sites) - np.asarray(READOUT.sites).mean(axis=0)
    inside, square = ((r @ FLAT.T) ** 2).sum(axis=1), (r**2).sum(axis=1)
    push = (r * way).sum(axis=1)
    weighted = 5 / np.sum(centred**2) * ((r @ centred.T) ** 2).sum(axis=1)
    wanted = {
        "share": ratio_of_means(inside, square),
        "mean_share": from_samples(inside / square),
        "weighted": ratio_of_means(weighted, square),
        "cosine": from_samples(np.abs(push) / np.sqrt(square)),
        "towards": from_samples(push / np.sqrt(square)),
        "push": from_samples(push),
        "energy": from_samples(square),
    }
    for name, one in found._asdict().items():
        assert one.value == pytest.approx(wanted[name].value, rel=1e-10), name
        assert one.sem == pytest.approx(wanted[name].sem, rel=1e-6), name
        assert one.count == COUNT


# Responses


def test_responses_are_their_definitions():
    decoder = logits(READOUT, 3.0)
    clean = RNG.normal(size=(50, 5))
    ways, lengths = RNG.normal(size=(2, 50, 5)), RNG.uniform(0.1, 3, size=(50, 3))
    got = np.asarray(respond(decoder, *map(jnp.asarray, (clean, ways, lengths))))
    assert got.shape == (50, 2, 3, 3)
    sites, offsets = np.asarray(READOUT.sites), np.asarray(READOUT.offsets)
    before = 3 * (clean @ sites.T + offsets)
    label = before.argmax(axis=1)[:, None]
    for d in range(2):
        for k in range(3):
            after = 3 * ((clean + lengths[:, [k]] * ways[d]) @ sites.T + offsets)
            moved = after - before
            moved = np.linalg.norm(moved - moved.mean(axis=1, keepdims=True), axis=1)
            rise = [
                np.take_along_axis(-jax.nn.log_softmax(jnp.asarray(x), axis=1), label, 1)[:, 0]
                for x in (after, before)
            ]
            np.testing.assert_array_equal(got[:, d, k, 0], after.argmax(axis=1) != label[:, 0])
            np.testing.assert_allclose(got[:, d, k, 1], moved, rtol=1e-10)
            np.testing.assert_allclose(got[:, d, k, 2], rise[0] - rise[1], atol=1e-10)


def test_directions_are_unit_vectors_with_the_signs_they_should_have():
    step = next(denoise_step.steps(fresh(2), LAW, READOUT, 0.7, samples=COUNT))
    singular = singular_directions(logits(READOUT), step.clean)
    drawn = gaussian_draws(step.key, step.clean.shape, "float64")
    ways = np.asarray(sensitivity.directions(step.towards, singular, step.residual, drawn))
    np.testing.assert_array_equal(ways[4] * np.linalg.norm(drawn, axis=1)[:, None] > 0, drawn > 0)
    np.testing.assert_allclose(np.linalg.norm(ways, axis=2), 1, rtol=1e-12)
    normal, top, r, oriented, noise = ways
    towards = np.asarray(step.towards)
    np.testing.assert_array_equal(normal, towards)
    for one in (top, oriented):
        assert ((one * towards).sum(axis=1) >= 0).all()
    length = np.linalg.norm(step.residual, axis=1, keepdims=True)
    np.testing.assert_allclose(r * length, step.residual, rtol=1e-10, atol=1e-14)
    np.testing.assert_array_equal(np.abs(oriented), np.abs(r))
    assert 0.2 < (oriented == r).all(axis=1).mean() < 0.8
    np.testing.assert_array_equal(np.abs(top), np.broadcast_to(np.abs(top[0]), top.shape))
    check_mean(from_samples(noise), np.zeros(5))
    check_mean(
        from_samples((noise[:, :, None] * noise[:, None]).reshape(-1, 25)), np.eye(5).ravel() / 5
    )


def test_singular_directions_of_a_map_that_bends_and_of_a_linear_one():
    decoder = logits(READOUT)
    top = np.linalg.svd(decoder.matrix)[2][0]
    x = jnp.asarray(RNG.normal(size=(20, 5)))
    np.testing.assert_allclose(singular_directions(decoder, x), np.tile(top, (20, 1)), rtol=1e-12)
    bent = singular_directions(lambda z: jax.nn.softmax(decoder(z)), x)
    for point, way in zip(x, np.asarray(bent), strict=True):
        p = np.asarray(jax.nn.softmax(decoder(point[None])[0]))
        jacobian = (np.diag(p) - np.outer(p, p)) @ np.asarray(decoder.matrix)
        best = np.linalg.svd(jacobian)[2][0]
        assert abs(best @ way) == pytest.approx(1, abs=1e-9)
    assert np.std(np.abs(bent), axis=0).max() > 0.01


def test_no_isotropic_flips_leave_a_lower_end_of_dabi():
    found = sensitivity.Sensitivity(1)
    rows = np.zeros((1000, len(DIRECTIONS), 1, 3))
    rows[:400, 0, 0, 0] = 1  # along the normal
    rows[:, 0, 0, 2], rows[:, 4, 0, 2] = 1.0, RNG.normal(size=1000)
    found.moments.add(rows)
    assert found.dabi("normal", "flips").value == math.inf
    lower, upper = found.dabi_interval("normal", "flips")
    ends = [proportion_interval(found.response(d, "flips"), 5e-10) for d in ("normal", "isotropic")]
    assert lower == pytest.approx(ends[0].lower / ends[1].upper)
    assert (lower > 10, upper) == (True, math.inf)
    lower, upper = found.dabi_interval("normal", "rise")  # an isotropic rise that may be 0
    assert 3 < lower < 10
    assert upper == math.inf
    assert found.dabi_interval("residual", "flips") == (0, math.inf)


# Laws


@pytest.mark.parametrize("dimension", [1, 2, 3, 16, 400])
def test_mean_cosine_by_quadrature(dimension: int):
    density = stats.beta(0.5, (dimension - 1) / 2) if dimension > 1 else None
    wanted = 1.0 if density is None else density.expect(np.sqrt)
    assert residual_law.mean_cosine(dimension) == pytest.approx(wanted, rel=1e-6)
    assert residual_law.normal_ratio(dimension) * wanted == pytest.approx(2, rel=1e-6)


def test_the_energy_of_one_mode_and_of_two():
    """One: (1/τ² + 1/s²)⁻¹ a dimension. Two at ±h e_1: more on the axis, by quadrature."""
    alone = Mixture(np.ones((1, 3)), 0.5)
    got = residual_law.residual_energy(fresh(3), alone, 0.8, np.eye(3)[:2], samples=100)
    variance = 0.25 * 0.64 / 0.89
    assert got.total.value == pytest.approx(3 * variance, rel=1e-12)
    assert got.share.value == pytest.approx(2 / 3, rel=1e-12)
    h, v = 1.2, 0.25 + 0.64
    two = Mixture(np.array([[h, 0, 0], [-h, 0, 0]]), 0.5)
    axis = np.eye(3)[:1]
    got = residual_law.residual_energy(fresh(4), two, 0.8, axis, samples=40_000)
    told = lambda x: stats.norm.pdf(x, h, math.sqrt(v)) / np.cosh(h * x / v) ** 2  # noqa: E731
    excess = (0.64 / v) ** 2 * h**2 * integrate.quad(told, -12, 12)[0]
    check_mean(got.row, variance + excess, resolution=0.05)
    check_mean(got.total, 3 * variance + excess, resolution=0.05)
    check_mean(got.share, (variance + excess) / (3 * variance + excess), resolution=0.05)
    check_rejects(check_mean, got.share, 1 / 3)


def roll_in(law: Mixture, noisy, steps: int, start: float = 1.0) -> np.ndarray:
    """K exact steps of the ODE, every row a sequence of one."""
    route = plan("exact", RECTIFIED_FLOW, times("uniform", steps, start))
    z = roll(jax.random.key(0), MixtureDenoiser(law), route, jnp.asarray(noisy)[:, None])
    return np.asarray(z[:, 0])


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_rolling_in_a_gaussian_is_a_scaling(steps: int):
    centre = np.arange(5.0)
    law = Mixture(np.tile(centre, (4, 1)), 0.7)
    noisy = jnp.asarray(RNG.normal(size=(30, 5)))
    got = roll_in(law, noisy, steps)
    wanted = centre + residual_law.euler_contraction(0.7, steps) * np.asarray(noisy)
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


def test_many_steps_contract_to_the_width_at_first_order():
    errors = [residual_law.euler_contraction(0.7, k) - 0.7 for k in (100, 200, 400)]
    assert residual_law.euler_contraction(0.7, 1) == 0
    ratios = np.array(errors[:-1]) / errors[1:]
    np.testing.assert_allclose(ratios, 2, rtol=0.1)


def test_one_step_is_the_terminal_step_and_a_roll_in_is_its_recursion():
    noisy = jnp.asarray(RNG.normal(size=(30, 5)))
    for start in (0.3, 0.9):
        level, scale = 1 - start, start / (1 - start)
        wanted = LAW.posterior_mean(noisy / level, scale)
        np.testing.assert_allclose(roll_in(LAW, noisy, 1, start), wanted, rtol=1e-10)
    z = noisy
    for k in range(3):
        t = 0.9 * (1 - k / 3)
        mean = np.asarray(LAW.posterior_mean(z / (1 - t), t / (1 - t)))
        z = z - 0.3 * (z - mean) / t
    np.testing.assert_allclose(roll_in(LAW, noisy, 3, 0.9), z, rtol=1e-10)
    prior = np.asarray(LAW.masses @ LAW.means)
    got = roll_in(LAW, noisy, 1)
    np.testing.assert_allclose(got, np.tile(prior, (30, 1)), rtol=1e-12)


def test_rolling_in_keeps_single_precision():
    law = Mixture(np.float32(LAW.means), np.float32(LAW.widths), np.float32(LAW.masses))
    noisy = RNG.normal(size=(30, 5)).astype(np.float32)
    got = roll_in(law, noisy, 4, 0.9)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, roll_in(LAW, noisy.astype(float), 4, 0.9), atol=1e-4)


def test_another_noise_and_no_score_compile_nothing():
    def run(number: int, scale: float, score: bool) -> int:
        geometry(fresh(number), LAW, READOUT, scale, samples=COUNT, score=score)
        return denoise_step._draw._cache_size()

    assert run(5, 0.4, True) == run(6, 0.9, False)


# Bad input

KEY = jax.random.key(0)
ROWS = np.zeros((3, 5))
EQUAL = PowerDiagram(np.ones((6, 5)))
TINY = {"samples": COUNT}
BAD = {
    "a rank tolerance lies in [0, 1), got 1.0": lambda: row_space(READOUT, 1.0),
    "a rank tolerance lies in [0, 1), got nan": lambda: row_space(READOUT, math.nan),
    "sites of the readout are all equal": lambda: row_space(EQUAL),
    "features must have shape (rows, *(2,)), got (3, 5)": lambda: Moments((2,)).add(ROWS),
    "features must be finite": lambda: Moments((5,)).add(np.full((3, 5), np.nan)),
    "at least 2 rows, got 0": lambda: Moments((2,)).mean(0),
    "scale must be a positive finite number, got 0": lambda: geometry(KEY, LAW, READOUT, 0, **TINY),
    "finite number, got nan": lambda: geometry(KEY, LAW, READOUT, math.nan, **TINY),
    "samples must be an integer ≥ 2, got 1": lambda: geometry(KEY, LAW, READOUT, 1.0, samples=1),
    "latents in R^5, but a readout of R^2": lambda: geometry(KEY, LAW, half_space(2), 1.0, **TINY),
    "a latent has no facet": lambda: sensitivity.sensitivity(KEY, LAW, EQUAL, 1.0, **TINY),
    "lengths must be positive and finite, at least one, got []": lambda: sensitivity.sensitivity(
        KEY, LAW, READOUT, 1.0, [], **TINY
    ),
    "at least one, got [1.0, nan]": lambda: sensitivity.sensitivity(
        KEY, LAW, READOUT, 1.0, [1.0, math.nan], **TINY
    ),
    "sharpness must be a positive finite number, got -1": lambda: logits(READOUT, -1),
    "got 'sideways'": lambda: sensitivity.Sensitivity(1).response("sideways", "flips"),
    "got 'kl'": lambda: sensitivity.Sensitivity(1).dabi("normal", "kl"),
    "dimension must be an integer ≥ 1, got 0": lambda: residual_law.mean_cosine(0),
    "width must be a positive finite number, got 0": lambda: residual_law.euler_contraction(0, 2),
    "steps must be an integer ≥ 1, got 0": lambda: residual_law.euler_contraction(1.0, 0),
    "a basis has shape (rank, 5), rank ≥ 1, got (2, 3)": lambda: residual_law.residual_energy(
        KEY, LAW, 1.0, np.eye(3)[:2], samples=10
    ),
    "must be orthonormal, got an error of 3": lambda: residual_law.residual_energy(
        KEY, LAW, 1.0, 2 * np.eye(5)[:2], samples=10
    ),
    "steps must be an integer ≥ 1, got 2.5": lambda: roll_in(LAW, ROWS, 2.5),
    "start must lie in (0, 1], got 1.5": lambda: roll_in(LAW, ROWS, 2, 1.5),
    "start must lie in (0, 1], got 0": lambda: roll_in(LAW, ROWS, 2, 0),
    "expected points of shape (…, 5), at least one, got (3, 1, 4)": lambda: roll_in(
        LAW, np.zeros((3, 4)), 2
    ),
}


test_bad_input_is_named_on_one_line = refusals(BAD)


def test_a_linear_decoder_is_its_matrix():
    decoder = LinearDecoder(jnp.asarray(FLAT), jnp.asarray([1.0, -1.0]))
    x = RNG.normal(size=(7, 5))
    np.testing.assert_allclose(decoder(jnp.asarray(x)), x @ FLAT.T + [1.0, -1.0], rtol=1e-12)
