"""Tensor files as other programs write them.

GGUF, ONNX and HDF5 through their own packages, PyTorch's zips and TensorFlow.js's files by hand.
"""

import json
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

Tensors = Mapping[str, np.ndarray]


def save_gguf(
    path: Path, tensors: Tensors, quantized: Mapping[str, str] | None = None, **metadata: Any
) -> None:
    """Tensors as they are, or quantized to the named type; metadata by its dotted key."""
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, "toy")
    for key, value in metadata.items():
        add = {str: writer.add_string, bool: writer.add_bool, int: writer.add_uint32}
        add |= {float: writer.add_float64, list: writer.add_array}
        add[type(value)](key, value)
    for name, tensor in tensors.items():
        if name in (quantized or {}):
            kind = gguf.GGMLQuantizationType[quantized[name]]
            writer.add_tensor(name, gguf.quants.quantize(tensor, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def save_onnx(path: Path, tensors: Tensors, **metadata: str) -> None:
    """Every other tensor an initializer, the rest Constant nodes with other names inside."""
    onnx = pytest.importorskip("onnx")
    initializers, nodes = [], []
    for i, (name, tensor) in enumerate(tensors.items()):
        if i % 2:
            initializers.append(onnx.numpy_helper.from_array(tensor, name))
        else:
            value = onnx.numpy_helper.from_array(tensor, "inner")
            nodes.append(onnx.helper.make_node("Constant", [], [name], value=value))
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "toy", [], [], initializers))
    onnx.helper.set_model_props(model, metadata)
    path.write_bytes(model.SerializeToString())


def save_hdf5(path: Path, tensors: Tensors) -> None:
    """One dataset each, in groups where the names have slashes."""
    with pytest.importorskip("h5py").File(path, "w") as file:
        for name, tensor in tensors.items():
            file[name] = tensor


class Parameter(NamedTuple):
    """Written as `torch.nn.Parameter` is."""

    data: np.ndarray


class _Reference(NamedTuple):
    """Written as a persistent id."""

    storage: np.ndarray
    key: str


class TorchPickle:
    """The program of `torch.save`, opcode by opcode; storages are numbered as they come.

    Arrays become views of the storage that owns their numbers, with their own strides.
    """

    KINDS: Mapping[str, str] = {
        "float16": "Half",
        "bfloat16": "BFloat16",
        "float32": "Float",
        "float64": "Double",
        "complex64": "ComplexFloat",
        "bool": "Bool",
        "uint8": "Byte",
        "int32": "Int",
        "int64": "Long",
    }

    def __init__(self, value: Any) -> None:
        self.code = bytearray(pickle.PROTO + b"\x02")
        self.memo: dict[object, int] = {}
        self.storages: list[np.ndarray] = []
        self.add(value)
        self.code += pickle.STOP

    def add(self, value: Any) -> None:
        """The opcodes that leave one value on the stack."""
        match value:
            case None | bool():
                self.code += {None: pickle.NONE, True: pickle.NEWTRUE, False: pickle.NEWFALSE}[
                    value
                ]
            case int():
                self.code += pickle.dumps(value, 2)[2:-1]
            case float():
                self.code += pickle.BINFLOAT + struct.pack(">d", value)
            case str():
                self.once(value, pickled_text(value))
            case np.ndarray():
                self.add_tensor(value)
            case Parameter():
                self.add_call("torch._utils _rebuild_parameter", value.data, True, OrderedDict())
            case _Reference():
                name = f"torch {self.KINDS[value.storage.dtype.name]}Storage"
                self.code += pickle.MARK
                self.add("storage")
                self.add_name(name)
                for entry in (value.key, "cpu", value.storage.size):
                    self.add(entry)
                self.code += pickle.TUPLE + pickle.BINPERSID
            case tuple():
                self.code += pickle.MARK
                for entry in value:
                    self.add(entry)
                self.code += pickle.TUPLE
            case list():
                self.code += pickle.EMPTY_LIST + pickle.MARK
                for entry in value:
                    self.add(entry)
                self.code += pickle.APPENDS
            case dict():
                self.add_dict(value)

    def add_dict(self, value: dict) -> None:
        """A dict, or the state dict of a module with its `_metadata`."""
        if isinstance(value, OrderedDict):
            self.add_call("collections OrderedDict")
        else:
            self.code += pickle.EMPTY_DICT
        self.code += pickle.MARK
        for key, entry in value.items():
            self.add(key)
            self.add(entry)
        self.code += pickle.SETITEMS
        if hasattr(value, "_metadata"):
            self.add({"_metadata": value._metadata})
            self.code += pickle.BUILD

    def add_tensor(self, array: np.ndarray) -> None:
        """A view of the storage that owns the array's numbers."""
        owner = array
        while owner.base is not None:
            owner = owner.base
        key = next((i for i, known in enumerate(self.storages) if known is owner), None)
        if key is None:
            key = len(self.storages)
            self.storages.append(owner)
        size = array.itemsize
        offset = (array.ctypes.data - owner.ctypes.data) // size
        strides = tuple(stride // size for stride in array.strides)
        view = (_Reference(owner, str(key)), offset, array.shape, strides, False, OrderedDict())
        self.add_call("torch._utils _rebuild_tensor_v2", *view)

    def add_call(self, name: str, *arguments: Any) -> None:
        """REDUCE of a global on a tuple."""
        self.add_name(name)
        self.add(arguments)
        self.code += pickle.REDUCE

    def add_name(self, name: str) -> None:
        """GLOBAL of a module and a name."""
        module, _, name = name.partition(" ")
        self.once((module, name), pickle.GLOBAL + f"{module}\n{name}\n".encode())

    def once(self, value: object, code: bytes) -> None:
        """The code, or what the memo has of it."""
        if value in self.memo:
            self.code += pickle.LONG_BINGET + struct.pack("<I", self.memo[value])
        else:
            self.memo[value] = len(self.memo)
            self.code += code + pickle.LONG_BINPUT + struct.pack("<I", self.memo[value])


def pickled_text(text: str) -> bytes:
    """The opcode that pushes a string."""
    content = text.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(content)) + content


