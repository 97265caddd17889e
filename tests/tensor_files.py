"""Tensor files as other programs write them: GGUF, ONNX and HDF5, through their own packages."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
