"""Leading singular values and right vectors of DT(x) at many points, for maps T: R^n → R^d."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from theory.batches import Transport, check_rows, in_chunks
from theory.check import check_count, check_scale
from theory.jacobian import outputs, row_normals
from theory.lanczos import basis_size, leading_pairs


class Pairs(NamedTuple):
    """The leading right singular vectors of DT(x) point by point, largest first.

    Fields:
        vectors: orthonormal rows, shape (N, count, n).
        value: ‖DT v‖ or less, within `error` of a singular value, shape (N, count).
        error: shape (N, count).
    """

    vectors: Float[np.ndarray, "points count n"]
    value: Float[np.ndarray, "points count"]
    error: Float[np.ndarray, "points count"]


def singular_directions(
    key: PRNGKeyArray,
    transport: Transport,
    x: object,
    count: int = 1,
    *,
    tolerance: float = 1e-3,
    cycles: int = 50,
) -> Pairs:
    """The top right singular vectors of DT(x), without the Jacobian; their signs are arbitrary.

    By `theory.lanczos.leading_pairs`; decoders with convolutions are quicker by its stepwise twin.
    A vector that belongs to close singular values is some unit vector of their
    common space: ‖DT v‖ is as near the top as `tolerance` says, the vector itself need not be.

    Args:
        key: PRNG key; the start of a point depends on its row, not on its chunk.
        transport: T.
        x: points, shape (N, n); the work is done in their dtype.
        count: how many pairs, at most min(n, d).
        tolerance: of the errors, relative to the largest value.
        cycles: the most cycles; `error` is what was reached.

    Raises:
        ValueError: on tolerance ≤ 0, cycles < 1, a count not in [1, min(n, d)], points, T or a
            Jacobian as `theory.stiffness.operator_norms`.
    """
    check_scale("tolerance", tolerance)
    check_count("cycles", cycles, 1)
    points = check_rows("points", x)
    n, d = points.shape[1], outputs(transport, points)
    check_count("count", count, 1)
    if count > min(n, d):
        raise ValueError(f"a map of R^{n} to R^{d} has {min(n, d)} pairs, got count {count}")
    limits = jnp.asarray(tolerance, points.dtype), jnp.asarray(cycles, jnp.int32)

    def kernel(first: Array, rows: Array) -> tuple[Array, ...]:
        starts = row_normals(key, rows, first, count)
        return leading_pairs(transport, rows, starts, *limits)

    value, error, vectors = in_chunks(kernel, points, max(n, d) * basis_size(count))
    return Pairs(vectors, value, error)
