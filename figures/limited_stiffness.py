"""The accuracy–depth–stiffness surface: perplexity and a smooth control over K, and over Λ."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from figures import style
from figures.marks import Look, Row, Table, bars, column, ends, looks, plain_log

Ends = tuple[np.ndarray, np.ndarray, np.ndarray]

SMALL: Look = {"lw": 0.9, "markersize": 3}
LEAST = 1e-4  # of Fréchet distances and shares on a logarithmic axis
EXACT: Look = {"color": style.BLACK, "marker": "s", "ls": "--"}
STUDENT: Look = {"color": style.VERMILION, "marker": "D", "ls": ":"}


def draw(table: Table) -> dict[str, Figure]:
    """`floors`, `depth`, `stiffness` and `students`, as far as there are such rows."""
    trained = _sorted(table, "lipschitz", "stiffness")
    floors = _sorted(table, "floor", "floor")
    students = _sorted(table, "student", "stiffness")
    figures = {}
    if floors:
        figures["floors"] = _depth(floors, "floor", "$s_0$")
    if trained:
        exact = [row for row in floors if not row["floor"]]
        figures["depth"] = _depth(trained + exact, "stiffness", r"$\Lambda$")
        figures["stiffness"] = _stiffness(trained, floors, students)
    if students:
        figures["students"] = _students(students)
    return figures


def _sorted(table: Table, family: str, name: str) -> Table:
    return sorted((row for row in table if row["family"] == family), key=lambda row: row[name])


def _depths(row: Row) -> list[int]:
    return [int(word) for word in row["depths"].split()[1:]]


def _over(rows: Table, depth: int, what: str) -> Ends:
    """A column of ODE samples in some number of steps; perplexities over the truth."""
    unit = column(rows, "truth") if what == "perplexity" else 1.0
    value, lower, upper = (end / unit for end in ends(rows, f"ode_{depth}_{what}"))
    least = LEAST if what == "frechet" else 0.1
    return np.maximum(value, least), np.maximum(lower, least), np.maximum(upper, least)


def _along(row: Row, what: str) -> tuple[np.ndarray, Ends]:
    """K, and the same column of one row over it."""
    depths = _depths(row)
    parts = [np.concatenate(p) for p in zip(*(_over([row], k, what) for k in depths), strict=True)]
    return np.array(depths, dtype=float), (parts[0], parts[1], parts[2])


def _curves(axes: Axes, rows: Table, name: str, what: str) -> None:
    tints = _tints(rows, name)
    for row in rows:
        x, found = _along(row, what)
        look = tints.get(row[name], EXACT)
        bars(axes, x, *found, **SMALL | look)


def _depth(rows: Table, name: str, letter: str) -> Figure:
    """Over K: perplexity, and the Fréchet distance of the same latents."""
    with style.column(rows=2, height=4.0) as (figure, axes):
        for one, what in zip(axes, ("perplexity", "frechet"), strict=True):
            _curves(one, rows, name, what)
        _labels(*axes)
        _legend(figure, rows, name, letter)
        _ticks(axes[1], {float(k) for row in rows for k in _depths(row)})
        axes[1].set_xlabel("steps K of the ODE")
    return figure


def _labels(top: Axes, bottom: Axes) -> None:
    top.axhline(1, color=style.BLACK, lw=0.6)
    top.set(yscale="log", ylabel="perplexity\nover the truth")
    bottom.set(yscale="log", ylabel="Fréchet distance\nof pairs, relative")


def _legend(figure: Figure, rows: Table, name: str, letter: str) -> None:
    handles = [
        Line2D([], [], lw=0.9, label=f"{value:g}", **look)
        for value, look in _tints(rows, name).items()
    ]
    if any(row["family"] == "floor" and not row["floor"] for row in rows):
        handles.append(Line2D([], [], lw=0.9, label="exact", **EXACT))
    place: Look = {"loc": "outside upper center", "ncols": 4, "title": letter}
    figure.legend(handles=handles, **place)


def _tints(rows: Table, name: str) -> dict[Any, Look]:
    """Looks by Λ or s₀; 0 is the exact denoiser's."""
    return looks(row[name] for row in rows if row[name])


def _ticks(axes: Axes, places: Iterable[float]) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sorted(places)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())


def _stiffness(trained: Table, floors: Table, students: Table) -> Figure:
    """Over Λ: a curve for every K; students of one step; the exact denoiser at the right edge."""
    depths = sorted({k for row in trained for k in _depths(row)})
    tints = looks(depths)
    exact = [row for row in floors if not row["floor"]]
    with style.column(rows=2, height=4.4) as (figure, axes):
        for one, what in zip(axes, ("perplexity", "frechet"), strict=True):
            for depth in depths:
                mine = [row for row in trained if depth in _depths(row)]
                look = SMALL | tints[depth]
                bars(one, column(mine, "stiffness"), *_over(mine, depth, what), **look)
                for row in exact:
                    level = float(_over([row], depth, what)[0][0])
                    one.plot(
                        1.03,
                        level,
                        transform=one.get_yaxis_transform(),
                        clip_on=False,
                        ls="",
                        markersize=3.5,
                        **tints[depth],
                    )
            if students:
                own = _over(students, 1, what)
                bars(one, column(students, "stiffness"), *own, **SMALL | STUDENT)
        _labels(*axes)
        _ticks(axes[-1], column(trained + students, "stiffness"))
        axes[-1].set_xlabel(r"certified stiffness $\Lambda$ (right edge: exact denoiser)")
        handles = [Line2D([], [], lw=0.9, label=f"K = {k}", **tints[k]) for k in depths]
        if students:
            handles.append(Line2D([], [], lw=0.9, label="student, K = 1", **STUDENT))
        figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


def _students(rows: Table) -> Figure:
    """Tokens other than the teacher's, laws off the vertices, and the line of 1/Λ."""
    with style.column(height=2.6) as (figure, (axes,)):
        x = column(rows, "stiffness")
        value, lower, upper = ends(rows, "agreement")
        look = SMALL | STUDENT
        bars(axes, x, 1 - value, 1 - upper, 1 - lower, label="not the teacher's token", **look)
        leak = tuple(np.maximum(end, LEAST) for end in ends(rows, "leak"))
        own = SMALL | {"color": style.BLUE, "marker": "o"}
        bars(axes, x, *leak, label="law off every vertex (leak)", **own)
        line = leak[0][-1] * x[-1] / x
        seen = line <= 1.5
        if seen.sum() > 1:  # else no share falls that far
            axes.plot(x[seen], line[seen], color=style.GREY, lw=0.8, ls="--", label=r"$1/\Lambda$")
        axes.set(yscale="log", ylabel="share of positions", ylim=(None, 1.3))
        _ticks(axes, x)
        axes.set_xlabel(r"certified stiffness $\Lambda$ of a one-step student")
        plain_log(axes.yaxis)
        axes.legend()
    return figure
