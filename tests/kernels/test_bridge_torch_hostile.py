"""Hostile pickles in PyTorch's zips: each is refused by what it does, and nothing of it is done.

Where CPython's own unpickler would run the program, it does here first, to show that the alarm
would ring.
"""

import contextlib
import copyreg
import os
import pickle
import pickletools
import posix
import sys
import types

import numpy as np
import pytest

from tests import tensor_files
from tests.tensor_files import pickled_text as text
from theory.bridge import torch_pickle
from theory.bridge.formats import read_headers, read_tensors
from theory.bridge.torch_pickle import interpret

ORDERED_DICT = b"ccollections\nOrderedDict\n)R"


@pytest.fixture
def alarm(monkeypatch):
    """What was called: os.system, or a class of a module that only this test has."""
    calls = []

    class Trap:
        def __new__(cls, *arguments):
            calls.append(arguments)
            return super().__new__(cls)

        def __setstate__(self, state):
            calls.append(state)

    module = types.ModuleType("trap")
    module.Trap = Trap
    monkeypatch.setitem(sys.modules, "trap", module)
    monkeypatch.setattr(os, "system", lambda *a: calls.append(a))
    monkeypatch.setattr(posix, "system", lambda *a: calls.append(a))
    copyreg.add_extension("os", "system", 240)
    yield calls
    copyreg.remove_extension("os", "system", 240)


def refusal(tmp_path, program: bytes) -> str:
    """What a reader says of a checkpoint with this pickle and one storage of forty numbers."""
    path = tmp_path / "hostile.pth"
    tensor_files.save_records(path, {"data.pkl": program, "data/0": bytes(160)})
    said = []
    for read in (read_headers, read_tensors):
        with pytest.raises(ValueError) as caught:  # noqa: PT011  the callers match
            read(path)
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert said[0].startswith(f"{path} is not a readable .pth file (")
    assert "\n" not in said[0]
    return said[0]


