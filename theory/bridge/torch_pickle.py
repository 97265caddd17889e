"""The pickle inside a PyTorch checkpoint, interpreted so that nothing is ever imported or called.

A pickle is a program for a stack machine that may call whatever it names. The machine here knows
the opcodes that `torch.save` writes for tensors in containers; names are looked up in a closed
table of inert marks, and a call builds the description of a tensor or an empty dict. Source: the
opcodes in CPython's `pickletools`, the calls in PyTorch's `torch/_utils.py`.
"""

import enum
import pickletools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

OPCODES = 2**20  # about 40 of them describe one tensor
TENSORS = 2**16
DEPTH = 32  # containers within containers; a checkpoint of an optimizer nests about five
KEY = 512  # characters, of a key and of a tensor's whole name
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


def tensors(content: bytes) -> dict[str, Tensor]:
    """Every tensor in the pickled containers, its keys and indices joined by dots.

    A pickled tensor without a container is named "". What is no tensor is passed over.

    Args:
        content: the record `data.pkl`.

    Raises:
        ValueError: on every opcode, name, call or persistent id that is not known to be harmless,
            on keys other than strings and integers, on a view that exceeds its storage, on two
            tensors of one name, and past the limits on opcodes, tensors, depth and names.
    """
    return _flatten(_Machine().run(content))


class _Machine:
    """The stack machine; every pop is checked, so that no program gets beyond its own values."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, content: bytes) -> Any:
        """The value that the program leaves when it stops."""
        for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if count == OPCODES:
                raise ValueError(f"its pickle has more than {OPCODES} opcodes")
            if opcode.name not in ACTIONS:
                raise ValueError(f"its pickle has the opcode {opcode.name}, which is never obeyed")
            ACTIONS[opcode.name](self, argument)
        if self.marks or len(self.stack) != 1:
            raise ValueError("its pickle does not end with one value")
        return self.stack[0]

    def push(self, value: Any) -> None:
        """A literal; integers beyond 64 bits would make hashing them slow."""
        if type(value) is int and not -(2**63) <= value < 2**64:
            raise ValueError("its pickle has an integer of more than 64 bits")
        self.stack.append(value)

    def pop(self, count: int = 1) -> list[Any]:
        """The topmost values, not beyond the last mark."""
        start = len(self.stack) - count
        if start < (self.marks[-1] if self.marks else 0):
            raise ValueError("its pickle takes more from the stack than there is")
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def pop_marked(self) -> list[Any]:
        """The values above the last mark."""
        if not self.marks:
            raise ValueError("its pickle takes from a mark that it never set")
        values = self.pop(len(self.stack) - self.marks[-1])
        self.marks.pop()
        return values

    def top(self, kind: type) -> Any:
        """The topmost value, left there, which must be of that type."""
        (value,) = self.pop()
        if not isinstance(value, kind):
            raise ValueError(f"its pickle fills a {type(value).__name__}, expected {kind.__name__}")
        self.stack.append(value)
        return value

    def put(self, index: int) -> None:
        """Remember the topmost value."""
        self.memo[index] = self.top(object)

    def get(self, index: int) -> None:
        """Push what is remembered."""
        if index not in self.memo:
            raise ValueError(f"its pickle recalls {index}, which it never stored")
        self.stack.append(self.memo[index])

    def extend(self, values: list[Any]) -> None:
        """Append to the list on top."""
        self.top(list).extend(values)

    def update(self, pairs: list[Any]) -> None:
        """Set items of the dict on top, from keys and values in turn."""
        target = self.top(dict)
        if len(pairs) % 2:
            raise ValueError("its pickle sets a key without a value")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            # Other keys, tuples of tuples or very long ones, could take forever to hash or compare.
            if type(key) not in (str, int) or (type(key) is str and len(key) > KEY):
                raise ValueError(
                    f"its pickle has a key of the type {type(key).__name__}, expected a string of "
                    f"at most {KEY} characters or an integer"
                )
            target[key] = value

    def name(self, name: str) -> None:
        """Push the mark of a known name; nothing is imported."""
        if name not in NAMES:
            raise ValueError(
                f"its pickle names {name[:KEY]!r}, which is never imported; expected tensors alone "
                "in dicts, lists and tuples"
            )
        self.stack.append(NAMES[name])

    def name_from_stack(self) -> None:
        """The same with module and name on the stack."""
        module, name = self.pop(2)
        if type(module) is not str or type(name) is not str:
            raise ValueError("its pickle names what is no string")
        self.name(f"{module} {name}")

    def call(self) -> None:
        """One of the three calls."""
        called, arguments = self.pop(2)
        if type(called) is not Call or type(arguments) is not tuple:
            raise ValueError(f"its pickle calls a {type(called).__name__}, which is never called")
        self.stack.append(CALLS[called](*_counted(called, arguments)))

    def build(self) -> None:
        """Pass over PyTorch's `_metadata` of a state dict, the one state that is let through."""
        (state,) = self.pop()
        self.top(OrderedDict)
        if type(state) is not dict or list(state) != ["_metadata"]:
            raise ValueError("its pickle sets the state of an object, which is never done")

    def refer(self) -> None:
        """The storage that a persistent id stands for."""
        (identity,) = self.pop()
        self.stack.append(_storage(identity))


