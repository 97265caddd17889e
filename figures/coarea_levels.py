"""Coarea band by band of levels, and in all: automatic differentiation against line crossings."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import style
from figures.losses import Stored
from figures.marks import MARKERS, SIGMAS, Look, Row, Table, bars, column, ends, plain_log

FAMILIES = {"fourier": "random cosines", "softmax": "softmax", "trained": "trained map"}
TINTS = {"fourier": style.GREEN, "softmax": style.BLUE, "trained": style.VERMILION}


def draw(table: Table) -> dict[str, Figure]:
    """The `ratio` of the two sides for every function."""
    return {"ratio": _ratio(table)} if table else {}


def draw_arrays(stored: Stored) -> dict[str, Figure]:
    """`levels`: both sides of every band, a panel a family, at the largest n it has."""
    found: dict[str, tuple[Row, dict[str, np.ndarray]]] = {}
    for row, arrays in stored:
        name = row["family"]
        if "edges" in arrays and (
            name not in found or row["dimension"] > found[name][0]["dimension"]
        ):
            found[name] = (row, arrays)
    return {"levels": _levels(found)} if found else {}


def _levels(found: dict[str, tuple[Row, dict[str, Any]]]) -> Figure:
    chosen = [name for name in FAMILIES if name in found]
    with mpl.rc_context(style.RULES):
        figure = Figure(figsize=(style.COLUMN, 0.7 + 1.4 * len(chosen)), layout="constrained")
        panels = figure.subplots(len(chosen), 1, squeeze=False)[:, 0]
        for axes, name in zip(panels, chosen, strict=True):
            row, arrays = found[name]
            edges = np.asarray(arrays["edges"], float)
            _band(axes, edges, arrays, "variation", TINTS[name])
            _band(axes, edges, arrays, "integral", style.BLACK)
            axes.set_ylim(0, None)
            axes.set_ylabel(r"$P(\{u > t\})$")
            axes.set_title(f"{FAMILIES[name]}, $n = {row['dimension']}$", pad=3)
        handles, labels = panels[0].get_legend_handles_labels()
        handles[0] = Line2D([], [], color=style.GREY, lw=1.0)  # its colour is the panel's
        figure.legend(handles, labels, loc="outside upper center", ncols=2)
        panels[-1].set_xlabel("level $t$ (units of $u$)")
    return figure


def _band(axes: Axes, edges: np.ndarray, arrays: dict[str, Any], side: str, colour: str) -> None:
    """The mean of P({u > t}) over every band; the derivative as steps, the crossings as points."""
    width, middle = np.diff(edges), (edges[1:] + edges[:-1]) / 2
    parts = (np.asarray(arrays[f"{side}_{part}"], float) for part in ("value", "sem", "bias"))
    value, sem, bias = (part / width for part in parts)
    reach = SIGMAS * sem + bias
    if side == "variation":
        label = r"$E[\Vert\nabla u\Vert;\ u \in \mathrm{band}]$, autodiff"
        axes.stairs(value, edges, color=colour, lw=1.0, label=label)
        axes.stairs(
            value + reach, edges, baseline=value - reach, fill=True, color=colour, alpha=0.3
        )
        return
    label = "line crossings"
    look: Look = {"color": colour, "ls": "", "marker": "o", "markersize": 2, "label": label}
    bars(axes, middle, value, value - reach, value + reach, elinewidth=0.7, capsize=1.2, **look)


def _ratio(table: Table) -> Figure:
    with style.column(height=2.4) as (figure, (axes,)):
        present = [name for name in FAMILIES if any(row["family"] == name for row in table)]
        for k, name in enumerate(present):
            rows = sorted(
                (row for row in table if row["family"] == name), key=lambda r: r["dimension"]
            )
            x = column(rows, "dimension") * 1.08 ** (k - (len(present) - 1) / 2)
            look: Look = {"color": TINTS[name], "marker": MARKERS[k], "ls": "", "markersize": 3}
            label = FAMILIES[name]
            bars(axes, x, *ends(rows, "ratio"), elinewidth=0.8, label=label, **look)
        axes.axhline(1, color=style.BLACK, lw=0.6)
        axes.set_xscale("log", base=2)
        axes.set_xlim(min(row["dimension"] for row in table) / 1.5, None)
        axes.set_xlim(None, max(row["dimension"] for row in table) * 1.5)
        plain_log(axes.xaxis)
        axes.set_xticks(sorted({row["dimension"] for row in table}))
        axes.set_xlabel("dimension $n$")
        axes.set_ylabel(r"$\int P(\{u > t\})\,dt\,/\,E\Vert\nabla u\Vert$")
        figure.legend(loc="outside upper center", ncols=3)
    return figure
