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
FEW = 64  # rows of a chunk that get the second product together


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


class _Labelled(NamedTuple):
    """Rows with their label, its centred score, and whether the label is sure."""

    x: Rows
    label: Int[Array, " rows"]
    score: Float[Array, " rows"]
    sure: Bool[Array, " rows"]


class _Opened(NamedTuple):
    """The classes of each row's best groups, and the best score of every group, −∞ for those."""

    classes: Int[Array, "rows near"]
    scores: Float[Array, "rows near"]
    others: Float[Array, "rows all"]


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
    _, rows = _labelled(sites, offsets, screened, x, _grouped(screened, x), wide)
    return rows.label, rows.sure


@partial(jax.jit, static_argnames="wide")
def facets(sites: Array, offsets: Array, screened: Screen, x: Rows, wide: str) -> Pruned:
    """The nearest facet of every row, decided in dtype `wide`, and whether it is sure."""
    grouped = _grouped(screened, x)
    opened, rows = _labelled(sites, offsets, screened, x, grouped, wide)
    found = _by_lengths(sites, offsets, screened, opened, rows, wide)
    few = min(FEW, len(x))

    def settle(state: tuple[Pruned, Array]) -> tuple[Pruned, Array]:
        found, doubtful = state
        at = jnp.nonzero(doubtful, size=few, fill_value=len(x))[0]
        some = jax.tree.map(lambda leaf: leaf[at], rows)
        again = _by_distances(sites, offsets, screened, grouped[at], some, wide)
        found = jax.tree.map(lambda old, new: old.at[at].set(new, mode="drop"), found, again)
        return found, doubtful.at[at].set(False, mode="drop")

    doubtful = rows.sure & ~found.sure
    return lax.while_loop(lambda state: jnp.any(state[1]), settle, (found, doubtful))[0]


def _grouped(screened: Screen, x: Rows) -> Float[Array, "rows all group"]:
    """⟨a_j − c, x⟩. Offsets are added where they are read: to all would be one more pass."""
    product = jnp.matmul(x, screened.sites.T, precision="highest")
    return product.reshape(len(x), -1, GROUP)


def _labelled(
    sites: Array, offsets: Array, screened: Screen, x: Rows, grouped: Array, wide: str
) -> tuple[_Opened, _Labelled]:
    best = jnp.max(grouped + screened.offsets.reshape(-1, GROUP), axis=2)
    at = _largest(best, min(BY_LENGTHS.groups, best.shape[1]))[1]
    classes, near = _members(grouped, at)
    near = near + screened.offsets[classes]
    others = jnp.put_along_axis(best, at, -jnp.inf, axis=1, inplace=False)
    # The best k classes lie in the best k groups.
    first, at = _largest(near[:, : (LABELS + 1) * GROUP], LABELS + 1)
    few = jnp.take_along_axis(classes, at[:, :LABELS], axis=1)
    exact = jnp.einsum("rn,rkn->rk", x.astype(wide), sites[few].astype(wide))
    exact = jnp.where(jnp.isfinite(first[:, :LABELS]), exact + offsets[few].astype(wide), -jnp.inf)
    label, _ = first_minimum(few, -exact)
    score = jnp.max(jnp.where(few == label[:, None], first[:, :LABELS], -jnp.inf), axis=1)
    loose = lengths(x) * jnp.max(screened.lengths) + jnp.max(screened.heights)
    rest = jnp.maximum(first[:, LABELS], jnp.max(others, axis=1))
    sure = score - rest > 2 * rounding(x, sites) * loose
    return _Opened(classes, near, others), _Labelled(x, label, score, sure)


def _by_lengths(
    sites: Array, offsets: Array, screened: Screen, opened: _Opened, rows: _Labelled, wide: str
) -> Pruned:
    classes = opened.classes
    reach, height = screened.lengths[classes], screened.heights[classes]
    bounds = _bound(screened, rows, opened.scores, reach, height)
    same = screened.groups[classes] == screened.groups[rows.label][:, None]
    bounds = jnp.where(same, jnp.inf, bounds)
    reach, height = (
        jnp.max(each.reshape(-1, GROUP), axis=1) for each in (screened.lengths, screened.heights)
    )
    others = jnp.min(_bound(screened, rows, opened.others, reach, height), axis=1)
    return _decided(sites, offsets, rows, classes, bounds, others, wide, BY_LENGTHS.facets)


