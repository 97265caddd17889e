"""The toy, which also writes down who began and ended which cell, and takes its time."""

import os
import time

from tests.pipeline import toy
from tests.pipeline.clusters import wait_for
from tests.pipeline.toy import PRESETS, Cell, Grid, cells, cost

__all__ = ["PRESETS", "Cell", "Grid", "cells", "cost", "measure"]


def write(event, cell):
    """One line, whole, into the file that the environment names, if it does."""
    if log := os.environ.get("TOY_LOG"):
        line = f"{event} {os.getpid()} {cell.modes} {cell.scale}\n"
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(descriptor, line.encode())
        os.close(descriptor)


def measure(cell, key):
    """The toy's row, whatever the environment says; cheap cells, the last, wait for a file."""
    write("began", cell)
    time.sleep(float(os.environ.get("TOY_SECONDS", "0")))
    if (gate := os.environ.get("TOY_GATE")) and cell.modes < 4:
        wait_for(lambda: os.path.exists(gate))
    row = toy.measure(cell, key)
    write("ended", cell)
    return row
