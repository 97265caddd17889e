"""What pictures of synthetic readouts have in common: laws of latents, titles, ticks."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from figures import style
from figures.marks import Look, Table

LAWS: dict[str, Look] = {
    "gaussian": {"color": style.BLACK, "marker": "D"},
    "overlapping": {"color": style.ORANGE, "marker": "^"},
    "separated": {"color": style.BLUE, "marker": "o"},
    "nuisance": {"color": style.PURPLE, "marker": "s"},
}


def laws(rows: Table) -> list[str]:
    """The laws of latents that have rows."""
    return [law for law in LAWS if any(row["latents"] == law for row in rows)]


def of_law(rows: Table, law: str, by: str) -> Table:
    """The rows of one law in the order of a column."""
    return sorted((r for r in rows if r["latents"] == law), key=lambda r: r[by])


def title(row: dict[str, Any]) -> str:
    """Family, M, rank and n of a row's readout."""
    return (
        f"{row['readout'].split()[0]}: M = {row['classes']}, rank {row['rank']} in "
        f"R$^{{{row['dimension']}}}$"
    )


def ticks(axes: Axes, rows: Table, name: str) -> None:
    """A tick at every value of the table; aslant, or upright, where there are many."""
    found = sorted({row[name] for row in rows})
    labels = [f"{x:g}" for x in found]
    axes.set_xticks(found, labels=labels, rotation=45 * ((len(found) > 5) + (len(found) > 6)))
    axes.xaxis.set_minor_locator(NullLocator())