def _counted(called: Call, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """A seventh argument of a tensor would say that its numbers are meant negated or conjugate."""
    expected = {Call.ORDERED_DICT: 0, Call.TENSOR: 6, Call.PARAMETER: 3}[called]
    if len(arguments) != expected:
        name = called.value.split()[1]
        raise ValueError(f"its pickle calls {name} with {len(arguments)} arguments, not {expected}")
    return arguments


def _storage(identity: Any) -> Storage:
    """From ("storage", type, key, device, entries)."""
    match identity:
        case ("storage", np.dtype() as dtype, str() as key, str(), int() as entries):
            if key.isascii() and key.isdecimal() and len(key) < 20 and _is_size(entries):
                return Storage(dtype, key, entries)
    raise ValueError("its pickle refers to something other than a numbered storage of numbers")


def _tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, gradient: Any, hooks: Any
) -> Tensor:
    """A view, once it lies within its storage."""
    if type(storage) is not Storage or type(gradient) is not bool or not isinstance(hooks, dict):
        raise ValueError("its pickle builds a tensor from something other than a storage")
    if not _is_size(offset) or not _are_sizes(shape) or not _are_sizes(strides):
        raise ValueError("its pickle has a tensor whose offset, shape or strides are no sizes")
    if len(shape) != len(strides):
        raise ValueError(f"its pickle has a tensor of {len(shape)} axes, {len(strides)} strides")
    reach = sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if 0 not in shape and offset + reach >= storage.entries:
        raise ValueError(
            f"its pickle has a tensor {shape} that reaches entry {offset + reach} of a storage of "
            f"{storage.entries}"
        )
    return Tensor(storage, offset, shape, strides)


def _parameter(data: Any, gradient: Any, hooks: Any) -> Tensor:
    """A parameter is its tensor."""
    if type(data) is not Tensor or type(gradient) is not bool or not isinstance(hooks, dict):
        raise ValueError("its pickle builds a parameter from something other than a tensor")
    return data


def _is_size(number: Any) -> bool:
    return type(number) is int and 0 <= number < 2**63


def _are_sizes(numbers: Any) -> bool:
    return type(numbers) is tuple and len(numbers) <= RANK and all(map(_is_size, numbers))


CALLS: dict[Call, Callable[..., Any]] = {
    Call.ORDERED_DICT: OrderedDict,
    Call.TENSOR: _tensor,
    Call.PARAMETER: _parameter,
}
LITERALS = [
    "BININT",
    "BININT1",
    "BININT2",
    "LONG1",
    "LONG4",
    "BINFLOAT",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE8",
]
ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda _, argument: None),
    **dict.fromkeys(LITERALS, _Machine.push),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_marked())),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.pop(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.pop(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.pop(3))),
    "APPEND": lambda machine, _: machine.extend(machine.pop()),
    "APPENDS": lambda machine, _: machine.extend(machine.pop_marked()),
    "SETITEM": lambda machine, _: machine.update(machine.pop(2)),
    "SETITEMS": lambda machine, _: machine.update(machine.pop_marked()),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _Machine.put),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.get),
    "MEMOIZE": lambda machine, _: machine.put(len(machine.memo)),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": lambda machine, _: machine.name_from_stack(),
    "REDUCE": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.refer(),
}


def _flatten(root: Any) -> dict[str, Tensor]:
    """Depth first, with a limit on steps: shared containers may stand for exponentially many."""
    found: dict[str, Tensor] = {}
    levels: list[tuple[str, Iterator[tuple[Any, Any]]]] = [("", iter([("", root)]))]
    for _ in range(OPCODES):
        prefix, children = levels[-1]
        key, value = next(children, (None, None))
        if key is None:
            levels.pop()
            if not levels:
                return found
        elif isinstance(value, Tensor | dict | list | tuple):
            name = f"{prefix}.{key}" if prefix else str(key)
            _check_place(name, len(levels), found)
            if isinstance(value, Tensor):
                found[name] = value
            else:
                pairs = value.items() if isinstance(value, dict) else enumerate(value)
                levels.append((name, iter(pairs)))
    raise ValueError(f"its containers hold each other in more than {OPCODES} ways")


def _check_place(name: str, depth: int, found: dict[str, Tensor]) -> None:
    """ValueError when a tensor or container lies too deep or its name is too long or taken."""
    if depth > DEPTH:
        raise ValueError(f"it nests containers deeper than {DEPTH}")
    if len(name) > KEY:
        raise ValueError(f"it has a tensor whose name is longer than {KEY} characters")
    if name in found:
        raise ValueError(f"it has two tensors {name!r}")
    if len(found) == TENSORS:
        raise ValueError(f"it has more than {TENSORS} tensors")
