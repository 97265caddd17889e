"""Prescribed cell masses for any power diagram: semi-discrete optimal transport with a certificate.

The offsets b that give γ(B_i) = m_i minimise the convex E max_i(⟨a_i, x⟩ + b_i) − ⟨b, m⟩, whose
gradient is γ(B(b)) − m and whose Hessian is the graph Laplacian of P(F_ij)/‖a_i − a_j‖. Both are
taken on frozen lines, where the objective is convex and smooth, so that damped Newton (Kitagawa,
Mérigot, Thibert 2019) ends at rounding. Along a line y + tθ with y ~ γ on θ^⊥ the cells are
intervals of t and their masses differences of Φ: far less noise than counting points. θ is fixed
over a set of lines and y a scrambled Sobol set in n − 1 dimensions.
"""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray
from scipy import sparse
from scipy.sparse.linalg import cg
from scipy.special import ndtri
from scipy.stats import qmc

from theory import line
from theory.check import check_count
from theory.estimate import Estimate, from_samples
from theory.line import Cut, Lines
from theory.partition import PowerDiagram, check_masses

SCRAMBLES = 32  # independent line sets of a certificate: its intervals are Student's with 31
SIMULTANEOUS = 1e-3  # failure probability of the certificate, split over the cells
STEPS, HALVINGS, HALVED = 60, 5, 20
MEETINGS = 8  # of a line with a cell, from which on lines tell its mass; a line meets M^{1/n} cells
SAVED = 1 << 12  # lines from which on a stage saves more than its compilation costs
EMPTY = 0.1  # share of its mass below which a cell is taken to be empty
RAISES = 8  # times that empty cells are raised, since those raised together compete
RAISED_ON = 1 << 14  # points on which the lack of an empty cell is looked up


class Certificate(NamedTuple):
    """How far the cell masses are from the prescribed ones, on lines the solver never saw.

    Fields:
        worst_relative_error: max_i |γ̂(B_i) − m_i|/m_i.
        upper: the upper end of a simultaneous 99.9% interval for max_i |γ(B_i) − m_i|/m_i.
        masses: the estimate of γ(B_i), shape (M,).
    """

    worst_relative_error: float
    upper: float
    masses: Estimate


def balance(
    key: PRNGKeyArray,
    diagram: PowerDiagram,
    masses: object | None = None,
    *,
    lines: int | None = None,
    directions: int = 8,
) -> tuple[PowerDiagram, Certificate]:
    """The diagram with the same sites and offsets that give the masses, and its certificate.

    Args:
        key: PRNG key.
        diagram: sites; its offsets are not used.
        masses: γ(B_i) wanted, shape (M,), positive, summing to 1; equal if None.
        lines: frozen lines of the last stage, over all directions, rounded up so that every
            direction has a power of two; the certificate takes twice as many. By default
            `enough_lines`, for a certificate of about 1%.
        directions: directions of the frozen lines.

    Raises:
        ValueError: on masses that are no positive law on M cells, duplicate sites, lines or
            directions that are not positive integers, or a solve that does not converge.
    """
    modes = diagram.modes
    lines = enough_lines(modes, diagram.dimension) if lines is None else lines
    check_count("lines", lines, 2)
    check_count("directions", directions, 1)
    equal = np.full(modes, 1 / modes)
    law = equal if masses is None else check_masses(masses, modes)
    if len(np.unique(diagram.groups())) < modes:
        raise ValueError("duplicate sites cannot share a prescribed mass: make the sites distinct")
    solve_key, certify_key = jax.random.split(key)
    # At n = 1 one line is the whole space and the masses are exact; elsewhere the frozen lines
    # err by more than 1e-4, and Newton's last step overshoots this tolerance by far.
    tolerance = 1e-11 if diagram.dimension == 1 else 1e-4
    start = PowerDiagram(diagram.sites, voronoi_offsets(np.asarray(diagram.sites, np.float64)))
    sets = list(line_sets(solve_key, diagram.dimension, directions, max(lines, 64 * directions)))
    balanced = newton_in_stages(sets, start, law, tolerance)
    return balanced, certify(certify_key, balanced, law, lines=2 * lines)


def enough_lines(modes: int, dimension: int) -> int:
    """Lines for a certificate of about 1%: M·2^{4+4 log₂n}, fewer where Sobol points help less.

    A cell of mass 1/M asks for a number of lines in proportion to M; the power of n is measured.
    """
    a_cell = min(4 * math.log2(2 * dimension), 17)
    return 1 << min(23, max(14, math.ceil(math.log2(modes) + a_cell)))


