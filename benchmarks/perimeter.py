"""Gaussian perimeter of a random code: mean squared error after a minute of each estimator.

The peer is what one writes by hand in NumPy: points of γ, distances to the nearest facet by one
product and a table of ‖a_i − a_j‖, and the share nearer than ε over 2ε. Its bias, −cε + dε², is
fitted to all widths at once, and it is given the width at which bias² + variance is least after
MINUTE seconds; a user, who does not know c, does worse. Errors of the others fall as 1/time.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.harness import OURS, REPEATS, Case, Contender, Entry, Run

MINUTE = 60.0
REFERENCE = 0.0005  # standard error over value of the perimeter that the tube is held against
WIDTHS = np.geomspace(1e-4, 0.1, 61)  # ε
BLOCK = 1024  # points of the tube held at once
# Of lines or points, so that a call takes about a second.
CASES: dict[str, list[tuple[Case, dict[str, int]]]] = {
    "full": [
        ({"modes": 64, "dimension": 8}, {"crofton": 1 << 19, "numpy": 1 << 21, "other": 1 << 19}),
        (
            {"modes": 1024, "dimension": 64},
            {"crofton": 1 << 15, "numpy": 1 << 17, "other": 1 << 15},
        ),
    ],
    "tiny": [({"modes": 8, "dimension": 3}, {"crofton": 512, "numpy": 1 << 16, "other": 512})],
}


def entries(size: str) -> list[Entry]:
    """Every estimator on every code."""
    found = []
    for case, counts in CASES[size]:
        for name in CONTENDERS:
            kind = {"noncommit, Crofton": "crofton", "NumPy, tube": "numpy"}.get(name, "other")
            found.append(Entry(name, [case | {"samples": counts[kind]}]))
    return found


def _code(modes: int, dimension: int) -> Any:
    import jax

    from theory.partition import random_code

    return random_code(jax.random.key(0), modes, dimension)


def _theory(
    estimator: Callable[..., Any], flops: float, modes: int, dimension: int, samples: int
) -> Run:
    """`flops` are the products with a site a sample, in units of 2n."""
    import jax

    diagram = _code(modes, dimension)

    def call(repeat: int) -> Any:
        return estimator(jax.random.key(repeat), diagram, samples)

    return Run(call, flops * 2.0 * samples * modes * dimension, "float64", _error)


def _error(answers: list[Any], seconds: float) -> dict[str, float]:
    """Mean, its error, and the mean squared error of as many draws as fit into MINUTE seconds."""
    value, bias = np.mean([a.value for a in answers]), np.mean([a.bias for a in answers])
    variance = float(np.mean([a.sem**2 for a in answers]))
    spread = float(np.std([a.value for a in answers], ddof=1))
    return {
        "value": float(value),
        "value_sem": (variance / len(answers)) ** 0.5,
        "spread_over_sem": spread / variance**0.5,
        "bias": float(bias),
        "mean_square_error": variance * seconds / MINUTE + float(bias) ** 2,
    }


def _crofton(key: Any, diagram: Any, samples: int) -> Any:
    from theory import perimeter

    return perimeter.crofton(key, diagram, lines=samples)


def _projection(key: Any, diagram: Any, samples: int) -> Any:
    from theory import perimeter

    return perimeter.facet_projection(key, diagram, samples=samples)


def _coarea(key: Any, diagram: Any, samples: int) -> Any:
    from theory import perimeter

    return perimeter.coarea(key, diagram, samples=samples)


def _tube(key: Any, diagram: Any, samples: int) -> Any:
    from theory import perimeter

    return perimeter.tube(key, diagram, samples=samples)


def _numpy(modes: int, dimension: int, samples: int) -> Run:
    """Counts of points nearer than every width; float32 is enough, and twice as fast."""
    diagram = _code(modes, dimension)
    sites = np.asarray(diagram.sites, np.float32)
    wide = sites.astype(np.float64)
    apart = np.linalg.norm(wide[:, None] - wide, axis=2).astype(np.float32)
    np.fill_diagonal(apart, 1)

    def call(repeat: int) -> np.ndarray:
        rng = np.random.default_rng(repeat)
        parts = [_distances(rng, sites, apart) for _ in range(samples // BLOCK)]
        return np.searchsorted(np.sort(np.concatenate(parts)), WIDTHS)

    def facts(counts: list[np.ndarray], seconds: float) -> dict[str, float]:
        return best_tube(np.sum(counts, axis=0), samples, seconds, _reference(diagram))

    return Run(call, 2.0 * samples * modes * dimension, "float32", facts)


def _distances(rng: np.random.Generator, sites: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """δ of BLOCK points of γ: scores less the highest, over the distances of the sites."""
    rows = np.arange(BLOCK)
    gap = rng.standard_normal((BLOCK, sites.shape[1]), np.float32) @ sites.T
    label = gap.argmax(axis=1)
    np.subtract(gap[rows, label][:, None], gap, out=gap)
    gap /= apart[label]
    gap[rows, label] = np.inf
    return gap.min(axis=1)


def _reference(diagram: Any) -> float:
    """P, to a relative standard error of REFERENCE."""
    import jax

    lines = 1 << 14
    while True:
        found = _crofton(jax.random.key(99), diagram, lines)
        if found.sem <= REFERENCE * found.value:
            return float(found.value)
        lines *= 4


def best_tube(
    counts: np.ndarray, samples: int, seconds: float, perimeter: float
) -> dict[str, float]:
    """Least bias² + variance over the widths, and where it is.

    Args:
        counts: points nearer than every width, over all repeats.
        samples: points of one repeat.
        seconds: that a repeat takes.
        perimeter: P.
    """
    total = REPEATS * samples
    ratio = counts / (2 * WIDTHS * total)
    # Least squares of ratio − P = −cε + dε², weighted by binomial errors.
    weight = 2 * WIDTHS * total / np.sqrt(np.maximum(counts, 1))
    powers = np.stack([WIDTHS, WIDTHS**2], axis=1)
    fit = np.linalg.lstsq(powers * weight[:, None], (ratio - perimeter) * weight, rcond=None)[0]
    bias = powers @ fit
    variance = perimeter / (2 * WIDTHS * samples * MINUTE / seconds)
    best = int(np.argmin(bias**2 + variance))
    return {
        "value": float(ratio[best]),
        "value_sem": float(ratio[best] / np.sqrt(max(counts[best], 1))),
        "bias": float(bias[best]),
        "width": float(WIDTHS[best]),
        "mean_square_error": float(bias[best] ** 2 + variance[best]),
    }


CONTENDERS = {
    "noncommit, Crofton": Contender(OURS, partial(_theory, _crofton, 2.0)),
    "noncommit, projection": Contender(OURS, partial(_theory, _projection, 1.0)),
    "noncommit, coarea": Contender(OURS, partial(_theory, _coarea, 7.0)),
    "noncommit, tube": Contender(OURS, partial(_theory, _tube, 2.0)),
    "NumPy, tube": Contender("numpy", _numpy),
}
