"""A real head under noise: flip rates beside tube law and sandwich, and their ratio to the law."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import style

Table = list[dict[str, Any]]


def draw(table: Table) -> dict[str, Figure]:
    """One figure a decoder, named after it."""
    decoders = sorted({row["decoder"] for row in table})
    return {name: _decoder([row for row in table if row["decoder"] == name]) for name in decoders}


def _column(rows: Table, name: str) -> np.ndarray:
    return np.array([row[name] for row in rows], dtype=float)


def _decoder(rows: Table) -> Figure:
    rows = sorted(rows, key=lambda row: row["scale"])
    x = _column(rows, "ratio")
    with style.column(rows=2, height=4.0, ratios=(1.6, 1.0)) as (figure, (top, bottom)):
        _flips(top, x, rows)
        _ratio(bottom, x, rows)
        one = rows[0]
        bottom.set_xlabel(
            "noise s over the median distance to a facet\n"
            f"(that median is {one['distance_median']:.3g} in units of the latents)"
        )
        top.set_title(
            f"{one['decoder']}: {one['classes']} classes in R$^{{{one['dimension']}}}$, "
            f"{one['latents']} latents"
        )
    return figure


def _flips(axes: Axes, x: np.ndarray, rows: Table) -> None:
    lower, upper = _column(rows, "sandwich_lower"), _column(rows, "sandwich_upper")
    axes.fill_between(x, lower, upper, color=style.SKY, alpha=0.4, lw=0, label="sandwich")
    axes.plot(x, lower, color=style.BLUE, lw=0.8)
    axes.plot(x, upper, color=style.BLUE, lw=0.8)
    law = _column(rows, "law")
    axes.plot(x, law, color=style.VERMILION, ls="--", label=r"tube law $\sqrt{2/\pi}\,s\,A_W$")
    value = _column(rows, "flips_value")
    ends = [value - _column(rows, "flips_lower"), _column(rows, "flips_upper") - value]
    axes.errorbar(x, value, yerr=ends, color=style.BLACK, fmt="o", label="flips, raw noise")
    axes.set(xscale="log", yscale="log", ylabel="share of tokens flipped")
    axes.legend(loc="lower right")


def _ratio(axes: Axes, x: np.ndarray, rows: Table) -> None:
    value = _column(rows, "ratio_to_law_value")
    ends = [value - _column(rows, "ratio_to_law_lower"), _column(rows, "ratio_to_law_upper")]
    ends[1] = ends[1] - value
    axes.errorbar(x, value, yerr=ends, color=style.BLACK, fmt="o")
    axes.axhline(1, color=style.VERMILION, ls="--")
    axes.set_ylim(0, max(2.0, float(np.nanmax(_column(rows, "ratio_to_law_upper"))) * 1.05))
    axes.set_ylabel("flips over law\n(1 − 10⁻⁹ intervals)")
