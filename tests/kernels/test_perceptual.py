"""√(1 − SSIM) against its definition, its unit, and what is refused."""

import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.refusals import refusals
from theory import perceptual
from theory.perceptual import WINDOW, structural_distance

pytest.importorskip("dm_pix", reason="SSIM needs dm-pix: pip install 'noncommit[images]'")

RNG = np.random.default_rng(17)


def pictures(count: int = 3, height: int = 14, width: int = 17) -> np.ndarray:
    return RNG.uniform(size=(count, height, width, 3))


def by_definition(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004, eq. 13, window by window and channel by channel, the mean of all."""
    at = np.arange(WINDOW) - WINDOW // 2
    weight = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 1.5**2))
    weight /= weight.sum()
    found = []
    for channel in range(3):
        x, y = (
            np.lib.stride_tricks.sliding_window_view(image[..., channel], (WINDOW, WINDOW))
            for image in (a, b)
        )
        mean = lambda v: (v * weight).sum(axis=(-2, -1))  # noqa: E731
        mx, my = mean(x), mean(y)
        dx, dy = x - mx[..., None, None], y - my[..., None, None]
        top = (2 * mx * my + 0.01**2) * (2 * mean(dx * dy) + 0.03**2)
        found.append(top / ((mx**2 + my**2 + 0.01**2) * (mean(dx**2) + mean(dy**2) + 0.03**2)))
    return math.sqrt(1 - np.mean(found))


def test_it_is_the_root_of_one_minus_ssim():
    a, b = pictures(), pictures()
    b[1] = np.clip(0.9 * a[1] + 0.05, 0, 1)
    got = np.asarray(structural_distance(a, b))
    np.testing.assert_allclose(got, [by_definition(*pair) for pair in zip(a, b, strict=True)], 1e-9)
    np.testing.assert_allclose(structural_distance(b, a), got, rtol=1e-12)
    np.testing.assert_allclose(structural_distance(a, a), 0, atol=1e-7)
    negative = np.asarray(structural_distance(a, 1 - a))
    assert ((negative > 1) & (negative < math.sqrt(2))).all()


def test_it_is_linear_in_small_steps_and_so_its_square_is_not():
    a, way = 0.2 + 0.6 * pictures(1), RNG.normal(size=(1, 14, 17, 3))
    steps = np.array([1e-3, 1e-2])
    got = np.array([float(structural_distance(a, a + step * way)[0]) for step in steps])
    slope = np.diff(np.log(got)) / np.diff(np.log(steps))
    assert slope == pytest.approx(1, abs=0.02)
    assert np.diff(np.log(got**2)) / np.diff(np.log(steps)) == pytest.approx(2, abs=0.04)


def test_numbers_beyond_black_and_white_are_clipped_as_on_a_screen():
    a, b = pictures(), pictures()
    a[:, :2, :2], b[:, :2, :2] = 0, 1
    below, above = np.array(a), np.array(b)
    below[:, :2, :2], above[:, :2, :2] = -0.3, 1.2
    np.testing.assert_array_equal(structural_distance(below, above), structural_distance(a, b))


def test_chunks_and_jit_change_nothing(monkeypatch: pytest.MonkeyPatch):
    a, b = pictures(5, 12, 12), pictures(5, 12, 12)
    whole = structural_distance(a, b)
    np.testing.assert_allclose(jax.jit(structural_distance)(a, b), whole, rtol=1e-12)
    monkeypatch.setattr(perceptual, "CELLS", 2 * a[0].size)
    jax.clear_caches()
    np.testing.assert_allclose(structural_distance(a, b), whole, rtol=1e-12)


def test_float32_images_are_compared_in_float64():
    a = pictures(1).astype(np.float32)
    b = np.clip(a + np.float32(1e-5) * RNG.normal(size=a.shape).astype(np.float32), 0, 1)
    got = structural_distance(a, b)
    assert got.dtype == jnp.float32
    wanted = structural_distance(a.astype(np.float64), b.astype(np.float64))
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "dm_pix", None)
    perceptual._ssim.cache_clear()
    jax.clear_caches()
    with pytest.raises(ImportError, match=r"dm-pix.*noncommit\[images\]"):
        structural_distance(pictures(1), pictures(1))


GOOD = pictures(2)
BAD = {
    "two stacks of images of one shape, got (2, 14, 17, 3) and (1, 14, 17, 3)": lambda: (
        structural_distance(GOOD, GOOD[:1])
    ),
    "floating images (N, H, W, C), N ≥ 1, got float64 (14, 17, 3)": lambda: structural_distance(
        GOOD[0], GOOD[0]
    ),
    "got int64": lambda: structural_distance(GOOD.astype(int), GOOD.astype(int)),
    "at least 11 × 11 pixels, got (10, 17)": lambda: structural_distance(
        GOOD[:, :10], GOOD[:, :10]
    ),
    "on the scale [0, 1], got": lambda: structural_distance(255 * GOOD, 255 * GOOD),
    "of the numbers beyond": lambda: structural_distance(2 * GOOD - 1, 2 * GOOD - 1),
    "got nan": lambda: structural_distance(GOOD, np.where(GOOD < 0.01, math.nan, GOOD)),
}

test_bad_input_is_named = refusals(BAD)
