"""The plane of DABI and CCI with every generator on it, and the commit ablation (figure 8)."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from figures import style
from figures.marks import MARKERS, Look, Table, column, ends, label_ends, plain_log

HUES = {
    "pass": style.BLACK,
    "factor": style.GREY,
    "constant": style.SKY,
    "commit": style.VERMILION,
    "soft": style.ORANGE,
    "denoise": style.BLUE,
    "context": style.PURPLE,
    "ode": style.GREEN,
    "churn": "#A6761D",
}
WAYS = {"isotropic": "isotropic", "normal": "along the facet's normal"}
FULL, EMPTY = 0.9, 0.1  # retention from which a marker is filled, and up to which it is hollow
MOST = 1e4  # of DABI: what is seen of intervals that are nearly open


def draw(table: Table) -> dict[str, Figure]:
    """`plane` for every state's noise, and `ablation` for every language, as far as it has rows."""
    figures = {}
    made = [row for row in table if row["family"] == "generator"]
    for noise in sorted({row["noise"] for row in made}):
        figures[f"plane-{noise:g}"] = _plane([row for row in made if row["noise"] == noise])
    lost = [row for row in table if row["family"] == "ablation"]
    for name in dict.fromkeys(row["readout"] for row in lost):
        stem = name.replace(" ", "-")
        figures[f"ablation-{stem}"] = _ablation([row for row in lost if row["readout"] == name])
    return figures


def _plane(rows: Table) -> Figure:
    """CCI over DABI, isotropic above and normal below; a colour a carrier, a marker a readout."""
    names = list(dict.fromkeys((row["readout"], row["decoder"]) for row in rows))
    marker = dict(zip(names, MARKERS, strict=False))
    with style.column(rows=2, height=6.0) as (figure, panels):
        figure.set_layout_engine(ConstrainedLayoutEngine(rect=(0, 0, 0.8, 1)))
        for axes, (way, said) in zip(panels, WAYS.items(), strict=True):
            for row in rows:
                _point(axes, row, way, marker[row["readout"], row["decoder"]])
            axes.set(xscale="log", ylabel=f"CCI, {said}")
            axes.axhline(0, color=style.BLACK, lw=0.4, ls=":")
            axes.axhline(1, color=style.BLACK, lw=0.4, ls=":")
            low, high = axes.get_ylim()
            axes.set_ylim(low, high + 0.2 * (high - low))  # room for labels
        panels[1].xaxis.set_major_locator(LogLocator(numticks=9))
        low, high = panels[1].get_xlim()
        panels[1].set_xlim(max(low, 0.3), min(high, MOST))
        panels[1].set_xlabel("DABI: normal over isotropic flips")
        figure.legend(handles=_key(rows, marker), loc="outside upper center", ncols=2)
        figure.canvas.draw()  # the layout, for places of the labels
        for axes, way in zip(panels, WAYS, strict=True):
            label_ends(axes, _labels(rows, way))
    return figure


def _point(axes: Axes, row: dict, way: str, marker: str) -> None:
    """A generator with its intervals both ways; without isotropic flips an arrow to the right."""
    value, lower, upper = (array[0] for array in ends([row], f"cci_{way}"))
    x, left, right = (column([row], f"dabi_{end}")[0] for end in ("value", "lower", "upper"))
    opened = not math.isfinite(x) or not math.isfinite(right)
    x = left if not math.isfinite(x) else x
    if not math.isfinite(x) or x <= 0:
        return
    look: Look = {"color": _hue(row), "marker": marker, "elinewidth": 0.7, "capsize": 1}
    reach = [[x - max(left, 1e-3)], [0.0 if opened else right - x]]
    error = np.maximum([[value - lower], [min(upper, 1.0) - value]], 0)
    axes.errorbar([x], [value], xerr=np.maximum(reach, 0), yerr=error, fillstyle=_fill(row), **look)
    if opened:
        axes.annotate("→", (x, value), color=_hue(row), fontsize=6, va="center")


def _hue(row: dict) -> str:
    return HUES[row["carrier"].split()[0]]


