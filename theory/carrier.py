"""CCI: how much of a perturbation below the margin a generation step erases, and what it keeps.

    CCI = 1 − E‖G(z + p) − G(z)‖²/E‖p‖²,   ‖p‖ = reach·δ(z), reach < 1: y(z + p) = y(z).

G, the *carrier*, maps what the step was given to what it hands on, both in one space and in one
unit. A pass-through has 0, a hard commit 1, G = cz has 1 − c²: below 0 without end. A constant has
1 too, so the *retention* P(y(G(z)) = y(z)) is always said beside it: commitment is both near 1.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from theory.denoise_step import Rows, across, unit_rows
from theory.estimate import Estimate, Interval, proportion, proportion_interval, ratio_of_means
from theory.gaussian import normal
from theory.partition import PowerDiagram, check_points
from theory.sampler import Denoiser, Step, roll

Carrier = Callable[[Rows], Rows]
REACH = 0.5  # length of a perturbation over the distance to the nearest facet


class Erasure(NamedTuple):
    """What a carrier makes of perturbations below the margin, over independent groups of rows.

    Fields:
        isotropic: CCI of p uniform in direction.
        normal: CCI of p along the normal of the nearest facet, towards it.
        moved_isotropic: E‖G(z + p) − G(z)‖² a row, the isotropic numerator.
        moved_normal: the same of the normal.
        step: E‖p‖² a row, the denominator of both.
        retention: share of rows, one of every group, whose token G keeps.
        still: rows on a facet, which are not perturbed and count with 0 on both sides.
    """

    isotropic: Estimate
    normal: Estimate
    moved_isotropic: Estimate
    moved_normal: Estimate
    step: Estimate
    retention: Estimate
    still: int

    def kept(self, failure_probability: float = 1e-9) -> Interval:
        """The exact (Clopper–Pearson) interval of the retention."""
        return proportion_interval(self.retention, failure_probability)


def cci(
    key: PRNGKeyArray,
    carrier: Carrier,
    latents: object,
    diagram: PowerDiagram,
    *,
    reach: float = REACH,
    group: int = 1,
) -> Erasure:
    """CCI of a carrier at these latents with the facets of a readout, and its retention.

    A carrier that draws noise must draw the same at z and at z + p (it holds its key): what is
    measured is then the response to p alone. Copies of a class are one token.

    Args:
        key: PRNG key of the isotropic directions.
        carrier: G, of all rows at once.
        latents: z, shape (N, n), independent from group to group.
        diagram: the readout.
        reach: ‖p‖/δ(z), in (0, 1).
        group: consecutive rows that depend on each other, as positions of a sequence do; all are
            perturbed at once.

    Raises:
        ValueError: on latents of another shape or not finite, a reach or group out of range,
            fewer than two groups, a readout without facets, latents that all lie on facets, or
            carried rows that have another shape or are not finite.
    """
    z = _checked(latents, diagram, reach, group)
    facet = diagram.nearest_facet(z)
    if np.min(np.asarray(facet.neighbour)) < 0:
        raise ValueError("a latent has no facet: the sites of the readout are all equal")
    length = reach * jnp.maximum(facet.distance, 0).astype(z.dtype)
    if not np.any(np.asarray(length) > 0):
        raise ValueError("all latents lie on facets: there is no perturbation below the margin")
    towards = across(diagram.sites, facet.label, facet.neighbour)
    ways = (unit_rows(normal(key, z.shape, z.dtype.name)), towards.astype(z.dtype))
    rest = _carried(carrier, z)
    steps = [length[:, None] * way for way in ways]
    moved = [_energy(_carried(carrier, z + step) - rest, group) for step in steps]
    made = [_energy(step, group) for step in steps]
    isotropic, towards_facet = (_erased(*pair) for pair in zip(moved, made, strict=True))
    return Erasure(
        isotropic,
        towards_facet,
        _mean(moved[0]),
        _mean(moved[1]),
        _mean(made[0]),
        _kept(diagram, facet.label, rest, group),
        int(np.sum(np.asarray(length) == 0)),
    )


def _erased(moved: np.ndarray, made: np.ndarray) -> Estimate:
    found = ratio_of_means(moved, made)
    return Estimate(1 - found.value, found.sem, 0.0, found.count)


def _mean(energy: np.ndarray) -> Estimate:
    return ratio_of_means(energy, np.ones(len(energy)))


def _checked(latents: object, diagram: PowerDiagram, reach: float, group: int) -> Rows:
    z = check_points(diagram, latents)
    if z.ndim != 2:
        raise ValueError(f"latents have shape (N, {diagram.dimension}), got {z.shape}")
    if not 0 < reach < 1:
        raise ValueError(f"a perturbation below the margin has a reach in (0, 1), got {reach}")
    whole = isinstance(group, int | np.integer) and group >= 1
    if not whole or len(z) % group or len(z) < 2 * group:
        raise ValueError(f"{len(z)} latents are not two or more groups of {group}")
    return z


def _carried(carrier: Carrier, z: Rows) -> Rows:
    found = jnp.asarray(carrier(z))
    if found.shape != z.shape:
        raise ValueError(f"a carrier keeps the shape of rows, {z.shape}, got {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError("carried rows must be finite, got NaN or infinity")
    return found


def _energy(rows: Rows, group: int) -> Float[np.ndarray, " groups"]:
    """‖·‖² a row, mean over each group."""
    square = np.sum(np.asarray(rows, np.float64) ** 2, axis=1)
    return square.reshape(-1, group).mean(axis=1)


def _kept(diagram: PowerDiagram, label: Array, rest: Rows, group: int) -> Estimate:
    """Of group g row g mod `group`, so that trials are independent and no position is preferred."""
    groups = diagram.groups()
    same = groups[np.asarray(label)] == groups[np.asarray(diagram.label(rest))]
    parts = np.arange(len(same) // group)
    return proportion(int(same.reshape(-1, group)[parts, parts % group].sum()), len(parts))


def nearest_embedding(table: object) -> PowerDiagram:
    """The readout argmin_v ‖z − W_v‖: sites W_v, offsets −‖W_v‖²/2.

    Raises:
        ValueError: as `PowerDiagram`.
    """
    rows = jnp.asarray(table)
    return PowerDiagram(rows, _half_squares(rows))


@jax.jit
def _half_squares(rows: Array) -> Array:
    return -jnp.sum(rows**2, axis=-1) / 2


class PassThrough(eqx.Module):
    """G(z) = z: CCI 0, retention 1."""

    def __call__(self, z: Rows) -> Rows:
        """The rows themselves."""
        return z


class Factor(eqx.Module):
    """G(z) = cz: CCI 1 − c².

    Fields:
        factor: c.
    """

    factor: Array = eqx.field(converter=jnp.asarray)

    def __call__(self, z: Rows) -> Rows:
        """cz."""
        return self.factor.astype(z.dtype) * z


class Constant(eqx.Module):
    """G(z) = a: CCI 1 with nothing retained, the reason why retention is said.

    Fields:
        point: a, shape (n,).
    """

    point: Float[Array, " n"] = eqx.field(converter=jnp.asarray)

    def __call__(self, z: Rows) -> Rows:
        """The point at every row."""
        return jnp.broadcast_to(self.point.astype(z.dtype), z.shape)


class HardCommit(eqx.Module):
    """G(z) = W_{y(z)}: the embedding of the token that is read; CCI 1.

    Fields:
        diagram: the readout, y.
        table: W, shape (V, n); the sites of `nearest_embedding` are their own.
    """

    diagram: PowerDiagram
    table: Float[Array, "V n"] = eqx.field(converter=jnp.asarray)

    def __call__(self, z: Rows) -> Rows:
        """Embeddings of the tokens."""
        return jnp.take(self.table, self.diagram.label(z), axis=0).astype(z.dtype)


class SoftFeedback(eqx.Module):
    """G(z) = Σ_v softmax(β·scores)_v W_v.

    With the scores of `nearest_embedding` it is E[Z | z] of atoms Z at equally likely W_v in noise
    of s = β^(−1/2): soft feedback is the exact denoising step without context. G has the Jacobian
    β·Cov(W | z), so that CCI is near 1 where the token is sure and below 0 near facets.

    Fields:
        diagram: the readout.
        table: W, shape (V, n).
        sharpness: β > 0.
    """

    diagram: PowerDiagram
    table: Float[Array, "V n"] = eqx.field(converter=jnp.asarray)
    sharpness: Array = eqx.field(converter=jnp.asarray)

    def __check_init__(self) -> None:
        if not 0 < float(self.sharpness) < math.inf:
            raise ValueError(f"sharpness must be positive and finite, got {self.sharpness}")

    def __call__(self, z: Rows) -> Rows:
        """Averages of embeddings."""
        return _averaged(self.diagram, self.table, self.sharpness, z)


@jax.jit
def _averaged(diagram: PowerDiagram, table: Array, sharpness: Array, z: Rows) -> Rows:
    scores = jnp.matmul(z, diagram.sites.T, precision="highest") + diagram.offsets
    law = jax.nn.softmax(sharpness * scores, axis=-1).astype(z.dtype)
    return jnp.matmul(law, table.astype(z.dtype), precision="highest")


class SamplerSteps(eqx.Module):
    """Steps of a sampler from t to t' on x = z_t/α_t: G(x) = z_{t'}/α_{t'}, in units of the data.

    Rows are `length` positions of a sequence after each other. Fresh noise is drawn by `key`, the
    same at every call.

    Fields:
        denoiser: D(z, α, σ).
        steps: of `theory.sampler.plan`.
        signals: α_t, α_{t'}, both > 0.
        key: of the fresh noise.
        length: positions of a sequence; 1 for a law of single latents.
    """

    denoiser: Denoiser
    steps: list[Step]
    signals: tuple[float, float]
    key: PRNGKeyArray
    length: int = eqx.field(static=True, default=1)

    def __check_init__(self) -> None:
        if not all(0 < signal < math.inf for signal in self.signals):
            raise ValueError(f"both ends of steps need a signal α > 0, got {self.signals}")

    def __call__(self, x: Rows) -> Rows:
        """z_{t'}/α_{t'} of every row."""
        before, after = self.signals
        z = (before * x).reshape(-1, self.length, x.shape[-1])
        return roll(self.key, self.denoiser, self.steps, z).reshape(x.shape) / after
