"""Prescribed cell masses for any power diagram: semi-discrete optimal transport with a certificate.

The offsets b that give γ(B_i) = m_i minimise the convex E max_i(⟨a_i, x⟩ + b_i) − ⟨b, m⟩, whose
gradient is γ(B(b)) − m and whose Hessian is the graph Laplacian of P(F_ij)/‖a_i − a_j‖. Both are
taken on frozen lines, where the objective is convex and smooth, so that damped Newton (Kitagawa,
Mérigot, Thibert 2019) ends at rounding. Along a line y + tθ with y ~ γ on θ^⊥ the cells are
intervals of t and their masses differences of Φ: far less noise than counting points. θ is fixed
over a set of lines and y a scrambled Sobol set in n − 1 dimensions.
"""

import math
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy import linalg
from scipy.stats import qmc

from theory.check import check_count
from theory.estimate import Estimate, from_samples
from theory.partition import PowerDiagram, check_masses
from theory.perimeter.crofton import CELLS, Crossings, envelope

SCRAMBLES = 32  # independent line sets of a certificate: its intervals are Student's with 31
SIMULTANEOUS = 1e-3  # failure probability of the certificate, split over the cells
STEPS = 60


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


class LineSet(eqx.Module):
    """Lines in one direction: scores ⟨a_i, y⟩ + t·⟨a_i, θ⟩ along them, without the offsets."""

    slopes: Float[Array, " modes"]
    intercepts: Float[Array, "lines modes"]


def balance(
    key: PRNGKeyArray,
    diagram: PowerDiagram,
    masses: object | None = None,
    *,
    lines: int = 1 << 18,
    directions: int = 8,
) -> tuple[PowerDiagram, Certificate]:
    """The diagram with the same sites and offsets that give the masses, and its certificate.

    Args:
        key: PRNG key.
        diagram: sites; its offsets are not used.
        masses: γ(B_i) wanted, shape (M,), positive, summing to 1; equal if None.
        lines: frozen lines of the last stage, over all directions; the certificate takes twice
            as many. Rounded up so that every direction has a power of two.
        directions: directions of the frozen lines.

    Raises:
        ValueError: on masses that are no positive law on M cells, duplicate sites, lines or
            directions that are not positive integers, or a solve that does not converge.
    """
    check_count("lines", lines, 2)
    check_count("directions", directions, 1)
    modes = diagram.modes
    equal = np.full(modes, 1 / modes)
    law = equal if masses is None else check_masses(masses, modes)
    if len(np.unique(diagram.groups())) < modes:
        raise ValueError("duplicate sites cannot share a prescribed mass: make the sites distinct")
    solve_key, certify_key = jax.random.split(key)
    # At n = 1 one line is the whole space and the masses are exact; elsewhere the frozen lines
    # err by more than 1e-4, and Newton's last step overshoots this tolerance by far.
    tolerance = 1e-11 if diagram.dimension == 1 else 1e-4
    offsets = _voronoi_offsets(np.asarray(diagram.sites, np.float64))
    for number, stage in enumerate((lines >> 6, lines >> 3, lines)):
        stage_key = jax.random.fold_in(solve_key, number)
        frozen = _line_sets(stage_key, diagram, directions, max(stage, 64 * directions))
        offsets = _newton(frozen, offsets, law, tolerance)
    balanced = PowerDiagram(diagram.sites, offsets - offsets.mean())
    return balanced, certify(certify_key, balanced, law, lines=2 * lines)


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
    sets = _line_sets(key, diagram, SCRAMBLES, lines)
    found = from_samples(np.stack([_masses(one, np.asarray(diagram.offsets)) for one in sets]))
    lower, upper = found.interval(SIMULTANEOUS / diagram.modes)
    error = np.abs(found.value - law) / law
    worst = np.maximum(np.abs(lower - law), np.abs(upper - law)) / law
    return Certificate(float(error.max()), float(worst.max()), found)


def _voronoi_offsets(sites: np.ndarray) -> np.ndarray:
    """Offsets of the Voronoi cells of the sites shrunk into the bulk of γ: no cell is empty.

    −c‖a_i − ā‖²/2 makes the cells those of the points c(a_i − ā), each of which lies in its own.
    """
    centred = sites - sites.mean(axis=0)
    square = (centred**2).sum(axis=1)
    shrink = 1 / math.sqrt(square.mean())
    # The common shift −ā of the sites is the affine term ⟨ā, x⟩ in all scores: no change.
    return -shrink * square / 2


def _line_sets(
    key: PRNGKeyArray, diagram: PowerDiagram, directions: int, lines: int
) -> list[LineSet]:
    """Line sets of independent directions and scrambles, `lines` in all."""
    size = 1 << max(0, math.ceil(math.log2(lines / directions)))
    dimension = diagram.dimension
    sites = np.asarray(diagram.sites, np.float64)
    seeds = np.asarray(jax.random.bits(key, (directions, 2), "uint32"))
    sets = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        frame = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0].T
        base = _gaussian_sobol(rng, size, dimension - 1)
        intercepts = jnp.matmul(base, frame[1:] @ sites.T, precision="highest")
        sets.append(LineSet(jnp.asarray(sites @ frame[0]), intercepts))
    return sets


