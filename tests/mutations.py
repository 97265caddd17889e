"""Well-formed tensor files of every format, and spoilt copies of them, each given by a number."""

import io
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests import tensor_files

RNG = np.random.default_rng(5)
WEIGHT = RNG.normal(size=(6, 32)).astype(np.float32)
BIAS = RNG.normal(size=6).astype(np.float32)
TENSORS = {"weight": WEIGHT, "bias": BIAS}
LENGTHS = [0, 1, 255, 2**15, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63, 2**64 - 1]


def write_npz(path: Path) -> None:
    """Two arrays, one of them compressed well."""
    np.savez_compressed(path, weight=WEIGHT, flat=np.zeros(100))


def write_gguf(path: Path) -> None:
    """Metadata of every kind, a quantized tensor and a plain one."""
    metadata = {"tokens": ["a", "b", "é"], "types": [1, 1, 1], "flag": True, "real": 0.5}
    tensor_files.save_gguf(path, TENSORS, {"weight": "Q8_0"}, **metadata)


def write_hdf5(path: Path) -> None:
    """Nested groups, a plain dataset, a compressed one, a string, an attribute and a link."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["layer/weight:0"] = WEIGHT
        file.create_dataset("bias", data=BIAS, chunks=(4,), compression="gzip", shuffle=True)
        file["text"] = "hello"
        file["layer/again"] = h5py.SoftLink("/bias")
        file["layer"].attrs["names"] = ["weight:0"]


def write_torch(path: Path) -> None:
    """A checkpoint with settings, metadata, shared and transposed storages, halves and integers."""
    settings = {"rates": [0.5**i for i in range(30)], "text": "learned from nothing but noise " * 8}
    state = OrderedDict(weight=WEIGHT, bias=BIAS.astype(np.float16), tied=WEIGHT[1:].T)
    state._metadata = OrderedDict({"": {"version": 1}})
    parameter = tensor_files.Parameter(BIAS)
    value = {"settings": settings, "model": state, "more": [parameter, np.arange(3)], "epoch": 7}
    tensor_files.save_torch(path, value)


def write_tfjs(path: Path) -> None:
    """Three tensors, one of them quantized, in two shards that cut one of them in two."""
    quantized = {"small": {"dtype": "uint8", "scale": 0.5, "min": -1}}
    tensors = {**TENSORS, "small": np.arange(6, dtype=np.uint8)}
    tensor_files.save_tfjs(path, tensors, 400, quantized)


Files = dict[str, bytes]


class Kind(NamedTuple):
    """A format, and how its files are spoilt: by their names, with a number."""

    suffix: str
    write: Callable[[Path], None]
    spoil: Callable[[Files, int], Files]


def spoil_all(files: Files, number: int) -> Files:
    """Each file in turn, or all of them at once."""
    chosen = number // 4 % (len(files) + 1)  # the remainder by 4 chooses the damage
    return {
        name: spoil(content, number) if chosen in (i, len(files)) else content
        for i, (name, content) in enumerate(files.items())
    }


def spoil_members(suffix: str) -> Callable[[Files, int], Files]:
    """Those members of a zip, which is whole again around them: its sums hide no parser."""

    def spoil_within(files: Files, number: int) -> Files:
        return {name: _rewrap(content, suffix, number) for name, content in files.items()}

    return spoil_within


def _rewrap(content: bytes, suffix: str, number: int) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(whole, "w") as new:
        for member in old.infolist():
            inner = old.read(member)
            spoilt = spoil(inner, number) if member.filename.endswith(suffix) else inner
            new.writestr(member, spoilt)
    return whole.getvalue()


KINDS = {
    ".npy": Kind(".npy", lambda path: np.save(path, WEIGHT), spoil_all),
    ".npz": Kind(".npz", write_npz, spoil_all),
    "arrays in .npz": Kind(".npz", write_npz, spoil_members(".npy")),
    ".safetensors": Kind(".safetensors", lambda path: save_file(TENSORS, path), spoil_all),
    ".gguf": Kind(".gguf", write_gguf, spoil_all),
    ".onnx": Kind(
        ".onnx",
        lambda path: tensor_files.save_onnx(path, TENSORS, character="a\nb"),
        spoil_all,
    ),
    ".hdf5": Kind(".hdf5", write_hdf5, spoil_all),
    ".pth": Kind(".pth", write_torch, spoil_all),
    "pickle in .pth": Kind(".pth", write_torch, spoil_members("data.pkl")),
    ".json": Kind(".json", write_tfjs, spoil_all),
}


def spoil(content: bytes, number: int) -> bytes:
    """The copy of that number: one to three damages of one kind."""
    rng = np.random.default_rng(number)
    damage = (flip, cut, splice, lengthen)[number % 4]
    spoilt = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        spoilt = damage(spoilt, rng)
    return bytes(spoilt)


def place(content: bytearray, rng: np.random.Generator) -> int:
    """A position, more often than not among the first bytes, where the headers are."""
    within = len(content) if rng.random() < 0.4 else min(len(content), 512)
    return int(rng.integers(max(within, 1)))


def flip(content: bytearray, rng: np.random.Generator) -> bytearray:
    """One bit turned over."""
    if content:
        content[place(content, rng)] ^= 1 << int(rng.integers(8))
    return content


def cut(content: bytearray, rng: np.random.Generator) -> bytearray:
    """The end, or a piece from within, is lost."""
    start = place(content, rng)
    if rng.random() < 0.5:
        return content[:start]
    return content[:start] + content[start + int(rng.integers(1, 64)) :]


def splice(content: bytearray, rng: np.random.Generator) -> bytearray:
    """A piece copied over another, or inserted."""
    source, target, length = place(content, rng), place(content, rng), int(rng.integers(1, 64))
    piece = content[source : source + length]
    kept = target + (len(piece) if rng.random() < 0.5 else 0)
    return content[:target] + piece + content[kept:]


def lengthen(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Four or eight bytes, as a length or an offset may be, replaced by a telling number."""
    start = place(content, rng) & ~(3 if rng.random() < 0.7 else 0)
    size = int(rng.choice([4, 8]))
    value = LENGTHS[int(rng.integers(len(LENGTHS)))] % 256**size
    number = struct.pack("<Q", value)[:size]
    return content[:start] + number + content[start + size :]
