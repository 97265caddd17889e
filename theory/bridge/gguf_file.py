"""GGUF: header, metadata and tensors; one tensor is dequantized without touching the others.

The header is parsed here, every length checked against the bytes that are left: the package's own
reader takes minutes on a forged count and keeps an array per token. Its tables of block sizes and
its dequantizers are used as they are.
"""

import contextlib
import math
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from theory.bridge.reading import Header, TensorFile, check_promise, package

VERSIONS = (2, 3)
MAX_RANK = 4  # as in ggml
ALIGNMENT = 32
SCALARS = {i: f"<{code}" for i, code in enumerate("BbHhIif?--Qqd") if code != "-"}
TEXT, ARRAY = 8, 9
PLAIN = {"F16": np.float16, "BF16": jnp.bfloat16, "F32": np.float32, "F64": np.float64}
QUANTIZED = re.compile(r"I?Q\d_\w+|TQ\d_0|(MX|NV)FP4")  # numbers with their scales


class _Place(NamedTuple):
    """Where one tensor's bytes lie: name of its type, bytes per row, first byte, how many."""

    shape: tuple[int, ...]
    kind: str
    row: int
    start: int
    bytes: int


class _Cursor:
    """Reads forward and never asks for more than the file has left."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self.stream, self.left = stream, size

    def take(self, length: int) -> bytes:
        """The next bytes."""
        if length > self.left:
            raise ValueError(f"it promises {length} bytes where {self.left} are left")
        self.left -= length
        return self.stream.read(length)

    def number(self, layout: str) -> Any:
        """One number in a struct layout."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def count(self, smallest: int) -> int:
        """How many entries follow, each of at least that many bytes."""
        count = self.number("<Q")
        if count * smallest > self.left:
            raise ValueError(f"it promises {count} entries where {self.left} bytes are left")
        return count

    def text(self) -> str:
        """A string with its length before it."""
        return self.take(self.number("<Q")).decode()

    def value(self, kind: int) -> Any:
        """One value of metadata: number, string, or list of either."""
        if kind == TEXT:
            return self.text()
        if kind == ARRAY:
            return self._array(self.number("<I"))
        if kind not in SCALARS:
            raise ValueError(f"it has metadata of the unknown type {kind}")
        return self.number(SCALARS[kind])

    def _array(self, kind: int) -> list[Any]:
        if kind == ARRAY:  # the format allows it, no file is known to use it
            raise ValueError("it has arrays of arrays among its metadata")
        if kind == TEXT:
            return [self.text() for _ in range(self.count(8))]
        if kind not in SCALARS:
            raise ValueError(f"it has metadata of the unknown type {kind}")
        count = self.count(struct.calcsize(SCALARS[kind]))
        layout = f"<{count}{SCALARS[kind][1]}"
        return list(struct.unpack(layout, self.take(struct.calcsize(layout))))


@contextlib.contextmanager
def opened(path: Path) -> Iterator[TensorFile]:
    """Headers and metadata at once, numbers as they are asked for."""
    package("gguf.constants", ".gguf")
    size = path.stat().st_size
    with path.open("rb") as stream:
        metadata, places = _parse(stream, size)
        headers = {name: Header(place.shape, place.kind) for name, place in places.items()}
        yield TensorFile(headers, lambda name: _numbers(stream, places[name]), metadata)


def is_float(kind: str) -> bool:
    """Whether the type stands for real numbers: with their scales, quantized ones do."""
    return kind in PLAIN or QUANTIZED.fullmatch(kind) is not None


def _parse(stream: IO[bytes], size: int) -> tuple[dict[str, Any], dict[str, _Place]]:
    """Metadata and places of tensors; ValueError on anything that contradicts itself."""
    cursor = _Cursor(stream, size)
    if cursor.take(4) != b"GGUF":
        raise ValueError("it does not begin with GGUF")
    version = cursor.number("<I")
    if version not in VERSIONS:
        order = "big-endian " if version % 65536 == 0 else ""
        raise ValueError(f"it is {order}GGUF of version {version}, expected 2 or 3, little-endian")
    tensors, pairs = cursor.count(24), cursor.count(12)  # the least bytes that one takes
    metadata = {}
    for _ in range(pairs):
        key = cursor.text()
        metadata[key] = cursor.value(cursor.number("<I"))
    infos = [_info(cursor) for _ in range(tensors)]
    return metadata, _places(infos, _data_start(size - cursor.left, metadata), size)


def _info(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    """Name, shape in row-major order, type and offset; the file has the fastest axis first."""
    name, rank = cursor.text(), cursor.number("<I")
    if rank > MAX_RANK:
        raise ValueError(f"its tensor {name!r} has rank {rank}, more than {MAX_RANK}")
    shape = tuple(cursor.number("<Q") for _ in range(rank))[::-1]
    return name, shape, cursor.number("<I"), cursor.number("<Q")


def _data_start(header: int, metadata: dict[str, Any]) -> int:
    """First byte after the header that the alignment allows."""
    alignment = metadata.get("general.alignment", ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise ValueError(f"its alignment is {alignment!r}, expected a power of two")
    return -(-header // alignment) * alignment


def _places(
    infos: list[tuple[str, tuple[int, ...], int, int]], start: int, size: int
) -> dict[str, _Place]:
    """Where the tensors lie, once they fit in the file one beside another."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    places: dict[str, _Place] = {}
    for name, shape, number, offset in infos:
        kind = GGMLQuantizationType(number)  # ValueError on an unknown one
        entries, length = GGML_QUANT_SIZES[kind]
        columns = shape[-1] if shape else 1
        if columns % entries:
            raise ValueError(f"its tensor {name!r} {shape} does not divide into {kind.name} blocks")
        if name in places:
            raise ValueError(f"it has two tensors {name!r}")
        row = columns // entries * length
        promised = math.prod(shape[:-1]) * row
        check_promise(start + offset + promised, size)
        places[name] = _Place(shape, kind.name, row, start + offset, promised)
    # Shared bytes would let a small file stand for any amount of memory.
    check_promise(sum(place.bytes for place in places.values()), size)
    return places


def _numbers(stream: IO[bytes], place: _Place) -> np.ndarray:
    """The tensor's own bytes, as they are or dequantized to float32."""
    stream.seek(place.start)
    content = stream.read(place.bytes)
    if len(content) != place.bytes:
        raise ValueError("it became shorter while it was read")
    if place.kind in PLAIN:
        return np.frombuffer(content, PLAIN[place.kind]).reshape(place.shape)
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import dequantize

    rows = np.frombuffer(content, np.uint8).reshape(-1, place.row)
    return dequantize(rows, GGMLQuantizationType[place.kind]).reshape(place.shape)
