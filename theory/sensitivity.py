"""DABI: how a decoder responds to a structured step over an isotropic one of the same length.

A step of length r from a clean latent Z along one of DIRECTIONS: the normal of the nearest facet,
the top singular direction of the decoder, the residual μ(X) − Z of a denoising step, or an
isotropic direction. Responses: a flip of the token, ‖D(z + p) − D(z)‖, and the rise of the
cross-entropy of the clean token. All on the same latents; DABI is the ratio of means.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

from theory import singular
from theory.check import check_scale
from theory.denoise_step import Rows, steps, unit_rows
from theory.estimate import Estimate, Interval, proportion_interval
from theory.gaussian import normal
from theory.jacobian import OfRows
from theory.mixture import Mixture
from theory.partition import PowerDiagram, centred
from theory.residual import Moments

DIRECTIONS = ("normal", "singular", "residual", "oriented", "isotropic")
RESPONSES = ("flips", "output", "rise")
CLOSE = 1e-6  # relative error of the singular value whose vector is taken
Decoder = Callable[[Rows], Float[Array, "rows d"]]


class LinearDecoder(eqx.Module):
    """x ↦ A x + c on rows: logits of a readout, or a decoder without an argmax.

    Fields:
        matrix: A, shape (d, n).
        offset: c, shape (d,).
    """

    matrix: Float[Array, "d n"]
    offset: Float[Array, " d"]

    def __call__(self, x: Rows) -> Float[Array, "rows d"]:
        """Outputs at rows of x."""
        return jnp.matmul(x, self.matrix.T, precision="highest") + self.offset


def logits(diagram: PowerDiagram, sharpness: float = 1.0) -> LinearDecoder:
    """The readout's scores times β, less their mean over classes, which no softmax sees.

    Raises:
        ValueError: when the sharpness β is not positive and finite.
    """
    check_scale("sharpness", sharpness)
    parts = diagram.sites, diagram.offsets
    return LinearDecoder(*(sharpness * centred(part) for part in parts))


class Sensitivity:
    """Responses to steps of each length along each of DIRECTIONS, and DABI, from their moments."""

    def __init__(self, lengths: int) -> None:
        self.moments = Moments((len(DIRECTIONS), lengths, len(RESPONSES)))

    def response(self, direction: str, response: str, length: int = 0) -> Estimate:
        """E of a response: share of flips, ‖D(z + p) − D(z)‖, or rise of the cross-entropy."""
        return self.moments.mean(*_index(direction, response, length))

    def dabi(self, direction: str, response: str, length: int = 0) -> Estimate:
        """Ratio of means: the response along `direction` over the isotropic one (∞ if 0)."""
        top, bottom = (_index(one, response, length) for one in (direction, "isotropic"))
        return self.moments.ratio(top, bottom)

    def dabi_interval(
        self, direction: str, response: str, length: int = 0, failure_probability: float = 1e-9
    ) -> Interval:
        """Of flips the ratio of two Clopper–Pearson intervals: without isotropic flips a lower end.

        Of the others Student's, unless the isotropic response may be 0: then a lower end too.
        """
        top, bottom = (self.response(one, response, length) for one in (direction, "isotropic"))
        ends = proportion_interval if response == "flips" else Estimate.interval
        high, low = (ends(one, failure_probability / 2) for one in (top, bottom))
        if response != "flips" and low.lower > 0:
            return self.dabi(direction, response, length).interval(failure_probability)
        if not low.upper > 0:
            return Interval(-math.inf, math.inf)
        lower = high.lower / low.upper if high.lower > 0 else -math.inf
        upper = high.upper / low.lower if low.lower > 0 else math.inf
        return Interval(float(max(lower, 0.0)) if response == "flips" else float(lower), upper)


def _index(direction: str, response: str, length: int) -> tuple[int, int, int]:
    for name, known in ((direction, DIRECTIONS), (response, RESPONSES)):
        if name not in known:
            raise ValueError(f"expected one of {', '.join(known)}, got {name!r}")
    return DIRECTIONS.index(direction), length, RESPONSES.index(response)


def sensitivity(
    key: PRNGKeyArray,
    mixture: Mixture,
    diagram: PowerDiagram,
    scale: float,
    lengths: Sequence[float] | None = None,
    *,
    samples: int,
    decoders: Sequence[Decoder] | None = None,
    score: bool = True,
    latents: Rows | None = None,
) -> list[Sensitivity]:
    """How each decoder responds to steps from Z along DIRECTIONS, all on the same latents.

    `normal` crosses the nearest facet; `singular` is the top right singular vector of the
    decoder's Jacobian at Z, with the sign that goes towards that facet; `residual` is r/‖r‖ with
    the sign it has, `oriented` the same with the sign towards the facet; `isotropic` is uniform.

    Args:
        key: PRNG key.
        mixture: the law of Z.
        diagram: the readout, whose facets are meant.
        scale: s of the residual.
        lengths: of the steps, in units of the latents; None: one step, as long as each ‖r‖.
        samples: number of latents.
        decoders: maps of rows to outputs, `logits` of the readout if None. Outputs are taken as
            logits by flips and cross-entropy; a shift common to all logits counts in `output`.
        score: False for X − Z in place of r.
        latents: Z, shape (samples, n), independent of each other; drawn from `mixture` if None.

    Raises:
        ValueError: as `steps`, or on lengths that are none or not positive and finite.
    """
    fixed = None if lengths is None else [float(length) for length in lengths]
    if fixed is not None and not (fixed and all(0 < x < math.inf for x in fixed)):
        raise ValueError(f"lengths must be positive and finite, at least one, got {lengths}")
    decoders = (logits(diagram),) if decoders is None else decoders
    found = [Sensitivity(1 if fixed is None else len(fixed)) for _ in decoders]
    for step in steps(key, mixture, diagram, scale, samples=samples, score=score, latents=latents):
        noise = normal(step.key, step.clean.shape, step.clean.dtype.name, samples=0)
        length = _lengths(step.residual, fixed)
        for one, decoder in zip(found, decoders, strict=True):
            singular = singular_directions(decoder, step.clean)
            ways = directions(step.towards, singular, step.residual, noise)
            one.moments.add(np.asarray(respond(decoder, step.clean, ways, length))[: step.live])
    return found


def _lengths(residual: Rows, fixed: list[float] | None) -> Float[Array, "rows lengths"]:
    if fixed is None:
        return jnp.linalg.norm(residual, axis=1)[:, None]
    return jnp.broadcast_to(jnp.array(fixed, residual.dtype), (len(residual), len(fixed)))


@jax.jit
def directions(
    towards: Rows, singular: Rows, residual: Rows, noise: Rows
) -> Float[Array, "directions rows n"]:
    """Unit vectors along DIRECTIONS; a residual of length 0 has none, and stays 0."""

    def oriented(rows: Rows) -> Rows:
        return jnp.where(jnp.sum(rows * towards, axis=1, keepdims=True) < 0, -rows, rows)

    along = unit_rows(residual)
    ways = (towards, oriented(singular), along, oriented(along), unit_rows(noise))
    return jnp.stack(ways)


def singular_directions(decoder: Decoder, x: Rows) -> Rows:
    """The top right singular vector of the decoder's Jacobian at every row; its sign is arbitrary.

    Where the largest singular value is not simple (a simplicial readout) it is one of many. Of a
    decoder that is not linear by `theory.singular`, without the Jacobian.
    """
    if isinstance(decoder, LinearDecoder):
        top = np.linalg.svd(np.asarray(decoder.matrix), full_matrices=False)[2][0]
        return jnp.broadcast_to(jnp.asarray(top), x.shape)
    start = jax.random.key(0)  # of an iteration; not of the measurement
    found = singular.singular_directions(start, OfRows(decoder), x, tolerance=CLOSE)
    return jnp.asarray(found.vectors[:, 0])


@eqx.filter_jit
def respond(
    decoder: Decoder,
    clean: Rows,
    ways: Float[Array, "directions rows n"],
    lengths: Float[Array, "rows lengths"],
) -> Float[Array, "rows directions lengths responses"]:
    """Flip (0 or 1), ‖D(z + p) − D(z)‖ and rise of −log softmax(D)[clean token], p = length·way."""
    before = decoder(clean)
    label = jnp.argmax(before, axis=1)

    def entropy(outputs: Array) -> Array:
        own = jnp.take_along_axis(outputs, label[:, None], axis=1)[:, 0]
        return jax.nn.logsumexp(outputs, axis=1) - own

    def one(way: Rows, length: Float[Array, " rows"]) -> Array:
        after = decoder(clean + length[:, None] * way)
        flips = (jnp.argmax(after, axis=1) != label).astype(after.dtype)
        moved = jnp.linalg.norm(after - before, axis=1)
        return jnp.stack([flips, moved, entropy(after) - entropy(before)])

    found = lax.map(lambda way: lax.map(partial(one, way), lengths.T), ways)
    return jnp.transpose(found, (3, 0, 1, 2))
