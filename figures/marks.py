"""Numbers of a table on axes: columns, points with intervals, labels beside the ends of curves."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import LogLocator, NullLocator
from scipy.optimize import isotonic_regression

Row = dict[str, Any]
Table = list[Row]
Look = dict[str, Any]

SIGMAS = 6.11  # standard errors to either side: 1 − 10⁻⁹, as the intervals of the tables
MARKERS = "osDv^P<X>"
SIZE = 6.5  # of the letters of labels


def column(rows: Table, name: str) -> np.ndarray:
    """A column as numbers; where there is none, NaN."""
    return np.array([row.get(name) for row in rows], dtype=float)


def ends(rows: Table, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, lower and upper end of the estimates of a column: SIGMAS errors and the bias."""
    value = column(rows, f"{name}_value")
    reach = SIGMAS * column(rows, f"{name}_sem") + column(rows, f"{name}_bias")
    return value, value - reach, value + reach


def family(table: Table, *names: str) -> Table:
    """The rows of these families by M, in the order of the table where M is the same."""
    return sorted((r for r in table if r["family"] in names), key=lambda r: r["modes"])


def best(rows: Table, name: str, *keys: str) -> Table:
    """Of the rows with the same `keys` the one with the least `name`."""
    least: dict[tuple, Row] = {}
    for row in rows:
        key = tuple(row[k] for k in keys)
        if key not in least or row[name] < least[key][name]:
            least[key] = row
    return list(least.values())


def looks(modes: Iterable[int]) -> dict[int, Look]:
    """A colour and a marker for every M: dark to light as it grows, short of viridis' yellow."""
    found = sorted(set(modes))
    tints = colormaps["viridis"](np.linspace(0, 0.88, len(found)))
    return {
        m: {"color": tint, "marker": MARKERS[k % len(MARKERS)]}
        for k, (m, tint) in enumerate(zip(found, tints, strict=True))
    }


def bars(
    axes: Axes, x: np.ndarray, value: np.ndarray, lower: np.ndarray, upper: np.ndarray, **look: Any
) -> None:
    """Points with their intervals; without points, nothing."""
    if len(value):
        # An exact value may lie an ulp outside its interval: negative bars are refused.
        ends = np.maximum([value - lower, upper - value], 0)
        axes.errorbar(x, value, yerr=ends, **look)


def dodged(places: np.ndarray, width: float) -> np.ndarray:
    """Points at the same place set side by side over `width`, in their order."""
    found = np.array(places, dtype=float)
    for place in np.unique(places):
        here = np.flatnonzero(places == place)
        found[here] += width * ((np.arange(len(here)) + 0.5) / len(here) - 0.5)
    return found


def plain_log(axis: Axis) -> None:
    """Ticks at 1, 2 and 5 times powers of ten, or closer, written out; after the data."""
    low, high = axis.get_view_interval()
    subs = (1.0, 2.0, 5.0) if high > 4 * low else range(1, 10)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def label_ends(axes: Axes, ends: list[tuple[float, str, Any]], gap: float = 1.2) -> None:
    """Height, text, colour: texts to the right of the axes, moved apart where they would touch.

    The limits of the axes must be final; the gap is in heights of the letters.
    """
    if not ends:
        return
    ends = sorted(ends, key=lambda end: end[0])
    points = np.array([(1.0, height) for height, _, _ in ends])
    places = axes.transLimits.transform(axes.transScale.transform(points))[:, 1]
    inches = axes.bbox.height / axes.figure.dpi  # roughly: the layout is made when it is drawn
    steps = gap * SIZE / 72 / inches * np.arange(len(ends))
    moved = isotonic_regression(places - steps).x + steps
    for (_, text, color), place in zip(ends, moved, strict=True):
        look: Look = {"color": color, "va": "center", "fontsize": SIZE}
        axes.text(1.02, place, text, transform=axes.transAxes, **look)
