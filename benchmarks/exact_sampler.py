"""`python -m benchmarks.exact_sampler [K]`: K looks of the exact denoiser at its largest size.

V = 256, L = 128, n = 64, 1024 sequences, float32. The floor is the matrix products alone, 4V² + 4Vn
flops a position of a look, at the rate that one large float32 product reaches in the same run; the
rest is some 8V exponentials and logarithms a position. The first K steps include compilation.
"""

import resource
import sys
import time

import jax
import jax.numpy as jnp

from experiments import runtime
from experiments.generation import language_of
from theory.sampler import generate, plan, times
from theory.terminal import RECTIFIED_FLOW

LANGUAGE = "markov 256 0.02 64 random"
SHAPE = (1024, 128, 64)
SIDE = 4096


def rate() -> float:
    """Flops a second of a float32 product of SIDE × SIDE matrices."""
    square = jnp.ones((SIDE, SIDE), jnp.float32)
    jax.block_until_ready(square @ square)
    start = time.perf_counter()
    jax.block_until_ready(square @ square)
    return 2 * SIDE**3 / (time.perf_counter() - start)


def main() -> None:
    """Print seconds, their ratio to the floor, and the peak memory of the process."""
    looks = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    runtime.configure()
    language = language_of(LANGUAGE, 0)
    size, (sequences, length, dimension) = language.vocabulary, SHAPE
    steps = plan("exact", RECTIFIED_FLOW, times("uniform", looks))
    start = time.perf_counter()
    made = generate(jax.random.key(0), language.denoiser(), steps, SHAPE, width=size)
    for z in made:
        jax.block_until_ready(z)
    seconds = time.perf_counter() - start
    flops = looks * sequences * length * (4 * size**2 + 4 * size * dimension)
    floor = flops / rate()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"K = {looks}, V = {size}, L = {length}, {sequences} sequences: {seconds:.1f} s, ", end=""
    )
    print(f"{seconds / floor:.2f} times the floor of {floor:.1f} s, {memory:.2f} GiB at most")


if __name__ == "__main__":
    main()
