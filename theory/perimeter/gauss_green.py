"""Gauss–Green: the perimeter weighted by ‖a_i − a_j‖, from one expectation over x ~ γ."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from theory.check import check_count
from theory.estimate import Estimate, from_samples
from theory.gaussian import normal
from theory.nearest import CELLS
from theory.partition import PowerDiagram, centred


def gauss_green(key: PRNGKeyArray, diagram: PowerDiagram, *, samples: int) -> Estimate:
    """Σ_{i<j} ‖a_i − a_j‖ P(F_ij) = E⟨a_{y(x)}, x⟩, exact for any power diagram.

    The mean of the sites is subtracted first: E x = 0, so it only adds variance.

    Raises:
        ValueError: when samples is not an integer ≥ 2.
    """
    check_count("samples", samples, 2)
    size = max(1024, 8 * CELLS // diagram.modes)
    sites = centred(diagram.sites)
    parts = []
    for number in range(-(-samples // size)):
        key_of_batch = jax.random.fold_in(key, number)
        x = normal(key_of_batch, (size, diagram.dimension), sites.dtype.name, samples=0)
        parts.append(np.asarray(_products(x, sites, diagram.label(x))))
    return from_samples(np.concatenate(parts)[:samples])


@jax.jit
def _products(x: Array, sites: Array, labels: Array) -> Float[Array, " samples"]:
    return jnp.sum(x * sites[labels], axis=1)
