"""A preset and its overrides → cells, each with all that identifies its number."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments import registry, runtime, sources, store


@dataclasses.dataclass(frozen=True)
class Plan:
    """One experiment to run: its cells in the order of the grid, and what identifies each."""

    name: str
    module: str
    preset: str
    seed: int
    grid: Any
    cells: tuple[Any, ...]
    configs: tuple[store.Row, ...]
    identities: tuple[dict[str, Any], ...]
    costs: tuple[float, ...]


def plan(
    name: str, preset: str = "default", seed: int = 0, overrides: Mapping[str, Any] | None = None
) -> Plan:
    """The cells of a preset's grid with some fields replaced. Imports the experiment."""
    runtime.configure()
    module = registry.load(name)
    preset = registry.choose("preset", preset, module.PRESETS)
    grid = dataclasses.replace(module.PRESETS[preset], **(overrides or {}))
    by_config = {store.canonical(store.configuration(cell)): cell for cell in module.cells(grid)}
    if not by_config:
        raise ValueError(f"{name}: this grid has no cells: {grid}")
    cells = tuple(by_config.values())
    configs = tuple(store.configuration(cell) for cell in cells)
    cost = getattr(module, "cost", lambda cell: 0.0)
    common = {"experiment": name, "seed": seed, **_common(module.__name__)}
    return Plan(
        name=name,
        module=module.__name__,
        preset=preset,
        seed=seed,
        grid=grid,
        cells=cells,
        configs=configs,
        identities=tuple({**common, "config": config} for config in configs),
        costs=tuple(float(cost(cell)) for cell in cells),
    )


def _common(module: str) -> dict[str, Any]:
    import jax

    return {
        "sources": sources.digest(module),
        "jax": jax.__version__,
        "dtype": runtime.dtype(),
        "format": store.FORMAT,
    }
