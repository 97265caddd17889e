"""The optimal map at n = 1, an oracle: cores of equal mass with gaps of κ/Λ between them."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import optimize

from theory.check import check_count, check_scale
from theory.gaussian import quantile, tail

BARRIER = math.sqrt(2)  # of the vertices of the simplex
SMALLEST = -700.0  # log of a core's mass


def line_leak(modes: int, stiffness: float, barrier: float = BARRIER) -> float:
    """The least leak of a Λ-Lipschitz map of R to M equal modes at mutual distances ≥ κ.

    The cores T⁻¹(D_i) are κ/Λ apart, so the best are intervals with gaps of exactly that width
    (Theorem 5, leak = tube, at n = 1); the leak is the mass of the gaps.

    Args:
        modes: M ≥ 2.
        stiffness: Λ > 0.
        barrier: κ > 0.

    Raises:
        ValueError: on M < 2, or Λ or κ not positive and finite.
    """
    return 1 - modes * _core(modes, stiffness, barrier)


class LineMap(eqx.Module):
    """The map that attains `line_leak`: vertex e_1, …, e_M in turn, straight across the gaps.

    Fields:
        starts: left ends of the gaps, shape (M − 1,), increasing.
        width: κ/Λ = √2/Λ, of every gap.
    """

    starts: Float[Array, " gaps"]
    width: Array

    def __call__(self, x: Float[Array, " 1"]) -> Float[Array, " modes"]:
        """T(x) for one point of R, shape (1,)."""
        passed = jnp.clip((x[0] - self.starts) / self.width, 0, 1)
        ends = jnp.ones(1, passed.dtype)
        return jnp.concatenate([ends, passed]) - jnp.concatenate([passed, 0 * ends])


def optimal_line(modes: int, stiffness: float) -> LineMap:
    """The Λ-Lipschitz map of R to the vertices of the simplex with the least leak.

    Raises:
        ValueError: on M < 2, or Λ not positive and finite.
    """
    core, width = _core(modes, stiffness, BARRIER), BARRIER / stiffness
    starts = [float(quantile(core))]
    for _ in range(modes - 2):
        starts.append(_end(starts[-1] + width, core))
    return LineMap(jnp.asarray(np.array(starts)), jnp.asarray(width))


def _core(modes: int, stiffness: float, barrier: float) -> float:
    """The mass of a core when all M are equal and the last one ends at infinity."""
    check_count("modes", modes, 2)
    check_scale("stiffness", stiffness)
    check_scale("barrier", barrier)
    width = barrier / stiffness

    def lack(log_core: float) -> float:
        """What is left beyond the last gap, less a core."""
        core = math.exp(log_core)
        end = float(quantile(core))
        for _ in range(modes - 2):
            end = _end(end + width, core)
        return float(tail(end + width)) - core

    if lack(SMALLEST) <= 0:  # the gaps alone take all of the mass that float64 knows
        return 0.0
    return math.exp(optimize.brentq(lack, SMALLEST, -math.log(modes), xtol=1e-15, rtol=1e-14))


def _end(start: float, core: float) -> float:
    """The end of an interval of mass `core`, ∞ where so much is not left."""
    if start < 0:  # whichever tail is the thin one keeps its digits
        below = float(tail(-start)) + core
        return float(quantile(below)) if below < 0.5 else _from_above(1 - below)
    return _from_above(float(tail(start)) - core)


def _from_above(left: float) -> float:
    """The point with mass `left` beyond it."""
    return -float(quantile(left)) if left > 0 else math.inf
