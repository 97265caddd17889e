"""The least stiffness that reaches a leak over M, at n = 1, 2 and M; a trained map; losses."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from figures import style
from figures.losses import Stored, draw_losses
from figures.marks import (
    Look,
    Row,
    Table,
    bars,
    best,
    column,
    dodged,
    family,
    label_ends,
    plain_log,
)
from figures.planar_map import draw_map

KNOWN = ("line", "partition", "sparsemax")
EQUAL = 0  # stands for n = M, of which there is no one n
LOOKS: dict[int, Look] = {
    1: {"color": style.VERMILION, "marker": "s"},
    2: {"color": style.BLUE, "marker": "o"},
    3: {"color": style.PURPLE, "marker": "D"},
    4: {"color": style.ORANGE, "marker": "v"},
    EQUAL: {"color": style.GREEN, "marker": "^"},
}
ENDS = ("stiffness", "stiffness_lower", "stiffness_upper")


def draw(table: Table) -> dict[str, Figure]:
    """`phase`: Λ over M; `shortfall`: of trained maps over the best known."""
    figures = {}
    if family(table, *KNOWN, "trained"):
        figures["phase"] = _phase(table)
    if _compared(table):
        figures["shortfall"] = _shortfall(_compared(table))
    return figures


def draw_arrays(stored: Stored) -> dict[str, Figure]:
    """`map`: the best trained map of the plane with the most modes; `losses`: a panel an n."""
    trained = [(row, arrays) for row, arrays in stored if row["family"] == "trained"]
    regimes = _regimes([row for row, _ in trained])
    groups = {_name(n): [pair for pair in trained if _regime(pair[0]) == n] for n in regimes}
    pictures = [pair for pair in trained if "label" in pair[1]]
    figures = draw_losses(groups)
    if pictures:
        row, arrays = min(pictures, key=lambda pair: (-pair[0]["modes"], pair[0]["stiffness"]))
        title = rf"$M = {row['modes']}$, $\Lambda = {row['stiffness']:.1f}$"
        figures["map"] = draw_map(arrays, row["stiffness"], title)
    return figures


def _regime(row: Row) -> int:
    return EQUAL if row["dimension"] == row["modes"] else int(row["dimension"])


def _regimes(rows: Table) -> list[int]:
    """Fixed n in order, then n = M."""
    return sorted({_regime(row) for row in rows}, key=lambda n: (n == EQUAL, n))


def _name(n: int) -> str:
    return "$n = M$" if n == EQUAL else f"$n = {n}$"


def _law(n: int) -> str:
    return {EQUAL: r"$\sqrt{\log M}$", 1: "$M$"}.get(n, f"$M^{{1/{n}}}$")


def _growth(n: int, modes: np.ndarray) -> np.ndarray:
    return np.sqrt(np.log(modes)) if n == EQUAL else modes ** (1 / n)


def _phase(table: Table) -> Figure:
    rows = family(table, *KNOWN, "trained")
    with style.column(height=3.3) as (figure, (axes,)):
        ends = []
        for n in _regimes(rows):
            mine, look = [row for row in rows if _regime(row) == n], LOOKS[n]
            known = family(mine, *KNOWN)
            _known(axes, known, look)
            trained = family(mine, "trained")
            x = 2 ** dodged(np.log2(column(trained, "modes")), 0.22)
            _trained(axes, x, trained, "stiffness", look)
            if known:
                _guide(axes, known, n)
            last = (known or mine)[-1]
            ends.append((last["stiffness"], f"{_name(n)}, ∝ {_law(n)}", look["color"]))
        _floor(axes, rows)
        axes.set(xscale="log", yscale="log")
        _modes_axis(axes, rows)
        low, high = axes.get_ylim()
        wider = max(4 / (high / low), 1) ** 0.5
        axes.set_ylim(low / wider, high * wider)
        plain_log(axes.yaxis)
        label_ends(axes, ends, gap=1.8)  # roots and exponents are tall
        leak = ", ".join(f"{x:g}" for x in sorted({row["leak"] for row in rows}))
        axes.set_ylabel(rf"least $\Lambda$ with leak {leak}")
        figure.legend(handles=_handles(rows), loc="outside upper center", ncols=3)
    return figure


def _known(axes: Axes, rows: Table, look: Look) -> None:
    """Exact where there is no interval; partitions are as good as the search for them."""
    value, *ends = (column(rows, name) for name in ENDS)
    options: Look = {"lw": 1.0, "marker": "_", "markersize": 6, "elinewidth": 0.7}
    bars(axes, column(rows, "modes"), value, *ends, color=look["color"], **options)


def _trained(axes: Axes, x: np.ndarray, rows: Table, name: str, look: Look) -> None:
    """The best restart at each M and n is filled."""
    value, lower, upper = (column(rows, f"{name}{end}") for end in ("", "_lower", "_upper"))
    chosen = best(rows, name, "modes", "dimension")
    filled = np.array([row in chosen for row in rows], dtype=bool)
    for at, face, alpha in ((~filled, "none", 0.6), (filled, look["color"], 1.0)):
        options: Look = {"ls": "", "markersize": 3, "elinewidth": 0.7, "capsize": 1.2}
        options |= look | {"mfc": face, "alpha": alpha}
        bars(axes, x[at], value[at], lower[at], upper[at], **options)


def _guide(axes: Axes, rows: Table, n: int) -> None:
    """The law of large M through the last point."""
    modes = column(rows, "modes")
    height = rows[-1]["stiffness"] * _growth(n, modes) / _growth(n, modes[-1])
    axes.plot(modes, height, color=LOOKS[n]["color"], lw=0.8, ls=":")


def _floor(axes: Axes, rows: Table) -> None:
    floors = sorted({row["modes"]: row for row in rows}.values(), key=lambda row: row["modes"])
    height = column(floors, "stiffness_floor")
    axes.plot(column(floors, "modes"), height, color=style.BLACK, lw=0.9, ls="--", marker=".", ms=2)


def _handles(rows: Table) -> list[Line2D]:
    ink: Look = {"color": style.BLACK}
    handles = [
        Line2D([], [], lw=1.0, label="best known", **ink),
        Line2D([], [], ls=":", lw=0.8, label=r"growth, $M \to \infty$", **ink),
        Line2D([], [], ls="--", lw=0.9, label="floor, any $n$", **ink),
    ]
    if family(rows, "trained"):
        look: Look = {"ls": "", "marker": "o", "markersize": 3}
        handles.append(Line2D([], [], label="trained, best", **look, **ink))
    if any(row["restart"] for row in rows):
        handles.append(Line2D([], [], label="other restarts", mfc="none", **look, **ink))
    return handles


def _modes_axis(axes: Axes, rows: Table) -> None:
    modes = sorted({row["modes"] for row in rows})
    axes.set_xlim(modes[0] / 1.3, modes[-1] * 1.3)
    axes.set_xticks(modes, labels=map(str, modes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("number of modes $M$")


def _compared(table: Table) -> Table:
    """Trained rows with Λ over the best known Λ there, whose interval counts against them."""
    known = {(row["modes"], row["dimension"]): row for row in family(table, *KNOWN)}
    found = []
    for row in family(table, "trained"):
        other = known.get((row["modes"], row["dimension"]))
        if other is not None:
            ratios: dict[str, Any] = {
                "ratio": row["stiffness"] / other["stiffness"],
                "ratio_lower": row["stiffness_lower"] / other["stiffness_upper"],
                "ratio_upper": row["stiffness_upper"] / other["stiffness_lower"],
            }
            found.append(row | ratios)
    return found


def _shortfall(rows: Table) -> Figure:
    """Dimensions and restarts side by side at every M, the M one after the other."""
    regimes, modes = _regimes(rows), sorted({row["modes"] for row in rows})
    rows = sorted(rows, key=lambda row: (row["modes"], regimes.index(_regime(row))))
    places = dodged(np.array([modes.index(row["modes"]) for row in rows]), 0.7)
    with style.column(height=2.6) as (figure, (axes,)):
        axes.axhline(1, color=style.BLACK, lw=0.6)
        for n in regimes:
            at = [k for k, row in enumerate(rows) if _regime(row) == n]
            _trained(axes, places[at], [rows[k] for k in at], "ratio", LOOKS[n])
            axes.plot([], [], ls="", label=_name(n), markersize=3, **LOOKS[n])
        axes.set_xlim(-0.6, len(modes) - 0.4)
        axes.set_xticks(range(len(modes)), labels=map(str, modes))
        axes.set_xlabel("number of modes $M$")
        axes.set_ylabel(r"trained $\Lambda$ / best known $\Lambda$")
        note = "filled: best restart" if any(row["restart"] for row in rows) else None
        axes.legend(loc="upper left", title=note)
    return figure
