"""Thousands of spoilt files: each is read or refused in one line, soon and in little memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutations import WRITERS, spoil

ROOT = Path(__file__).parents[2]
NEEDED = {".gguf": "gguf", ".onnx": "onnx", ".hdf5": "h5py"}
SECONDS = 2  # of processor time for one file of a few kilobytes, on a slow machine


def fuzz(count: int, *suffixes: str) -> dict[str, dict]:
    """Run `tests.fuzzing`; a crash in a parser's C code fails the test with its signal."""
    for suffix in suffixes:
        if suffix in NEEDED:
            pytest.importorskip(NEEDED[suffix])
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.fuzzing", str(count), *suffixes]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60 + count / 5, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(found: dict, count: int) -> None:
    assert found["faults"] == []
    assert found["read"] + found["refused"] == count
    assert min(found["read"], found["refused"]) > 0.01 * count  # the damages do tell
    assert found["slowest"] < SECONDS
    assert found["kilobytes"] < 2**17


def test_spoilt_files_are_refused_by_name():
    for found in fuzz(150, *WRITERS).values():
        check(found, 150)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", WRITERS)
def test_many_spoilt_files_are_refused_by_name(suffix):
    found = fuzz(10_000, suffix)[suffix]
    print(suffix, found)
    check(found, 10_000)


def test_damages_are_reproducible_and_differ():
    content = bytes(range(256)) * 4
    spoilt = [spoil(content, number) for number in range(40)]
    assert spoilt == [spoil(content, number) for number in range(40)]
    assert len(set(spoilt)) == 40
    assert spoil(b"", 0) == spoil(b"", 1) == b""
