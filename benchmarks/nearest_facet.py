"""Exact nearest facets of a linear head, against dense products and a top-2 search.

The dense form is what one writes by hand: scores, then inner products with the site of the label,
two products in all; a top-2 search finds the runner-up by score, which is another class wherever
sites are unequally far apart. No method can do without one product, so it is timed too, its scores
thrown away. Answers are held against brute force by direct differences in float64 on BRUTE rows,
and against `PowerDiagram.nearest_facet` on all.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import OURS, Case, Contender, Entry, Run

BLOCK = 512  # rows of a dense product: the scores of a block are held, no more
BRUTE = 64
CASES: dict[str, list[Case]] = {
    "full": [
        {"head": "smollm2", "modes": 49152, "dimension": 576, "rows": 10000},
        {"head": "random", "modes": 16384, "dimension": 256, "rows": 4096},
    ],
    "tiny": [{"head": "random", "modes": 5000, "dimension": 8, "rows": 64}],
}
Found = tuple[np.ndarray, np.ndarray, np.ndarray]  # label, neighbour, distance of every row


def entries(size: str) -> list[Entry]:
    """Every contender on every head."""
    return [Entry(name, [case]) for case in CASES[size] for name in CONTENDERS]


def prepare(size: str) -> None:
    """Heads, latents and brute force in files, so that no contender's memory holds their making."""
    for case in CASES[size]:
        path = _file(**case)
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            w, b, z = _head(**case)
            rows = np.linspace(0, len(z) - 1, BRUTE).astype(int)
            np.savez(path, w=w, b=b, z=z, rows=rows, nearest=[_brute(w, b, z[r]) for r in rows])


def _file(head: str, modes: int, dimension: int, rows: int) -> Path:
    from theory.bridge.catalog import cache_folder

    return cache_folder() / "bench" / f"{head}-{modes}-{dimension}-{rows}.npz"


def _head(head: str, modes: int, dimension: int, rows: int) -> tuple[np.ndarray, ...]:
    if head == "random":
        rng = np.random.default_rng(0)
        shapes = (modes, dimension), (modes,), (rows, dimension)
        w, b, z = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
        return w, b, z
    from experiments.decoders import sampled

    diagram, found = sampled(head, rows)
    return np.asarray(diagram.sites), np.asarray(diagram.offsets), found.latents


def _brute(w: np.ndarray, b: np.ndarray, z: np.ndarray) -> tuple[int, int, float]:
    wide, offsets, x = w.astype(np.float64), b.astype(np.float64), z.astype(np.float64)
    y = int(np.argmax(wide @ x + offsets))
    apart = wide[y] - wide
    length = np.linalg.norm(apart, axis=1)
    planes = (apart @ x + offsets[y] - offsets) / np.where(length > 0, length, 1)
    planes[length == 0] = np.inf
    return y, int(planes.argmin()), float(planes.min())


def _setup(method: Callable[..., Callable[[np.ndarray], Any]], products: int, **case: Any) -> Run:
    with np.load(_file(**case)) as file:
        w, b, z, rows, nearest = (file[name] for name in ("w", "b", "z", "rows", "nearest"))
    search = method(w, b)
    flops = products * 2.0 * case["rows"] * case["modes"] * case["dimension"]

    def facts(answers: list[Found], _: float) -> dict[str, float]:
        return _compared(w, b, z, answers[-1]) | _against(nearest, answers[-1], rows)

    return Run(lambda _: search(z), flops, "float32", facts if products else lambda a, s: {})


def _against(nearest: np.ndarray, found: Found, rows: np.ndarray) -> dict[str, float]:
    """The share of brute-force rows with another label or neighbour, and the worst distance."""
    label, neighbour, distance = (np.asarray(column)[rows] for column in found)
    wrong = (label != nearest[:, 0]) | (neighbour != nearest[:, 1])
    error = np.abs(distance / nearest[:, 2] - 1)
    return {"brute_wrong": float(wrong.mean()), "brute_error": float(error.max())}


