"""Lloyd and descent of the Gaussian perimeter, at equal masses.

Balanced Lloyd moves every site to the centroid of its cell, and the offsets so that the masses stay
equal. Descent is of the perimeter itself. On a line the boundary is a set of crossings t, and the
measure of what lies within ε of one, over 2ε, has the derivative

    ∂P_ε/∂t = (φ(t + ε)·[next > t + 2ε] − φ(t − ε)·[previous < t − 2ε])/(2ε),

in which ridges appear through the gaps that close; 2P_ε − P_{2ε} is P up to O(ε²). The masses are
held by multipliers λ, the pressures of the cells: L·λ = ∂P/∂b with L = ∂m/∂b.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, PRNGKeyArray
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from theory import line
from theory.balance import line_sets
from theory.gaussian import pdf
from theory.line import Cut, Lines, random_lines
from theory.newton import mass_and_laplacian, newton, solve
from theory.partition import PowerDiagram
from theory.perimeter.crofton import mean_cosine

TOLERANCE, BALANCING = 0.02, 12  # of masses on the lines of a step, and Newton's steps to meet it
STEP, MOMENTUM = 0.3, 0.8  # of Lloyd: share of the way to the centroid, and of the last step
DIRECTIONS = 4  # few directions, so that Sobol points fill the cross-section of each
MET = 0.1  # share of the mean mass below which a centroid is not known
MOVED = 0.5  # share of a cell's mass that a step may move
WIDTH = 0.1  # ε over √n times the distance of neighbouring sites: facets lie across most lines
RATE = 0.01  # first step of the descent over the distance of neighbouring sites, for n ≤ 4


def lloyd(key: PRNGKeyArray, diagram: PowerDiagram, *, lines: int, iterations: int) -> PowerDiagram:
    """Balanced Lloyd: sites to the centroids of cells of equal mass, on fresh lines every time.

    Fixed points are the critical points of W₂(γ, Σ δ_{a_i}/M) in the sites, whose gradient is
    (a_i − centroid of B_i)/M; momentum shortens the way of defects that are many cells long.
    """

    def draw(own: PRNGKeyArray) -> list[Lines]:
        return list(line_sets(own, diagram.dimension, DIRECTIONS, lines))

    def slope(cuts: list[Cut], diagram: PowerDiagram, middle: np.ndarray) -> np.ndarray:
        return np.asarray(diagram.sites) - middle

    return _follow(key, diagram, _momentum(iterations), iterations, draw, slope)


def descend(
    key: PRNGKeyArray, diagram: PowerDiagram, *, lines: int, iterations: int
) -> PowerDiagram:
    """Descent of P at equal masses: Adam on `gradient`, on fresh lines every time."""
    spacing = _spacing(diagram)
    width = WIDTH * math.sqrt(diagram.dimension) * spacing
    # In more dimensions the gradient is noisier and Lloyd ends nearer the minimum.
    rate = RATE * spacing * min(1.0, 4 / diagram.dimension)
    optimizer = _compiled(optax.adam(optax.cosine_decay_schedule(rate, max(1, iterations))))

    def draw(own: PRNGKeyArray) -> list[Lines]:
        return [random_lines(own, lines, diagram.dimension)]

    def slope(cuts: list[Cut], diagram: PowerDiagram, middle: np.ndarray) -> np.ndarray:
        return gradient(cuts, diagram, width)

    return _follow(key, diagram, optimizer, iterations, draw, slope)


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
        total += line.exchange(cut, held[:, None] * cut.points, modes)
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


def turned(diagram: PowerDiagram, step: np.ndarray, centroids: np.ndarray) -> PowerDiagram:
    """Sites moved with the scores at the centroids of the cells kept, so that the cells stay.

    Cells of prescribed mass may lie far from their sites; moved along with them, some get lost.
    """
    shift = np.einsum("mn,mn->m", step, centroids)
    return PowerDiagram(np.asarray(diagram.sites) + step, np.asarray(diagram.offsets) - shift)


def drift(
    cuts: list[Cut], diagram: PowerDiagram, step: np.ndarray, centroids: np.ndarray
) -> Float[np.ndarray, " modes"]:
    """What `turned` adds to the masses, to first order: ⟨δ_i, x − c_i⟩ is added to score i."""
    modes, total = diagram.modes, np.zeros(diagram.modes)
    shift = np.einsum("mn,mn->m", step, centroids)
    for cut in cuts:
        x = cut.points
        gain = np.einsum("cn,cn->c", step[cut.left] - step[cut.right], x)
        gain = (gain - shift[cut.left] + shift[cut.right]) * line.weights(cut, diagram)
        total += np.bincount(cut.left, gain, modes) - np.bincount(cut.right, gain, modes)
    return total / sum(len(cut.last) for cut in cuts)


def _follow(
    key: PRNGKeyArray,
    diagram: PowerDiagram,
    optimizer: optax.GradientTransformation,
    iterations: int,
    draw: Callable[[PRNGKeyArray], list[Lines]],
    slope: Callable[[list[Cut], PowerDiagram, np.ndarray], np.ndarray],
) -> PowerDiagram:
    """The optimizer's step in the sites and Newton's in the offsets, from one list of crossings.

    The masses are met as the sites come to rest, at a fifth of what balancing every time costs.
    When a cell is lost, to no line, the masses are balanced first.
    """
    modes = diagram.modes
    law = np.full(modes, 1 / modes)
    memory = optimizer.init(jnp.asarray(diagram.sites))
    for number in range(iterations):
        sets = draw(jax.random.fold_in(key, number))
        cuts = list(line.cuts(sets, diagram))
        mass, laplacian = mass_and_laplacian(cuts, diagram)
        if mass.min() <= 0:
            diagram = newton(sets, diagram, law, TOLERANCE, BALANCING)
            cuts = list(line.cuts(sets, diagram))
            mass, laplacian = mass_and_laplacian(cuts, diagram)
        middle = centroids(cuts, diagram)
        step, memory = optimizer.update(jnp.asarray(slope(cuts, diagram, middle)), memory)
        # A cell that its own step and its neighbours' would empty moves less.
        gained = drift(cuts, diagram, np.asarray(step), middle)
        share = np.minimum(1, MOVED / np.maximum(modes * np.abs(gained), 1e-9))
        step = np.asarray(step) * share[:, None]
        lack = law - mass - drift(cuts, diagram, step, middle)
        # Against its neighbours an offset is raised by its own lack over its diagonal.
        lack = np.clip(lack, -MOVED / modes, MOVED / modes)
        raised = solve(laplacian, lack - lack.mean())
        balanced = PowerDiagram(diagram.sites, np.asarray(diagram.offsets) + raised)
        diagram = turned(balanced, step, middle)
    return diagram


@functools.cache
def _momentum(iterations: int) -> optax.GradientTransformation:
    return _compiled(optax.sgd(optax.cosine_decay_schedule(STEP, max(1, iterations)), MOMENTUM))


def _compiled(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    return optax.GradientTransformation(optimizer.init, jax.jit(optimizer.update))


def centroids(cuts: list[Cut], diagram: PowerDiagram) -> Float[np.ndarray, "modes n"]:
    """E[x | B_i], and the site of a cell that hardly a line met."""
    mass, moment = np.zeros(diagram.modes), np.zeros(diagram.sites.shape)
    for cut in cuts:
        mass += line.masses(cut, diagram.modes)
        moment += line.moments(cut, diagram.modes)
    met = (mass > MET * mass.mean())[:, None]
    return np.where(met, moment / np.where(met, mass[:, None], 1), np.asarray(diagram.sites))


def _spacing(diagram: PowerDiagram) -> float:
    """The median distance of a site to the nearest other one."""
    sites = np.asarray(diagram.sites)
    return float(np.median(cKDTree(sites).query(sites, 2)[0][:, 1]))
