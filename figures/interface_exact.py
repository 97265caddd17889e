"""Partitions of known perimeter: P/√log M beside the floors, and every estimator over the truth."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from figures import style

Table = list[dict[str, Any]]

FAMILIES = {
    "intervals": (style.VERMILION, "s", "intervals, n = 1"),
    "orthants": (style.ORANGE, "^", "orthants, n = log₂M"),
    "simplicial": (style.BLUE, "o", "simplicial, n = M − 1"),
}
ESTIMATORS = {
    "crofton": (style.BLUE, "o", "Crofton"),
    "projection": (style.GREEN, "v", "facet projection"),
    "tube": (style.VERMILION, "s", "tube"),
    "coarea": (style.PURPLE, "D", "coarea"),
    "gauss-green": (style.ORANGE, "^", "Gauss–Green"),
}


def draw(table: Table) -> dict[str, Figure]:
    """`profile`: the interface profile; `agreement`: estimators over the exact perimeter."""
    return {"profile": _profile(table), "agreement": _agreement(table)}


def _column(rows: Table, name: str) -> np.ndarray:
    return np.array([row[name] for row in rows], dtype=float)


def _profile(table: Table) -> Figure:
    with style.column(height=2.9) as (figure, (axes,)):
        floors = sorted({row["modes"]: row for row in table}.values(), key=lambda r: r["modes"])
        modes, root = _column(floors, "modes"), _column(floors, "root_log_modes")
        sharp = _column(floors, "interface_floor") / root
        low = _column(floors, "elementary_floor") / root
        axes.plot(modes, sharp, color=style.BLACK, label="sharp floor $P_S$")
        axes.plot(modes, low, color=style.GREY, ls="--", label="elementary floor")
        axes.fill_between(modes, low, sharp, color=style.GREY, alpha=0.15, lw=0)
        for family, (color, marker, label) in FAMILIES.items():
            _family(axes, [r for r in table if r["family"] == family], color, marker, label)
        axes.set(xscale="log", yscale="log", xlabel="number of cells $M$")
        axes.set_xscale("log", base=2)
        axes.set_ylabel(r"perimeter $P\,/\,\sqrt{\log M}$")
        axes.legend(loc="upper left", title="points: Crofton, 1 − 10⁻⁹ intervals")
    return figure


def _family(axes: Axes, rows: Table, color: str, marker: str, label: str) -> None:
    rows = sorted((r for r in rows if r["estimator"] == "crofton"), key=lambda r: r["modes"])
    if not rows:
        return
    root, modes = _column(rows, "root_log_modes"), _column(rows, "modes")
    value = _column(rows, "perimeter_value")
    ends = [value - _column(rows, "perimeter_lower"), _column(rows, "perimeter_upper") - value]
    axes.plot(modes, _column(rows, "exact") / root, color=color, lw=0.8, alpha=0.7)
    axes.errorbar(
        modes, value / root, yerr=np.array(ends) / root, color=color, fmt=marker, label=label
    )


def _agreement(table: Table) -> Figure:
    """One place on the y axis a partition, the estimators side by side in it."""
    known = [row for row in table if row["estimator"] in ESTIMATORS]
    places = sorted({(row["family"], row["modes"]) for row in known}, reverse=True)
    with style.column(height=1.0 + 0.24 * len(places)) as (figure, (axes,)):
        for number, (name, (color, marker, label)) in enumerate(ESTIMATORS.items()):
            rows = [row for row in known if row["estimator"] == name]
            height = [places.index((r["family"], r["modes"])) for r in rows]
            exact, value = _column(rows, "exact"), _column(rows, "perimeter_value")
            ends = [value - _column(rows, "perimeter_lower"), _column(rows, "perimeter_upper")]
            ends[1] = ends[1] - value
            axes.errorbar(
                value / exact - 1,
                np.array(height) + 0.3 - 0.15 * number,
                xerr=np.array(ends) / exact,
                color=color,
                fmt=marker,
                markersize=2.5,
                elinewidth=0.8,
                capsize=1,
                label=label,
            )
        axes.axvline(0, color=style.BLACK, lw=0.6)
        axes.set_yticks(range(len(places)), [f"{family}, M = {m}" for family, m in places])
        axes.set_ylim(-0.6, len(places) - 0.4)
        _limits(axes, known)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlabel("estimate over exact perimeter, minus 1\n(1 − 10⁻⁹ intervals)")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _limits(axes: Axes, rows: Table) -> None:
    """Wide enough for nine intervals in ten; the widest run off the page rather than rule it."""
    exact = _column(rows, "exact")
    ends = [_column(rows, f"perimeter_{end}") / exact - 1 for end in ("lower", "upper")]
    reach = 1.2 * float(np.quantile(np.abs(ends), 0.9))
    if reach > 0:
        axes.set_xlim(-reach, reach)
