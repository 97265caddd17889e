"""`python -m benchmarks.operator_norm`: ‖DT‖_op by `operator_norms` against dense Jacobians.

T is a network 256 → 256 of two layers with random weights, at 1024 points. Dense: `jax.jacrev` of
every point, then singular values or, cheaper and good enough for the largest, the eigenvalues of
the Gram matrix; its cost is in proportion to the points, so it is timed on a share of them.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments import runtime
from theory.gaussian import normal
from theory.stiffness import KRYLOV, operator_norms

SIZE, POINTS, SHARE = 256, 1024, 16
REPEATS, DENSE_REPEATS = 9, 3
TOLERANCE = 1e-3


class Network(eqx.Module):
    """x ↦ B tanh(Ax + a)."""

    first: Float[Array, "width n"]
    shift: Float[Array, " width"]
    last: Float[Array, "d width"]

    def __call__(self, x: Float[Array, " n"]) -> Float[Array, " d"]:
        """T(x)."""
        return self.last @ jnp.tanh(self.first @ x + self.shift)


def median(run: Callable[[], object], repeats: int) -> float:
    """Median seconds of a call, after one that compiles."""
    jax.block_until_ready(run())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def product_rate(dtype: str, size: int = 2048) -> float:
    """Flops a second of one matrix product."""
    a = normal(jax.random.key(0), (size, size), dtype)
    product = jax.jit(lambda x: x @ x)
    return 2 * size**3 / median(lambda: product(a), REPEATS)


def random_network(dtype: str) -> Network:
    """Weights N(0, 1/256)."""
    keys = jax.random.split(jax.random.key(1), 3)
    shapes = (SIZE, SIZE), (SIZE,), (SIZE, SIZE)
    weights = [normal(k, s, dtype) / SIZE**0.5 for k, s in zip(keys, shapes, strict=True)]
    return Network(*weights)


@eqx.filter_jit
def by_singular_values(transport: Network, x: Array) -> Array:
    """The largest singular value of each Jacobian."""
    return jnp.linalg.svdvals(jax.vmap(jax.jacrev(transport))(x))[:, 0]


@eqx.filter_jit
def by_gram_matrix(transport: Network, x: Array) -> Array:
    """The root of the largest eigenvalue of each DTᵀDT."""
    jacobian = jax.vmap(jax.jacrev(transport))(x)
    gram = jnp.einsum("pij,pik->pjk", jacobian, jacobian)
    return jnp.sqrt(jnp.linalg.eigvalsh(gram)[:, -1])


def products(transport: Network, x: Array) -> int:
    """Products with DTᵀDT a point, by the fewest cycles that the slowest point needs."""
    key, cycles = jax.random.key(2), 1
    while (lambda n: (n.error > TOLERANCE * n.value).any())(
        operator_norms(key, transport, x, tolerance=TOLERANCE, cycles=cycles)
    ):
        cycles += 1
    # One more confirms; a cycle ends with one product, and a restart keeps a quarter.
    return KRYLOV + 1 + cycles * (KRYLOV + 1 - KRYLOV // 4)


def compare(dtype: str) -> None:
    """Print times, ratios, agreement, and time over the floor of the matrix products."""
    transport, x = random_network(dtype), normal(jax.random.key(3), (POINTS, SIZE), dtype)
    key = jax.random.key(4)
    run = lambda: operator_norms(key, transport, x, tolerance=TOLERANCE).value  # noqa: E731
    ours, rate = median(run, REPEATS), product_rate(dtype)
    flops = POINTS * products(transport, x) * 2.0 * 4 * SIZE**2
    print(f"{dtype}: operator_norms {ours:.3f} s for {POINTS} points, {flops / 1e9:.1f} Gflop of")
    print(f"  products at {rate / 1e9:.0f} Gflop/s: time/floor {ours / (flops / rate):.1f}")
    few, got = x[: POINTS // SHARE], run()[: POINTS // SHARE]
    for name, dense in (("singular values", by_singular_values), ("Gram matrix", by_gram_matrix)):
        took = SHARE * median(partial(dense, transport, few), DENSE_REPEATS)
        apart = np.max(np.abs(got / np.asarray(dense(transport, few)) - 1))
        print(f"  dense, {name}: {took:.1f} s, {took / ours:.0f}×; worst difference {apart:.1e}")


def main() -> None:
    """Compare in float32 and float64."""
    runtime.configure()
    for dtype in ("float32", "float64"):
        compare(dtype)


if __name__ == "__main__":
    main()
