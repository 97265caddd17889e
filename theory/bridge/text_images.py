"""Lines of English text as images: the faces that come with matplotlib, drawn by Pillow."""

import functools
import importlib.util
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from theory.bridge.corpus import english_lines

FACES = (
    "DejaVuSans",
    "DejaVuSerif",
    "DejaVuSansMono",
    "DejaVuSans-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSans-Oblique",
)
SIZES = (24, 32, 40)  # pixels an em
BLURS = (0.0, 0.6, 1.0)  # standard deviation in pixels
NOISES = (0.0, 8.0)  # standard deviation in levels of 255, like that of a scanned page
WIDTH = 36  # characters a line: about what a recognizer is shown at once

Pixels = UInt8[np.ndarray, "height width 3"]


class Line(NamedTuple):
    """A line of text and its image, black on white, channels red, green, blue."""

    text: str
    image: Pixels


def render(
    text: str, face: str = FACES[0], size: int = SIZES[1], blur: float = 0.0, noise: float = 0.0
) -> Pixels:
    """The text in black on white, with a margin of a quarter em on every side.

    Args:
        text: one line.
        face: one of `FACES`.
        size: pixels an em.
        blur: standard deviation of a Gaussian, in pixels.
        noise: standard deviation of what is added to every pixel, in levels; images of one size
            share their noise.

    Raises:
        ValueError: when there is nothing to be seen, or the face is none of `FACES`.
        FileNotFoundError: when matplotlib lacks the face.
    """
    if not text.strip() or "\n" in text:
        raise ValueError(f"expected one line of text, got {text!r}")
    font, margin = _font(face, size), size // 4
    ascent, descent = font.getmetrics()
    width = round(font.getlength(text)) + 2 * margin
    image = Image.new("L", (width, ascent + descent + 2 * margin), 255)
    ImageDraw.Draw(image).text((margin, margin), text, fill=0, font=font)
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(blur)), np.float64)
    pixels = pixels + noise * np.random.default_rng(0).standard_normal(pixels.shape)
    grey = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def lines(count: int) -> Iterator[Line]:
    """The first `count` lines of English, drawn one by one in all faces, sizes, blurs and noises.

    Line k has face k mod 6; all 108 combinations come before the first comes again. The same
    lines are the same images wherever Pillow draws alike.

    Raises:
        ValueError: when `count` is below 1 or above the number of lines there are.
    """
    looks = itertools.product(BLURS, SIZES, NOISES, FACES)
    return map(_drawn, english_lines(count, WIDTH), itertools.cycle(looks))


def _drawn(text: str, look: tuple[float, int, float, str]) -> Line:
    blur, size, noise, face = look
    return Line(text, render(text, face, size, blur, noise))


@functools.cache
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    """A face out of matplotlib's folder, which is found without importing matplotlib."""
    if face not in FACES:
        raise ValueError(f"unknown face {face!r}, expected one of {', '.join(FACES)}")
    found = importlib.util.find_spec("matplotlib")
    if found is None or found.origin is None:
        raise FileNotFoundError("the faces come with matplotlib, which is not installed")
    folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(folder / f"{face}.ttf", size)
