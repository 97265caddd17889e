"""PyTorch checkpoints in the zip format of `torch.save`, without PyTorch: no code in them runs.

The zip holds X/data.pkl, which describes the tensors, and X/data/0, X/data/1, …, their numbers.
"""

import contextlib
import math
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from theory.bridge.reading import Header, TensorFile, check_promise
from theory.bridge.torch_pickle import interpret
from theory.bridge.torch_tensors import Storage, Tensor, named

PICKLE = 2**26  # bytes of data.pkl; the numbers lie elsewhere
NOTE = 64  # bytes of the records `version` and `byteorder`
VERSIONS = range(1, 11)  # as in PyTorch's caffe2/serialize/versions.h


@contextlib.contextmanager
def opened(path: Path) -> Iterator[TensorFile]:
    """Headers of all tensors at once, numbers as they are asked for."""
    _check_start(path)
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        records = _Records(archive, size)
        found = named(interpret(records.read("data.pkl", PICKLE)))
        if not found:
            raise ValueError("it holds no tensor")
        storages = {tensor.storage for tensor in found.values()}
        # Shared bytes would let a small file stand for any amount of memory.
        check_promise(sum(records.check(storage) for storage in storages), size)
        headers = {n: Header(t.shape, t.storage.dtype.name) for n, t in found.items()}
        numbers = _Numbers(records, found)
        yield TensorFile(headers, numbers.load)


def _check_start(path: Path) -> None:
    """ValueError unless the first bytes are a zip's; what else bears the suffix is named."""
    with path.open("rb") as stream:
        start = stream.read(512)
    if start[257:262] == b"ustar":
        raise ValueError("it is a tar archive, expected a PyTorch zip; unpack it first")
    if start[:1] == b"\x80":
        raise ValueError("it is a bare pickle, expected a zip; save it with PyTorch 1.6 or later")
    if start[:4] != b"PK\x03\x04":
        raise ValueError("it does not begin as the zip of a PyTorch checkpoint does")


class _Records:
    """The members of the zip, all under one folder and none of them compressed."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        names = archive.namelist()
        if len(set(names)) != len(names):
            raise ValueError("it has two records of one name")
        folders = [n.removesuffix("/data.pkl") for n in names if n.endswith("/data.pkl")]
        if len(folders) != 1:
            raise ValueError(f"it has {len(folders)} records data.pkl, expected one")
        self.archive, self.size = archive, size
        self.folder, self.names = folders[0], set(names)
        version, order = self.note("version", "3"), self.note("byteorder", "little")
        if version not in map(str, VERSIONS):
            raise ValueError(f"it has the format version {version!r}, expected 1 to 10")
        if order not in ("little", "big"):
            raise ValueError(f"it has the byte order {order!r}, expected little or big")
        self.swapped = order != sys.byteorder

    def member(self, name: str) -> zipfile.ZipInfo:
        """One record, which takes as many bytes of the file as it says: PyTorch compresses none."""
        if f"{self.folder}/{name}" not in self.names:
            raise ValueError(f"it has no record {name!r}")
        member = self.archive.getinfo(f"{self.folder}/{name}")
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise ValueError(f"its record {name!r} is compressed, which PyTorch never does")
        check_promise(member.file_size, self.size)
        return member

    def read(self, name: str, limit: int | None = None) -> bytes:
        """The bytes of one record, at most so many."""
        member = self.member(name)
        if limit is not None and member.file_size > limit:
            raise ValueError(f"its record {name!r} has {member.file_size} bytes, at most {limit}")
        return self.archive.read(member)

    def note(self, name: str, default: str) -> str:
        """A word that older checkpoints do without."""
        if f"{self.folder}/{name}" not in self.names:
            return default
        return self.read(name, NOTE).decode().strip()

    def check(self, storage: Storage) -> int:
        """Bytes of a storage, which must be as many as the pickle says."""
        promised = storage.entries * storage.dtype.itemsize
        found = self.member(f"data/{storage.key}").file_size
        if found != promised:
            raise ValueError(f"its storage {storage.key} has {found} bytes, expected {promised}")
        return found


class _Numbers:
    """The tensors' numbers; a storage that several of them share is read once."""

    def __init__(self, records: _Records, found: dict[str, Tensor]) -> None:
        self.records, self.found = records, found
        self.uses = Counter(tensor.storage.key for tensor in found.values())
        self.kept: dict[str, bytes] = {}

    def load(self, name: str) -> np.ndarray:
        """One tensor, however its view walks through the storage."""
        tensor = self.found[name]
        dtype, key = tensor.storage.dtype, tensor.storage.key
        # A view may show one entry many times; float16 is widened by who asked.
        promised = max(4, dtype.itemsize) * math.prod(tensor.shape)
        check_promise(promised, self.records.size, compressed=True)
        content = self.kept.get(key) or self.records.read(f"data/{key}")
        if self.uses[key] > 1:
            self.kept[key] = content
        strides = tuple(dtype.itemsize * stride for stride in tensor.strides)
        offset = dtype.itemsize * tensor.offset
        view = np.ndarray(tensor.shape, dtype, content, offset, strides)
        return view.byteswap() if self.records.swapped else view
