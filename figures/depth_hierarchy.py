"""B levels instead of one step: a lower peak at a fixed leak of a step, and what it costs."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import style
from figures.marks import SIGMAS, Look, Table, bars, column, dodged

FAMILIES = {"block": ("o", "blocks"), "nested": ("^", "nested"), "trained": ("D", "trained")}
PEAK, PRICE = style.BLUE, style.VERMILION
SPREAD = 0.4  # in B, over which hierarchies of the same B are set side by side


def draw(table: Table) -> dict[str, Figure]:
    """`tradeoff`: peak and price over B; `leaks`: of a step and of all of them."""
    rows = [row for row in table if row["family"] in FAMILIES]
    return {"tradeoff": _tradeoff(rows), "leaks": _leaks(rows)} if rows else {}


def _tradeoff(rows: Table) -> Figure:
    """A panel an M, the largest above."""
    sizes = sorted({row["modes"] for row in rows}, reverse=True)
    with style.column(rows=len(sizes), height=1.2 + 1.6 * len(sizes)) as (figure, panels):
        for axes, modes in zip(panels, sizes, strict=True):
            part = [row for row in rows if row["modes"] == modes]
            _lines(axes, part)
            _measured(axes, part)
            axes.set_title(f"$M = {modes}$", pad=3)
        _levels_axis(panels[-1], rows)
        figure.supylabel(r"ratio of stiffnesses $\Lambda$ (dimensionless)", fontsize=8)
        figure.legend(handles=_handles(rows), loc="outside upper center", ncols=2)
    return figure


def _lines(axes: Axes, rows: Table) -> None:
    """Exact curves and their limits as ε → 0, both 1 at B = 1 by definition, √B and 1."""
    deepest = max(row["depth"] for row in rows)
    depth = np.linspace(1, max(deepest, 2), 100)
    axes.plot(depth, np.sqrt(depth), color=style.GREY, lw=0.9)
    axes.axhline(1, color=style.BLACK, lw=0.6)
    once = {row["depth"]: row for row in rows if row["depth"] > 1}  # the same for every family
    mine = [once[depth] for depth in sorted(once)]
    for side, color in (("peak_ratio", PEAK), ("price", PRICE)):
        for end, dashes in (("exact", "-"), ("limit", ":")):
            height = np.append(1, column(mine, f"{side}_{end}"))
            axes.plot(np.append(1, column(mine, "depth")), height, color=color, ls=dashes, lw=0.9)


def _measured(axes: Axes, rows: Table) -> None:
    """Λ of one step over Λ of a level at the same leak, and the inverse at a fixed total leak."""
    rows = sorted(rows, key=lambda row: list(FAMILIES).index(row["family"]))
    places = dodged(column(rows, "depth"), SPREAD)
    once = column(rows, "once_exact")
    step, careful = (
        [column(rows, f"{name}_stiffness{end}") for end in ("", "_lower", "_upper")]
        for name in ("step", "careful")
    )
    peak = (once / step[0], once / step[2], once / step[1])
    price = tuple(part / once for part in careful)
    for color, parts in ((PEAK, peak), (PRICE, price)):
        for at, look in _by_family(rows):
            bars(axes, places[at], *(part[at] for part in parts), color=color, **look)


def _by_family(rows: Table) -> list[tuple[np.ndarray, Look]]:
    """Where each family's rows are, and its marker; trained ones are open."""
    found = []
    for name, (marker, _) in FAMILIES.items():
        at = np.array([row["family"] == name for row in rows], dtype=bool)
        look: Look = {"ls": "", "marker": marker, "markersize": 3.5, "elinewidth": 0.7}
        found.append((at, look | {"capsize": 1.2} | _face(name)))
    return found


def _face(name: str) -> Look:
    return {"mfc": "white"} if name == "trained" else {}


def _levels_axis(axes: Axes, rows: Table) -> None:
    deepest = max(row["depth"] for row in rows)
    axes.set_xlim(0.7, max(deepest, 2) + 0.3)
    axes.set_xticks(range(1, max(deepest, 2) + 1))
    axes.set_xlabel("number of levels $B$, $M = m^B$")


def _handles(rows: Table) -> list[Line2D]:
    ink: Look = {"color": style.BLACK}
    return [
        Line2D([], [], color=PEAK, lw=3, label="peak: one step / a level, same leak of a step"),
        Line2D([], [], color=PRICE, lw=3, label="price: a level / one step, same total leak"),
        Line2D([], [], color=style.GREY, lw=0.9, label=r"$\sqrt{B}$"),
        Line2D([], [], lw=0.9, label="exact", **ink),
        Line2D([], [], lw=0.9, ls=":", label=r"limit as $\varepsilon \to 0$", **ink),
        *_family_handles(rows),
    ]


def _family_handles(rows: Table) -> list[Line2D]:
    there = {row["family"] for row in rows}
    look: Look = {"color": style.BLACK, "ls": "", "markersize": 3.5}
    return [
        Line2D([], [], marker=marker, label=label, **look | _face(name))
        for name, (marker, label) in FAMILIES.items()
        if name in there
    ]


def _leaks(rows: Table) -> Figure:
    """Λ of a level was measured, so what it leaks holds the interval of that Λ too."""
    rows = sorted(rows, key=lambda row: (row["modes"], list(FAMILIES).index(row["family"])))
    places = dodged(column(rows, "depth"), SPREAD)
    step, low, high = (column(rows, f"step_stiffness{end}") for end in ("", "_lower", "_upper"))
    with style.column(height=3.0) as (figure, (axes,)):
        _levels_axis(axes, rows)
        depth = np.linspace(1, axes.get_xlim()[1] - 0.3, 100)
        for leak in sorted({row["leak"] for row in rows}):
            axes.plot(depth, np.full_like(depth, leak), color=style.GREY, lw=0.9)
            axes.plot(depth, -np.expm1(depth * np.log1p(-leak)), color=style.BLACK, lw=0.9)
        for name, color in (("step_leak", PEAK), ("total_leak", PRICE)):
            value, reach = column(rows, f"{name}_value"), SIGMAS * column(rows, f"{name}_sem")
            lower, upper = (value - reach) * low / step, (value + reach) * high / step
            for at, look in _by_family(rows):
                bars(axes, places[at], value[at], lower[at], upper[at], color=color, **look)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("leak (probability)")
        handles = _leak_handles(rows)
        figure.legend(handles=handles, loc="outside upper center", ncols=4, columnspacing=1.0)
    return figure


def _leak_handles(rows: Table) -> list[Line2D]:
    return [
        Line2D([], [], color=style.BLACK, lw=0.9, label=r"$1 - (1 - \varepsilon)^B$"),
        Line2D([], [], color=style.GREY, lw=0.9, label=r"$\varepsilon$ of a step"),
        Line2D([], [], color=PRICE, lw=3, label="all levels"),
        Line2D([], [], color=PEAK, lw=3, label="leakiest level"),
        *_family_handles(rows),
    ]
