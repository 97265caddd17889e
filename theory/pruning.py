"""Labels and nearest facets among very many classes from one product, by pruning.

The scores of some rows with all classes are made once and looked at in groups of GROUP classes.
Since ‖a_y − a_j‖ ≤ ‖a_y − c‖ + ‖a_j − c‖ for every c (here the mean of the sites, which makes the
right-hand side small), a group with best score s_g lies no nearer to a point of cell y than

    (s_y − s_g) / (‖a_y − c‖ + max_{j ∈ g} ‖a_j − c‖).

The best groups are opened, the same bound is taken class by class, and the few classes with the
smallest are *decided* by direct differences in the widest enabled dtype. A row is `sure` when the
bounds of all other groups and classes, less what rounding can do, exclude them. The rows that are
not get a second product, of ‖a_y − a_j‖ for all classes.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from theory.screening import first_minimum, heights, lengths, rounding

GROUP = 16  # classes of a group
LABELS = 4  # classes whose score is decided


class Effort(NamedTuple):
    """How many groups are opened in each row, and of how many classes the distance is decided."""

    groups: int
    facets: int


# Of latents of a language model 93% have less than 64 classes within the bound by lengths, the
# worst a thousand; within the bound by distances they have one, but for ties.
BY_LENGTHS, BY_DISTANCES = Effort(96, 64), Effort(8, 8)

Rows = Float[Array, "rows n"]


class Screen(NamedTuple):
    """The sites as the product sees them; padded at the end to whole groups by classes at −∞.

    Fields:
        sites: a_j − c, shape (padded, n).
        offsets: b_j, shape (padded,).
        lengths: ‖a_j − c‖, shape (padded,).
        heights: |b_j|, 0 where b_j = −∞.
        groups: equal for equal sites; −1 in the padding.
    """

    sites: Float[Array, "padded n"]
    offsets: Float[Array, " padded"]
    lengths: Float[Array, " padded"]
    heights: Float[Array, " padded"]
    groups: Int[Array, " padded"]


class Pruned(NamedTuple):
    """Label, neighbour and distance of each row, right where `sure`."""

    label: Int[Array, " rows"]
    neighbour: Int[Array, " rows"]
    distance: Float[Array, " rows"]
    sure: Bool[Array, " rows"]


class _Opened(NamedTuple):
    """A row's best groups, class by class, its label, and what was left out."""

    classes: Int[Array, "rows near"]
    scores: Float[Array, "rows near"]
    others: Float[Array, "rows all"]  # best score of each group; −∞ for those opened
    label: Int[Array, " rows"]
    score: Float[Array, " rows"]
    sure: Bool[Array, " rows"]


@jax.jit
def screen(sites: Array, offsets: Array, groups: Int[Array, " modes"]) -> Screen:
    """Centre and pad once what every chunk of rows needs."""
    fill = (0, -len(sites) % GROUP)
    centred = jnp.pad(sites - jnp.mean(sites, axis=0), (fill, (0, 0)))
    return Screen(
        centred,
        jnp.pad(offsets, fill, constant_values=-jnp.inf),
        lengths(centred),
        jnp.pad(heights(offsets), fill),
        jnp.pad(groups, fill, constant_values=-1),
    )


@partial(jax.jit, static_argnames="wide")
def labels(
    sites: Array, offsets: Array, screened: Screen, x: Rows, wide: str
) -> tuple[Int[Array, " rows"], Bool[Array, " rows"]]:
    """argmax_j ⟨a_j, x⟩ + b_j, ties to the smaller index, and whether it is sure."""
    opened = _open(sites, offsets, screened, x, wide, BY_LENGTHS.groups)
    return opened.label, opened.sure


