"""One interface and its two weights: pictures of flips and leaks, their ratio, two orderings."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import style
from figures.losses import Stored
from figures.marks import (
    MARKERS,
    SIGMAS,
    Look,
    Row,
    Table,
    bars,
    column,
    ends,
    family,
    plain_log,
)
from figures.planar_partition import facets

NAMES = {"slabs": "three slabs", "tripod": "tripod"}
COLOURS = {"slabs": style.BLUE, "tripod": style.VERMILION}
TINTS = (style.BLUE, style.VERMILION, style.GREEN, style.PURPLE, style.ORANGE, style.SKY)
RADIUS = 2.6  # of the disc that is drawn


def draw(table: Table) -> dict[str, Figure]:
    """The `ratio` of the two rates against t, and the `ordering` of slabs and tripod."""
    figures = {}
    if family(table, "ratio", "correction"):
        figures["ratio"] = _ratio(family(table, "ratio", "correction"))
    if family(table, "ordering"):
        figures["ordering"] = _ordering(family(table, "ordering"))
    return figures


def draw_arrays(stored: Stored) -> dict[str, Figure]:
    """The `interface` of slabs and tripod in the plane: points that flip, points that leak."""
    found: dict[str, tuple[Row, dict[str, np.ndarray]]] = {}
    for row, arrays in stored:
        if "flipped" in arrays:
            found[row["partition"]] = (row, arrays)
    return {"interface": _interface(found)} if found else {}


def _interface(found: dict[str, tuple[Row, dict[str, np.ndarray]]]) -> Figure:
    with mpl.rc_context(style.RULES):
        size = (style.COLUMN, 0.3 + 1.75 * len(found))
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(len(found), 2, squeeze=False)
        for line, (name, (row, arrays)) in zip(panels, sorted(found.items()), strict=True):
            rates = {
                "flipped": f"{NAMES[name]}: flip$/s$ = {row['flip_limit_value']:.3f}",
                "leaked": rf"$\Lambda\varepsilon = {row['leak_limit_value']:.3f}$, {_weights(row)}",
            }
            for axes, (kind, title) in zip(line, rates.items(), strict=True):
                _points(axes, arrays, kind, COLOURS[name])
                axes.set_title(title, pad=3, fontsize=7)
        scale = float(next(iter(found.values()))[1]["scale"])
        note = rf"$s = t = 1/\Lambda = {scale:g}$; points $x \sim \gamma_2$ within |x| < {RADIUS}"
        figure.supxlabel(note, fontsize=6.5)
    return figure


def _points(axes: Axes, arrays: dict[str, np.ndarray], kind: str, colour: str) -> None:
    x = arrays[kind][np.linalg.norm(arrays[kind], axis=1) < RADIUS]
    axes.plot(x[:, 0], x[:, 1], ".", color=colour, markersize=1.2, mew=0)
    for (x0, y0), (x1, y1) in facets(arrays["sites"], arrays["offsets"])[1]:
        axes.plot([x0, x1], [y0, y1], color=style.BLACK, lw=0.5)
    axes.set(aspect="equal", xlim=(-RADIUS, RADIUS), ylim=(-0.75 * RADIUS, 0.9 * RADIUS))
    axes.set_axis_off()


def _weights(row: Row) -> str:
    """What the facets weigh; slabs have none between cells 1 and 3."""
    return r"$\kappa = 1$" if row["partition"] == "slabs" else rf"$\kappa_{{13}} = {row['far']:g}$"


def _label(row: Row) -> str:
    return f"{row['partition']} ({row['modes']}, {row['dimension']})"


def _ratio(rows: Table) -> Figure:
    """The ratio over its limit at every t, and the first order where it is predicted."""
    names = list(dict.fromkeys(_label(row) for row in rows))
    shown = names if len(names) <= 2 * len(TINTS) else names[: 2 * len(TINTS)]
    with style.column(height=3.3) as (figure, (axes,)):
        low, high = (f([row["scale"] for row in rows]) for f in (min, max))
        t = np.geomspace(low / 1.3, 4 * high * 1.3, 200)
        for k, name in enumerate(shown):
            mine = [row for row in rows if _label(row) == name]
            look: Look = {"color": TINTS[k % len(TINTS)], "marker": MARKERS[k % len(MARKERS)]}
            shift = 1.03 ** (k - (len(shown) - 1) / 2)
            for row in mine:
                _at(axes, row, shift, look)
            slope = mine[0].get("correction_exact")
            if slope is not None:
                axes.plot(t, 1 - slope * t, color=look["color"], lw=0.8, ls="--")
            axes.plot([], [], ls="", markersize=3, label=name, **look)
        axes.axhline(1, color=style.BLACK, lw=0.6)
        axes.set(xscale="log", xlim=(t[0], t[-1]))
        axes.set_ylim(min(0.99, axes.get_ylim()[0]), None)
        plain_log(axes.xaxis)
        axes.set_xlabel(r"$t = s = 1/\Lambda$ (noise scale, one over stiffness)")
        axes.set_ylabel(r"$(\Lambda\varepsilon)\,/\,(\mathrm{flip}/s)$ over $\kappa\sqrt{\pi/2}$")
        handles, labels = axes.get_legend_handles_labels()
        handles.append(Line2D([], [], color=style.GREY, lw=0.8, ls="--"))
        labels.append("$1 - ct$, predicted")
        figure.legend(handles, labels, loc="outside upper center", ncols=3, columnspacing=1.0)
    return figure


def _at(axes: Axes, row: Row, shift: float, look: Look) -> None:
    t = row["scale"] * np.array([1.0, 2.0, 4.0]) * shift
    value, sem = (
        np.array([row[f"ratio_{k}_{part}"] for k in range(3)], float) for part in ("value", "sem")
    )
    options: Look = {"ls": "", "markersize": 2.6, "elinewidth": 0.7, "capsize": 1.2}
    bars(axes, t, value, value - SIGMAS * sem, value + SIGMAS * sem, **options, **look)


def _ordering(rows: Table) -> Figure:
    """Flips, and costs against κ_13, of slabs and tripod: measured points on predicted lines."""
    with mpl.rc_context(style.RULES):
        figure = Figure(figsize=(style.COLUMN, 2.5), layout="constrained")
        left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1.0, 1.8)})
        far = np.linspace(1.3, 2.0, 50)
        for k, name in enumerate(NAMES):
            mine = [row for row in rows if row["partition"] == name]
            if not mine:
                continue
            look: Look = {"color": COLOURS[name], "marker": MARKERS[k], "ls": "", "markersize": 4}
            flips = [float(row["flip_exact"]) for row in mine]
            left.plot([k - 0.3, k + 0.3], [flips[0]] * 2, color=COLOURS[name], lw=1.0)
            _measured(left, mine, "flip_limit", np.full(len(mine), float(k)), look)
            right.plot(far, _costs(mine[0], far), color=COLOURS[name], lw=1.0)
            _measured(right, mine, "leak_limit", column(mine, "far"), look)
            right.plot([], [], label=NAMES[name], **look)
        right.axvline(rows[0]["opposing_barrier"], color=style.GREY, lw=0.6, ls="--")
        left.set_xticks(range(len(NAMES)), ["slabs", "tripod"])
        left.set(xlim=(-0.6, 1.6), ylabel=r"flip$/s \;\to\; \sqrt{2/\pi}\,\sum P_{ij}$")
        right.set(xlabel=r"barrier $\kappa_{13}$ ($\kappa_{12} = \kappa_{23} = 1$)")
        right.set_ylabel(r"$\Lambda\varepsilon \;\to\; \sum \kappa_{ij} P_{ij}$")
        right.legend(loc="upper left")
    return figure


def _measured(axes: Axes, rows: Table, name: str, x: np.ndarray, look: Look) -> None:
    bars(axes, x, *ends(rows, name), elinewidth=0.8, **look)


def _costs(row: Row, far: np.ndarray) -> np.ndarray:
    """Σκ_ij P_ij along κ_13: the facet of 1 and 3 is a third of the tripod, none of the slabs."""
    if row["partition"] == "slabs":
        return np.full_like(far, row["leak_exact"])
    return row["leak_exact"] * (2 + far) / (2 + row["far"])
