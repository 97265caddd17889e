"""Thousands of spoilt files: each is read or refused in one line, soon and in little memory."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.mutations import KINDS, spoil

ROOT = Path(__file__).parents[2]
NEEDED = {".gguf": "gguf", ".onnx": "onnx", ".hdf5": "h5py"}
SECONDS = 2  # of processor time for one file of a few kilobytes, on a slow machine


def fuzz(count: int, *names: str) -> dict[str, dict]:
    """Run `tests.fuzzing`; a crash in a parser's C code fails the test with its signal."""
    for name in names:
        if KINDS[name].suffix in NEEDED:
            pytest.importorskip(NEEDED[KINDS[name].suffix])
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.fuzzing", str(count), *names]
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
    for found in fuzz(150, *KINDS).values():
        check(found, 150)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_many_spoilt_files_are_refused_by_name(name):
    found = fuzz(10_000, name)[name]
    print(name, found)
    check(found, 10_000)


@pytest.mark.parametrize("name", KINDS)
def test_every_file_of_a_kind_is_spoilt(tmp_path, name):
    kind = KINDS[name]
    if kind.suffix in NEEDED:
        pytest.importorskip(NEEDED[kind.suffix])
    kind.write(tmp_path / f"file{kind.suffix}")
    whole = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    spoilt = [kind.spoil(whole, number) for number in range(40)]
    assert spoilt == [kind.spoil(whole, number) for number in range(40)]
    for file, content in whole.items():
        assert sum(files[file] != content for files in spoilt) > 10


def test_sums_of_a_zip_hide_no_parser(tmp_path):
    kind = KINDS["pickle in .pth"]
    kind.write(tmp_path / "file.pth")
    whole = {"file.pth": (tmp_path / "file.pth").read_bytes()}
    for number in range(20):
        with zipfile.ZipFile(io.BytesIO(kind.spoil(whole, number)["file.pth"])) as archive:
            assert archive.testzip() is None


def test_damages_are_reproducible_and_differ():
    content = bytes(range(256)) * 4
    spoilt = [spoil(content, number) for number in range(40)]
    assert spoilt == [spoil(content, number) for number in range(40)]
    assert len(set(spoilt)) == 40
    assert spoil(b"", 0) == spoil(b"", 1) == b""
