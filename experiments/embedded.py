"""Embeddings, languages and their readouts by name, always the same ones."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from theory.carrier import nearest_embedding
from theory.language import EMBEDDINGS, Language
from theory.markov_chain import dirichlet_chain
from theory.mixture import Mixture
from theory.partition import PowerDiagram

CONCENTRATION = 0.05  # of the Dirichlet rows
TABLES = f"'KIND V n' ({', '.join(EMBEDDINGS)}) or 'lowrank V rank n'"
LANGUAGES = f"'KIND V n L', embeddings any of {', '.join(EMBEDDINGS)}"


def table_sizes(words: str) -> tuple[str, int, int, int]:
    """Kind, V, rank and n of embeddings, or a ValueError that says what was expected."""
    kind, *sizes = words.split() or [""]
    wanted = 3 if kind == "lowrank" else 2
    if kind not in (*EMBEDDINGS, "lowrank") or not _counts(sizes, wanted):
        raise ValueError(f"embeddings are {TABLES}, got {words!r}")
    vocabulary, *ranks = map(int, sizes)
    rank, dimension = ranks[0], ranks[-1]
    if not 2 <= vocabulary <= 4096 or not 2 <= rank <= dimension <= 4096:
        raise ValueError(f"embeddings have V, n from 2 to 4096 and 2 ≤ rank ≤ n, got {words!r}")
    if kind == "simplex" and vocabulary > dimension + 1:
        raise ValueError(f"a simplex has V ≤ n + 1, got {words!r}")
    return kind, vocabulary, rank, dimension


def language_sizes(words: str) -> tuple[str, int]:
    """The words of its embeddings and the length L of a language's sequences, or a ValueError."""
    kind, *sizes = words.split() or [""]
    if kind not in EMBEDDINGS or not _counts(sizes, 3) or not 2 <= int(sizes[-1]) <= 4096:
        raise ValueError(f"a language is {LANGUAGES} with L from 2 to 4096, got {words!r}")
    table = " ".join([kind, *sizes[:-1]])
    table_sizes(table)
    return table, int(sizes[-1])


def _counts(sizes: list[str], wanted: int) -> bool:
    return len(sizes) == wanted and all(size.isdecimal() for size in sizes)


def table(words: str) -> np.ndarray:
    """W of this name, norm √n; lowrank: random in a random subspace."""
    kind, vocabulary, rank, dimension = table_sizes(words)
    key = _key(vocabulary, rank, dimension)
    if kind != "lowrank":
        return np.asarray(EMBEDDINGS[kind](key, vocabulary, dimension))
    inner = np.asarray(EMBEDDINGS["random"](key, vocabulary, rank)) * math.sqrt(dimension / rank)
    rng = np.random.default_rng([vocabulary, rank, dimension])
    return inner @ np.linalg.qr(rng.standard_normal((dimension, rank)))[0].T


def readout(words: str) -> PowerDiagram:
    """The nearest embedding of this table."""
    return nearest_embedding(table(words))


def latents(words: str, width: float) -> Mixture:
    """Tokens equally likely, each N(W_v, width²·I)."""
    return Mixture(table(words), width)


def language(words: str) -> Language:
    """The language of this name: rows Dirichlet(CONCENTRATION), embeddings those of `table`."""
    embeddings, length = language_sizes(words)
    del length  # a language is of any length
    _, vocabulary, _, dimension = table_sizes(embeddings)
    rows = jax.random.fold_in(_key(vocabulary, 1, dimension), 1)
    return Language(dirichlet_chain(rows, vocabulary, CONCENTRATION), table(embeddings))


def _key(*sizes: int) -> Any:
    key = jax.random.key(0)
    for size in sizes:
        key = jax.random.fold_in(key, size)
    return key


def orthogonal(dimension: int) -> np.ndarray:
    """A rotation of R^n: a linear decoder that prefers no direction."""
    rng = np.random.default_rng(dimension)
    found, upper = np.linalg.qr(rng.standard_normal((dimension, dimension)))
    return np.asarray(jnp.asarray(found * np.sign(np.diag(upper))))
