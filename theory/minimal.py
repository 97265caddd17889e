"""Search for M cells of equal mass in R^n with small Gaussian perimeter (Theorem 6).

Balanced Lloyd from lattices, codes and random sites, then descent of the perimeter from the best.

What is found bounds the least perimeter from above: for M > n + 1 the minimiser may be curved, and
no search proves its best to be the best.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from theory import line, partition, start
from theory.balance import Certificate, certify, enough_lines, line_sets
from theory.check import check_count
from theory.descent import BALANCING, DIRECTIONS, TOLERANCE, descend, lloyd
from theory.estimate import Estimate, from_samples
from theory.line import random_lines
from theory.newton import mass_and_laplacian, newton_in_stages
from theory.partition import PowerDiagram
from theory.perimeter.crofton import mean_cosine, unseen

FLAT, LLOYD, DESCENT = 4, 160, 40  # iterations at effort 1 up to n = 4 and M = 256
CODED = (8, 8)  # beyond, where Lloyd ends sooner
FINER = 8  # lines of the descent over Lloyd's: its gradient is the noisier one
PAIRS, MOST_LINES = 1 << 26, 1 << 17  # (line, cell) pairs and lines of a pass, at most
MEETINGS = 1 << 16  # of lines and facets, that P is measured by at effort 1, about
WALKED = 4  # times as many lines, where lines walk over neighbours and do not scan all cells
# Beyond n = COMPACT a code is nearer the minimum than Lloyd on so many times fewer lines ends.
COMPACT, COARSEST = 12, 4


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


def _search(
    key: PRNGKeyArray, starts: dict[str, np.ndarray], effort: float
) -> tuple[PowerDiagram, str, dict[str, float]]:
    """Lloyd from every start, descent from the best end, all judged on the same lines."""
    modes, span = next(iter(starts.values())).shape
    # A centroid has n coordinates, and a line meets about M^{1/n} cells.
    wanted = 128 * effort * modes ** (1 - 1 / span) * max(1, span / 4)
    most = min(_affordable(modes, span), MOST_LINES)
    lines, finer = (_power_of_two(min(wanted * k, most), 1 << 12) for k in (1, FINER))
    common_key, balance_key, *keys = jax.random.split(key, 3 + len(starts))
    common = random_lines(common_key, finer, span)
    frozen = list(line_sets(balance_key, span, DIRECTIONS, finer))
    law, tolerance = np.full(modes, 1 / modes), max(TOLERANCE, modes / finer)
    candidates, trials = {}, {}

    def judge(name: str, diagram: PowerDiagram) -> None:
        candidates[name] = newton_in_stages(frozen, diagram, law, tolerance, BALANCING)
        mass, _ = mass_and_laplacian(line.cuts(frozen, candidates[name]), candidates[name])
        parts = [line.perimeter(cut) for cut in line.cuts(common, candidates[name])]
        # Sites that met lose cells, and without these the perimeter is too small.
        lost = mass.min() < 0.5 / modes
        trials[name] = math.inf if lost else float(np.concatenate(parts).mean())

    rounds = _rounds(modes, span, effort)
    moves = span <= COMPACT or wanted <= COARSEST * most
    for own_key, (name, sites) in zip(keys, starts.items(), strict=False):
        judge(name, PowerDiagram(sites, -0.5 * (sites**2).sum(axis=1)))
        if moves:
            moving = lloyd(own_key, candidates[name], lines=lines, iterations=rounds[0])
            judge(f"{name}, Lloyd", moving)
    best = min(trials, key=lambda name: trials[name])
    if moves:
        falling = descend(keys[-1], candidates[best], lines=finer, iterations=rounds[1])
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
        wanted = min(enough_lines(modes, span), modes << 12, 4 * _affordable(modes, span))
        lines = _power_of_two(effort * wanted, 1 << 13)
        frozen = list(line_sets(balance_key, span, 8, lines))
        # To a line's share of a cell: closer, the masses of these lines are not those of γ.
        diagram = newton_in_stages(frozen, diagram, law, max(1e-4, modes / lines), BALANCING)
        certificate = certify(certify_key, diagram, law, lines=2 * lines)
        # A line meets a facet with a chance in proportion to E|θ_1|.
        measured = _power_of_two(effort * max(1 << 19, MEETINGS / mean_cosine(span)), 1 << 12)
    else:
        certificate, measured = certify(certify_key, diagram, law, lines=2), 2
    perimeter = _perimeter(measure_key, diagram, measured)
    sites = np.zeros((modes, dimension))
    sites[:, :span] = diagram.sites
    lifted = PowerDiagram(sites, diagram.offsets)
    return Found(lifted, certificate, perimeter, found_by, trials, starts)


def _perimeter(key: PRNGKeyArray, diagram: PowerDiagram, lines: int) -> Estimate:
    """As `perimeter.crofton`, on lines that walk over neighbours where that is shorter."""
    batch = min(lines, line.MANY)
    sums = []
    for number in range(-(-lines // batch)):
        fresh = random_lines(jax.random.fold_in(key, number), batch, diagram.dimension)
        sums += [line.perimeter(cut) for cut in line.cuts(fresh, diagram)]
    return from_samples(np.concatenate(sums), unseen(diagram))


def _checked(name: str, sites: object, modes: int, span: int) -> np.ndarray:
    array = np.asarray(sites, dtype=np.float64)
    if array.shape != (modes, span) or not np.isfinite(array).all():
        raise ValueError(
            f"start {name!r} must be finite sites of shape ({modes}, {span}), got {array.shape}"
        )
    return array


def _affordable(modes: int, span: int) -> float:
    """Lines of a pass of the search."""
    return PAIRS / modes * (WALKED if span <= line.FLAT else 1)


def _rounds(modes: int, span: int, effort: float) -> tuple[int, int]:
    """Iterations of Lloyd and of the descent."""
    across = max(1.0, (modes / 256) ** (1 / span))  # defects of a lattice travel M^{1/n} cells
    moving, falling = (LLOYD * across, DESCENT) if span <= FLAT else CODED
    return max(4, round(effort * moving)), max(4, round(effort * falling))


def _power_of_two(wanted: float, least: int) -> int:
    return max(least, 1 << round(math.log2(max(1.0, wanted))))
