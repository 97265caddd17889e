"""Where the tube law stops: the ratio over τ and s, its collapse, and rates of 1e-6."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from figures import style
from figures.marks import MARKERS, SIGMAS, Look, Row, Table, bars, column, family, plain_log

LEVELS = {1.1: ":", 2.0: "--"}  # of the ratio that pairs alone predict
TOP = 1e3  # ratios beyond are off the collapse's axis
SHADES = (1 / 4, 4.0)  # of the map; ratios beyond have the last colour
Code = tuple[int, int]


def draw(table: Table) -> dict[str, Figure]:
    """`map` over τ and s with the reported place, `collapse` against λ ≈ sd/τ², `rare` errors."""
    figures = {}
    rows = [row for row in family(table, "map") if row["restart"] == 0]
    if rows:
        figures = {"map": _map(rows, family(table, "place")), "collapse": _collapse(rows)}
    if family(table, "rare"):
        figures["rare"] = _rare(family(table, "rare"))
    return figures


def _codes(rows: Table) -> list[Code]:
    return sorted({_code(row) for row in rows})


def _code(row: Row) -> Code:
    return int(row["modes"]), int(row["dimension"])


def _map(rows: Table, places: Table) -> Figure:
    codes = _codes(rows)
    with style.column(len(codes), height=1.0 + 2.1 * len(codes)) as (figure, panels):
        for axes, code in zip(panels, codes, strict=True):
            mine = [row for row in rows if _code(row) == code]
            shades = _shaded(axes, mine)
            _predicted(axes, mine)
            _place(axes, [row for row in places if _code(row) == code])
            axes.set_title(f"$M = {code[0]}$, $n = {code[1]}$")
        panels[-1].set_xlabel("noise $s$ (units of the latents)")
        extend: Look = {"extend": "both", "ticks": [0.25, 0.5, 1, 2, 4], "format": "%g"}
        bar = figure.colorbar(shades, ax=panels, fraction=0.05, **extend)
        bar.set_label(r"flips$\,/\,\sqrt{2/\pi}\,sA_W$ (raw noise)")
        bar.ax.yaxis.set_minor_locator(NullLocator())
        figure.legend(handles=_map_handles(places), loc="outside upper center", ncols=2)
    return figure


def _table(rows: Table, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """s, τ, and the column with a row for every τ; NaN where there is none."""
    scales, widths = (sorted({row[k] for row in rows}) for k in ("scale", "width"))
    found = np.full((len(widths), len(scales)), np.nan)
    for row in rows:
        found[widths.index(row["width"]), scales.index(row["scale"])] = row[name]
    return np.array(scales), np.array(widths), found


def _edges(centres: np.ndarray) -> np.ndarray:
    """Of cells about points of a logarithmic axis."""
    logs = np.log(centres)
    inner = (logs[1:] + logs[:-1]) / 2
    first, last = inner[[0, -1]] if len(inner) else logs[[0, 0]] + [0.3, -0.3]
    return np.exp(np.concatenate([[2 * logs[0] - first], inner, [2 * logs[-1] - last]]))


def _shaded(axes: Axes, rows: Table) -> Any:
    scales, widths, ratio = _table(rows, "raw_ratio_value")
    norm = LogNorm(*SHADES, clip=True)
    shades = axes.pcolormesh(_edges(scales), _edges(widths), ratio, norm=norm, cmap="PuOr_r")
    for (line, place), value in np.ndenumerate(ratio):
        dark = abs(np.log(np.clip(value, *SHADES))) > 0.8 * np.log(SHADES[1])
        look: Look = {"color": "white" if dark else "black", "fontsize": 5.5}
        text = (
            f"{value:.2f}" if value < 9.95 else f"{value:.0f}" if value < 9999 else f"{value:.0e}"
        )
        centre = float(scales[place]), float(widths[line])
        axes.text(*centre, text, ha="center", va="center", **look)
    axes.set(xscale="log", yscale="log", ylabel=r"width $\tau$ of the modes")
    axes.set_xticks(scales, labels=[f"{x:g}" for x in scales])
    axes.set_yticks(widths, labels=[f"{x:g}" for x in widths])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    return shades


def _predicted(axes: Axes, rows: Table) -> None:
    """Contours of the ratio of pairs alone, where the grid has room for them."""
    scales, widths, ratio = _table(rows, "pair_ratio")
    if min(ratio.shape) < 2:
        return
    for level, dashes in LEVELS.items():
        if np.nanmin(ratio) < level < np.nanmax(ratio):
            options: Look = {"colors": style.BLACK, "linewidths": 1.0, "linestyles": dashes}
            axes.contour(scales, widths, np.log(ratio), [np.log(level)], **options)


def _place(axes: Axes, places: Table) -> None:
    for row in places:
        look: Look = {"ls": "", "marker": "*", "color": style.SKY, "mec": style.BLACK}
        axes.plot(row["latent_scale"], row["latent_width"], markersize=9, mew=0.6, **look)


def _map_handles(places: Table) -> list[Line2D]:
    ink: Look = {"color": style.BLACK, "lw": 1.0}
    handles = [
        Line2D([], [], ls=dashes, label=f"{level:g} predicted, pairs alone", **ink)
        for level, dashes in LEVELS.items()
    ]
    if places:
        row = places[0]
        label = rf"$sA_W = {row['scale'] * row['area']:.3g}$ and ratio {row['ratio']:g} predicted"
        look: Look = {"ls": "", "marker": "*", "color": style.SKY, "mec": style.BLACK}
        handles.append(Line2D([], [], markersize=9, mew=0.6, label=label, **look))
    return handles


def _collapse(rows: Table) -> Figure:
    """A colour for every τ, a marker for every code; the scaling function has no parameter."""
    widths, codes = sorted({row["width"] for row in rows}), _codes(rows)
    tints = colormaps["viridis"](np.linspace(0, 0.88, len(widths)))
    with style.column(height=3.1) as (figure, (axes,)):
        for width, tint in zip(widths, tints, strict=True):
            for code, marker in zip(codes, MARKERS, strict=False):
                mine = [r for r in rows if _code(r) == code and r["width"] == width]
                mine = sorted(mine, key=lambda row: row["strain"])
                axes.plot(column(mine, "strain"), column(mine, "pair_ratio"), color=tint, lw=0.7)
                value, sem = (column(mine, f"raw_ratio_{part}") for part in ("value", "sem"))
                ends = value - SIGMAS * sem, value + SIGMAS * sem
                look: Look = {"ls": "", "marker": marker, "color": tint, "markersize": 3}
                bars(axes, column(mine, "strain"), value, *ends, elinewidth=0.7, **look)
        ordered = sorted(rows, key=lambda row: row["strain"])
        drawn = [row for row in ordered if row["departure"] < TOP]
        options: Look = {"color": style.BLACK, "lw": 1.4, "ls": "--"}
        axes.plot(column(drawn, "strain"), column(drawn, "departure"), **options)
        axes.axhline(1, color=style.GREY, lw=0.6)
        high = min(TOP, 2 * max(row["raw_ratio_value"] for row in rows))
        axes.set(xscale="log", yscale="log", ylim=(0.5, max(high, 3)))
        plain_log(axes.yaxis)
        axes.set_xlabel(r"$\lambda = sd\,/\,\tau\sqrt{\tau^2 + s^2}$ ($d$: half distance of modes)")
        axes.set_ylabel(r"flips$\,/\,\sqrt{2/\pi}\,sA_W$ (raw noise)")
        handles = _collapse_handles(widths, tints, codes)
        figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def _collapse_handles(widths: list[float], tints: np.ndarray, codes: list[Code]) -> list[Line2D]:
    ink: Look = {"color": style.BLACK}
    law = r"$\sqrt{\pi/2}\,e^{\lambda^2\!/2}\,\mathrm{erf}(\lambda/\sqrt{2})/\lambda$"
    handles = [
        Line2D([], [], lw=1.4, ls="--", label=law, **ink),
        Line2D([], [], lw=0.7, label="pairs alone", **ink),
    ]
    for (modes, n), marker in zip(codes, MARKERS, strict=False):
        label = f"$M = {modes}$, $n = {n}$"
        handles.append(Line2D([], [], ls="", marker=marker, markersize=3, label=label, **ink))
    return handles + [
        Line2D([], [], lw=3, color=tint, label=rf"$\tau = {width:g}$")
        for width, tint in zip(widths, tints, strict=True)
    ]


def _rare(rows: Table) -> Figure:
    """Standard errors over value, of weighted draws and of as many plain ones."""
    with mpl.rc_context(style.RULES):
        size = (style.COLUMN, 1.1 + 0.45 * len(rows))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        heights = np.arange(len(rows))[::-1]
        for name, shift, color in (("raw", 0.12, style.BLUE), ("mean", -0.12, style.VERMILION)):
            look: Look = {"ls": "", "color": color}
            ours, plain = (column(rows, f"{name}_{kind}_sem") for kind in ("relative", "plain"))
            axes.plot(ours, heights + shift, marker="o", **look)
            axes.plot(plain, heights + shift, marker="x", **look)
        axes.axvline(0.05, color=style.GREY, lw=0.8, ls="--")
        axes.set(xscale="log", xlabel="standard error of a flip rate / the rate")
        labels = [f"{r['modes']:g}, {r['dimension']:g}:\n{r['raw_value']:.1e}" for r in rows]
        axes.yaxis.set_major_locator(FixedLocator(heights.tolist()))
        axes.set_yticklabels(labels)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_ylabel("$M$, $n$: rate")
        figure.legend(handles=_rare_handles(), loc="outside upper center", ncols=3)
    return figure


def _rare_handles() -> list[Line2D]:
    ink: Look = {"color": style.BLACK, "ls": ""}
    return [
        Line2D([], [], lw=3, color=style.BLUE, label="raw noise"),
        Line2D([], [], marker="o", label="weighted draws", **ink),
        Line2D([], [], ls="--", lw=0.8, color=style.GREY, label="5%"),
        Line2D([], [], lw=3, color=style.VERMILION, label="posterior mean"),
        Line2D([], [], marker="x", label="as many plain draws", **ink),
    ]
