"""Terminal steps over noise, where their residuals lie, and K exact steps of the ODE (figure 3)."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import style
from figures.marks import SIGMAS, Look, Table, bars, column, plain_log
from figures.readouts import LAWS, laws, of_law, ticks, title

FLIPS: dict[str, tuple[Look, str]] = {
    "flips": ({"color": style.BLUE, "marker": "o"}, "posterior mean"),
    "raw_flips": ({"color": style.ORANGE, "marker": "x"}, "raw noise"),
    "isotropic_flips": (
        {"color": style.BLACK, "marker": "D"},
        "isotropic, as long as the residual",
    ),
}
LEAST = 1e-4  # of shares on a logarithmic axis
MOST = 3e3  # of a ratio: what is seen of intervals that are nearly open


def draw(table: Table) -> dict[str, Figure]:
    """For every readout `terminal`, `residual`, `rollin` or `sequence`, as far as it has rows."""
    figures = {}
    for name in dict.fromkeys(row["readout"] for row in table):
        mine = [row for row in table if row["readout"] == name]
        stem = name.replace(" ", "-")
        terminal = [row for row in mine if row["family"] == "terminal"]
        rolled = [row for row in mine if row["family"] == "rollin"]
        if terminal:
            figures[f"terminal-{stem}"] = _terminal(terminal)
            figures[f"residual-{stem}"] = _residual(terminal)
        if rolled:
            figures[f"rollin-{stem}"] = _rollin(rolled)
        if spoken := [row for row in mine if row["family"] == "sequence"]:
            figures[f"sequence-{stem}"] = _sequence(spoken)
    return figures


def _ends(rows: Table, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value and ends; those of the table where it has them, else from the standard error."""
    value = column(rows, f"{name}_value")
    reach = SIGMAS * column(rows, f"{name}_sem")
    if rows and f"{name}_lower" in rows[0]:
        return value, column(rows, f"{name}_lower"), column(rows, f"{name}_upper")
    return value, value - reach, value + reach


