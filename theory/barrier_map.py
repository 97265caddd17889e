"""Maps onto modes at unequal distances, whose facets weigh as the barriers across them."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from theory.batches import check_rows
from theory.check import check_scale
from theory.partition import PowerDiagram


class BarrierMap(eqx.Module):
    """T(x) = Σ_i u_i(x) e_i, straight from e_i to e_j across the facet of i and j, at speed Λ.

    u_i ∝ Π_{j≠i} clip(½ + Λ d_ij/κ_ij, 0, 1), κ_ij = ‖e_i − e_j‖, d_ij the signed distance to the
    hyperplane of i and j: the strip along F_ij where T is on no mode is κ_ij/Λ wide, and T is on
    e_i wherever d_ij ≥ κ_ij/(2Λ) for all j. Λ-Lipschitz but for corners. For few cells: where
    M of them are near, the largest weight may be 2^{1−M}.

    Fields:
        diagram: the partition, no two sites equal.
        modes: e_i, shape (M, d).
        stiffness: Λ across facets.

    Raises:
        ValueError: when Λ is not positive, there are not M distinct finite modes, or two sites
            are equal.
    """

    diagram: PowerDiagram
    modes: Float[Array, "modes d"]
    stiffness: Array

    def __init__(self, diagram: PowerDiagram, modes: object, stiffness: float) -> None:
        check_scale("stiffness", stiffness)
        given = check_rows("modes", modes)
        if len(given) != diagram.modes or len(np.unique(given, axis=0)) < len(given):
            raise ValueError(f"expected {diagram.modes} distinct modes, got shape {given.shape}")
        if len(np.unique(diagram.groups())) < diagram.modes:
            raise ValueError("equal sites have no facet between them: make the sites distinct")
        self.diagram, self.modes = diagram, jnp.asarray(given)
        self.stiffness = jnp.asarray(stiffness, diagram.sites.dtype)

    def __call__(self, x: Float[Array, " n"]) -> Float[Array, " d"]:
        """T(x) for one point."""
        scores = self.diagram.scores(x)
        apart = jnp.eye(len(scores)) + _distances(self.diagram.sites)
        barrier = jnp.eye(len(scores)) + _distances(self.modes)
        lead = (scores[:, None] - scores) / apart
        share = jnp.clip(0.5 + self.stiffness * lead / barrier, 0, 1)
        weight = jnp.prod(jnp.where(jnp.eye(len(scores), dtype=bool), 1, share), axis=1)
        return jnp.matmul(weight, self.modes, precision="highest") / jnp.sum(weight)


def _distances(points: Array) -> Array:
    square = jnp.sum((points[:, None] - points) ** 2, axis=-1)
    return jnp.sqrt(jnp.where(square > 0, square, 0))
