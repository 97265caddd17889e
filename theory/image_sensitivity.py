"""DABI of decoders without a readout: responses to structured steps over isotropic ones as long.

From a clean latent Z a step of length r goes along one of DIRECTIONS: the top right singular vector
of the decoder's Jacobian at Z, with a fair coin for its sign, which is arbitrary; the residual
μ(X) − Z of an exact denoising step, X = Z + sξ, with the sign it has; or an isotropic direction.
There is no facet to cross: to small steps a smooth decoder responds by ‖DD(Z) p‖. Responses:
‖D(Z + p) − D(Z)‖ over all outputs, and a perceptual distance. All on the same latents; DABI is the
ratio of means, with errors over independent groups of latents.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from theory.check import check_count, check_scale
from theory.denoise_step import Rows, unit_rows
from theory.estimate import Estimate, Interval, ratio_of_means
from theory.jacobian import OfRows, lengths, row_normals
from theory.lanczos import stepwise_pairs
from theory.latent_steps import (
    CHUNK,
    Drawn,
    Groups,
    PosteriorMean,
    check_grouped,
    drawn,
    joined,
    step_lengths,
)

DIRECTIONS = ("singular", "residual", "isotropic")
RESPONSES = ("output", "perceptual")

Decode = Callable[[Rows], Array]
Distance = Callable[[Array, Array], Array]


class ImageSensitivity(NamedTuple):
    """Responses of a decoder, latent by latent, and what is made of them over independent groups.

    Fields:
        responses: to a step along each of DIRECTIONS of each length; the last axis is RESPONSES,
            or the first of them alone when no distance was given.
        steps: r, in units of the latents.
        residual: ‖μ(X) − Z‖.
        stretch: σ₁ = ‖DD(Z)‖, the largest singular value, or less.
        error: some singular value lies within this of `stretch`.
        inside: share of ‖p‖² in the span of the top `rank` right singular vectors, by direction.
        rank: k.
        dimension: n of the latents.
        outputs: d; √d root pixels make of ‖ΔD‖ the root mean square change of a number.
        group: latents of one label depend on each other.
    """

    responses: Float[np.ndarray, "latents directions lengths responses"]
    steps: Float[np.ndarray, "latents lengths"]
    residual: Float[np.ndarray, " latents"]
    stretch: Float[np.ndarray, " latents"]
    error: Float[np.ndarray, " latents"]
    inside: Float[np.ndarray, "latents directions"]
    rank: int
    dimension: int
    outputs: int
    group: Groups

    def response(self, direction: str, response: str = "output", length: int = 0) -> Estimate:
        """E of a response; `count` is the number of groups."""
        return self._mean(self._column(direction, response, length))

    def dabi(self, direction: str, response: str = "output", length: int = 0) -> Estimate:
        """Ratio of means: the response along `direction` over the isotropic one.

        Raises:
            ValueError: when no latent responds to isotropic steps.
        """
        top, bottom = (self._column(one, response, length) for one in (direction, "isotropic"))
        if not bottom.any():
            raise ValueError("the decoder does not respond to isotropic steps: DABI is not defined")
        return ratio_of_means(top, bottom, self.group)

    def dabi_interval(
        self,
        direction: str,
        response: str = "output",
        length: int = 0,
        failure_probability: float = 1e-9,
    ) -> Interval:
        """Student's over groups; a lower end alone where the isotropic response may be 0."""
        ratio = self.dabi(direction, response, length)
        top, bottom = (
            self.response(one, response, length).interval(failure_probability / 2)
            for one in (direction, "isotropic")
        )
        if bottom.lower > 0:
            return ratio.interval(failure_probability)
        return Interval(max(float(top.lower), 0.0) / float(bottom.upper), math.inf)

    def amplification(self, direction: str, length: int = 0) -> Estimate:
        """E‖D(Z + p) − D(Z)‖/E r: outputs a unit of the latents."""
        column = self._column(direction, "output", length)
        return ratio_of_means(column, self.steps[:, length], self.group)

    def share(self, direction: str) -> Estimate:
        """Share of the energy E‖p‖² that lies in the top `rank` directions; rank/n if isotropic.

        Residuals count with their own ‖r‖².
        """
        column = self.inside[:, DIRECTIONS.index(_known(direction, DIRECTIONS))]
        weight = self.residual**2 if direction == "residual" else np.ones(len(column))
        return ratio_of_means(weight * column, weight, self.group)

    def _mean(self, column: Float[np.ndarray, " latents"]) -> Estimate:
        return ratio_of_means(column, np.ones(len(column)), self.group)

    def _column(self, direction: str, response: str, length: int) -> np.ndarray:
        measured = RESPONSES[: self.responses.shape[3]]
        way = DIRECTIONS.index(_known(direction, DIRECTIONS))
        return self.responses[:, way, length, measured.index(_known(response, measured))]


def _known(name: str, known: Sequence[str]) -> str:
    if name not in known:
        raise ValueError(f"expected one of {', '.join(known)}, got {name!r}")
    return name