@partial(jax.jit, static_argnames="wide")
def facets_by_lengths(sites: Array, offsets: Array, screened: Screen, x: Rows, wide: str) -> Pruned:
    """The nearest facet of every row, decided in dtype `wide`, and whether it is sure."""
    opened = _open(sites, offsets, screened, x, wide, BY_LENGTHS.groups)
    y, classes = opened.label, opened.classes
    bounds = _bounds(screened, x, opened, opened.scores, classes)
    same = screened.groups[classes] == screened.groups[y][:, None]
    bounds = jnp.where(same, jnp.inf, bounds)
    label, neighbour, shortest, sure = _decided(
        sites, offsets, x, y, classes, bounds, wide, BY_LENGTHS.facets
    )
    others = jnp.min(_group_bounds(screened, x, opened), axis=1)
    return Pruned(label, neighbour, shortest, opened.sure & sure & (others > shortest))


@partial(jax.jit, static_argnames="wide")
def facets_by_distances(
    sites: Array, offsets: Array, screened: Screen, x: Rows, wide: str
) -> Pruned:
    """As `facets_by_lengths`, with the distances ‖a_y − a_j‖ themselves, from a second product."""
    opened = _open(sites, offsets, screened, x, wide, BY_DISTANCES.groups)
    y = opened.label
    inner = jnp.matmul(screened.sites[y], screened.sites.T, precision="highest")
    scores = jnp.matmul(x, screened.sites.T, precision="highest") + screened.offsets
    bounds = _tight(screened, x, opened, scores, inner).reshape(len(x), -1, GROUP)
    best = jnp.min(bounds, axis=2)
    least, at = _largest(-best, min(BY_DISTANCES.groups, best.shape[1] - 1) + 1)
    near = jnp.take_along_axis(bounds, at[:, :-1, None], axis=1).reshape(len(x), -1)
    classes = (at[:, :-1, None] * GROUP + jnp.arange(GROUP)).reshape(len(x), -1)
    found = _decided(sites, offsets, x, y, classes, near, wide, BY_DISTANCES.facets)
    label, neighbour, shortest, sure = found
    return Pruned(label, neighbour, shortest, opened.sure & sure & (-least[:, -1] > shortest))


def _tight(
    screened: Screen, x: Rows, opened: _Opened, scores: Array, inner: Array
) -> Float[Array, "rows padded"]:
    """(s_y − s_j)/‖a_y − a_j‖ less what rounding can do; ∞ for equal sites."""
    slack, y = rounding(x, screened.sites), opened.label
    reach = screened.lengths + screened.lengths[y][:, None]
    loose = slack * (lengths(x)[:, None] * reach + screened.heights + screened.heights[y][:, None])
    gap = jnp.maximum(opened.score[:, None] - scores - loose, 0)
    square = screened.lengths[y][:, None] ** 2 + screened.lengths**2 - 2 * inner
    bound = gap / jnp.sqrt(jnp.maximum(square, 0) + slack * reach**2)
    same = screened.groups == screened.groups[y][:, None]
    return jnp.where(same, jnp.inf, jnp.where(reach > 0, bound, 0))


def _decided(
    sites: Array,
    offsets: Array,
    x: Rows,
    y: Array,
    classes: Array,
    bounds: Float[Array, "rows near"],
    wide: str,
    most: int,
) -> Pruned:
    """The nearest of the classes with the least bounds, sure if the other bounds lie beyond."""
    few = min(most, bounds.shape[1] - 1)
    least, at = _largest(-bounds, few + 1)
    nearest = jnp.take_along_axis(classes, at[:, :few], axis=1)
    distance = _distances(sites, offsets, x, y, nearest, wide)
    distance = jnp.where(jnp.isfinite(least[:, :few]), distance, jnp.inf)
    neighbour, shortest = first_minimum(nearest, distance)
    neighbour = jnp.where(jnp.isfinite(shortest), neighbour, -1)
    return Pruned(y, neighbour, shortest, -least[:, few] > shortest)


