"""Rendered lines: where the ink is, what blur and noise do, and the same images every time."""

import itertools
import sys

import numpy as np
import pytest

from theory.bridge import text_images
from theory.bridge.corpus import english_lines
from theory.bridge.text_images import BLURS, FACES, NOISES, SIZES, WIDTH, lines, render


@pytest.mark.parametrize("face", FACES)
def test_ink_is_inside_the_margin(face):
    size = 32
    image = render("Voronoi cells, jgy", face, size)
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
    assert np.all(image == image[:, :, :1])
    dark = np.argwhere(image[:, :, 0] < 128)
    low, high = dark.min(axis=0), dark.max(axis=0)
    assert low.min() >= size // 4 - 2  # an italic leans out by a pixel or two
    assert np.all(np.array(image.shape[:2]) - high > size // 4 - 3)
    assert 0.02 < len(dark) / image[:, :, 0].size < 0.4
    assert np.array_equal(image, render("Voronoi cells, jgy", face, size))


def test_faces_and_sizes_differ():
    shapes = [render("illegal", face, size).shape for face in FACES for size in SIZES]
    heights = {size: render("illegal", size=size).shape[0] for size in SIZES}
    assert len(set(shapes)) > 9
    assert sorted(heights, key=heights.__getitem__) == list(SIZES)
    longer = render("illegal illegal").shape[1]
    assert longer > 1.8 * render("illegal").shape[1]


def test_blur_softens_and_noise_has_its_deviation():
    sharp, soft = render("edge"), render("edge", blur=1.0)
    contrast = [np.abs(np.diff(i[:, :, 0].astype(float), axis=1)).max() for i in (sharp, soft)]
    assert contrast[1] < 0.7 * contrast[0]
    np.testing.assert_allclose(soft.mean(), sharp.mean(), rtol=0.01)
    grey = render("x" * 30, blur=8.0).astype(float)  # away from 0 and 255, where noise is cut
    change = (render("x" * 30, blur=8.0, noise=8.0) - grey)[:, :, 0]
    inner = change[(grey[:, :, 0] > 40) & (grey[:, :, 0] < 215)]
    assert inner.size > 1000
    # the deviation of N samples is within 5/√(2N) of its true value but once in a million
    assert abs(inner.std() / 8.0 - 1) < 5 / np.sqrt(2 * inner.size) + 0.001


def test_lines_go_through_every_look_and_are_nested():
    combinations = len(FACES) * len(SIZES) * len(BLURS) * len(NOISES)
    assert combinations == 108
    drawn = list(lines(12))
    assert [line.text for line in drawn] == english_lines(12, WIDTH)
    for line, (noise, face) in zip(drawn, itertools.product(NOISES, FACES), strict=True):
        expected = render(line.text, face, SIZES[0], BLURS[0], noise)
        np.testing.assert_array_equal(line.image, expected)
    np.testing.assert_array_equal(next(lines(1)).image, drawn[0].image)


@pytest.mark.parametrize("text", ["", "   ", "two\nlines"])
def test_what_is_no_line_is_refused(text):
    with pytest.raises(ValueError, match="expected one line of text"):
        render(text)


def test_unknown_faces_and_a_missing_matplotlib_are_named(monkeypatch):
    with pytest.raises(ValueError, match="unknown face 'Comic', expected one of DejaVuSans,"):
        render("text", "Comic")
    with pytest.raises(ValueError, match=r"expected 1 to \d+ lines"):
        lines(0)
    text_images._font.cache_clear()
    monkeypatch.setattr(text_images.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="come with matplotlib"):
        render("text")
    text_images._font.cache_clear()


def test_matplotlib_is_not_imported():
    assert "matplotlib" not in vars(text_images)
    source = sys.modules[text_images.__name__].__spec__.loader.get_source(text_images.__name__)
    assert "import matplotlib" not in source
