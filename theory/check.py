"""Refusals that name what came: counts and scales."""

import math
from typing import Any

import numpy as np


def check_count(name: str, count: object, least: int) -> None:
    """ValueError unless `count` is an integer of at least `least`."""
    whole = isinstance(count, int | np.integer) and not isinstance(count, bool)
    if not whole or int(count) < least:  # type: ignore[call-overload]
        raise ValueError(f"{name} must be an integer ≥ {least}, got {count!r}")


def check_scale(name: str, scale: Any) -> None:
    """ValueError unless `scale` is a positive finite number."""
    number = isinstance(scale, int | float | np.number) and not isinstance(scale, bool)
    if not number or not 0 < float(scale) < math.inf:
        got = f"an array of shape {np.shape(scale)}" if np.ndim(scale) else repr(scale)
        raise ValueError(f"{name} must be a positive finite number, got {got}")


def branching(modes: object, depth: object) -> int:
    """m with m^depth = modes, or ValueError when there is no such integer m ≥ 2."""
    check_count("modes", modes, 2)
    check_count("depth", depth, 1)
    whole, levels = int(modes), int(depth)  # type: ignore[call-overload]
    branches = round(whole ** (1 / levels))
    if branches < 2 or branches**levels != whole:
        raise ValueError(f"modes must be m^depth with m ≥ 2, got modes={whole}, depth={levels}")
    return branches