def certify(
    key: PRNGKeyArray, diagram: PowerDiagram, masses: object, *, lines: int = 1 << 19
) -> Certificate:
    """Worst relative mass error with the upper end of a simultaneous 99.9% interval.

    From SCRAMBLES independent sets of lines, each with its own direction: Student's intervals
    with the failure probability split over the cells.

    Raises:
        ValueError: on masses that are no positive law on M cells.
    """
    law = check_masses(masses, diagram.modes)
    sets = line_sets(key, diagram.dimension, SCRAMBLES, lines)
    found = from_samples(np.stack([_masses(one, diagram) for one in sets]))
    lower, upper = found.interval(SIMULTANEOUS / diagram.modes)
    error = np.abs(found.value - law) / law
    worst = np.maximum(np.abs(lower - law), np.abs(upper - law)) / law
    return Certificate(float(error.max()), float(worst.max()), found)


def voronoi_offsets(sites: np.ndarray) -> np.ndarray:
    """Offsets of the Voronoi cells of the sites shrunk into the bulk of γ: no cell is empty.

    −c‖a_i − ā‖²/2 makes the cells those of the points c(a_i − ā), each of which lies in its own.
    """
    centred = sites - sites.mean(axis=0)
    square = (centred**2).sum(axis=1)
    shrink = 1 / math.sqrt(square.mean())
    # The common shift −ā of the sites is the affine term ⟨ā, x⟩ in all scores: no change.
    return shrink * (square.mean() - square) / 2


def line_sets(key: PRNGKeyArray, dimension: int, directions: int, lines: int) -> Iterator[Lines]:
    """Sets of parallel lines of independent directions and scrambles, `lines` in all."""
    size = 1 << max(0, math.ceil(math.log2(lines / directions)))
    for seed in np.asarray(jax.random.bits(key, (directions, 2), "uint32")):
        rng = np.random.default_rng(seed)
        frame = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0].T
        base = gaussian_sobol(rng, size, dimension - 1) @ frame[1:]
        yield Lines(jnp.asarray(frame[:1]), jnp.asarray(base))


def gaussian_sobol(
    rng: np.random.Generator, size: int, dimension: int
) -> Float[np.ndarray, "points n"]:
    """Scrambled Sobol points under Φ⁻¹; in dimension 0 there is one point."""
    if dimension == 0:
        return np.zeros((1, 0))
    uniform = qmc.Sobol(dimension, rng=rng).random_base2(size.bit_length() - 1)
    # A scrambled coordinate may be 0, which is −∞.
    return ndtri(np.clip(uniform, 2.0**-54, 1 - 2.0**-53))