def save_torch(path: Path, value: Any, order: str = "little") -> None:
    """What `torch.save` of PyTorch 2 writes for arrays in containers."""
    program = TorchPickle(value)
    records = {"data.pkl": bytes(program.code), "byteorder": order.encode()}
    swapped = order != sys.byteorder
    for key, owner in enumerate(program.storages):
        records[f"data/{key}"] = (owner.byteswap() if swapped else owner).tobytes()
    save_records(path, {**records, "version": b"3\n"})


def save_records(path: Path, records: Mapping[str, bytes]) -> None:
    """A zip of uncompressed records in one folder, the same bytes at every time of the day."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in records.items():
            archive.writestr(zipfile.ZipInfo(f"{path.stem}/{name}"), content)


def save_tfjs(
    path: Path, tensors: Tensors, shard: int = 2**22, quantized: Mapping[str, Mapping] | None = None
) -> None:
    """One group of tensors in shards of so many bytes.

    Args:
        path: the .json; the shards lie beside it.
        tensors: as stored; those that `quantized` names are float32 in the manifest.
        shard: bytes.
        quantized: how the named tensors were quantized.
    """
    content = b"".join(tensor.tobytes() for tensor in tensors.values())
    pieces = [content[start : start + shard] for start in range(0, len(content), shard)]
    names = [f"group1-shard{i + 1}of{len(pieces)}.bin" for i in range(len(pieces))]
    for name, piece in zip(names, pieces, strict=True):
        (path.parent / name).write_bytes(piece)
    weights = []
    for name, tensor in tensors.items():
        entry = {"name": name, "shape": list(tensor.shape), "dtype": tensor.dtype.name}
        if name in (quantized or {}):
            entry |= {"dtype": "float32", "quantization": dict(quantized[name])}
        weights.append(entry)
    save_manifest(path, [{"paths": names, "weights": weights}])


def save_manifest(path: Path, groups: Sequence[Mapping]) -> None:
    """The model.json of a layers model."""
    model = {"format": "layers-model", "modelTopology": {}, "weightsManifest": list(groups)}
    path.write_text(json.dumps(model))
