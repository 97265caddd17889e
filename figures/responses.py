"""What directions of steps and real decoders look like, and flips along a direction."""

import numpy as np
from matplotlib.axes import Axes

from figures import style
from figures.marks import SIGMAS, Look, Table, bars, column

LOOKS: dict[str, Look] = {
    "normal": {"color": style.VERMILION, "marker": "s"},
    "singular": {"color": style.PURPLE, "marker": "^"},
    "residual": {"color": style.BLUE, "marker": "o"},
    "isotropic": {"color": style.BLACK, "marker": "D"},
}
DECODERS: dict[str, Look] = {
    "g2p-en": {"color": style.BLUE, "marker": "o"},
    "textgenrnn": {"color": style.ORANGE, "marker": "s"},
    "pp-ocr": {"color": style.GREEN, "marker": "^"},
    "pp-ocr-blank": {"color": style.PURPLE, "marker": "D"},
    "minilm": {"color": style.SKY, "marker": "v"},
    "smollm2": {"color": style.BLACK, "marker": "<"},
}
OTHER: Look = {"color": style.GREY, "marker": "P"}  # a decoder that has no look of its own
LIMIT = r"$2/E|\langle u,\nu\rangle|$, the limit of short steps"


def flips(axes: Axes, x: np.ndarray, rows: Table, way: str, look: Look) -> None:
    """Shares of flips with their intervals; with nothing seen the point is left out."""
    value, sem = (column(rows, f"{way}_flips_{part}") for part in ("value", "sem"))
    seen = value > 0
    value, reach = value[seen], SIGMAS * sem[seen]
    bars(axes, x[seen], value, np.maximum(value - reach, 1e-9), value + reach, lw=0.8, **look)


def arrows(axes: Axes, x: np.ndarray, lower: np.ndarray, color: str) -> None:
    """Up from lower ends: of the value no more is known."""
    look: Look = {"ls": "", "marker": r"$\uparrow$", "color": color, "markersize": 10}
    axes.plot(x, lower, **look)
