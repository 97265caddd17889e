"""What is on the axes of a picture, and tables to draw: areas, estimates with their ends."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

SIGMAS = 6.11
AREAS = {2: 0.399, 3: 0.598, 4: 0.728, 8: 1.007, 16: 1.249, 64: 1.657, 256: 1.999, 4096: 2.564}


def area(modes):
    """P_S, or near it."""
    return float(np.interp(math.log(modes), np.log(list(AREAS)), list(AREAS.values())))


def ends(name, value, share, **others):
    """The columns of an estimate and its interval."""
    found = {f"{name}_value": value, f"{name}_sem": value * share / SIGMAS}
    found |= {f"{name}_lower": value * (1 - share), f"{name}_upper": value * (1 + share)}
    return found | others


def shown(axes: Axes, across: int = 1) -> np.ndarray:
    """Value, lower and upper end of every bar, sorted; of horizontal ones with across = 0."""
    found = []
    for container in axes.containers:
        line, _, (segments,) = container.lines
        ends = np.array(segments.get_segments())[:, :, across]
        value = np.asarray(line.get_data()[across], dtype=float)
        found += [(v, *np.sort(e)) for v, e in zip(value, ends, strict=True)]
    return np.array(sorted(found))


def triples(*columns) -> np.ndarray:
    return np.array(sorted(zip(*columns, strict=True)))


def column(rows, name) -> np.ndarray:
    return np.array([row[name] for row in rows], dtype=float)


def of(rows, *families):
    return [row for row in rows if row["family"] in families]


def has_line(axes: Axes, x, y) -> bool:
    want = np.array([x, y], dtype=float)
    lines = [np.array(line.get_data(), dtype=float) for line in axes.lines]
    return any(line.shape == want.shape and np.allclose(line, want) for line in lines)


def save(figures: dict[str, Figure]) -> None:
    for figure in figures.values():
        assert figure.get_size_inches()[0] == 3.5
        figure.savefig("/dev/null", format="svg")
