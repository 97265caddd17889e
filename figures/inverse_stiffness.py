"""Leak against stiffness: the 1/Λ law and its corrections, sharp maps, trained maps, losses."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from figures import style
from figures.losses import Stored, draw_losses
from figures.marks import (
    MARKERS,
    SIGMAS,
    Look,
    Row,
    Table,
    bars,
    best,
    column,
    dodged,
    family,
    label_ends,
    looks,
    plain_log,
)

PARTITIONS = ("intervals", "orthants", "balanced", "best")
DODGE = 1.0  # doublings of Λ over which trained maps of one Λ are set side by side
AIMED = 1.15  # what trained maps are asked to stay below at Λ = 16
CURVES = {  # beside the exact leak: column, dashes and width, name
    "asymptote": ("--", 0.7, r"$a/\Lambda$"),
    "two_term": ("-.", 0.7, r"$a/\Lambda - b/\Lambda^2$"),
    "leak_floor": (":", 0.9, "floor of any map"),
}


def draw(table: Table) -> dict[str, Figure]:
    """`leak` against Λ, its `ratio` to the first order, and `sharp_maps` of partitions."""
    figures = {}
    if family(table, "sparsemax", "trained"):
        figures = {"leak": _leak(table), "ratio": _ratio(table)}
    if family(table, *PARTITIONS):
        figures["sharp_maps"] = _sharp_maps(family(table, *PARTITIONS))
    return figures


def draw_arrays(stored: Stored) -> dict[str, Figure]:
    """`losses` of the trained maps, a panel for every Λ."""
    trained = [(row, arrays) for row, arrays in stored if row["family"] == "trained"]
    levels = sorted({row["stiffness"] for row, _ in trained})
    return draw_losses(
        {rf"$\Lambda = {x:g}$": [p for p in trained if p[0]["stiffness"] == x] for x in levels}
    )


def _by_stiffness(rows: Table, modes: int) -> Table:
    return sorted((r for r in rows if r["modes"] == modes), key=lambda r: r["stiffness"])


def _leak(table: Table) -> Figure:
    rows = family(table, "sparsemax", "trained")
    known = looks(row["modes"] for row in rows)
    with style.column(height=3.9) as (figure, (axes,)):
        ends = []
        for modes, look in known.items():
            exact = _by_stiffness(family(rows, "sparsemax"), modes)
            _sparsemax_curves(axes, exact, look["color"])
            _leak_points(axes, exact, look | {"marker": "o", "markersize": 3})
            trained = _by_stiffness(family(rows, "trained"), modes)
            _leak_points(axes, trained, look | {"marker": "D", "markersize": 5, "mfc": "none"})
            if exact:
                ends.append((exact[-1]["exact"], f"{modes}{_slope(exact)}", look["color"]))
        axes.set(xscale="log", yscale="log", ylabel=r"leak $\varepsilon$ (probability)")
        _stiffness_axis(axes, rows)
        plain_log(axes.yaxis)
        axes.set_ylim(axes.get_ylim())
        if ends:
            ends.append((1.001 * max(end[0] for end in ends), "$M$: slope", style.BLACK))
        label_ends(axes, ends)
        axes.legend(handles=_leak_handles(rows, known), loc="lower left")
    return figure


def _sparsemax_curves(axes: Axes, rows: Table, color: Any) -> None:
    x = column(rows, "stiffness")
    axes.plot(x, column(rows, "exact"), color=color, lw=1.0)
    for name, (dashes, width, _) in CURVES.items():
        height = column(rows, name)
        height[height <= 0] = np.nan  # two terms of a large M at a small Λ
        axes.plot(x, height, color=color, ls=dashes, lw=width, alpha=0.8)


def _leak_points(axes: Axes, rows: Table, look: Look) -> None:
    value, lower, upper = (column(rows, f"leak_{end}") for end in ("value", "lower", "upper"))
    bars(axes, column(rows, "stiffness"), value, lower, upper, ls="", elinewidth=0.8, **look)


def _slope(rows: Table) -> str:
    """Of log ε in log Λ by least squares over the Λ of the table."""
    if len(rows) < 2:
        return ""
    x, y = (np.log(column(rows, name)) for name in ("stiffness", "exact"))
    return f": {np.polyfit(x, y, 1)[0]:.3f}".replace("-", "−")


def _leak_handles(rows: Table, known: dict[int, Look]) -> list[Line2D]:
    """What the lines are, and the colours of trained M that no curve's label names."""
    curves = {row["modes"] for row in family(rows, "sparsemax")}
    ink: Look = {"color": style.BLACK}
    handles = [Line2D([], [], lw=1.0, marker="o", markersize=3, label="sparsemax, exact", **ink)]
    handles += [
        Line2D([], [], ls=dashes, lw=width, label=label, **ink)
        for dashes, width, label in CURVES.values()
    ]
    look: Look = {"ls": "", "marker": "D", "markersize": 5, "mfc": "none"}
    handles.append(Line2D([], [], label="trained", **look, **ink))
    return handles + [
        Line2D([], [], label=f"trained, $M = {modes}$", **look | {"color": known[modes]["color"]})
        for modes in sorted({row["modes"] for row in family(rows, "trained")} - curves)
    ]


