"""What K steps with the exact denoiser say: perplexity and entropy over K, a sweep, modes."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import style
from figures.generation import (
    RATIOS,
    SAMPLERS,
    over_steps,
    short,
    steps_axis,
    three_labels,
    way_of,
)
from figures.marks import Look, Table, bars, column, ends, looks, plain_log


def draw(table: Table) -> dict[str, Figure]:
    """`reference`, a `sweep` for every V and c, `look` and `modes`, as far as there are rows."""
    figures = {}
    reference = [r for r in table if r["family"] == "reference"]
    ways = [r for r in table if r["family"] == "way"]
    sweep = [r for r in table if r["family"] == "sweep"]
    modes = [r for r in table if r["family"] == "modes"]
    if reference:
        figures["reference"] = _reference(reference, ways)
    for words in dict.fromkeys(" ".join(r["language"].split()[:3]) for r in sweep):
        mine = [r for r in sweep if r["language"].startswith(f"{words} ")]
        figures[f"sweep-{words.replace(' ', '-')}"] = _sweep(mine)
    varied = [r for r in table if r["family"] == "look"]
    if varied:
        figures["look"] = _looks(varied)
    if modes:
        figures["modes"] = _modes(modes)
    return figures


def _looks(rows: Table) -> Figure:
    """Two exact steps: perplexity over the truth over the t of the second look, by n."""
    names = sorted({r["language"] for r in rows}, key=lambda w: int(w.split()[3]))
    with style.column(height=2.8) as (figure, (axes,)):
        for name, look in zip(names, looks(range(len(names))).values(), strict=True):
            mine = [r for r in rows if r["language"] == name]
            mine = sorted(mine, key=lambda r: float(r["grid"].split()[1]))
            x = np.array([float(r["grid"].split()[1]) for r in mine])
            label = f"n = {name.split()[3]}"
            bars(axes, x, *ends(mine, "over_truth"), lw=0.9, label=label, **look)
        axes.axhline(1, color=style.BLACK, lw=0.6)
        axes.set(yscale="log", ylim=RATIOS, ylabel="perplexity over the truth, K = 2")
        plain_log(axes.yaxis)
        axes.set_xlabel("time t of the second look (1 is noise, 0 data)")
        figure.legend(loc="outside upper center", ncols=3)
    return figure


def _reference(reference: Table, ways: Table) -> Figure:
    """Perplexity over the truth, entropy less the truth's, bigram distance: every sampler."""
    named: dict[str, Table] = {}
    plain = [r for r in ways if r["schedule"] == "flow" and r["grid"] == "uniform"]
    for row in plain:
        named.setdefault(way_of(row), []).append(row)
    with style.column(rows=3, height=5.6) as (figure, axes):
        for draw in sorted({r["draw"] for r in reference}):
            mine = [r for r in reference if r["draw"] == draw]
            over_steps(axes, mine, SAMPLERS["exact"] | {"lw": 0.5, "markersize": 2})
        handles = [Line2D([], [], label="ODE, a line a draw", **SAMPLERS["exact"])]
        for name, rows in named.items():
            look = SAMPLERS["sampled" if rows[0]["ending"] == "sampled" else rows[0]["sampler"]]
            over_steps(axes, rows, look)
            handles.append(Line2D([], [], label=name, **look))
        three_labels(axes)
        steps_axis(axes[2], reference + plain)
        place: Look = {"loc": "outside upper center", "ncols": 3}
        figure.legend(handles=handles, title=short(reference[0]), **place)
    return figure


