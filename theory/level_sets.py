"""Gaussian perimeters of level sets by line crossings, without a derivative (Theorem 17).

    P({u > t}) = (1/c_n)·E Σ_{l: u(y + lθ) = t} φ(l),   ∫ P({u > t}) dt = E‖∇u‖,

θ uniform on the sphere, y ~ γ on θ^⊥, c_n = E|θ_1| (Crofton; coarea). A line is looked at through
one chord of length w about a point x ~ γ_n of it: a chord covers l with probability
Φ(l + w/2) − Φ(l − w/2), over which a crossing is counted. A long chord is the whole line.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.special import ndtr

from theory.check import check_count, check_scale
from theory.devices import spread
from theory.estimate import Estimate
from theory.perimeter.crofton import mean_cosine

CHORDS = 1 << 13  # of a batch
HALVINGS = 12  # of the interval between two nodes; what is left of it is part of the bias

Function = Callable[[Float[Array, " n"]], Float[Array, ""]]


class Levels(NamedTuple):
    """∫ P({u > t}) dt over all t and over every band of levels.

    `bias` is an estimate: what the nodes find and every second of them does not (crossings that
    come in pairs between two nodes are missed, and half the step misses at most half of them),
    and the width to which crossings are found.
    """

    total: Estimate
    bands: Estimate


class Chord(NamedTuple):
    """How lines are looked at: the length w of a chord, and nodes on it, odd in number."""

    length: float = 0.25
    nodes: int = 17


CHORD = Chord()


def level_integral(
    key: PRNGKeyArray,
    function: Function,
    *,
    dimension: int,
    chords: int,
    edges: object = (),
    chord: Chord = CHORD,
    dtype: Any = None,
) -> Levels:
    """∫ P({u > t}) dt, a level for every chord: uniform between the least and greatest node.

    Other levels are not crossed there, as far as the nodes show.

    Args:
        key: PRNG key.
        function: u, one point to one number, continuous.
        dimension: n.
        chords: number of chords, rounded up to a multiple of CHORDS.
        edges: of the bands of levels, increasing, shape (bands + 1,); none if empty.
        chord: length and nodes.
        dtype: of x; JAX's default if None.

    Raises:
        ValueError: on dimension < 1, chords < 2, edges that do not increase, a chord without
            length or with nodes that are not odd and ≥ 3, or a u that is not one finite number.
    """
    limits = np.asarray(edges, np.float64)
    if limits.ndim != 1 or limits.size == 1 or not (np.diff(limits) > 0).all():
        raise ValueError(f"edges are two or more increasing numbers, got shape {limits.shape}")
    bands = max(limits.size - 1, 0)
    sums, count = _Sums(bands + 1), 0
    for seen in _batches(key, function, dimension, chords, chord, dtype):
        span = seen.highest - seen.lowest
        level = seen.lowest + seen.uniform * span
        found, loose = seen.crossings(function, level)
        place = np.searchsorted(limits, level) if bands else np.zeros(len(level), int)
        sums.add(span * found, span * loose + seen.missed(), place)
        count += len(level)
    joint = sums.estimate(count)
    value, sem, bias = joint.value, joint.sem, joint.bias
    total = Estimate(float(value[0]), float(sem[0]), float(bias[0]), count)
    return Levels(total, Estimate(value[1:], sem[1:], bias[1:], count))


def level_perimeter(
    key: PRNGKeyArray,
    function: Function,
    level: float,
    *,
    dimension: int,
    chords: int,
    chord: Chord = CHORD,
    dtype: Any = None,
) -> Estimate:
    """P({u > t}) of one level t; `bias` as in `Levels`; arguments and errors as `level_integral`.

    Raises:
        ValueError: also on a level that is not finite.
    """
    if not math.isfinite(level):
        raise ValueError(f"a level is a finite number, got {level}")
    sums, count = _Sums(1), 0
    for seen in _batches(key, function, dimension, chords, chord, dtype):
        levels = np.full(len(seen.lowest), level)
        found, loose = seen.crossings(function, levels)
        coarse, _ = seen.crossings(function, levels, every=2)
        sums.add(found, found - coarse + loose, np.zeros(len(found), int))
        count += len(found)
    joint = sums.estimate(count)
    return Estimate(float(joint.value[0]), float(joint.sem[0]), float(joint.bias[0]), count)


class _Seen(NamedTuple):
    """u at the nodes of a batch of chords, and a uniform number for each."""

    x: Array
    theta: Array
    nodes: np.ndarray
    values: np.ndarray
    along: np.ndarray
    uniform: np.ndarray

    @property
    def lowest(self) -> np.ndarray:
        return self.values.min(axis=1)

    @property
    def highest(self) -> np.ndarray:
        return self.values.max(axis=1)

    def crossings(
        self, function: Function, level: np.ndarray, every: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Σ of the weights of the crossings of each chord's level, and how much they may err."""
        nodes, values = self.nodes[::every], self.values[:, ::every]
        above = values > level[:, None]
        chord, left = np.nonzero(above[:, 1:] != above[:, :-1])
        found, size = np.zeros(len(chord)), len(level)
        for start in range(0, len(chord), size):
            part = slice(start, start + size)
            # Repeated up to the size of a batch, so that one shape is compiled.
            rows, first = (np.resize(a[part], size) for a in (chord, left))
            ends = jnp.asarray(nodes[first]), jnp.asarray(nodes[first + 1])
            side, wanted = jnp.asarray(above[rows, first]), jnp.asarray(level[rows])
            roots = _bisect(function, self.x[rows], self.theta[rows], *ends, wanted, side)
            found[part] = np.asarray(roots)[: len(chord[part])]
        place = self.along[chord] + found
        weight, half = self._weight(place), (nodes[1] - nodes[0]) / 2 ** (HALVINGS + 1)
        # The weight is at most as steep as φ, whose logarithm has the slope −l.
        loose = weight * np.abs(place) * half
        return np.bincount(chord, weight, size), np.bincount(chord, loose, size)

    def missed(self) -> np.ndarray:
        """∫ of what every second node misses, over all levels: Σ (|a| + |b| − |a + b|)·weight."""
        steps = np.diff(self.values, axis=1)
        first, second = steps[:, ::2], steps[:, 1::2]
        lost = np.abs(first) + np.abs(second) - np.abs(first + second)
        return np.sum(lost * self._weight(self.along[:, None] + self.nodes[1::2]), axis=1)

    def _weight(self, place: np.ndarray) -> np.ndarray:
        """φ(l) over the share of chords that cover l, and over c_n."""
        half, far = (self.nodes[-1] - self.nodes[0]) / 2, np.abs(place)
        covered = ndtr(half - far) - ndtr(-half - far)  # Φ keeps its digits on this side
        density = np.exp(-np.square(place) / 2) / math.sqrt(2 * math.pi)
        return density / covered / mean_cosine(self.x.shape[1])