def _stiffness_axis(axes: Axes, rows: Table) -> None:
    levels = sorted({row["stiffness"] for row in rows})
    axes.set_xlim(levels[0] / 1.25, levels[-1] * 1.25)
    axes.set_xticks(levels, labels=[f"{x:g}" for x in levels])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(r"stiffness $\Lambda$ (Lipschitz constant)")


def _ratio(table: Table) -> Figure:
    rows = family(table, "sparsemax", "trained")
    known = looks(row["modes"] for row in rows)
    left = min(row["stiffness"] for row in rows) / 2 ** (DODGE / 2)
    with style.column(height=3.2) as (figure, (axes,)):
        for modes, look in known.items():
            exact = _by_stiffness(family(rows, "sparsemax"), modes)
            height = column(exact, "exact") / column(exact, "asymptote")
            if exact:
                axes.plot(column(exact, "stiffness"), height, color=look["color"], lw=1.0)
                text: Look = {"color": look["color"], "va": "center", "ha": "right"}
                axes.text(left / 1.1, height[0], f"$M = {modes}$", fontsize=6.5, **text)
        _trained_ratios(axes, family(rows, "trained"), known)
        axes.set_xscale("log")
        _stiffness_axis(axes, rows)
        right = axes.get_xlim()[1]
        axes.set_xlim(left / (right / left) ** 0.22, right)  # room for the names of the curves
        axes.plot([left, right], [1, 1], color=style.BLACK, lw=0.6)
        axes.axhline(AIMED, color=style.GREY, lw=0.6, ls="--")
        axes.set_ylabel(r"$\Lambda\varepsilon\,/\,(\kappa P_S)$ (dimensionless)")
        handles = [
            Line2D([], [], color=style.BLACK, lw=1.0, label="sparsemax, exact"),
            Line2D([], [], color=style.GREY, lw=0.6, ls="--", label=f"{AIMED}, asked at Λ = 16"),
            *axes.get_legend_handles_labels()[0],
        ]
        note = "filled: best restart" if any(row["restart"] for row in rows) else None
        place: Look = {"loc": "outside upper center", "ncols": 3, "columnspacing": 1.0}
        figure.legend(handles=handles, title=note, **place)
    return figure


def _trained_ratios(axes: Axes, rows: Table, known: dict[int, Look]) -> None:
    """Side by side at every Λ; the best restart is filled."""
    places = 2 ** dodged(np.log2(column(rows, "stiffness")), DODGE)
    chosen = best(rows, "ratio_value", "modes", "stiffness")
    for modes in sorted({row["modes"] for row in rows}):
        for shown, face in ((True, None), (False, "none")):
            at = [
                k
                for k, row in enumerate(rows)
                if row["modes"] == modes and (row in chosen) == shown
            ]
            mine = [rows[k] for k in at]
            value, *ends = (column(mine, f"ratio_{end}") for end in ("value", "lower", "upper"))
            look = known[modes] | {"ls": "", "mfc": face or known[modes]["color"]}
            label = f"trained, $M = {modes}$" if shown else None
            look |= {"markersize": 2.8, "capsize": 1.2, "elinewidth": 0.7, "label": label}
            bars(axes, places[at], value, *ends, **look)


