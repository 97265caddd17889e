"""NumPy's own files, .npz and .npy, never a pickle."""

import contextlib
import io
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from theory.bridge.reading import Header, TensorFile, check_promise

HEAD = 2**14  # bytes; NumPy accepts no header longer than 10,000


@contextlib.contextmanager
def opened_npy(path: Path) -> Iterator[TensorFile]:
    """The one array, named ""."""
    with path.open("rb") as stream:
        header = _header(stream, path.stat().st_size)
    yield TensorFile({"": header}, lambda _: np.load(path, allow_pickle=False))


@contextlib.contextmanager
def opened_npz(path: Path) -> Iterator[TensorFile]:
    """The members that are arrays."""
    size = path.stat().st_size
    headers = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.filename.endswith(".npy"):
                with archive.open(member) as stream:
                    name = member.filename.removesuffix(".npy")
                    headers[name] = _header(stream, member.file_size)
        if not headers:
            raise ValueError("it holds no array")
        yield TensorFile(headers, lambda name: _load(archive, name, size))


def _load(archive: zipfile.ZipFile, name: str, size: int) -> np.ndarray:
    """One member; object arrays are refused here too."""
    member = archive.getinfo(f"{name}.npy")
    check_promise(member.file_size, size, compressed=member.compress_type != zipfile.ZIP_STORED)
    with archive.open(member) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _header(stream: IO[Any], size: int) -> Header:
    """Shape and dtype; a header that promises more bytes than there are would allocate them."""
    head = io.BytesIO(stream.read(HEAD))  # a forged length of the header must not be allocated
    version = np.lib.format.read_magic(head)
    old = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(head)
    if not dtype.hasobject:
        check_promise(math.prod(shape) * dtype.itemsize, size)
    return Header(shape, str(dtype))
