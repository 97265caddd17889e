"""Separation energy E[V(T)‖DT‖] of a map T for a cost V of being off its modes (Theorem 5)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.sparse.csgraph import floyd_warshall
from scipy.spatial.distance import cdist

from theory.batches import Transport, check_rows, draws, values
from theory.estimate import Estimate, from_samples
from theory.stiffness import KRYLOV, operator_norms


class Energy(NamedTuple):
    """E V(T(x)) and J = E[V(T(x))‖DT(x)‖_op], x ~ γ_n."""

    cost: Estimate
    energy: Estimate


def separation_energy(
    key: PRNGKeyArray,
    transport: Transport,
    cost: Callable[[Float[Array, " d"]], Float[Array, ""]],
    *,
    dimension: int,
    samples: int,
    tolerance: float = 1e-3,
    dtype: Any = None,
) -> Energy:
    """Both sides of E V(T) ≥ J/Λ, J = E[V(T)‖DT‖] ≥ ∫_0^κ P(u(T) > t) dt.

    Here u is the V-distance to a mode and κ the least to another. `bias` of the energy is
    E[V·error], an estimate as in `stretch`.

    Args:
        key: PRNG key.
        transport: T.
        cost: V ≥ 0, one point of R^d to a number, such as `ConeCost`.
        dimension: n.
        samples: number of x ~ γ_n.
        tolerance: as in `operator_norms`.
        dtype: of x; JAX's default if None.

    Raises:
        ValueError: when V is negative, not finite or not a number, samples < 2, dimension < 1, or
            as `operator_norms`.
    """
    draw_key, start_key = jax.random.split(key)
    columns = []
    fresh = draws(draw_key, samples, dimension, jnp.zeros((), dtype).dtype, KRYLOV * dimension)
    for number, (rows, live) in enumerate(fresh):
        value = np.asarray(_costs(transport, cost, rows), np.float64)[:live]
        if not (np.isfinite(value) & (value >= 0)).all():
            raise ValueError(f"a cost is finite and ≥ 0, got {value.min()} to {value.max()}")
        start = jax.random.fold_in(start_key, number)
        norms = operator_norms(start, transport, rows, tolerance=tolerance)
        columns.append([value, value * norms.value[:live], value * norms.error[:live]])
    value, energy, error = np.concatenate(columns, axis=1)
    return Energy(from_samples(value), from_samples(energy, float(error.mean())))


@eqx.filter_jit
def _costs(transport: Transport, cost: Callable, x: Array) -> Array:
    costs = jax.vmap(cost)(values(transport, x))
    if costs.ndim != 1:
        raise ValueError(f"a cost maps a point to a number, got shape {costs.shape[1:]}")
    return costs


class ConeCost(eqx.Module):
    """V(z) = min_i c_i‖z − e_i‖: zero exactly at the modes e_i, growing at infinity.

    Fields:
        vertices: e_i, shape (M, d), distinct.
        weights: c_i > 0, shape (M,).

    Raises:
        ValueError: on vertices of wrong rank, not finite or twice the same, or weights that are
            not M positive finite numbers.
    """

    vertices: Float[Array, "modes d"]
    weights: Float[Array, " modes"]

    def __init__(self, vertices: object, weights: object | None = None) -> None:
        given = check_rows("vertices", vertices)
        slopes = np.ones(len(given)) if weights is None else np.asarray(weights, np.float64)
        if len(np.unique(given, axis=0)) < len(given):
            raise ValueError(f"duplicate vertices among {len(given)}: make them distinct")
        if slopes.shape != given.shape[:1] or not ((slopes > 0) & (slopes < np.inf)).all():
            raise ValueError(
                f"weights must be {len(given)} positive finite numbers, got shape {slopes.shape}, "
                f"least {slopes.min()}, largest {slopes.max()}"
            )
        self.vertices, self.weights = jnp.asarray(given), jnp.asarray(slopes, given.dtype)

    def __call__(self, z: Float[Array, " d"]) -> Float[Array, ""]:
        """V(z); its gradient at a vertex is 0."""
        square = jnp.sum((z - self.vertices) ** 2, axis=1)
        return jnp.min(self.weights * jnp.where(square > 0, jnp.sqrt(square + (square == 0)), 0))

    def barriers(self) -> Float[np.ndarray, "modes modes"]:
        """κ_ij = inf over paths of ∫V ds: the shortest path over edges c_i c_j L²/(2(c_i + c_j)).

        An edge is the straight way, L = ‖e_i − e_j‖, on which the two cones cost that. Two modes:
        a path leaves the first cone at V ≥ c_i c_j L/(c_i + c_j). Equal weights: Chu, Miller,
        Sheehy (2020), the nearest-neighbour metric is the edge-squared metric. Otherwise a path
        through a third, lighter cone may cost less without meeting its vertex, and the edges
        bound κ from above alone, which no floor can use.

        Raises:
            ValueError: on three or more modes of unequal weights.
        """
        c = np.asarray(self.weights, np.float64)
        if len(c) > 2 and np.ptp(c) > 0:
            raise ValueError(f"barriers of {len(c)} cones need equal weights, got {c[:9]}")
        square = cdist(*[np.asarray(self.vertices, np.float64)] * 2, "sqeuclidean")
        return floyd_warshall(c[:, None] * c / (c[:, None] + c) * square / 2)
