"""Partitions of the plane: coloured cells, their facets as lines, faded by the Gaussian weight."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from scipy.spatial import ConvexHull

from figures import style

Partition = tuple[np.ndarray, np.ndarray]  # sites (M, 2) and offsets (M,)

RADIUS = 3.0  # all but 1.1 % of the Gaussian mass of the plane
PIXELS = 400  # across a panel; the facets over them are vectors, so nothing looks ragged
PALETTE = (style.SKY, style.ORANGE, style.GREEN, style.PURPLE, style.BLUE, style.VERMILION)
SHORTEST = 1e-7  # a facet below this is a point where four or more cells meet


def draw_planar(partitions: dict[int, Partition]) -> Figure:
    """A panel for every M, two a line: cells argmax_i ⟨a_i, x⟩ + b_i in the disc |x| ≤ 3."""
    columns = 2 if len(partitions) > 1 else 1
    lines = max(-(-len(partitions) // columns), 1)
    with mpl.rc_context(style.RULES):
        size = (style.COLUMN, lines * (style.COLUMN / columns + 0.15) + 0.2)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes in panels:
            axes.set_axis_off()
        for axes, (modes, (sites, offsets)) in zip(
            panels, sorted(partitions.items()), strict=False
        ):
            _panel(axes, np.asarray(sites, float), np.asarray(offsets, float))
            axes.set_title(f"$M = {modes}$", pad=3)
        note = r"colour $\propto$ Gaussian density; circles: $|x| = 1, 2, 3$"
        figure.supxlabel(note, fontsize=6.5)
    return figure


def _panel(axes: Axes, sites: np.ndarray, offsets: np.ndarray) -> None:
    pairs, ends = facets(sites, offsets)
    tint = np.array([to_rgb(name) for name in PALETTE])[colours(pairs, len(sites)) % len(PALETTE)]
    extent = (-RADIUS, RADIUS, -RADIUS, RADIUS)
    axes.imshow(_raster(sites, offsets, tint), origin="lower", extent=extent)
    for radius in (1, 2, 3):
        circle = Circle((0, 0), radius, fill=False, color=style.BLACK, lw=0.4, ls=(0, (1, 2)))
        axes.add_patch(circle)
    width = float(np.clip(2.4 / len(sites) ** 0.35, 0.2, 1.0))
    axes.add_collection(LineCollection(list(ends), colors=style.BLACK, linewidths=width))
    axes.set(aspect="equal", xlim=(-1.02 * RADIUS, 1.02 * RADIUS))
    axes.set_ylim(-1.02 * RADIUS, 1.02 * RADIUS)


def _raster(sites: np.ndarray, offsets: np.ndarray, tint: np.ndarray) -> np.ndarray:
    """Pixel colours: the cell's tint, mixed with white as φ(x)/φ(0) falls; white off the disc."""
    middle = (np.arange(PIXELS) + 0.5) * 2 * RADIUS / PIXELS - RADIUS
    x, y = np.meshgrid(middle, middle)
    # A line of pixels at a time: all of them times a thousand cells would be gigabytes.
    label = np.array(
        [(np.stack([u, v], 1) @ sites.T + offsets).argmax(1) for u, v in zip(x, y, strict=True)]
    )
    square = x**2 + y**2
    weight = np.where(square <= RADIUS**2, np.exp(-square / 2), 0)[..., None]
    return 1 - weight * (1 - tint[label])


def facets(sites: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The facets in the disc |x| ≤ 3: pairs i < j of cells, shape (F, 2), and ends (F, 2, 2)."""
    pairs = _candidates(sites, offsets)
    i, j = pairs.T
    normal = sites[i] - sites[j]
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    normal, fall = normal / length, (offsets[i] - offsets[j]) / length[:, 0]
    along, foot = np.stack([-normal[:, 1], normal[:, 0]], axis=1), -fall[:, None] * normal
    # The lead of cell i over cell k at foot + t·along is level + t·slope, and must not be < 0.
    slope = np.sum(along * sites[i], axis=1)[:, None] - along @ sites.T
    level = (np.sum(foot * sites[i], axis=1) + offsets[i])[:, None] - foot @ sites.T - offsets
    for own in (i, j):  # zero but for rounding, of which the quotient would make anything
        slope[np.arange(len(pairs)), own] = level[np.arange(len(pairs)), own] = 0
    with np.errstate(divide="ignore", invalid="ignore"):
        cut = -level / slope
    reach = np.sqrt(np.maximum(RADIUS**2 - fall**2, 0))
    start = np.maximum(np.where(slope > 0, cut, -np.inf).max(axis=1), -reach)
    stop = np.minimum(np.where(slope < 0, cut, np.inf).min(axis=1), reach)
    hidden = ((slope == 0) & (level < -1e-12)).any(axis=1)
    seen = ~hidden & (stop - start > SHORTEST)
    ends = foot[:, None] + np.stack([start, stop], axis=1)[..., None] * along[:, None]
    return pairs[seen], ends[seen]


def _candidates(sites: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Pairs that may share a facet: edges of the upper hull of the points (a_i, b_i).

    Three classes that never win in the disc are added, so that there is a hull whatever the
    sites, in a plane (all offsets equal) or on a line.
    """
    count, centre = len(sites), sites.mean(axis=0)
    spread = np.linalg.norm(sites - centre, axis=1).max() or 1.0
    angle = 2 * np.pi * np.arange(3) / 3 + 0.1  # askew to the symmetric diagrams
    far = centre + 3 * spread * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    # The class of the largest offset is at most 4·spread from a far one: it leads in all the disc.
    low = np.full(3, offsets.max() - 5 * spread * RADIUS)
    points = np.column_stack([np.vstack([sites, far]), np.append(offsets, low)])
    triangles = ConvexHull(points).simplices
    edges = np.vstack([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    edges = edges[(edges < count).all(axis=1)]
    return edges[(sites[edges[:, 0]] != sites[edges[:, 1]]).any(axis=1)]


def colours(pairs: np.ndarray, modes: int) -> np.ndarray:
    """A number for every cell, different across every facet, and below 6 for a planar map.

    Greedy, with the cell of least degree coloured last and so on down: a planar map always has
    one of degree ≤ 5, so every cell meets at most five coloured neighbours.
    """
    near: list[set[int]] = [set() for _ in range(modes)]
    for i, j in pairs.tolist():
        near[i].add(j)
        near[j].add(i)
    left, order = {cell: len(near[cell]) for cell in range(modes)}, []
    while left:
        cell = min(left, key=left.__getitem__)
        del left[cell]
        order.append(cell)
        for other in near[cell] & left.keys():
            left[other] -= 1
    found = np.full(modes, -1)
    for cell in reversed(order):
        taken = {int(found[other]) for other in near[cell]}
        found[cell] = next(c for c in range(modes) if c not in taken)
    return found
