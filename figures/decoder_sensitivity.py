"""What steps along normals, residuals and isotropic ones do to a readout, and DABI (figure 2)."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import style
from figures.marks import SIGMAS, Look, Table, bars, column
from figures.readouts import laws, of_law, ticks, title
from figures.responses import LIMIT, LOOKS, arrows, flips

SHAPES = "os^Dv"
MOST = 3e4  # of DABI: what is seen of intervals that are nearly open


def draw(table: Table) -> dict[str, Figure]:
    """`dabi` of all readouts, and for each its flips and the rise of its cross-entropy."""
    if not table:
        return {}
    names = list(dict.fromkeys(row["readout"] for row in table))
    figures = {"dabi": _dabi(table, names)}
    for name in names:
        figures[name.replace(" ", "-")] = _responses([r for r in table if r["readout"] == name])
    return figures


def _panels(rows: Table, height: float, lines: int) -> tuple[Figure, np.ndarray]:
    """A column of panels for every law, x shared and logarithmic."""
    figure = Figure(figsize=(style.COLUMN, height), layout="constrained")
    axes = figure.subplots(lines, len(laws(rows)), sharex=True, sharey="row", squeeze=False)
    for one in axes.flat:
        one.set(xscale="log", yscale="log")
    return figure, axes


def _named(figure: Figure, axes: np.ndarray, rows: Table) -> None:
    for one, law in zip(axes[0], laws(rows), strict=True):
        one.set_title(law)
    for one in axes[-1]:
        ticks(one, rows, "length")
    figure.supxlabel("length of the step over the median distance to a facet", fontsize=8)


def _responses(rows: Table) -> Figure:
    with mpl.rc_context(style.RULES):
        figure, axes = _panels(rows, 4.0, 2)
        for k, law in enumerate(laws(rows)):
            mine = of_law(rows, law, "length")
            for way, look in LOOKS.items():
                flips(axes[0, k], column(mine, "length"), mine, way, look)
                _rise(axes[1, k], mine, way, look)
            axes[0, k].plot(column(mine, "length"), column(mine, "tube_value"), **TUBE)
        axes[0, 0].set_ylabel("share of tokens flipped")
        axes[1, 0].set_ylabel("rise of cross-entropy (nats)")
        low = axes[0, 0].get_ylim()[0]
        axes[0, 0].set_ylim(max(low, 1e-5), 2)
        _named(figure, axes, rows)
        handles = [Line2D([], [], label=way, ls="", **look) for way, look in LOOKS.items()]
        handles.append(Line2D([], [], label=r"$P(\delta < r)$", **TUBE))
        heading = f"{title(rows[0])}, residual at s = {rows[0]['scale']:g}"
        figure.legend(handles=handles, title=heading, loc="outside upper center", ncols=3)
    return figure


TUBE: Look = {"color": style.VERMILION, "lw": 0.8, "ls": "--"}


def _rise(axes: Axes, rows: Table, way: str, look: Look) -> None:
    value, sem = (column(rows, f"{way}_rise_{part}") for part in ("value", "sem"))
    shown = value > SIGMAS * sem  # what may be 0 has no place on a logarithmic axis
    x, value, reach = column(rows, "length")[shown], value[shown], SIGMAS * sem[shown]
    bars(axes, x, value, value - reach, value + reach, lw=0.8, **look)


def _dabi(rows: Table, names: list[str]) -> Figure:
    """Flips along the normal and the residual over isotropic ones; the control's output in grey."""
    with mpl.rc_context(style.RULES):
        figure, axes = _panels(rows, 4.2, 2)
        for k, law in enumerate(laws(rows)):
            for name, marker in zip(names, SHAPES, strict=False):
                mine = of_law([r for r in rows if r["readout"] == name], law, "length")
                for line, way in enumerate(("normal", "residual")):
                    _ratio(axes[line, k], mine, way, {**LOOKS[way], "marker": marker})
        for one in axes.flat:
            one.axhline(1, color=style.BLACK, lw=0.6)
        for line in axes:
            low, high = line[0].get_ylim()
            line[0].set_ylim(max(low, 0.3), min(high, MOST))
        axes[0, 0].set_ylabel("DABI, facet normal")
        axes[1, 0].set_ylabel("DABI, residual")
        _named(figure, axes, rows)
        handles = [
            Line2D([], [], color=style.BLACK, marker=marker, ls="", label=name)
            for name, marker in zip(names, SHAPES, strict=False)
        ]
        handles.append(Line2D([], [], color=style.VERMILION, lw=0.8, ls=":", label=LIMIT))
        handles.append(Line2D([], [], color=style.GREY, marker="x", ls="", label="control, output"))
        heading = "flips over isotropic ones; arrows: no isotropic flip seen"
        figure.legend(handles=handles, title=heading, loc="outside upper center", ncols=2)
    return figure


def _ratio(axes: Axes, rows: Table, way: str, look: Look) -> None:
    name = f"dabi_{way}_flips"
    x = column(rows, "length")
    value, lower, upper = (column(rows, f"{name}_{end}") for end in ("value", "lower", "upper"))
    closed = np.isfinite(value) & np.isfinite(upper) & (lower > 0)
    bars(axes, x[closed], value[closed], lower[closed], upper[closed], lw=0.8, **look)
    opened = ~closed & (lower > 0.01)
    arrows(axes, x[opened], lower[opened], look["color"])
    output = column(rows, f"smooth_dabi_{way}_output_value")
    axes.plot(x, output, color=style.GREY, marker="x", ls="", markersize=3)
    if way == "normal" and rows:
        axes.axhline(rows[0]["normal_limit"], color=style.VERMILION, lw=0.8, ls=":")