def _fill(row: dict) -> str:
    kept = row["retention_value"]
    return "full" if kept >= FULL else "left" if kept > EMPTY else "none"


def _labels(rows: Table, way: str) -> list[tuple[float, str, str]]:
    """Every carrier at the mean of its CCI."""
    found = {}
    for name in dict.fromkeys(row["carrier"] for row in rows):
        mine = [row for row in rows if row["carrier"] == name]
        height = float(column(mine, f"cci_{way}_value").mean())
        found[name] = (height, name, _hue(mine[0]))
    return list(found.values())


def _key(rows: Table, marker: dict[tuple[str, str], str]) -> list[Line2D]:
    look: Look = {"color": style.BLACK, "ls": "", "markersize": 4}
    handles = [
        Line2D([], [], marker=one, label=_named(*name), **look) for name, one in marker.items()
    ]
    fills = {"full": f"keeps ≥ {FULL:g} of tokens", "left": "some", "none": f"≤ {EMPTY:g}"}
    seen = {_fill(row) for row in rows}
    grey: Look = {**look, "color": style.GREY, "marker": "o"}
    return handles + [
        Line2D([], [], fillstyle=fill, label=said, **grey)  # type: ignore[arg-type]
        for fill, said in fills.items()
        if fill in seen
    ]


def _named(readout: str, decoder: str) -> str:
    kind, vocabulary, *sizes = readout.split()
    kind = f"rank {sizes[0]}" if kind == "lowrank" else kind
    if decoder == "smooth":
        return f"rotation of R$^{{{sizes[-1]}}}$, output"
    return f"{kind}: {vocabulary} in R$^{{{sizes[-1]}}}$"


def _ablation(rows: Table) -> Figure:
    """Perplexity over the truth and entropy over the share of the softmax average fed back."""
    runs = list(dict.fromkeys((row["order"], row["read"]) for row in rows))
    reads = sorted({read for _, read in runs})
    hues = dict(zip(reads, (style.BLUE, style.ORANGE, style.PURPLE, style.GREEN), strict=False))
    with style.column(rows=2, height=4.0) as (figure, (top, bottom)):
        for order, read in runs:
            mine = [row for row in rows if (row["order"], row["read"]) == (order, read)]
            look: Look = {"color": hues.get(read, style.GREY), "lw": 0.9}
            look |= DASHES.get(order, {"marker": "^", "ls": ":"})
            x = column(mine, "softness")
            for axes, name in ((top, "perplexity_over_truth"), (bottom, "entropy")):
                value, lower, upper = ends(mine, name)
                lower = np.maximum(lower, value / 20)  # a logarithmic axis has no place below 0
                axes.errorbar(x, value, yerr=[value - lower, upper - value], **look)
        top.set(yscale="log", ylabel="perplexity over the truth")
        plain_log(top.yaxis)
        top.axhline(1, color=style.BLACK, lw=0.6)
        bottom.axhline(rows[0]["entropy_truth"], color=style.BLACK, lw=0.6)
        bottom.set_ylabel("entropy of tokens (nats)")
        bottom.set_xlabel("share of the average fed back (0 hard, 1 soft)")
        handles = [
            Line2D([], [], color=hues.get(read, style.GREY), label=f"read at noise {read:g}")
            for read in reads
        ]
        orders = dict.fromkeys(order for order, _ in runs)
        handles += [
            Line2D([], [], color=style.BLACK, lw=0.9, label=order, **DASHES.get(order, {}))
            for order in orders
        ]
        handles.append(Line2D([], [], color=style.BLACK, lw=0.6, label="the language"))
        kind, vocabulary, dimension, length = rows[0]["readout"].split()
        heading = f"{kind} embeddings: V = {vocabulary}, n = {dimension}, L = {length}"
        figure.legend(handles=handles, title=heading, loc="outside upper center", ncols=2)
    return figure


DASHES: dict[str, Look] = {
    "bisection": {"marker": "o", "ls": "-"},
    "left-to-right": {"marker": "s", "ls": "--"},
}
