"""Latent laws with readouts by name, and what is known of their flips (Theorem 3)."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
from theory import bound, flip_law, perimeter
from theory.mixture import Mixture, code
from theory.partition import PowerDiagram, half_space, orthants, random_code, simplicial_cluster

OFFSET = 0.7  # c of the half-space


@dataclass(frozen=True)
class Pair:
    """Latents and readout, with what is known of them.

    `area` and the coefficients of s^order are predicted; None where no closed form is at hand.
    """

    law: Mixture
    diagram: PowerDiagram
    order: int = 2
    area: float | None = None
    raw: float | None = None
    mean: float | None = None
    oracle: Callable[[float], flip_law.Flips] | None = None
    circles: bool = False


def _half_space() -> Pair:
    law, third = _standard(1), flip_law.facet_third_order(_standard(1), OFFSET)
    oracle = functools.partial(flip_law.half_space_flips, threshold=OFFSET)
    area = perimeter.half_space(OFFSET)
    return Pair(law, half_space(1, OFFSET), 3, area, third.raw, third.mean, oracle)


def _quadrants() -> Pair:
    second = flip_law.orthant_second_order(2)
    alike = lambda s: flip_law.Flips(*2 * (flip_law.orthant_flips(2, s),))  # noqa: E731
    area = perimeter.orthants(2)
    return Pair(_standard(2), orthants(2), 2, area, second, second, alike, True)


def _simplicial(modes: int) -> Pair:
    second = flip_law.simplicial_second_order(modes)
    alike = lambda s: flip_law.Flips(*2 * (flip_law.simplicial_flips(modes, s),))  # noqa: E731
    diagram, area = simplicial_cluster(modes), bound.interface_floor(modes)
    return Pair(_standard(modes - 1), diagram, 2, area, second, second, alike, True)


def _equidistant(law: Mixture, diagram: PowerDiagram) -> Pair:
    area, second = flip_law.equidistant_interface(law, diagram)
    return Pair(law, diagram, 2, area, second, second)


def _unequal() -> Pair:
    return _equidistant(_standard(3), simplicial_cluster(4, [0.5, 0.25, 0.15, 0.1]))


def _narrow() -> Pair:
    """One Gaussian of width 0.6 off the centre of an uneven readout."""
    law = Mixture(np.array([[0.3, -0.2, 0.1, 0.2]]), 0.6)
    return _equidistant(law, PowerDiagram(simplicial_cluster(5).sites, [0.3, -0.2, 0.0, 0.1, 0.2]))


def _mixture() -> Pair:
    """Eight modes of uneven widths and masses in R^8, nine cells of uneven offsets."""
    masses = np.arange(4.0, 12.0)
    law = Mixture(_code(8, 8, 2.0), np.linspace(0.7, 1.2, 8), masses / masses.sum())
    offsets = 0.4 * np.cos(np.arange(9.0))
    return _equidistant(law, PowerDiagram(1.7 * simplicial_cluster(9).sites, offsets))


def _high() -> Pair:
    """Six modes in R^256, eight cells whose sites lie askew in it."""
    frame = np.linalg.qr(np.random.default_rng(1).normal(size=(256, 7)))[0]
    sites = np.asarray(simplicial_cluster(8).sites) @ frame.T
    return _equidistant(Mixture(_code(6, 256, 2.0), 1.0), PowerDiagram(sites))


def _code_readout() -> Pair:
    """Sixteen modes in R^8, read out by sixteen random directions."""
    readout = random_code(jax.random.key(12), 16, 8)
    return Pair(Mixture(_code(16, 8, 2.0), 1.0), readout)


def _standard(dimension: int) -> Mixture:
    return Mixture(np.zeros((1, dimension)), 1.0)


def _code(modes: int, dimension: int, radius: float) -> np.ndarray:
    return np.asarray(code(jax.random.key(11), modes, dimension, radius), np.float64)


PAIRS: dict[str, Callable[[], Pair]] = {
    "half_space": _half_space,
    "quadrants": _quadrants,
    "simplicial_3": functools.partial(_simplicial, 3),
    "simplicial_8": functools.partial(_simplicial, 8),
    "simplicial_64": functools.partial(_simplicial, 64),
    "unequal": _unequal,
    "narrow": _narrow,
    "mixture": _mixture,
    "high": _high,
    "code": _code_readout,
}