def _place(row: Row) -> tuple[str, int, int]:
    return row["family"], row["modes"], row["dimension"]


def _sharp_maps(rows: Table) -> Figure:
    """A line a partition, its Λ under each other in it; beside it the stretch at corners."""
    places = list(dict.fromkeys(_place(row) for row in rows))[::-1]
    levels = sorted({row["stiffness"] for row in rows})
    with mpl.rc_context(style.RULES):
        size = (style.COLUMN, 1.35 + 0.34 * len(places))
        figure = Figure(figsize=size, layout="constrained")
        grid = {"width_ratios": (2.6, 1.0)}
        left, right = figure.subplots(1, 2, sharey=True, gridspec_kw=grid)
        for axes in (left, right):
            axes.axvline(1, color=style.BLACK, lw=0.6)
            for edge in np.arange(len(places) - 1) + 0.5:
                axes.axhline(edge, color=style.GREY, lw=0.3)
        for k, level in enumerate(levels):
            mine = [row for row in rows if row["stiffness"] == level]
            shift = 0.6 * ((len(levels) - 1) / 2 - k) / len(levels)
            height = np.array([places.index(_place(row)) for row in mine]) + shift
            marker: Look = {"ls": "", "marker": MARKERS[k % len(MARKERS)], "markersize": 2.8}
            for name, color in (("sharp_rate", style.BLUE), ("raw_rate", style.VERMILION)):
                _rates(left, mine, name, height, marker | {"color": color})
            right.plot(column(mine, "corner_stretch"), height, color=style.BLUE, **marker)
        for line, place in enumerate(places):
            _limit(left, [row for row in rows if _place(row) == place], line)
        left.set_yticks(range(len(places)), [f"{f}\n({m}, {n})" for f, m, n in places])
        left.set_ylim(-0.5, len(places) - 0.5)
        left.set(xscale="log", xlabel=r"$\Lambda\varepsilon\,/\,(\kappa P)$ (dimensionless)")
        right.spines["left"].set_visible(False)
        right.tick_params(axis="y", left=False)
        low, high = left.get_xlim()
        left.set_xlim(min(low, 0.6), max(high, 2.5))
        plain_log(left.xaxis)
        left.set_ylabel("partition $(M, n)$")
        right.set_xlabel(r"$\max\,\|DT\|\,/\,\Lambda$" + "\nnear corners")
        figure.legend(handles=_sharp_handles(levels), loc="outside upper center", ncols=3)
    return figure


def _rates(axes: Axes, rows: Table, name: str, height: np.ndarray, look: Look) -> None:
    area = column(rows, "perimeter")
    value, reach = column(rows, f"{name}_value"), SIGMAS * column(rows, f"{name}_sem")
    options: Look = {"elinewidth": 0.8, "capsize": 1}
    axes.errorbar(value / area, height, xerr=reach / area, **options, **look)


def _limit(axes: Axes, rows: Table, height: int) -> None:
    """Where the raw scores of this partition end as Λ grows."""
    limit = rows[0]["raw_limit"] / rows[0]["perimeter"]
    axes.plot([limit, limit], [height - 0.42, height + 0.42], color=style.VERMILION, lw=1.0)


def _sharp_handles(levels: list[float]) -> list[Line2D]:
    handles = [
        Line2D([], [], color=style.BLUE, lw=3, label="signed distances"),
        Line2D([], [], color=style.VERMILION, lw=3, label="raw scores"),
        Line2D([], [], color=style.VERMILION, lw=1, ls="", marker="|", label="their limit"),
    ]
    look: Look = {"color": style.BLACK, "ls": "", "markersize": 2.8}
    for k, level in enumerate(levels):
        marker = MARKERS[k % len(MARKERS)]
        handles.append(Line2D([], [], marker=marker, label=rf"$\Lambda = {level:g}$", **look))
    return handles
