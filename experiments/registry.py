"""The experiments by name. Imports none of them, so that listing them is instant."""

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType

PACKAGE = "experiments"
EXPERIMENTS: dict[str, str] = {
    "interface_exact": "Gaussian perimeter of partitions with a known one, by every estimator "
    "(Theorem 6)",
    "interface_profile": "least perimeter found of M equal cells in R^n: the phase diagram and its "
    "laws (Theorem 6)",
    "inverse_stiffness": "leak against stiffness: the 1/Λ law, its sharp maps and trained ones "
    "(Theorem 5)",
    "stiffness_phase": "least certified stiffness that reaches a leak, over M and n (Theorem 6)",
    "depth_hierarchy": "peak stiffness and its price in a hierarchy of B levels (Theorem 7)",
    "decoder_tube": "nearest facets, A_W and raw-noise token flips of real decoder heads against "
    "the tube law and the sandwich (Theorem 3)",
}


def choose(kind: str, name: str, known: Iterable[str]) -> str:
    """`name` if it is known; otherwise a ValueError with the known names and the nearest."""
    known = list(known)
    if name in known:
        return name
    close = difflib.get_close_matches(name, known, n=1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    raise ValueError(f"unknown {kind} {name!r}: {guess}known: {', '.join(known)}")


def module_name(name: str) -> str:
    """The module that defines experiment `name`."""
    return f"{PACKAGE}.{choose('experiment', name, EXPERIMENTS)}"


def load(name: str) -> ModuleType:
    """Import experiment `name`; call `runtime.configure` first, so that its constants are float64.

    Such a module has `Grid`, `PRESETS`, `cells(grid)`, `measure(cell, key)` and may have
    `cost(cell)`, the seconds a cell is expected to take. With `CHECKPOINTS` true it is called as
    `measure(cell, key, checkpoint)`, and may keep its state in that `store.Checkpoint`.
    """
    return importlib.import_module(module_name(name))
