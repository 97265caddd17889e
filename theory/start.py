"""Where a search for small-perimeter partitions starts: lattices, codes, random sites.

Every start is an array of M sites in R^n, near enough to equal cells for `balance` to finish.
"""

import math
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray
from scipy import stats

from theory.check import check_count
from theory.gaussian import normal

# Rows generate the lattice; named as in Conway, Sloane, Sphere Packings, chapter 4.
LATTICES = {
    "hexagonal": np.array([[1.0, 0.0], [0.5, math.sqrt(3) / 2]]),
    "BCC": np.array([[1.0, 1.0, -1.0], [1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]]),
    "FCC": np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]),
    "D4": np.array([[1.0, 1, 0, 0], [1.0, -1, 0, 0], [0, 1.0, -1, 0], [0, 0, 1.0, -1]]),
}
LATTICE_DIMENSIONS = 4
REPULSIONS = 150
SCATTERED = 1024  # beyond, random sites keep too many defects to compete with a lattice or a code
CODED = 4096  # the repulsion of M points holds M² cosines
# 1 + x² + x⁴ + x⁵ + x⁶ + x^10 + x^11 divides x^23 − 1 over the two-element field.
GOLAY_POLYNOMIAL = (1, 0, 1, 0, 1, 1, 1, 0, 0, 0, 1, 1)
CODES = {(4096, 24): "Golay", (256, 16): "Nordstrom–Robinson"}


def random_sites(key: PRNGKeyArray, modes: int, dimension: int) -> Float[Array, "modes n"]:
    """M independent draws of γ: the density of cells of equal mass."""
    return normal(key, (modes, dimension), "float64")


def lattice(name: str, key: PRNGKeyArray, modes: int) -> Float[Array, "modes n"]:
    """The M points of a shifted lattice nearest the origin, moved along rays to follow γ.

    The k-th in order of length goes to the radius that holds (k − ½)/M of the mass of γ. The shift
    is uniform over a cell of the lattice.

    Raises:
        ValueError: on an unknown lattice, or M that is no positive integer.
    """
    check_count("modes", modes, 1)
    if name not in LATTICES:
        raise ValueError(f"unknown lattice {name!r}: expected one of {', '.join(LATTICES)}")
    basis = LATTICES[name]
    dimension = len(basis)
    reach = _reach(basis, modes)
    indices = np.array(list(product(range(-reach, reach + 1), repeat=dimension)))
    shift = np.asarray(jax.random.uniform(key, (dimension,)))
    points = (indices + shift) @ basis
    length = np.linalg.norm(points, axis=1)
    nearest = np.argsort(length, kind="stable")[:modes]
    radius = np.sqrt(stats.chi2.ppf((np.arange(modes) + 0.5) / modes, dimension))
    return jnp.asarray(points[nearest] * (radius / length[nearest])[:, None])


def _reach(basis: np.ndarray, modes: int) -> int:
    """Indices up to this in size hold every lattice point of the ball of M cells, and a shift."""
    dimension = len(basis)
    ball = math.pi ** (dimension / 2) / math.gamma(dimension / 2 + 1)
    radius = (modes * abs(np.linalg.det(basis)) / ball) ** (1 / dimension)
    cell = np.linalg.norm(basis, axis=1).sum()
    return math.ceil((radius + cell) * np.linalg.norm(np.linalg.inv(basis), axis=0).max()) + 1


def spherical_code(key: PRNGKeyArray, modes: int, dimension: int) -> Float[Array, "modes n"]:
    """M points on the sphere of radius √n, spread out by descent of log Σ exp(β⟨u_i, u_j⟩)/β.

    β rises to 4 log M, so that the nearest pairs come to dominate.
    """
    check_count("modes", modes, 2)
    check_count("dimension", dimension, 2)
    points = jax.random.normal(key, (modes, dimension))
    return math.sqrt(dimension) * _repelled(points)


@jax.jit
def _repelled(points: Array) -> Array:
    modes, dimension = points.shape

    def energy(free: Array, beta: Array) -> Array:
        unit = free / jnp.linalg.norm(free, axis=1, keepdims=True)
        cosine = jnp.matmul(unit, unit.T, precision="highest") - 2 * jnp.eye(modes)
        return jax.scipy.special.logsumexp(beta * cosine) / beta

    rate = optax.cosine_decay_schedule(0.1 / math.sqrt(dimension), REPULSIONS)
    optimizer = optax.adam(rate)

    def step(state: tuple, number: Array) -> tuple[tuple, None]:
        free, memory = state
        beta = 2 + 4 * jnp.log(modes) * (number / REPULSIONS)
        update, memory = optimizer.update(jax.grad(energy)(free, beta), memory)
        free = free + update
        return (free / jnp.linalg.norm(free, axis=1, keepdims=True), memory), None

    unit = points / jnp.linalg.norm(points, axis=1, keepdims=True)
    (unit, _), _ = jax.lax.scan(step, (unit, optimizer.init(unit)), jnp.arange(REPULSIONS))
    return unit


def biorthogonal(dimension: int) -> Float[np.ndarray, "modes n"]:
    """The 2n points ±√n e_i, the cross-polytope."""
    check_count("dimension", dimension, 1)
    return math.sqrt(dimension) * np.concatenate([np.eye(dimension), -np.eye(dimension)])


def golay() -> Float[np.ndarray, "4096 24"]:
    """The 4096 words of the extended binary Golay code [24, 12, 8], as signs."""
    shifts = np.zeros((12, 24), dtype=np.int64)
    for place in range(12):
        shifts[place, place : place + 12] = GOLAY_POLYNOMIAL
    shifts[:, 23] = shifts.sum(axis=1) % 2
    return 1.0 - 2.0 * (_binary(12) @ shifts % 2)


def nordstrom_robinson() -> Float[np.ndarray, "256 16"]:
    """The 256 words of the Nordstrom–Robinson code of distance 6, as signs.

    The Golay words that start, on an octad, with nothing or with its last place and one other.
    """
    words = (1 - golay()) / 2
    octad = words[words.sum(axis=1) == 8][0] == 1
    head, tail = words[:, octad], words[:, ~octad]
    weight = head.sum(axis=1)
    chosen = (weight == 0) | ((weight == 2) & (head[:, -1] == 1))
    return 1.0 - 2.0 * tail[chosen]


def starts(key: PRNGKeyArray, modes: int, dimension: int) -> dict[str, Array | np.ndarray]:
    """All starts there are for M cells in R^n, by name."""
    random_key, code_key, lattice_key = jax.random.split(key, 3)
    found: dict[str, Array | np.ndarray] = {}
    if dimension <= LATTICE_DIMENSIONS:
        for number, (name, basis) in enumerate(LATTICES.items()):
            if len(basis) == dimension:
                found[name] = lattice(name, jax.random.fold_in(lattice_key, number), modes)
    scattered = dimension <= 2 * LATTICE_DIMENSIONS and modes <= SCATTERED
    if scattered or modes <= dimension + 1:
        found["random"] = random_sites(random_key, modes, dimension)
    if dimension >= LATTICE_DIMENSIONS and modes <= CODED:
        found["spherical code"] = spherical_code(code_key, modes, dimension)
    if modes == 2 * dimension:
        found["cross-polytope"] = biorthogonal(dimension)
    if (modes, dimension) in CODES:
        found[CODES[modes, dimension]] = golay() if modes == 4096 else nordstrom_robinson()
    return found


def _binary(bits: int) -> np.ndarray:
    return (np.arange(2**bits)[:, None] >> np.arange(bits)) & 1
