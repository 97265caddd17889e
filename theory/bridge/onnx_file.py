"""ONNX: initializers and Constant nodes by the name of their value, and the model's metadata."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from theory.bridge.reading import Header, TensorFile, package


@contextlib.contextmanager
def opened(path: Path) -> Iterator[TensorFile]:
    """The parsed model; files that it refers to are never opened."""
    package("onnx", ".onnx")
    model = _model(path)
    tensors = _tensors(model.graph)
    headers = {name: _header(name, tensor) for name, tensor in tensors.items()}
    metadata = {pair.key: pair.value for pair in model.metadata_props}
    yield TensorFile(headers, lambda name: _numbers(tensors[name]), metadata)


def _model(path: Path) -> Any:
    """The protocol buffer; ValueError when the bytes are none or hold no graph."""
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    try:
        model = ModelProto.FromString(path.read_bytes())
    except DecodeError as error:  # derives from Exception alone
        raise ValueError(str(error)) from error
    if not model.HasField("graph"):
        raise ValueError("it holds no graph")
    return model


def _tensors(graph: Any) -> dict[str, Any]:
    """Every stored tensor of the main graph by the name of the value that it is."""
    named = [(tensor.name, tensor) for tensor in graph.initializer]
    for node in graph.node:
        if node.op_type == "Constant" and len(node.output) == 1:
            values = [a.t for a in node.attribute if a.name == "value" and a.HasField("t")]
            named += [(node.output[0], tensor) for tensor in values]
    tensors: dict[str, Any] = {}
    for name, tensor in named:
        if name in tensors:
            raise ValueError(f"it has two tensors {name!r}")
        tensors[name] = tensor
    if not tensors:
        raise ValueError("it holds no tensor")
    return tensors


def _header(name: str, tensor: Any) -> Header:
    """Shape, and NumPy's name of a floating type or ONNX's own of another."""
    from onnx import TensorProto

    shape = tuple(tensor.dims)
    if any(size < 0 for size in shape):
        raise ValueError(f"its tensor {name!r} has the shape {shape}")
    names = {
        TensorProto.FLOAT: "float32",
        TensorProto.FLOAT16: "float16",
        TensorProto.DOUBLE: "float64",
        TensorProto.BFLOAT16: "bfloat16",
    }
    kinds = TensorProto.DataType.items()
    others = {number: label.lower() for label, number in kinds}
    kind = names.get(tensor.data_type) or others.get(tensor.data_type)
    return Header(shape, kind or f"number {tensor.data_type}")


def _numbers(tensor: Any) -> np.ndarray:
    """The numbers, which must lie in this very file."""
    from onnx import TensorProto, numpy_helper

    if tensor.data_location == TensorProto.EXTERNAL:
        raise ValueError("its numbers lie in another file, which is not read")
    return numpy_helper.to_array(tensor)
