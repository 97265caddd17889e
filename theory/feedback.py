"""The commit ablation: what generation loses when softmax averages are fed back, not tokens.

Sequences are made in rounds, as in `theory.commitment`. A position whose round has come carries on
a latent

    z_t = (1 − λ)·W_y + λ·Σ_v P(v | …)W_v,   y ~ P(· | …),

its law given the latents carried so far: λ = 0 feeds back the embedding of a sampled token (hard),
λ = 1 the posterior mean (soft), which draws nothing. Later rounds read carried latents as if they
were W_v + ωξ. At z = W_y the odds of another token v are then P(v)/P(y)·e^{−‖W_v − W_y‖²/2ω²}, so
hard feedback is exact up to e^{−d²/2ω²}, d the least distance of embeddings.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from theory.check import check_count, check_scale
from theory.commitment import CELLS, Order, masks
from theory.devices import spread
from theory.estimate import Estimate
from theory.forward_backward import evidence_of, posteriors_of
from theory.language import Language
from theory.markov_chain import Tokens
from theory.ngram import unigram_entropy

READ = 0.25  # ω: with W of norm √n the other tokens of 64 in R^16 have e^{−60} of the odds or less
LEAST = 1e-6  # what a conditional chance counts as at least in a perplexity
Latents = Float[Array, "sequences length n"]


class Quality(NamedTuple):
    """Perplexity by the language, chances counted from LEAST up, and entropy of single tokens.

    Both to be compared with the language's own: below it either is an error too.
    """

    perplexity: Estimate
    entropy: Estimate


def quality(language: Language, tokens: Tokens) -> Quality:
    """Perplexity and unigram entropy of generated tokens.

    Raises:
        ValueError: on tokens of another shape or vocabulary, or fewer than two sequences.
    """
    found = np.asarray(tokens)
    return Quality(language.perplexity(found, LEAST), unigram_entropy(found, language.vocabulary))


def feed_back(
    key: PRNGKeyArray,
    language: Language,
    order: Order,
    *,
    sequences: int,
    softness: float = 0.0,
    read: float = READ,
    prompt: int = 0,
) -> Latents:
    """Carried latents of sequences made in the rounds of `order`; `language.read` says the tokens.

    Without a prompt soft feedback draws nothing, and all sequences are the same.

    Args:
        key: PRNG key.
        language: of either order.
        order: the positions of every round.
        sequences: how many, independent given the prompt.
        softness: λ in [0, 1].
        read: ω > 0, in units of the embeddings.
        prompt: so many rounds at the start are hard whatever λ is.

    Raises:
        ValueError: on an order without every position once, numbers out of range, or latents
            after which the chain says nothing (in the range of float64).
    """
    check_count("sequences", sequences, 1)
    check_count("prompt", prompt, 0)
    check_scale("read", read)
    if not 0 <= softness <= 1:
        raise ValueError(f"softness lies in [0, 1], got {softness}")
    rounds = masks(order)
    length = rounds.shape[1]
    soft = np.where(np.arange(len(rounds)) < prompt, 0.0, softness)
    size = min(sequences, max(1, CELLS // (length * language.states.vocabulary)))
    made = []
    for part, first in enumerate(range(0, sequences, size)):
        z = spread(jnp.zeros((size, length, language.dimension), language.embeddings.dtype))
        own, known = jax.random.fold_in(key, part), jnp.zeros(length, bool)
        for number, (now, weight) in enumerate(zip(rounds, soft, strict=True)):
            z = _round(jax.random.fold_in(own, number), language, z, known, now, weight, read)
            known = known | now
        if not np.isfinite(z).all():
            raise ValueError("no sequence of the chain is near these latents: raise `read`")
        made.append(z[: sequences - first])
    return jnp.concatenate(made)


@jax.jit
def _round(
    key: PRNGKeyArray,
    language: Language,
    z: Latents,
    known: Array,
    now: Array,
    soft: Array,
    read: Array,
) -> Latents:
    table = language.embeddings
    evidence = jnp.where(known[:, None], evidence_of(z, table, 1.0, read), 0.0)
    law = language.token_law(posteriors_of(language.states, evidence[..., language.said]))
    drawn = table[jax.random.categorical(key, jnp.log(law), axis=-1)]
    mean = jnp.matmul(law, table, precision="highest")
    return jnp.where(now[:, None], (1 - soft) * drawn + soft * mean, z)
