"""Newton's method for prescribed cell masses on frozen lines.

The gradient of E max_i(⟨a_i, x⟩ + b_i) − ⟨b, m⟩ is γ(B(b)) − m and its Hessian the graph Laplacian
of P(F_ij)/‖a_i − a_j‖. Both are taken on lines that stay the same, where the objective is convex
and smooth, so that damped Newton (Kitagawa, Mérigot, Thibert 2019) ends at rounding.
"""

from collections.abc import Iterable, Iterator

import jax.numpy as jnp
import numpy as np
from scipy import sparse
from scipy.sparse.linalg import cg
from scipy.special import ndtri

from theory import line
from theory.line import Cut, Lines
from theory.partition import PowerDiagram

STEPS, HALVINGS, HALVED = 60, 5, 20
MEETINGS = 8  # of a line with a cell, from which on lines tell its mass; a line meets M^{1/n} cells
SAVED = 1 << 12  # lines from which on a stage saves more than its compilation costs
EMPTY = 0.1  # share of its mass below which a cell is taken to be empty
RAISES = 8  # times that empty cells are raised, since those raised together compete
RAISED_ON = 1 << 14  # points on which the lack of an empty cell is looked up


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
