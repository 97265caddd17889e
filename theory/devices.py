"""Samples split over the local devices of this process.

Samples are independent of each other, so that a device takes its share of them and nothing is
exchanged but sums. Draws are the same numbers wherever they are made (`jax_threefry_partitionable`,
JAX's default); only the order of sums depends on how many devices there are, that is, rounding
does. With one device nothing here does anything. Among processes: `theory.processes`.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

AXIS = "samples"


@cache
def mesh() -> Mesh:
    """The local devices in a row."""
    return Mesh(np.array(jax.local_devices()), (AXIS,))


def spread(x: Array, axis: int = 0) -> Array:
    """x with `axis`, that of the samples, split evenly over the local devices.

    x itself where there is one device, or a number of samples that the devices do not divide.
    """
    if not _divided(x.shape[axis]):
        return x
    places = PartitionSpec(*[None] * axis, AXIS)
    return lax.with_sharding_constraint(x, NamedSharding(mesh(), places))


def by_rows(kernel: Callable[[Array], Any], rows: Array) -> Any:
    """kernel(rows), each device with its own rows, so that its loops wait for no other device.

    Args:
        kernel: what it makes of a row depends on that row alone, and its outputs have an entry for
            every row. A `jax.tree_util.Partial`, or another pytree, whose arrays all devices get.
        rows: of the samples.
    """
    return _by_rows(kernel, rows) if _divided(len(rows)) else kernel(rows)


@eqx.filter_jit
def _by_rows(kernel: Callable[[Array], Any], rows: Array) -> Any:
    arrays, fixed = eqx.partition(kernel, eqx.is_array)

    def own(arrays: Any, rows: Array) -> Any:
        return eqx.combine(arrays, fixed)(rows)

    everywhere, split = PartitionSpec(), PartitionSpec(AXIS)
    apart = jax.shard_map(
        own, mesh=mesh(), in_specs=(everywhere, split), out_specs=split, check_vma=False
    )
    return apart(arrays, rows)


def _divided(samples: int) -> bool:
    devices = jax.local_device_count()
    return devices > 1 and samples > 0 and samples % devices == 0
