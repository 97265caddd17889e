"""HDF5: the datasets of one file by their path; links to other files are not followed."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from theory.bridge.reading import Header, TensorFile, check_promise, package

FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}  # no plugin is ever loaded


@contextlib.contextmanager
def opened(path: Path) -> Iterator[TensorFile]:
    """Headers of all datasets at once, numbers as they are asked for."""
    package("h5py", path.suffix)
    import h5py

    size = path.stat().st_size
    with h5py.File(path, "r") as file:
        headers: dict[str, Header] = {}

        def visit(name: str, found: Any) -> None:
            if isinstance(found, h5py.Dataset):
                headers[name] = _header(found)

        file.visititems(visit)  # hard links only, each object once
        if not headers:
            raise ValueError("it holds no dataset")
        yield TensorFile(headers, lambda name: _numbers(file[name], size))


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
    # What was never written reads as a fill value: a few bytes may promise terabytes of it.
    check_promise(dataset.nbytes, size, compressed=bool(filters))
    return dataset[()]
