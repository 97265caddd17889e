"""What Theorem 3 says of a head and its latents: geometry, and flips at one noise.

Real heads by name and any weights a user gives go through the same `head_row` and `noise_row`.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from theory import bound
from theory.estimate import Estimate, proportion, proportion_interval, ratio_of_means
from theory.partition import Facet, PowerDiagram
from theory.residual import row_space
from theory.tube import (
    WINDOW,
    flip_counts,
    flip_pairs,
    interface_area,
    interface_weights,
    sandwich,
    window,
)

FAILURE = 1e-9


@dataclass(frozen=True)
class Head:
    """A readout with its latents and where they lie; `group` marks latents of one word or line."""

    diagram: PowerDiagram
    latents: np.ndarray
    facet: Facet
    group: np.ndarray

    def part(self, rows: np.ndarray) -> "Head":
        """The same readout at some of the latents."""
        facet = Facet(*(np.asarray(each)[rows] for each in self.facet))
        return Head(self.diagram, self.latents[rows], facet, self.group[rows])


def make_head(diagram: PowerDiagram, latents: np.ndarray, group: np.ndarray | None = None) -> Head:
    """The latents' nearest facets; without `group` every latent is independent.

    Raises:
        ValueError: when a latent has no facet to cross (a head with one distinct row).
    """
    facet = diagram.nearest_facet(latents)
    if not np.isfinite(np.asarray(facet.distance)).all():
        raise ValueError("the head has no facet: its rows are all equal")
    return Head(diagram, latents, facet, np.arange(len(latents)) if group is None else group)


def head_row(head: Head) -> dict[str, Any]:
    """Distances to the nearest facet, how often it is the runner-up's, A_W and the row space."""
    distance = np.asarray(head.facet.distance)
    norm = _norms(head)
    diagram, relative = head.diagram, relative_distances(head)
    row = {
        "classes": diagram.modes,
        "dimension": diagram.dimension,
        "duplicates": int(np.sum(diagram.groups() != np.arange(diagram.modes))),
        "rank": len(row_space(diagram).spectrum),
        "latents": len(distance),
        "groups": len(np.unique(head.group)),
        "distance_median": float(np.median(distance)),
        "distance_tenth": float(np.quantile(distance, 0.1)),
        "norm_median": float(np.median(norm)),
        "relative_median": float(np.median(relative)) if len(relative) else None,
        "runner_up_share": float(np.mean(_runners_up(head) == np.asarray(head.facet.neighbour))),
    }
    found = _area(head)
    return row | ({"area": found[0], "density": found[0].scaled(2.0)} if found else {})


def relative_distances(head: Head) -> np.ndarray:
    """δ(Z)/‖Z‖, latents at 0 left out."""
    distance, norm = np.asarray(head.facet.distance), _norms(head)
    return distance[norm > 0] / norm[norm > 0]


def noise_row(key: Any, head: Head, scale: float, draws: int) -> dict[str, Any]:
    """Flips of the token under noise s, beside √(2/π)·s·A_W and the sandwich."""
    counts = flip_counts(key, head.latents, head.diagram, scale, draws=draws)
    lower, upper = sandwich(head.latents, head.diagram, scale)
    return {
        "scale": scale,
        **rates(head, counts, draws, "flips"),
        "sandwich_lower": float(lower.value),
        "sandwich_upper": float(upper.value),
        **against_law(head, counts / draws, scale),
    }


def rates(head: Head, counts: np.ndarray, draws: int, name: str) -> dict[str, Any]:
    """The flip rate with its exact interval at these latents; sem: for another sample of them."""
    trials = draws * len(counts)
    flips = Estimate(counts.sum() / trials, _clustered(counts, head.group, draws), 0.0, trials)
    return share(name, flips)


def share(name: str, found: Estimate) -> dict[str, Any]:
    """A proportion with its exact interval, as columns."""
    ends = proportion_interval(found, FAILURE)
    return {name: found, f"{name}_lower": ends.lower, f"{name}_upper": ends.upper}


