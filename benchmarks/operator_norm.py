"""‖DT‖_op by `operator_norms` against dense Jacobians and their singular values.

T is a network n → n of two layers with random weights. Dense Jacobians cost in proportion to the
points, so they are timed on a part of them; the answers are held against singular values in
float64 of the same points.
"""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from benchmarks.harness import OURS, Case, Contender, Entry, Run
from theory.stiffness import operator_norms

SHARE = 32
TOLERANCE = 1e-3
SHAPES: dict[str, Case] = {
    "full": {"side": 256, "points": 1024},
    "tiny": {"side": 8, "points": 64},
}
DTYPES = ("float32", "float64")


class Network(eqx.Module):
    """x ↦ B tanh(Ax + a)."""

    first: Float[Array, "width n"]
    shift: Float[Array, " width"]
    last: Float[Array, "d width"]

    def __call__(self, x: Float[Array, " n"]) -> Float[Array, " d"]:
        """T(x)."""
        return self.last @ jnp.tanh(self.first @ x + self.shift)


def entries(size: str) -> list[Entry]:
    """Every contender in both dtypes."""
    return [Entry(name, [SHAPES[size] | {"dtype": d}]) for d in DTYPES for name in CONTENDERS]


def _arrays(side: int, points: int, dtype: str) -> list[np.ndarray]:
    """A, a, B with entries N(0, 1/n), and points of γ."""
    rng = np.random.default_rng(1)
    shapes = (side, side), (side,), (side, side)
    weights = [rng.normal(size=shape) / side**0.5 for shape in shapes]
    return [a.astype(dtype) for a in (*weights, rng.normal(size=(points, side)))]


def _pull_flops(side: int) -> float:
    """Of one product with DT or DTᵀ."""
    return 4.0 * side**2


def _facts(side: int, points: int, answers: list[np.ndarray], _: float) -> dict[str, float]:
    """The largest relative difference from singular values in float64."""
    *weights, x = _arrays(side, points, "float64")
    few = jnp.asarray(x[: points // SHARE])
    exact = np.asarray(singular_values(Network(*map(jnp.asarray, weights)), few))
    return {"error": float(np.abs(answers[-1][: len(exact)] / exact - 1).max())}


@eqx.filter_jit
def singular_values(transport: Network, x: Array) -> Array:
    """The largest singular value of each Jacobian."""
    return jnp.linalg.svdvals(jax.vmap(jax.jacrev(transport))(x))[:, 0]


@eqx.filter_jit
def gram_values(transport: Network, x: Array) -> Array:
    """The root of the largest eigenvalue of each DTᵀDT: cheaper, and accurate for the largest."""
    jacobian = jax.vmap(jax.jacrev(transport))(x)
    gram = jnp.einsum("pij,pik->pjk", jacobian, jacobian)
    return jnp.sqrt(jnp.linalg.eigvalsh(gram)[:, -1])


def _theory(side: int, points: int, dtype: str) -> Run:
    """Its products are those of the fewest cycles that the slowest point needs."""
    *weights, x = map(jnp.asarray, _arrays(side, points, dtype))
    transport, key = Network(*weights), jax.random.key(4)

    def call(_: int) -> np.ndarray:
        return np.asarray(operator_norms(key, transport, x, tolerance=TOLERANCE).value)

    flops = points * 2 * _pull_flops(side) * products(transport, x)
    return Run(call, flops, dtype, partial(_facts, side, points))


def products(transport: Network, x: Array) -> int:
    """Products with DTᵀDT a point, by the fewest cycles that the slowest point needs."""
    from theory.lanczos import KRYLOV

    key, cycles = jax.random.key(4), 1
    while (lambda n: (n.error > TOLERANCE * n.value).any())(
        operator_norms(key, transport, x, tolerance=TOLERANCE, cycles=cycles)
    ):
        cycles += 1
    # One more confirms; a cycle ends with one product, and a restart keeps a quarter.
    return KRYLOV + 1 + cycles * (KRYLOV + 1 - KRYLOV // 4)


def _dense(method: Callable[..., Array], side: int, points: int, dtype: str) -> Run:
    *weights, x = map(jnp.asarray, _arrays(side, points, dtype))
    transport, few = Network(*weights), x[: points // SHARE]
    flops = points * (side * _pull_flops(side) + 8 / 3 * side**3)
    call = lambda _: np.asarray(method(transport, few))  # noqa: E731
    return Run(call, flops, dtype, partial(_facts, side, points), 1 / SHARE)


def _torch(side: int, points: int, dtype: str) -> Run:
    import torch

    first, shift, last, x = map(torch.from_numpy, _arrays(side, points, dtype))
    transport = lambda x: last @ torch.tanh(first @ x + shift)  # noqa: E731
    jacobian, few = torch.func.vmap(torch.func.jacrev(transport)), x[: points // SHARE]
    flops = points * (side * _pull_flops(side) + 8 / 3 * side**3)
    call = lambda _: torch.linalg.svdvals(jacobian(few))[:, 0].numpy()  # noqa: E731
    return Run(call, flops, dtype, partial(_facts, side, points), 1 / SHARE)


CONTENDERS = {
    "noncommit": Contender(OURS, _theory),
    "jacrev + SVD": Contender("jax", partial(_dense, singular_values)),
    "jacrev + Gram": Contender("jax", partial(_dense, gram_values)),
    "PyTorch": Contender("torch", _torch),
}
