"""Power diagrams y(x) = argmax_i ⟨a_i, x⟩ + b_i: synthetic partitions and linear readouts alike."""

import math
from functools import cached_property
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray
from scipy import special

from theory import nearest, pruning
from theory.check import check_count
from theory.gaussian import composite_legendre, quantile

Points = Float[Array, "*points n"] | Float[np.ndarray, "*points n"]


class Facet(NamedTuple):
    """Label y(x), the class across the nearest facet, and δ(x); arrays of shape (…)."""

    label: Int[Array, " *points"]
    neighbour: Int[Array, " *points"]
    distance: Float[Array, " *points"]


class PowerDiagram(eqx.Module):
    """The partition of R^n into B_i = {x : ⟨a_i, x⟩ + b_i is the largest score}.

    A linear readout argmax_y w_y·z + b_y is one too, with a_y = w_y. Equal scores go to the
    smaller index. Exactly equal sites are allowed (real vocabularies have them): the facet
    between them does not exist, and the class with the smaller offset is never chosen.

    Fields:
        sites: a_i, shape (M, n), M ≥ 2.
        offsets: b_i, shape (M,).

    Raises:
        ValueError: on wrong rank, mismatched M, fewer than two classes, n = 0, non-floating
            dtype, or entries that are not finite.
    """

    sites: Float[Array, "modes n"]
    offsets: Float[Array, " modes"]

    def __init__(self, sites: object, offsets: object | None = None) -> None:
        given = jnp.asarray(sites)
        _check_sites(given)
        self.sites = given
        known = np.zeros(len(given)) if offsets is None else offsets
        self.offsets = jnp.asarray(known, given.dtype)
        _check_offsets(given, self.offsets)

    @property
    def modes(self) -> int:
        """M, the number of cells."""
        return self.sites.shape[0]

    @property
    def dimension(self) -> int:
        """n, the dimension of the space."""
        return self.sites.shape[1]

    def scores(self, x: Points) -> Float[Array, "*points modes"]:
        """⟨a_i, x⟩ + b_i for every class."""
        return jnp.matmul(x, self.sites.T, precision="highest") + self.offsets

    def label(self, x: Points) -> Int[Array, " *points"]:
        """y(x), decided in float64 where x64 is enabled; memory bounded over samples and classes.

        Raises:
            ValueError: when x is empty, not finite, or its last axis is not n.
        """
        points = check_points(self, x)
        return nearest.label(self.sites, self.offsets, lambda: self._screened, points)

    def nearest_facet(self, x: Points) -> Facet:
        """Label, neighbour and δ(x) = min_{j≠y} (s_y − s_j)/‖a_y − a_j‖ over **all** classes j.

        Screened in the dtype of the inputs, decided in float64 where x64 is enabled, so that
        near-duplicate sites do not cancel. Exact duplicates of a_y are no facet; where no facet
        exists the neighbour is −1 and the distance ∞. Equal distances go to the smaller index.
        Cost 4·N·M·n flops; memory bounded over samples and classes.

        Raises:
            ValueError: when x is empty, not finite, or its last axis is not n.
        """
        points = check_points(self, x)
        groups, screened = jnp.asarray(self._groups), lambda: self._screened
        return Facet(*nearest.facet(self.sites, self.offsets, groups, screened, points))

    def groups(self) -> Int[np.ndarray, " modes"]:
        """For every class the smallest index of a class with exactly the same site; read-only."""
        return self._groups

    @cached_property
    def _groups(self) -> Int[np.ndarray, " modes"]:
        groups = first_of_equal_rows(np.asarray(self.sites))
        groups.flags.writeable = False
        return groups

    @cached_property
    def _screened(self) -> pruning.Screen:
        """The classes in order of length, which holds the sites once more."""
        with jax.ensure_compile_time_eval():
            return pruning.screen(self.sites, self.offsets, jnp.asarray(self._groups))

    def without_duplicates(self) -> "PowerDiagram":
        """The same partition with the offsets of never-chosen duplicate sites set to −∞.

        Keeps M and the numbering, so that facet tables keep their indices.
        """
        groups, offsets = self.groups(), np.array(self.offsets)
        best = np.full(self.modes, -np.inf)
        np.maximum.at(best, groups, offsets)
        chosen = np.full(self.modes, self.modes)
        wins = offsets == best[groups]
        np.minimum.at(chosen, groups[wins], np.flatnonzero(wins))
        offsets[np.arange(self.modes) != chosen[groups]] = -np.inf
        return eqx.tree_at(lambda d: d.offsets, self, jnp.asarray(offsets))


