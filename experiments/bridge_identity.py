"""One interface, two contractions: flips of raw noise and leak of a stiff map (Theorem 17).

Families: `ratio` of the two rates of a partition as s = 1/Λ = t → 0; `correction`, its first order
in t at simplicial clusters, whose ridges are known; `ordering`, three slabs and the tripod under
unequal barriers, which the two rates put in opposite orders.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from theory import bridge_identity as predicted
from theory import perimeter
from theory.barrier_map import BarrierMap
from theory.contraction import Contraction, contraction, limit, ratios
from theory.estimate import Estimate, from_samples
from theory.gaussian import normal
from theory.partition import PowerDiagram, intervals, orthants, simplicial_cluster
from theory.strip import strays
from theory.transport import SignedDistanceMap

from experiments import sharp_maps

FAMILIES = ("simplicial", "intervals", "orthants", "balanced", "unequal")
ORDERED = ("slabs", "tripod")
LINES, SAMPLES = 1 << 17, 1 << 18  # at effort 1
FINER = 4  # factor on the lines of a correction, and of an ordering
CROWD = 16  # cells from which on the map costs so much that fewer lines are taken
PICTURE = 0.08  # t of the points of a picture
CORNER = 0.25  # t at which the stretch near corners is taken: it does not depend on t


def parsed(words: str) -> tuple[str, int, int]:
    """'FAMILY M n', or ValueError when there is no such partition."""
    name, *numbers = words.split()
    if name not in FAMILIES or len(numbers) != 2 or not all(n.isdigit() for n in numbers):
        raise ValueError(f"a partition is 'FAMILY M n', FAMILY of {FAMILIES}, got {words!r}")
    modes, dimension = map(int, numbers)
    fits = {
        "simplicial": modes >= 2 and dimension == modes - 1,
        "intervals": modes >= 2 and dimension == 1,
        "orthants": modes == 2**dimension,
    }
    if modes < 2 or dimension < 1 or not fits.get(name, True):
        raise ValueError(f"no {name} of M = {modes} cells in R^{dimension}: got {words!r}")
    return name, modes, dimension


@dataclass(frozen=True)
class Grid:
    """Which partitions at which t."""

    partitions: tuple[str, ...] = field(
        default=(
            "simplicial 3 2",
            "simplicial 8 7",
            "simplicial 64 63",
            "intervals 5 1",
            "orthants 8 3",
            "balanced 64 2",
            "balanced 64 8",
            "unequal 16 3",
        ),
        metadata={"help": "'FAMILY M n' of the ratios"},
    )
    scale: float = field(default=0.01, metadata={"help": "least t = s = 1/Λ of a ratio"})
    corrections: tuple[int, ...] = field(
        default=(3, 8, 64), metadata={"help": "M of simplicial clusters for the first order in t"}
    )
    correction_scale: float = field(default=0.08, metadata={"help": "least t of a correction"})
    far: tuple[float, ...] = field(
        default=(1.7, 1.9), metadata={"help": "κ_13 of slabs and tripod, κ_12 = κ_23 = 1"}
    )
    effort: float = field(default=1.0, metadata={"help": "factor on numbers of lines"})

    def __post_init__(self) -> None:
        """ValueError on numbers out of range, or a partition that is not there."""
        for words in self.partitions:
            parsed(words)
        for modes in self.corrections:
            if not 3 <= modes <= 256:
                raise ValueError(f"corrections have M from 3 (ridges) to 256, got {modes}")
        for far in self.far:
            if not 0 < far < 2:
                raise ValueError(f"κ_13 lies in (0, 2) beside κ_12 = κ_23 = 1, got {far}")
        for name in ("scale", "correction_scale", "effort"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


PRESETS = {
    "quick": Grid(("simplicial 3 2",), 0.01, (3,), 0.08, (1.9,), 0.1),
    "default": Grid(
        ("simplicial 8 7", "intervals 5 1", "unequal 16 3"),
        corrections=(8,),
        far=(1.9,),
        effort=0.25,
    ),
    "paper": Grid(effort=4.0),
}


@dataclass(frozen=True)
class Cell:
    """One partition at t, 2t and 4t."""

    family: str
    partition: str
    modes: int
    dimension: int
    scale: float
    far: float
    effort: float


def cells(grid: Grid) -> list[Cell]:
    """Every partition of the grid."""
    found = [
        Cell("ratio", *parsed(words), grid.scale, predicted.SIMPLEX, grid.effort)
        for words in grid.partitions
    ]
    rest = (grid.correction_scale, predicted.SIMPLEX, grid.effort)
    found += [Cell("correction", "simplicial", m, m - 1, *rest) for m in grid.corrections]
    return found + [
        Cell("ordering", name, 3, 2, grid.scale, far, grid.effort)
        for far in grid.far
        for name in ORDERED
    ]


def cost(cell: Cell) -> float:
    """Rough seconds on one core, to start the longest cells first."""
    made = 8.0 if cell.partition == "balanced" else 0.0
    return 2.5 + made + _lines(cell) * (4e-5 + 1.2e-7 * cell.modes**2)


def measure(cell: Cell, key: Any) -> dict[str, Any] | tuple[dict[str, Any], dict[str, np.ndarray]]:
    """One row; an ordering comes with the points of its picture."""
    line_key, stray_key, facet_key, picture_key = jax.random.split(key, 4)
    diagram = partition(cell.partition, cell.modes, cell.dimension)
    transport: Callable[[float], Any] = functools.partial(SignedDistanceMap, diagram)
    modes = np.eye(cell.modes)
    if cell.family == "ordering":
        modes = triangle(cell.far)
        transport = functools.partial(BarrierMap, diagram, modes)
    scales = tuple(cell.scale * k for k in (1, 2, 4))
    found = contraction(line_key, diagram, transport, modes, scales, lines=_lines(cell))
    samples = max(1000, int(SAMPLES * cell.effort * _share(cell.modes)))
    row = {
        "perimeter": from_samples(found.perimeter),
        "flip_limit": limit(found.flips),
        "leak_limit": limit(found.leaks),
        "strays": strays(stray_key, diagram, transport, modes, cell.scale, samples=samples),
        "samples": samples,
        "corner_stretch": corner_stretch(diagram, transport(1 / CORNER)),
    }
    if cell.family == "ordering":
        picture = _picture(picture_key, diagram, transport(1 / PICTURE), modes)
        return row | _ordering(cell, diagram, facet_key, found), picture
    return row | (_ratio(cell, found) if cell.family == "ratio" else _correction(cell, found))


@functools.lru_cache(maxsize=4)
def partition(name: str, modes: int, dimension: int) -> PowerDiagram:
    """The partition, with a key of its own where it is random."""
    if name == "slabs":
        cuts = np.asarray(intervals(modes).offsets)
        return PowerDiagram(np.arange(float(modes))[:, None] * np.eye(dimension)[0], cuts)
    if name == "unequal":
        key = jax.random.fold_in(jax.random.key(modes), dimension)
        drawn = normal(key, (modes, dimension + 1), "float64")
        return PowerDiagram(drawn[:, :-1], drawn[:, -1] / 2)
    if name in ("simplicial", "tripod"):
        return simplicial_cluster(modes)
    if name == "balanced":
        return sharp_maps.partition(name, modes, dimension)
    return intervals(modes) if name == "intervals" else orthants(dimension)


def triangle(far: float) -> np.ndarray:
    """Three modes of the plane at distances κ_12 = κ_23 = 1, κ_13 = far."""
    return np.array([[-far / 2, 0], [0, math.sqrt(1 - far**2 / 4)], [far / 2, 0]])


def corner_stretch(diagram: PowerDiagram, transport: Any) -> float:
    """The largest ‖DT‖/Λ at 512 points x ~ γ, most of which lie near facets and corners."""
    x = np.random.default_rng(0).normal(size=(512, diagram.dimension))
    slopes = np.asarray(jax.jit(jax.vmap(jax.jacfwd(transport)))(x))
    return float(np.linalg.norm(slopes, 2, axis=(1, 2)).max() / float(transport.stiffness))


def _share(modes: int) -> float:
    return min(1.0, CROWD / modes)


def _lines(cell: Cell) -> int:
    more = 1 if cell.family == "ratio" else FINER
    return max(4096, int(more * LINES * cell.effort * _share(cell.modes)))


def _at(found: Contraction) -> dict[str, Any]:
    """The ratio at t, 2t and 4t over its predicted limit."""
    value, influence = ratios(found.leaks, found.flips)
    each = [
        Estimate(float(v), float(from_samples(part).sem), 0.0, part.size)
        for v, part in zip(value, influence, strict=True)
    ]
    return {f"ratio_{k}": e.scaled(1 / predicted.limit_ratio()) for k, e in enumerate(each)}


def _ratio(cell: Cell, found: Contraction) -> dict[str, Any]:
    """Both rates over the perimeter of the same lines, and over each other."""
    area = np.broadcast_to(found.perimeter, found.flips.shape)
    return _at(found) | {
        "ratio": limit(found.leaks, found.flips).scaled(1 / predicted.limit_ratio()),
        "flip_over": limit(found.flips, area).scaled(math.sqrt(math.pi / 2)),
        "leak_over": limit(found.leaks, area).scaled(1 / predicted.SIMPLEX),
        "correction_exact": correction(cell),
        "perimeter_exact": _perimeter(cell),
    }


def _correction(cell: Cell, found: Contraction) -> dict[str, Any]:
    """(1 − R/R_0)/t, extrapolated as the rates are, over what the ridges say it is."""
    value, influence = ratios(found.leaks, found.flips)
    # Block by block, R and what the block adds to it: to first order their mean is R.
    shares = (value[:, None] + influence) / predicted.limit_ratio()
    got = limit((1 - shares) / found.scales[:, None])
    exact = predicted.simplicial_correction(cell.modes)
    over = {"correction": got, "correction_over": got.scaled(1 / exact), "correction_exact": exact}
    return _at(found) | over


def correction(cell: Cell) -> float | None:
    """The predicted first order in t, where the ridges of the partition are known."""
    if cell.partition == "simplicial":
        return predicted.simplicial_correction(cell.modes)
    if cell.partition == "orthants":
        return predicted.orthant_correction(cell.dimension)
    return 0.0 if cell.partition == "intervals" else None


def _perimeter(cell: Cell) -> float | None:
    known = {
        "simplicial": lambda: perimeter.simplicial(cell.modes),
        "intervals": lambda: perimeter.intervals(cell.modes),
        "orthants": lambda: perimeter.orthants(cell.dimension),
    }
    return known[cell.partition]() if cell.partition in known else None


def _ordering(cell: Cell, diagram: PowerDiagram, key: Any, found: Contraction) -> dict[str, Any]:
    """ΣP_ij and Σκ_ij P_ij by facets, beside what they are, and the two rates over them."""
    exact = predicted.slabs() if cell.partition == "slabs" else predicted.tripod()
    ones, barriers = np.ones((3, 3)), predicted.far_barriers(cell.far)
    areas = perimeter.facet_areas(key, diagram, lines=_lines(cell))
    plain, weighted = (
        Estimate(
            predicted.weighted_perimeter(areas.value, table),
            predicted.weighted_perimeter(areas.sem, table),  # at most: as if they rose together
            0.0,
            int(areas.count),
        )
        for table in (ones, barriers)
    )
    flip = math.sqrt(2 / math.pi) * predicted.weighted_perimeter(exact, ones)
    return {
        "plain": plain,
        "weighted": weighted,
        "flip_exact": flip,
        "leak_exact": predicted.weighted_perimeter(exact, barriers),
        "opposing_barrier": predicted.opposing_barrier(),
    }


def _picture(
    key: Any, diagram: PowerDiagram, transport: BarrierMap, modes: np.ndarray
) -> dict[str, np.ndarray]:
    """Points of the plane that flip at s = PICTURE, and those that leak at Λ = 1/s."""
    rng = np.random.default_rng(np.asarray(jax.random.bits(key, (4,), "uint32")))
    x, noise = rng.normal(size=(2, 1 << 16, 2))
    label, moved = (np.asarray(diagram.label(z)) for z in (x, x + PICTURE * noise))
    image = np.asarray(jax.jit(jax.vmap(transport))(x))
    off = np.linalg.norm(image[:, None] - modes, axis=2).min(axis=1) > 1e-6
    return {
        "sites": np.asarray(diagram.sites),
        "offsets": np.asarray(diagram.offsets),
        "flipped": x[label != moved],
        "leaked": x[off],
        "points": np.array(len(x)),
        "scale": np.array(PICTURE),
    }
