"""How the cost of a kernel grows with each of its sizes: exponents of seconds and of flops.

A ladder is one kernel with one size doubled again and again and all others held. Its exponents are
fitted on log–log axes; where seconds grow slower than flops, a size is still too small to fill the
machine, and where they grow faster it has outgrown a cache.
"""

from functools import partial
from typing import Any

import numpy as np

from benchmarks import forward_backward, operator_norm
from benchmarks.harness import OURS, Case, Contender, Entry, Run
from experiments.store import Row
from theory.estimate import Estimate, fit_power_law

RANGE = 2.704  # the mean range of 7 normal numbers, in standard deviations
BASES: dict[str, Case] = {
    "nearest facet": {"N": 16384, "M": 256, "n": 64},
    "Crofton": {"N": 16384, "M": 256, "n": 64},
    "balance": {"N": 16384, "M": 64, "n": 16},
    "operator norms": {"N": 1024, "n": 64},
    "forward–backward": {"N": 128, "M": 128, "n": 64},
}
STEPS = {"full": (0.25, 0.5, 1, 2, 4), "tiny": (0.25, 0.5)}
TINY: Case = {"N": 64, "M": 16, "n": 8}


def entries(size: str) -> list[Entry]:
    """A ladder for every size of every kernel, a process each."""
    found = []
    for kernel, base in BASES.items():
        held = {k: TINY[k] for k in base} if size == "tiny" else base
        for axis in base:
            steps = [held | {axis: round(step * held[axis])} for step in STEPS[size]]
            found.append(Entry(kernel, [{"kernel": kernel, "axis": axis} | row for row in steps]))
    return found


def summary(rows: list[Row]) -> list[Row]:
    """A row a ladder: the exponent of seconds with its error, and that of flops."""
    ladders: dict[tuple[Any, Any], list[Row]] = {}
    for row in rows:
        ladders.setdefault((row["kernel"], row["axis"]), []).append(row)
    return [_exponents(kernel, axis, ladder) for (kernel, axis), ladder in ladders.items()]


def _exponents(kernel: str, axis: str, ladder: list[Row]) -> Row:
    def column(name: str) -> np.ndarray:
        return np.array([row[name] for row in ladder], float)

    seconds, flops = column("seconds"), column("gflop")
    spread = (column("seconds_most") - column("seconds_least")) / RANGE
    sem = np.maximum(spread, 0.01 * seconds)  # what a clock is good for
    fitted = fit_power_law(column(axis), Estimate(seconds, sem, 0.0, len(ladder)))
    work = np.polyfit(np.log(column(axis)), np.log(flops), 1)[0]
    return {
        "kernel": kernel,
        "axis": axis,
        "from": int(column(axis)[0]),
        "to": int(column(axis)[-1]),
        "exponent": float(fitted.value),
        "exponent_sem": float(fitted.sem),
        "flop_exponent": float(work),
        "share_at_the_end": ladder[-1].get("share_of_product_rate"),
    }


def _nearest(N: int, M: int, n: int, **_: Any) -> Run:
    import jax

    diagram, x = _code(M, n), jax.random.normal(jax.random.key(1), (N, n))
    call = lambda _: jax.block_until_ready(diagram.nearest_facet(x))  # noqa: E731
    return Run(call, 4.0 * N * M * n, "float64")


def _crofton(N: int, M: int, n: int, **_: Any) -> Run:
    import jax

    from theory import perimeter

    diagram = _code(M, n)
    call = lambda k: perimeter.crofton(jax.random.key(k), diagram, lines=N)  # noqa: E731
    return Run(call, 4.0 * N * M * n, "float64")


def _balance(N: int, M: int, n: int, **_: Any) -> Run:
    """A product a line, for the certificate's lines and for every Newton step alike."""
    import jax

    from theory.balance import balance

    diagram = _code(M, n)
    call = lambda k: balance(jax.random.key(k), diagram, lines=N)  # noqa: E731
    return Run(call, 2.0 * 2 * N * M * n, "float64")


def _norms(N: int, n: int, **_: Any) -> Run:
    return operator_norm.CONTENDERS["noncommit"].setup(side=n, points=N, dtype="float32")


def _posteriors(N: int, M: int, n: int, **_: Any) -> Run:
    """N sequences of length n over M tokens."""
    ours = forward_backward.CONTENDERS["noncommit"]
    return ours.setup(vocabulary=M, length=n, batch=N, dimension=16, dtype="float32")


def _code(modes: int, dimension: int) -> Any:
    import jax

    from theory.partition import random_code

    return random_code(jax.random.key(0), modes, dimension)


def _bare(setup: Any, **case: Any) -> Run:
    """Without the comparison of answers, which the kernel's own benchmark makes."""
    return setup(**case)._replace(facts=lambda answers, seconds: {})


KERNELS = {
    "nearest facet": _nearest,
    "Crofton": _crofton,
    "balance": _balance,
    "operator norms": _norms,
    "forward–backward": _posteriors,
}
CONTENDERS = {name: Contender(OURS, partial(_bare, setup)) for name, setup in KERNELS.items()}
