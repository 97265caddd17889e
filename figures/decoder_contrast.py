"""Text heads beside image decoders: DABI (figure 7), responses, Jacobians; figure 8, and strips."""

import math
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from figures import contrast_plane, contrast_strip, style
from figures.contrast_plane import across, limits, span
from figures.losses import Stored
from figures.marks import Look, Row, Table, bars, column, ends
from figures.responses import DECODERS, LOOKS, OTHER

ORIENTED: Look = {"color": style.SKY, "marker": "v"}
WAYS: dict[str, tuple[str, Look]] = {
    "normal": ("facet normal", LOOKS["normal"]),
    "singular": ("singular direction", LOOKS["singular"]),
    "oriented": ("residual, sign towards the facet", ORIENTED),
    "residual": ("residual", LOOKS["residual"]),
}
PANELS = {
    ("text", "flips"): "text: share of tokens flipped",
    ("text", "rise"): "text: rise of cross-entropy",
    ("text", "output"): r"text: $\|\Delta\,$logits$\|$",
    ("image", "output"): r"images: $\|\Delta\,$pixels$\|$",
    ("image", "perceptual"): r"images: perceptual, $\sqrt{1-\mathrm{SSIM}}$",
}
NEAR = 0.1  # length of the steps of `dabi`, or the nearest there is, over the median ‖Z‖
LINE, GAP = 0.06, 0.07  # inches a direction, and more a decoder
IMAGES: dict[str, Look] = {
    "dcgan": {"color": style.VERMILION, "marker": "*"},
    "autoencoder": {"color": "#A6761D", "marker": "P"},
    "super-resolver": {"color": style.GREY, "marker": "X"},
    "taef2": {"color": style.PURPLE, "marker": "d"},
}
FELT = {
    "pixels": "change of pixels, rms\n(grey levels of 255)",
    "perceptual": "perceptual change\n" + r"$\sqrt{1-\mathrm{SSIM}}$",
}
ASIDE = 1.06  # factors on r from one direction to the next, so that bars stand apart
LENGTH = r"length r of the step over the median $\|Z\|$"
NONE = 1e-9  # of σ₁: singular values below it are those of a Jacobian without full rank


def draw(table: Table) -> dict[str, Figure]:
    """`dabi`, `amplification` of images, `plane` and `strip-text`, as far as there are rows."""
    steps = [row for row in table if row["family"] == "step"]
    made = [row for row in table if row["family"] == "generator"]
    makers = {
        "dabi": (_dabi, _at_one_length(steps)),
        "amplification": (_amplification, [row for row in steps if row["kind"] == "image"]),
        "plane": (contrast_plane.plane, [r for r in made if r["cci_isotropic_value"] is not None]),
        "strip-text": (contrast_strip.texts, contrast_strip.spelled(table)),
    }
    return {name: make(rows) for name, (make, rows) in makers.items() if rows}


def draw_arrays(stored: Stored) -> dict[str, Figure]:
    """`spectrum` of all Jacobians, and `strip-NAME` of every image decoder."""
    known = [(row, arrays) for row, arrays in stored if "spectrum" in arrays]
    figures = {"spectrum": _spectrum(sorted(known, key=_place))} if known else {}
    for row, arrays in stored:
        if "clean" in arrays:
            figures[f"strip-{row['decoder']}"] = contrast_strip.pictures(row, arrays)
    return figures


def _place(pair: tuple[Row, Any]) -> tuple[bool, int]:
    """Text first, then in the order of the looks."""
    row, names = pair[0], [*DECODERS, *IMAGES]
    place = names.index(row["decoder"]) if row["decoder"] in names else len(names)
    return row["kind"] != "text", place


def _at_one_length(steps: Table) -> Table:
    lengths = {row["length"] for row in steps}
    one = min(lengths, key=lambda length: abs(math.log(length / NEAR)), default=None)
    return [row for row in steps if row["length"] == one]


# DABI


def _dabi(rows: Table) -> Figure:
    """A panel for every response, a line for every decoder, a marker for every direction."""
    shown = {key: [row for row in rows if row["kind"] == key[0]] for key in PANELS}
    shown = {key: mine for key, mine in shown.items() if mine}
    ratios = tuple(_inches(response, mine) for (_, response), mine in shown.items())
    height = sum(ratios) + 0.3 * len(ratios) + 1.3
    with style.column(len(shown), height, ratios) as (figure, panels):
        window = limits(_spans(shown))
        for axes, ((kind, response), mine) in zip(panels, shown.items(), strict=True):
            axes.set(xscale="log", xlim=window, ylim=(len(mine) - 0.5, -0.5))
            axes.axvline(1, color=style.BLACK, lw=0.6)
            axes.set_yticks(range(len(mine)), [row["decoder"] for row in mine])
            axes.set_title(PANELS[kind, response], loc="left", pad=2)
            axes.tick_params(axis="y", length=0)
            for place, row in enumerate(mine):
                _line(axes, place, row, response)
        axes.xaxis.set_major_locator(LogLocator(numticks=8))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("DABI: response over that to an isotropic step")
        heading = rf"steps of r = {rows[0]['length']:g} median $\|Z\|$, intervals at 1 − 10⁻⁹"
        figure.legend(handles=_key(rows), title=heading, loc="outside upper center", ncols=2)
    return figure


def _measured(row: Row, response: str) -> list[str]:
    return [way for way in WAYS if row.get(f"{way}_{response}_value") is not None]


