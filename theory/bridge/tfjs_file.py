"""TensorFlow.js models: a model.json that lists tensors, and raw little-endian shards beside it.

The format is that of `weightsManifest` in TensorFlow.js's `io/types.ts`: groups of shards, each
group's shards one after another hold its tensors one after another.
"""

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

import numpy as np

from theory.bridge.reading import Header, TensorFile

MANIFEST = 2**24  # bytes of the .json; parsed, it takes up to twenty times as many
KEY = 512  # characters of a name that an error shows
RANK = 32  # axes; NumPy's own limit before version 2
DTYPES = {"float32": "<f4", "int32": "<i4", "bool": "?", "complex64": "<c8"}
QUANTIZED = {"float16": "<f2", "uint8": "u1", "uint16": "<u2"}


class _Shard(NamedTuple):
    """A file beside the manifest."""

    path: Path
    size: int


class _Place(NamedTuple):
    """Where one tensor's bytes lie in its group of shards, and what makes numbers of them."""

    header: Header
    stored: np.dtype
    affine: tuple[float, float] | None
    shards: list[_Shard]
    start: int


@contextlib.contextmanager
def opened(path: Path) -> Iterator[TensorFile]:
    """Headers of all tensors at once, numbers as they are asked for."""
    if (length := path.stat().st_size) > MANIFEST:
        raise ValueError(f"it has {length} bytes, expected at most {MANIFEST}")
    model = json.loads(path.read_bytes())
    groups = _get(model, "weightsManifest", list)
    shards = [_shards(path.parent, _get(group, "paths", list)) for group in groups]
    used = [shard for group in shards for shard in group]
    if len({shard.path for shard in used}) != len(used):
        raise ValueError("it lists a shard twice")
    places: dict[str, _Place] = {}
    for group, files in zip(groups, shards, strict=True):
        _add_places(places, _get(group, "weights", list), files)
    if not places:
        raise ValueError("it holds no tensor")
    headers = {name: place.header for name, place in places.items()}
    size = sum(shard.size for shard in used)
    yield TensorFile(headers, lambda name: _numbers(places[name]), size=size)


def _get(entry: Any, key: str, kind: type) -> Any:
    """A value of a JSON object, of the type that it must have."""
    value = entry.get(key) if isinstance(entry, dict) else None
    if type(value) is not kind:
        raise ValueError(
            f"it has no {key} of the type {kind.__name__}, expected the model.json of TensorFlow.js"
        )
    return value


def _shards(folder: Path, names: list[Any]) -> list[_Shard]:
    """The files of a group; a name that leads out of the folder is never opened."""
    shards = []
    for name in names:
        # As a path of Windows, so that drives and backslashes are no plain names anywhere.
        if type(name) is not str or name in ("", ".", "..") or PureWindowsPath(name).name != name:
            raise ValueError(
                f"it names the shard {str(name)[:KEY]!r}, expected a file beside it without a path"
            )
        path = folder / name
        if not path.is_file():
            raise ValueError(f"its shard {name!r} is missing; copy it beside the .json")
        shards.append(_Shard(path, path.stat().st_size))
    return shards


def _add_places(places: dict[str, _Place], weights: list[Any], shards: list[_Shard]) -> None:
    """The tensors of a group, which must fill its shards to the last byte."""
    start = 0
    for weight in weights:
        name, shape = _get(weight, "name", str), _get(weight, "shape", list)
        if name in places:
            raise ValueError(f"it has two tensors {name[:KEY]!r}")
        if len(shape) > RANK or any(type(n) is not int or not 0 <= n < 2**63 for n in shape):
            raise ValueError(f"its tensor {name[:KEY]!r} has the shape {str(shape)[:KEY]}")
        header, stored, affine = _kind(weight)
        places[name] = _Place(Header(tuple(shape), header), stored, affine, shards, start)
        start += math.prod(shape) * stored.itemsize
    found = sum(shard.size for shard in shards)
    if start != found:
        raise ValueError(f"its shards have {found} bytes, its manifest promises {start}")


def _kind(weight: dict[str, Any]) -> tuple[str, np.dtype, tuple[float, float] | None]:
    """The dtype that comes out, the one stored, and scale and minimum of 8- and 16-bit integers."""
    dtype = _get(weight, "dtype", str)
    if dtype not in DTYPES:
        raise ValueError(f"it has the dtype {dtype[:KEY]!r}, expected one of {', '.join(DTYPES)}")
    if "quantization" not in weight:
        return dtype, np.dtype(DTYPES[dtype]), None
    quantization = _get(weight, "quantization", dict)
    stored = _get(quantization, "dtype", str)
    if dtype != "float32" or stored not in QUANTIZED:
        raise ValueError(
            f"it has {dtype} quantized to {stored[:KEY]!r}, expected float32 quantized to one of "
            f"{', '.join(QUANTIZED)}"
        )
    if stored == "float16":
        return stored, np.dtype(QUANTIZED[stored]), None
    scale, minimum = (_real(quantization.get(key)) for key in ("scale", "min"))
    return dtype, np.dtype(QUANTIZED[stored]), (scale, minimum)


def _real(value: Any) -> float:
    """A number; what does not come out finite is refused with the tensor."""
    if type(value) not in (int, float):
        raise ValueError("it has a quantization without the numbers scale and min")
    return float(value)


def _numbers(place: _Place) -> np.ndarray:
    """The tensor's own bytes as numbers; quantized ones as scale · q + min, like TensorFlow.js."""
    length = math.prod(place.header.shape) * place.stored.itemsize
    stored = np.frombuffer(_read(place.shards, place.start, length), place.stored)
    if place.affine is not None:
        scale, minimum = place.affine
        stored = (stored * scale + minimum).astype(np.float32)
    return stored.reshape(place.header.shape)


def _read(shards: list[_Shard], start: int, length: int) -> bytes:
    """Bytes of the shards one after another."""
    content = b""
    for shard in shards:
        first, last = max(start, 0), min(start + length, shard.size)
        if first < last:
            with shard.path.open("rb") as stream:
                stream.seek(first)
                content += stream.read(last - first)
        start -= shard.size
    return content
