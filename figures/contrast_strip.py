"""What one step does to what people see: decoded images, and what words and lines say."""

import difflib
import itertools
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine

from figures import style
from figures.marks import Look, Row, Table

Marked = list[tuple[str, bool]]  # letters, and whether they are new

SEEN = ("clean", "isotropic", "residual", "singular")  # lines of images, from least moved on
SAID = ("clean", "isotropic", "residual", "singular", "normal")
FONT = "DejaVu Sans Mono"
LETTER = 0.05  # inches from letter to letter: at 200 dots an inch whole dots, as hinting rounds to
SIZE = 72 * LETTER / (1233 / 2048)  # of letters, in points, by the font's advance
STEP = 1.45 * SIZE / 72  # inches a line
MARGIN, GUTTER = 0.06, 0.62  # inches left of names of directions, and of what is said
WIDTH = int((style.COLUMN - MARGIN - GUTTER) / LETTER)
LETTERS = ("textgenrnn", "pp-ocr", "pp-ocr-blank")  # decoders whose tokens are letters
GONE = "∅"  # in the place of tokens that a step leaves out
CHANGED: Look = {"color": style.VERMILION, "weight": "bold"}


def pictures(row: Row, arrays: dict[str, Any]) -> Figure:
    """Images across, directions down, pixels enlarged without smoothing."""
    count, tall, wide, _ = arrays["clean"].shape
    panel = (style.COLUMN - 0.75) / count
    with mpl.rc_context(style.RULES):
        size = (style.COLUMN, len(SEEN) * (panel * tall / wide + 0.04) + 0.45)
        tight = ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, hspace=0, wspace=0)
        figure = Figure(figsize=size, layout=tight)
        panels = figure.subplots(len(SEEN), count, squeeze=False)
        for line, way in zip(panels, SEEN, strict=True):
            for axes, image in zip(line, arrays[way], strict=True):
                grey = image.shape[2] == 1
                shown = np.repeat(image, 3, axis=2) if grey else image
                axes.imshow(shown, interpolation="nearest")
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
            line[0].set_ylabel(_moved(row, way), rotation=0, ha="right", va="center", fontsize=7)
        heading = rf"{row['decoder']}: r = {row['length']:g} median $\|Z\|$"
        figure.suptitle(f"{heading}, mean change in grey levels of 255", fontsize=7)
    return figure


def _moved(row: Row, way: str) -> str:
    return way if way == "clean" else f"{way}\n{row[f'{way}_shown']:.2g}"


def spelled(table: Table) -> Table:
    """The rows that say something."""
    return [row for row in table if row["family"] == "strip" and row["kind"] == "text"]


def texts(rows: Table) -> Figure:
    """A block a decoder: what clean latents say, and the same after a step in every direction."""
    lines = [line for row in rows for line in _block(row)]
    height = STEP * (len(lines) + 2.5)
    with mpl.rc_context(style.RULES | {"font.family": FONT, "font.size": SIZE}):
        figure = Figure(figsize=(style.COLUMN, height))
        page = figure.add_axes((0, 0, 1, 1))
        page.set(xlim=(0, style.COLUMN), ylim=(height, 0))  # in inches
        page.set_axis_off()
        note = "bold and underlined: not what the clean latents say"
        page.text(MARGIN, STEP, note, va="baseline", family="DejaVu Sans")
        for k, (name, marked) in enumerate(lines):
            _write(page, STEP * (k + 2.3), name, marked)
    return figure


def _block(row: Row) -> list[tuple[str, Marked]]:
    """Names of directions with the letters beside them; a heading is a name alone."""
    heading = f"{row['decoder']}: r = {row['length']:g} median ‖Z‖"
    lines: list[tuple[str, Marked]] = [("", []), (heading, [])]
    letters = row["decoder"] in LETTERS
    for number in _groups(row):
        lines += [("", [])] if number else []
        clean = _tokens(row[f"said_{number}_clean"], letters)
        for way in SAID:
            moved = _tokens(row[f"said_{number}_{way}"], letters)
            parts = _wrapped(compared(clean, moved))
            lines += [(way if not k else "", part) for k, part in enumerate(parts)]
    return lines


def _groups(row: Row) -> list[int]:
    """Of those that a row says; one of them may be silent after some step."""
    heard = [name for name, value in row.items() if name.startswith("said_") and value is not None]
    return sorted({int(name.split("_")[1]) for name in heard})


def _tokens(said: Any, letters: bool) -> list[str]:
    """Letters, or words with the blank after them; in a table nothing is None, "12" a number."""
    text = printable("" if said is None else str(said))
    return list(text) if letters else [f"{word} " for word in text.split()]


def compared(clean: list[str], moved: list[str]) -> Marked:
    """Every letter of the moved tokens, and whether its token is new.

    Of as many tokens each is held against the one in its place, which is of the same latent; when
    a step ended a word, what is left of both is aligned.
    """
    if len(clean) == len(moved):
        pairs = [(now, now != was) for was, now in zip(clean, moved, strict=True)]
    else:
        pairs = _aligned(clean, moved)
    marked: Marked = []
    for token, new in pairs:
        word = token.rstrip() or token
        marked += [(letter, new) for letter in word]
        marked += [(" ", False)] * (len(token) - len(word))
    return marked


def _aligned(clean: list[str], moved: list[str]) -> list[tuple[str, bool]]:
    """The moved tokens with GONE where one of the clean ones has no other in its place."""
    pairs = []
    matcher = difflib.SequenceMatcher(None, clean, moved, autojunk=False)
    for kind, first, _, start, stop in matcher.get_opcodes():
        gone = [GONE + " " * clean[first].endswith(" ")] if kind == "delete" else []
        pairs += [(token, kind != "equal") for token in gone or moved[start:stop]]
    return pairs


def printable(text: str) -> str:
    """Letters that the font has; a box for any other."""
    font = get_font(findfont(FontProperties(family=FONT)))
    return "".join(one if font.get_char_index(ord(one)) else "□" for one in text)


def _wrapped(marked: Marked) -> list[Marked]:
    """Lines of at most WIDTH letters, broken at a blank where there is one; one line at least."""
    lines = []
    while len(marked) > WIDTH:
        blanks = [k for k in range(1, WIDTH) if marked[k][0] == " "]
        cut = blanks[-1] + 1 if blanks else WIDTH
        lines.append(marked[:cut])
        marked = marked[cut:]
    return [*lines, marked]


def _write(page: Axes, height: float, name: str, marked: Marked) -> None:
    """Runs of letters of one kind, each at its place: the font has one advance."""
    plain: Look = {"va": "baseline", "parse_math": False}
    page.text(MARGIN, height, name, weight="normal" if marked else "bold", **plain)
    place = MARGIN + GUTTER
    for new, run in itertools.groupby(marked, key=lambda pair: pair[1]):
        text = "".join(letter for letter, _ in run)
        page.text(place, height, text, **plain, **(CHANGED if new else {}))
        end = place + LETTER * len(text)
        if new:
            below = height + 0.22 * STEP
            page.plot([place, end], [below, below], lw=0.6, color=CHANGED["color"])
        place = end
