"""Rare flips of a Gaussian mixture, by draws that land on the hyperplanes of the readout.

Z = a_i + τ_i u, X = Z + sξ. Given the mode i a flip takes Z or μ(X) out of the cell of a_i, so that
along some unit normal ν_j of the readout the pair (⟨ν_j, u⟩, ⟨ν_j, ξ⟩) is unusual: only these two
numbers, standard normal, are drawn from another law, a Gaussian q_ijc of the plane. A draw takes
(i, j, c) with probability π_ijc, and is weighted by the whole mixture (the balance heuristic of
Veach, Guibas 1995; as for unions of rare events in Owen, Maximov, Chertkov 2019),

    w = m_i / Σ_{j,c} π_ijc·(q_ijc/p)(⟨ν_j, u⟩, ⟨ν_j, ξ⟩),   E_q[w·1(flip)] = P(flip).

The q are in `rare_proposal`. One is the plain law, so that w ≤ 1/NOMINAL and no flip is out of
reach.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from theory.check import check_count, check_scale
from theory.estimate import Estimate
from theory.gaussian import normal
from theory.mixture import Mixture
from theory.partition import PowerDiagram
from theory.rare_proposal import Proposal, propose

CELLS, ROWS = 1 << 21, 4096  # numbers and draws held at once


class RareRate(NamedTuple):
    """A rate from weighted draws, and two numbers that tell how far its `sem` can be trusted.

    Fields:
        rate: the mean of w·1(flip).
        effective: (Σw)²/Σw² over the draws that flipped, as many draws of equal weight.
        largest: share of the largest weight in Σw.
    """

    rate: Estimate
    effective: float
    largest: float


class RareFlips(NamedTuple):
    """Flips of raw noise and of the posterior mean, on the same draws."""

    raw: RareRate
    mean: RareRate


def rare_flips(
    key: PRNGKeyArray, mixture: Mixture, diagram: PowerDiagram, scale: float, *, samples: int
) -> RareFlips:
    """P(y(X) ≠ y(Z)) and P(y(μ(X)) ≠ y(Z)), X = Z + sξ, with a small relative error at any rate.

    Unbiased, with bounded weights; memory is bounded over samples.

    Args:
        key: PRNG key.
        mixture: the law of Z, whose widths are positive.
        diagram: the readout.
        scale: s > 0, in units of the latents.
        samples: draws, at least 2.

    Raises:
        ValueError: on s ≤ 0, samples < 2, an atom, dimensions that differ, more than 65536 pairs
            of a mode and a class, flips too rare for a floating-point number, or no flip drawn.
    """
    check_scale("scale", scale)
    check_count("samples", samples, 2)
    proposal = propose(mixture, diagram, float(scale))
    rows = min(ROWS, max(16, CELLS // proposal.shape[0, ..., 0].size))
    total, square, largest = np.zeros((3, 2))
    for number, first in enumerate(range(0, samples, rows)):
        part = jax.random.fold_in(key, number)
        weighted = weighted_flips(part, proposal, mixture, diagram, float(scale), rows)
        live = np.asarray(weighted, np.float64)[: samples - first]
        total, square = total + live.sum(axis=0), square + (live**2).sum(axis=0)
        largest = np.maximum(largest, live.max(axis=0))
    rates = (_rate(total[k], square[k], largest[k], samples) for k in range(2))
    return RareFlips(*rates)


@partial(jax.jit, static_argnames="rows")
def weighted_flips(
    key: PRNGKeyArray,
    proposal: Proposal,
    mixture: Mixture,
    diagram: PowerDiagram,
    scale: float | Float[Array, ""],
    rows: int,
) -> Float[Array, "rows 2"]:
    """w·1(flip) of independent draws, for raw noise and for the posterior mean."""
    mode, u, xi = _drawn(key, proposal, mixture, diagram, rows)
    width, at_mean = mixture.widths[mode][:, None], proposal.scores[mode]
    latent, noise = (jnp.matmul(x, diagram.sites.T, precision="highest") for x in (u, xi))
    clean = at_mean + width * latent
    x = mixture.means[mode] + width * u + scale * xi
    denoised = diagram.scores(mixture.posterior_mean(x, scale))
    seen = [jnp.argmax(scores, axis=1) for scores in (clean + scale * noise, denoised)]
    flipped = jnp.stack(seen, axis=1) != jnp.argmax(clean, axis=1)[:, None]
    weight = _weights(proposal, mixture.masses, mode, latent, noise)
    return jnp.where(flipped, weight[:, None], 0.0)


def _drawn(
    key: PRNGKeyArray, proposal: Proposal, mixture: Mixture, diagram: PowerDiagram, rows: int
) -> tuple[Int[Array, " rows"], Float[Array, "rows n"], Float[Array, "rows n"]]:
    """The mode, u and ξ; their parts along ν_j are moved from the plain law to q_ijc."""
    pick_key, normal_key = jax.random.split(key)
    dtype = mixture.means.dtype
    place = jax.random.uniform(pick_key, (rows,), dtype)
    entry = jnp.searchsorted(proposal.cumulative, place, side="right")
    mode, target, component = jnp.unravel_index(entry, proposal.chance.shape)
    away = diagram.sites[target] - diagram.sites[proposal.own[mode]]
    along = away / proposal.apart[mode, target][:, None]
    u, xi = normal(normal_key, (2, rows, mixture.dimension), dtype.name, samples=1)
    g, h = jnp.sum(u * along, axis=1), jnp.sum(xi * along, axis=1)
    mean_u, mean_xi, l11, l21, l22 = proposal.shape[mode, target, component].T
    u = u + (mean_u + l11 * g - g)[:, None] * along
    xi = xi + (mean_xi + l21 * g + l22 * h - h)[:, None] * along
    return mode, u, xi


def _weights(
    proposal: Proposal,
    masses: Float[Array, " modes"],
    mode: Int[Array, " rows"],
    latent: Float[Array, "rows classes"],
    noise: Float[Array, "rows classes"],
) -> Float[Array, " rows"]:
    """m_i / Σ_jc π_ijc q_ijc/p, from ⟨w_j, u⟩ and ⟨w_j, ξ⟩."""
    own, apart = proposal.own[mode][:, None], proposal.apart[mode]
    u, xi = (
        ((side - jnp.take_along_axis(side, own, axis=1)) / apart)[..., None]
        for side in (latent, noise)
    )
    mean_u, mean_xi, l11, l21, l22 = jnp.moveaxis(proposal.shape[mode], -1, 0)
    first = (u - mean_u) / l11
    second = (xi - mean_xi - l21 * first) / l22
    ratio = (u**2 + xi**2 - first**2 - second**2) / 2 - jnp.log(l11 * l22)
    return masses[mode] * jnp.exp(-logsumexp(jnp.log(proposal.chance[mode]) + ratio, axis=(1, 2)))


def _rate(total: float, square: float, largest: float, samples: int) -> RareRate:
    if not total > 0:
        raise ValueError(f"no flip in {samples} draws: there is none, or more samples are needed")
    value = float(total) / samples
    spread = max(square / samples - value**2, 0.0) / (samples - 1)
    rate = Estimate(value, math.sqrt(spread), 0.0, samples)
    return RareRate(rate, float(total**2 / square), float(largest / total))
