"""How little boundary M equal cells have in R^n: the profile, its limits and what lies between."""

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, PercentFormatter

from figures import style
from figures.marks import Look, Table, column
from figures.planar_partition import draw_planar

FIXED: dict[int, Look] = {
    1: {"color": style.VERMILION, "marker": "s"},
    2: {"color": style.BLUE, "marker": "o"},
    3: {"color": style.GREEN, "marker": "^"},
    4: {"color": style.PURPLE, "marker": "D"},
}
MARKERS = "soDvP<X>phd*^"  # ^ last: in the collapse it is the orthants
NEAR = 6  # from this dimension on curves must fit into the enlarged part of the profile
COLLAPSED = 8  # the least dimension of the collapse: below it the shape of the cells rules
FULL = 4.0  # any D above has one colour: n = 1, where D ~ M, would take the scale for itself


def draw(table: Table) -> dict[str, Figure]:
    """The profile, its limits of fixed and of large n, and D over the floor between them."""
    return {
        "profile": _profile(table),
        "fixed_dimension": _fixed_dimension(table),
        "large_dimension": _large_dimension(table),
        "phase_diagram": _phase_diagram(table),
        "collapse": _collapse(table),
    }


def draw_arrays(stored: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Figure]:
    """The best planar partitions, from the arrays that a run leaves with its cells."""
    plane = {r["modes"]: a for r, a in stored if r["family"] == "best" and r["dimension"] == 2}
    shown = [modes for modes in sorted(plane) if modes <= 256][-4:]
    parts = {modes: (plane[modes]["sites"], plane[modes]["offsets"]) for modes in shown}
    return {"planar": draw_planar(parts)} if parts else {}


def _family(table: Table, family: str, dimension: int | None = None) -> Table:
    """The family's rows, of one dimension or of all, by dimension and M."""
    found = [row for row in table if row["family"] == family]
    found = [row for row in found if dimension in (None, row["dimension"])]
    return sorted(found, key=lambda row: (row["dimension"], row["modes"]))


def _dimensions(rows: Table) -> list[int]:
    return sorted({row["dimension"] for row in rows})


def _looks(rows: Table) -> dict[int, Look]:
    """Dark to light as n grows; short of viridis' yellow, which is lost on white."""
    found = _dimensions(rows)
    shades = colormaps["viridis"](np.linspace(0, 0.92, len(found)))
    return {
        n: {"color": shade, "marker": MARKERS[k % len(MARKERS)]}
        for k, (n, shade) in enumerate(zip(found, shades, strict=True))
    }


def _points(
    axes: Axes,
    x: np.ndarray,
    rows: Table,
    name: str,
    over: np.ndarray | float = 1.0,
    minus: float = 0.0,
    **look: Any,
) -> None:
    """The estimates in a column, divided and shifted, with their intervals; no rows, no points."""
    if not rows:
        return
    value, lower, upper = (
        column(rows, f"{name}_{end}") / over - minus for end in ("value", "lower", "upper")
    )
    # An exact value may lie an ulp outside its interval, and matplotlib refuses negative bars.
    ends = np.maximum([value - lower, upper - value], 0)
    axes.errorbar(x, value, yerr=ends, **look)


def _legend(axes: Axes, *extra: Line2D, **options: Any) -> None:
    handles = [*axes.get_legend_handles_labels()[0], *extra]
    if handles:
        axes.legend(handles=handles, **options)


def _profile(table: Table) -> Figure:
    """All of it above; below, enlarged, what lies near the floor, where most of the curves are."""
    with style.column(rows=2, height=5.2, ratios=(1.0, 1.1)) as (figure, (top, bottom)):
        for axes in (top, bottom):
            for n, look in _looks(_family(table, "best")).items():
                rows = _family(table, "best", n)
                root = column(rows, "root_log_modes")
                options: Look = {"lw": 0.7, "markersize": 2.8, "capsize": 1.5, **look}
                options["label"] = f"n = {n}"
                _points(axes, column(rows, "modes"), rows, "perimeter", over=root, **options)
            _floor_lines(axes, table, "modes", power=1)
        top.set_yscale("log")
        bottom.set_xscale("log", base=2)
        near = [row for row in _family(table, "best") if row["dimension"] >= NEAR]
        height = column(near, "perimeter_value") / column(near, "root_log_modes")
        bottom.set_ylim(0.4, 1.08 * float(np.nanmax(np.append(height, 0.9))))
        bottom.set_xlabel("number of cells $M$")
        figure.supylabel(r"perimeter $H = P\,/\,\sqrt{\log M}$", fontsize=8)
        if table:
            entries = top.get_legend_handles_labels()
            figure.legend(*entries, loc="outside upper center", ncols=4, columnspacing=1.0)
    return figure


