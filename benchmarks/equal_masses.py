"""Offsets that give M cells of a random code equal Gaussian masses: worst error against time.

The peers are the semi-discrete solvers of optimal transport libraries: stochastic gradients on the
same dual, run for several numbers of steps at the rates that did best. They give no certificate;
ours is timed with one and without. max_i |γ(B_i)·M − 1| is measured for all alike by `cell_masses`,
which shares nothing with any solver, and the mean of JUDGED runs taken. A judge takes more points
until it errs by a part of what it judges: with as many as a solver it would double the variance.
The summary compares at equal time. Flops are those of the scores, one product with M sites a point.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr
from jaxtyping import Array

from benchmarks.harness import OURS, Case, Contender, Entry, Run
from experiments.store import Row

JUDGED = 2  # runs whose error is measured
SCRAMBLES, PAIRS = 8, 1 << 27  # independent point sets of a judgement; (point, pair) at once
SHARPER, MOST = 4, 16  # a judge errs by this part of the worst error, or takes so many times more
NARROW = 0.85  # of the judge's points: where small cells are met
BATCH = 1024  # points of a step of either peer
# Points of ours; steps of ott-jax and of POT; points that judge at first.
CASES: dict[str, list[tuple[Case, dict[str, tuple[int, ...]], int]]] = {
    "full": [
        (
            {"modes": 16, "dimension": 4},
            {
                "noncommit": (1 << 14, 1 << 17, 1 << 20),
                "ott-jax": (400, 1600, 6400),
                "POT": (400, 1600),
            },
            1 << 21,
        ),
        (
            {"modes": 64, "dimension": 16},
            {
                "noncommit": (1 << 16, 1 << 18, 1 << 20),
                "ott-jax": (400, 1600, 6400, 12800),
                "POT": (400, 1600),
            },
            1 << 20,
        ),
        (
            {"modes": 256, "dimension": 16},
            {
                "noncommit": (1 << 14, 1 << 16, 1 << 18, 1 << 20),
                "ott-jax": (400, 1600, 6400, 25600),
                "POT": (400, 1200),
            },
            1 << 18,
        ),
    ],
    "tiny": [
        (
            {"modes": 4, "dimension": 2},
            {"noncommit": (1 << 10,), "ott-jax": (50,), "POT": (50,)},
            1 << 12,
        )
    ],
}
Side = tuple[np.ndarray, np.ndarray]
RATE = {"ott-jax": 0.03, "POT": 2.0}  # first steps, the best of a few that were tried


def entries(size: str) -> list[Entry]:
    """For every code, every solver with every effort, from the least to the most."""
    found = []
    for case, efforts, judge in CASES[size]:
        for name, contender in CONTENDERS.items():
            held = case | {"judge": judge}
            those = [held | {"effort": effort} for effort in efforts[contender.library]]
            found.append(Entry(name, those))
    return found


def summary(rows: list[Row]) -> list[Row]:
    """For every time of ours the best peer's error at that time, and over ours.

    Between two efforts of a peer, and beyond the last, its error is a power of time; of a peer that
    is not done with its least effort yet nothing is said.
    """
    found: list[Row] = []
    for row in rows:
        if row["library"] != OURS:
            continue
        same = ("modes", "dimension")
        case = [r for r in rows if r["library"] != OURS and all(r[k] == row[k] for k in same)]
        peers = {
            name: _at_time(float(row["seconds"] or 0), [r for r in case if r["contender"] == name])
            for name in sorted({str(r["contender"]) for r in case})
        }
        known = {name: error for name, error in peers.items() if error is not None}
        best = min(known, key=known.__getitem__, default="")
        error = float(row["worst_error"] or 0)
        ours: Row = {"after_seconds": row["seconds"], "our_error": error, "best_peer": best}
        theirs: Row = {
            "peers_error": known.get(best),
            "times": known[best] / error if best else None,
        }
        named: Row = {k: row[k] for k in ("contender", *same)}
        found.append(named | ours | theirs)
    return found


def _at_time(seconds: float, rows: list[Row]) -> float | None:
    """A peer's error after so many seconds."""
    pairs = sorted((float(r["seconds"] or 0), float(r["worst_error"] or 0)) for r in rows)
    if not pairs or seconds < pairs[0][0]:
        return None
    if len(pairs) == 1:
        return pairs[0][1]
    later = next((k for k, (time, _) in enumerate(pairs) if time >= seconds), len(pairs) - 1)
    (t0, e0), (t1, e1) = pairs[max(later, 1) - 1], pairs[max(later, 1)]
    return float(e0 * (seconds / t0) ** (np.log(e1 / e0) / np.log(t1 / t0)))


