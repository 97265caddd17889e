"""The pictures of a report: as markup, and as pixels only where the page would grow too big."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.captions import caption
from experiments.pictures import Picture, Shapes, UnknownMarkup, convert

SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Figure:
    """A picture with its name and caption; `pixels` is a PNG, for the markup of `picture`."""

    name: str
    caption: str
    salt: str
    picture: Picture
    pixels: str = ""


@dataclass(frozen=True)
class Album:
    """Figures by name, and the markup of the shapes that they share."""

    figures: Mapping[str, Figure]
    shapes: str


def collect(paths: Sequence[Path], budget: int) -> Album:
    """The SVG files as figures whose markup has at most `budget` bytes, if their PNGs allow it.

    Over the budget, the picture that saves most as the PNG beside it becomes one, then the next.

    Raises:
        ValueError: when a file is not what the figures draw.
    """
    shapes = Shapes()
    pictures = {path: _read(path, f"p{number}", shapes) for number, path in enumerate(paths)}
    pixels = _traded(pictures, budget)
    figures = {
        path.stem: Figure(
            path.stem, caption(path.stem), f"p{number}", pictures[path], pixels.get(path, "")
        )
        for number, path in enumerate(paths)
    }
    drawn = [figure.picture.shapes for figure in figures.values() if not figure.pixels]
    return Album(figures, shapes.markup(set().union(*drawn)))


def _read(path: Path, salt: str, shapes: Shapes) -> Picture:
    try:
        return convert(path.read_text("utf-8"), salt, shapes)
    except UnknownMarkup as error:
        advice = "delete it and run `noncommit figures`"
        raise ValueError(f"{path} is not as the figures draw it: {error}; {advice}") from None


def _traded(pictures: Mapping[Path, Picture], budget: int) -> dict[Path, str]:
    """Data of the PNGs that stand for too much markup."""
    sizes = {path: len(picture.inside.encode()) for path, picture in pictures.items()}
    excess = sum(sizes.values()) - budget
    if excess <= 0:
        return {}
    data = {path: _pixels(path.with_suffix(".png")) for path in pictures}
    saved = {path: sizes[path] - len(text) for path, text in data.items() if text}
    traded = {}
    for path in sorted(saved, key=lambda p: (-saved[p], p.name)):
        if excess <= 0 or saved[path] <= 0:
            break
        traded[path] = data[path]
        excess -= saved[path]
    return traded


def _pixels(path: Path) -> str:
    """A PNG as a data address; nothing when there is none."""
    data = path.read_bytes() if path.is_file() else b""
    if not data.startswith(SIGNATURE):
        return ""
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"
