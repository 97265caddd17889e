"""The rate of one large matrix product on all cores: the measure of every other benchmark."""

from typing import Any

import numpy as np

from benchmarks.harness import Case, Contender, Entry, Run

SIDES = {"full": 2048, "tiny": 64}
DTYPES = ("float32", "float64")


def entries(size: str) -> list[Entry]:
    """Every library in both dtypes."""
    cases: list[Case] = [{"side": SIDES[size], "dtype": dtype} for dtype in DTYPES]
    return [Entry(name, [case]) for case in cases for name in CONTENDERS]


def _square(side: int, dtype: str) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(side, side)).astype(dtype)


def _jax(side: int, dtype: str) -> Run:
    import jax

    a = jax.numpy.asarray(_square(side, dtype))
    product = jax.jit(lambda x: jax.numpy.matmul(x, x, precision="highest"))
    return Run(lambda _: jax.block_until_ready(product(a)), 2.0 * side**3, dtype)


def _numpy(side: int, dtype: str) -> Run:
    a = _square(side, dtype)
    return Run(lambda _: a @ a, 2.0 * side**3, dtype)


def _torch(side: int, dtype: str) -> Run:
    import torch

    a: Any = torch.from_numpy(_square(side, dtype))
    return Run(lambda _: a @ a, 2.0 * side**3, dtype)


CONTENDERS = {
    "JAX": Contender("jax", _jax),
    "NumPy": Contender("numpy", _numpy),
    "PyTorch": Contender("torch", _torch),
}
