"""HDF5: the datasets of one file by their path; links to other files are not followed."""

import contextlib
import math
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from theory.bridge.reading import Header, TensorFile, check_promise, package

DEPTH = 32  # groups within groups; Keras nests about five
FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}  # no plugin is ever loaded


@contextlib.contextmanager
def opened(path: Path) -> Iterator[TensorFile]:
    """Headers of all datasets at once, numbers as they are asked for."""
    h5py = package("h5py", path.suffix)
    size = path.stat().st_size
    with h5py.File(path, "r") as file:
        headers = {name: _header(dataset) for name, dataset in _datasets(file)}
        if not headers:
            raise ValueError("it holds no dataset")
        yield TensorFile(headers, lambda name: _numbers(file[name], size))


def _datasets(file: Any) -> Iterator[tuple[str, Any]]:
    """Every dataset by its path, each once, through hard links alone and in no deep recursion.

    The library's own walk takes minutes on a megabyte of nested groups.
    """
    import h5py

    groups, met = deque([("", file, 1)]), {_address(file)}
    while groups:
        prefix, group, depth = groups.popleft()
        if depth > DEPTH:
            raise ValueError(f"it nests groups deeper than {DEPTH}")
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            found = group[name]
            if _address(found) in met:
                continue
            met.add(_address(found))
            if isinstance(found, h5py.Group):
                groups.append((f"{prefix}{name}/", found, depth + 1))
            elif isinstance(found, h5py.Dataset):
                yield prefix + name, found


def _address(found: Any) -> int:
    """Where an object lies in the file, the same for all its names."""
    import h5py

    return h5py.h5o.get_info(found.id).addr


def _header(dataset: Any) -> Header:
    """Shape and dtype; what is no array of numbers says so in its dtype."""
    if dataset.shape is None:
        return Header((0,), "empty")
    kind = "of varying length" if dataset.dtype.hasobject else str(dataset.dtype)
    return Header(tuple(dataset.shape), kind)


def _numbers(dataset: Any, size: int) -> np.ndarray:
    """The numbers, once they lie in this file and can be as many as it says."""
    if dataset.external or dataset.is_virtual:
        raise ValueError("its numbers lie in another file, which is not read")
    settings = dataset.id.get_create_plist()
    filters = {settings.get_filter(i)[0] for i in range(settings.get_nfilters())}
    if not filters <= FILTERS.keys():
        raise ValueError(f"it uses the filters {sorted(filters)}, expected {FILTERS}")
    _check_storage(dataset, size, compressed=bool(filters))
    return dataset[()]


def _check_storage(dataset: Any, size: int, *, compressed: bool) -> None:
    """ValueError on what a few bytes promise: terabytes of fill value, or millions of chunks."""
    check_promise(dataset.nbytes, size, compressed=compressed)
    if dataset.chunks is None:
        return
    check_promise(math.prod(dataset.chunks) * dataset.dtype.itemsize, size, compressed=True)
    pieces = math.prod(-(-n // k) for n, k in zip(dataset.shape, dataset.chunks, strict=True))
    if pieces > size:  # every one that was written takes some bytes
        raise ValueError(f"its header promises {pieces} chunks in {size} bytes")
