"""Categorical commitment: sampled tokens committed round by round, by order and number of rounds.

Bisection makes L tokens of a first-order language in ⌈log₂(L+1)⌉ rounds exactly, left to right in
L; random and confidence orders in K < L rounds do not, nor does bisection of a second-order
language, whose neighbours are not independent given one token between them.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from theory.commitment import (
    bisection,
    commit,
    commit_by_confidence,
    left_to_right,
    random_order,
)

from experiments.generation import (
    LANGUAGES,
    ORDERS,
    language_of,
    parsed,
    said,
    sequences_of,
    truths,
)

MANY = 2_097_152  # tokens of an exact order at effort 1
EXACT = ("bisection", "left to right")
INEXACT = ("random", "confidence")


@dataclass(frozen=True)
class Grid:
    """Languages, lengths, orders, rounds."""

    languages: tuple[str, ...] = field(
        default=("markov 64 0.05 16 random", "markov 16 0.2 16 random", "pairs 8 0.2 8 random"),
        metadata={"help": LANGUAGES},
    )
    lengths: tuple[int, ...] = field(default=(32,), metadata={"help": "L"})
    orders: tuple[str, ...] = field(
        default=EXACT,
        metadata={"help": "orders with rounds of their own: bisection, left to right"},
    )
    rounds: tuple[int, ...] = field(
        default=(1, 2, 4, 6, 8, 16), metadata={"help": "K of random and confidence orders"}
    )
    draws: int = field(default=2, metadata={"help": "draws of the chain"})
    effort: float = field(default=1.0, metadata={"help": "factor on numbers of samples"})

    def __post_init__(self) -> None:
        """ValueError on an unknown name or a number out of range."""
        for words in self.languages:
            parsed(words)
        for order in self.orders:
            if order not in EXACT:
                raise ValueError(f"orders are any of {', '.join(EXACT)}, got {order!r}")
        if not all(2 <= length <= 4096 for length in self.lengths):
            raise ValueError(f"lengths are from 2 to 4096, got {self.lengths}")
        if not all(1 <= k <= min(self.lengths) for k in self.rounds):
            raise ValueError(f"rounds are from 1 to the least L, got {self.rounds}")
        if not 1 <= self.draws <= 1000:
            raise ValueError(f"draws are from 1 to 1000, got {self.draws}")
        if not 0 < self.effort < math.inf:
            raise ValueError(f"effort must be positive and finite, got {self.effort}")


PRESETS = {
    "quick": Grid(("markov 16 0.2 8 random",), (16,), ("bisection",), (4,), 1, 0.01),
    "default": Grid(
        ("markov 64 0.05 16 random", "pairs 8 0.2 8 random"),
        (32,),
        rounds=(1, 6),
        draws=1,
        effort=0.05,
    ),
    "paper": Grid(),
}


@dataclass(frozen=True)
class Cell:
    """One order of one language; `steps` is the number of rounds."""

    language: str
    length: int
    order: str
    steps: int
    draw: int
    effort: float


def cells(grid: Grid) -> list[Cell]:
    """Every language and length by every order, and random and confidence ones in every K."""
    own = {"bisection": lambda length: len(bisection(length)), "left to right": lambda n: n}
    ways: list[tuple[str, int | None]] = [(name, None) for name in grid.orders]
    ways += [(name, k) for name in INEXACT for k in grid.rounds]
    return [
        Cell(language, length, name, own[name](length) if k is None else k, draw, grid.effort)
        for language in grid.languages
        for length in grid.lengths
        for name, k in ways
        for draw in range(grid.draws)
    ]


def cost(cell: Cell) -> float:
    """Rough seconds on one core, to start the longest cells first."""
    kind, vocabulary, *_ = parsed(cell.language)
    states = vocabulary ** ORDERS[kind]
    tokens = cell.length * _sequences(cell)
    return 2 + cell.steps * tokens * (4 * states**2 + 200 * states) / 1.5e10


def measure(cell: Cell, key: Any) -> dict[str, Any]:
    """One row: what the order says, beside the language itself."""
    language = language_of(cell.language, cell.draw)
    order_key, own = jax.random.split(key)
    count = _sequences(cell)
    if cell.order == "confidence":
        made = commit_by_confidence(own, language, cell.steps, sequences=count, length=cell.length)
    else:
        orders = {
            "bisection": lambda: bisection(cell.length),
            "left to right": lambda: left_to_right(cell.length),
            "random": lambda: random_order(order_key, cell.length, cell.steps),
        }
        made = commit(own, language, orders[cell.order](), sequences=count)
    tokens = np.asarray(made)
    latents = np.asarray(language.embeddings, np.float32)[tokens]
    row = truths(language, cell.length) | said(language, latents, tokens)
    if language.order == 1:
        found = language.states.transition_perplexity(tokens)
        row |= {
            "transition": found,
            "transition_over_truth": found.scaled(1 / row["truth_transition"]),
        }
    return row


def _sequences(cell: Cell) -> int:
    """Orders that are exact have MANY tokens, so that little would be seen to be wrong."""
    if cell.order == "bisection" and cell.language.startswith("markov"):
        return max(64, int(MANY * cell.effort) // cell.length)
    return sequences_of(cell.length, cell.effort)
