"""The tube route: mass of the ε-neighbourhood of the facets, and its limit ε → 0."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from theory.estimate import Estimate, proportion
from theory.gaussian import normal
from theory.nearest import CELLS
from theory.partition import PowerDiagram, check_count
from theory.tube import check_scale, interface_area


def tube_ratio(key: PRNGKeyArray, diagram: PowerDiagram, *, width: float, samples: int) -> Estimate:
    """γ(δ(x) < ε)/(2ε), a *biased* estimate of P at any ε > 0.

    = P − (ε/2)·C + O(ε²), C = Σ over (cell, ridge) of cot(α/2)·∫φ dH^{n−2}: low with ridges,
    O(ε²) of either sign without. The bias is not in `bias`, since C is not known in general;
    use `tube` for P.
    """
    check_scale("width", width)
    inside = sum(int(jnp.sum(d < width)) for d in _distances(key, diagram, samples))
    return proportion(inside, samples).scaled(1 / (2 * width))


def tube(key: PRNGKeyArray, diagram: PowerDiagram, *, width: float, samples: int) -> Estimate:
    """Gaussian perimeter P = f_δ(0+)/2 by boundary-corrected densities of δ(x), x ~ γ, at zero.

    `width` is the window in units of x. See `theory.tube.interface_area` for the estimator and
    its stated bias.
    """
    check_scale("width", width)
    near = [np.asarray(d)[np.asarray(d) < width] for d in _distances(key, diagram, samples)]
    return interface_area(np.concatenate(near), width=width, count=samples)


def _distances(key: PRNGKeyArray, diagram: PowerDiagram, samples: int) -> Iterator[Array]:
    """δ of `samples` standard Gaussian points, batch by batch."""
    check_count("samples", samples, 2)
    size = max(1024, 8 * CELLS // diagram.modes)
    for number, start in enumerate(range(0, samples, size)):
        shape = (size, diagram.dimension)
        x = normal(jax.random.fold_in(key, number), shape, diagram.sites.dtype)
        yield diagram.nearest_facet(x).distance[: samples - start]
