"""The sharp constructions of Theorem 5: sparsemax of coordinates, scores or signed distances.

sparsemax is the Euclidean projection to the simplex, hence 1-Lipschitz; the modes are the M
vertices, at mutual distance √2. A point lands on vertex i exactly when its entry i leads by 1.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy import optimize

from theory.check import check_count, check_scale
from theory.gaussian import composite_legendre, log_cdf
from theory.partition import PowerDiagram


@jax.jit
def sparsemax(z: Float[Array, "*points modes"]) -> Float[Array, "*points modes"]:
    """The nearest point of the simplex: max(z − τ, 0) with τ such that the entries sum to 1.

    Martins, Astudillo (2016): with z sorted downwards the support is the largest k for which
    1 + k·z_(k) > Σ_{j≤k} z_(j). Differentiable almost everywhere; a lead of at least 1 gives
    exactly a vertex.
    """
    shifted = z - jnp.max(z, axis=-1, keepdims=True)
    ordered = -jnp.sort(-shifted, axis=-1)
    sums = jnp.cumsum(ordered, axis=-1)
    rank = jnp.arange(1, z.shape[-1] + 1, dtype=z.dtype)
    support = jnp.sum(1 + rank * ordered > sums, axis=-1, keepdims=True)
    threshold = (jnp.take_along_axis(sums, support - 1, axis=-1) - 1) / support
    spread = jnp.maximum(shifted - threshold.astype(z.dtype), 0)
    # Compiled, z is worked out twice, with fused multiply-adds or not: z − max need not be 0.
    vertex = jax.nn.one_hot(jnp.argmax(z, axis=-1), z.shape[-1], dtype=z.dtype)
    return jnp.where(support == 1, vertex, spread)


class ScoreMap(eqx.Module):
    """T(x) = sparsemax(Λ(Ax + b)/‖A‖_op), Λ-Lipschitz, with A the centred sites of a diagram.

    A common shift of the sites changes no difference of scores but would inflate ‖A‖. Sharp only
    where all facets of the diagram have ‖a_i − a_j‖ = √2‖A‖_op: elsewhere
    Λε/κ → Σ P_ij √2‖A‖/‖a_i − a_j‖ (Theorem 5).

    Fields:
        sites: A/‖A‖_op, centred, shape (M, n).
        offsets: b/‖A‖_op, shape (M,).
        stiffness: Λ.
    """

    sites: Float[Array, "modes n"]
    offsets: Float[Array, " modes"]
    stiffness: Array

    def __init__(self, diagram: PowerDiagram, stiffness: float) -> None:
        check_scale("stiffness", stiffness)
        sites = np.asarray(diagram.sites)
        centred = sites - sites.mean(axis=0)
        norm = float(np.linalg.norm(centred, 2))
        if norm == 0:
            raise ValueError("a map of scores needs sites that differ, got M equal ones")
        self.sites = jnp.asarray(centred / norm)
        self.offsets = jnp.asarray(np.asarray(diagram.offsets) / norm)
        self.stiffness = jnp.asarray(stiffness, self.sites.dtype)

    def __call__(self, x: Float[Array, " n"]) -> Float[Array, " modes"]:
        """T(x) for one point."""
        scores = jnp.matmul(self.sites, x, precision="highest") + self.offsets
        return sparsemax(self.stiffness * scores)


class SparsemaxMap(eqx.Module):
    """T(x) = sparsemax(Λx) on R^M: Λ-Lipschitz, and attains the interface constant (Theorem 5).

    Fields:
        stiffness: Λ.
    """

    stiffness: Array

    def __init__(self, stiffness: float) -> None:
        check_scale("stiffness", stiffness)
        self.stiffness = jnp.asarray(float(stiffness))

    def __call__(self, x: Float[Array, " modes"]) -> Float[Array, " modes"]:
        """T(x) for one point."""
        return sparsemax(self.stiffness.astype(x.dtype) * x)


def signed_distances(diagram: PowerDiagram, x: Float[Array, " n"]) -> Float[Array, " modes"]:
    """D_i(x) = min_{j≠i} (s_i − s_j)/‖a_i − a_j‖, the signed distance to the facets of cell i.

    Inside B_i it is the distance to the boundary; outside it is minus the largest distance to a
    violated hyperplane of B_i, which is minus the distance to B_i wherever the nearest point lies
    inside a facet. 1-Lipschitz as a least of 1-Lipschitz functions. Pairs of equal sites have no
    hyperplane and are left out.
    """
    scores = jnp.matmul(diagram.sites, x, precision="highest") + diagram.offsets
    square = jnp.sum((diagram.sites[:, None] - diagram.sites) ** 2, axis=-1)
    apart = square > 0
    length = jnp.sqrt(jnp.where(apart, square, 1))
    return jnp.min(jnp.where(apart, (scores[:, None] - scores) / length, jnp.inf), axis=1)


class SignedDistanceMap(eqx.Module):
    """T(x) = sparsemax(Λ·D(x)/√2), sharp for **any** partition: leak = γ(δ < κ/(2Λ)), κ = √2.

    In B_i the lead of D_i is 2δ(x), so T lands on vertex i exactly where δ ≥ 1/(√2Λ). Across a
    facet only two entries move, by ±1 along the normal: the stretch there is Λ. Where three or
    more cells are near, it may exceed Λ (`corner stretch`); a map with the same leak that does
    not exists by Kirszbraun's theorem, but is not explicit (Theorem 5, leak = tube).

    Fields:
        diagram: the partition.
        chosen: which cells are not empty because of an equal site, shape (M,).
        stiffness: Λ across facets.
    """

    diagram: PowerDiagram
    chosen: Bool[Array, " modes"]
    stiffness: Array

    def __init__(self, diagram: PowerDiagram, stiffness: float) -> None:
        check_scale("stiffness", stiffness)
        self.diagram = diagram
        self.chosen = jnp.isfinite(diagram.without_duplicates().offsets)
        self.stiffness = jnp.asarray(stiffness, diagram.sites.dtype)

    def __call__(self, x: Float[Array, " n"]) -> Float[Array, " modes"]:
        """T(x) for one point."""
        z = self.stiffness / math.sqrt(2) * signed_distances(self.diagram, x)
        # An empty cell shares no facet with the one of its equal site, and must not hold it back.
        return sparsemax(jnp.where(self.chosen, z, jnp.max(z) - 2))


def sparsemax_leak(modes: int, stiffness: float) -> float:
    """ε(Λ) = 1 − M ∫ φ(x) Φ(x − 1/Λ)^{M−1} dx, the exact leak of sparsemax(Λx) on R^M.

    Summed as M ∫ φ (Φ(x)^{M−1} − Φ(x − 1/Λ)^{M−1}) dx, so that small leaks keep their digits.

    Args:
        modes: M ≥ 2.
        stiffness: Λ > 0.

    Raises:
        ValueError: on M < 2 or Λ not positive and finite.
    """
    check_count("modes", modes, 2)
    check_scale("stiffness", stiffness)
    width = 1 / stiffness
    nodes, weights = composite_legendre(-12.0, 12.0, panels=256)
    power = modes - 1
    kept, fallen = log_cdf(nodes), log_cdf(nodes - width)
    density = np.exp(-0.5 * nodes**2 + power * kept) / math.sqrt(2 * math.pi)
    return modes * math.fsum(weights * density * -np.expm1(power * (fallen - kept)))


def sparsemax_stiffness(modes: int, leak: float) -> float:
    """The Λ at which `sparsemax_leak` is ε.

    Raises:
        ValueError: on M < 2 or ε outside (0, 1).
    """
    check_count("modes", modes, 2)
    if not 0 < leak < 1:
        raise ValueError(f"leak must lie in (0, 1), got {leak}")

    def excess(log_stiffness: float) -> float:
        return math.log(sparsemax_leak(modes, math.exp(log_stiffness)) / leak)

    # ε ≤ a/Λ from above; at Λ = 0.01 the lead would have to be 100.
    return math.exp(optimize.brentq(excess, math.log(1e-2), math.log(1e2 / leak), xtol=1e-14))
