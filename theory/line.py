"""A power diagram along straight lines: the pieces of its cells and what they sum to.

On y + tθ, y ⊥ θ, y ~ γ, the cells are intervals of t. A crossing at t from cell l to cell r adds
Φ(t) to the mass of l and takes it from r; yΦ(t) − θφ(t) does the same for E[x 1_B]; and
φ(t)/⟨a_r − a_l, θ⟩ = −∂m_l/∂b_r. So masses, centroids and the Laplacian of the masses come from
one list of crossings.
"""

import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int, PRNGKeyArray
from scipy import sparse
from scipy.spatial import ConvexHull, QhullError
from scipy.special import ndtr

from theory.devices import by_rows
from theory.gaussian import normal, pdf
from theory.partition import PowerDiagram
from theory.perimeter.crofton import CELLS, REACH, Crossings, envelope, mean_cosine
from theory.reductions import above, every, first, highest, some

# Lines handed to the device at once, padded: one shape to compile, and a second for long runs.
FEW, MANY = 1 << 12, 1 << 16
FLAT = 4  # up to here a cell has few neighbours, and finding them costs less than it saves
FLATTEST = 1e-10  # least over greatest spread of the lifted points that qhull is trusted with
CROWD = 64  # cells from which on neighbours are looked up


class Lines(eqx.Module):
    """Lines y + tθ.

    Fields:
        directions: θ, unit vectors, shape (lines, n), or (1, n) for parallel lines.
        bases: y ⊥ θ, shape (lines, n).
    """

    directions: Float[Array, "lines_or_one n"]
    bases: Float[Array, "lines n"]

    @property
    def count(self) -> int:
        """The number of lines."""
        return self.bases.shape[0]


class Cut(NamedTuple):
    """All crossings of K lines, by line and then by t.

    Fields:
        line, t, left, right: of each crossing, the cell left behind and the cell entered.
        last: the cell at the far end of every line, shape (K,).
        directions, bases: θ and y of every line, shape (K, n).
    """

    line: Int[np.ndarray, " crossings"]
    t: Float[np.ndarray, " crossings"]
    left: Int[np.ndarray, " crossings"]
    right: Int[np.ndarray, " crossings"]
    last: Int[np.ndarray, " lines"]
    directions: Float[np.ndarray, "lines n"]
    bases: Float[np.ndarray, "lines n"]

    @property
    def points(self) -> Float[np.ndarray, "crossings n"]:
        """Where the crossings are."""
        return self.bases[self.line] + self.t[:, None] * self.directions[self.line]


@partial(jax.jit, static_argnames=("count", "dimension"))
def random_lines(key: PRNGKeyArray, count: int, dimension: int) -> Lines:
    """Independent lines: θ uniform on the sphere, y ~ γ on θ^⊥."""
    direction_key, base_key = jax.random.split(key)
    theta = normal(direction_key, (count, dimension), "float64")
    theta = theta / jnp.linalg.norm(theta, axis=1, keepdims=True)
    base = normal(base_key, (count, dimension), "float64")
    return Lines(theta, base - jnp.sum(base * theta, axis=1, keepdims=True) * theta)


def cuts(
    lines: Lines | Iterable[Lines], diagram: PowerDiagram, places: int | None = None
) -> Iterator[Cut]:
    """The crossings of the lines, in parts of bounded memory.

    Args:
        lines: the lines, or several sets of them, for which neighbours are found only once.
        diagram: a diagram without duplicate sites.
        places: crossings a line is first given room for; grows as needed.
    """
    modes, dimension = diagram.modes, diagram.dimension
    table = neighbours(diagram) if dimension <= FLAT and modes >= CROWD else None
    # A line meets of the order of M^{1/n} cells.
    usual = 1 << math.ceil(math.log2(4 * modes ** (1 / dimension) + 8))
    for one in [lines] if isinstance(lines, Lines) else lines:
        yield from _cuts(one, diagram, table, min(usual if places is None else places, modes))


