"""The pickle of a PyTorch checkpoint, interpreted so that nothing in it is imported or called.

A pickle is a program for a stack machine that may call whatever it names. The machine here knows
the opcodes that `torch.save` writes for tensors in containers; a name is looked up in the closed
table of `torch_tensors`, and a call only describes a tensor or makes an empty dict. Source: the
opcodes in CPython's `pickletools`.
"""

import pickletools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from theory.bridge import torch_tensors

OPCODES = 2**20  # a second or two of work; about 40 of them describe one tensor
KEY = 512  # characters


def interpret(content: bytes) -> Any:
    """The pickled value: dicts, lists, tuples, plain values and `torch_tensors.Tensor`s.

    Raises:
        ValueError: on every opcode, name, call, state or persistent id that `torch.save` does not
            write for tensors in containers, on keys other than strings and integers, on a torn
            program and on one of too many opcodes.
    """
    machine = _Machine()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if count == OPCODES:
            raise ValueError(f"its pickle has more than {OPCODES} opcodes")
        if opcode.name not in ACTIONS:
            raise ValueError(f"its pickle has the opcode {opcode.name}, which is never obeyed")
        ACTIONS[opcode.name](machine, argument)
    if machine.marks or len(machine.stack) != 1:
        raise ValueError("its pickle does not end with one value")
    return machine.stack[0]


class _Machine:
    """Stack, marks on it, and memo; no program gets at more than it has put there."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        """A value; integers beyond 64 bits would make hashing them slow."""
        if type(value) is int and not -(2**63) <= value < 2**64:
            raise ValueError("its pickle has an integer of more than 64 bits")
        self.stack.append(value)

    def pop(self, count: int = 1) -> list[Any]:
        """The topmost values, not beyond the last mark."""
        start = len(self.stack) - count
        if start < (self.marks[-1] if self.marks else 0):
            raise ValueError("its pickle takes more from its stack than there is")
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def pop_marked(self) -> list[Any]:
        """The values above the last mark."""
        if not self.marks:
            raise ValueError("its pickle returns to a mark that it never set")
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
            # Tuples of tuples, or long strings, would take forever to hash or to compare.
            if type(key) not in (str, int) or (type(key) is str and len(key) > KEY):
                raise ValueError(
                    f"its pickle has a key of the type {type(key).__name__}, expected a string of "
                    f"at most {KEY} characters or an integer"
                )
            target[key] = value

    def name(self, name: str) -> None:
        """Push the inert mark of a known name."""
        if name not in torch_tensors.NAMES:
            raise ValueError(
                f"its pickle names {name[:KEY]!r}, which is never imported; expected nothing but "
                "tensors in dicts, lists and tuples"
            )
        self.stack.append(torch_tensors.NAMES[name])

    def name_from_stack(self) -> None:
        """The same with module and name on the stack."""
        module, name = self.pop(2)
        if type(module) is not str or type(name) is not str:
            raise ValueError("its pickle names what is no string")
        self.name(f"{module} {name}")

    def call(self) -> None:
        """One of the known calls."""
        called, arguments = self.pop(2)
        if type(called) is not torch_tensors.Call or type(arguments) is not tuple:
            raise ValueError(f"its pickle calls a {type(called).__name__}, which is never called")
        self.stack.append(torch_tensors.call(called, arguments))

    def build(self) -> None:
        """Pass over the `_metadata` of a state dict, the one state that PyTorch sets."""
        (state,) = self.pop()
        self.top(OrderedDict)
        if type(state) is not dict or list(state) != ["_metadata"]:
            raise ValueError("its pickle sets the state of an object, which is never done")

    def refer(self) -> None:
        """The storage that a persistent id stands for."""
        (identity,) = self.pop()
        self.stack.append(torch_tensors.storage(identity))


LITERALS = ("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT")
TEXTS = ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda machine, _: None),
    **dict.fromkeys(LITERALS + TEXTS, _Machine.push),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_marked())),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.pop())),
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
