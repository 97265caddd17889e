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
