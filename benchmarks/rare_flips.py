"""`python -m benchmarks.rare_flips`: flips of rate 1e-6 by `rare_flips` and by plain draws.

64 modes, n = 16 and 128. `sem` is relative; its seconds include compilation. Plain draws are made,
raw and denoised, for as many seconds without it; their sem is √((1/p − 1)/N) with p
of the other, since they may well see no flip at all.
"""

import math
import time
from collections.abc import Callable

import jax
import numpy as np

from experiments import runtime
from theory import mixture
from theory.partition import PowerDiagram
from theory.rare import RareFlips, rare_flips
from theory.tube import flip_counts

MODES, DRAWS, CHUNK = 64, 1 << 15, 1 << 16
CASES = {16: (0.35, 0.09), 128: (1.37, 0.34)}  # n: τ, s; the norm of the modes is √n


def timed(run: Callable[[], RareFlips]) -> tuple[RareFlips, float]:
    """What it returns, and the seconds it took."""
    start = time.perf_counter()
    found = run()
    return found, time.perf_counter() - start


def plain(
    latents: mixture.Mixture, readout: PowerDiagram, scale: float, seconds: float
) -> tuple[int, np.ndarray]:
    """Draws made in that time, compilation not counted, and how many flipped raw and denoised."""

    def chunk(number: int) -> list[int]:
        latent_key, noise_key = jax.random.split(jax.random.fold_in(jax.random.key(2), number))
        z, _ = latents.sample(latent_key, CHUNK)
        denoisers = (None, lambda x: latents.posterior_mean(x, scale))
        return [int(flip_counts(noise_key, z, readout, scale, d).sum()) for d in denoisers]

    chunk(0)
    start, draws, flips = time.perf_counter(), 0, np.zeros(2, np.int64)
    while time.perf_counter() - start < seconds:
        draws += CHUNK
        flips += chunk(draws)
    return draws, flips


def main() -> None:
    """Print the table."""
    runtime.configure()
    print(f"{'n':>4} {'flips':>5} {'rate':>10} {'sem':>7} {'largest':>8} {'seconds':>8}", end="")
    print(f" {'plain draws':>12} {'seen':>5} {'sem':>7} {'gain':>9}")
    for dimension, (width, scale) in CASES.items():
        means = mixture.code(jax.random.key(1), MODES, dimension, math.sqrt(dimension))
        latents, readout = mixture.Mixture(means, width), PowerDiagram(means)
        found, seconds = timed(
            lambda latents=latents, readout=readout, scale=scale: rare_flips(  # type: ignore[misc]
                jax.random.key(3), latents, readout, scale, samples=DRAWS
            )
        )
        draws, seen = plain(latents, readout, scale, seconds)
        for name, rare, count in zip(("raw", "mean"), found, seen.tolist(), strict=True):
            value, sem = float(rare.rate.value), float(rare.rate.sem / rare.rate.value)
            other = math.sqrt((1 / value - 1) / draws)
            print(
                f"{dimension:>4} {name:>5} {value:>10.3e} {sem:>7.2%} {rare.largest:>8.2%}", end=""
            )
            print(
                f" {seconds:>8.1f} {draws:>12} {count:>5} {other:>7.0%} {(other / sem) ** 2:>9.0f}"
            )


if __name__ == "__main__":
    main()
