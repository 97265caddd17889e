"""Commitment by rounds: perplexity, entropy and bigrams of every order."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures import style
from figures.generation import over_steps, short, three_labels
from figures.marks import Look, Table
from figures.readouts import ticks

ORDERS: dict[str, Look] = {
    "bisection": {"color": style.BLUE, "marker": "o", "ls": "", "markersize": 5},
    "left to right": {"color": style.GREEN, "marker": "s", "ls": ""},
    "random": {"color": style.ORANGE, "marker": "^"},
    "confidence": {"color": style.PURPLE, "marker": "D", "ls": "--"},
}


def draw(table: Table) -> dict[str, Figure]:
    """A picture for every language at its largest L."""
    figures = {}
    for name in dict.fromkeys(r["language"] for r in table):
        mine = [r for r in table if r["language"] == name]
        longest = max(r["length"] for r in mine)
        figures[name.replace(" ", "-")] = _orders([r for r in mine if r["length"] == longest])
    return figures


def _orders(rows: Table) -> Figure:
    with style.column(rows=3, height=5.0) as (figure, axes):
        for order, look in ORDERS.items():
            for draw in sorted({r["draw"] for r in rows}):
                mine = [r for r in rows if r["order"] == order and r["draw"] == draw]
                over_steps(axes, mine, look)
        three_labels(axes)
        axes[0].set(yscale="log", ylim=(0.8, 1e5))  # decades: plain ticks would be too many
        axes[2].set(xscale="log", xlabel="rounds of sampled tokens")
        ticks(axes[2], rows, "steps")
        handles = [Line2D([], [], label=order, **look) for order, look in ORDERS.items()]
        place: Look = {"loc": "outside upper center", "ncols": 2}
        figure.legend(handles=handles, title=short(rows[0]), **place)
    return figure
