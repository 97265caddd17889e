"""A preset and its overrides → cells, each with all that identifies its number."""

import dataclasses
import importlib
import pickle
from collections.abc import Mapping
from typing import Any

from experiments import registry, runtime, sources, store


@dataclasses.dataclass(frozen=True)
class Request:
    """What to plan, checked as far as it can be without importing the experiment."""

    name: str
    module: str
    preset: str
    seed: int
    overrides: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Plan:
    """One experiment to run: its cells in the order of the grid, and what identifies each.

    The cells are pickled, so that who only passes them on need not import the experiment. Those of
    one program share what is compiled: all of them, where the experiment does not say.
    """

    name: str
    module: str
    preset: str
    seed: int
    grid: dict[str, Any]
    cells: tuple[bytes, ...]
    configs: tuple[store.Row, ...]
    identities: tuple[dict[str, Any], ...]
    costs: tuple[float, ...]
    programs: tuple[str, ...]
    environment: dict[str, object]


def request(
    name: str, preset: str = "default", seed: int = 0, overrides: Mapping[str, Any] | None = None
) -> Request:
    """What `plan` will be asked; ValueError on an unknown name."""
    return Request(name, registry.module_name(name), preset, seed, dict(overrides or {}))


def plan(wanted: Request) -> Plan:
    """The cells of a preset's grid with some fields replaced. Imports the experiment.

    Raises:
        ValueError: on an unknown preset, on a grid that the experiment refuses or without cells.
    """
    runtime.configure()
    module = importlib.import_module(wanted.module)
    preset = registry.choose("preset", wanted.preset, module.PRESETS)
    grid = dataclasses.replace(module.PRESETS[preset], **wanted.overrides)
    by_config = {store.canonical(store.configuration(cell)): cell for cell in module.cells(grid)}
    if not by_config:
        raise ValueError(f"{wanted.name}: this grid has no cells: {grid}")
    cells = tuple(by_config.values())
    configs = tuple(store.configuration(cell) for cell in cells)
    cost = getattr(module, "cost", lambda cell: 0.0)
    program = getattr(module, "program", lambda cell: wanted.name)
    common = {"experiment": wanted.name, "seed": wanted.seed, **_common(wanted.module)}
    return Plan(
        name=wanted.name,
        module=wanted.module,
        preset=preset,
        seed=wanted.seed,
        grid=dataclasses.asdict(grid),
        cells=tuple(map(pickle.dumps, cells)),
        configs=configs,
        identities=tuple({**common, "config": config} for config in configs),
        costs=tuple(float(cost(cell)) for cell in cells),
        programs=tuple(program(cell) for cell in cells),
        environment=runtime.environment(),
    )


def _common(module: str) -> dict[str, Any]:
    import jax

    return {
        "sources": sources.imported_digest(module),
        "jax": jax.__version__,
        "dtype": runtime.dtype(),
        "format": store.FORMAT,
    }
