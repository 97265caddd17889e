"""Churn against steps: perplexity beside entropy (figure 9's form), and where the SDE wins."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import style
from figures.generation import CHURNS, RATIOS, short, steps_axis
from figures.marks import MARKERS, SIGMAS, Look, Row, Table, bars, column, dodged, ends, plain_log

REACH = (0.002, 20.0)  # of gains that are shown: to the left churn fell back to noise
SAME = ("language", "schedule", "grid", "guidance", "floor", "draw")


def draw(table: Table) -> dict[str, Figure]:
    """`language`, the least and the largest n; `gain`, ODE over SDE by ingredient."""
    figures = {}
    plain = [r for r in table if r["varied"] == "dimension" and r["draw"] == 0]
    names = sorted({r["language"] for r in plain}, key=lambda w: (_size(w), w))
    for name in dict.fromkeys(names[:1] + names[-1:]):
        mine = [r for r in plain if r["language"] == name]
        figures[f"language-{name.replace(' ', '-')}"] = _language(mine)
    gains = _gains(table)
    if gains:
        figures["gain"] = _gain(gains)
    return figures


def _size(words: str) -> int:
    return int(words.split()[1]) * int(words.split()[3])


def _language(rows: Table) -> Figure:
    """Perplexity over the truth and entropy over K, a curve for every γ."""
    churns = sorted({r["churn"] for r in rows})
    with style.column(rows=3, height=4.8) as (figure, (top, middle, bottom)):
        for churn, color, marker in zip(churns, CHURNS, MARKERS, strict=False):
            mine = sorted((r for r in rows if r["churn"] == churn), key=lambda r: r["steps"])
            x = column(mine, "steps")
            look: Look = {"color": color, "marker": marker, "lw": 0.9, "markersize": 3}
            label = "ODE" if churn == 0 else f"γ = {churn:g}"
            bars(top, x, *ends(mine, "over_truth"), label=label, **look)
            less = [part - column(mine, "entropy_truth") for part in ends(mine, "entropy")]
            bars(middle, x, *less, **look)
            bars(bottom, x, *ends(mine, "frechet"), **look)
        top.axhline(1, color=style.BLACK, lw=0.6)
        middle.axhline(0, color=style.BLACK, lw=0.6)
        top.set(yscale="log", ylim=RATIOS, ylabel="perplexity\nover the truth")
        plain_log(top.yaxis)
        middle.set(ylim=(-0.6, 0.2), ylabel="entropy of a token\nless the truth (nats)")
        bottom.set(ylim=(-0.02, 0.5), ylabel="Fréchet distance\n(smooth readout)")
        steps_axis(bottom, rows)
        figure.legend(title=short(rows[0]), loc="outside upper center", ncols=4)
    return figure


def _gains(table: Table) -> list[Row]:
    """ODE's perplexity over that of churn ½ (or the only churn), with its error."""
    ode = {tuple(r[n] for n in (*SAME, "steps")): r for r in table if r["churn"] == 0}
    churns = sorted({r["churn"] for r in table if r["churn"]}, key=lambda c: abs(c - 0.5))
    found = []
    for row in table:
        other = ode.get(tuple(row[n] for n in (*SAME, "steps")))
        if other is None or not churns or row["churn"] != churns[0] or row["draw"]:
            continue
        ratio = other["perplexity_value"] / row["perplexity_value"]
        share = np.hypot(*(r["perplexity_sem"] / r["perplexity_value"] for r in (row, other)))
        found.append({**row, "gain": ratio, "reach": float(SIGMAS * share)})
    return found


def _named(row: Row) -> str:
    _, vocabulary, _, dimension, embedding = row["language"].split()
    base = f"V={vocabulary}, n={dimension}"
    extra = {
        "dimension": "" if embedding == "random" else embedding,
        "place": f"{'VP, ' if row['schedule'] == 'preserving' else ''}{row['grid']}",
        "guidance": f"w = {row['guidance']:g}",
        "floor": f"s₀ = {row['floor']:g}",
    }[row["varied"]]
    return f"{base} {extra}".strip()


def _gain(rows: list[Row]) -> Figure:
    """A line for every setting, a mark for every K; right of 1 the SDE is better."""
    plain = "uniform"
    rows = [r for r in rows if not (r["varied"] == "place" and _is_plain(r, plain))]
    names = list(dict.fromkeys(_named(r) for r in rows))
    steps = sorted({r["steps"] for r in rows})
    with style.column(height=1.2 + 0.17 * len(names)) as (figure, (axes,)):
        places = {name: len(names) - k for k, name in enumerate(names)}
        y = dodged(np.array([places[_named(r)] for r in rows], float), 0.6)
        for k, color, marker in zip(steps, CHURNS, MARKERS, strict=False):
            at = [i for i, r in enumerate(rows) if r["steps"] == k]
            gain, reach = (np.array([rows[i][n] for i in at]) for n in ("gain", "reach"))
            error = [gain * np.minimum(reach, 0.99), gain * reach]
            axes.errorbar(gain, y[at], xerr=error, ls="", color=color, marker=marker, markersize=3)
        axes.axvline(1, color=style.BLACK, lw=0.6)
        axes.set(xscale="log", xlim=REACH, xlabel="ODE's perplexity over the SDE's (γ = ½)")
        plain_log(axes.xaxis)
        axes.set_yticks(list(places.values()), labels=list(places))
        axes.tick_params(axis="y", labelsize=6)
        handles = [
            Line2D([], [], ls="", color=c, marker=m, label=f"K = {k}")
            for k, c, m in zip(steps, CHURNS, MARKERS, strict=False)
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


def _is_plain(row: Row, grid: str) -> bool:
    return bool(row["schedule"] == "flow" and row["grid"] == grid)
