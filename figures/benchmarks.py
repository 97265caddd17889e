"""Kernels beside their peers: seconds over ours, error against time, and how costs grow."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from figures import style
from figures.marks import plain_log

Table = list[dict[str, Any]]

OURS = "noncommit"
LOOKS = {
    "noncommit": (style.BLUE, "o"),
    "jax": (style.BLACK, "x"),
    "numpy": (style.VERMILION, "s"),
    "torch": (style.ORANGE, "^"),
    "faiss-cpu": (style.GREEN, "D"),
    "hmmlearn": (style.PURPLE, "v"),
    "ott-jax": (style.ORANGE, "^"),
    "POT": (style.VERMILION, "s"),
}
SPEED = {
    "nearest_facet": ("head", "modes"),
    "operator_norm": ("dtype",),
    "forward_backward": ("dtype",),
    "training": (),
}
TITLES = {
    "nearest_facet": "nearest facet",
    "operator_norm": "operator norms",
    "forward_backward": "forward–backward",
    "training": "training",
}


def draw(tables: Mapping[str, Table]) -> dict[str, Figure]:
    """`speed`, `masses`, `perimeter` and `growth`: those whose tables are there."""
    figures = {}
    if any(tables.get(name) for name in SPEED):
        figures["speed"] = _speed(tables)
    for name, table, panel in (
        ("masses", "equal_masses", _masses),
        ("perimeter", "perimeter", _perimeter),
        ("growth", "growth_summary", _growth),
    ):
        if tables.get(table):
            figures[name] = panel(tables[table])
    return figures


def groups(table: Table, fields: Sequence[str]) -> dict[tuple[Any, ...], Table]:
    """The rows of every case, in the order of the table."""
    found: dict[tuple[Any, ...], Table] = {}
    for row in table:
        found.setdefault(tuple(row[name] for name in fields), []).append(row)
    return found


def _speed(tables: Mapping[str, Table]) -> Figure:
    """Median seconds of every contender over those of ours; whiskers from least to most."""
    lines: list[tuple[str, dict[str, Any] | None, float]] = []
    for name, fields in SPEED.items():
        for case, rows in groups(tables.get(name) or [], fields).items():
            ours = [row["seconds"] for row in rows if row["contender"] == OURS]
            if ours:
                said = " ".join(str(part) for part in case)
                lines.append((f"{TITLES[name]}  {said}", None, ours[0]))
                lines += [(f"{row['contender']}", row, ours[0]) for row in rows]
    with style.column(height=0.6 + 0.15 * len(lines)) as (figure, (axes,)):
        for place, (_, row, unit) in enumerate(lines):
            if row is not None:
                _whisker(axes, row, unit, place)
        axes.axvline(1, color=style.GREY, lw=0.6)
        axes.set_yticks(range(len(lines)), [text for text, _, _ in lines])
        for label, (_, row, _) in zip(axes.get_yticklabels(), lines, strict=True):
            label.set_fontweight("bold" if row is None else "normal")
        axes.tick_params(axis="y", length=0)
        axes.set(xscale="log", xlabel="seconds over ours")
        plain_log(axes.xaxis)
        axes.set_ylim(len(lines) - 0.4, -0.6)
    return figure


def _whisker(axes: Axes, row: dict[str, Any], unit: float, place: int) -> None:
    color, marker = LOOKS[row["library"]]
    middle = row["seconds"] / unit
    ends = [[middle - row["seconds_least"] / unit], [row["seconds_most"] / unit - middle]]
    axes.errorbar([middle], [place], xerr=ends, color=color, fmt=marker, markersize=4)


def _masses(table: Table) -> Figure:
    """A panel a code: worst relative error of the mass of a cell against seconds."""
    cases = groups(table, ("modes", "dimension"))
    with style.column(rows=len(cases), height=1.4 * len(cases) + 0.4) as (figure, panels):
        for axes, ((modes, dimension), rows) in zip(panels, cases.items(), strict=True):
            for (name, library), own in groups(rows, ("contender", "library")).items():
                color, marker = LOOKS[library]
                seconds = [row["seconds"] for row in own]
                error, sem = ([row[c] for row in own] for c in ("worst_error", "worst_error_sem"))
                line = axes.errorbar(
                    seconds, error, yerr=sem, color=color, marker=marker, ls="-", label=name
                )[0]
                if "certified" in name:
                    line.set(markerfacecolor="white", linestyle="--")
            axes.set(xscale="log", yscale="log", ylabel="worst error")
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.set_title(f"M = {modes}, n = {dimension}", loc="left")
        panels[0].legend(loc="best")
        panels[-1].set_xlabel("seconds")
    return figure


def _perimeter(table: Table) -> Figure:
    """Root mean squared error after a minute over P, estimator by estimator."""
    cases = groups(table, ("modes", "dimension"))
    names = list(dict.fromkeys(row["contender"] for row in table))
    looks = ((style.BLUE, "o"), (style.ORANGE, "^"), (style.GREEN, "D"))
    with style.column(height=0.9 + 0.22 * len(names)) as (figure, (axes,)):
        for ((modes, dimension), rows), (color, marker) in zip(cases.items(), looks, strict=False):
            error = [np.sqrt(row["mean_square_error"]) / row["value"] for row in rows]
            height = [names.index(row["contender"]) for row in rows]
            axes.plot(
                error,
                height,
                color=color,
                marker=marker,
                ls="",
                label=f"M = {modes}, n = {dimension}",
            )
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set(xscale="log", xlabel="error after a minute over P")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return figure


def _growth(table: Table) -> Figure:
    """Exponents of seconds, with three standard errors, and of flops."""
    with style.column(height=0.9 + 0.17 * len(table)) as (figure, (axes,)):
        places = np.arange(len(table))
        values, sems, flops = (
            np.array([row[name] for row in table], float)
            for name in ("exponent", "exponent_sem", "flop_exponent")
        )
        axes.plot(flops, places, color=style.GREY, marker="|", ms=9, mew=2, ls="", label="flops")
        axes.errorbar(values, places, xerr=3 * sems, color=style.BLUE, fmt="o", label="seconds")
        axes.set_yticks(places, [f"{row['kernel']} in {row['axis']}" for row in table])
        axes.set_ylim(len(table) - 0.5, -0.5)
        axes.set_xlabel("exponent")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure
