"""`python -m benchmarks.nearest_facet [smollm2]`: exact nearest facets against one product.

All classes of a real head at real latents (10,000 by default), against the one dense product
`latents @ W.T` in JAX that no method can do without. Every timing is a process of its own, so that
its peak memory is its own too: facets; the product at once, which holds all scores; and the product
by rows, whose scores are thrown away. Facets are compared with brute force in float64 on 200 rows.
Needs the extra 'weights'.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROWS = 512  # latents of a product by rows
BRUTE = 200
REPEATS = 3


def main() -> None:
    """Print the table, or in a process of its own one timing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("decoder", nargs="?", default="smollm2")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(*args.one)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "head.npz"))
        save = [sys.executable, "-m", "benchmarks.nearest_facet", args.decoder]
        subprocess.run([*save, "--count", str(args.count), "--one", "save", path], check=True)
        found = {kind: own_process(kind, path) for kind in TIMED}
    floor = found["product by rows"]["seconds"]
    print(f"{'':18} {'median s':>9} {'over product by rows':>21} {'peak GiB':>9}")
    for kind, line in found.items():
        ratio, peak = line["seconds"] / floor, line["peak"] / 2**30
        print(f"{kind:18} {line['seconds']:9.2f} {ratio:21.3f} {peak:9.2f}")
    print(found["facets"]["said"])


def own_process(kind: str, path: str) -> dict:
    """What `one` printed."""
    command = [sys.executable, "-m", "benchmarks.nearest_facet", "--one", kind, path]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def one(kind: str, path: str) -> None:
    """Make the head, or time one kind and print a line of JSON."""
    from experiments import runtime

    runtime.configure()
    runtime.keep_compilations()
    if kind == "save":
        from experiments.decoders import sampled

        words = sys.argv
        diagram, found = sampled(words[1], int(words[words.index("--count") + 1]))
        np.savez(path, w=diagram.sites, b=diagram.offsets, z=found.latents.astype(np.float32))
        return
    with np.load(path) as file:
        run, said = TIMED[kind](file["w"], file["b"], file["z"])
    times = []
    for _ in range(REPEATS + 1):  # the first compiles
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    line = {"seconds": sorted(times[1:])[REPEATS // 2], "peak": runtime.peak_memory()}
    print(json.dumps(line | {"said": said()}))


Timed = tuple[Callable[[], object], Callable[[], str]]


def facets(w: np.ndarray, b: np.ndarray, z: np.ndarray) -> Timed:
    """Exact nearest facets, and how they compare with brute force."""
    import jax

    from theory.partition import PowerDiagram

    diagram = PowerDiagram(w, b)
    kept: list[Any] = []

    def run() -> None:
        kept[:] = [jax.block_until_ready(diagram.nearest_facet(z))]

    return run, lambda: compared(w, b, z, *map(np.asarray, kept[0]))


def at_once(w: np.ndarray, b: np.ndarray, z: np.ndarray) -> Timed:
    """`latents @ W.T`, all scores held."""
    import jax
    import jax.numpy as jnp

    left, right = jnp.asarray(z), jnp.asarray(w)
    product = jax.jit(lambda x, sites: x @ sites.T)
    return lambda: jax.block_until_ready(product(left, right)), str


def by_rows(w: np.ndarray, b: np.ndarray, z: np.ndarray) -> Timed:
    """The same, ROWS latents at a time, the scores thrown away."""
    import jax
    import jax.numpy as jnp

    parts, right = [jnp.asarray(z[k : k + ROWS]) for k in range(0, len(z), ROWS)], jnp.asarray(w)
    product = jax.jit(lambda x, sites: x @ sites.T)

    def run() -> None:
        for part in parts:
            jax.block_until_ready(product(part, right))

    return run, str


TIMED = {"facets": facets, "product at once": at_once, "product by rows": by_rows}


def compared(
    w: np.ndarray,
    b: np.ndarray,
    z: np.ndarray,
    label: np.ndarray,
    neighbour: np.ndarray,
    distance: np.ndarray,
) -> str:
    """The largest difference from direct differences in float64 on evenly spread rows."""
    wide, offsets, worst = w.astype(np.float64), b.astype(np.float64), 0.0
    rows = np.linspace(0, len(z) - 1, BRUTE).astype(int)
    for row in rows:
        x = z[row].astype(np.float64)
        y = int(np.argmax(wide @ x + offsets))
        apart = wide[y] - wide
        length = np.linalg.norm(apart, axis=1)
        planes = (apart @ x + offsets[y] - offsets) / np.where(length > 0, length, 1)
        planes[length == 0] = np.inf
        nearest = int(planes.argmin())
        if (y, nearest) != (label[row], neighbour[row]):
            raise AssertionError(f"row {row}: {(y, nearest)}, got {label[row], neighbour[row]}")
        worst = max(worst, abs(distance[row] / planes.min() - 1))
    return f"equal to brute force on {BRUTE} rows; largest relative difference {worst:.1e}"


if __name__ == "__main__":
    main()
