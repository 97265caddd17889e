"""What `tests/kernels/test_devices.py` has computed by one device and by eight.

Devices are forced ones of the host, whose number is set before JAX starts: this file is run as a
program, `python -m tests.on_devices FILE NAME…`. Eight divides few of the numbers of samples here,
or of the sizes of chunks, which follow from M.
"""

import json
import re
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from experiments import runtime
from theory import (
    commitment,
    energy,
    feedback,
    flips,
    leak,
    level_sets,
    line,
    line_flips,
    mixture,
    perimeter,
    rare,
    rare_area,
    residual,
    sampler,
    screening,
    sensitivity,
    singular,
    stiffness,
    total_variation,
    tube,
)
from theory.balance import balance
from theory.conditional_masses import conditional_masses
from theory.denoiser import MixtureDenoiser
from theory.devices import by_rows, spread
from theory.gaussian import normal
from theory.language import Language, random_embeddings
from theory.markov_chain import dirichlet_chain
from theory.partition import PowerDiagram
from theory.perimeter.coarea import _variations
from theory.perimeter.crofton import _lines, envelope
from theory.rare_proposal import propose
from theory.terminal import RECTIFIED_FLOW
from theory.transport import ScoreMap

ROWS = 1 << 13  # samples of a program
PARTS = (7, 8, 1001)  # numbers of samples to split: fewer than devices, as many, indivisible


@cache
def diagram(modes: int = 24, dimension: int = 4, dtype: str = "float64") -> PowerDiagram:
    rng = np.random.default_rng(0)
    sites, offsets = rng.normal(size=(modes, dimension)), 0.1 * rng.normal(size=modes)
    return PowerDiagram(sites.astype(dtype), offsets)


@cache
def law() -> mixture.Mixture:
    return mixture.Mixture(np.random.default_rng(1).normal(size=(5, 4)), 0.3)


@cache
def language() -> Language:
    table = 2 * random_embeddings(jax.random.key(1), 6, 4)
    return Language(dirichlet_chain(jax.random.key(0), 6, 1.0), table)


def key() -> jax.Array:
    return jax.random.key(3)


