"""What pictures of generated sequences have in common: looks of samplers, panels over K, titles."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from figures import style
from figures.marks import SIGMAS, Look, Row, Table, bars, column, ends, plain_log

RATIOS = (0.85, 100.0)  # of perplexities: beyond them a collapse is as good as another
SAMPLERS: dict[str, Look] = {
    "exact": {"color": style.BLUE, "marker": "o"},
    "euler": {"color": style.SKY, "marker": "v"},
    "heun": {"color": style.GREEN, "marker": "s"},
    "churn": {"color": style.ORANGE, "marker": "^", "ls": "--"},
    "ancestral": {"color": style.VERMILION, "marker": "D", "ls": "-."},
    "renoise": {"color": style.GREY, "marker": "x", "ls": ":"},
    "sampled": {"color": style.PURPLE, "marker": "P"},
}
CHURNS = (style.BLUE, style.SKY, style.ORANGE, style.VERMILION, style.PURPLE)


def way_of(row: Row) -> str:
    """What a legend calls a row's sampler."""
    sampler = str(row["sampler"])
    name = {"exact": "ODE", "heun": "Heun", "renoise": "re-noised mean"}.get(sampler, sampler)
    name += f" {row['churn']:g}" if row["sampler"] == "churn" else ""
    return f"{name}, sampled tokens" if row["ending"] == "sampled" else name


def short(row: Row) -> str:
    """V, c, n and L of a row's language."""
    kind, vocabulary, spread, dimension, embedding = row["language"].split()
    order = "second order, " if kind == "pairs" else ""
    sizes = f"V = {vocabulary}, n = {dimension}, L = {row['length']}"
    return f"{order}{sizes}, Dirichlet({spread}), {embedding}"


def over_steps(axes: list[Axes], rows: Table, look: Look) -> None:
    """Perplexity over the truth, entropy less the truth's, bigram distance, over K."""
    mine = sorted(rows, key=lambda r: r["steps"])
    x = column(mine, "steps")
    top: Look = {"lw": 0.9, "markersize": 3} | look
    bars(axes[0], x, *ends(mine, "over_truth"), **top)
    less = [part - column(mine, "entropy_truth") for part in ends(mine, "entropy")]
    bars(axes[1], x, *less, **top)
    value, reach = column(mine, "bigram_value"), SIGMAS * column(mine, "bigram_sem")
    bars(axes[2], x, value, np.maximum(value - reach, 0), value + reach, **top)
    # Two halves differ by twice what the whole differs from its own law, by chance alone.
    axes[2].plot(x, column(mine, "bigram_bias") / 2, color=style.GREY, lw=0.6, ls=":")


def three_labels(axes: list[Axes]) -> None:
    """What `over_steps` shows, and where the language itself lies."""
    axes[0].axhline(1, color=style.BLACK, lw=0.6)
    axes[0].set(yscale="log", ylim=RATIOS, ylabel="perplexity\nover the truth")
    plain_log(axes[0].yaxis)
    axes[1].axhline(0, color=style.BLACK, lw=0.6)
    axes[1].set(ylim=(-0.5, 0.25), ylabel="entropy of a token\nless the truth (nats)")
    axes[2].set(ylim=(0, 1), ylabel="bigrams: total variation\n(dotted: by chance)")


def steps_axis(axes: Axes, rows: Table) -> None:
    """Ticks at every K."""
    found = sorted({row["steps"] for row in rows})
    axes.set(xscale="log", xlabel="steps K")
    axes.set_xticks(found, labels=[f"{k:g}" for k in found])
    axes.xaxis.set_minor_locator(NullLocator())