def _inches(response: str, rows: Table) -> float:
    directions = max(len(_measured(row, response)) for row in rows)
    return len(rows) * (GAP + LINE * directions)


def _spans(shown: dict[tuple[str, str], Table]) -> list[tuple[float, float, float]]:
    return [
        span(row, f"dabi_{way}_{response}")
        for (_, response), rows in shown.items()
        for row in rows
        for way in _measured(row, response)
    ]


def _line(axes: Axes, place: int, row: Row, response: str) -> None:
    """Directions below each other; what is open is dressed by `across`."""
    if place:
        axes.axhline(place - 0.5, color=style.GREY, lw=0.3)
    ways = _measured(row, response)
    for k, way in enumerate(ways):
        share = LINE * len(ways) / (GAP + LINE * len(ways))
        height = place + share * ((k + 0.5) / len(ways) - 0.5)
        across(axes, height, row, f"dabi_{way}_{response}", WAYS[way][1])


def _key(rows: Table) -> list[Line2D]:
    seen = {way for row in rows for _, response in PANELS for way in _measured(row, response)}
    handles = [
        Line2D([], [], ls="", label=said, **look)
        for way, (said, look) in WAYS.items()
        if way in seen
    ]
    hollow: Look = {"color": style.GREY, "marker": "o", "fillstyle": "none", "ls": ""}
    handles.append(Line2D([], [], label="hollow: an end, no value", **hollow))
    dotted: Look = {"color": style.GREY, "lw": 0.8, "ls": ":"}
    handles.append(Line2D([], [], label="dotted: both ends open", **dotted))
    arrow: Look = {"color": style.GREY, "ls": "", "marker": r"$\rightarrow$", "markersize": 8}
    return [*handles, Line2D([], [], label="this end is open", **arrow)]


# Responses of images


def _amplification(rows: Table) -> Figure:
    """A line of panels for every decoder: pixels left, perceptual right."""
    names = list(dict.fromkeys(row["decoder"] for row in rows))
    with mpl.rc_context(style.RULES):
        size = (style.COLUMN, 1.0 + 1.25 * len(names))
        figure = Figure(figsize=size, layout="constrained")
        options: dict[str, Any] = {"sharex": True, "sharey": "col", "squeeze": False}
        panels = figure.subplots(len(names), len(FELT), **options)
        for line, name in zip(panels, names, strict=True):
            mine = [row for row in rows if row["decoder"] == name]
            for axes, response in zip(line, FELT, strict=True):
                _felt(axes, sorted(mine, key=lambda row: row["length"]), response)
            line[0].set_ylabel(f"{name}\nN = {mine[0]['independent']}")
        lengths = sorted({row["length"] for row in rows})
        for axes, said in zip(panels[0], FELT.values(), strict=True):
            axes.set(xscale="log", yscale="log", title=said)
            axes.set_xticks(lengths, [f"{length:g}" for length in lengths])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_locator(LogLocator(numticks=6))
        figure.supxlabel(LENGTH, fontsize=8)
        looks = {way: LOOKS[way] for way in ("singular", "residual", "isotropic")}
        handles = [Line2D([], [], ls="", label=way, **look) for way, look in looks.items()]
        figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def _felt(axes: Axes, rows: Table, response: str) -> None:
    for k, way in enumerate(("singular", "residual", "isotropic")):
        value, lower, upper = ends(rows, f"{way}_{response}")
        known = value > 0
        x = column(rows, "length")[known] * ASIDE ** (k - 1)
        lower = np.maximum(lower, value / 100)  # a logarithmic axis has no place below 0
        found = (value[known], lower[known], upper[known])
        bars(axes, x, *found, lw=0.8, capsize=1, **LOOKS[way])


# Jacobians


def _spectrum(stored: Stored) -> Figure:
    """σ_k/σ₁ over k/n: of images the median over latents, and a band from least to largest."""
    with style.column(height=3.6) as (figure, (axes,)):
        for row, arrays in stored:
            values = np.atleast_2d(np.asarray(arrays["spectrum"], float))
            share = values / values[:, :1]
            middle = np.median(share, axis=0)
            kept = middle > NONE
            x = (np.arange(len(middle)) + 1)[kept] / row["dimension"]
            look = DECODERS.get(row["decoder"], IMAGES.get(row["decoder"], OTHER))
            dash = "-" if row["kind"] == "text" else "--"
            marked = np.unique(np.geomspace(1, len(x), 8).astype(int)) - 1
            axes.plot(x, middle[kept], ls=dash, markevery=marked, label=_named(row), **look)
            if len(values) > 1:
                band = (np.min(share, axis=0)[kept], np.max(share, axis=0)[kept])
                axes.fill_between(x, *band, color=look["color"], alpha=0.15, lw=0)
        axes.set(xscale="log", yscale="log", xlabel="index k over the dimension n of latents")
        axes.set_ylabel(r"singular value $\sigma_k/\sigma_1$ of the Jacobian")
        heading = "solid: text (logits); dashed: images (pixels; band: all latents)"
        heading += "\n" + r"name: n, stable rank $\sum_k\sigma_k^2/\sigma_1^2$"
        figure.legend(title=heading, loc="outside upper center", ncols=2)
    return figure


def _named(row: Row) -> str:
    names = ("effective_rank", "effective_rank_value")  # of text exact, of images an estimate
    rank = next(row[name] for name in names if row.get(name) is not None)
    return f"{row['decoder']}: {row['dimension']}, {rank:.3g}"
