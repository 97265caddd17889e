"""Denoisers D(z, α, σ) ≈ E[z_0 | z] of z = αz_0 + σε: exact, floored, guided.

All are called by `theory.sampler` on latents of shape (sequences, length, n). At α = 0 the exact
ones give the prior mean.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from theory.check import check_scale
from theory.forward_backward import evidence_of, posteriors_of
from theory.markov_chain import MarkovChain
from theory.mixture import Mixture

Latents = Float[Array, "sequences length n"]


class ChainDenoiser(eqx.Module):
    """The exact posterior mean of embedded states of a Markov chain, or that at a noise floor.

    With a floor s₀ > 0 the posterior is taken as if σ/α were at least s₀: then its Jacobian in
    z/α, the posterior covariance over s², stays below the prior's spread over s₀².

    Fields:
        chain: the law of the states.
        table: embeddings of the states, shape (S, n).
        floor: s₀ ≥ 0.
    """

    chain: MarkovChain
    table: Float[Array, "S n"]
    floor: Array

    def __init__(self, chain: MarkovChain, table: object, floor: float = 0.0) -> None:
        rows = jnp.asarray(table)
        if rows.ndim != 2 or len(rows) != chain.vocabulary:
            raise ValueError(
                f"a table of embeddings has shape ({chain.vocabulary}, n), got {rows.shape}"
            )
        if floor:
            check_scale("floor", floor)
        self.chain, self.table, self.floor = chain, rows, jnp.asarray(float(floor))

    def posterior(self, z: Latents, signal: Array, noise: Array) -> Float[Array, "_ _ S"]:
        """P(state at t | z) of every position."""
        table = self.table.astype(z.dtype)
        least = jnp.maximum(noise, signal * self.floor.astype(z.dtype))
        return posteriors_of(self.chain, evidence_of(z, table, signal, least))

    def __call__(self, z: Latents, signal: Array, noise: Array) -> Latents:
        """E[z_0 | z]."""
        law = self.posterior(z, signal, noise)
        return jnp.matmul(law, self.table.astype(z.dtype), precision="highest")


class MixtureDenoiser(eqx.Module):
    """The exact posterior mean of positions that are independent draws of a mixture.

    Fields:
        mixture: the law of every position.
    """

    mixture: Mixture

    def __call__(self, z: Latents, signal: Array, noise: Array) -> Latents:
        """E[z_0 | z]."""
        known = signal > 0
        level = jnp.where(known, signal, 1.0)
        prior = jnp.matmul(self.mixture.masses, self.mixture.means, precision="highest")
        mean = self.mixture.posterior_mean(z / level, jnp.where(known, noise / level, 1.0))
        return jnp.where(known, mean, prior.astype(z.dtype))


class GuidedDenoiser(eqx.Module):
    """D_u + w(D_c − D_u): classifier-free guidance (Ho, Salimans 2022); w = 1 is D_c.

    Fields:
        conditional: D_c.
        unconditional: D_u.
        weight: w.
    """

    conditional: eqx.Module
    unconditional: eqx.Module
    weight: Array = eqx.field(converter=jnp.asarray)

    def __call__(self, z: Latents, signal: Array, noise: Array) -> Latents:
        """D_u + w(D_c − D_u)."""
        wide = self.unconditional(z, signal, noise)  # type: ignore[operator]
        narrow = self.conditional(z, signal, noise)  # type: ignore[operator]
        return wide + self.weight.astype(z.dtype) * (narrow - wide)
