"""hypothesis strategies: shapes from a short list, so that they compile once; only values drawn."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from theory.partition import PowerDiagram

SHAPES = ((2, 1), (3, 2), (5, 2), (8, 3), (17, 4))  # (M, n)


def reals(shape: tuple[int, ...], size: float) -> st.SearchStrategy[np.ndarray]:
    """Arrays with every entry drawn from [−size, size]."""
    entries = st.floats(-size, size, allow_subnormal=False)
    return arrays(np.float64, shape, elements=entries, fill=st.nothing())


def scales(decades: float = 3.0) -> st.SearchStrategy[float]:
    """Positive numbers from 10^−decades to 10^decades, uniform in the exponent."""
    return st.floats(-decades, decades, allow_subnormal=False).map(lambda e: 10.0**e)


def masses(modes: int) -> st.SearchStrategy[np.ndarray]:
    """Positive laws on M cells; the ratio of two masses is at most e⁸."""
    weights = reals((modes,), 4.0).map(np.exp)
    return weights.map(lambda w: w / w.sum())


def rotations(dimension: int) -> st.SearchStrategy[np.ndarray]:
    """Orthogonal n × n matrices of either determinant."""
    frames = reals((dimension, dimension), 1.0).map(lambda a: np.linalg.qr(a)[0])
    signs = st.sampled_from([1.0, -1.0])  # the determinant of a Householder frame is fixed
    return st.builds(lambda q, sign: q * np.append(sign, np.ones(dimension - 1)), frames, signs)


def points(count: int, dimension: int) -> st.SearchStrategy[np.ndarray]:
    """`count` points of the cube [−3, 3]^n."""
    return reals((count, dimension), 3.0)


def diagrams(modes: int, dimension: int, apart: float = 0.0) -> st.SearchStrategy[PowerDiagram]:
    """Power diagrams with sites in [−4, 4]^n and offsets in [−2, 2].

    Sites are at least `apart` from each other; 0 allows duplicates.
    """
    sites = reals((modes, dimension), 4.0).filter(lambda a: closest(a) >= apart)
    return st.builds(PowerDiagram, sites, reals((modes,), 2.0))


def closest(sites: np.ndarray) -> float:
    """The least distance of two sites."""
    distances = np.linalg.norm(sites[:, None] - sites, axis=-1)
    return float(distances[np.triu_indices(len(sites), 1)].min())
