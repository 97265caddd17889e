"""Crops of real photographs: what they are, that they never overlap, and what is refused."""

import importlib.util
import sys
import zlib

import numpy as np
import pytest

from tests.refusals import refusals
from theory.bridge import photographs
from theory.bridge.photographs import FLAT, NAMES, MissingPhotographs, crops, photograph

for package in photographs.PACKAGES:
    if importlib.util.find_spec(package) is None:
        pytest.skip("pip install 'noncommit[images]'", allow_module_level=True)


def averaged(pixels, shrink):
    """Means over every shrink × shrink square of pixels, wherever it begins."""
    squares = np.lib.stride_tricks.sliding_window_view(pixels, (shrink, shrink), axis=(0, 1))
    return squares.mean(axis=(3, 4))


def test_every_photograph_is_there_in_colour_or_grey():
    grey = [name for name in NAMES if (np.ptp(photograph(name), axis=2) == 0).all()]
    assert grey == list(NAMES[NAMES.index("camera") :])
    for name in NAMES:
        pixels = photograph(name)
        assert pixels.dtype == np.float32
        assert pixels.min() >= 0
        assert 0.7 < pixels.max() <= 1
        assert min(pixels.shape[:2]) >= 300


def test_known_pixels_of_the_astronaut():
    """Against the bytes of the file itself, decoded here: the first row has filter Sub."""
    path = photographs._folder("skimage") / "data/astronaut.png"
    content, data, at = path.read_bytes(), b"", 8
    while at < len(content):
        size = int.from_bytes(content[at : at + 4])
        if content[at + 4 : at + 8] == b"IDAT":
            data += content[at + 8 : at + 8 + size]
        at += size + 12
    line = np.frombuffer(zlib.decompress(data)[: 1 + 512 * 3], np.uint8)
    assert line[0] == 1
    row = np.cumsum(line[1:].reshape(512, 3), axis=0, dtype=np.uint8)
    np.testing.assert_array_equal(np.rint(photograph("astronaut")[0] * 255), row)


@pytest.mark.parametrize("shrink", [1, 2])
def test_crops_are_pieces_of_their_photographs(shrink):
    size, names = 40, ["coins", "china"]
    means = {name: averaged(photograph(name).astype(np.float64), shrink) for name in names}
    for image, index in zip(*crops(size, 6, shrink=shrink, names=names), strict=True):
        mean = means[NAMES[index]]
        corners = np.argwhere(np.abs(mean - image[0, 0]).max(axis=2) < 1e-6)
        squares = [np.s_[r : r + size * shrink : shrink, c::shrink] for r, c in corners]
        found = [mean[square][:size, :size] for square in squares]
        whole = [piece for piece in found if piece.shape == image.shape]
        assert min(np.abs(piece - image).max() for piece in whole) < 1e-6


@pytest.mark.parametrize(("size", "shrink", "there"), [(32, 1, 6 * 4), (8, 3, 8 * 6), (150, 1, 1)])
def test_crops_do_not_overlap(monkeypatch, size, shrink, there):
    """In a picture whose pixels tell where they are: 200 rows, 150 columns."""
    row, column = np.mgrid[:200, :150].astype(np.uint8)
    told = np.stack([row, column, column], axis=2)
    monkeypatch.setattr(photographs, "_pixels", lambda name: told)
    side, taken = size * shrink, np.zeros((200, 150), int)
    for image in crops(size, there, shrink=shrink, names=["moon"]).images:
        first = np.rint(image[0, 0, :2] * 255 - (shrink - 1) / 2).astype(int)
        taken[first[0] : first[0] + side, first[1] : first[1] + side] += 1
    assert taken.max() == 1
    assert taken.sum() == there * side**2
    with pytest.raises(ValueError, match=f"at most {there} crops"):
        crops(size, there + 1, shrink=shrink, names=["moon"])


