"""An experiment small enough to test the machinery with; every cell can also misbehave."""

import os
import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from experiments.store import Unavailable
from theory.estimate import from_samples


@dataclass(frozen=True)
class Grid:
    """The cells are all pairs of modes and scales."""

    modes: tuple[int, ...] = (2, 3)
    scales: tuple[float, ...] = (0.5, 1.0)
    samples: int = 64
    label: str = "plain"
    pause: float = 0.0
    whole: bool = True

    def __post_init__(self):
        if min(self.modes) < 2:
            raise ValueError(f"a partition has at least 2 modes, got {min(self.modes)}")


PRESETS = {"quick": Grid(), "default": Grid(modes=(2, 3, 4)), "paper": Grid(samples=256)}


@dataclass(frozen=True)
class Cell:
    """Every field changes the row."""

    modes: int
    scale: float
    samples: int
    label: str
    pause: float
    whole: bool


def cells(grid):
    """All pairs."""
    rest = (grid.samples, grid.label, grid.pause, grid.whole)
    return [Cell(modes, scale, *rest) for modes in grid.modes for scale in grid.scales]


def cost(cell):
    """More modes take longer."""
    return float(cell.modes)


def measure(cell, key):
    """A mean of scaled normals, a word, and numbers JSON has no text for."""
    if cell.label == "gone":
        raise Unavailable("no such weights here")
    if cell.label == "dies":
        os._exit(9)
    if cell.label == "fails" and cell.modes == 3:
        raise ArithmeticError("three is\none too many")
    time.sleep(cell.pause)
    draws = cell.scale * jax.random.normal(key, (cell.samples,)) + cell.modes + cell.pause
    row = {
        "mean": from_samples(draws),
        "largest": jnp.max(draws),
        "note": f"{cell.label}!",
        "whole": None,
        "enough": cell.samples > 100,
        "odds": float("nan"),
        "bound": np.inf,
    }
    row.pop("whole")
    if cell.whole:
        row["spread"] = jnp.std(draws)
    return (row, {"draws": np.asarray(draws)}) if cell.label == "arrays" else row
