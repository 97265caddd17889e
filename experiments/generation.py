"""One generation of sequences by name: a language, a sampler, and everything said of what came out.

Tokens are read as the nearest embedding of z_0 ("argmax"), or drawn position by position from the
exact posterior at the last look ("sampled"). A guided generation is of the first of two languages,
D_u the exact denoiser of their even mixture.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import block_diag
from theory.denoiser import ChainDenoiser, GuidedDenoiser
from theory.feedback import LEAST
from theory.fidelity import frechet
from theory.language import EMBEDDINGS, Language, dirichlet_pairs
from theory.markov_chain import MarkovChain, dirichlet_chain, stationary
from theory.ngram import bigram_distance, unigram_entropy
from theory.sampler import SAMPLERS, Denoiser, Step, check_grid, generate, plan, times
from theory.terminal import RECTIFIED_FLOW, VARIANCE_PRESERVING

from experiments import runtime

TOKENS = 32_768  # generated at effort 1
ORDERS = {"markov": 1, "pairs": 2, "floored": 1}
FLOOR = 1e-6  # of the chances of a floored chain
SCHEDULES = {"flow": RECTIFIED_FLOW, "preserving": VARIANCE_PRESERVING}
ENDINGS = ("argmax", "sampled")
WAYS = "sampler, schedule, grid and ending, as 'churn 0.5, flow, uniform, argmax'"
LANGUAGES = (
    "'markov V c n', 'floored V c n' (chances 1e-6 at least) or 'pairs V c n', rows Dirichlet(c), "
    "and random, simplex or clustered"
)


@dataclass(frozen=True)
class Generation:
    """Which language, how long, and how it is sampled."""

    language: str
    length: int
    sampler: str
    churn: float
    schedule: str
    grid: str
    ending: str
    guidance: float
    floor: float
    steps: int
    draw: int
    effort: float


def parsed(words: str) -> tuple[str, int, float, int, str]:
    """Kind, V, c, n and embedding of a language, or a ValueError that says what was expected."""
    parts = words.split()
    try:
        kind, vocabulary, concentration, dimension, embedding = parts
        found = kind, int(vocabulary), float(concentration), int(dimension), embedding
    except ValueError:
        raise ValueError(f"a language is {LANGUAGES}, got {words!r}") from None
    if kind not in ORDERS or embedding not in EMBEDDINGS:
        raise ValueError(f"a language is {LANGUAGES}, got {words!r}")
    if kind == "floored" and embedding != "random":
        raise ValueError(f"floored languages have random embeddings, got {words!r}")
    states = found[1] ** ORDERS[kind]
    if not (2 <= states <= 1024 and 0 < found[2] < math.inf and 1 <= found[3] <= 1024):
        raise ValueError(
            f"a language has 2 to 1024 states, c > 0 and n from 1 to 1024, got {words!r}"
        )
    return found


def sampler_of(words: str) -> tuple[str, float]:
    """A sampler and its churn: 'exact', 'churn 0.5'."""
    name, *churn = words.split() or [""]
    try:
        gamma = float(churn[0]) if churn else 0.0
    except ValueError:
        gamma = math.nan
    if name not in SAMPLERS or len(churn) != (name == "churn") or not 0 <= gamma < math.inf:
        raise ValueError(f"a sampler is one of {', '.join(SAMPLERS)} γ, got {words!r}")
    return name, gamma


def way_of(words: str) -> dict[str, Any]:
    """The fields of a generation that a way to sample names, or a ValueError."""
    parts = [part.strip() for part in words.split(",")]
    if len(parts) != 4:
        raise ValueError(f"expected {WAYS}, got {words!r}")
    sampler, churn = sampler_of(parts[0])
    named = dict(zip(("schedule", "grid", "ending"), parts[1:], strict=True))
    return {"sampler": sampler, "churn": churn, **named}


def check(cell: Generation) -> None:
    """ValueError on a name or number that is not known."""
    parsed(cell.language)
    check_grid(cell.grid, cell.steps)
    for name, given, known in (
        ("schedule", cell.schedule, SCHEDULES),
        ("ending", cell.ending, ENDINGS),
    ):
        if given not in known:
            raise ValueError(f"{name} is one of {', '.join(known)}, got {given!r}")
    if not (1 <= cell.steps <= 4096 and 2 <= cell.length <= 4096):
        raise ValueError(
            f"steps are from 1 to 4096, L from 2 to 4096, got {cell.steps}, {cell.length}"
        )
    if not (0 <= cell.guidance < math.inf and 0 <= cell.floor < math.inf):
        raise ValueError(f"w ≥ 0 and s₀ ≥ 0, got {cell.guidance} and {cell.floor}")
    if not 0 < cell.effort < math.inf:
        raise ValueError(f"effort must be positive and finite, got {cell.effort}")
    if cell.ending == "sampled" and (cell.guidance or ORDERS[cell.language.split()[0]] > 1):
        raise ValueError("tokens are sampled of first-order languages without guidance")


def language_of(words: str, draw: int, part: int = 0) -> Language:
    """The language of a name: its chain depends on V, c and the draw, its embeddings on V and n."""
    kind, vocabulary, concentration, dimension, embedding = parsed(words)
    if kind == "floored":
        return _floored(np.random.default_rng([draw, part] if part else draw), *parsed(words)[1:4])
    chain_key = runtime.cell_key({"chain": [kind, vocabulary, concentration, part]}, draw)
    table_key = runtime.cell_key({"table": [embedding, vocabulary, dimension]}, draw)
    make = dirichlet_chain if ORDERS[kind] == 1 else dirichlet_pairs
    chain = make(chain_key, vocabulary, concentration)
    table = EMBEDDINGS[embedding](table_key, vocabulary, dimension)
    return Language(chain, table, ORDERS[kind])


def _floored(rng: np.random.Generator, vocabulary: int, c: float, dimension: int) -> Language:
    """Rows, then embeddings of norm √n, from one generator; no chance is below FLOOR.

    A sampler that says what a chain next to never says is judged by how little that is. With the
    floor in the chain the denoiser knows of it too: at V = 64, c = 0.05, n = 16 draw 0 is the
    language that the row compared with in `few_step` was once measured on.
    """
    rows = np.maximum(rng.dirichlet(np.full(vocabulary, c), size=vocabulary), FLOOR)
    rows = rows / rows.sum(axis=1, keepdims=True)
    table = rng.normal(size=(vocabulary, dimension))
    table *= math.sqrt(dimension) / np.linalg.norm(table, axis=1, keepdims=True)
    return Language(MarkovChain(stationary(rows), rows), table)


def denoiser_of(cell: Generation, language: Language) -> Denoiser:
    """The exact denoiser, at a floor, or guided away from the mixture with a second language."""
    own = language.denoiser(cell.floor)
    if not cell.guidance:
        return own
    other = language_of(cell.language, cell.draw, part=1).states
    pair = MarkovChain(
        np.concatenate([language.states.initial, other.initial]) / 2,
        block_diag(np.asarray(language.states.transition), np.asarray(other.transition)),
    )
    table = jnp.concatenate([own.table, own.table])
    return GuidedDenoiser(own, ChainDenoiser(pair, table, cell.floor), jnp.asarray(cell.guidance))


def generated(cell: Generation, key: Any) -> dict[str, Any]:
    """What comes out, beside the language itself."""
    language = language_of(cell.language, cell.draw)
    steps = plan(cell.sampler, SCHEDULES[cell.schedule], times(cell.grid, cell.steps), cell.churn)
    latents, tokens = _made(key, cell, language, steps)
    looks = len(steps) + sum(step.corrected is not None for step in steps)
    return {
        "evaluations": looks,
        **truths(language, cell.length),
        **said(language, latents, tokens),
    }


def truths(language: Language, length: int) -> dict[str, float]:
    """Perplexity of sequences and transitions, and the entropy of a token, of the language."""
    law = language.unigram()
    seen = law[law > 0]
    return {
        "truth": language.truth(length),
        "truth_transition": math.exp(language.rate()),
        "entropy_truth": float(-(seen * np.log(seen)).sum()),
    }


def said(language: Language, latents: np.ndarray, tokens: np.ndarray) -> dict[str, Any]:
    """Estimates of perplexity (over the truth too), entropy, bigram and Fréchet distances."""
    found = language.perplexity(tokens, LEAST)
    return {
        "perplexity": found,
        "perplexity_exact": language.perplexity(tokens),
        "over_truth": found.scaled(1 / language.truth(tokens.shape[1])),
        "entropy": unigram_entropy(tokens, language.vocabulary),
        "bigram": bigram_distance(tokens, language.bigram()),
        "frechet": frechet(latents, language),
    }


def sequences_of(length: int, effort: float) -> int:
    """Independent sequences that make TOKENS of them, 64 at least."""
    return max(64, int(TOKENS * effort) // length)


def _made(
    key: Any, cell: Generation, language: Language, steps: list[Step]
) -> tuple[np.ndarray, np.ndarray]:
    """Latents z_0 and tokens; with sampled ones, the embeddings of those."""
    denoiser = denoiser_of(cell, language)
    drawn = cell.ending == "sampled"
    shape = (sequences_of(cell.length, cell.effort), cell.length, language.dimension)
    width = language.states.vocabulary * (3 if cell.guidance else 1)
    own, token_key = jax.random.split(key)
    made = generate(own, denoiser, steps[:-1] if drawn else steps, shape, width=width)
    latents, tokens = [], []
    for number, z in enumerate(made):
        if drawn:
            law = language.denoiser(cell.floor).posterior(
                z, jnp.asarray(steps[-1].signal, z.dtype), jnp.asarray(steps[-1].noise, z.dtype)
            )
            token = draw_classes(jax.random.fold_in(token_key, number), law)
            z = jnp.take(language.embeddings, token, axis=0)
        else:
            token = language.read(z)
        latents.append(np.asarray(z, np.float32))
        tokens.append(np.asarray(token))
    return np.concatenate(latents), np.concatenate(tokens)


@jax.jit
def draw_classes(key: Any, law: jax.Array) -> jax.Array:
    """A class from each law, of shape (…, classes)."""
    return jax.random.categorical(key, jnp.log(law), axis=-1)


def work(cell: Generation) -> float:
    """Rough seconds on one core of NFE looks at all tokens."""
    kind, vocabulary, _, dimension, _ = parsed(cell.language)
    states = vocabulary ** ORDERS[kind] * (3 if cell.guidance else 1)
    each = 4 * states**2 + 4 * states * dimension + 200 * states
    looks = cell.steps * (2 if cell.sampler == "heun" else 1)
    return 2 + looks * cell.length * sequences_of(cell.length, cell.effort) * each / 3e10