def test_crops_are_spread_evenly_and_fewer_are_the_first_of_more():
    many = crops(32, 100, shrink=4)
    assert many.images.shape == (100, 32, 32, 3)
    assert many.images.dtype == np.float32
    counts = np.bincount(many.photograph, minlength=len(NAMES))
    assert np.ptp(counts) <= 1 + (counts < 6).sum()  # small photographs run out
    assert counts[NAMES.index("astronaut")] >= 6
    few = crops(32, 30, shrink=4)
    np.testing.assert_array_equal(few.images, many.images[:30])
    np.testing.assert_array_equal(few.photograph, many.photograph[:30])


def test_flat_pieces_are_left_out_and_no_others():
    """Against a plain count over the same grid."""
    pixels = photograph("retina").astype(np.float64)
    rows = pixels.shape[0] // 64
    start = (pixels.shape[0] - 64 * rows) // 2
    cut = [
        pixels[start + 64 * i : start + 64 * (i + 1), start + 64 * j : start + 64 * (j + 1)]
        for i in range(rows)
        for j in range(rows)
    ]
    structured = [max(piece[..., c].std() for c in range(3)) >= FLAT for piece in cut].count(True)
    assert 0.7 * rows**2 < structured < rows**2
    assert len(crops(64, structured, names=["retina"]).images) == structured
    with pytest.raises(ValueError, match=f"at most {structured} crops of 64 pixels"):
        crops(64, structured + 1, names=["retina"])


def test_names_choose():
    images, source = crops(32, 8, names=["coffee", "china"])
    assert [NAMES[index] for index in source] == ["coffee", "china"] * 4
    assert len(np.unique(images.reshape(8, -1), axis=0)) == 8


def test_the_shared_pixels_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        photographs._pixels("coffee")[0, 0] = 0
    photograph("coffee")[:] = 0
    assert photograph("coffee").max() > 0.5


@pytest.fixture
def fresh(monkeypatch):
    """Nothing is remembered of files read before, nor after."""
    photographs._pixels.cache_clear()
    photographs._pieces.cache_clear()
    yield monkeypatch
    photographs._pixels.cache_clear()
    photographs._pieces.cache_clear()


def test_a_missing_package_is_named_with_the_extra(fresh):
    fresh.setattr(photographs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPhotographs, match=r"scikit-learn is not .*\[images\]'$"):
        crops(32, 4, names=["china"])


def test_an_absent_and_another_file_are_refused(fresh, tmp_path):
    fresh.setattr(photographs, "_folder", lambda package: tmp_path)
    with pytest.raises(MissingPhotographs, match=r"coffee\.png does not exist; scikit-image"):
        photograph("coffee")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/coffee.png").write_bytes(b"other")
    with pytest.raises(ValueError, match=r"found sha256 .* expected cc02f8ca"):
        photograph("coffee")


def test_the_packages_are_not_imported(fresh):
    for package in photographs.PACKAGES:
        fresh.delitem(sys.modules, package, raising=False)
    photograph("china"), photograph("coffee")
    assert not {*photographs.PACKAGES} & {*sys.modules}


test_refused = refusals(
    {
        "unknown photograph 'lena'; there are astronaut, chelsea": lambda: photograph("lena"),
        "unknown photograph 'moo'": lambda: crops(8, 1, names=["moo"]),
        "at least one, got []": lambda: crops(8, 1, names=[]),
        "list of distinct photographs, at least one, got 'moon'": lambda: crops(8, 1, names="moon"),
        "distinct": lambda: crops(8, 1, names=["moon", "moon"]),
        "size must be an integer ≥ 1, got 0": lambda: crops(0, 1),
        "size must be an integer ≥ 1, got 8.5": lambda: crops(8.5, 1),
        "count must be an integer ≥ 1, got 0": lambda: crops(8, 0),
        "shrink must be an integer ≥ 1, got 0": lambda: crops(8, 1, shrink=0),
        "at most 0 crops of 4000 pixels": lambda: crops(4000, 1),
    }
)
