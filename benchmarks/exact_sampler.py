"""`python -m benchmarks.exact_sampler [K]`: K looks of the exact denoiser at its largest size.

V = 256, L = 128, n = 64, 1024 sequences, float32. The floor is the matrix products alone, 4V² + 4Vn
flops a position of a look, at the rate that one large float32 product reaches in the same run; the
rest is 2V exponentials a position, and memory. The first K steps include compilation.
"""

import sys
import time

import jax

from benchmarks import harness, product_rate
from experiments import runtime
from experiments.generation import language_of
from theory.sampler import generate, plan, times
from theory.terminal import RECTIFIED_FLOW

LANGUAGE = "markov 256 0.02 64 random"
SHAPE = (1024, 128, 64)


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
    memory = (runtime.peak_memory() or 0) / 2**30
    product = product_rate.CONTENDERS["JAX"].setup(product_rate.SIDES["full"], "float32")
    floor = flops / product.flops * float(harness.timed(product)["seconds"] or 0)
    print(
        f"K = {looks}, V = {size}, L = {length}, {sequences} sequences: {seconds:.1f} s, ", end=""
    )
    print(f"{seconds / floor:.2f} times the floor of {floor:.1f} s, {memory:.2f} GiB at most")


if __name__ == "__main__":
    main()
