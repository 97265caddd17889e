"""Decoders that read what they wrote: one interface, and generation with tokens or averages.

A generation step reads the token y(z) off a latent z and feeds back its row E_y of the model's
input table (hard), or the average Σ_v softmax(scores)_v E_v (soft); λ mixes the two:

    fed = (1 − λ)·E_{y(z)} + λ·Σ_v softmax(⟨w_v, z⟩ + b_v)·E_v.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from theory.check import check_count
from theory.partition import PowerDiagram

Rows = Float[Array, "rows n"]
Context = Any  # a pytree whose leaves' first axis is rows


@runtime_checkable
class Autoregressive(Protocol):
    """What the commit ablation asks of a decoder; it must be a pytree (an equinox module)."""

    @property
    def table(self) -> Float[Array, "V e"]:
        """E: what is fed back for every token, in the readout's order of classes."""

    def head(self) -> PowerDiagram:
        """The readout: sites w_v in R^n, offsets b_v."""

    def advance(
        self, context: Context, z: Rows, fed: Float[Array, "rows e"]
    ) -> tuple[Context, Rows]:
        """The context and the latent after `fed` was read; pure, jittable, all rows at once."""


class Generated(NamedTuple):
    """Fields: tokens and the latents they were read from, step by step; the context at the end."""

    tokens: Int[Array, "rows steps"]
    latents: Float[Array, "rows steps n"]
    context: Context


def fed_back(
    model: Autoregressive, diagram: PowerDiagram, z: Rows, softness: Array | float
) -> tuple[Int[Array, " rows"], Float[Array, "rows e"]]:
    """The token of every latent, and what is fed back for it."""
    scores = jnp.matmul(z, diagram.sites.T, precision="highest") + diagram.offsets
    token = jnp.argmax(scores, axis=1)
    mean = jnp.matmul(jax.nn.softmax(scores, axis=1), model.table, precision="highest")
    return token, (1 - softness) * model.table[token] + softness * mean


def generate(
    model: Autoregressive, context: Context, z: Rows, steps: int, softness: float = 0.0
) -> Generated:
    """`steps` tokens from each latent on: greedy at λ = 0, averages fed back at λ = 1.

    Raises:
        ValueError: when steps < 1 or λ is outside [0, 1].
    """
    check_count("steps", steps, 1)
    if not 0 <= softness <= 1:
        raise ValueError(f"softness lies in [0, 1], got {softness}")
    mixed = jnp.asarray(softness, model.table.dtype)  # so that every λ runs the same code
    return _generate(model, model.head(), context, z, steps, mixed)


@eqx.filter_jit
def _generate(
    model: Autoregressive,
    diagram: PowerDiagram,
    context: Context,
    z: Rows,
    steps: int,
    softness: Float[Array, ""],
) -> Generated:
    def step(carry: tuple[Context, Rows], _: None) -> tuple[Any, Any]:
        context, z = carry
        token, fed = fed_back(model, diagram, z, softness)
        return model.advance(context, z, fed), (token, z)

    (context, _), (tokens, latents) = jax.lax.scan(step, (context, z), length=steps)
    return Generated(jnp.swapaxes(tokens, 0, 1), jnp.swapaxes(latents, 0, 1), context)