def _floor_lines(axes: Axes, table: Table, across: str, power: int) -> None:
    """Both floors over √log M to a power; they do not depend on n, so all rows serve."""
    rows = sorted({row["modes"]: row for row in table}.values(), key=lambda row: row["modes"])
    if not rows:  # a logarithmic axis of no points has no ticks
        return
    for name, color, dashes, label in (
        ("interface_floor", style.BLACK, "-", "sharp floor $P_S$"),
        ("elementary_floor", style.GREY, "--", "elementary floor"),
    ):
        height = column(rows, name) / column(rows, "root_log_modes") ** power
        axes.plot(column(rows, across), height, color=color, ls=dashes, lw=1.0, label=label)


def _fixed_dimension(table: Table) -> Figure:
    with style.column(rows=2, height=4.4, ratios=(1.5, 1.0)) as (figure, (top, bottom)):
        for n, look in FIXED.items():
            rows = _family(table, "best", n)
            modes = column(rows, "modes")
            for axes, over in ((top, np.ones_like(modes)), (bottom, modes ** (1 / n))):
                _limits(axes, rows, over, look["color"])
                options: Look = {"ls": "", "markersize": 3, "label": f"n = {n}", **look}
                _points(axes, modes, rows, "perimeter", over=over, **options)
        top.set_yscale("log")
        top.set_ylabel("perimeter $P$")
        bottom.set_xscale("log", base=2)
        bottom.set_ylim(bottom=0)
        bottom.set_ylabel("$P\\,/\\,M^{1/n}$")
        bottom.set_xlabel("number of cells $M$")
        lines = [
            Line2D([], [], color=style.GREY, lw=0.9, label="$c_n M^{1/n}$"),
            Line2D(
                [], [], color=style.GREY, lw=0.7, ls=":", label="ball, a floor as $M \\to \\infty$"
            ),
        ]
        _legend(top, *lines, loc="upper left")
    return figure


def _limits(axes: Axes, rows: Table, over: np.ndarray, color: str) -> None:
    """The large-M law through the points, and the floor under it where there is one."""
    for name, width, dashes in (("fixed_n", 0.9, "-"), ("ball_floor", 0.7, ":")):
        if rows:
            height = column(rows, name) / over
            axes.plot(column(rows, "modes"), height, color=color, lw=width, ls=dashes, alpha=0.8)


def _large_dimension(table: Table) -> Figure:
    """The largest n there is: 256 in the paper preset."""
    n = max(_dimensions(_family(table, "best")), default=None)
    rows = _family(table, "best", n)
    x, edge = column(rows, "root_log_modes"), np.sqrt(np.log((n or 1) + 1))
    with style.column(rows=2, height=3.9, ratios=(1.7, 1.0)) as (figure, (top, bottom)):
        look: Look = {"color": style.BLUE, "marker": "o", "ls": "", "markersize": 3}
        _floor_lines(top, table, "root_log_modes", power=0)
        _points(top, x, rows, "perimeter", label=f"best found, n = {n}", **look)
        _points(bottom, x, rows, "penalty", minus=1.0, **look)
        bottom.axhline(0, color=style.BLACK, lw=0.8)
        # Up to M = n + 1 the simplicial cluster exists and is the optimum.
        if rows and x[0] < edge < x[-1]:
            for axes in (top, bottom):
                axes.axvline(edge, color=style.GREY, lw=0.6, ls=":")
            text: Look = {"xytext": (3, 3), "textcoords": "offset points", "fontsize": 7}
            top.annotate("$M = n + 1$", (edge, 0), xycoords=("data", "axes fraction"), **text)
        top.set_ylabel("perimeter $P$")
        bottom.set_ylabel("$D - 1$")
        bottom.yaxis.set_major_formatter(PercentFormatter(1.0))
        bottom.set_xlabel(r"$\sqrt{\log M}$")
        _legend(top, loc="upper left")
    return figure


def _phase_diagram(table: Table) -> Figure:
    rows = _family(table, "best")
    with style.column(height=3.4) as (figure, (axes,)):
        norm, shade = LogNorm(1, FULL), colormaps["YlGnBu"]
        corners = _tiles(rows)
        penalty = column(rows, "penalty_value")
        tiles = PolyCollection(corners, cmap=shade, norm=norm, edgecolors="white", lw=0.3)
        tiles.set_array(penalty)
        axes.add_collection(tiles, autolim=False)
        for row, value in zip(rows, penalty, strict=True):
            dark = np.dot(shade(norm(value))[:3], (0.299, 0.587, 0.114)) < 0.5
            color = "white" if dark else "black"
            place = (row["modes"], row["dimension"])
            text: Look = {"ha": "center", "va": "center_baseline", "fontsize": 5, "color": color}
            axes.annotate(_short(value), place, **text)
        _map_axes(axes, rows, np.concatenate([*corners, [(1, 1), (4, 4)]]))
        bar = figure.colorbar(tiles, ax=axes, extend="max", pad=0.02, aspect=30)
        bar.set_label("$D(M, n) = P\\,/\\,P_S$")
        bar.set_ticks([1, 1.2, 1.5, 2, 3, 4], labels=["1", "1.2", "1.5", "2", "3", "4"])
        bar.ax.minorticks_off()
    return figure