def against_law(head: Head, rate: np.ndarray, scale: float, prefix: str = "") -> dict[str, Any]:
    """√(2/π)·s·A_W, and flips over it: a ratio of means over the same latents, by groups."""
    found = _area(head)
    if found is None or len(np.unique(head.group)) < 2:
        return {f"{prefix}law": None}
    area, terms = found
    ratio = ratio_of_means(rate, bound.tube_rate(scale, 1.0) * terms, head.group)
    bias = ratio.value * area.bias / area.value
    ratio = Estimate(ratio.value, ratio.sem, bias, ratio.count)
    lower, upper = ratio.interval(FAILURE)
    return {
        f"{prefix}law": bound.tube_rate(scale, area.value),
        f"{prefix}ratio_to_law": ratio,
        f"{prefix}ratio_to_law_lower": float(lower),
        f"{prefix}ratio_to_law_upper": float(upper),
    }


def concentration(key: Any, head: Head, scale: float) -> dict[str, Any]:
    """How few pairs of tokens carry the raw-noise flips at s, one draw a latent.

    `collision` is the chance that two flips of different groups exchange the same pair of tokens,
    Σ p_pair²: one over it is the number of pairs that matter, were they equally frequent. It is
    counted on disjoint couples of groups, so that its interval is exact. `pairs` are those seen,
    `pairs_half` the fewest that carry half of the flips seen.
    """
    draw_key, order_key = jax.random.split(key)
    pairs, of_latent = flip_pairs(draw_key, head.latents, head.diagram, scale)
    _, index, counts = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    seen = np.sort(counts)[::-1]
    half = int(np.searchsorted(np.cumsum(seen), seen.sum() / 2) + 1) if len(seen) else 0
    rng = np.random.default_rng(np.asarray(jax.random.bits(order_key, (4,), "uint32")))
    order = rng.permutation(len(index))
    _, first = np.unique(head.group[of_latent[order]], return_index=True)
    one = index.reshape(-1)[order[rng.permutation(first)]]  # a flip of every group
    couples = one[: len(one) // 2 * 2].reshape(-1, 2)
    row: dict[str, Any] = {"pairs": len(seen), "pairs_half": half, "flips_seen": len(index)}
    if len(couples):
        same = int(np.sum(couples[:, 0] == couples[:, 1]))
        row |= share("collision", proportion(same, len(couples)))
    return row


def _runners_up(head: Head) -> np.ndarray:
    """The class of the second largest score, a few latents at a time."""
    label, found = np.asarray(head.facet.label), []
    size = max(1, (1 << 25) // head.diagram.modes)
    for first in range(0, len(label), size):
        scores = np.array(head.diagram.scores(head.latents[first : first + size]))
        np.put_along_axis(scores, label[first : first + size, None], -np.inf, axis=1)
        found.append(scores.argmax(axis=1))
    return np.concatenate(found)


def _norms(head: Head) -> np.ndarray:
    return np.linalg.norm(np.asarray(head.latents, np.float64), axis=1)


def _area(head: Head) -> tuple[Estimate, np.ndarray] | None:
    """A_W and its terms latent by latent; None when the latents give no bandwidth or no facet.

    That is: a single latent, or so many of them on a facet that the window closes.
    """
    distance = np.asarray(head.facet.distance)
    if len(distance) < 2 or np.quantile(distance, WINDOW) == 0:
        return None
    width = window(distance)
    area = interface_area(distance, width=width)
    return (area, interface_weights(distance, width)[0]) if area.value > 0 else None


def _clustered(counts: np.ndarray, group: np.ndarray, draws: int) -> float:
    """Standard error of the flip rate over groups of latents, for another sample of them."""
    if len(np.unique(group)) < 2:
        return math.inf
    return float(ratio_of_means(counts / draws, np.ones(len(counts)), group).sem)
