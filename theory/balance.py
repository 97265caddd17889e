"""Prescribed cell masses for any power diagram: semi-discrete optimal transport with a certificate.

The offsets b that give γ(B_i) = m_i minimise the convex E max_i(⟨a_i, x⟩ + b_i) − ⟨b, m⟩. Newton's
method does it on frozen lines (`theory.newton`). Along a line y + tθ with y ~ γ on θ^⊥ the cells
are intervals of t and their masses differences of Φ: far less noise than counting points. θ is
fixed over a set of lines and y a scrambled Sobol set in n − 1 dimensions.

Among few cells in many dimensions lines of one direction tell little. There more Newton steps
follow, on fresh points along every cell's own direction (`theory.conditional_masses`).
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray
from scipy.special import ndtri
from scipy.stats import qmc

from theory import line
from theory.check import check_count
from theory.conditional_masses import best_shrinkage, conditional_laplacian, conditional_masses
from theory.estimate import Estimate, from_samples
from theory.line import Lines
from theory.newton import newton_in_stages, solve
from theory.partition import PowerDiagram, check_masses

SCRAMBLES = 32  # independent sets of a certificate: its intervals are Student's with 31
SIMULTANEOUS = 1e-3  # failure probability of the certificate, split over the cells
FLAT = 4  # dimensions up to which lines tell more than points for what they cost
CROWD = 256  # cells up to which points are taken, at M² operations each
COARSE = 1 << 13  # lines before points: as many as leave no cell empty
POINTS_A_CELL = 1 << 13  # for a certificate of about 1%
MET = 1 << 11  # points of the Laplacian
SHARES = 64, 8, 1  # of the points that each Newton step on them takes


class Certificate(NamedTuple):
    """How far the cell masses are from the prescribed ones, on lines or points that are fresh.

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
    points: int | None = None,
) -> tuple[PowerDiagram, Certificate]:
    """The diagram with the same sites and offsets that give the masses, and its certificate.

    Args:
        key: PRNG key.
        diagram: sites; its offsets are not used.
        masses: as for `with_masses`.
        lines: as for `with_masses`; a certificate without points takes twice as many.
        directions: of the frozen lines.
        points: as for `with_masses`; the certificate takes as many again.

    Raises:
        ValueError: as `with_masses`.
    """
    solve_key, certify_key = jax.random.split(key)
    lines, points = _effort(diagram, lines, points)
    balanced = with_masses(
        solve_key, diagram, masses, lines=lines, directions=directions, points=points or None
    )
    law = _law(masses, diagram.modes)
    return balanced, certify(certify_key, balanced, law, lines=2 * lines, points=points)


def with_masses(
    key: PRNGKeyArray,
    diagram: PowerDiagram,
    masses: object | None = None,
    *,
    lines: int | None = None,
    directions: int = 8,
    points: int | None = None,
) -> PowerDiagram:
    """The diagram with the same sites and offsets that give the masses.

    Args:
        key: PRNG key.
        diagram: sites; its offsets are not used.
        masses: γ(B_i) wanted, shape (M,), positive, summing to 1; equal if None.
        lines: frozen lines of the last stage, over all directions, rounded up so that every
            direction has a power of two.
        directions: directions of the frozen lines.
        points: of the last Newton step, along every cell's own direction: M² operations each.
            None are taken if lines are given without them. If neither is given there are as many of
            what costs least as make a certificate of about 1%.

    Raises:
        ValueError: on masses that are no positive law on M cells, duplicate sites, or lines,
            directions or points that are not positive integers.
    """
    law = _law(masses, diagram.modes)
    lines, points = _effort(diagram, lines, points)
    check_count("lines", lines, 2)
    check_count("directions", directions, 1)
    if len(np.unique(diagram.groups())) < diagram.modes:
        raise ValueError("duplicate sites cannot share a prescribed mass: make the sites distinct")
    # At n = 1 one line is the whole space and the masses are exact; elsewhere the frozen lines
    # err by more than 1e-4, and Newton's last step overshoots this tolerance by far.
    tolerance = 1e-11 if diagram.dimension == 1 else 1e-4
    start = PowerDiagram(diagram.sites, voronoi_offsets(np.asarray(diagram.sites, np.float64)))
    sets = list(line_sets(key, diagram.dimension, directions, max(lines, 64 * directions)))
    found = newton_in_stages(sets, start, law, tolerance)
    if not points:
        return found
    return _polished(jax.random.fold_in(key, 1), found, law, points)


def _law(masses: object | None, modes: int) -> np.ndarray:
    return np.full(modes, 1 / modes) if masses is None else check_masses(masses, modes)


def _effort(diagram: PowerDiagram, lines: int | None, points: int | None) -> tuple[int, int]:
    """Lines and points, of which 0 are taken where lines tell the masses well enough."""
    modes, dimension = diagram.modes, diagram.dimension
    if points is not None:
        check_count("points", points, 1)
    elif lines is None and dimension > FLAT and modes <= CROWD:
        points = POINTS_A_CELL * modes
    if not points or dimension == 1:
        return (enough_lines(modes, dimension) if lines is None else lines), 0
    return (COARSE if lines is None else lines), points


def _polished(
    key: PRNGKeyArray, diagram: PowerDiagram, law: np.ndarray, points: int
) -> PowerDiagram:
    """Newton steps on ever more points, each on fresh ones; the last with the derivative before."""
    shrinkage = best_shrinkage(key, diagram)
    for share in SHARES:
        masses_key, laplacian_key = jax.random.split(jax.random.fold_in(key, share))
        mass = conditional_masses(masses_key, diagram, max(1, points // share), shrinkage)
        if share > 1:
            laplacian = conditional_laplacian(laplacian_key, diagram, MET, shrinkage)
        step = solve(laplacian, law - mass / mass.sum())
        diagram = PowerDiagram(diagram.sites, diagram.offsets + step)
    return diagram


def enough_lines(modes: int, dimension: int) -> int:
    """Lines for a certificate of about 1%: M·2^{4+4 log₂n}, fewer where Sobol points help less.

    A cell of mass 1/M asks for a number of lines in proportion to M; the power of n is measured.
    """
    a_cell = min(4 * math.log2(2 * dimension), 17)
    return 1 << min(23, max(14, math.ceil(math.log2(modes) + a_cell)))


def certify(
    key: PRNGKeyArray,
    diagram: PowerDiagram,
    masses: object,
    *,
    lines: int = 1 << 19,
    points: int = 0,
) -> Certificate:
    """Worst relative mass error with the upper end of a simultaneous 99.9% interval.

    From SCRAMBLES independent sets of lines, each with its own direction, or of so many points, if
    any: Student's intervals with the failure probability split over the cells.

    Raises:
        ValueError: on masses that are no positive law on M cells.
    """
    law = check_masses(masses, diagram.modes)
    if points:
        size = max(1, points // SCRAMBLES)
        pilot, *keys = jax.random.split(key, SCRAMBLES + 1)
        shrinkage = best_shrinkage(pilot, diagram)
        sets = [conditional_masses(one, diagram, size, shrinkage) for one in keys]
    else:
        lines_of = line_sets(key, diagram.dimension, SCRAMBLES, lines)
        sets = [_masses(one, diagram) for one in lines_of]
    found = from_samples(np.stack(sets))
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


def _masses(lines: Lines, diagram: PowerDiagram) -> np.ndarray:
    parts = [line.masses(cut, diagram.modes) for cut in line.cuts(lines, diagram)]
    return np.sum(parts, axis=0) / lines.count