def _compared(w: np.ndarray, b: np.ndarray, z: np.ndarray, found: Found) -> dict[str, float]:
    """The share of all rows with another neighbour, and how much farther its facet typically is."""
    from theory.partition import PowerDiagram

    _, neighbour, distance = map(np.asarray, PowerDiagram(w, b).nearest_facet(z))
    other, excess = found[1] != neighbour, np.asarray(found[2]) / distance - 1
    typical = float(np.median(excess[other])) if other.any() else 0.0
    return {"differs": float(other.mean()), "excess": typical}


def _theory(w: np.ndarray, b: np.ndarray) -> Callable[[np.ndarray], Any]:
    import jax

    from theory.partition import PowerDiagram

    diagram = PowerDiagram(w, b)
    return lambda z: tuple(map(np.asarray, jax.block_until_ready(diagram.nearest_facet(z))))


def _product(w: np.ndarray, b: np.ndarray) -> Callable[[np.ndarray], Any]:
    """`latents @ W.T` by blocks."""
    import jax

    sites = jax.numpy.asarray(w)
    product = jax.jit(lambda x, sites: jax.numpy.matmul(x, sites.T, precision="highest"))

    def search(z: np.ndarray) -> None:
        for k in range(0, len(z), BLOCK):
            jax.block_until_ready(product(jax.numpy.asarray(z[k : k + BLOCK]), sites))

    return search


def _numpy(w: np.ndarray, b: np.ndarray) -> Callable[[np.ndarray], Any]:
    square = np.einsum("kn,kn->k", w, w)

    def block(z: np.ndarray) -> Found:
        rows = np.arange(len(z))
        gap = z @ w.T
        gap += b
        label = gap.argmax(axis=1)
        np.subtract(gap[rows, label][:, None], gap, out=gap)
        apart = w[label] @ w.T
        apart *= -2
        apart += square
        apart += square[label][:, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            np.sqrt(apart, out=apart)
            gap /= apart
        gap[rows, label] = np.inf
        neighbour = np.where(np.isnan(gap), np.inf, gap).argmin(axis=1)
        return label, neighbour, gap[rows, neighbour]

    return partial(_blocks, block)


def _torch(w: np.ndarray, b: np.ndarray) -> Callable[[np.ndarray], Any]:
    import torch

    sites, offsets = torch.from_numpy(w), torch.from_numpy(b)
    square = (sites * sites).sum(1)

    def block(z: np.ndarray) -> Found:
        rows = torch.arange(len(z))
        gap = torch.addmm(offsets, torch.from_numpy(z), sites.T)
        best, label = gap.max(dim=1)
        gap.neg_().add_(best[:, None])
        apart = torch.addmm(square, sites[label], sites.T, alpha=-2).add_(square[label][:, None])
        gap.div_(apart.sqrt_())
        gap[rows, label] = torch.inf
        distance, neighbour = gap.nan_to_num_(nan=torch.inf, posinf=torch.inf).min(dim=1)
        return label.numpy(), neighbour.numpy(), distance.numpy()

    return partial(_blocks, block)


def _blocks(block: Callable[[np.ndarray], Found], z: np.ndarray) -> Found:
    parts = [block(z[k : k + BLOCK]) for k in range(0, len(z), BLOCK)]
    label, neighbour, distance = (np.concatenate(part) for part in zip(*parts, strict=True))
    return label, neighbour, distance


def _faiss(w: np.ndarray, b: np.ndarray) -> Callable[[np.ndarray], Any]:
    """The two best scores; the distance is that to the facet of the runner-up."""
    import faiss

    index = faiss.IndexFlatIP(w.shape[1] + 1)
    index.add(np.column_stack([w, b]))

    def search(z: np.ndarray) -> Found:
        score, best = index.search(np.column_stack([z, np.ones(len(z), np.float32)]), 2)
        apart = np.linalg.norm(w[best[:, 0]] - w[best[:, 1]], axis=1)
        return best[:, 0], best[:, 1], (score[:, 0] - score[:, 1]) / apart

    return search


CONTENDERS = {
    "noncommit": Contender(OURS, partial(_setup, _theory, 1)),
    "one product": Contender("jax", partial(_setup, _product, 0)),
    "NumPy, dense": Contender("numpy", partial(_setup, _numpy, 2)),
    "PyTorch, dense": Contender("torch", partial(_setup, _torch, 2)),
    "faiss, top 2": Contender("faiss-cpu", partial(_setup, _faiss, 1)),
}
