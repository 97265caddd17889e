"""One look for every figure: a column wide, colour-blind safe (Okabe–Ito), legible in grey."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLUMN = 3.5  # inches
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#888888"

RULES: dict[Any, Any] = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 6.5,
    "legend.title_fontsize": 6.5,
    "legend.frameon": False,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "errorbar.capsize": 2,
}


@contextmanager
def column(
    rows: int = 1, height: float = 2.6, ratios: tuple[float, ...] | None = None
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure a column wide with `rows` panels above each other, sharing x, in the house style."""
    with mpl.rc_context(RULES):
        figure = Figure(figsize=(COLUMN, height), layout="constrained")
        grid = {"height_ratios": ratios} if ratios else None
        axes = figure.subplots(rows, 1, sharex=True, squeeze=False, gridspec_kw=grid)
        yield figure, list(axes[:, 0])
