"""Offsets that give M cells of a random code equal Gaussian masses: worst error against time.

The peers are the semi-discrete solvers of optimal transport libraries: stochastic gradients on the
same dual, run for several numbers of steps at the rates that did best. Their time does not hold a
certificate, ours does. max_i |γ(B_i)·M − 1| is measured for all alike by `cell_masses`, which
shares nothing with any solver, and the mean of JUDGED runs taken.
Flops are those of the scores, one product with M sites a point or line.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import ndtr
from jaxtyping import Array

from benchmarks.harness import OURS, Case, Contender, Entry, Run

JUDGED = 2  # runs whose error is measured
SCRAMBLES, PART = 8, 256  # independent point sets of a judgement, and points of it held at once
BATCH = 1024  # points of a step of either peer
# Lines of ours; steps of the peers; points that judge.
CASES: dict[str, list[tuple[Case, tuple[int, ...], tuple[int, ...], int]]] = {
    "full": [
        ({"modes": 16, "dimension": 4}, (1 << 12, 1 << 14, 1 << 17), (100, 400, 1600), 1 << 20),
        ({"modes": 64, "dimension": 16}, (1 << 12, 1 << 14, 1 << 16), (100, 400, 1600), 1 << 19),
        ({"modes": 256, "dimension": 16}, (1 << 12, 1 << 14, 1 << 16), (100, 400, 1200), 1 << 16),
    ],
    "tiny": [({"modes": 4, "dimension": 2}, (1 << 10,), (50,), 1 << 12)],
}
RATE = {"ott-jax": 0.03, "POT": 2.0}  # first steps, the best of a few that were tried


def entries(size: str) -> list[Entry]:
    """For every code, every solver with every effort, from the least to the most."""
    found = []
    for case, lines, steps, judge in CASES[size]:
        for name in CONTENDERS:
            efforts = lines if name == "noncommit" else steps
            held = case | {"judge": judge}
            found.append(Entry(name, [held | {"effort": effort} for effort in efforts]))
    return found


def _code(modes: int, dimension: int) -> Any:
    from theory.partition import random_code

    return random_code(jax.random.key(0), modes, dimension)


def _judged(diagram: Any, judge: int, answers: list[np.ndarray], _: float) -> dict[str, float]:
    """The mean worst error of the offsets found, and how well the masses of cells are known."""
    sites, errors, known = np.asarray(diagram.sites, np.float64), [], []
    for offsets in answers[:JUDGED]:
        sets = cell_masses(sites, offsets, judge) * len(sites)
        errors.append(np.abs(sets.mean(axis=0) - 1).max())
        known.append(sets.std(axis=0, ddof=1).max() / SCRAMBLES**0.5)
    return {"worst_error": float(np.mean(errors)), "worst_error_sem": float(np.max(known))}


def cell_masses(sites: np.ndarray, offsets: np.ndarray, points: int) -> np.ndarray:
    """γ(B_i) by SCRAMBLES sets of Sobol points, every cell along a direction of its own.

    Along d_i = a_i − ā a convex cell is an interval of t, here nearly a half-line, of mass
    Φ(hi) − Φ(lo): a hundredth of the variance of counting points at (M, n) = (64, 16).
    """
    from scipy.special import ndtri
    from scipy.stats import qmc

    sites = sites - sites.mean(axis=0)
    along = sites / np.linalg.norm(sites, axis=1, keepdims=True)
    steeper = np.diag(sites @ along.T)[:, None] - along @ sites.T  # ⟨a_i − a_j, d_i⟩
    rng, size = np.random.default_rng(99), points // SCRAMBLES
    found = []
    for _ in range(SCRAMBLES):
        uniform = qmc.Sobol(sites.shape[1], rng=rng).random_base2(size.bit_length() - 1)
        x = ndtri(np.clip(uniform, 2.0**-54, 1 - 2.0**-53))
        parts = x.reshape(-1, min(PART, size), sites.shape[1])
        found.append(np.asarray(_mean_masses(parts, sites, offsets, along, steeper)))
    return np.stack(found)


@jax.jit
def _mean_masses(parts: Array, sites: Array, offsets: Array, along: Array, steeper: Array) -> Array:
    def of_cell(scores: Array, own: Array, start: Array, rates: Array) -> Array:
        meet = (scores - own[:, None]) / jnp.where(rates == 0, 1, rates)
        after = jnp.max(jnp.where(rates > 0, meet, -jnp.inf), axis=1) + start
        before = jnp.min(jnp.where(rates < 0, meet, jnp.inf), axis=1) + start
        return jnp.mean(jnp.maximum(ndtr(-after) - ndtr(-before), 0))

    def of_part(x: Array) -> Array:
        scores, start = x @ sites.T + offsets, x @ along.T
        return lax.map(lambda cell: of_cell(scores, *cell), (scores.T, start.T, steeper))

    return jnp.mean(lax.map(of_part, parts), axis=0)


def _theory(modes: int, dimension: int, judge: int, effort: int) -> Run:
    from theory.balance import balance

    diagram = _code(modes, dimension)

    def call(repeat: int) -> np.ndarray:
        return np.asarray(balance(jax.random.key(repeat), diagram, lines=effort)[0].offsets)

    flops = 3 * 2.0 * effort * modes * dimension  # a step, and the certificate on twice the lines
    return Run(call, flops, "float64", partial(_judged, diagram, judge))


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
    "noncommit": Contender(OURS, _theory),
    "ott-jax": Contender("ott-jax", partial(_peer, _ott)),
    "POT": Contender("POT", partial(_peer, _pot)),
}
