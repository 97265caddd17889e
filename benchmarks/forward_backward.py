"""Posteriors of a Markov chain's tokens from noised embeddings: forward–backward, V² a position.

z_t = αW_{y_t} + σε_t. Every contender is given z and finds P(y_t = v | z) of all positions. The
floor is the 2(L − 1) products of a batch of vectors with the chain's matrix, timed by themselves.
"""

from typing import Any

import numpy as np

from benchmarks.harness import OURS, Case, Contender, Entry, Run

FEW = 16  # sequences that hmmlearn is timed on: its cost is in proportion to them
NOISE, SPREAD = 1.0, 1.0  # σ, and the spread of a coordinate of W; α = 1
SHAPES: dict[str, Case] = {
    "full": {"vocabulary": 256, "length": 128, "batch": 256, "dimension": 16},
    "tiny": {"vocabulary": 8, "length": 5, "batch": 16, "dimension": 3},
}


def entries(size: str) -> list[Entry]:
    """Every contender in float32, and the suite's own and its floor in float64 too."""
    narrow = [Entry(name, [SHAPES[size] | {"dtype": "float32"}]) for name in CONTENDERS]
    wide = ("noncommit", "its products", "NumPy", "hmmlearn")
    return narrow[:3] + [Entry(name, [SHAPES[size] | {"dtype": "float64"}]) for name in wide]


class _Problem:
    """A chain, embeddings and latents; its flops are those of the products with the chain."""

    def __init__(self, vocabulary: int, length: int, batch: int, dimension: int, dtype: str):
        rng = np.random.default_rng(0)
        self.dtype = dtype
        self.rows = rng.dirichlet(np.full(vocabulary, 0.1), vocabulary) + 1e-9
        self.rows /= self.rows.sum(axis=1, keepdims=True)
        self.first = np.full(vocabulary, 1 / vocabulary)
        self.table = SPREAD * rng.normal(size=(vocabulary, dimension))
        self.z = self.table[self._tokens(rng, batch, length)]
        self.z = self.z + NOISE * rng.normal(size=self.z.shape)
        self.flops = 4.0 * (length - 1) * batch * vocabulary**2

    def _tokens(self, rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
        tokens = np.zeros((batch, length), int)
        tokens[:, 0] = rng.integers(len(self.first), size=batch)
        climb = self.rows.cumsum(axis=1)
        for t in range(1, length):
            above = climb[tokens[:, t - 1]] < rng.random((batch, 1))
            tokens[:, t] = np.minimum(above.sum(axis=1), len(self.first) - 1)
        return tokens

    def narrowed(self) -> tuple[np.ndarray, ...]:
        """First law, matrix, embeddings and latents in the dtype of the case."""
        arrays = self.first, self.rows, self.table, self.z
        return tuple(np.ascontiguousarray(a, self.dtype) for a in arrays)

    def facts(self, answers: list[np.ndarray], _: float) -> dict[str, float]:
        """The worst difference of a probability from NumPy's in float64."""
        wide = self.first, self.rows, self.table, self.z[: len(answers[-1])]
        return {"error": float(np.abs(answers[-1] - _scaled(*wide)).max())}


def _theory(**case: Any) -> Run:
    import jax.numpy as jnp

    from theory.forward_backward import gaussian_evidence, token_posteriors
    from theory.markov_chain import MarkovChain

    problem = _Problem(**case)
    table, z = map(jnp.asarray, problem.narrowed()[2:])
    chain = MarkovChain(problem.first, problem.rows)

    def call(_: int) -> np.ndarray:
        return np.asarray(token_posteriors(chain, gaussian_evidence(z, table, 1.0, NOISE)))

    return Run(call, problem.flops, problem.dtype, problem.facts)


def _products(**case: Any) -> Run:
    """The products alone, one after the other as the recursion must."""
    import jax

    problem = _Problem(**case)
    _, rows, _, z = map(jax.numpy.asarray, problem.narrowed())
    start = jax.numpy.ones((z.shape[0], rows.shape[0]), z.dtype)

    @jax.jit
    def both(start: Any, rows: Any) -> Any:
        def step(now: Any, _: None) -> Any:
            there, back = now
            return (_product(there, rows), _product(back, rows.T)), None

        return jax.lax.scan(step, (start, start), None, length=z.shape[1] - 1)[0]

    def call(_: int) -> None:
        jax.block_until_ready(both(start, rows))

    return Run(call, problem.flops, problem.dtype)


def _product(left: Any, right: Any) -> Any:
    import jax

    return jax.numpy.matmul(left, right, precision="highest")


def _numpy(**case: Any) -> Run:
    problem = _Problem(**case)
    arrays = problem.narrowed()
    return Run(lambda _: _scaled(*arrays), problem.flops, problem.dtype, problem.facts)


def _scaled(first: np.ndarray, rows: np.ndarray, table: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Rabiner's scaled recursions, all sequences at once: shape (sequences, length, V)."""
    likely = z.swapaxes(0, 1) @ table.T
    likely -= np.einsum("vn,vn->v", table, table) / 2
    likely /= NOISE**2
    likely -= likely.max(axis=-1, keepdims=True)
    np.exp(likely, out=likely)
    ahead = np.empty_like(likely)
    ahead[0] = first * likely[0]
    for t in range(len(likely)):
        if t:
            np.matmul(ahead[t - 1], rows, out=ahead[t])
            ahead[t] *= likely[t]
        ahead[t] /= ahead[t].sum(axis=1, keepdims=True)
    behind, back = np.ones_like(likely[0]), rows.T.copy()
    for t in range(len(likely) - 2, -1, -1):
        behind = (behind * likely[t + 1]) @ back
        behind /= behind.sum(axis=1, keepdims=True)
        ahead[t] *= behind
        ahead[t] /= ahead[t].sum(axis=1, keepdims=True)
    return ahead.swapaxes(0, 1)


def _hmmlearn(**case: Any) -> Run:
    """`GaussianHMM.predict_proba` in its faster form, with scaling in place of logarithms."""
    from hmmlearn.hmm import GaussianHMM

    problem = _Problem(**case)
    part = min(FEW, case["batch"])
    first, rows, table, z = problem.narrowed()
    model = GaussianHMM(len(first), "spherical", implementation="scaling")
    model.n_features = table.shape[1]
    model.startprob_, model.transmat_, model.means_ = first, rows, table
    model.covars_ = np.full(len(first), NOISE**2)
    points, lengths = z[:part].reshape(-1, z.shape[-1]), [z.shape[1]] * part

    def call(_: int) -> np.ndarray:
        return model.predict_proba(points, lengths).reshape(part, z.shape[1], -1)

    return Run(call, problem.flops, "float64", problem.facts, part / case["batch"])


CONTENDERS = {
    "noncommit": Contender(OURS, _theory),
    "its products": Contender("jax", _products),
    "NumPy": Contender("numpy", _numpy),
    "hmmlearn": Contender("hmmlearn", _hmmlearn),
}
