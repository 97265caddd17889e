"""Small pickles in PyTorch zips that stand for much: refused soon and in little memory."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests import tensor_files
from tests.tensor_files import pickled_text as text
from theory.bridge import torch_pickle, torch_tensors
from theory.bridge.formats import read_headers
from theory.bridge.torch_pickle import interpret

SECONDS = 10  # for as many opcodes as are allowed, on a slow machine
MANY = torch_pickle.OPCODES


def doubling(empty: bytes, add: bytes, levels: int) -> bytes:
    """Containers of which each holds the one before twice: 2^levels ways to walk."""
    program = b"(" + empty + b"q\x00"
    for level in range(1, levels + 1):
        before = b"h" + bytes([level - 1])
        program += empty + b"(" + add.replace(b"?", before) + b"q" + bytes([level])
    return program + b"t"


BOMBS = {
    "lists that double": (doubling(b"]", b"??e", 30), "steps"),
    "dicts that double": (doubling(b"}", b"K\x00?K\x01?u", 30), "steps"),
    "a list that holds itself": (b"]q\x00h\x00a", "nests containers deeper than 32"),
    "a dict that holds itself": (b"}q\x00" + text("a") + b"h\x00s", "deeper than 32"),
    "deep lists": (b"]" * 10_000 + b"a" * 9_999, "deeper than 32"),
    "deep tuples": (b")" + b"\x85" * (MANY - 9), "deeper than 32"),
    "deep dicts": (b"}" + (text("a") + b"}") * 9_999 + b"s" * 9_999, "deeper than 32"),
    "many dicts": (b"](" + b"}" * MANY + b"e", f"more than {MANY} opcodes"),
    "a key that is a doubling tuple": (
        b"})" + b"q\x00h\x00\x86" * 60 + b"K\x01s",
        "a key of the type tuple",
    ),
    "an integer of a million bytes": (
        b"}\x8b" + struct.pack("<i", 2**20) + b"\x01" * 2**20 + b"K\x01s",
        "more than 64 bits",
    ),
    "long names": (
        b"}" + (text("a" * 500) + b"}") * 20 + b"s" * 20,
        "longer than 512 characters",
    ),
    "a long list in many places": (
        b"](" + b"N" * 5000 + b"eq\x00](" + b"h\x00" * 5000 + b"e\x86",
        "steps",
    ),
}


SCRIPT = """
import json, resource, sys, time
from pathlib import Path
from theory.bridge.formats import read_headers
for name in sys.argv[1:]:
    start, said = time.process_time(), "read"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        read_headers(Path(name))
    except ValueError as error:
        said = str(error)
    gained = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps([said, time.process_time() - start, gained]))
"""


def test_small_programs_take_little(tmp_path):
    """In a process of its own, where no types are checked: a user's time and memory."""
    paths = [str(tmp_path / f"{i}.pth") for i in range(len(BOMBS))]
    for path, (body, _) in zip(paths, BOMBS.values(), strict=True):
        records = {"data.pkl": b"\x80\x02" + body + b".", "data/0": bytes(160)}
        tensor_files.save_records(Path(path), records)
    command = [sys.executable, "-c", SCRIPT, *paths]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    for (case, (_, wanted)), (said, seconds, kilobytes) in zip(BOMBS.items(), found, strict=True):
        print(f"{case}: {seconds:.2f} s, {kilobytes} kB")
        assert wanted in said
        assert seconds < SECONDS
        assert kilobytes < 2**18


def test_the_limits_are_exact(monkeypatch):
    monkeypatch.setattr(torch_pickle, "OPCODES", 6)
    assert interpret(b"]NaNa.") == [None, None]
    with pytest.raises(ValueError, match="more than 6 opcodes"):
        interpret(b"](NNe)a.")
    nested = []
    for _ in range(torch_tensors.DEPTH - 1):
        nested = [nested]
    assert torch_tensors.named(nested) == {}
    with pytest.raises(ValueError, match="deeper than 32"):
        torch_tensors.named([nested])


def test_a_large_pickle_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("theory.bridge.torch_file.PICKLE", 100)
    tensor_files.save_records(tmp_path / "a.pt", {"data.pkl": bytes(101)})
    with pytest.raises(ValueError, match=r"'data\.pkl' has 101 bytes, at most 100"):
        read_headers(tmp_path / "a.pt")