def check_points(diagram: PowerDiagram, x: object) -> Float[Array, "*points n"]:
    """The points as an array of shape (…, n), or ValueError naming what came."""
    points = jnp.asarray(x)
    if points.ndim < 1 or points.shape[-1] != diagram.dimension:
        raise ValueError(
            f"points must have shape (…, {diagram.dimension}) for a diagram in dimension "
            f"{diagram.dimension}, got shape {points.shape}"
        )
    if points.size == 0:
        raise ValueError(f"expected at least one point, got shape {points.shape}")
    if not jnp.issubdtype(points.dtype, jnp.floating):
        raise ValueError(f"points must be floating, got dtype {points.dtype}")
    _check_finite("points", points)
    return points


def first_of_equal_rows(rows: Float[np.ndarray, "rows n"]) -> Int[np.ndarray, " rows"]:
    """For every row the index of the first row equal to it, bit for bit (−0 counts as 0).

    Equal rows have equal sums of their bits times fixed odd numbers modulo 2⁶⁴; only rows whose
    sums recur are compared.
    """
    clean = np.ascontiguousarray(rows + 0.0)
    first = np.arange(len(clean), dtype=np.int32)
    _, index, counts = np.unique(_sums_of_bits(clean), return_inverse=True, return_counts=True)
    recurring = np.flatnonzero(counts[index] > 1)
    if len(recurring):
        packed = clean[recurring].view(f"V{clean.shape[1] * clean.itemsize}").ravel()
        _, earliest, inverse = np.unique(packed, return_index=True, return_inverse=True)
        first[recurring] = recurring[earliest[inverse]]
    return first


def _sums_of_bits(rows: Float[np.ndarray, "rows n"]) -> np.ndarray:
    factors = 2 * np.random.default_rng(0).integers(0, 2**63, rows.shape[1], np.uint64) + 1
    parts = np.array_split(rows.view(f"u{rows.itemsize}"), max(1, rows.size >> 20))
    return np.concatenate([part.astype(np.uint64) @ factors for part in parts])


def half_space(dimension: int, threshold: float = 0.0) -> PowerDiagram:
    """The two cells {x_1 ≤ threshold} and {x_1 > threshold} of R^n."""
    check_count("dimension", dimension, 1)
    sites = np.zeros((2, dimension))
    sites[:, 0] = [-0.5, 0.5]
    return PowerDiagram(sites, [threshold, 0.0])


def intervals(modes: int) -> PowerDiagram:
    """M intervals of R of equal Gaussian mass, cut at the quantiles k/M: the minimiser at n = 1."""
    check_count("modes", modes, 2)
    cuts = quantile(np.arange(1, modes) / modes)
    offsets = np.concatenate([[0.0], -np.cumsum(cuts)])
    return PowerDiagram(np.arange(float(modes))[:, None], offsets)


def orthants(dimension: int) -> PowerDiagram:
    """The M = 2^n orthants of R^n, sites at the sign vectors."""
    check_count("dimension", dimension, 1)
    if dimension > 16:
        raise ValueError(f"orthants of R^{dimension} are 2^{dimension} cells; at most 2^16 here")
    bits = (np.arange(2**dimension)[:, None] >> np.arange(dimension)) & 1
    return PowerDiagram(2.0 * bits - 1.0)


@jax.jit
def centred(sites: Float[Array, "modes ..."]) -> Float[Array, "modes ..."]:
    """a_i − ā: with the same offsets the same partition, since ⟨ā, x⟩ moves all scores alike.

    Of offsets b_i − b̄, the same partition too.
    """
    return sites - jnp.mean(sites, axis=0)


def random_code(key: PRNGKeyArray, modes: int, dimension: int) -> PowerDiagram:
    """Voronoi cells of M independent uniform points on the unit sphere of R^n (offsets 0)."""
    check_count("modes", modes, 2)
    check_count("dimension", dimension, 1)
    sites = _on_sphere(jax.random.normal(key, (modes, dimension)))
    if len(np.unique(np.asarray(sites), axis=0)) < modes:
        raise ValueError(f"{modes} random sites in dimension {dimension} collide: raise dimension")
    return PowerDiagram(sites)


@jax.jit
def _on_sphere(points: Float[Array, "modes n"]) -> Float[Array, "modes n"]:
    return points / jnp.linalg.norm(points, axis=1, keepdims=True)


def simplicial_cluster(
    modes: int, masses: object | None = None, dimension: int | None = None
) -> PowerDiagram:
    """Power diagram of M equidistant sites (‖a_i − a_j‖ = √2) with prescribed Gaussian masses.

    The unique minimiser of perimeter for 2 ≤ M ≤ n + 1 (Milman, Neeman 2022).

    Args:
        modes: M ≥ 2.
        masses: γ(B_i), shape (M,), positive, summing to 1; equal if None.
        dimension: n ≥ M − 1; M − 1 if None.

    Raises:
        ValueError: when M > n + 1, M is no integer ≥ 2, or masses are not a positive law on M.
    """
    check_count("modes", modes, 2)
    dimension = modes - 1 if dimension is None else dimension
    check_count("dimension", dimension, 1)
    if modes > dimension + 1:
        raise ValueError(
            f"a simplicial cluster of {modes} cells needs dimension ≥ {modes - 1}, "
            f"got {dimension}: R^{dimension} has at most {dimension + 1} equidistant points"
        )
    sites = np.zeros((modes, dimension))
    sites[:, : modes - 1] = _equidistant(modes)
    offsets = np.zeros(modes) if masses is None else simplicial_offsets(check_masses(masses, modes))
    return PowerDiagram(sites, offsets)