def _sweep(rows: Table) -> Figure:
    """Perplexity over the truth over K, a panel for every L, by n; exact, churn ½, ancestral."""
    lengths = sorted({r["length"] for r in rows})
    names = sorted({r["language"] for r in rows}, key=lambda w: (int(w.split()[3]), w))
    dashes = {"exact": "-", "churn": "--", "ancestral": ":"}
    colors = (style.BLUE, style.ORANGE, style.GREEN, style.VERMILION, style.PURPLE)
    with style.column(rows=len(lengths), height=1.2 + 1.5 * len(lengths)) as (figure, axes):
        for one, length in zip(axes, lengths, strict=True):
            for name, color in zip(names, colors, strict=False):
                for sampler, dash in dashes.items():
                    mine = sorted(
                        (
                            r
                            for r in rows
                            if (r["language"], r["length"], r["sampler"]) == (name, length, sampler)
                        ),
                        key=lambda r: r["steps"],
                    )
                    look: Look = {"color": color, "ls": dash, "lw": 0.9, "marker": "."}
                    bars(one, column(mine, "steps"), *ends(mine, "over_truth"), **look)
            one.axhline(1, color=style.BLACK, lw=0.6)
            one.set(yscale="log", ylim=RATIOS, ylabel=f"over the truth\nL = {length}")
            plain_log(one.yaxis)
        steps_axis(axes[-1], rows)
        handles = [
            Line2D([], [], color=c, label=f"n = {name.split()[3]}, {name.split()[4]}")
            for name, c in zip(names, colors, strict=False)
        ]
        handles += [
            Line2D([], [], color=style.GREY, ls=dash, label=label)
            for dash, label in zip(dashes.values(), ("ODE", "churn ½", "ancestral"), strict=True)
        ]
        kind, vocabulary, spread, *_ = names[0].split()
        heading = f"perplexity: {kind}, V = {vocabulary}, Dirichlet({spread})"
        figure.legend(handles=handles, title=heading, loc="outside upper center", ncols=3)
    return figure


def _modes(rows: Table) -> Figure:
    """Leak over K by sampler, and the stiffness of ODE steps beside the floor of their leak."""
    with style.column(rows=2, height=4.6) as (figure, (top, bottom)):
        largest = max(r["modes"] for r in rows)
        shown: dict[str, Look] = {}
        for row in rows:
            name = "sampled" if row["ending"] == "sampled" else row["sampler"]
            shown.setdefault(name, SAMPLERS[name])
        for name, look in shown.items():
            mine = sorted(
                (
                    r
                    for r in rows
                    if r["modes"] == largest
                    and ("sampled" if r["ending"] == "sampled" else r["sampler"]) == name
                ),
                key=lambda r: r["steps"],
            )
            triple = [column(mine, f"leak_{part}") for part in ("value", "lower", "upper")]
            floor = 0.3 / float(mine[0]["leak_count"])
            triple = [np.maximum(part, floor) for part in triple]
            bars(top, column(mine, "steps"), *triple, **look)
        top.set(yscale="log", ylabel=f"leak, M = n = {largest}\n(zeros at the bottom)")
        _stiffness(bottom, rows)
        steps_axis(bottom, rows)
        labels = {
            "exact": "ODE",
            "sampled": "ODE, then a sampled mode",
            "churn": "churn ½",
            "heun": "Heun",
        }
        handles = [Line2D([], [], label=labels.get(n, n), **look) for n, look in shown.items()]
        figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def _stiffness(axes: Axes, rows: Table) -> None:
    """Largest sampled ‖D‖ of a step and of all, while some leak is seen; dotted its floor."""
    found = sorted({r["modes"] for r in rows})
    colors = dict(zip(found, (style.SKY, style.BLUE, style.BLACK), strict=False))
    for modes, color in colors.items():
        mine: Any = sorted(
            (
                r
                for r in rows
                if r["modes"] == modes and r["sampler"] == "exact"
                if r.get("whole") and r["leak_value"] > 0
            ),
            key=lambda r: r["steps"],
        )
        x = column(mine, "steps")
        for name, dash in (("peak", "--"), ("whole", "-"), ("stiffness_floor", ":")):
            label = f"M = {modes}" if name == "whole" else None
            axes.plot(x, column(mine, name), color=color, ls=dash, lw=0.9, marker=".", label=label)
    for label, dash in (("stiffest step", "--"), ("all steps", "-"), ("floor of the leak", ":")):
        axes.plot([], [], color=style.GREY, ls=dash, lw=0.9, label=label)
    axes.set(yscale="log", ylabel="largest sampled ‖D‖\nof ODE steps")
    plain_log(axes.yaxis)
    axes.legend(fontsize=6, ncols=2)
