"""What the pickle of a PyTorch checkpoint may speak of: storages, and tensors as views of them.

Source: PyTorch's `torch/_utils.py` (the calls) and `torch/serialization.py` (the persistent ids).
"""

import enum
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

STEPS = 2**20  # of the walk through the containers
TENSORS = 2**16
DEPTH = 32  # containers within containers; a checkpoint of an optimizer nests about five
NAME = 512  # characters
RANK = 32  # axes; NumPy's own limit before version 2


class Call(enum.Enum):
    """The names that may be called."""

    ORDERED_DICT = "collections OrderedDict"
    TENSOR = "torch._utils _rebuild_tensor_v2"
    PARAMETER = "torch._utils _rebuild_parameter"


STORAGES = {
    "torch HalfStorage": np.float16,
    "torch BFloat16Storage": jnp.bfloat16,
    "torch FloatStorage": np.float32,
    "torch DoubleStorage": np.float64,
    "torch ComplexFloatStorage": np.complex64,
    "torch ComplexDoubleStorage": np.complex128,
    "torch BoolStorage": np.bool_,
    "torch ByteStorage": np.uint8,
    "torch CharStorage": np.int8,
    "torch ShortStorage": np.int16,
    "torch IntStorage": np.int32,
    "torch LongStorage": np.int64,
}
# Module and name with one space between them stand for nothing but themselves.
NAMES: dict[str, Call | np.dtype] = {
    **{call.value: call for call in Call},
    **{name: np.dtype(kind) for name, kind in STORAGES.items()},
}


@dataclass(frozen=True)
class Storage:
    """The record of the zip that holds numbers: of which type, under which key, how many."""

    dtype: np.dtype
    key: str
    entries: int


@dataclass(frozen=True)
class Tensor:
    """A view of a storage; offset and strides count entries, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def storage(identity: Any) -> Storage:
    """The storage that the persistent id ("storage", type, key, device, entries) stands for.

    Raises:
        ValueError: when the id is anything else.
    """
    match identity:
        case ("storage", np.dtype() as dtype, str() as key, str(), entries):
            if key.isascii() and key.isdecimal() and len(key) < 20 and _is_size(entries):
                return Storage(dtype, key, entries)
    raise ValueError("its pickle refers to something other than a numbered storage of numbers")


def call(name: Call, arguments: tuple[Any, ...]) -> OrderedDict | Tensor:
    """What the call stands for: an empty dict, or the description of a tensor.

    Raises:
        ValueError: on other arguments than `torch.save` writes, and on a view that exceeds its
            storage.
    """
    build, expected = CALLS[name]
    if len(arguments) != expected:  # a tensor's seventh may say that its numbers are meant negated
        raise ValueError(
            f"its pickle calls {name.value.split()[1]} with {len(arguments)} arguments, expected "
            f"{expected}"
        )
    return build(*arguments)


def _tensor(data: Any, offset: Any, shape: Any, strides: Any, gradient: Any, hooks: Any) -> Tensor:
    """A view, once it lies within its storage."""
    if type(data) is not Storage or type(gradient) is not bool or type(hooks) is not OrderedDict:
        raise ValueError("its pickle builds a tensor from something other than a storage")
    if not _is_size(offset) or not _are_sizes(shape) or not _are_sizes(strides):
        raise ValueError("its pickle has a tensor whose offset, shape or strides are no sizes")
    if len(shape) != len(strides):
        raise ValueError(f"its pickle has a tensor of {len(shape)} axes, {len(strides)} strides")
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if 0 not in shape and last >= data.entries:
        raise ValueError(
            f"its pickle has a tensor {shape} that reaches entry {last} of a storage of "
            f"{data.entries}"
        )
    return Tensor(data, offset, shape, strides)


def _parameter(data: Any, gradient: Any, hooks: Any) -> Tensor:
    """A parameter is its tensor."""
    if type(data) is not Tensor or type(gradient) is not bool or type(hooks) is not OrderedDict:
        raise ValueError("its pickle builds a parameter from something other than a tensor")
    return data


CALLS: dict[Call, tuple[Callable[..., OrderedDict | Tensor], int]] = {
    Call.ORDERED_DICT: (OrderedDict, 0),
    Call.TENSOR: (_tensor, 6),
    Call.PARAMETER: (_parameter, 3),
}


def _is_size(number: Any) -> bool:
    return type(number) is int and 0 <= number < 2**63


def _are_sizes(numbers: Any) -> bool:
    return type(numbers) is tuple and len(numbers) <= RANK and all(map(_is_size, numbers))


PLACED = (Tensor, dict, list, tuple)  # what a name leads to; all else is passed over


def named(root: Any) -> dict[str, Tensor]:
    """Every tensor in nested dicts, lists and tuples, its keys and indices joined by dots.

    A tensor without a container is named "". What is neither tensor nor container is passed over.
    The walk is bounded: containers that hold each other stand for exponentially many, or no end.

    Raises:
        ValueError: on two tensors of one name, and past the limits on tensors, depth, names, steps.
    """
    found: dict[str, Tensor] = {}
    levels: list[tuple[str, Iterator[tuple[Any, Any]]]] = [("", iter([("", root)]))]
    for _ in range(STEPS):
        prefix, children = levels[-1]
        key, value = next(children, (None, None))
        if key is None:
            levels.pop()
            if not levels:
                return found
        elif isinstance(value, PLACED):
            name = f"{prefix}.{key}" if prefix else str(key)
            _check_place(name, len(levels), found)
            if isinstance(value, Tensor):
                found[name] = value
            else:
                pairs = value.items() if isinstance(value, dict) else enumerate(value)
                levels.append((name, iter(pairs)))
    raise ValueError(f"a walk through its containers takes more than {STEPS} steps")


def _check_place(name: str, depth: int, found: dict[str, Tensor]) -> None:
    """ValueError when a tensor or container lies too deep or its name is too long or taken."""
    if depth > DEPTH:
        raise ValueError(f"it nests containers deeper than {DEPTH}")
    if len(name) > NAME:
        raise ValueError(f"it has a tensor whose name is longer than {NAME} characters")
    if name in found:
        raise ValueError(f"it has two tensors {name!r}")
    if len(found) == TENSORS:
        raise ValueError(f"it has more than {TENSORS} tensors")
