"""Theorems 5 to 7: maps with the leaks, stiffness and levels that they should have, or nearly."""

from functools import cache, partial
from typing import Any

from experiments import store
from experiments.claims import hierarchy, separated
from theory import bound
from theory.transport import sparsemax_leak, sparsemax_stiffness

CLAIMS = [claim for part in (separated, hierarchy) for claim in part.CLAIMS]
exact_leak, exact_stiffness = cache(sparsemax_leak), cache(sparsemax_stiffness)  # roots take long


def estimated(name: str, value: float, relative: float, count: int = 10**6) -> dict[str, Any]:
    sem = relative * value
    return {f"{name}_value": value, f"{name}_sem": sem, f"{name}_bias": 0.0, f"{name}_count": count}


def ended(name: str, value: float, half: float) -> dict[str, Any]:
    """A column with the ends of an interval of relative half-width `half`."""
    ends = {f"{name}_lower": value * (1 - half), f"{name}_upper": value * (1 + half)}
    return {name: value, f"{name}_value": value, **ends}


def leak_rows(factor: float = 1.0, half: float = 0.02, count: int = 10**6) -> list[store.Row]:
    """Maps with `factor` times the leak that they should have."""
    rows: list[store.Row] = []
    for modes, stiffness in [(2, 4.0), (16, 32.0), (64, 64.0)]:
        exact = exact_leak(modes, stiffness)
        a, b = bound.leak_expansion(modes)
        two_term = factor * (a / stiffness - b / stiffness**2)
        leaks = estimated("leak", factor * exact, 0.0, count) | {"exact": exact}
        rows.append({"family": "sparsemax", "two_term": two_term, **leaks, **shared(modes, factor)})
        rows[-1]["stiffness"] = stiffness
    for modes in (2, 4, 8):
        trained = ended("ratio", 1.02 * factor, half) | ended(
            "over_simplicial", 1.01 / factor, half
        )
        tight = {"certified_over_sampled": 1.05 * factor}
        rows.append({"family": "trained", **trained, **tight, **shared(modes, factor)})
    partition = ended("over_simplicial", 1.2, half) | estimated("tube", 0.05, 0.0)
    rates = estimated("raw_rate", 1.1 / factor**3, 0.005) | estimated("sharp_rate", 0.79, 0.005)
    apart = {"differing": int(50_000 * (factor - 1)), "differing_upper": factor - 1 + half / 10}
    rows.append({"family": "orthants", **partition, **rates, **apart, **shared(4, factor)})
    return rows


def shared(modes: int, factor: float) -> dict[str, Any]:
    sums = {"core_sum": factor * 0.99, "core_sum_lower": factor * 0.985}
    return {"modes": modes, "dimension": modes, "stiffness": 16.0, **sums}


def phase_rows(power: float = 1.0, above: float = 1.05, half: float = 0.01) -> list[store.Row]:
    """Trained Λ as a power of the best known one, times 1.1."""
    rows: list[store.Row] = []
    line, plane, room = [(4, 1, 14.4), (8, 1, 30.7)], [(4, 2, 10.9), (8, 2, 17.4)], (2, 8)
    simplex = [(modes, modes, exact_stiffness(modes, 0.1)) for modes in room]
    for modes, n, best in [*line, *plane, *simplex]:
        family = "line" if n == 1 else "sparsemax" if n == modes else "partition"
        known = {"family": family, "modes": modes, "dimension": n, **ended("stiffness", best, 0.0)}
        found = ended("stiffness", 1.1 * best**power, half)
        floor = {"measured_stiffness_floor": 1.1 * best**power / above}
        rows += [known, {**known, "family": "trained", **found, **floor}]
    return rows


def depth_rows(factor: float = 1.0, half: float = 0.02) -> list[store.Row]:
    """Levels `factor` times as stiff as they should be, the deepest by the cube of it."""
    rows: list[store.Row] = []
    for depth, branches in [(1, 4096), (2, 64), (3, 16)]:
        step = exact_stiffness(branches, 0.1)
        once = exact_stiffness(4096, 0.1)
        careful = exact_stiffness(branches, 1 - 0.9 ** (1 / depth))
        total = 1 - 0.9**depth
        rows.append(
            {
                "family": "block",
                "depth": depth,
                "modes": 4096,
                "level_exact": step,
                "branch_floor": bound.interface_floor(branches),
                "interface_floor": bound.interface_floor(4096),
                **estimated("interface", factor**2 * bound.interface_floor(branches), half / 10),
                "once_exact": once,
                "total_leak_exact": total,
                **ended("step_stiffness", step * factor ** (1 if depth < 3 else 3), half),
                **ended("careful_stiffness", factor**4 * careful, half),
                **estimated("total_leak", min(1.0, factor * total), 0.0),
            }
        )
    return rows


def other_rows() -> list[store.Row]:
    """Of families of which nothing is said."""
    return [{"family": "other", "modes": 3, "dimension": 9, "depth": 1}]


ROWS = {
    "inverse_stiffness": leak_rows,
    "stiffness_phase": phase_rows,
    "depth_hierarchy": depth_rows,
}
TRUE = [(claim.id, ROWS[claim.experiment]) for claim in CLAIMS]
BENT = [
    ("sparsemax-leak", partial(leak_rows, 1.05)),
    ("leak-expansion", partial(leak_rows, 1.05)),
    ("stiffness-floor", partial(leak_rows, 1.05)),
    ("leak-is-tube", partial(leak_rows, 1.05)),
    ("raw-scores", partial(leak_rows, 1.15)),
    ("trained-sharp", partial(leak_rows, 1.2)),
    ("simplicial-tube", partial(leak_rows, 1.1)),
    ("certified-stiffness", partial(leak_rows, 1.2)),
    ("phase-floor", partial(phase_rows, above=0.95)),
    ("phase-growth-1", partial(phase_rows, 0.42)),
    ("phase-growth-2", partial(phase_rows, 1.6)),
    ("phase-growth-M", partial(phase_rows, 0.42)),
    ("hierarchy-peak", partial(depth_rows, 1.1)),
    ("hierarchy-price", partial(depth_rows, 1.2)),
    ("hierarchy-leak", partial(depth_rows, 1.2)),
    ("hierarchy-root", partial(depth_rows, 1.2)),
    ("hierarchy-interface", partial(depth_rows, 1.1)),
    ("hierarchy-blocks", partial(depth_rows, 0.8)),
]
VAGUE = [
    ("sparsemax-leak", partial(leak_rows, count=1000)),
    ("leak-is-tube", partial(leak_rows, half=0.5)),
    ("raw-scores", partial(leak_rows, 1.11)),
    ("trained-sharp", partial(leak_rows, half=0.2)),
    ("phase-growth-1", partial(phase_rows, half=0.9)),
    ("hierarchy-peak", partial(depth_rows, half=0.2)),
    ("hierarchy-price", partial(depth_rows, half=0.4)),
    ("hierarchy-leak", partial(depth_rows, half=0.4)),
    ("hierarchy-root", partial(depth_rows, half=0.2)),
    ("hierarchy-interface", partial(depth_rows, half=0.5)),
    ("hierarchy-blocks", partial(depth_rows, half=0.6)),
]
EVERY_ROW = ("stiffness-floor",)  # bears on it
OTHER = [(claim.id, other_rows) for claim in CLAIMS if claim.id not in EVERY_ROW]
