"""What every reader of a tensor file shares: headers, the open file, a package that is missing."""

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

INFLATED = 64  # compressed floats seldom shrink by more, and a lie should not fill the memory
SMALL = 2**26  # bytes that may be allocated whatever the size of a compressed file


class Header(NamedTuple):
    """What a file says of one tensor before its numbers are read."""

    shape: tuple[int, ...]
    dtype: str


class TensorFile(NamedTuple):
    """An open file.

    Fields:
        headers: of every tensor, by name, axes in row-major order.
        load: the numbers of one tensor by its name; only they are read.
        metadata: key-value pairs beside the tensors; None when the format has none.
        size: bytes of the files beside it that hold the numbers; None when it holds them itself.
    """

    headers: dict[str, Header]
    load: Callable[[str], np.ndarray]
    metadata: Mapping[str, Any] | None = None
    size: int | None = None


class MissingReader(ValueError):
    """The package that reads a format is not installed; the message says how to install it."""


def package(name: str, suffix: str) -> ModuleType:
    """Import an optional package only when a file asks for it.

    Raises:
        MissingReader: when it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingReader(
            f"{suffix} files are read with the package {name.split('.')[0]}, which cannot be "
            f"imported ({error}); pip install 'noncommit[weights]'"
        ) from error


def check_promise(promised: int, size: int, *, compressed: bool = False) -> None:
    """ValueError when a header promises more bytes than its file can hold, before allocating."""
    allowed = max(SMALL, INFLATED * size) if compressed else size
    if promised > allowed:
        raise ValueError(f"its header promises {promised} bytes, it has {size}")
