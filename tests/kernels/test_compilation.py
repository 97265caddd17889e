"""A second call with other values of the same shapes traces and compiles nothing."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax
import numpy as np
import pytest

from experiments import runtime
from tests.kernels.maps import Network
from theory import perimeter, tube
from theory.energy import ConeCost, separation_energy
from theory.gaussian import normal
from theory.leak import leak
from theory.partition import PowerDiagram
from theory.stiffness import frobenius_norms, normal_stretch, operator_norms


@contextmanager
def compilations() -> Iterator[list[str]]:
    """What JAX traced or compiled meanwhile, from its own log."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("jax")
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        with jax.log_compiles():
            yield said
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates


@pytest.fixture(autouse=True)
def _without_the_key_checker():
    """The checker itself traces at every call."""
    with jax.debug_key_reuse(False):
        yield


def case(seed: int) -> tuple[jax.Array, PowerDiagram, np.ndarray]:
    rng = np.random.default_rng(seed)
    diagram = PowerDiagram(rng.normal(size=(7, 3)), 0.1 * rng.normal(size=7))
    return jax.random.key(seed), diagram, rng.normal(size=(40, 3))


def bent(diagram: PowerDiagram) -> Network:
    """A map of R³ to R³ from the numbers of a diagram."""
    return Network(diagram.sites, diagram.offsets, diagram.sites.T)


def counted(x: np.ndarray) -> int:
    """A number of samples that differs from case to case, in one number of chunks."""
    return 3000 + int(9 * x[0, 1])


CALLS: dict[str, Callable] = {
    "label": lambda key, d, x: d.label(x),
    "nearest_facet": lambda key, d, x: d.nearest_facet(x),
    "normal": lambda key, d, x: normal(key, (5, 2)),
    "crofton": lambda key, d, x: perimeter.crofton(key, d, lines=100),
    "facet_areas": lambda key, d, x: perimeter.facet_areas(key, d, lines=100),
    "facet_projection": lambda key, d, x: perimeter.facet_projection(key, d, samples=100),
    "projected_facet_areas": lambda key, d, x: perimeter.projected_facet_areas(key, d, samples=100),
    "tube": lambda key, d, x: perimeter.tube(key, d, samples=3000),
    "tube_ratio": lambda key, d, x: perimeter.tube_ratio(key, d, width=0.1, samples=3000),
    "coarea": lambda key, d, x: perimeter.coarea(key, d, samples=1000),
    "gauss_green": lambda key, d, x: perimeter.gauss_green(key, d, samples=1000),
    "flip_rate": lambda key, d, x: tube.flip_rate(key, x, d, 0.1, draws=2),
    "sandwich": lambda key, d, x: tube.sandwich(x, d, 0.1),
    "operator_norms": lambda key, d, x: operator_norms(key, bent(d), x, tolerance=10.0 ** -x[0, 0]),
    "frobenius_norms": lambda key, d, x: frobenius_norms(bent(d), x),
    "normal_stretch": lambda key, d, x: normal_stretch(bent(d), d, x),
    "leak": lambda key, d, x: leak(
        key, bent(d), x[:3], radius=1e-3 * abs(x[0, 0]), samples=counted(x), dimension=3
    ),
    "separation_energy": lambda key, d, x: separation_energy(
        key, bent(d), ConeCost(x[:3]), dimension=3, samples=counted(x)
    ),
}


SHOWN = ("nearest_facet", "crofton", "flip_rate", "sandwich")


@pytest.mark.parametrize(
    "name",
    [name if name in SHOWN else pytest.param(name, marks=pytest.mark.slow) for name in CALLS],
)
def test_other_values_compile_nothing(name: str):
    CALLS[name](*case(0))
    with compilations() as said:
        CALLS[name](*case(1))
    assert said == []


def test_another_number_of_points_below_the_same_power_of_two_compiles_only_its_slices():
    _, diagram, x = case(0)
    diagram.nearest_facet(x)
    with compilations() as said:
        diagram.nearest_facet(x[:39])
    assert not [line for line in said if "facet_rows" in line or "label_rows" in line]


def test_another_scale_compiles_nothing():
    _, diagram, x = case(0)
    tube.sandwich(x, diagram, 0.1)
    with compilations() as said:
        tube.sandwich(x, diagram, 0.7)
    assert said == []


def test_the_counter_counts():
    with compilations() as said:
        jax.jit(lambda x: x * 3.25)(np.ones(11))
    assert any("Compiling" in line for line in said)


def test_programs_are_forgotten_beyond_their_room_alone():
    twice = jax.jit(lambda x: 2 * x)
    for room, again in ((1 << 60, False), (0, True)):
        twice(3.0)
        runtime.forget_programs(room)
        with compilations() as said:
            twice(3.0)
        assert any("lambda" in one for one in said) == again
