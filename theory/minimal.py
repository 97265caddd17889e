"""Search for M cells of equal mass in R^n with small Gaussian perimeter (Theorem 6).

Balanced Lloyd moves every site to the centroid of its cell, and the offsets so that the masses stay
equal. Then descent of the perimeter itself. On a line the boundary is a set of crossings t, and the
measure of what lies within ε of one, over 2ε, has the derivative

    ∂P_ε/∂t = (φ(t + ε)·[next > t + 2ε] − φ(t − ε)·[previous < t − 2ε])/(2ε),

in which ridges appear through the gaps that close; 2P_ε − P_{2ε} is P up to O(ε²). The masses are
held by multipliers λ, the pressures of the cells: L·λ = ∂P/∂b with L = ∂m/∂b.

What is found bounds the least perimeter from above: for M > n + 1 the minimiser may be curved, and
no search proves its best to be the best.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, PRNGKeyArray
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from theory import line, partition, start
from theory.balance import Certificate, certify, line_sets, newton, solve
from theory.check import check_count
from theory.estimate import Estimate
from theory.gaussian import normal, pdf
from theory.line import Cut, Lines
from theory.partition import PowerDiagram
from theory.perimeter.crofton import crofton, mean_cosine

TOLERANCE = 0.02  # of the masses while searching, on the lines of one iteration
RELAXATION = 1.5  # share of the way to the centroid; above 1 Lloyd converges sooner
FLAT, LLOYD, DESCENT = 4, 40, 40  # iterations at effort 1 up to n = 4
CODED = 15  # beyond, where Lloyd ends sooner
WIDTH = 0.1  # ε over √n times the distance of neighbouring sites: facets lie across most lines
RATE = 0.02  # first step of the descent over the distance of neighbouring sites, for n ≤ 4


class Found(NamedTuple):
    """The best partition of a search.

    Fields:
        diagram: its sites and offsets in R^n.
        certificate: of its masses, on lines of its own.
        perimeter: P by Crofton on lines of its own, so that choosing the best biases nothing.
        found_by: the start, and whether it, Lloyd's end or the descent's end is the best.
        trials: P of every candidate on one common set of lines.
        starts: the sites that the search started from; pass them back as `starts` to repeat it.
    """

    diagram: PowerDiagram
    certificate: Certificate
    perimeter: Estimate
    found_by: str
    trials: dict[str, float]
    starts: dict[str, Float[np.ndarray, "modes span"]]


def minimal(
    key: PRNGKeyArray,
    modes: int,
    dimension: int,
    *,
    starts: Mapping[str, object] | None = None,
    effort: float = 1.0,
) -> Found:
    """The best of several searches for M equal cells of small perimeter in R^n.

    M sites span at most M − 1 dimensions, so the search takes place in R^{min(n, M−1)} and its
    result is lifted. At n = 1 the quantiles are the minimum, and nothing is searched.

    Args:
        key: PRNG key.
        modes: M.
        dimension: n.
        starts: sites by name, each of shape (M, min(n, M − 1)); `start.starts` if None.
        effort: factor on the numbers of lines and iterations.

    Raises:
        ValueError: on M < 2, n < 1, effort ≤ 0, no start, or a start of the wrong shape.
    """
    check_count("modes", modes, 2)
    check_count("dimension", dimension, 1)
    if not 0 < effort < math.inf:
        raise ValueError(f"effort must be positive and finite, got {effort}")
    span = min(dimension, modes - 1)
    keys = dict(zip(("start", "search", "end"), jax.random.split(key, 3), strict=True))
    if span == 1:
        return _finish(keys["end"], partition.intervals(modes), dimension, "quantiles", {}, {}, 1.0)
    given = start.starts(keys["start"], modes, span) if starts is None else starts
    sites = {name: _checked(name, value, modes, span) for name, value in given.items()}
    if not sites:
        raise ValueError("a search needs at least one start, got none")
    best, found_by, trials = _search(keys["search"], sites, effort)
    return _finish(keys["end"], best, dimension, found_by, trials, sites, effort)


def lloyd(key: PRNGKeyArray, diagram: PowerDiagram, *, lines: int, iterations: int) -> PowerDiagram:
    """Balanced Lloyd: sites to the centroids of cells of equal mass, on fresh lines every time.

    Fixed points are the critical points of W₂(γ, Σ δ_{a_i}/M) in the sites.
    """
    modes, law = diagram.modes, np.full(diagram.modes, 1 / diagram.modes)
    for number in range(iterations):
        fresh = random_lines(jax.random.fold_in(key, number), lines, diagram.dimension)
        diagram = newton([fresh], diagram, law, TOLERANCE, 12 if number == 0 else 3)
        mass, moment = np.zeros(modes), np.zeros(diagram.sites.shape)
        for cut in line.cuts(fresh, diagram):
            mass += line.masses(cut, modes)
            moment += line.moments(cut, modes)
        met = mass[:, None] > 0.1 * mass.mean()
        away = moment / np.where(met, mass[:, None], 1) - np.asarray(diagram.sites)
        diagram = moved(diagram, RELAXATION * np.where(met, away, 0))
    return diagram


def descend(
    key: PRNGKeyArray, diagram: PowerDiagram, *, lines: int, iterations: int
) -> PowerDiagram:
    """Descent of P at equal masses: Adam on `gradient`, on fresh lines every time."""
    law = np.full(diagram.modes, 1 / diagram.modes)
    spacing = _spacing(diagram)
    width = WIDTH * math.sqrt(diagram.dimension) * spacing
    # In more dimensions the gradient is noisier and Lloyd ends nearer the minimum.
    rate = RATE * spacing * min(1.0, 4 / diagram.dimension)
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, max(1, iterations)))
    memory = optimizer.init(diagram.sites)
    for number in range(iterations):
        fresh = random_lines(jax.random.fold_in(key, number), lines, diagram.dimension)
        diagram = newton([fresh], diagram, law, TOLERANCE, 2)
        slope = gradient(list(line.cuts(fresh, diagram)), diagram, width)
        step, memory = optimizer.update(jnp.asarray(slope), memory)
        diagram = moved(diagram, np.asarray(step))
    return diagram


def gradient(cuts: list[Cut], diagram: PowerDiagram, width: float) -> Float[np.ndarray, "modes n"]:
    """The gradient of P in the sites at fixed masses, shape (M, n).

    A crossing at x from l to r moves as ∂t/∂a_l = x/⟨a_r − a_l, θ⟩ = −∂t/∂a_r, and with the
    offsets likewise without the x.

    Args:
        cuts: all crossings of random lines with the diagram.
        diagram: the diagram.
        width: ε, the half-width of the tubes along lines; the bias is O(ε²).
    """
    modes, scale = diagram.modes, mean_cosine(diagram.dimension)
    weights = [line.weights(cut, diagram) for cut in cuts]
    pushes = [
        tube_slope(cut, width) / scale * weight / pdf(cut.t)
        for cut, weight in zip(cuts, weights, strict=True)
    ]
    in_offsets, laplacian = np.zeros(modes), csr_array((modes, modes))
    for cut, push, weight in zip(cuts, pushes, weights, strict=True):
        in_offsets += np.bincount(cut.left, push, modes) - np.bincount(cut.right, push, modes)
        laplacian = laplacian + line.laplacian(cut, weight, modes)
    pressure = solve(laplacian, in_offsets)
    total = np.zeros(diagram.sites.shape)
    for cut, push, weight in zip(cuts, pushes, weights, strict=True):
        held = push - (pressure[cut.left] - pressure[cut.right]) * weight
        x = cut.bases[cut.line] + cut.t[:, None] * cut.directions[cut.line]
        total += line.exchange(cut, held[:, None] * x, modes)
    return total / sum(len(cut.last) for cut in cuts)


def tube_slope(cut: Cut, width: float) -> Float[np.ndarray, " crossings"]:
    """∂(2P_ε − P_{2ε})/∂t of every crossing on its own line, without the factor 1/E|θ_1|."""
    apart = np.diff(cut.line, prepend=-1, append=-1) != 0
    gap = np.where(apart, np.inf, np.diff(cut.t, prepend=0, append=0))

    def tube(reach: float) -> np.ndarray:
        after = np.where(gap[1:] > 2 * reach, pdf(cut.t + reach), 0)
        before = np.where(gap[:-1] > 2 * reach, pdf(cut.t - reach), 0)
        return (after - before) / (2 * reach)

    return 2 * tube(width) - tube(2 * width)


def moved(diagram: PowerDiagram, step: np.ndarray) -> PowerDiagram:
    """Sites moved with their weights b + ‖a‖²/2 kept, so that the cells move along."""
    sites = np.asarray(diagram.sites)
    fresh = sites + step
    shift = ((fresh**2).sum(axis=1) - (sites**2).sum(axis=1)) / 2
    return PowerDiagram(fresh, np.asarray(diagram.offsets) - shift)


@partial(jax.jit, static_argnames=("count", "dimension"))
def random_lines(key: PRNGKeyArray, count: int, dimension: int) -> Lines:
    """Independent lines: θ uniform on the sphere, y ~ γ on θ^⊥."""
    direction_key, base_key = jax.random.split(key)
    theta = normal(direction_key, (count, dimension), "float64")
    theta = theta / jnp.linalg.norm(theta, axis=1, keepdims=True)
    base = normal(base_key, (count, dimension), "float64")
    return Lines(theta, base - jnp.sum(base * theta, axis=1, keepdims=True) * theta)


def _search(
    key: PRNGKeyArray, starts: dict[str, np.ndarray], effort: float
) -> tuple[PowerDiagram, str, dict[str, float]]:
    """Lloyd from every start, descent from the best end, all judged on the same lines."""
    modes, span = next(iter(starts.values())).shape
    # A centroid has n coordinates, and a line meets about M^{1/n} cells.
    wanted = 128 * effort * modes ** (1 - 1 / span) * max(1, span / 4)
    lines = _power_of_two(min(wanted, (1 << 28) / modes), 1 << 12, 1 << 17)
    common_key, balance_key, *keys = jax.random.split(key, 3 + len(starts))
    common = random_lines(common_key, 4 * lines, span)
    frozen = [random_lines(balance_key, 4 * lines, span)]
    law = np.full(modes, 1 / modes)
    candidates, trials = {}, {}

    def judge(name: str, diagram: PowerDiagram) -> None:
        candidates[name] = newton(frozen, diagram, law, 1e-3)
        parts = [line.perimeter(cut) for cut in line.cuts(common, candidates[name])]
        trials[name] = float(np.concatenate(parts).mean())

    rounds = [max(4, round(effort * n)) for n in (LLOYD, DESCENT)]
    rounds = rounds if span <= FLAT else 2 * [max(4, round(effort * CODED))]
    for own_key, (name, sites) in zip(keys, starts.items(), strict=False):
        voronoi = PowerDiagram(sites, -0.5 * (sites**2).sum(axis=1))
        judge(name, voronoi)
        moving = lloyd(own_key, candidates[name], lines=lines, iterations=rounds[0])
        judge(f"{name}, Lloyd", moving)
    best = min(trials, key=lambda name: trials[name])
    falling = descend(keys[-1], candidates[best], lines=lines, iterations=rounds[1])
    judge(f"{best}, descent", falling)
    best = min(trials, key=lambda name: trials[name])
    return candidates[best], best, trials


def _finish(
    key: PRNGKeyArray,
    diagram: PowerDiagram,
    dimension: int,
    found_by: str,
    trials: dict[str, float],
    starts: dict[str, np.ndarray],
    effort: float,
) -> Found:
    """Balance on many lines, certify and measure on others, lift to R^n."""
    modes, span = diagram.modes, diagram.dimension
    law = np.full(modes, 1 / modes)
    balance_key, certify_key, measure_key = jax.random.split(key, 3)
    if span > 1:
        lines = _power_of_two(effort * min(modes << 12, (1 << 29) / modes), 1 << 13, 1 << 20)
        diagram = newton(list(line_sets(balance_key, span, 8, lines)), diagram, law, 1e-4)
        certificate = certify(certify_key, diagram, law, lines=2 * lines)
        measured = _power_of_two(effort * (1 << (17 if span <= FLAT else 19)), 1 << 12, 1 << 20)
    else:
        certificate, measured = certify(certify_key, diagram, law, lines=2), 2
    perimeter = crofton(measure_key, diagram, lines=measured)
    sites = np.zeros((modes, dimension))
    sites[:, :span] = diagram.sites
    lifted = PowerDiagram(sites, diagram.offsets)
    return Found(lifted, certificate, perimeter, found_by, trials, starts)


def _checked(name: str, sites: object, modes: int, span: int) -> np.ndarray:
    array = np.asarray(sites, dtype=np.float64)
    if array.shape != (modes, span) or not np.isfinite(array).all():
        raise ValueError(
            f"start {name!r} must be finite sites of shape ({modes}, {span}), got {array.shape}"
        )
    return array


def _spacing(diagram: PowerDiagram) -> float:
    """The median distance of a site to the nearest other one."""
    sites = np.asarray(diagram.sites)
    return float(np.median(cKDTree(sites).query(sites, 2)[0][:, 1]))


def _power_of_two(wanted: float, least: int, most: int) -> int:
    return max(least, min(most, 1 << round(math.log2(max(1.0, wanted)))))
