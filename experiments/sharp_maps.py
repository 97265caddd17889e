"""The sharp map of a partition, from its signed distances, beside sparsemax of its raw scores."""

import functools
import math
from typing import Any

import jax
import numpy as np
from theory import bound, perimeter
from theory.balance import balance
from theory.estimate import Estimate, Interval, proportion, proportion_interval
from theory.gaussian import normal
from theory.leak import Leak, leak
from theory.minimal import minimal
from theory.partition import PowerDiagram, intervals, orthants
from theory.stiffness import normal_stretch, operator_norms
from theory.transport import ScoreMap, SignedDistanceMap

PARTITIONS = ("intervals", "orthants", "balanced", "best")
FAILURE = 1e-9
BARRIER = math.sqrt(2)  # κ of the vertices of the simplex
SAMPLES, LINES = 400_000, 400_000  # at effort 1
CORNERS = 2048  # points at which the stretch at corners is taken


def parsed(words: str) -> tuple[str, int, int]:
    """'FAMILY M n', or ValueError when there is no such partition."""
    family, *numbers = words.split()
    if family not in PARTITIONS or len(numbers) != 2 or not all(n.isdigit() for n in numbers):
        known = ", ".join(PARTITIONS)
        raise ValueError(f"a partition is 'FAMILY M n' with FAMILY any of {known}, got {words!r}")
    modes, dimension = map(int, numbers)
    if family == "orthants" and modes != 2**dimension:
        raise ValueError(f"orthants of R^{dimension} are {2**dimension}, got {words!r}")
    if family == "intervals" and dimension != 1:
        raise ValueError(f"intervals lie in R^1, got {words!r}")
    return family, modes, dimension


@functools.lru_cache(maxsize=4)
def partition(family: str, modes: int, dimension: int) -> PowerDiagram:
    """The same partition for every Λ: its key is its own, not the cell's."""
    key = jax.random.fold_in(jax.random.key(modes), dimension)
    if family == "intervals":
        return intervals(modes)
    if family == "orthants":
        return orthants(dimension)
    if family == "best":
        return minimal(key, modes, dimension, effort=0.2).diagram
    site_key, balance_key = jax.random.split(key)
    sites = PowerDiagram(normal(site_key, (modes, dimension), "float64"))
    return balance(balance_key, sites, lines=1 << 15)[0]


@functools.lru_cache(maxsize=4)
def facets(family: str, modes: int, dimension: int, lines: int) -> np.ndarray:
    """P_ij of the partition, strict upper triangle."""
    key = jax.random.fold_in(jax.random.key(modes + 1), dimension)
    diagram = partition(family, modes, dimension)
    return np.asarray(perimeter.facet_areas(key, diagram, lines=lines).value)


def measured(
    key: Any, family: str, modes: int, dimension: int, stiffness: float, effort: float
) -> tuple[Leak, float, dict[str, Any]]:
    """The leak of the map, its largest ‖DT‖/Λ at corners, and columns of a row.

    These hold the mass of the tube on the same points, the stretch straight across facets, and
    the leak of sparsemax of raw scores with its limit.
    """
    draw_key, raw_key, stretch_key = jax.random.split(key, 3)
    diagram = partition(family, modes, dimension)
    transport = SignedDistanceMap(diagram, stiffness)
    samples = max(1000, int(SAMPLES * effort))
    found, tube, differing, corners = _on_common_points(draw_key, transport, diagram, samples)
    corner, facet = _stretches(stretch_key, transport, diagram, corners)
    raw = leak(
        raw_key,
        ScoreMap(diagram, stiffness),
        np.eye(modes),
        radius=0.0,
        samples=samples,
        dimension=dimension,
    )
    areas = facets(family, modes, dimension, max(1000, int(LINES * effort)))
    apart = proportion_interval(proportion(differing, samples), FAILURE).upper / float(tube.value)
    limit = bound.score_leak_rate(areas, np.asarray(diagram.sites))
    columns = {
        "tube": tube,
        "tube_exact": exact_tube(family, modes, dimension, stiffness),
        "differing": differing,
        "differing_upper": apart,
        "perimeter": float(np.sum(areas)),
        "corner_stretch": corner,
        "facet_stretch": facet,
        "raw_leak": raw.leak,
        "raw_rate": raw.leak.scaled(stiffness / BARRIER),
        "sharp_rate": found.leak.scaled(stiffness / BARRIER),
        "raw_limit": limit,
    }
    return found, corner, columns


def _on_common_points(
    key: Any, transport: SignedDistanceMap, diagram: PowerDiagram, samples: int
) -> tuple[Leak, Estimate, int, np.ndarray]:
    """Leak of the map, mass of its tube, points that are in one only, and some at corners."""
    width = 1 / (math.sqrt(2) * float(transport.stiffness))
    image = jax.jit(lambda t, x: jax.vmap(t)(x))
    hits, tube, differing = np.zeros(diagram.modes, np.int64), 0, 0
    corners: list[np.ndarray] = []
    size = 8192
    for number, first in enumerate(range(0, samples, size)):
        x = normal(jax.random.fold_in(key, number), (size, diagram.dimension), "float64")
        live = min(size, samples - first)
        z = np.asarray(image(transport, x))[:live]
        at = z.max(axis=1) >= 1 - 1e-9
        near = np.asarray(diagram.nearest_facet(x).distance)[:live] < width
        hits += np.bincount(z.argmax(axis=1)[at], minlength=diagram.modes)
        tube, differing = tube + int(near.sum()), differing + int((near == at).sum())
        corners.append(np.asarray(x)[:live][(z > 1e-9).sum(axis=1) >= 3])
    rates = hits / samples
    masses = Estimate(rates, np.sqrt(rates * (1 - rates) / samples), 0.0, samples)
    found = Leak(proportion(samples - int(hits.sum()), samples), masses, samples)
    return found, proportion(tube, samples), differing, np.concatenate(corners)[:CORNERS]


def _stretches(
    key: Any, transport: SignedDistanceMap, diagram: PowerDiagram, corners: np.ndarray
) -> tuple[float, float]:
    """Largest ‖DT‖/Λ found where three cells are near, and the median of ‖DTν‖/Λ over facets."""
    norm_key, foot_key = jax.random.split(key)
    scale = float(transport.stiffness)
    feet = normal(foot_key, (1024, diagram.dimension), "float64")
    across = float(np.median(normal_stretch(transport, diagram, feet))) / scale
    if len(corners) == 0:
        return across, across
    return float(operator_norms(norm_key, transport, corners).value.max()) / scale, across


def exact_tube(family: str, modes: int, dimension: int, stiffness: float) -> float | None:
    """γ(δ < κ/(2Λ)) where it is known: of orthants and intervals."""
    width = 1 / (math.sqrt(2) * stiffness)
    if family == "orthants":
        return -math.expm1(dimension * math.log(math.erfc(width / math.sqrt(2))))
    if family == "intervals":
        diagram = intervals(modes)
        cuts = -np.diff(np.asarray(diagram.offsets))
        cdf = lambda t: 0.5 * math.erfc(-t / math.sqrt(2))  # noqa: E731
        tubes = Interval(cuts - width, cuts + width)
        lower = np.maximum(tubes.lower[1:], tubes.upper[:-1])  # overlapping tubes count once
        lower = np.concatenate([tubes.lower[:1], lower])
        return math.fsum(cdf(b) - cdf(a) for a, b in zip(lower, tubes.upper, strict=True))
    return None
