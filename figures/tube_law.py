"""The tube law: predicted against observed flips, their ratio over s, A_W by its three routes."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import style
from figures.losses import Stored
from figures.marks import MARKERS, SIGMAS, Look, Row, Table, bars, column, ends, plain_log

COLORS = (
    style.BLUE,
    style.VERMILION,
    style.GREEN,
    style.ORANGE,
    style.PURPLE,
    style.SKY,
    style.BLACK,
)
# In the order of the tables, so that a pair looks the same in every picture.
PAIRS = (
    *("half_space", "quadrants", "simplicial_3", "simplicial_8", "simplicial_64"),
    *("unequal", "narrow", "mixture", "high", "code"),
)
ABOVE: Look = {"loc": "outside upper center", "ncols": 3}
POINT: Look = {"ls": "", "markersize": 3.2, "capsize": 1}
ROUTES = {"area_crofton": ("Crofton", "s"), "area_margins": ("margins at zero", "o")}


def draw(table: Table) -> dict[str, Figure]:
    """`predicted` against observed, `ratio` over s, `areas` by margins, and `limits` at s → 0."""
    points = sorted((r for r in table if r["scale"]), key=lambda r: r["scale"])
    limits = [row for row in table if row["scale"] == 0]
    figures = {}
    if points:
        figures = {name: make(points) for name, make in POINTWISE.items()}
    if limits:
        figures["limits"] = _limits(limits)
    return figures


def draw_arrays(stored: Stored) -> dict[str, Figure]:
    """`margins`: half the density of the margin δ near zero, and A_W, where it must start."""
    first: dict[str, tuple[Row, Any]] = {}
    for row, arrays in stored:
        if "margin_edges" in arrays:
            first.setdefault(row["pair"], (row, arrays))
    return (
        {"margins": _margins([first[pair] for pair in _pairs([row for row, _ in first.values()])])}
        if first
        else {}
    )


def _margins(stored: list[tuple[Row, Any]]) -> Figure:
    known = _pairs([row for row, _ in stored])
    with style.column(height=2.8) as (figure, (axes,)):
        for row, arrays in stored:
            edges, look = arrays["margin_edges"], known[row["pair"]]
            middle = (edges[1:] + edges[:-1]) / 2
            height, sem = arrays["margin_density"] / 2, arrays["margin_sem"] / 2
            reach = SIGMAS * sem
            axes.fill_between(
                middle, height - reach, height + reach, color=look["color"], alpha=0.2
            )
            every: Look = {"markevery": 6, "markersize": 3.2, "label": _name(row["pair"])}
            axes.plot(middle, height, lw=0.9, **look, **every)
            area = row["area_value"] * row["width"]
            axes.plot([0], [area], ls="", clip_on=False, markersize=4.5, **look)
        axes.set_xlim(0, None)
        axes.set_ylim(0, None)
        axes.set_xlabel(r"margin $\delta$ over the latents' least width")
        axes.set_ylabel(r"$f_\delta/2$ (band), $A_W$ predicted (mark)")
        axes.legend(loc="upper right", title=r"density $\times$ width")
    return figure


def _pairs(rows: Table) -> dict[str, Look]:
    """A colour and a marker for every pair that has rows."""
    there = {row["pair"] for row in rows}
    names = [*PAIRS, *sorted(there - set(PAIRS))]
    return {
        name: {"color": COLORS[k % len(COLORS)], "marker": MARKERS[k % len(MARKERS)]}
        for k, name in enumerate(names)
        if name in there
    }


def _name(pair: str) -> str:
    return pair.replace("_", " ")


def _predicted(rows: Table) -> Figure:
    known = _pairs(rows)
    with style.column(height=3.2) as (figure, (axes,)):
        for pair, look in known.items():
            mine = [row for row in rows if row["pair"] == pair]
            law = column(mine, "law")
            bars(axes, law, *ends(mine, "raw"), **(POINT | look))
            bars(axes, law, *ends(mine, "mean"), **(POINT | look), mfc="none")
        axes.set(xscale="log", yscale="log")
        law = column(rows, "law")
        same = [law.min(), law.max()]
        axes.plot(same, same, color=style.BLACK, lw=0.6, zorder=0)
        plain_log(axes.xaxis)
        plain_log(axes.yaxis)
        axes.set_xlabel(r"predicted, $\sqrt{2/\pi}\,s\,A_W$ (probability)")
        axes.set_ylabel("observed flips (probability)")
        figure.legend(handles=_handles(known), **ABOVE)
    return figure


def _handles(known: dict[str, Look]) -> list[Line2D]:
    marks = [
        Line2D([], [], ls="", markersize=3.2, label=_name(pair), **look)
        for pair, look in known.items()
    ]
    plain: Look = {"ls": "", "marker": "o", "markersize": 3.2, "color": style.GREY}
    return [
        *marks,
        Line2D([], [], label="filled: raw noise", **plain),
        Line2D([], [], label="open: posterior mean", mfc="none", **plain),
    ]


def _ratio(rows: Table) -> Figure:
    known = _pairs(rows)
    with style.column(height=3.4) as (figure, (axes,)):
        for pair, look in known.items():
            mine = [row for row in rows if row["pair"] == pair]
            s = column(mine, "scale")
            bars(axes, s, *ends(mine, "ratio_raw"), **(POINT | look))
            bars(axes, s, *ends(mine, "ratio_mean"), **(POINT | look), mfc="none")
            _second_order(axes, mine, look["color"])
        axes.axhline(1, color=style.BLACK, lw=0.6)
        axes.set_xscale("log")
        plain_log(axes.xaxis)
        low = min(column(rows, f"ratio_{kind}_value").min() for kind in ("raw", "mean"))
        axes.set_ylim(low - 0.08, 1.05)
        axes.set_xlabel("noise $s$ over the latents' least width")
        axes.set_ylabel(r"flips over $\sqrt{2/\pi}\,s\,A_W$ (dimensionless)")
        curves = [
            Line2D([], [], color=style.GREY, lw=0.9, label="second order, raw noise"),
            Line2D([], [], color=style.GREY, lw=0.9, ls="--", label="posterior mean"),
        ]
        figure.legend(handles=[*_handles(known), *curves], **ABOVE)
    return figure


def _second_order(axes: Axes, rows: Table, color: Any) -> None:
    """1 + (coefficient/first order)·s^k from one row, where the prediction is in the table."""
    row = rows[0]
    for name, dashes in (("raw", "-"), ("mean", "--")):
        if row.get(f"second_{name}") is None:
            continue
        s = np.geomspace(rows[0]["scale"], rows[-1]["scale"], 100)
        power = row["order"]
        slope = (row[f"second_{name}"] / row["law"] - 1) / row["scale"] ** power
        axes.plot(s, 1 + slope * s**power, color=color, lw=0.9, ls=dashes)


def _areas(rows: Table) -> Figure:
    """Over the predicted A_W, the density of margins at zero halved, and Crofton's lines."""
    known = _pairs(rows)
    with style.column(height=0.9 + 0.3 * len(known)) as (figure, (axes,)):
        for place, pair in enumerate(known):
            one = next(row for row in rows if row["pair"] == pair)
            for k, (name, (label, marker)) in enumerate(ROUTES.items()):
                value, lower, upper = (x[0] / one["area_value"] for x in ends([one], name))
                look: Look = {"marker": marker, "color": COLORS[k], "markersize": 3.2}
                reach = [[max(value - lower, 0)], [max(upper - value, 0)]]
                look["label"] = label if place == 0 else None
                height = place + 0.15 - 0.3 * k
                axes.errorbar([value], [height], xerr=reach, capsize=1, ls="", **look)
        axes.axvline(1, color=style.BLACK, lw=0.6)
        axes.set_yticks(range(len(known)), [_name(pair) for pair in known])
        axes.set_ylim(len(known) - 0.5, -0.5)
        axes.set_xlabel(r"$A_W$ over the predicted one (dimensionless)")
        figure.legend(loc="outside upper center", ncols=2)
    return figure