def _bound(
    screened: Screen, rows: _Labelled, scores: Array, reach: Array, height: Array
) -> Float[Array, "rows k"]:
    """(s_y − s_j)/(‖a_y − c‖ + ‖a_j − c‖) less what rounding can do."""
    slack = rounding(rows.x, screened.sites)
    reach = reach + screened.lengths[rows.label][:, None]
    gap = _gap(screened, rows, scores, reach, height)
    return jnp.where(reach > 0, gap / (reach * (1 + slack)), 0)


def _gap(
    screened: Screen, rows: _Labelled, scores: Array, reach: Array, height: Array
) -> Float[Array, "rows k"]:
    """s_y − s_j less what rounding can do at ‖a_y − c‖ + ‖a_j − c‖ = reach; at least 0."""
    slack = rounding(rows.x, screened.sites)
    height = height + screened.heights[rows.label][:, None]
    loose = slack * (lengths(rows.x)[:, None] * reach + height)
    return jnp.maximum(rows.score[:, None] - scores - loose, 0)


def _by_distances(
    sites: Array, offsets: Array, screened: Screen, grouped: Array, rows: _Labelled, wide: str
) -> Pruned:
    """The same with ‖a_y − a_j‖ themselves, from a second product."""
    inner = jnp.matmul(screened.sites[rows.label], screened.sites.T, precision="highest")
    scores = grouped.reshape(inner.shape) + screened.offsets
    bounds = _tight(screened, rows, scores, inner).reshape(grouped.shape)
    best = jnp.min(bounds, axis=2)
    least, at = _largest(-best, min(BY_DISTANCES.groups, best.shape[1] - 1) + 1)
    classes, near = _members(bounds, at[:, :-1])
    others = -least[:, -1]
    return _decided(sites, offsets, rows, classes, near, others, wide, BY_DISTANCES.facets)


def _tight(
    screened: Screen, rows: _Labelled, scores: Array, inner: Array
) -> Float[Array, "rows padded"]:
    """(s_y − s_j)/‖a_y − a_j‖ less what rounding can do; ∞ for equal sites."""
    slack, y = rounding(rows.x, screened.sites), rows.label
    own = screened.lengths[y][:, None]
    square = own**2 + screened.lengths**2 - 2 * inner
    reach = screened.lengths + own
    gap = _gap(screened, rows, scores, reach, screened.heights)
    bound = gap / jnp.sqrt(jnp.maximum(square, 0) + slack * reach**2)
    same = screened.groups == screened.groups[y][:, None]
    return jnp.where(same, jnp.inf, jnp.where(reach > 0, bound, 0))


def _members(grouped: Array, at: Int[Array, "rows k"]) -> tuple[Array, Array]:
    """The classes of some groups of each row, and their values."""
    classes = (at[..., None] * GROUP + jnp.arange(GROUP)).reshape(len(at), -1)
    values = jnp.take_along_axis(grouped, at[..., None], axis=1)
    return classes, values.reshape(len(at), -1)


def _decided(
    sites: Array,
    offsets: Array,
    rows: _Labelled,
    classes: Array,
    bounds: Float[Array, "rows near"],
    others: Float[Array, " rows"],
    wide: str,
    most: int,
) -> Pruned:
    """The nearest of the classes with the least bounds, sure if all other bounds lie beyond."""
    few = min(most, bounds.shape[1] - 1)
    least, at = _largest(-bounds, few + 1)
    nearest = jnp.take_along_axis(classes, at[:, :few], axis=1)
    distance = _distances(sites, offsets, rows.x, rows.label, nearest, wide)
    distance = jnp.where(jnp.isfinite(least[:, :few]), distance, jnp.inf)
    neighbour, shortest = first_minimum(nearest, distance)
    neighbour = jnp.where(jnp.isfinite(shortest), neighbour, -1)
    sure = rows.sure & (-least[:, few] > shortest) & (others > shortest)
    return Pruned(rows.label, neighbour, shortest, sure)


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
    largest, at = lax.optimization_barrier(lax.top_k(values, count))
    return largest, at