def _equidistant(modes: int) -> np.ndarray:
    """The rows e_i − 1/M of R^M in an orthonormal basis (Helmert's) of the sum-zero hyperplane."""
    basis = np.zeros((modes - 1, modes))
    for k in range(1, modes):
        basis[k - 1, :k] = 1.0
        basis[k - 1, k] = -k
        basis[k - 1] /= math.sqrt(k * (k + 1))
    return basis.T


def simplicial_offsets(masses: np.ndarray) -> np.ndarray:
    """Offsets b with P(x_i + b_i is the largest) = m_i for x ~ γ on R^M; mean zero.

    Newton's method on log m(b), halving steps until the worst error falls; the largest cell's
    offset is held.
    """
    free = np.arange(len(masses)) != np.argmax(masses)
    offsets = 0.7 * special.ndtri(np.minimum(masses, 1 - 1e-15))
    reached, laplacian = _simplicial_masses(offsets)
    for _ in range(60):
        error = np.log(masses / reached)
        if np.abs(error).max() < 1e-13:
            break
        step = np.zeros(len(masses))
        step[free] = np.linalg.solve(laplacian[np.ix_(free, free)], (reached * error)[free])
        for _ in range(30):
            trial, trial_laplacian = _simplicial_masses(offsets + step)
            if trial.min() > 0 and np.abs(np.log(masses / trial)).max() < np.abs(error).max():
                break
            step = step / 2
        else:
            break  # rounding
        offsets, reached, laplacian = offsets + step, trial, trial_laplacian
    worst = np.abs(reached / masses - 1).max()
    if not worst <= 1e-9:
        raise ValueError(
            f"masses from {masses.min():.3g} to {masses.max():.3g} not reached: "
            f"worst relative error {worst:.1e}"
        )
    return offsets - offsets.mean()


def _simplicial_masses(offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """m_i = ∫ φ(t − b_i) Π_{k≠i} Φ(t − b_k) dt, and ∂m_i/∂b_j: −∫ φφΠΦ off the diagonal."""
    grid, weights = composite_legendre(-16.0, 16.0, panels=64)
    shifted = grid[:, None] - offsets
    log_cdf = special.log_ndtr(shifted)
    log_ratio = -0.5 * shifted**2 - 0.5 * math.log(2 * math.pi) - log_cdf
    product = log_cdf.sum(axis=1, keepdims=True)
    factor = np.exp(log_ratio + 0.5 * product)
    coupling = (factor.T * weights) @ factor
    np.fill_diagonal(coupling, 0)
    return weights @ np.exp(log_ratio + product), np.diag(coupling.sum(axis=1)) - coupling


def check_masses(masses: object, modes: int) -> np.ndarray:
    """The masses as float64, or ValueError when they are not a positive law on M cells."""
    law = np.asarray(masses, dtype=np.float64)
    if law.shape != (modes,):
        raise ValueError(f"masses must have shape ({modes},), got {law.shape}")
    bad = law[~(np.isfinite(law) & (law > 0))]
    if bad.size:
        raise ValueError(f"a mass is positive and finite, got {bad[0]}: an empty cell has no facet")
    if abs(law.sum() - 1) > 1e-9:
        raise ValueError(f"masses must sum to 1, got {law.sum():.12g}: divide by their sum")
    return law


def _check_sites(sites: Array) -> None:
    if sites.ndim != 2 or not jnp.issubdtype(sites.dtype, jnp.floating):
        raise ValueError(
            f"sites must be a floating array of shape (M, n), got shape {sites.shape} "
            f"of dtype {sites.dtype}"
        )
    if sites.shape[0] < 2 or sites.shape[1] < 1:
        raise ValueError(f"a partition needs M ≥ 2 sites in dimension n ≥ 1, got {sites.shape}")
    _check_finite("sites", sites)


def _check_offsets(sites: Array, offsets: Array) -> None:
    if offsets.shape != (sites.shape[0],):
        raise ValueError(
            f"offsets must have shape ({sites.shape[0]},) for sites of shape {sites.shape}, "
            f"got {offsets.shape}"
        )
    _check_finite("offsets", offsets)


def _check_finite(name: str, values: Array) -> None:
    # A traced array has no values yet; whoever made the concrete one has checked it.
    if not isinstance(values, jax.core.Tracer) and not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