def image_sensitivity(
    key: PRNGKeyArray,
    decode: Decode,
    posterior_mean: PosteriorMean,
    latents: object,
    scale: float,
    steps: Sequence[float] | None = None,
    *,
    group: object = None,
    distance: Distance | None = None,
    rank: int = 1,
    tolerance: float = 1e-2,
    cycles: int = 20,
    chunk: int = CHUNK,
) -> ImageSensitivity:
    """How a decoder responds to steps from clean latents along DIRECTIONS.

    Nothing of size n × d is formed: singular directions come from `theory.singular`, some 50
    products with the Jacobian and its transpose a latent. Draws depend on the row of a latent, not
    on its chunk.

    Args:
        key: PRNG key.
        decode: D, rows (N, n) to outputs (N, …), every row by itself.
        posterior_mean: (x, s) ↦ μ(x) = E[Z | Z + sξ = x]: `Mixture.posterior_mean` of the law of
            the latents or of a model of it.
        latents: Z, shape (N, n); decoded in their dtype.
        scale: s of the residual.
        steps: lengths r, in units of the latents; None: one step, as long as each residual.
        group: labels, shape (N,), as of the photographs that latents come from; None: all are
            independent.
        distance: of outputs, as `theory.perceptual.structural_distance`; None: L2 alone.
        rank: k, leading right singular vectors whose span is compared with residuals.
        tolerance: relative error of σ₁ that ends the search for the singular direction.
        cycles: the most cycles of that search, of 21 and then 16 products each; two confirm each
            other, one is often enough: `error` is what was reached.
        chunk: latents that are decoded at a time.

    Raises:
        ValueError: on latents, labels or numbers out of range, fewer than two groups, or outputs
            or posterior means of another shape or not finite.
    """
    clean, labels = check_grouped(latents, group, scale, chunk)
    outputs = _outputs(decode, clean)
    for name, number in (("rank", rank), ("cycles", cycles)):
        check_count(name, number, 1)
    check_scale("tolerance", tolerance)
    if rank > min(clean.shape[1], outputs):
        raise ValueError(
            f"a decoder of R^{clean.shape[1]} to R^{outputs} has no {rank} leading directions"
        )
    limits = jnp.asarray(tolerance, clean.dtype), jnp.asarray(cycles, jnp.int32)

    def measured(first: Array, rows: Rows) -> tuple[Array, ...]:
        normals = row_normals(key, rows, first, 3 + rank)
        value, error, top = stepwise_pairs(OfRows(decode), rows, normals[:, 3:], *limits)
        draws = drawn(normals[:, :3], posterior_mean, rows, scale)
        ways, inside = _ways(draws, top)
        long = step_lengths(steps, draws.residual)
        found = _respond(decode, distance, rows, ways, long)
        return found, long, lengths(draws.residual), value[:, 0], error[:, 0], inside

    found, long, norm, value, error, inside = joined(measured, clean, chunk)
    sizes = rank, clean.shape[1], outputs
    return ImageSensitivity(found, long, norm, value, error, inside, *sizes, labels)


@jax.jit
def _ways(draws: Drawn, top: Float[Array, "rows rank n"]) -> tuple[Array, Array]:
    """Unit vectors along DIRECTIONS, and the share of each in the span of the leading ones."""
    singular = draws.sign[:, None] * top[:, 0]
    ways = jnp.stack([singular, unit_rows(draws.residual), draws.isotropic], axis=1)
    along = jnp.einsum("pdn,pkn->pdk", ways, top, precision="highest")
    return ways, jnp.sum(along**2, axis=2)


def _respond(
    decode: Decode,
    distance: Distance | None,
    clean: Rows,
    ways: Float[Array, "rows directions n"],
    long: Float[Array, "rows lengths"],
) -> Float[Array, "rows directions lengths responses"]:
    """Responses to p = length·way; one decoding of all rows at a time, as `stepwise_pairs`."""
    before = _decoded(decode, clean)
    found = [
        [_responses(decode, distance, before, clean + step[:, None] * way) for step in long.T]
        for way in ways.swapaxes(0, 1)
    ]
    return jnp.transpose(jnp.asarray(found), (2, 0, 1, 3))


@eqx.filter_jit
def _decoded(decode: Decode, z: Rows) -> Array:
    return decode(z)


@eqx.filter_jit
def _responses(
    decode: Decode, distance: Distance | None, before: Array, z: Rows
) -> Float[Array, "rows responses"]:
    after = decode(z)
    moved = lengths((after - before).reshape(len(z), -1))
    return jnp.stack([moved] if distance is None else [moved, distance(before, after)], axis=1)


def _outputs(decode: Decode, clean: np.ndarray) -> int:
    """d, the numbers of an output."""
    found = jax.eval_shape(decode, jax.ShapeDtypeStruct((2, clean.shape[1]), clean.dtype))
    if found.shape[:1] != (2,) or len(found.shape) < 2:
        raise ValueError(f"a decoder maps rows (N, n) to outputs (N, …), got {found.shape} of 2")
    return math.prod(found.shape[1:])