class _Sums:
    """Σ and Σ² of shares in all and by band, and Σ of what may be missing."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.parts = np.zeros((3, size))

    def add(self, share: np.ndarray, missed: np.ndarray, place: np.ndarray) -> None:
        for part, column in zip(self.parts, (share, share**2, missed), strict=True):
            part[0] += column.sum()
            part[1:] += np.bincount(place, column, self.size + 1)[1 : self.size]

    def estimate(self, count: int) -> Estimate:
        mean, square, missed = self.parts / count
        sem = np.sqrt(np.maximum(square - mean**2, 0) / (count - 1))
        return Estimate(mean, sem, np.maximum(missed, 0), count)


def _batches(
    key: PRNGKeyArray,
    function: Function,
    dimension: int,
    chords: int,
    chord: Chord,
    dtype: Any,
) -> Iterator[_Seen]:
    check_count("dimension", dimension, 1)
    check_count("chords", chords, 2)
    check_scale("length", chord.length)
    check_count("nodes", chord.nodes, 3)
    if chord.nodes % 2 == 0:
        raise ValueError(f"nodes are odd in number, so that every second has the ends: {chord}")
    kind = jnp.zeros((), dtype).dtype.name
    nodes = chord.length * np.linspace(-0.5, 0.5, chord.nodes)
    root = np.random.SeedSequence(np.asarray(jax.random.bits(key, (4,), "uint32")).tolist())
    for seed in root.spawn(-(-chords // CHORDS)):
        rng = np.random.default_rng(seed)
        points, directions = rng.normal(size=(2, CHORDS, dimension))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        x, theta = spread(jnp.asarray(points, kind)), spread(jnp.asarray(directions, kind))
        values = np.asarray(_values(function, x, theta, jnp.asarray(nodes, kind)), np.float64)
        if not np.isfinite(values).all():
            raise ValueError("u must be finite, got NaN or infinity")
        along = np.sum(points * directions, axis=1)
        yield _Seen(x, theta, nodes, values, along, rng.random(CHORDS))


@eqx.filter_jit
def _values(
    function: Function, x: Float[Array, "chords n"], theta: Float[Array, "chords n"], nodes: Array
) -> Float[Array, "chords nodes"]:
    """u at the nodes of every chord."""
    on_line = jax.vmap(partial(_at, function), (None, None, 0))
    return jax.vmap(on_line, (0, 0, None))(x, theta, nodes)


def _at(function: Function, x: Array, theta: Array, offset: Array) -> Array:
    value = function(x + offset * theta)
    if jnp.shape(value) != ():
        raise ValueError(f"u maps a point to a number, got shape {jnp.shape(value)}")
    return value


@eqx.filter_jit
def _bisect(
    function: Function, x: Array, theta: Array, low: Array, high: Array, level: Array, side: Array
) -> Array:
    """Where u − level changes sign between low and high; `side` says whether u > level at low."""
    values = jax.vmap(partial(_at, function))

    def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        same = (values(x, theta, middle.astype(x.dtype)) > level) == side
        return jnp.where(same, middle, low), jnp.where(same, high, middle)

    low, high = lax.fori_loop(0, HALVINGS, halve, (low, high))
    return (low + high) / 2
