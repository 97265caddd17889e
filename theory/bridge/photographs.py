"""Real photographs that need no download: those in the wheels of scikit-image and scikit-learn.

The files are read where the packages lie, without importing them. Every file is pinned by its hash,
so that the same crops are the same numbers wherever the decoders of PNG and JPEG agree.
"""

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from theory.bridge.archives import sha256
from theory.check import check_count

FLAT = 2 / 255  # two grey levels: what rounding and JPEG make of a surface without structure
GOLDEN = (5**0.5 - 1) / 2
PACKAGES = {"skimage": "scikit-image", "sklearn": "scikit-learn"}


class Photograph(NamedTuple):
    """Where a photograph lies, and the hash of its file."""

    name: str
    package: str
    file: str
    sha256: str


def _skimage(file: str, pin: str) -> Photograph:
    return Photograph(Path(file).stem, "skimage", f"data/{file}", pin)


def _sklearn(file: str, pin: str) -> Photograph:
    return Photograph(Path(file).stem, "sklearn", f"datasets/images/{file}", pin)


# From "camera" to "clock_motion" they are grey.
PHOTOGRAPHS = (
    _skimage("astronaut.png", "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"),
    _skimage("chelsea.png", "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb"),
    _skimage("coffee.png", "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7"),
    _skimage("rocket.jpg", "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c"),
    _skimage("retina.jpg", "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6"),
    _skimage(
        "hubble_deep_field.jpg", "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4"
    ),
    _skimage("ihc.png", "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef"),
    _skimage(
        "motorcycle_left.png", "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179"
    ),
    _sklearn("china.jpg", "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29"),
    _sklearn("flower.jpg", "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638"),
    _skimage("camera.png", "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a"),
    _skimage("coins.png", "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba"),
    _skimage("moon.png", "78739619d11f7eb9c165bb5d2efd4772cee557812ec847532dbb1d92ef71f577"),
    _skimage("brick.png", "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf"),
    _skimage("grass.png", "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89"),
    _skimage("gravel.png", "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12"),
    _skimage(
        "clock_motion.png", "f029226b28b642e80113d86622e9b215ee067a0966feaf5e60604a1e05733955"
    ),
)
NAMES = tuple(photograph.name for photograph in PHOTOGRAPHS)


class MissingPhotographs(ValueError):
    """The package that brings a photograph is not installed; the message says how to install it."""


class Crops(NamedTuple):
    """Pieces of photographs.

    Fields:
        images: in [0, 1], channels red, green, blue.
        photograph: of which one each is a piece, an index into `NAMES`.
    """

    images: Float[np.ndarray, "crops size size 3"]
    photograph: Int[np.ndarray, " crops"]


def photograph(name: str) -> Float[np.ndarray, "height width 3"]:
    """The whole photograph in [0, 1], float32; a grey one has three equal channels.

    Raises:
        ValueError: on an unknown name, or when the installed file is not the pinned one.
        MissingPhotographs: when its package is not installed.
    """
    return _pixels(name).astype(np.float32) / 255


def crops(size: int, count: int, *, shrink: int = 1, names: Sequence[str] = NAMES) -> Crops:
    """The first `count` square pieces that do not overlap, spread evenly over the photographs.

    A piece has size·shrink pixels a side, of which every shrink × shrink are averaged. The order
    is fixed: a piece of each photograph in turn, as long as it has any, so that fewer crops are
    the first ones of more. Pieces whose standard deviation is below `FLAT` in every channel are
    left out: sky, the border of a slide, the mask of an eye, in which there is nothing to
    reconstruct. That is settled by the photograph alone, before any decoder sees it, and what is
    measured holds for images that have some structure.

    Args:
        size: side of the crops in pixels.
        count: number of crops.
        shrink: factor of the averaging.
        names: photographs to take them from.

    Raises:
        ValueError: when `size`, `count` or `shrink` is below 1 or `count` above the number of
            pieces there are; or as `photograph`.
        MissingPhotographs: when a package is not installed.
    """
    for argument, value in (("size", size), ("count", count), ("shrink", shrink)):
        check_count(argument, value, 1)
    if isinstance(names, str) or not names or len(set(names)) < len(names):
        raise ValueError(f"expected a list of distinct photographs, at least one, got {names!r}")
    pieces = [_pieces(name, size, shrink) for name in names]
    turn = np.concatenate([np.arange(len(part)) for part in pieces])
    source = np.concatenate(
        [np.full(len(part), NAMES.index(name)) for part, name in zip(pieces, names, strict=True)]
    )
    if count > len(turn):
        raise ValueError(
            f"expected at most {len(turn)} crops of {size} pixels at shrink {shrink}, got {count}; "
            "they may not overlap: take fewer or smaller ones"
        )
    chosen = np.argsort(turn, kind="stable")[:count]
    return Crops(np.concatenate(pieces)[chosen], source[chosen])


@functools.lru_cache(maxsize=len(NAMES))
def _pieces(name: str, size: int, shrink: int) -> np.ndarray:
    """The structured squares of a centred grid, each place far from the places just before it."""
    pixels = _pixels(name)
    side = size * shrink
    rows, columns = pixels.shape[0] // side, pixels.shape[1] // side
    top, left = (pixels.shape[0] - rows * side) // 2, (pixels.shape[1] - columns * side) // 2
    grid = pixels[top : top + rows * side, left : left + columns * side]
    blocks = grid.reshape(rows, size, shrink, columns, size, shrink, 3)
    averaged = blocks.mean(axis=(2, 5), dtype=np.float32) / 255
    squares = averaged.transpose(0, 2, 1, 3, 4).reshape(rows * columns, size, size, 3)
    scattered = squares[np.argsort(np.arange(rows * columns) * GOLDEN % 1, kind="stable")]
    return scattered[scattered.std(axis=(1, 2), dtype=np.float64).max(axis=1) >= FLAT]


@functools.cache
def _pixels(name: str) -> UInt8[np.ndarray, "height width 3"]:
    """The verified file, decoded; shared by all callers, and so not to be written."""
    if name not in NAMES:
        raise ValueError(f"unknown photograph {name!r}; there are {', '.join(NAMES)}")
    entry = PHOTOGRAPHS[NAMES.index(name)]
    path = _folder(entry.package) / entry.file
    if not path.is_file():
        raise MissingPhotographs(f"{path} does not exist; {_remedy(entry.package)}")
    found = sha256(path)
    if found != entry.sha256:
        raise ValueError(
            f"{path}: found sha256 {found}, expected {entry.sha256}; {_remedy(entry.package)}"
        )
    with Image.open(path) as image:
        pixels = np.array(image.convert("RGB"))
    pixels.flags.writeable = False
    return pixels


def _folder(package: str) -> Path:
    """Where the package lies; it is not imported.

    Raises:
        MissingPhotographs: when it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingPhotographs(f"{PACKAGES[package]} is not installed; {_remedy(package)}")
    return Path(spec.origin).parent


def _remedy(package: str) -> str:
    return f"{PACKAGES[package]} brings the photographs: pip install 'noncommit[images]'"
