"""Real heads under noise: flips beside tube law and sandwich, before and after denoising."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import style
from figures.marks import Look, Table, bars, column, plain_log
from figures.responses import DECODERS, OTHER

RAW: Look = {"color": style.BLACK, "marker": "o", "ls": "", "lw": 0.8}
MEAN: Look = {"color": style.ORANGE, "marker": "s", "ls": "", "lw": 0.8}
FAINT: Look = {"color": style.ORANGE, "lw": 0.8, "alpha": 0.6}
BANDWIDTHS = {"mean_narrow_": ("--", "its bandwidth halved"), "mean_wide_": (":", "doubled")}
LAW: Look = {"color": style.VERMILION, "ls": "--"}
ASIDE = 1.08  # the posterior mean's points stand this factor to the right of raw noise's
ABOVE: Look = {"loc": "outside upper center", "ncols": 2, "title_fontsize": 8}
UNIT = "noise s over the median distance to a facet"
Stored = tuple[dict[str, Any], dict[str, Any]]  # a row and its arrays
SHOWN = {  # what a figure's points are: columns' prefix, look, words
    "": (("", RAW, "raw noise"), ("mean_", MEAN, "posterior mean (held-out)")),
    "-law": (("law_raw_", RAW, "raw noise"), ("law_mean_", MEAN, "posterior mean (exact)")),
}


def draw(table: Table) -> dict[str, Figure]:
    """For every decoder its real latents, and with `-law` draws of the law fitted to them."""
    figures = {}
    for name in sorted({row["decoder"] for row in table}):
        rows = sorted((r for r in table if r["decoder"] == name), key=lambda row: row["ratio"])
        figures[name] = _decoder(rows)
        if np.isfinite(column(rows, "law_raw_flips_value")).any():
            figures[f"{name}-law"] = _law(rows)
    return figures


def draw_arrays(stored: Iterable[Stored]) -> dict[str, Figure]:
    """`distances`: how near to a facet the latents of every decoder lie, in units of their norm."""
    found: dict[str, Stored] = {}
    for row, arrays in stored:
        if "relative_distance" in arrays:
            found.setdefault(row["decoder"], (row, arrays))
    return {"distances": _distances(found)} if found else {}


def _decoder(rows: Table) -> Figure:
    one = rows[0]
    with style.column(rows=2, height=4.4, ratios=(1.7, 1.0)) as (figure, (top, bottom)):
        x = column(rows, "ratio")
        lower, upper = column(rows, "sandwich_lower"), column(rows, "sandwich_upper")
        top.fill_between(x, lower, upper, color=style.SKY, alpha=0.4, lw=0, label="sandwich")
        for side in (lower, upper):
            top.plot(x, side, color=style.BLUE, lw=0.8)
        top.plot(x, column(rows, "law"), label=r"tube law $\sqrt{2/\pi}\,s\,A_W$", **LAW)
        for prefix, (dash, said) in BANDWIDTHS.items():
            if np.isfinite(column(rows, f"{prefix}flips_value")).any():
                top.plot(x, column(rows, f"{prefix}flips_value"), ls=dash, label=said, **FAINT)
                bottom.plot(x, column(rows, f"{prefix}ratio_to_law_value"), ls=dash, **FAINT)
        _points(top, bottom, rows, "")
        _limits(top, bottom, rows, "")
        bottom.set_xlabel(f"{UNIT}\n(that median is {one['distance_median']:.3g})")
        heading = (
            f"{one['decoder']}: {one['classes']} classes in R$^{{{one['dimension']}}}$, "
            f"{one['latents']} latents"
        )
        figure.legend(*_keys(top), title=heading, **ABOVE)
    return figure


def _law(rows: Table) -> Figure:
    one = rows[0]
    with style.column(rows=2, height=3.8, ratios=(1.5, 1.0)) as (figure, (top, bottom)):
        top.plot(column(rows, "ratio"), column(rows, "law_raw_law"), label="its tube law", **LAW)
        _points(top, bottom, rows, "-law")
        _limits(top, bottom, rows, "-law")
        width = one["bandwidth"] / one["distance_median"]
        bottom.set_xlabel(f"{UNIT}\n(bandwidth of the law: {width:.2g} of that median)")
        heading = f"{one['decoder']}: draws of the fitted law, {one['modes']} Gaussians"
        figure.legend(*_keys(top), title=heading, **ABOVE)
    return figure


def _keys(axes: Axes) -> tuple[list[Any], list[str]]:
    """Handles and labels, points first."""
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda k: not hasattr(handles[k], "has_yerr"))
    return [handles[k] for k in order], [labels[k] for k in order]


def _points(top: Axes, bottom: Axes, rows: Table, kind: str) -> None:
    """Flips and their ratio to the law; what may be 0 has no lower end on a logarithmic axis."""
    for k, (prefix, look, said) in enumerate(SHOWN[kind]):
        x = column(rows, "ratio") * ASIDE**k
        value, low, high = _ends(rows, f"{prefix}flips")
        seen = value > 0
        if not np.isfinite(value).any():
            continue
        low = np.maximum(low, 1e-9)
        bars(top, x[seen], value[seen], low[seen], high[seen], label=said, **look)
        tip: Look = {"marker": r"$\downarrow$", "ls": "", "markersize": 8, "color": look["color"]}
        top.plot(x[value == 0], high[value == 0], **tip)
        value, low, high = _ends(rows, f"{prefix}ratio_to_law")
        known = np.isfinite(value)
        bars(bottom, x[known], value[known], low[known], high[known], **look)


def _ends(rows: Table, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    value, low, high = (column(rows, f"{name}_{end}") for end in ("value", "lower", "upper"))
    return value, np.where(np.isfinite(low), low, value), np.where(np.isfinite(high), high, value)


def _limits(top: Axes, bottom: Axes, rows: Table, kind: str) -> None:
    """Axes that hold all values, and of intervals that are nearly open what has place."""
    top.set(xscale="log", yscale="log", ylabel="share of tokens flipped")
    names = [f"{prefix}flips_value" for prefix, _, _ in SHOWN[kind]] + ["sandwich_lower"]
    small = np.concatenate([column(rows, name) for name in names])
    small = small[small > 0]  # neither 0 nor missing
    top.set_ylim(small.min() / 4 if len(small) else 1e-6, 1.5)
    plain_log(bottom.xaxis)
    bottom.axhline(1, **LAW)
    found = [_ends(rows, f"{prefix}ratio_to_law") for prefix, _, _ in SHOWN[kind]]
    value, _, high = np.nan_to_num(np.array(found)).transpose(1, 0, 2)
    bottom.set_ylim(0, max(2.0, min(1.05 * float(high.max()), 1.8 * float(value.max()))))
    bottom.set_ylabel("flips over law\n(1 − 10⁻⁹ intervals)")


def _distances(found: dict[str, Stored]) -> Figure:
    with style.column(height=2.9) as (figure, (axes,)):
        for k, (name, (row, arrays)) in enumerate(sorted(found.items())):
            said = f"{name} ({row['classes']} in R$^{{{row['dimension']}}}$)"
            look: Look = {"markevery": (0.05 + 0.03 * k, 0.2), "lw": 1} | DECODERS.get(name, OTHER)
            axes.plot(arrays["relative_distance"], arrays["quantiles"], label=said, **look)
        axes.set(xscale="log", ylim=(0, 1), ylabel="share of latents nearer than that")
        first = [np.interp(0.01, a["quantiles"], a["relative_distance"]) for _, a in found.values()]
        axes.set_xlim(left=max(min(first), 1e-9))
        axes.set_xlabel(r"distance to the nearest facet, $\delta/\|z\|$")
        figure.legend(loc="outside upper center", ncols=2)
    return figure