def points(dimension: int = 4, count: int = 1003, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(2).normal(size=(count, dimension)).astype(dtype)


@cache
def onto() -> ScoreMap:
    return ScoreMap(diagram(5, 3), 2.0)


def wave(x: jax.Array) -> jax.Array:
    return jnp.tanh(x[0] * x[1] + x[2])


def generated(name: str, churn: float = 0.0) -> np.ndarray:
    steps = sampler.plan(name, RECTIFIED_FLOW, sampler.times("uniform", 4), churn)
    denoiser = MixtureDenoiser(law()) if name == "heun" else language().denoiser()
    kind = {"width": 6, "dtype": "float64"}
    return np.concatenate([*sampler.generate(key(), denoiser, steps, (101, 7, 4), **kind)])


def split() -> list:
    """Draws, rows and kernels of rows of numbers that the devices do and do not divide."""
    square = jax.jit(lambda x: spread(x) ** 2)
    return [
        (
            normal(key(), (count, 3), "float64", samples=0),
            normal(key(), (2, count), "float64", samples=1),
            square(points(3, count)),
            by_rows(Partial(jnp.add, 1.0), spread(jnp.asarray(points(3, count)))),
        )
        for count in PARTS
    ]


def nearly_meeting() -> PowerDiagram:
    """Sites that float32 is not trusted with."""
    sites = np.asarray(diagram().sites, np.float64)
    return PowerDiagram(np.concatenate([sites, sites[:1] * (1 + 1e-5)]))


CASES: dict[str, Callable[[], Any]] = {
    "split": split,
    "crofton": lambda: perimeter.crofton(key(), diagram(), lines=9000),
    "facet_areas": lambda: perimeter.facet_areas(key(), diagram(), lines=3000),
    "tube": lambda: perimeter.tube(key(), diagram(), samples=9000),
    "gauss_green": lambda: perimeter.gauss_green(key(), diagram(), samples=9000),
    "coarea": lambda: perimeter.coarea(key(), diagram(), samples=9000),
    "facet_projection": lambda: perimeter.facet_projection(key(), diagram(), samples=3000),
    "projected": lambda: perimeter.projected_facet_areas(key(), diagram(), samples=2000),
    "balance": lambda: balance(key(), diagram(), lines=1 << 12),
    "conditional_masses": lambda: conditional_masses(key(), nearly_meeting(), 1 << 11, 0.9),
    "paired_flips": lambda: flips.paired_flips(key(), law(), diagram(), 0.3, samples=5000),
    "flip_counts": lambda: tube.flip_counts(key(), points(), diagram(), 0.3, draws=3),
    "sandwich": lambda: tube.sandwich(points(), diagram(), 0.3),
    "facets": lambda: diagram().nearest_facet(points()),
    "narrow": lambda: diagram(dtype="float32").nearest_facet(points(dtype="float32")),
    "pruned": lambda: diagram(5000, 8).nearest_facet(points(8, 203)),
    "pruned_labels": lambda: diagram(5000, 8).label(points(8, 203)),
    "posterior": lambda: (law().posterior(points(), 0.3), law().log_density(points()[:1000])),
    "rare_flips": lambda: rare.rare_flips(key(), law(), diagram(), 0.05, samples=5000),
    "rare_area": lambda: rare_area.facet_area(key(), law(), diagram(), samples=5000),
    "line_flips": lambda: tuple(
        line_flips.line_flips(key(), law(), diagram(), [0.1], lines=256, replicates=2)
    ),
    "total_variation": lambda: total_variation.total_variation(
        key(), wave, dimension=3, samples=9000, edges=[-0.5, 0, 0.5]
    ),
    "level_integral": lambda: level_sets.level_integral(key(), wave, dimension=3, chords=9000),
    "leak": lambda: leak.leak(key(), onto(), np.eye(5), radius=0.1, samples=3001, dimension=3),
    "leads": lambda: leak.leads(key(), jnp.sin, samples=3001, dimension=3),
    # What these state as their own error is rounding, and not compared.
    "energy": lambda: (lambda e: (e.cost, e.energy.value, e.energy.sem))(
        energy.separation_energy(
            key(), onto(), energy.ConeCost(np.eye(5)), dimension=3, samples=2001
        )
    ),
    "operator_norms": lambda: stiffness.operator_norms(key(), onto(), points(3)).value,
    "singular": lambda: singular.singular_directions(key(), onto(), points(3, 101))[0],
    "frobenius": lambda: stiffness.frobenius_norms(onto(), points(3)),
    "geometry": lambda: residual.geometry(key(), law(), diagram(), 0.3, samples=1001),
    "sensitivity": lambda: (
        sensitivity.sensitivity(key(), law(), diagram(), 0.3, [0.1], samples=1001)[
            0
        ].moments.product
    ),
    "sequences": lambda: language().sample(key(), 101, 7),
    "exact": lambda: generated("exact"),
    "heun": lambda: generated("heun"),
    "ancestral": lambda: generated("ancestral"),
    "churn": lambda: generated("churn", 0.5),
    "commit": lambda: commitment.commit(key(), language(), commitment.bisection(7), sequences=101),
    "feed_back": lambda: feedback.feed_back(
        key(), language(), commitment.bisection(7), sequences=101, softness=0.5, prompt=1
    ),
}


def _rows() -> jax.Array:
    return normal(key(), (ROWS, 4), "float64", samples=0)


def _facets(x: jax.Array) -> tuple:
    d = diagram()
    return by_rows(Partial(screening.facet_rows, d.sites, d.offsets, jnp.arange(24)), x)


PROGRAMS: dict[str, Callable[[], Any]] = {
    "normal": lambda: normal.lower(key(), (ROWS, 4), "float64", samples=0),
    "lines": lambda: _lines.lower(key(), diagram(), ROWS),
    "envelope": lambda: envelope.lower(*_lines(key(), diagram(), ROWS), 16),
    "facet_rows": lambda: jax.jit(_facets).lower(_rows()),
    "posterior_mean": lambda: mixture._over_points.lower(
        mixture._posterior_mean, law(), _rows(), jnp.asarray(0.3)
    ),
    "cross": lambda: line._cross.lower(
        line.random_lines(key(), ROWS, 4), diagram(), None, 1024, 16
    ),
    "variations": lambda: _variations.lower(key(), diagram(), 0.1, ROWS),
    "weighted_flips": lambda: rare.weighted_flips.lower(
        key(), propose(law(), diagram(), 0.1), law(), diagram(), 0.1, ROWS
    ),
}


def looked_at(name: str) -> dict[str, Any]:
    """Bytes that a program holds on a device, and by what operations it exchanges how much."""
    compiled = PROGRAMS[name]().compile()
    held, sent = compiled.memory_analysis(), r"= (\S+) (all-\w+|collective-\w+|reduce-scatter)\("
    return {
        "bytes": held.output_size_in_bytes + held.temp_size_in_bytes,
        "exchanged": sorted({" ".join(pair) for pair in re.findall(sent, compiled.as_text())}),
        "places": [
            [str(getattr(one, "spec", None)), len(one.device_set)]
            for one in jax.tree.leaves(compiled.output_shardings)
        ],
    }


def main(file: str, *names: str) -> None:
    """Save the leaves of cases, and print what programs look like as JSON."""
    runtime.configure()
    runtime.keep_compilations()
    found = {name: jax.tree.leaves(CASES[name]()) for name in names if name in CASES}
    leaves = {f"{n} {i}": np.asarray(x) for n, each in found.items() for i, x in enumerate(each)}
    np.savez(file, **leaves)
    print(json.dumps({name: looked_at(name) for name in names if name in PROGRAMS}))


if __name__ == "__main__":
    main(*sys.argv[1:])