def _code(modes: int, dimension: int) -> Any:
    from theory.partition import random_code

    return random_code(jax.random.key(0), modes, dimension)


def _judged(diagram: Any, judge: int, answers: list[np.ndarray], _: float) -> dict[str, float]:
    """The mean worst error of the offsets found, and how well the masses of cells are known."""
    sites = np.asarray(diagram.sites, np.float64)
    errors, known = zip(*(_worst(sites, one, judge) for one in answers[:JUDGED]), strict=True)
    return {"worst_error": float(np.mean(errors)), "worst_error_sem": float(np.max(known))}


def _worst(sites: np.ndarray, offsets: np.ndarray, judge: int) -> tuple[float, float]:
    """max_i |γ(B_i)·M − 1|, and the largest standard error of a γ(B_i)·M; a second look if needed.

    Errors of Sobol points fall at least as the root of their number.
    """
    worst, known = _looked(sites, offsets, judge)
    more = min(MOST, (SHARPER * known / worst) ** 2)
    if more <= 1:
        return worst, known
    return _looked(sites, offsets, judge << math.ceil(math.log2(more)))


def _looked(sites: np.ndarray, offsets: np.ndarray, points: int) -> tuple[float, float]:
    sets = cell_masses(sites, offsets, points) * len(sites)
    known = sets.std(axis=0, ddof=1).max() / SCRAMBLES**0.5
    return float(np.abs(sets.mean(axis=0) - 1).max()), float(known)


