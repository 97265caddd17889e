"""The tube route: mass of the ε-neighbourhood of the facets, and its limit ε → 0."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from theory.check import check_count, check_scale
from theory.estimate import Estimate, proportion
from theory.gaussian import normal
from theory.nearest import CELLS
from theory.partition import Facet, PowerDiagram
from theory.tube import WINDOW, interface_area, window


def tube_ratio(key: PRNGKeyArray, diagram: PowerDiagram, *, width: float, samples: int) -> Estimate:
    """γ(δ(x) < ε)/(2ε), a *biased* estimate of P at any ε > 0.

    = P − (ε/2)·C + O(ε²), C = Σ over (cell, ridge) of cot(α/2)·∫φ dH^{n−2}: low with ridges,
    O(ε²) of either sign without. The bias is not in `bias`, since C is not known in general;
    use `tube` for P.
    """
    check_scale("width", width)
    inside = sum(np.count_nonzero(d < width) for d in _distances(key, diagram, samples))
    return proportion(inside, samples).scaled(1 / (2 * width))


def tube(
    key: PRNGKeyArray, diagram: PowerDiagram, *, samples: int, width: float | None = None
) -> Estimate:
    """Gaussian perimeter P = f_δ(0+)/2 by boundary-corrected densities of δ(x), x ~ γ, at zero.

    `width` is the window in units of x, the pilot's if None. See `theory.tube.interface_area`
    for the estimator and its stated bias.

    Raises:
        ValueError: when width is not positive, or samples is not an integer ≥ 2.
    """
    pilot_key, key = jax.random.split(key)
    width = pilot(pilot_key, diagram).width if width is None else width
    check_scale("width", width)
    near = [d[d < width] for d in _distances(key, diagram, samples)]
    return interface_area(np.concatenate(near), width=width, count=samples)


class Pilot(NamedTuple):
    """Scales of a partition seen from 4096 points.

    `width` holds a share `theory.tube.WINDOW` of them; `gap` is a low quantile (5%) of
    ‖a_y − a_neighbour‖ among those, so that nearly every facet's sites are at least as far apart.
    """

    width: float
    gap: float


def pilot(key: PRNGKeyArray, diagram: PowerDiagram) -> Pilot:
    """The bandwidths to use when the caller names none, whatever the units of x and of the sites.

    Raises:
        ValueError: when the partition has no facet near any of the points.
    """
    (facets,) = _facets(key, diagram, 4096)
    distance = np.asarray(facets.distance)
    width, near = window(distance), distance <= np.quantile(distance, WINDOW)
    sites = np.asarray(diagram.sites)
    apart = sites[np.asarray(facets.label)[near]] - sites[np.asarray(facets.neighbour)[near]]
    return Pilot(width, float(np.quantile(np.linalg.norm(apart, axis=1), 0.05)))


def _distances(key: PRNGKeyArray, diagram: PowerDiagram, samples: int) -> Iterator[np.ndarray]:
    return (np.asarray(facets.distance) for facets in _facets(key, diagram, samples))


def _facets(key: PRNGKeyArray, diagram: PowerDiagram, samples: int) -> Iterator[Facet]:
    """Nearest facets of `samples` standard Gaussian points, batch by batch."""
    check_count("samples", samples, 2)
    size = max(4096, 8 * CELLS // diagram.modes)
    for number, start in enumerate(range(0, samples, size)):
        shape = (size, diagram.dimension)
        x = normal(jax.random.fold_in(key, number), shape, diagram.sites.dtype.name, samples=0)
        facets = jax.device_get(diagram.nearest_facet(x))
        yield Facet(*(column[: samples - start] for column in facets))
