"""`python -m benchmarks`: seconds, flops, and the share of the matrix-product rate of each kernel.

The floor of a kernel is its matrix products alone, at the rate that one large float64 product
reaches in the same run; the last column is time over floor.
"""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import runtime
from theory import perimeter
from theory.gaussian import normal
from theory.partition import PowerDiagram, simplicial_cluster
from theory.tube import sandwich

REPEATS = 7


class Kernel(NamedTuple):
    """A timed call and the flops of its matrix products."""

    name: str
    run: Callable[[], object]
    flops: float


def seconds(run: Callable[[], object]) -> list[float]:
    """Sorted times of REPEATS calls after one that compiles."""
    jax.block_until_ready(run())
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - start)
    return sorted(times)


def product_rate(size: int = 2048) -> float:
    """Flops a second of one float64 matrix product."""
    a = normal(jax.random.key(0), (size, size), "float64")
    product = jax.jit(lambda x: x @ x)
    return 2 * size**3 / statistics.median(seconds(lambda: product(a)))


def kernels() -> list[Kernel]:
    """The hot kernels at the sizes the experiments use, and a vocabulary-sized head."""
    key = jax.random.key(1)
    cluster = simplicial_cluster(256)
    points = normal(key, (65536, 255), "float64")
    rng = np.random.default_rng(0)
    vocabulary = PowerDiagram(rng.normal(size=(16384, 256)).astype(np.float32))
    latents = jnp.asarray(rng.normal(size=(512, 256)).astype(np.float32))
    pair = 2.0 * 256 * 255
    return [
        Kernel("label, M=256 n=255", lambda: cluster.label(points), 65536 * pair),
        Kernel("nearest facet, M=256 n=255", lambda: cluster.nearest_facet(points), 131072 * pair),
        Kernel(
            "nearest facet, M=16384 n=256, float32 head",
            lambda: vocabulary.nearest_facet(latents),
            3 * 512 * 2.0 * 16384 * 256,
        ),
        Kernel(
            "sandwich, M=16384 n=256, float32 head",
            lambda: sandwich(latents, vocabulary, 0.1)[1].value,
            4 * 512 * 2.0 * 16384 * 256,
        ),
        Kernel(
            "Crofton, M=256 n=255, 65536 lines",
            lambda: perimeter.crofton(key, cluster, lines=65536).value,
            131072 * pair,
        ),
        Kernel(
            "tube, M=256 n=255, 65536 points",
            lambda: perimeter.tube(key, cluster, samples=65536).value,
            131072 * pair,
        ),
        Kernel(
            "coarea, M=256 n=255, 65536 points",
            lambda: perimeter.coarea(key, cluster, samples=65536).value,
            65536 * 7 * pair,
        ),
    ]


def main() -> None:
    """Print the table."""
    runtime.configure()
    rate = product_rate()
    print(f"float64 matrix product: {rate / 1e9:.0f} Gflop/s on {jax.devices()[0]}")
    print(f"{'kernel':45} {'median s':>9} {'spread s':>9} {'Gflop':>8} {'time/floor':>11}")
    for kernel in kernels():
        times = seconds(kernel.run)
        median, spread = statistics.median(times), times[-1] - times[0]
        floor = kernel.flops / rate
        gflop = kernel.flops / 1e9
        print(f"{kernel.name:45} {median:9.3f} {spread:9.3f} {gflop:8.1f} {median / floor:11.1f}")


if __name__ == "__main__":
    main()
