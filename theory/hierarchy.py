"""Depth-B maps: M = m^B modes reached in B steps of m branches each (Theorem 7).

Step k reads a block of coordinates of its own and chooses one of m branches. In a *block*
hierarchy its result is a block of the output, a point of a product of simplices; in a *nested* one
it is added to what was chosen before at a smaller scale, T = Σ_k ρ^{k−1} T_k(x^k), whose modes are
the leaves of a tree. Leaks are the same; only the barrier of step k shrinks to ρ^{k−1}√2.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from theory.batches import draws, values
from theory.check import branching, check_scale
from theory.estimate import Estimate, proportion
from theory.leak import ALLOWANCE
from theory.transport.sparsemax import SparsemaxMap

Level = Callable[[Float[Array, " n"]], Float[Array, " branches"]]


class Hierarchy(eqx.Module):
    """T: R^{Σ n_k} → R^{Bm} (block) or R^m (nested), from the maps of its levels.

    Fields:
        levels: T_k: R^{n_k} → simplex of m vertices.
        sizes: n_k.
        ratio: ρ of a nested hierarchy; None of a block one.
    """

    levels: tuple[Level, ...]
    sizes: tuple[int, ...] = eqx.field(static=True)
    ratio: float | None = eqx.field(static=True)

    def __init__(
        self, levels: Sequence[Level], sizes: Sequence[int], ratio: float | None = None
    ) -> None:
        if not levels or len(levels) != len(sizes):
            raise ValueError(f"expected a size for each level, got {len(levels)} and {len(sizes)}")
        if ratio is not None and not 0 < ratio < 0.5:
            raise ValueError(f"leaves of a tree coincide unless 0 < ratio < 1/2, got {ratio}")
        self.levels, self.sizes, self.ratio = tuple(levels), tuple(sizes), ratio

    @property
    def dimension(self) -> int:
        """Σ n_k."""
        return sum(self.sizes)

    def steps(self, x: Float[Array, " n"]) -> tuple[Float[Array, " branches"], ...]:
        """T_1(x^1), …, T_B(x^B)."""
        blocks = jnp.split(x, np.cumsum(self.sizes)[:-1])
        return tuple(level(block) for level, block in zip(self.levels, blocks, strict=True))

    def __call__(self, x: Float[Array, " n"]) -> Float[Array, " d"]:
        """T(x)."""
        steps = self.steps(x)
        if self.ratio is None:
            return jnp.concatenate(steps)
        return sum(self.ratio**k * step for k, step in enumerate(steps[1:], 1)) + steps[0]


def sparsemax_hierarchy(
    modes: int, depth: int, stiffness: float, ratio: float | None = None
) -> Hierarchy:
    """B levels of sparsemax(Λx^k) on R^m: the peak stiffness is Λ, the barrier of a step √2.

    Raises:
        ValueError: when M ≠ m^B, Λ is not positive, or leaves of the tree would coincide.
    """
    branches = branching(modes, depth)
    check_scale("stiffness", stiffness)
    levels = [SparsemaxMap(stiffness) for _ in range(depth)]
    return Hierarchy(levels, [branches] * depth, ratio)


class LevelLeaks(NamedTuple):
    """P(step k misses) for every level, shape (B,), and P(some step misses), on common points."""

    steps: Estimate
    total: Estimate


def level_leaks(
    key: PRNGKeyArray, hierarchy: Hierarchy, *, samples: int, radius: float = 0.0
) -> LevelLeaks:
    """Leak of every step off balls of radius r about its vertices, and of the whole.

    Args:
        key: PRNG key.
        hierarchy: its levels map to simplices.
        samples: number of x ~ γ.
        radius: r ≥ 0 of the modes of a step, widened by `theory.leak.ALLOWANCE` for rounding.

    Raises:
        ValueError: when samples < 2, or the balls overlap.
    """
    if not 0 <= radius + ALLOWANCE < math.sqrt(0.5):
        raise ValueError(f"overlapping modes: need 0 ≤ radius < {math.sqrt(0.5):.4f}, got {radius}")
    missed, anywhere = np.zeros(len(hierarchy.levels), np.int64), 0
    dtype = jnp.zeros(()).dtype
    for rows, live in draws(key, samples, hierarchy.dimension, dtype):
        off = np.asarray(_missed(hierarchy, rows, radius + ALLOWANCE))[:live]
        missed, anywhere = missed + off.sum(axis=0), anywhere + int(off.any(axis=1).sum())
    rates = missed / samples
    steps = Estimate(rates, np.sqrt(rates * (1 - rates) / samples), 0.0, samples)
    return LevelLeaks(steps, proportion(anywhere, samples))


@eqx.filter_jit
def _missed(
    hierarchy: Hierarchy, x: Float[Array, "points n"], reach: Array | float
) -> Bool[Array, "points levels"]:
    """Which steps end off all of their vertices: the nearest is that of the largest entry."""
    blocks = jnp.split(x, np.cumsum(hierarchy.sizes)[:-1], axis=1)
    off = []
    for level, block in zip(hierarchy.levels, blocks, strict=True):
        z = values(level, block)
        vertex = jnp.arange(z.shape[1]) == jnp.argmax(z, axis=1)[:, None]
        off.append(jnp.linalg.norm(z - vertex, axis=1) > reach)
    return jnp.stack(off, axis=1)


def step_leak(total: float, depth: int) -> float:
    """1 − (1 − ε)^{1/B}, what each of B independent steps may leak for ε in total.

    Raises:
        ValueError: on ε outside (0, 1) or B < 1.
    """
    if not 0 < total < 1:
        raise ValueError(f"leak must lie in (0, 1), got {total}")
    if depth < 1:
        raise ValueError(f"depth must be an integer ≥ 1, got {depth!r}")
    return -math.expm1(math.log1p(-total) / depth)


def total_leak(step: float, depth: int) -> float:
    """1 − (1 − ε)^B, what B independent steps of leak ε leak in total.

    Raises:
        ValueError: on ε outside (0, 1) or B < 1.
    """
    if not 0 < step < 1:
        raise ValueError(f"leak must lie in (0, 1), got {step}")
    if depth < 1:
        raise ValueError(f"depth must be an integer ≥ 1, got {depth!r}")
    return -math.expm1(depth * math.log1p(-step))
