"""A map of the plane: what its points are sent to, and how hard it stretches them."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from figures import style
from figures.planar_partition import PALETTE, colours

INK = 0.25  # brightness of a cell's colour where the map is off its mode
Picture = dict[str, np.ndarray]  # axis (K,), and (K, K): label, entry, norm; rows go up


def draw_map(picture: Picture, stiffness: float, title: str) -> Figure:
    """Cells with the interface between them, beside ‖DT‖ over Λ."""
    axis = np.asarray(picture["axis"], float)
    half = (axis[1] - axis[0]) / 2
    extent = (axis[0] - half, axis[-1] + half, axis[0] - half, axis[-1] + half)
    with mpl.rc_context(style.RULES):
        figure = Figure(figsize=(style.COLUMN, 2.0), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        options = {"origin": "lower", "extent": extent, "interpolation": "nearest"}
        left.imshow(cells(picture), **options)
        share = np.asarray(picture["norm"], float) / stiffness
        shown = right.imshow(share, cmap="viridis", vmin=0, vmax=1, **options)
        _circles(left, style.BLACK)
        _circles(right, "white")
        bar = figure.colorbar(shown, ax=right, location="right", pad=0.03, aspect=18, shrink=0.72)
        bar.set_label(r"$\|DT\|\,/\,\Lambda$")
        left.set_title("nearest mode", pad=3)
        right.set_title("stretch", pad=3)
        figure.suptitle(title, fontsize=8)
        note = r"dark: off every mode (leak); circles: $|x| = 1, 2$"
        figure.supxlabel(note, fontsize=6.5)
    return figure


def _circles(axes: Axes, color: str) -> None:
    for radius in (1, 2):
        circle = Circle((0, 0), radius, fill=False, color=color, lw=0.6, ls=(0, (2, 2)))
        axes.add_patch(circle)
    axes.set_xticks([-2, 0, 2])
    axes.set_yticks([-2, 0, 2])
    axes.tick_params(length=2)


def cells(picture: Picture) -> np.ndarray:
    """Pixel colours: neighbours differ, and where the largest entry is below 1 they are dark."""
    label = np.asarray(picture["label"])
    number = colours(neighbours(label), int(label.max()) + 1) % len(PALETTE)
    tint = np.array([to_rgb(name) for name in PALETTE])[number][label]
    off = np.asarray(picture["entry"]) < 1 - 1e-6
    return np.where(off[..., None], INK * tint, tint)


def neighbours(label: np.ndarray) -> np.ndarray:
    """Pairs i < j of labels that meet at the side of a pixel, shape (F, 2)."""
    label = label.astype(int)
    sides = [(label[:, :-1], label[:, 1:]), (label[:-1], label[1:])]
    pairs = np.concatenate([np.stack([a.ravel(), b.ravel()], axis=1) for a, b in sides])
    pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    return np.unique(pairs, axis=0)
