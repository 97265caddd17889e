"""One estimate from many processes, which may be on many hosts (`jax.distributed`)."""

from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import PRNGKeyArray

from theory.check import check_count
from theory.estimate import FIELDS, Estimate, pool


def shared(
    key: PRNGKeyArray, measure: Callable[[PRNGKeyArray], Estimate], *, shares: int
) -> Estimate:
    """`theory.estimate.pool` of measure(key folded with k) for k < shares, in every process.

    Process p of P measures the shares p, p + P, …, each over its local devices. The estimate
    depends on the number of shares and not on that of processes; without `jax.distributed` there
    is one.

    Args:
        key: PRNG key, the same in all processes.
        measure: the estimate of one share, of one shape for all of them.
        shares: how many, a multiple of the number of processes.

    Raises:
        ValueError: when shares is not a positive multiple of the number of processes, or as `pool`.
    """
    check_count("shares", shares, 1)
    processes = jax.process_count()
    if shares % processes:
        raise ValueError(f"{shares} shares cannot be split evenly among {processes} processes")
    own = range(jax.process_index(), shares, processes)
    found = [measure(jax.random.fold_in(key, share)) for share in own]
    return pool(found if processes == 1 else _gathered(found))


def _gathered(found: list[Estimate]) -> list[Estimate]:
    """The shares of all processes in order; sent as bits, since JAX may hold no float64."""
    shape = np.shape(found[0].value)
    own = np.array([[np.broadcast_to(getattr(e, f), shape) for e in found] for f in FIELDS], float)
    words = np.frombuffer(own.tobytes(), np.uint32)
    everyone = np.asarray(multihost_utils.process_allgather(words))
    table = np.frombuffer(everyone.tobytes()).reshape(-1, *own.shape)
    shares = np.moveaxis(table, 0, 2).reshape(len(FIELDS), -1, *shape)
    return [Estimate(*fields) for fields in np.moveaxis(shares, 0, 1)]