def _terminal(rows: Table) -> Figure:
    """Flips over s, a panel for every law of latents."""
    found = laws(rows)
    with mpl.rc_context(style.RULES):
        lines = -(-len(found) // 2)
        size = (style.COLUMN, 1.0 + 1.5 * lines)
        figure = Figure(figsize=size, layout="constrained")
        wide = min(2, len(found))
        axes = figure.subplots(lines, wide, sharex=True, sharey=True, squeeze=False)
        for one, law in zip(axes.flat, found, strict=False):
            mine = of_law(rows, law, "scale")
            x = column(mine, "scale")
            for name, (look, _) in FLIPS.items():
                _positive(one, x, _ends(mine, name), lw=0.8, **look)
            law_line = np.minimum(column(mine, "law_value"), 1)
            one.plot(x, law_line, color=style.VERMILION, lw=1.0, ls="--")
            one.set(xscale="log", yscale="log", title=law)
            ticks(one, mine, "scale")
        axes[0, 0].set_ylim(LEAST / 3, 1.5)
        figure.supylabel("share of tokens flipped", fontsize=8)
        figure.supxlabel("noise s of the terminal step (units of the latents)", fontsize=8)
        handles = [Line2D([], [], lw=0.8, label=label, **look) for look, label in FLIPS.values()]
        tube: Look = {"color": style.VERMILION, "lw": 1.0, "ls": "--"}
        handles.append(Line2D([], [], label=r"tube law $\sqrt{2/\pi}\,s\,A_W$", **tube))
        place: Look = {"loc": "outside upper center", "ncols": 2}
        figure.legend(handles=handles, title=title(rows[0]), **place)
    return figure


def _positive(
    axes: Axes, x: np.ndarray, ends: tuple[np.ndarray, np.ndarray, np.ndarray], **look: Any
) -> None:
    """Points above 0 with their intervals; the others have no place on a logarithmic axis."""
    value, lower, upper = ends
    at = value > 0
    bars(axes, x[at], value[at], np.maximum(lower[at], LEAST / 100), upper[at], **look)


def _residual(rows: Table) -> Figure:
    """Row-space share over rank/n beside the posterior's, and structured over isotropic flips."""
    with style.column(rows=2, height=4.2) as (figure, (top, bottom)):
        for law in laws(rows):
            mine, look = of_law(rows, law, "scale"), LAWS[law]
            x, unit = column(mine, "scale"), column(mine, "isotropic_share")
            share = [end / unit for end in _ends(mine, "share")]
            bars(top, x, *share, ls="", label=law, **look)
            top.plot(x, column(mine, "share_law_value") / unit, color=look["color"], lw=0.9)
            noise = column(mine, "noise_share_value") / unit
            top.plot(x, noise, ls="", marker="x", markersize=3, color=style.GREY, zorder=3)
            value, lower, upper = _ends(mine, "structured")
            closed = np.isfinite(value) & np.isfinite(upper) & (lower > 0.1)
            ends = [end[closed] for end in (value, lower, upper)]
            bars(bottom, x[closed], *ends, lw=0.8, **look)
        for axes in (top, bottom):
            axes.axhline(1, color=style.BLACK, lw=0.6)
            axes.set(xscale="log", yscale="log")
        if rows[0]["rank"] == rows[0]["dimension"]:
            top.set_ylim(0.9, 1.1)  # all of a residual lies in the row space
        plain_log(top.yaxis)
        bottom.set_ylim(top=min(bottom.get_ylim()[1], MOST))
        ticks(bottom, rows, "scale")
        top.set_ylabel("row-space share over rank/n")
        bottom.set_ylabel("flips over isotropic ones")
        bottom.set_xlabel("noise s of the terminal step (units of the latents)")
        handles = [Line2D([], [], ls="", label=law, **LAWS[law]) for law in laws(rows)]
        handles.append(Line2D([], [], color=style.GREY, lw=0.9, label="posterior covariance"))
        cross: Look = {"color": style.GREY, "ls": "", "marker": "x", "markersize": 3}
        handles.append(Line2D([], [], label="X − Z (no score)", **cross))
        place: Look = {"loc": "outside upper center", "ncols": 3}
        figure.legend(handles=handles, title=title(rows[0]), **place)
    return figure


def _rollin(rows: Table) -> Figure:
    """Over K: results near facets, tokens that differ from the flow's, cumulative flips."""
    with style.column(rows=3, height=5.4) as (figure, (top, middle, bottom)):
        latest = max(row["start"] for row in rows)
        first = [row for row in rows if row["start"] == latest]
        noised = [row for row in rows if row.get("cumulative_flips_value") is not None]
        starts = sorted({row["start"] for row in noised})
        for law in laws(rows):
            mine, look = of_law(first, law, "steps"), LAWS[law]
            x = column(mine, "steps")
            _positive(top, x, _ends(mine, "tube"), lw=0.9, **look)
            own = column(mine, "tube_data_value")
            if len(mine) and own.mean() > LEAST:
                top.axhline(own.mean(), color=look["color"], lw=0.8, ls=":")
            _positive(middle, x, _ends(mine, "flow_flips"), lw=0.9, **look)
            for k, start in enumerate(starts):
                some = [row for row in of_law(noised, law, "steps") if row["start"] == start]
                dashes = ("-", "--", ":", "-.")[k % 4]
                ends = _ends(some, "cumulative_flips")
                bars(bottom, column(some, "steps"), *ends, lw=0.9, **look | {"ls": dashes})
        top.set(xscale="log", yscale="log", ylabel=r"$P(\delta < w)$ of results")
        middle.set(yscale="log", ylabel="tokens other\nthan the flow's")
        bottom.set(ylim=(0, 1.05), ylabel="cumulative flips")
        top.set_ylim(bottom=LEAST)
        middle.set_ylim(bottom=10 * LEAST)
        ticks(bottom, rows, "steps")
        bottom.set_xlabel("steps K of the ODE with the exact denoiser")
        handles = [Line2D([], [], label=law, **LAWS[law]) for law in laws(rows)]
        dots: Look = {"color": style.GREY, "lw": 0.8, "ls": ":"}
        handles.append(Line2D([], [], label="the latents' own", **dots))
        begun = ", ".join(f"{start:g}" for start in starts)
        heading = f"{title(rows[0])}; from t = {latest:g}"
        heading += f", and at the bottom from {begun}" if begun else ""
        figure.legend(handles=handles, title=heading, loc="outside upper center", ncols=3)
    return figure


STARTS: list[Look] = [
    {"color": style.BLUE, "marker": "o"},
    {"color": style.ORANGE, "marker": "s"},
    {"color": style.GREEN, "marker": "^"},
    {"color": style.PURPLE, "marker": "D"},
]


def _sequence(rows: Table) -> Figure:
    """Over K, a colour a start: results near facets, flips of both kinds, entropy of tokens."""
    starts = sorted({row["start"] for row in rows}, reverse=True)
    with style.column(rows=4, height=6.4) as (figure, (top, middle, low, bottom)):
        for k, start in enumerate(starts):
            mine = sorted((r for r in rows if r["start"] == start), key=lambda r: r["steps"])
            x, look = column(mine, "steps"), STARTS[k % len(STARTS)]
            _positive(top, x, _ends(mine, "tube"), lw=0.9, **look)
            unseen = column(mine, "tube_value") == 0
            upper = column(mine, "tube_upper")[unseen]
            top.plot(x[unseen], upper, ls="", color=look["color"], marker="v", fillstyle="none")
            _positive(middle, x, _ends(mine, "flow_flips"), lw=0.9, **look)
            if start < 1:
                bars(low, x, *_ends(mine, "cumulative_flips"), lw=0.9, **look)
            bars(bottom, x, *_ends(mine, "entropy"), lw=0.9, **look)
        own = column(rows, "tube_data_value").mean()
        if own > LEAST:
            top.axhline(own, color=style.GREY, lw=0.8, ls=":")
        bottom.axhline(rows[0]["entropy_truth"], color=style.GREY, lw=0.8, ls=":")
        top.set(xscale="log", yscale="log", ylabel=r"$P(\delta < w)$ of results")
        top.set_ylim(LEAST, 1.5)
        middle.set(yscale="log", ylabel="tokens other\nthan the flow's")
        middle.set_ylim(bottom=LEAST)
        low.set(ylim=(0, 1.05), ylabel="cumulative flips")
        bottom.set_ylabel("entropy (nats)")
        ticks(bottom, rows, "steps")
        bottom.set_xlabel("steps K of the ODE with the exact denoiser")
        handles = [
            Line2D([], [], label=f"from t = {start:g}", **STARTS[k % len(STARTS)])
            for k, start in enumerate(starts)
        ]
        empty: Look = {"color": style.GREY, "ls": "", "marker": "v", "fillstyle": "none"}
        handles.append(Line2D([], [], label="none seen: upper end", **empty))
        dots: Look = {"color": style.GREY, "lw": 0.8, "ls": ":"}
        handles.append(Line2D([], [], label="the language's own", **dots))
        kind, vocabulary, dimension, length = rows[0]["readout"].split()
        heading = f"language, {kind} embeddings: V = {vocabulary}, n = {dimension}, L = {length}"
        figure.legend(handles=handles, title=heading, loc="outside upper center", ncols=2)
    return figure