def _map_axes(axes: Axes, rows: Table, corners: np.ndarray) -> None:
    """M across, n up, both logarithmic, and the line on and above which the floor is reached."""
    for scale in (axes.set_xscale, axes.set_yscale):
        scale("log", base=2)
    axes.set_xlim(corners[:, 0].min(), corners[:, 0].max())
    axes.set_ylim(corners[:, 1].min(), corners[:, 1].max())
    dimensions = np.geomspace(*axes.get_ylim(), 200)
    axes.plot(
        1 + dimensions,
        dimensions,
        color=style.VERMILION,
        lw=1.0,
        label="$n = M - 1$: from here on the least $D$ is 1",
    )
    axes.set_yticks(_dimensions(rows), labels=[str(n) for n in _dimensions(rows)])
    axes.minorticks_off()
    axes.xaxis.set_major_locator(LogLocator(base=4))
    axes.set(xlabel="number of cells $M$", ylabel="dimension $n$")
    axes.figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center")


def _tiles(rows: Table) -> list[np.ndarray]:
    """A rectangle a row: half way to the neighbours in log n and log M, at most half a doubling."""
    heights, corners = _edges(_dimensions(rows)), []
    for row in rows:
        line = {other["modes"] for other in rows if other["dimension"] == row["dimension"]}
        left, right = _edges(sorted(line))[row["modes"]]
        low, high = heights[row["dimension"]]
        corners.append(np.array([(left, low), (right, low), (right, high), (left, high)]))
    return corners


def _edges(values: list[int]) -> dict[int, tuple[float, float]]:
    logs = np.log2(values)
    half = np.minimum(np.diff(logs) / 2, 0.5)
    lower, upper = logs - np.append(0.5, half), logs + np.append(half, 0.5)
    return {v: (2**a, 2**b) for v, a, b in zip(values, lower, upper, strict=True)}


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def _collapse(table: Table) -> Figure:
    with style.column(height=3.2) as (figure, (axes,)):
        rows = [row for row in _family(table, "best") if row["dimension"] >= COLLAPSED]
        orthants = _family(table, "orthants")
        rates = [row["rate"] for row in [*rows, *orthants]]
        _band(axes, 1.05 * max(rates, default=1.0))
        for n, look in _looks(rows).items():
            mine = [row for row in rows if row["dimension"] == n]
            options: Look = {"ls": "", "markersize": 3, "elinewidth": 0.8, **look}
            options["label"] = f"n = {n}"
            _points(axes, column(mine, "rate"), mine, "penalty", **options)
        options = {"color": style.VERMILION, "marker": "^", "ls": "", "label": "$2^n$ orthants"}
        _points(axes, column(orthants, "rate"), orthants, "penalty", **options)
        for row in orthants:
            _name_orthants(axes, row)
        axes.set_xlim(left=0)
        axes.set_xlabel(r"rate $R = \log M\,/\,n$")
        axes.set_ylabel("$D = P\\,/\\,P_S$")
        _legend(axes, loc="upper left", ncols=2, columnspacing=1.0)
    return figure


def _name_orthants(axes: Axes, row: dict[str, Any]) -> None:
    place = (row["rate"], row["penalty_value"])
    text: Look = {"fontsize": 6.5, "va": "center", "color": style.VERMILION}
    text |= {"xytext": (4, 0), "textcoords": "offset points"}
    axes.annotate(f"n = {row['dimension']}", place, **text)


def _band(axes: Axes, end: float) -> None:
    """√((e^{2R}−1)/(4R)), at least 1, and √2 times it: where R alone would place D."""
    rate = np.linspace(1e-4, end, 300)
    upper = np.sqrt(np.expm1(2 * rate) / (2 * rate))
    lower = np.maximum(1, upper / np.sqrt(2))
    axes.fill_between(rate, lower, upper, color=style.SKY, alpha=0.3, lw=0, label="band of $R$")
    for bound in (lower, upper):
        axes.plot(rate, bound, color=style.SKY, lw=0.8)
