"""A_W = Σ_{i<j} ∫_{F_ij} p dH^{n−1} for a Gaussian mixture p, by lines in the latent's own density.

A mode is Z = a + τU with U ~ γ_n, and Z lies in cell j where U lies in cell j of the diagram with
sites τ·w_j and offsets b_j + ⟨w_j, a⟩. Lengths shrink by τ, so ∫_F p = Σ_k m_k·P_k(F)/τ_k: the
estimators of the Gaussian perimeter are those of A_W.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from theory import perimeter
from theory.estimate import Estimate
from theory.mixture import Mixture, check_pair
from theory.partition import PowerDiagram


def seen_from(mixture: Mixture, mode: int, diagram: PowerDiagram) -> PowerDiagram:
    """The readout of Z = a + τU as a partition of U's space, for one mode.

    Raises:
        ValueError: when dimensions differ, or the mode is an atom, which has no interface.
    """
    check_pair(mixture, diagram)
    mean, width = mixture.means[mode], mixture.widths[mode]
    if not float(width) > 0:
        raise ValueError(f"mode {mode} is an atom (width 0): A_W does not exist")
    shift = jnp.matmul(diagram.sites, mean, precision="highest")
    return PowerDiagram(width * diagram.sites, diagram.offsets + shift)


def latent_area(
    key: PRNGKeyArray, mixture: Mixture, diagram: PowerDiagram, *, lines: int
) -> Estimate:
    """A_W by Crofton, `lines` random lines through every mode: unbiased, no window.

    Raises:
        ValueError: when lines is not an integer ≥ 2, dimensions differ, or a mode is an atom.
    """
    found = [
        perimeter.crofton(
            jax.random.fold_in(key, mode), seen_from(mixture, mode, diagram), lines=lines
        )
        for mode in range(mixture.modes)
    ]
    return _weighted(mixture, found)


def latent_facets(
    key: PRNGKeyArray, mixture: Mixture, diagram: PowerDiagram, *, lines: int
) -> Estimate:
    """∫_{F_ij} p for every pair, shape (M, M), strict upper triangle summing to A_W.

    Raises:
        ValueError: as `latent_area`, or when the readout has more than 4096 classes.
    """
    found = [
        perimeter.facet_areas(
            jax.random.fold_in(key, mode), seen_from(mixture, mode, diagram), lines=lines
        )
        for mode in range(mixture.modes)
    ]
    return _weighted(mixture, found)


def _weighted(mixture: Mixture, found: list[Estimate]) -> Estimate:
    """Σ_k (m_k/τ_k)·P_k of independent estimates."""
    weight = np.asarray(mixture.masses, np.float64) / np.asarray(mixture.widths, np.float64)
    value = sum(w * np.asarray(one.value) for w, one in zip(weight, found, strict=True))
    square = sum((w * np.asarray(one.sem)) ** 2 for w, one in zip(weight, found, strict=True))
    bias = sum(w * np.asarray(one.bias) for w, one in zip(weight, found, strict=True))
    return Estimate(value, np.sqrt(square), bias, min(int(one.count) for one in found))