TOUCH = text("touch") + pickle.TUPLE1
STORAGE = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K(tQ"
VIEW = b"K\x00K(\x85K\x01\x85\x89" + ORDERED_DICT  # offset, shape, strides, gradient, hooks
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
SYSTEM = b"cos\nsystem\n" + TOUCH + b"R"
EVAL = text("__import__('os').system('touch')") + b"\x85R"
RUNNING = {
    "os.system": (SYSTEM, "names 'os system'"),
    "posix.system": (b"cposix\nsystem\n" + TOUCH + b"R", "names 'posix system'"),
    "builtins.eval": (b"cbuiltins\neval\n" + EVAL, "names 'builtins eval'"),
    "an old name of eval": (b"\x80\x02c__builtin__\neval\n" + EVAL, "names '__builtin__ eval'"),
    "a name on the stack": (
        text("os") + text("system") + b"\x93" + TOUCH + b"R",
        "names 'os system'",
    ),
    "a name on the stack, of a dotted kind": (
        text("trap") + text("Trap.__new__") + b"\x93ctrap\nTrap\n\x85R",
        "names 'trap Trap.__new__'",
    ),
    "a memoised name called later": (
        b"}q\x01" + text("a") + b"cos\nsystem\nq\x00s0h\x00" + TOUCH + b"R",
        "names 'os system'",
    ),
    "a call of what a call returns": (
        b"cfunctools\npartial\ncos\nsystem\n" + text("touch") + b"\x86R)R",
        "names 'functools partial'",
    ),
    "NEWOBJ": (b"ctrap\nTrap\n)\x81", "names 'trap Trap'"),
    "NEWOBJ_EX": (b"ctrap\nTrap\n)}\x92", "names 'trap Trap'"),
    "INST": (b"(" + text("touch") + b"ios\nsystem\n", "the opcode INST"),
    "OBJ": (b"(ctrap\nTrap\n" + text("touch") + b"o", "names 'trap Trap'"),
    "EXT1": (b"\x82\xf0" + TOUCH + b"R", "the opcode EXT1"),
    "EXT2": (b"\x83\xf0\x00" + TOUCH + b"R", "the opcode EXT2"),
    "EXT4": (b"\x84\xf0\x00\x00\x00" + TOUCH + b"R", "the opcode EXT4"),
    "BUILD of __setstate__": (b"ctrap\nTrap\n)\x81}b", "names 'trap Trap'"),
    "a call as an item of a dict": (b"}" + text("a") + SYSTEM + b"s", "names 'os system'"),
    "a call among the arguments of a harmless one": (
        b"ccollections\nOrderedDict\n](" + text("a") + SYSTEM + b"e\x85\x85R",
        "names 'os system'",
    ),
}


@pytest.mark.parametrize("case", RUNNING)
def test_nothing_is_run(tmp_path, alarm, case):
    body, said = RUNNING[case]
    program = b"\x80\x04" + body + b"."
    with contextlib.suppress(TypeError):  # what was called may return nothing that is of use
        pickle.loads(program)
    assert alarm, "the alarm does not ring"
    alarm.clear()
    assert said in refusal(tmp_path, program)
    assert alarm == []


def tensor(storage: bytes = STORAGE, view: bytes = VIEW) -> bytes:
    return REBUILD + b"(" + storage + view + b"tR"


def view(shape: bytes, strides: bytes = b"K\x01\x85", offset: bytes = b"K\x00") -> bytes:
    return offset + shape + strides + b"\x89" + ORDERED_DICT


def identity(kind: bytes, key: bytes, entries: bytes = b"K(") -> bytes:
    return b"(" + text("storage") + kind + key + text("cpu") + entries + b"tQ"


def long(number: int) -> bytes:
    return pickle.dumps(number, 2)[2:-1]


FLOATS = b"ctorch\nFloatStorage\n"
NESTED = pickle.dumps({"weight": 1}).decode("latin-1")
REFUSED = {
    "a call of a dict": (ORDERED_DICT + b")R", "calls a OrderedDict"),
    "a call of a tensor": (tensor() + b")R", "calls a Tensor"),
    "a call of a type of storage": (FLOATS + b")R", "calls a Float32DType"),
    "a call of a storage": (STORAGE + b")R", "calls a Storage"),
    "a call of a string": (text("os.system") + TOUCH + b"R", "calls a str"),
    "a call without a tuple": (b"ccollections\nOrderedDict\n]R", "calls a Call"),
    "a dict with arguments": (b"ccollections\nOrderedDict\n]\x85R", "OrderedDict with 1 arg"),
    "a call for a storage": (tensor(SYSTEM), "names 'os system'"),
    "a pickle for a storage": (tensor(text(NESTED)), "other than a storage"),
    "a dict for a storage": (tensor(b"}"), "other than a storage"),
    "a pickle for a shape": (tensor(view=view(text(NESTED))), "are no sizes"),
    "a list for a shape": (tensor(view=view(b"]K\x01a")), "are no sizes"),
    "a truth for a size": (tensor(view=view(b"\x88\x85")), "are no sizes"),
    "a tensor for a size": (tensor(view=view(tensor() + b"\x85")), "are no sizes"),
    "a negative stride": (tensor(view=view(b"K\x02\x85", long(-1) + b"\x85")), "are no sizes"),
    "a negative offset": (tensor(view=view(b"K\x02\x85", offset=long(-1))), "are no sizes"),
    "two axes, one stride": (tensor(view=view(b"K\x01K\x01\x86")), "of 2 axes, 1 strides"),
    "33 axes": (tensor(view=view(b"(" + b"K\x01" * 33 + b"t")), "are no sizes"),
    "hooks that are called": (tensor(view=VIEW[: -len(ORDERED_DICT)] + b"]"), "other than a stor"),
    "hooks of no kind": (tensor(view=VIEW[: -len(ORDERED_DICT)] + SYSTEM), "names 'os system'"),
    "a tensor meant negated": (
        tensor(view=VIEW + b"}" + text("neg") + b"\x88s"),
        "_rebuild_tensor_v2 with 7 arguments, expected 6",
    ),
    "a tensor of 41 among 40": (tensor(view=view(b"K)\x85")), "(41,) that reaches entry 40 of"),
    "a tensor from 1 among 40": (tensor(view=view(b"K(\x85", offset=b"K\x01")), "reaches entry 40"),
    "a tensor of 14 times 3 among 40": (
        tensor(view=view(b"K\x0e\x85", b"K\x04\x85")),
        "reaches entry 52",
    ),
    "a huge shape": (
        tensor(view=view(long(2**62) * 2 + b"\x86", long(2**62) + b"K\x01\x86")),
        "reaches entry 2126764793",
    ),
    "a huge storage": (
        tensor(identity(FLOATS, text("0"), long(2**40)), view(long(2**40) + b"\x85")),
        "storage 0 has 160 bytes, expected 4398046511104",
    ),
    "a parameter of no tensor": (
        b"ctorch._utils\n_rebuild_parameter\n" + STORAGE + b"\x88" + ORDERED_DICT + b"\x87R",
        "a parameter from something other than a tensor",
    ),
    "a storage of objects": (
        tensor(identity(b"ctorch\nObjectStorage\n", text("0"))),
        "names 'torch ObjectStorage'",
    ),
    "an id that calls": (SYSTEM + b"Q", "names 'os system'"),
    "an id of a path": (identity(FLOATS, text("../../etc/passwd")), "numbered storage"),
    "an id of another script's digits": (identity(FLOATS, text("\u0661")), "numbered storage"),
    "an id of a pickle": (identity(FLOATS, text(NESTED)), "numbered storage"),
    "an id of a call for a type": (identity(b"ccollections\nOrderedDict\n", text("0")), "numbered"),
    "an id that is text": (text("0") + b"Q", "numbered storage"),
    "an id on a line": (b"P0\n", "the opcode PERSID"),
    "a truth for many entries": (identity(FLOATS, text("0"), b"\x88"), "numbered storage"),
    "a storage that is missing": (tensor(identity(FLOATS, text("7"))), "no record 'data/7'"),
    "a state of more": (
        ORDERED_DICT + b"}(" + text("_metadata") + b"N" + text("__class__") + b"Nub",
        "sets the state of an object",
    ),
    "a state of a hook": (
        ORDERED_DICT + b"}" + text("__setstate__") + b"Nsb",
        "sets the state of an object",
    ),
    "a state of a plain dict": (b"}}b", "fills a dict, expected OrderedDict"),
    "a state of a tensor": (tensor() + b"}b", "fills a Tensor, expected OrderedDict"),
    "a state of a call": (b"ccollections\nOrderedDict\n}b", "fills a Call"),
    "an item of a tuple": (b")K\x01K\x02s", "fills a tuple, expected dict"),
    "an entry of a dict": (b"}K\x01a", "fills a dict, expected list"),
    "half an item": (b"}(K\x01u", "a key without a value"),
    "a tuple for a key": (b"})K\x01s", "a key of the type tuple"),
    "a tensor for a key": (b"}" + tensor() + b"K\x01s", "a key of the type Tensor"),
    "a truth for a key": (b"}\x88K\x01s", "a key of the type bool"),
    "a long key": (b"}" + text("a" * 513) + b"K\x01s", "at most 512 characters"),
    "a long integer": (long(2**64), "more than 64 bits"),
    "an empty stack": (b"R", "takes more from its stack"),
    "a stack beyond a mark": (b"K\x01(\x85", "takes more from its stack"),
    "no mark": (b"t", "a mark that it never set"),
    "an open mark": (b"(K\x01", "does not end with one value"),
    "two values": (b"K\x01K\x01", "does not end with one value"),
    "an empty memo": (b"h\x05", "recalls 5"),
    "a name that is none": (b"K\x01K\x02\x93", "names what is no string"),
    "a name split otherwise": (b"ctorch FloatStorage\n\n", "names 'torch FloatStorage '"),
    "a name with a space before it": (b"c\ntorch FloatStorage\n", "names ' torch FloatStorage'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_checkpoint_never_does(tmp_path, alarm, case):
    body, said = REFUSED[case]
    assert said in refusal(tmp_path, b"\x80\x02" + body + b".")
    assert alarm == []


def test_the_pieces_make_a_good_checkpoint(tmp_path):
    path = tmp_path / "good.pth"
    numbers = np.arange(40, dtype=np.float32)
    program = b"\x80\x02}" + text("w") + tensor() + b"s."
    tensor_files.save_records(path, {"data.pkl": program, "data/0": numbers.tobytes()})
    np.testing.assert_array_equal(read_tensors(path)["w"], numbers)


OTHERS = [opcode for opcode in pickletools.opcodes if opcode.name not in torch_pickle.ACTIONS]
OPERANDS = {"PERSID": b"0\n", "INST": b"os\nsystem\n", "STRING": b"'a'\n", "UNICODE": b"a\n"}
OPERANDS |= dict.fromkeys(["INT", "LONG", "FLOAT", "GET", "PUT"], b"1\n")


@pytest.mark.parametrize("opcode", OTHERS, ids=lambda opcode: opcode.name)
def test_every_other_opcode_is_refused(opcode):
    program = opcode.code.encode("latin-1") + OPERANDS.get(opcode.name, bytes(8))
    with pytest.raises(ValueError, match=f"the opcode {opcode.name}, which is never obeyed"):
        interpret(b"(((K\x01K\x01" + program + b".")


def test_what_makes_objects_is_among_the_others():
    makers = "INST OBJ NEWOBJ NEWOBJ_EX EXT1 EXT2 EXT4 PERSID BINBYTES8 BYTEARRAY8 NEXT_BUFFER"
    assert set(makers.split()) <= {opcode.name for opcode in OTHERS}
