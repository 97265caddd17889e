"""Samples split over the local devices of this process.

Samples are independent of each other: a device takes its share of them, and what is exchanged is
sums, and results on their way to the host. Draws are the same numbers wherever they are made
(`jax_threefry_partitionable`, JAX's default); only the order of sums depends on how many devices
there are, that is, rounding does. With one device nothing here does anything. Among processes:
`theory.processes`.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

AXIS = "samples"


@cache
def mesh() -> Mesh:
    """The local devices in a row."""
    return Mesh(np.array(jax.local_devices()), (AXIS,))


def _devices() -> int:
    """How many to split over; one where each is at its own rows already."""
    return 1 if AXIS in jax.sharding.get_abstract_mesh().manual_axes else jax.local_device_count()


def spread(x: Array, axis: int = 0) -> Array:
    """x with `axis`, that of the samples, split over the local devices.

    x itself with one device, or fewer samples than devices. A number that the devices do not
    divide is split inside a compilation only: JAX holds arrays in equal parts.
    """
    samples, devices = x.shape[axis], _devices()
    whole = samples % devices == 0 or isinstance(x, jax.core.Tracer)
    if devices == 1 or samples < devices or not whole:
        return x
    places = PartitionSpec(*[None] * axis, AXIS)
    return lax.with_sharding_constraint(x, NamedSharding(mesh(), places))


def by_rows(kernel: Callable, *rows: Array) -> Any:
    """kernel(*rows), each device with its own rows, so that its loops wait for no other device.

    Args:
        kernel: what it makes of a row depends on that row alone, and its outputs have an entry for
            every row. A `jax.tree_util.Partial`, or another pytree, whose arrays all devices get.
        rows: of the samples, arrays of one length; copies of the last are added, where the devices
            do not divide it.
    """
    alone = _devices() == 1 or len(rows[0]) < _devices()
    return kernel(*rows) if alone else _by_rows(kernel, *rows)


@eqx.filter_jit
def _by_rows(kernel: Callable, *rows: Array) -> Any:
    arrays, fixed = eqx.partition(kernel, eqx.is_array)

    def own(arrays: Any, *rows: Array) -> Any:
        return eqx.combine(arrays, fixed)(*rows)

    split, count = PartitionSpec(AXIS), len(rows[0])
    places = (PartitionSpec(), *[split] * len(rows))
    apart = jax.shard_map(own, mesh=mesh(), in_specs=places, out_specs=split, check_vma=False)
    fill = (0, -count % jax.local_device_count())
    whole = [jnp.pad(each, [fill] + [(0, 0)] * (each.ndim - 1), mode="edge") for each in rows]
    return jax.tree.map(lambda leaf: leaf[:count], apart(arrays, *whole))