def _cuts(
    lines: Lines, diagram: PowerDiagram, table: np.ndarray | None, places: int
) -> Iterator[Cut]:
    modes = diagram.modes
    scanned = modes if table is None else 4 * table.shape[1]
    chunk = MANY if lines.count > 2 * MANY else min(FEW, 1 << (lines.count - 1).bit_length())
    size = 1 << (min(CELLS // scanned, chunk).bit_length() - 1)
    for start in range(0, lines.count, chunk):
        part = _part(lines, start, chunk)
        found, last, finished = _cross(part, diagram, table, size, places)
        while not bool(finished):
            places = min(2 * places, modes)
            found, last, finished = _cross(part, diagram, table, size, places)
        yield _flat(part, min(chunk, lines.count - start), found, last)


def masses(cut: Cut, modes: int) -> Float[np.ndarray, " modes"]:
    """Σ over lines of the γ_1-mass of every cell on it, shape (M,)."""
    below = ndtr(cut.t)
    gained, lost = (np.bincount(side, below, modes) for side in (cut.left, cut.right))
    return gained - lost + np.bincount(cut.last, minlength=modes)


def moments(cut: Cut, modes: int) -> Float[np.ndarray, "modes n"]:
    """Σ over lines of E[x 1_B] along it, shape (M, n)."""
    theta, base = cut.directions[cut.line], cut.bases[cut.line]
    below = base * ndtr(cut.t)[:, None] - theta * pdf(cut.t)[:, None]
    far = _selector(cut.last, modes) @ cut.bases
    return exchange(cut, below, modes) + far


def weights(cut: Cut, diagram: PowerDiagram) -> Float[np.ndarray, " crossings"]:
    """φ(t)/⟨a_r − a_l, θ⟩ of every crossing: what it adds to −∂m_l/∂b_r."""
    sites = np.asarray(diagram.sites)
    steepening = sites[cut.right] - sites[cut.left]
    return pdf(cut.t) / np.einsum("cn,cn->c", steepening, cut.directions[cut.line])


def laplacian(cut: Cut, weight: np.ndarray, modes: int) -> sparse.csr_array:
    """Σ over lines of ∂m_i/∂b_j as a sparse graph Laplacian, shape (M, M)."""
    one_way = sparse.coo_array((weight, (cut.left, cut.right)), (modes, modes)).tocsr()
    both = one_way + one_way.T
    return sparse.diags_array(both.sum(axis=1)).tocsr() - both


def perimeter(cut: Cut) -> Float[np.ndarray, " lines"]:
    """Σ φ(t) over the crossings of every line, over E|θ_1|: its mean over lines is P."""
    scale = mean_cosine(cut.bases.shape[1])
    return np.bincount(cut.line, pdf(cut.t), len(cut.last)) / scale


def exchange(cut: Cut, vectors: np.ndarray, modes: int) -> Float[np.ndarray, "modes n"]:
    """Σ over crossings of the vector to the cell left, minus the same to the cell entered."""
    return (_selector(cut.left, modes) - _selector(cut.right, modes)) @ vectors


def neighbours(diagram: PowerDiagram) -> Int[np.ndarray, "modes most"] | None:
    """Every cell's neighbours, padded with the cell itself: edges of the regular triangulation.

    The cells of max_i (⟨a_i, x⟩ + b_i) that share a facet are the edges of the upper convex hull
    of the points (a_i, b_i) in R^{n+1}. A cell without neighbours is empty.
    """
    lifted = np.column_stack([diagram.sites, diagram.offsets]).astype(np.float64)
    spread = np.linalg.svd(lifted - lifted.mean(axis=0), compute_uv=False)
    if spread[-1] <= FLATTEST * spread[0]:
        return None
    try:
        hull = ConvexHull(lifted, qhull_options="Qt")
    except QhullError:
        return None
    upper = hull.simplices[hull.equations[:, -2] > 0]
    corners = upper.shape[1]
    ordered = [(i, j) for i in range(corners) for j in range(corners) if i != j]
    codes = [upper[:, i].astype(np.int64) * diagram.modes + upper[:, j] for i, j in ordered]
    # As one number a pair, which sorts tens of times faster than as a row.
    cell, neighbour = np.divmod(np.unique(np.concatenate(codes)), diagram.modes)
    degree = np.bincount(cell, minlength=diagram.modes)
    place = np.arange(len(cell)) - (np.cumsum(degree) - degree)[cell]
    most = max(8, 1 << int(degree.max(initial=1) - 1).bit_length())  # few shapes to compile
    table = np.repeat(np.arange(diagram.modes, dtype=np.int32)[:, None], most, axis=1)
    table[cell, place] = neighbour
    return table


def _part(lines: Lines, start: int, count: int) -> Lines:
    """`count` lines from `start` on; those beyond the last are copies of it."""
    chosen = np.minimum(np.arange(start, start + count), lines.count - 1)
    bases = np.asarray(lines.bases)[chosen]
    directions = np.asarray(lines.directions)
    if len(directions) > 1:
        directions = directions[chosen]
    return Lines(jnp.asarray(directions), jnp.asarray(bases))


def _flat(part: Lines, count: int, found: Crossings, last: Array) -> Cut:
    t = np.asarray(found.t)[:count]
    met = np.isfinite(t)
    left, right = (np.asarray(side)[:count][met] for side in (found.left, found.right))
    bases = np.asarray(part.bases)[:count]
    directions = np.broadcast_to(np.asarray(part.directions)[:count], bases.shape)
    return Cut(np.nonzero(met)[0], t[met], left, right, np.asarray(last)[:count], directions, bases)


def _selector(cells: np.ndarray, modes: int) -> sparse.csr_array:
    """The 0–1 matrix that sums rows into cells."""
    entries = (np.ones(len(cells)), (cells, np.arange(len(cells))))
    return sparse.coo_array(entries, (modes, len(cells))).tocsr()


@partial(jax.jit, static_argnames=("size", "places"))
def _cross(
    lines: Lines, diagram: PowerDiagram, table: Array | None, size: int, places: int
) -> tuple[Crossings, Array, Array]:
    """Crossings of all lines and the cell at the far end, and whether all lines were finished."""
    blocks = Partial(_blocks, diagram, table, size, places)
    if len(lines.directions) == 1:  # parallel: the slopes are the same for all
        found, last, finished = by_rows(Partial(blocks, lines.directions), lines.bases)
    else:
        found, last, finished = by_rows(blocks, lines.directions, lines.bases)
    return found, last, every(finished)


def _blocks(
    diagram: PowerDiagram,
    table: Array | None,
    size: int,
    places: int,
    directions: Array,
    bases: Array,
) -> tuple[Crossings, Array, Array]:
    """As `_cross`, block by block of `size` lines, each of which says whether it was finished."""
    size = min(size, len(bases))
    blocks, rows = len(bases) // size, min(size, len(directions))

    def block(part: tuple[Array, Array]) -> tuple[Crossings, Array, Array]:
        theta, base = part
        slopes = jnp.matmul(theta, diagram.sites.T, precision="highest")
        heights = jnp.matmul(base, diagram.sites.T, precision="highest") + diagram.offsets
        start = highest(heights - REACH * slopes)
        if table is None:
            found, finished = envelope(jnp.broadcast_to(slopes, heights.shape), heights, places)
        else:
            found, finished = _walk(diagram, jnp.asarray(table), theta, base, start, places)
        return found, _far_end(found, start), finished

    directions = directions.reshape(-1, rows, diagram.dimension)
    directions = jnp.broadcast_to(directions, (blocks, rows, diagram.dimension))
    parts = directions, bases.reshape(blocks, size, -1)
    found, last, finished = lax.map(block, parts)
    flat = Crossings(*(side.reshape(blocks * size, -1) for side in found))
    return flat, last.reshape(-1), finished


def _far_end(found: Crossings, start: Array) -> Array:
    """The cell at the far end of each line: entered last, or the one it started in."""
    crossings = jnp.sum(jnp.isfinite(found.t), axis=1)
    entered = jnp.take_along_axis(found.right, jnp.maximum(crossings - 1, 0)[:, None], axis=1)
    return jnp.where(crossings > 0, entered[:, 0], start)


def _walk(
    diagram: PowerDiagram, table: Array, theta: Array, base: Array, start: Array, places: int
) -> tuple[Crossings, Array]:
    """As `envelope`, looking only at the neighbours of the cell in force."""
    (size, dimension), most = base.shape, table.shape[1]
    lifted = jnp.concatenate([diagram.sites, diagram.offsets[:, None]], axis=1)
    gaps = lifted[table] - lifted[:, None, :]
    # One contiguous row a cell, coordinate by coordinate: a step gathers it once.
    rows = jnp.swapaxes(gaps, 1, 2).reshape(diagram.modes, -1)
    theta = jnp.broadcast_to(theta, base.shape)

    def advance(state: tuple) -> tuple:
        step, current, active, (ts, lefts, rights) = state
        gap = rows[current].reshape(size, dimension + 1, most)
        steeper = sum(gap[:, k] * theta[:, k, None] for k in range(dimension))
        behind = -gap[:, dimension] - sum(gap[:, k] * base[:, k, None] for k in range(dimension))
        meet = jnp.where(steeper > 0, behind / steeper, jnp.inf)
        t = jnp.min(meet, axis=1)
        ahead = first(meet <= above(t)[:, None], table[current])
        active = active & (t <= REACH)
        ts = ts.at[step].set(jnp.where(active, t, jnp.inf))
        found = Crossings(ts, lefts.at[step].set(current), rights.at[step].set(ahead))
        return step + 1, jnp.where(active, ahead, current), active, found

    cells = jnp.zeros((places, size), jnp.int32)
    blank = Crossings(jnp.full((places, size), jnp.inf, base.dtype), cells, cells)
    state = (0, start, jnp.ones(size, bool), blank)
    _, _, active, found = lax.while_loop(lambda s: (s[0] < places) & some(s[2]), advance, state)
    return Crossings(*(side.T for side in found)), ~some(active)
