"""The plane of DABI and CCI with text, images and synthetic generators on it (figure 8)."""

import math
from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import ConnectionPatch
from matplotlib.text import Text

from figures import style
from figures.marks import Look, Row, Table, column, ends, label_ends

KINDS: dict[str, Look] = {
    "text": {"color": style.BLUE, "marker": "s"},
    "image": {"color": style.VERMILION, "marker": "^"},
    "synthetic": {"color": style.GREY, "marker": "o"},
}
ALONG = {"text": "facet normal", "image": "singular direction", "synthetic": "facet normal"}
DEEP = -2.0  # where CCI goes below it, its axis is linear on [−1, 1] alone
HEADING = """DABI of what, by kind (hollow: an end, no value; arrow, dotted: open)
behind names: share of tokens that the step keeps"""
REACH = 11  # points an arrow is long
TEXT = 0.66  # of the width of the figure, where the axes end and labels begin


def span(row: Row, name: str) -> tuple[float, float, float]:
    """Value of a ratio and the ends of its interval: NaN where there is none, ∓∞ where open."""
    value, lower, upper = (
        float(column([row], f"{name}_{part}")[0]) for part in ("value", "lower", "upper")
    )
    lower = -math.inf if math.isnan(lower) else lower
    return value, lower, math.inf if math.isnan(upper) else upper


def limits(spans: Iterable[tuple[float, float, float]]) -> tuple[float, float]:
    """Of an axis of ratios: around 1, all values, and lower ends where there is no value."""
    seen = [value if value > 0 else lower for value, lower, _ in spans]
    kept = [1.0, *(x for x in seen if math.isfinite(x) and x > 1e-3)]
    return 0.4 * min(kept), max(2.5 * max(kept), 100.0)


def across(axes: Axes, height: float, row: Row, name: str, look: Look) -> float | None:
    """A ratio on a logarithmic axis, whose limits are final; where its marker is.

    The value with its interval; an arrow at an end that is open, and a dotted line when both are.
    Without a positive value a hollow marker stands at the end that is known, if it is on the axis.
    """
    value, lower, upper = span(row, name)
    low, high = axes.get_xlim()
    anchor = next((x for x in (value, lower, upper) if low <= x <= high), None)
    if anchor is None or (math.isinf(lower) and math.isinf(upper)):
        axes.plot([low, high], [height, height], ls=":", lw=0.8, color=look["color"])
        if anchor is None:
            return None
        lower = upper = anchor
    hollow: Look = {} if anchor == value else {"fillstyle": "none"}
    left = max(lower, low / 2) if math.isfinite(lower) else anchor
    right = upper if math.isfinite(upper) else anchor
    reach = [[max(anchor - left, 0)], [max(right - anchor, 0)]]
    dressed: Look = {"ls": "", "elinewidth": 0.8, "capsize": 1, "markersize": 3.5} | look | hollow
    axes.errorbar([anchor], [height], xerr=reach, **dressed)
    if math.isinf(upper) or math.isinf(lower):
        _arrow(axes, (anchor, height), 1 if math.isinf(upper) else -1, look["color"])
    return anchor


def _arrow(axes: Axes, tail: tuple[float, float], side: int, color: str) -> None:
    line = {"arrowstyle": "<-", "color": color, "lw": 0.8, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", tail, (REACH * side, 0), textcoords="offset points", arrowprops=line)


def plane(rows: Table) -> Figure:
    """CCI to isotropic steps over DABI; a marker a kind, a label a generator."""
    with style.column(height=max(3.4, 0.5 + 0.16 * len(rows))) as (figure, (axes,)):
        figure.set_layout_engine(ConstrainedLayoutEngine(rect=(0, 0, TEXT, 1)))
        axes.set(xscale="log", xlim=limits(span(row, "dabi") for row in rows))
        points = [_point(axes, row) for row in rows]
        low, high = axes.get_ylim()
        if low < DEEP:
            axes.set_yscale("symlog", linthresh=1, linscale=0.6)
        axes.set_ylim(low, max(high, 1.1))
        for mark in (0, 1):
            axes.axhline(mark, color=style.BLACK, lw=0.4, ls=":")
        axes.axvline(1, color=style.BLACK, lw=0.4, ls=":")
        axes.set(xlabel="DABI (see above)", ylabel="CCI, isotropic")
        options: Look = {"loc": "outside upper left", "alignment": "left"}
        figure.legend(handles=_key(rows), title=HEADING, **options)
        figure.canvas.draw()  # the layout, for places of the labels
        _labels(figure, axes, rows, points)
    return figure


def _point(axes: Axes, row: Row) -> tuple[float, float]:
    look = KINDS[row["kind"]]
    value, lower, upper = (float(array[0]) for array in ends([row], "cci_isotropic"))
    x = across(axes, value, row, "dabi", look)
    if x is None:
        return axes.get_xlim()[1], value
    reach = [[max(value - lower, 0)], [max(min(upper, 1) - value, 0)]]  # CCI is at most 1
    axes.errorbar([x], [value], yerr=reach, fmt="none", ecolor=look["color"], elinewidth=0.8)
    return x, value


def _labels(figure: Figure, axes: Axes, rows: Table, points: list[tuple[float, float]]) -> None:
    """Names to the right, each tied to its marker."""
    before = len(axes.texts)
    order = sorted(range(len(rows)), key=lambda k: (points[k][1], points[k][0]))
    named = [(points[k][1], _name(rows[k]), KINDS[rows[k]["kind"]]["color"]) for k in order]
    label_ends(axes, named)
    texts: list[Text] = list(axes.texts)[before:]
    for k, text in zip(order, texts, strict=True):
        side, up = text.get_position()
        places = (points[k], (side - 0.01, up), axes.transData, axes.transAxes)
        tie = figure.add_artist(ConnectionPatch(*places, lw=0.3, color=style.GREY))
        for artist in (text, tie):
            artist.set_in_layout(False)  # they stand beside what the layout is of


def _name(row: Row) -> str:
    kept = column([row], "retention_value")[0]
    said = row["way"] if row["kind"] == "synthetic" else f"{row['decoder']}: {row['way']}"
    return said if math.isnan(kept) else f"{said} ({kept:.2f})"


def _key(rows: Table) -> list[Line2D]:
    """What DABI is for every kind that is there."""
    seen = dict.fromkeys((row["kind"], row["dabi_response"]) for row in rows)
    return [
        Line2D([], [], ls="", label=f"{kind}: {response} along the {ALONG[kind]}", **KINDS[kind])
        for kind, response in seen
    ]