def newton_in_stages(
    sets: list[Lines], diagram: PowerDiagram, law: np.ndarray, tolerance: float, steps: int = STEPS
) -> PowerDiagram:
    """`newton` on the first 64th of the lines, the first 8th, and all.

    Scrambled Sobol sets begin with smaller ones. A stage is passed over whose lines meet a cell
    less than MEETINGS times, or are fewer than SAVED.
    """
    modes = diagram.modes
    for share in (64, 8):
        part = [Lines(one.directions, one.bases[: one.count // share]) for one in sets]
        lines = sum(one.count for one in part)
        if lines >= max(SAVED, MEETINGS * modes ** (1 - 1 / diagram.dimension)):
            diagram = newton(part, diagram, law, max(tolerance, modes / lines), steps)
    return newton(sets, diagram, law, tolerance, steps)


def newton(
    sets: list[Lines], diagram: PowerDiagram, law: np.ndarray, tolerance: float, steps: int = STEPS
) -> PowerDiagram:
    """Damped Newton on frozen lines: half the step until no cell falls below half its least mass.

    Cells that are all but empty are first raised to about their mass.

    Args:
        sets: frozen lines.
        diagram: where to start.
        law: masses wanted, shape (M,).
        tolerance: largest error left, relative to the least mass.
        steps: the most steps taken.
    """
    mass, laplacian = mass_and_laplacian(line.cuts(sets, diagram), diagram)
    for _ in range(RAISES):
        empty = mass < EMPTY * law
        if not empty.any():
            break
        diagram = _raised(sets[0], diagram, law, empty)
        mass, laplacian = mass_and_laplacian(line.cuts(sets, diagram), diagram)
    least, skipped = 0.5 * min(float(mass[mass > 0].min()), float(law.min())), 0
    for _ in range(steps):
        error = np.abs(mass - law).max()
        if error <= tolerance * law.min():
            return diagram
        for number, step in enumerate(newton_steps(laplacian, law - mass)):
            if number < skipped:
                continue
            trial = PowerDiagram(diagram.sites, diagram.offsets + step)
            trial_cuts = line.cuts(sets, trial)
            trial_mass, trial_laplacian = mass_and_laplacian(trial_cuts, trial)
            enough = trial_mass.min() >= min(least, float(mass.min()))
            if enough and np.abs(trial_mass - law).max() < error:
                break
        else:
            return diagram  # the masses of the frozen lines are met as well as rounding allows
        # Steps that overshot are not tried again at once; longer ones are when one fits at once.
        skipped = number if number > skipped else max(0, number - 2)
        diagram, mass, laplacian = trial, trial_mass, trial_laplacian
    return diagram


def _raised(
    lines: Lines, diagram: PowerDiagram, law: np.ndarray, empty: np.ndarray
) -> PowerDiagram:
    """Every empty cell's offset raised so that, of all others unchanged, it won its share.

    Its lack at x is the highest score less its own; the quantile of the lack at its mass is added.
    """
    count = min(RAISED_ON, lines.count)
    # One point a line, at t of a low-discrepancy sequence under Φ⁻¹.
    t = ndtri((np.arange(count) * 0.6180339887498949 + 0.5) % 1)
    x = np.asarray(lines.bases)[:count] + t[:, None] * np.asarray(lines.directions)[:count]
    top = np.asarray(jnp.max(diagram.scores(jnp.asarray(x)), axis=1))
    sites, offsets = np.asarray(diagram.sites), np.array(diagram.offsets)
    for cell in np.flatnonzero(empty):
        lack = top - x @ sites[cell] - offsets[cell]
        offsets[cell] += np.quantile(lack, law[cell])
    return PowerDiagram(diagram.sites, offsets)


def solve(laplacian: sparse.csr_array, right: np.ndarray) -> np.ndarray:
    """The mean-zero solution of L·step = right for a graph Laplacian L.

    A cell that no line met has an empty row: it is raised by about the width of a cell.
    """
    diagonal = laplacian.diagonal()
    raised = np.where(diagonal > 0, diagonal, diagonal.mean())
    operator = laplacian + sparse.diags_array(raised - diagonal)
    jacobi = sparse.diags_array(1 / raised)
    step, _ = cg(operator, right, rtol=1e-10, maxiter=4 * len(right) + 100, M=jacobi)
    return step - step.mean()


def newton_steps(laplacian: sparse.csr_array, lack: np.ndarray) -> Iterator[np.ndarray]:
    """L⁻¹·lack, its halves, and shorter steps to try if those overshoot.

    Where lines are few it is a cell that few of them met that overshoots, since its facets seem
    small. Then they are taken to be so large that its diagonal is a usual one.
    """
    step = solve(laplacian, lack)
    for halving in range(HALVINGS):
        yield step / 2**halving
    step = solve(_evened(laplacian), lack)
    for halving in range(HALVED):
        yield step / 2**halving


def _evened(laplacian: sparse.csr_array) -> sparse.csr_array:
    """The Laplacian with the edges of every vertex of a small diagonal scaled up to the median."""
    diagonal = laplacian.diagonal()
    met = diagonal > 0
    if not met.any():
        return laplacian
    scale = np.maximum(1, np.median(diagonal[met]) / np.where(met, diagonal, np.inf))
    edges = (sparse.diags_array(diagonal) - laplacian).tocoo()
    weight = edges.data * np.maximum(scale[edges.row], scale[edges.col])
    scaled = sparse.coo_array((weight, (edges.row, edges.col)), edges.shape).tocsr()
    return sparse.diags_array(scaled.sum(axis=1)).tocsr() - scaled


def mass_and_laplacian(
    cuts: Iterable[Cut], diagram: PowerDiagram
) -> tuple[np.ndarray, sparse.csr_array]:
    """Mean cell masses over all lines and their exact derivative in the offsets."""
    modes, count = diagram.modes, 0
    mass, laplacian = np.zeros(modes), sparse.csr_array((modes, modes))
    for cut in cuts:
        count += len(cut.last)
        mass += line.masses(cut, modes)
        laplacian = laplacian + line.laplacian(cut, line.weights(cut, diagram), modes)
    return mass / count, laplacian / count


def _masses(lines: Lines, diagram: PowerDiagram) -> np.ndarray:
    parts = [line.masses(cut, diagram.modes) for cut in line.cuts(lines, diagram)]
    return np.sum(parts, axis=0) / lines.count
