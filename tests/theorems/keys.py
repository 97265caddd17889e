"""The keys of the theorem files: always the same, unless `make soak` asks for others."""

import os

import jax

ROUND = int(os.environ.get("NONCOMMIT_KEYS", "0"))


def root(number: int) -> jax.Array:
    """The root key of that number; in round k > 0 of a soak one of its own."""
    key = jax.random.key(number)
    return jax.random.fold_in(key, ROUND) if ROUND else key
