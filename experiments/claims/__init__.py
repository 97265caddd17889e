"""Claims: theorem → rows → verdict, from the tables alone."""

from pathlib import Path

from experiments.claims import (
    bridge,
    churn,
    commitment,
    contrast,
    crossover,
    decoder,
    diagnostic,
    earlier,
    escapes,
    few_step,
    hierarchy,
    interface,
    leak,
    margins,
    profile,
    residual,
    separated,
    stiffness_surface,
    tube,
)
from experiments.registry import choose
from experiments.store import Row, read_table
from experiments.verdict import Check as Check
from experiments.verdict import Verdict

CLAIMS = [
    *interface.CLAIMS,
    *profile.CLAIMS,
    *separated.CLAIMS,
    *leak.CLAIMS,
    *hierarchy.CLAIMS,
    *tube.CLAIMS,
    *crossover.CLAIMS,
    *margins.CLAIMS,
    *residual.CLAIMS,
    *bridge.CLAIMS,
    *few_step.CLAIMS,
    *churn.CLAIMS,
    *commitment.CLAIMS,
    *stiffness_surface.CLAIMS,
    *diagnostic.CLAIMS,
    *decoder.CLAIMS,
    *contrast.CLAIMS,
    *escapes.CLAIMS,
    *earlier.CLAIMS,
]


def evaluate(out: Path, claim: str | None = None) -> list[Verdict]:
    """Verdicts of all claims, or of one, from the tables in `out`.

    Raises:
        ValueError: when no claim has this id.
    """
    known = {c.id: c for c in CLAIMS}
    chosen = CLAIMS if claim is None else [known[choose("claim", claim, known)]]
    names = {c.experiment for c in chosen}
    tables = {name: _rows(out / f"{name}.csv") for name in names}
    return [c.judge(tables[c.experiment]) for c in chosen]


def _rows(path: Path) -> list[Row]:
    return read_table(path) if path.is_file() else []
