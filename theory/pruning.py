"""Labels and nearest facets among very many classes from one product, by pruning.

The scores of some rows with all classes are made once and looked at in groups of GROUP classes.
Since ‖a_y − a_j‖ ≤ ‖a_y − c‖ + ‖a_j − c‖ for every c (here the mean of the sites, which makes the
right-hand side small), a group with best score s_g lies no nearer to a point of cell y than

    (s_y − s_g) / (‖a_y − c‖ + max_{j ∈ g} ‖a_j − c‖),

which is close when the classes of a group have nearly one length: they are sorted by it. The groups
with the least bounds are opened, the same bound is taken class by class, and the few classes with
the smallest are *decided* by direct differences in the widest enabled dtype. A row is `sure` when
the bounds of all other groups and classes, less what rounding can do, exclude them. The rows that
are not are looked at again with more effort, and again with more.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from theory.reductions import some
from theory.screening import first_minimum, heights, lengths, rounding

GROUP = 32  # classes of a group
LABELS = 4  # classes whose score is decided
FEW = 32  # rows of a block that are looked at again together
FEWER = 4  # and a third time


class Effort(NamedTuple):
    """How many groups are opened in each row, and of how many classes the distance is decided."""

    groups: int
    facets: int


# Of 10 000 latents of a language model 13% have 16 classes within the bound or more, one in 100 has
# 170 or more, the worst 1255 in 531 groups.
FIRST, SECOND, THIRD = Effort(24, 16), Effort(128, 192), Effort(768, 2048)

Rows = Float[Array, "rows n"]


class Screen(NamedTuple):
    """The classes by ‖a_j − c‖, padded at the end to whole groups by classes at −∞.

    Fields:
        order: j, the class's number; 0 in the padding.
        sites: a_j − c, shape (padded, n).
        offsets: b_j, shape (padded,).
        lengths: ‖a_j − c‖, shape (padded,).
        heights: |b_j|, 0 where b_j = −∞.
        groups: equal for equal sites; −1 in the padding.
    """

    order: Int[Array, " padded"]
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
    """Rows with their label, what its bounds need, and whether the label is sure.

    Fields:
        place: of the label in the order by length.
        score: s_y, centred.
    """

    x: Rows
    label: Int[Array, " rows"]
    place: Int[Array, " rows"]
    score: Float[Array, " rows"]
    sure: Bool[Array, " rows"]


class _Scores(NamedTuple):
    """⟨a_j − c, x⟩ without the offsets, group by group, and the best score of every group with."""

    grouped: Float[Array, "rows all group"]
    best: Float[Array, "rows all"]


@jax.jit
def screen(sites: Array, offsets: Array, groups: Int[Array, " modes"]) -> Screen:
    """Sort, centre and pad once what every chunk of rows needs."""
    centred = sites - jnp.mean(sites, axis=0)
    order = jnp.argsort(lengths(centred)).astype(jnp.int32)
    fill = (0, -len(sites) % GROUP)
    centred = jnp.pad(centred[order], (fill, (0, 0)))
    return Screen(
        jnp.pad(order, fill),
        centred,
        jnp.pad(offsets[order], fill, constant_values=-jnp.inf),
        lengths(centred),
        jnp.pad(heights(offsets[order]), fill),
        jnp.pad(groups[order], fill, constant_values=-1),
    )


@partial(jax.jit, static_argnames="wide")
def labels(
    sites: Array, offsets: Array, screened: Screen, x: Rows, wide: str
) -> tuple[Int[Array, " rows"], Bool[Array, " rows"]]:
    """argmax_j ⟨a_j, x⟩ + b_j, ties to the smaller index, and whether it is sure."""
    rows = _labelled(sites, offsets, screened, x, _scores(screened, x), wide)
    return rows.label, rows.sure


@partial(jax.jit, static_argnames="wide")
def facets(sites: Array, offsets: Array, screened: Screen, x: Rows, wide: str) -> Pruned:
    """The nearest facet of every row, decided in dtype `wide`, and whether it is sure."""
    scores = _scores(screened, x)
    rows = _labelled(sites, offsets, screened, x, scores, wide)

    def nearest(scores: _Scores, rows: _Labelled, effort: Effort) -> Pruned:
        return _nearest(sites, offsets, screened, scores, rows, wide, effort)

    found = nearest(scores, rows, FIRST)
    for effort, few in ((SECOND, FEW), (THIRD, FEWER)):
        found = _settled(partial(nearest, effort=effort), scores, rows, found, min(few, len(x)))
    return found


def _settled(
    nearest: Callable[..., Pruned], scores: _Scores, rows: _Labelled, found: Pruned, few: int
) -> Pruned:
    """What is found, and of rows that are not sure what another look finds, `few` at a time."""

    def settle(state: tuple[Pruned, Array]) -> tuple[Pruned, Array]:
        found, doubtful = state
        at = jnp.nonzero(doubtful, size=few, fill_value=len(doubtful))[0]
        again = nearest(*jax.tree.map(lambda leaf: leaf[at], (scores, rows)))
        found = jax.tree.map(lambda old, new: old.at[at].set(new, mode="drop"), found, again)
        return found, doubtful.at[at].set(False, mode="drop")

    doubtful = rows.sure & ~found.sure
    return lax.while_loop(lambda state: some(state[1]), settle, (found, doubtful))[0]


def _scores(screened: Screen, x: Rows) -> _Scores:
    """Offsets are added where they are read: to all would be one more pass."""
    product = jnp.matmul(x, screened.sites.T, precision="highest")
    grouped = product.reshape(len(x), -1, GROUP)
    return _Scores(grouped, jnp.max(grouped + screened.offsets.reshape(-1, GROUP), axis=2))


def _labelled(
    sites: Array, offsets: Array, screened: Screen, x: Rows, scores: _Scores, wide: str
) -> _Labelled:
    # The best k classes lie in the best k groups.
    at = _largest(scores.best, min(LABELS + 1, scores.best.shape[1]))[1]
    places, values = _members(screened, scores, at)
    first, at = _largest(values, LABELS + 1)
    places = jnp.take_along_axis(places, at[:, :LABELS], axis=1)
    few = screened.order[places]
    exact = jnp.einsum("rn,rkn->rk", x.astype(wide), sites[few].astype(wide), precision="highest")
    exact = jnp.where(jnp.isfinite(first[:, :LABELS]), exact + offsets[few].astype(wide), -jnp.inf)
    label, _ = first_minimum(few, -exact)
    chosen = (few == label[:, None]) & jnp.isfinite(first[:, :LABELS])
    score = jnp.max(jnp.where(chosen, first[:, :LABELS], -jnp.inf), axis=1)
    place = jnp.max(jnp.where(chosen, places, 0), axis=1)
    loose = lengths(x) * jnp.max(screened.lengths) + jnp.max(screened.heights)
    sure = score - first[:, LABELS] > 2 * rounding(x, sites) * loose
    return _Labelled(x, label, place, score, sure)


def _nearest(
    sites: Array,
    offsets: Array,
    screened: Screen,
    scores: _Scores,
    rows: _Labelled,
    wide: str,
    effort: Effort,
) -> Pruned:
    """The nearest of the classes with the least bounds, sure if all other bounds lie beyond."""
    reach, height = (
        jnp.max(each.reshape(-1, GROUP), axis=1) for each in (screened.lengths, screened.heights)
    )
    bounds = _bound(screened, rows, scores.best, reach, height)
    groups = min(effort.groups, bounds.shape[1])
    beyond = jnp.pad(bounds, ((0, 0), (0, 1)), constant_values=jnp.inf)
    least, at = _largest(-beyond, groups + 1)
    others = -least[:, groups]
    places, values = _members(screened, scores, at[:, :groups])
    reach, height = screened.lengths[places], screened.heights[places]
    bounds = _bound(screened, rows, values, reach, height)
    same = screened.groups[places] == screened.groups[rows.place][:, None]
    bounds = jnp.where(same, jnp.inf, bounds)
    few = min(effort.facets, bounds.shape[1] - 1)
    least, at = _largest(-bounds, few + 1)
    nearest = screened.order[jnp.take_along_axis(places, at[:, :few], axis=1)]
    distance = _distances(sites, offsets, rows.x, rows.label, nearest, wide)
    distance = jnp.where(jnp.isfinite(least[:, :few]), distance, jnp.inf)
    neighbour, shortest = first_minimum(nearest, distance)
    neighbour = jnp.where(jnp.isfinite(shortest), neighbour, -1)
    sure = rows.sure & (-least[:, few] > shortest) & (others > shortest)
    return Pruned(rows.label, neighbour, shortest, sure)


def _bound(
    screened: Screen, rows: _Labelled, scores: Array, reach: Array, height: Array
) -> Float[Array, "rows k"]:
    """(s_y − s_j)/(‖a_y − c‖ + ‖a_j − c‖) less what rounding can do; at least 0."""
    slack = rounding(rows.x, screened.sites)
    reach = reach + screened.lengths[rows.place][:, None]
    height = height + screened.heights[rows.place][:, None]
    loose = slack * (lengths(rows.x)[:, None] * reach + height)
    gap = jnp.maximum(rows.score[:, None] - scores - loose, 0)
    return jnp.where(reach > 0, gap / (reach * (1 + slack)), 0)


def _members(
    screened: Screen, scores: _Scores, at: Int[Array, "rows k"]
) -> tuple[Int[Array, "rows members"], Float[Array, "rows members"]]:
    """Places and scores of the classes of some groups of each row."""
    places = (at[..., None] * GROUP + jnp.arange(GROUP)).reshape(len(at), -1)
    values = jnp.take_along_axis(scores.grouped, at[..., None], axis=1)
    return places, values.reshape(len(at), -1) + screened.offsets[places]


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
    """`lax.top_k`, kept apart: XLA would push a slice of it inside and sort all of the row.

    One by one: XLA's decomposition of it for several devices stops at a barrier of both.
    """
    largest, at = map(lax.optimization_barrier, lax.top_k(values, count))
    return largest, at