def cell_masses(sites: np.ndarray, offsets: np.ndarray, points: int) -> np.ndarray:
    """γ(B_i) by SCRAMBLES sets of Sobol points, every cell along a direction of its own.

    Along d_i = a_i − ā a convex cell is an interval of t, here nearly a half-line, of mass
    Φ(hi) − Φ(lo): a hundredth of the variance of counting points at (M, n) = (64, 16). Points of
    N(0, NARROW²), weighed across d_i, leave a half of that at M = 64 and a quarter at 256.
    """
    from scipy.special import ndtri
    from scipy.stats import qmc

    sites = sites - sites.mean(axis=0)
    along = sites / np.linalg.norm(sites, axis=1, keepdims=True)
    steeper = np.diag(sites @ along.T)[:, None] - along @ sites.T  # ⟨a_i − a_j, d_i⟩
    np.fill_diagonal(steeper, 0)
    sides = [_side(steeper), *([_side(-steeper)] if (steeper < 0).any() else [])]
    rng, size = np.random.default_rng(99), points // SCRAMBLES
    part, found = max(1, min(size, PAIRS // len(sites) ** 2)), []
    for _ in range(SCRAMBLES):
        uniform = qmc.Sobol(sites.shape[1], rng=rng).random_base2(size.bit_length() - 1)
        x = NARROW * ndtri(np.clip(uniform, 2.0**-54, 1 - 2.0**-53))
        blocks = [x[k : k + part] for k in range(0, size, part)]
        sums = [_summed(block, sites, offsets, along, sides) for block in blocks]
        found.append(np.sum(sums, axis=0) / size)
    return np.stack(found)


def _summed(
    x: np.ndarray, sites: np.ndarray, offsets: np.ndarray, along: np.ndarray, sides: list[Side]
) -> np.ndarray:
    scores = jnp.asarray(x @ sites.T + offsets)
    late, *early = (_last(scores, *side) for side in sides)
    return np.asarray(_weighed(x, along, late, -early[0] if early else None))


def _side(steeper: np.ndarray) -> Side:
    """1/steeper_ij where that is positive, and what rules the other j out: 0 or −∞."""
    there = steeper > 0
    return np.where(there, 1 / np.where(there, steeper, 1), 0), np.where(there, 0, -np.inf)


@jax.jit
def _weighed(x: Array, along: Array, late: Array, early: Array | None) -> Array:
    """Σ over points of the weight across d_i times Φ of the interval."""
    start = x @ along.T
    inside = ndtr(-(start + late))
    if early is not None:
        inside = jnp.maximum(inside - ndtr(-(start + early)), 0)
    across = jnp.sum(x**2, axis=1, keepdims=True) - start**2
    weight = NARROW ** (x.shape[1] - 1) * jnp.exp((NARROW**-2 - 1) * across / 2)
    return jnp.sum(weight * inside, axis=0)


@jax.jit
def _last(scores: Array, inverse: Array, outside: Array) -> Array:
    """The largest (s_j − s_i)/steeper_ij over the j that are not ruled out."""
    return jnp.max((scores[:, None, :] - scores[:, :, None]) * inverse + outside, axis=2)


def _theory(certified: bool, modes: int, dimension: int, judge: int, effort: int) -> Run:
    from theory.balance import balance, with_masses

    diagram = _code(modes, dimension)

    def call(repeat: int) -> np.ndarray:
        key = jax.random.key(repeat)
        if certified:
            return np.asarray(balance(key, diagram, points=effort)[0].offsets)
        return np.asarray(with_masses(key, diagram, points=effort).offsets)

    flops = (2 if certified else 1) * 2.0 * effort * modes * dimension
    return Run(call, flops, "float32", partial(_judged, diagram, judge))


def _peer(
    solver: Callable[..., Callable[[int], np.ndarray]],
    modes: int,
    dimension: int,
    judge: int,
    effort: int,
) -> Run:
    """A solver finds g with cells argmin ‖x − a_i‖² − g_i: offsets (g_i − ‖a_i‖²)/2."""
    diagram = _code(modes, dimension)
    sites = np.asarray(diagram.sites, np.float32)
    solve = solver(sites, effort)
    half = (sites.astype(np.float64) ** 2).sum(axis=1) / 2

    def call(repeat: int) -> np.ndarray:
        return np.asarray(solve(repeat), np.float64) / 2 - half

    flops = 2.0 * effort * BATCH * modes * dimension
    return Run(call, flops, "float32", partial(_judged, diagram, judge))


def _ott(sites: np.ndarray, effort: int) -> Callable[[int], np.ndarray]:
    import optax
    from ott.geometry.semidiscrete_pointcloud import SemidiscretePointCloud
    from ott.problems.linear.semidiscrete_linear_problem import SemidiscreteLinearProblem
    from ott.solvers.linear.semidiscrete import SemidiscreteSolver

    cloud = SemidiscretePointCloud(jax.random.normal, jax.numpy.asarray(sites), epsilon=0.0)
    rate = optax.cosine_decay_schedule(RATE["ott-jax"], effort)
    solver = SemidiscreteSolver(
        num_iterations=effort,
        batch_size=BATCH,
        optimizer=optax.adam(rate),
        error_eval_every=effort,
        threshold=0.0,
    )
    run = jax.jit(lambda key, problem: solver(key, problem).g)
    problem = SemidiscreteLinearProblem(cloud)
    return lambda repeat: np.asarray(run(jax.random.key(repeat), problem))


def _pot(sites: np.ndarray, effort: int) -> Callable[[int], np.ndarray]:
    from ot.semidiscrete import solve_semidiscrete

    def solve(repeat: int) -> np.ndarray:
        rng = np.random.default_rng(repeat)
        return solve_semidiscrete(
            sites,
            lambda count: rng.standard_normal((count, sites.shape[1]), np.float32),
            max_iter=effort,
            batch_size=BATCH,
            lr0=RATE["POT"],
        )

    return solve


CONTENDERS = {
    "noncommit": Contender(OURS, partial(_theory, False)),
    "noncommit, certified": Contender(OURS, partial(_theory, True)),
    "ott-jax": Contender("ott-jax", partial(_peer, _ott)),
    "POT": Contender("POT", partial(_peer, _pot)),
}