def _gaussian_sobol(rng: np.random.Generator, size: int, dimension: int) -> Array:
    """Scrambled Sobol points under Φ⁻¹; in dimension 0 there is one point."""
    if dimension == 0:
        return jnp.zeros((1, 0))
    uniform = qmc.Sobol(dimension, rng=rng).random_base2(size.bit_length() - 1)
    # A scrambled coordinate may be 0, which is −∞.
    return jax.scipy.special.ndtri(jnp.clip(jnp.asarray(uniform), 2.0**-54, 1 - 2.0**-53))


def _newton(
    sets: list[LineSet], offsets: np.ndarray, law: np.ndarray, tolerance: float
) -> np.ndarray:
    """Damped Newton: half the step until no cell falls below half its least allowed mass."""
    mass, laplacian = _mass_and_laplacian(sets, offsets)
    least = 0.5 * min(float(mass[mass > 0].min()), float(law.min()))
    for _ in range(STEPS):
        error = np.abs(mass - law).max()
        if error <= tolerance * law.min():
            return offsets
        step = _solve(laplacian, law - mass)
        for halving in range(40):
            trial = offsets + step / 2**halving
            trial_mass, trial_laplacian = _mass_and_laplacian(sets, trial)
            enough = trial_mass.min() >= min(least, float(mass.min()))
            if enough and np.abs(trial_mass - law).max() < error:
                break
        else:
            return offsets  # the masses of the frozen lines are met as well as rounding allows
        offsets, mass, laplacian = trial, trial_mass, trial_laplacian
    return offsets


def _solve(laplacian: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The mean-zero solution of L·step = right for a Laplacian, with a ridge for unmet cells."""
    scale = np.trace(laplacian) / len(right)
    ridge = laplacian + (scale / len(right)) + 1e-12 * scale * np.eye(len(right))
    step = linalg.solve(ridge, right, assume_a="pos")
    return step - step.mean()


def _masses(lines: LineSet, offsets: np.ndarray) -> np.ndarray:
    return _mass_and_laplacian([lines], offsets)[0]


def _mass_and_laplacian(sets: list[LineSet], offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean cell masses over all lines and their exact derivative in the offsets."""
    modes = len(offsets)
    mass, laplacian, count = np.zeros(modes), np.zeros((modes, modes)), 0
    size = max(64, CELLS // modes)
    places = min(64, modes)
    for lines in sets:
        for start in range(0, len(lines.intercepts), size):
            part = lines.intercepts[start : start + size]
            sums, finished = _line_sums(lines.slopes, part, jnp.asarray(offsets), places)
            while not bool(finished):
                places = min(4 * places, modes)
                sums, finished = _line_sums(lines.slopes, part, jnp.asarray(offsets), places)
            mass += np.asarray(sums[0])
            laplacian += np.asarray(sums[1])
            count += len(part)
    laplacian = laplacian + laplacian.T
    return mass / count, (np.diag(laplacian.sum(axis=1)) - laplacian) / count


@partial(jax.jit, static_argnames="places")
def _line_sums(
    slopes: Array, intercepts: Array, offsets: Array, places: int
) -> tuple[tuple[Array, Array], Array]:
    """Σ over lines of the cells' masses and of φ(t)/|slope gap| for every pair that meets."""
    lines, modes = intercepts.shape
    tilted = jnp.broadcast_to(slopes, (lines, modes))
    heights = intercepts + offsets
    found, finished = envelope(tilted, heights, places)
    met = jnp.isfinite(found.t)
    below = jnp.where(met, jax.scipy.special.ndtr(found.t), 0)
    mass = jnp.zeros(modes, intercepts.dtype).at[found.left].add(below).at[found.right].add(-below)
    mass = mass.at[_last(found, met, heights)].add(1.0)
    density = jnp.exp(-(found.t**2) / 2) / math.sqrt(2 * math.pi)
    gap = slopes[found.right] - slopes[found.left]
    weight = jnp.where(met, density / jnp.where(met, gap, 1), 0)
    laplacian = jnp.zeros((modes, modes), intercepts.dtype).at[found.left, found.right].add(weight)
    return (mass, laplacian), finished


def _last(found: Crossings, met: Array, heights: Array) -> Array:
    """The cell at the far end of each line: entered last, or the only one."""
    crossings = jnp.sum(met, axis=1)
    entered = jnp.take_along_axis(found.right, jnp.maximum(crossings - 1, 0)[:, None], axis=1)
    alone = jnp.argmax(heights, axis=1).astype(entered.dtype)
    return jnp.where(crossings > 0, entered[:, 0], alone)