def _open(
    sites: Array, offsets: Array, screened: Screen, x: Rows, wide: str, groups: int
) -> _Opened:
    # Offsets are added where scores are read, not to all of them: that would be a second pass.
    grouped = jnp.matmul(x, screened.sites.T, precision="highest").reshape(len(x), -1, GROUP)
    best = jnp.max(grouped + screened.offsets.reshape(-1, GROUP), axis=2)
    opened = _largest(best, min(groups, best.shape[1]))[1]
    classes = (opened[..., None] * GROUP + jnp.arange(GROUP)).reshape(len(x), -1)
    near = jnp.take_along_axis(grouped, opened[..., None], axis=1).reshape(len(x), -1)
    near = near + screened.offsets[classes]
    others = jnp.put_along_axis(best, opened, -jnp.inf, axis=1, inplace=False)
    # The best k classes lie in the best k groups.
    first, at = _largest(near[:, : (LABELS + 1) * GROUP], LABELS + 1)
    few = jnp.take_along_axis(classes, at[:, :LABELS], axis=1)
    exact = jnp.einsum("rn,rkn->rk", x.astype(wide), sites[few].astype(wide))
    exact = jnp.where(jnp.isfinite(first[:, :LABELS]), exact + offsets[few].astype(wide), -jnp.inf)
    label, _ = first_minimum(few, -exact)
    score = jnp.max(jnp.where(few == label[:, None], first[:, :LABELS], -jnp.inf), axis=1)
    loose = rounding(x, sites) * (
        lengths(x) * jnp.max(screened.lengths) + jnp.max(screened.heights)
    )
    rest = jnp.maximum(first[:, LABELS], jnp.max(others, axis=1))
    return _Opened(classes, near, others, label, score, score - rest > 2 * loose)


def _bounds(
    screened: Screen, x: Rows, opened: _Opened, scores: Array, classes: Array
) -> Float[Array, "rows near"]:
    """The lower bound of the distance to the hyperplane of each class."""
    return _bound(x, screened, opened, scores, screened.lengths[classes], screened.heights[classes])


def _group_bounds(screened: Screen, x: Rows, opened: _Opened) -> Float[Array, "rows all"]:
    """The lower bound of the distance to any hyperplane of each group that was not opened."""
    reach, height = (
        jnp.max(each.reshape(-1, GROUP), axis=1) for each in (screened.lengths, screened.heights)
    )
    return _bound(x, screened, opened, opened.others, reach, height)


def _bound(
    x: Rows, screened: Screen, opened: _Opened, scores: Array, reach: Array, height: Array
) -> Array:
    slack, y = rounding(x, screened.sites), opened.label
    reach = reach + screened.lengths[y][:, None]
    loose = slack * (lengths(x)[:, None] * reach + height + screened.heights[y][:, None])
    gap = jnp.maximum(opened.score[:, None] - scores - loose, 0)
    return jnp.where(reach > 0, gap / (reach * (1 + slack)), 0)


def _distances(
    sites: Array, offsets: Array, x: Rows, y: Array, classes: Array, wide: str
) -> Float[Array, "rows k"]:
    """δ_j by direct differences, which near-duplicate sites do not cancel.

    Row by row: the differences of one row stay in the cache, those of all would be gigabytes.
    """

    def one(row: tuple[Array, Array, Array]) -> Float[Array, " k"]:
        point, own, j = row
        apart = sites[own].astype(wide) - sites[j].astype(wide)
        gap = jnp.matmul(apart, point.astype(wide), precision="highest")
        gap = gap + (offsets[own].astype(wide) - offsets[j].astype(wide))
        return jnp.maximum(gap, 0) / jnp.linalg.norm(apart, axis=-1)

    return lax.map(one, (x, y, classes))


def _largest(values: Float[Array, "rows k"], count: int) -> tuple[Array, Array]:
    """`lax.top_k`, kept apart: XLA would push a slice of it inside and sort all of the row."""
    return lax.optimization_barrier(lax.top_k(values, count))
