"""Losses of trained maps: what the training made smaller, a mean of every few hundred steps."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import style
from figures.marks import Row, looks, plain_log

CHUNK = 500  # steps a value is the mean of; the last may be of fewer

Stored = list[tuple[Row, dict[str, Any]]]


def draw_losses(groups: dict[str, Stored]) -> dict[str, Figure]:
    """`losses`: a panel a group, a curve a training, coloured by M; without curves, nothing."""
    curves = {t: [p for p in group if len(p[1]["losses"]) > 1] for t, group in groups.items()}
    groups = {title: group for title, group in curves.items() if group}
    if not groups:
        return {}
    known = looks(row["modes"] for group in groups.values() for row, _ in group)
    with mpl.rc_context(style.RULES):
        size = (style.COLUMN, 1.1 + 1.25 * len(groups))
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(len(groups), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (title, group) in zip(panels, groups.items(), strict=True):
            for row, arrays in sorted(group, key=lambda pair: pair[0]["modes"]):
                losses = np.asarray(arrays["losses"], float)
                steps = np.minimum(CHUNK * np.arange(1, len(losses) + 1), row["steps"])
                look = known[row["modes"]] | {"lw": 0.8, "markersize": 2}
                axes.plot(steps, losses, **look)
            axes.set_yscale("log")
            plain_log(axes.yaxis)
            axes.set_title(title, pad=3)
        panels[-1].set_xlabel(f"step of training\n(means of {CHUNK}; the loss sharpens meanwhile)")
        figure.supylabel("loss (dimensionless)", fontsize=8)
        handles = [
            Line2D([], [], label=f"$M = {modes}$", lw=0.8, markersize=2, **look)
            for modes, look in known.items()
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=5, columnspacing=1.0)
    return {"losses": figure}
