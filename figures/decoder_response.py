"""What steps along normals, residuals and isotropic ones do to real heads, and DABI (figure 2)."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import style
from figures.marks import SIGMAS, SIZE, Look, Table, bars, column, plain_log
from figures.responses import DECODERS, LIMIT, LOOKS, OTHER, arrows, flips

WAYS = {"normal": "facet normal", "residual": "residual"}  # of the figure of DABI
CONTROL: Look = {"color": style.GREY, "marker": "x", "ls": "", "markersize": 3, "lw": 0.6}
SIDE, WIDE = 1.05, 1.08  # factors on x from one series to the next, so that bars stand apart
TINY = 1e-9  # in the place of 0 on a logarithmic axis
SMALL = 1e-2  # nats: a rise below it is on the linear part of its axis
RANGES = {"flips": (0.2, 1e4), "output": (0.2, 1e2), "rise": (-1e3, 1e4)}
UNIT = "length r of the step over\nthe median distance to a facet"


def draw(table: Table) -> dict[str, Figure]:
    """`dabi` of all decoders, and for each its flips and the rise of its cross-entropy."""
    if not table:
        return {}
    names = list(dict.fromkeys(row["decoder"] for row in table))
    figures = {"dabi": _dabi(table, names)}
    return figures | {name: _responses(_of(table, name)) for name in names}


def _of(table: Table, name: str) -> Table:
    return sorted((r for r in table if r["decoder"] == name), key=lambda row: row["length"])


def _responses(rows: Table) -> Figure:
    one = rows[0]
    with style.column(rows=2, height=4.6) as (figure, (top, bottom)):
        top.set(xscale="log", yscale="log", ylabel="share of tokens flipped")
        bottom.set_yscale("symlog", linthresh=SMALL)
        for k, (way, look) in enumerate(LOOKS.items()):
            x = column(rows, "length") * SIDE ** (k - 1.5)
            flips(top, x, rows, way, look)
            _none(top, x, rows, way, look)
            _rise(bottom, x, rows, way, look)
        top.set_ylim(max(0.4 * _least(rows), 1e-7), 2)
        bottom.axhline(0, color=style.BLACK, lw=0.6)
        bottom.set_ylabel("rise of cross-entropy (nats)")
        bottom.set_xlabel(UNIT)
        plain_log(bottom.xaxis)
        _in_norms(top, rows)
        handles = [Line2D([], [], label=way, ls="", **look) for way, look in LOOKS.items()]
        hollow: Look = {"color": style.GREY, "marker": "o", "ls": "", "fillstyle": "none"}
        handles.append(Line2D([], [], label="hollow: none flipped, at 1/N", **hollow))
        heading = (
            f"{one['decoder']}: {one['classes']} in R$^{{{one['dimension']}}}$, "
            f"N = {one['independent']} latents,\n"
            f"residual at s = {one['ratio']:g} median distances"
        )
        figure.legend(handles=handles, title=heading, loc="outside upper center", ncols=3)
    return figure


def _least(rows: Table) -> float:
    """The smallest share of flips that can be seen, or a smaller one that was."""
    seen = np.concatenate([column(rows, f"{way}_flips_value") for way in LOOKS])
    return min([*seen[seen > 0], *(1 / column(rows, "independent"))])


def _none(axes: Axes, x: np.ndarray, rows: Table, way: str, look: Look) -> None:
    none = column(rows, f"{way}_flips_value") == 0
    axes.plot(x[none], 1 / column(rows, "independent")[none], ls="", fillstyle="none", **look)


def _rise(axes: Axes, x: np.ndarray, rows: Table, way: str, look: Look) -> None:
    value, sem = (column(rows, f"{way}_rise_{part}") for part in ("value", "sem"))
    known = np.isfinite(value)
    value, reach = value[known], SIGMAS * sem[known]
    bars(axes, x[known], value, value - reach, value + reach, lw=0.8, **look)


def _in_norms(axes: Axes, rows: Table) -> None:
    """The same lengths over the median ‖z‖, above."""
    share = float(np.nanmedian(column(rows, "relative_step") / column(rows, "length")))
    if np.isfinite(share):
        there, back = (lambda x: share * np.asarray(x)), (lambda y: np.asarray(y) / share)
        above = axes.secondary_xaxis("top", functions=(there, back))
        above.set_xlabel(r"the same over the median $\|z\|$")
        plain_log(above.xaxis)


def _dabi(table: Table, names: list[str]) -> Figure:
    """Responses along the normal and the residual over isotropic ones; the control in grey."""
    with mpl.rc_context(style.RULES):
        figure = Figure(figsize=(style.COLUMN, 5.4), layout="constrained")
        axes = _panels(figure)
        for k, name in enumerate(names):
            rows, look = _of(table, name), DECODERS.get(name, OTHER)
            x = column(rows, "length") * WIDE ** (k - (len(names) - 1) / 2)
            for column_of, way in zip(axes.T, WAYS, strict=True):
                for one, response in zip(column_of, RANGES, strict=True):
                    _ratio(one, x, rows, f"dabi_{way}_{response}", look)
                _limit(column_of[0], x, rows, way, look)
                _ratio(column_of[1], x, rows, f"smooth_dabi_{way}_output", CONTROL)
        _limits(axes)
        figure.supxlabel(UNIT, fontsize=8)
        looks = {name: DECODERS.get(name, OTHER) for name in names}
        handles = [Line2D([], [], ls="", label=name, **look) for name, look in looks.items()]
        handles.append(Line2D([], [], label="smooth control", **CONTROL))
        handles.append(Line2D([], [], color=style.GREY, lw=0.8, ls=":", label=LIMIT))
        heading = "responses over isotropic ones (1 − 10⁻⁹ intervals)\narrows: a lower end alone"
        figure.legend(handles=handles, title=heading, loc="outside upper center", ncols=2)
    return figure


def _ratio(axes: Axes, x: np.ndarray, rows: Table, name: str, look: Look) -> None:
    """Values with their intervals; where the upper end is open, an arrow up from the lower one."""
    value, lower, upper = (column(rows, f"{name}_{end}") for end in ("value", "lower", "upper"))
    closed = np.isfinite(value) & np.isfinite(lower) & np.isfinite(upper)
    if axes.get_yscale() == "log":
        closed &= value > 0
        lower = np.where(lower > 0, lower, np.where(closed, TINY, lower))
    dressed: Look = {"ls": "", "lw": 0.8, "markersize": 3, "capsize": 1} | look
    bars(axes, x[closed], value[closed], lower[closed], upper[closed], **dressed)
    opened = ~np.isfinite(upper) & (lower > RANGES["flips"][0])
    arrows(axes, x[opened], lower[opened], look["color"])


def _limit(axes: Axes, x: np.ndarray, rows: Table, way: str, look: Look) -> None:
    if way == "normal":
        axes.axhline(rows[0]["normal_limit"], color=look["color"], lw=0.8, ls=":")


def _panels(figure: Figure) -> np.ndarray:
    """A line for every response; of rises DABI may be negative, and is linear up to ±1."""
    axes = figure.subplots(3, 2, sharex=True, sharey="row")
    for line, response in zip(axes, RANGES, strict=True):
        for one in line:
            one.set_xscale("log")
            if response == "rise":
                one.set_yscale("symlog", linthresh=1)
            else:
                one.set_yscale("log")
            one.axhline(1, color=style.BLACK, lw=0.6)
        line[0].set_ylabel(f"DABI of {response}")
    for one, said in zip(axes[0], WAYS.values(), strict=True):
        one.set_title(said)
    return axes


def _limits(axes: np.ndarray) -> None:
    for line, (low, high) in zip(axes, RANGES.values(), strict=True):
        least, most = line[0].get_ylim()
        line[0].set_ylim(max(min(least, 0.5), low), max(min(1.5 * most, high), 5))
        for one in line:
            if not any(len(artist.get_xdata()) for artist in one.lines[1:]):
                place: Look = {"transform": one.transAxes, "ha": "center", "fontsize": SIZE}
                one.text(0.5, 0.55, "both ends open", **place)
    plain_log(axes[1, 0].yaxis)
    for one in axes[-1]:
        plain_log(one.xaxis)