def _limits(rows: Table) -> Figure:
    """The extrapolated ratio, and the coefficient after it over its prediction."""
    known = _pairs(rows)
    with mpl.rc_context(style.RULES):
        size = (style.COLUMN, 1.6 + 0.34 * len(known))
        figure = Figure(figsize=size, layout="constrained")
        top, bottom = figure.subplots(2, 1)
        panels = {
            "limit": (top, "ratio to the tube law at $s \\to 0$"),
            "coefficient_ratio": (bottom, "next coefficient over predicted"),
        }
        for name, (axes, label) in panels.items():
            for place, row in enumerate(rows):
                _both_kinds(axes, row, name, place)
            axes.axvline(1, color=style.BLACK, lw=0.6)
            axes.set_yticks(range(len(rows)), [_name(row["pair"]) for row in rows])
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.set_xlabel(label + " (dimensionless)")
        handles = [
            Line2D([], [], ls="", marker="o", markersize=3.2, color=style.BLUE, label="raw noise"),
            Line2D(
                [],
                [],
                ls="",
                marker="D",
                markersize=3.2,
                color=style.VERMILION,
                label="posterior mean",
            ),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


def _both_kinds(axes: Axes, row: Row, name: str, place: int) -> None:
    for shift, kind, marker, color in (
        (-0.15, "raw", "o", style.BLUE),
        (0.15, "mean", "D", style.VERMILION),
    ):
        if row.get(f"{name}_{kind}_value") is None:
            continue
        value, lower, upper = (x[0] for x in ends([row], f"{name}_{kind}"))
        reach = [[max(value - lower, 0)], [max(upper - value, 0)]]
        look: Look = {"marker": marker, "color": color, "markersize": 3.2, "capsize": 1}
        axes.errorbar([value], [place + shift], xerr=reach, **look)


POINTWISE = {"predicted": _predicted, "ratio": _ratio, "areas": _areas}
