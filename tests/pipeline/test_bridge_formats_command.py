"""`noncommit bridge` on heads in GGUF, ONNX and HDF5: the same numbers, and shapes in refusals."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments import bridge, cli
from tests import tensor_files
from theory.bridge.readout import readout

RNG = np.random.default_rng(11)
WEIGHT = RNG.normal(size=(50, 12)).astype(np.float32)
LATENTS = RNG.normal(size=(300, 12)).astype(np.float32)
BIAS = RNG.normal(size=50).astype(np.float32)
SAVED = {
    "gguf": tensor_files.save_gguf,
    "onnx": tensor_files.save_onnx,
    "hdf5": tensor_files.save_hdf5,
}


@pytest.fixture(params=sorted(SAVED))
def path(request, tmp_path):
    path = tmp_path / f"head.{request.param}"
    tensors = {"out/kernel:0": WEIGHT, "stored/kernel:0": WEIGHT.T, "b": BIAS, "z": LATENTS}
    SAVED[request.param](path, {name: np.ascontiguousarray(t) for name, t in tensors.items()})
    return path


def run(capsys, path: Path, weight: str, *options: object) -> tuple[int, str, str]:
    words = ["--weight", f"{path}:{weight}", "--bias", f"{path}:b", "--latents", f"{path}:z"]
    out = path.parent / "out"
    status = cli.main(["bridge", *words, "--out", str(out), "--draws", "2", *map(str, options)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def check_refused(status: int, printed: str, errors: str, *said: str) -> None:
    assert (status, printed) == (2, "")
    assert errors.startswith("noncommit: ")
    assert errors.count("\n") == 1
    for part in said:
        assert part in errors


def distances(path: Path) -> np.ndarray:
    with (path.parent / "out" / "distances.csv").open() as lines:
        return np.array([float(row["distance"]) for row in csv.DictReader(lines)])


def test_the_head_of_the_command_is_the_one_that_was_written(capsys, path, monkeypatch):
    """What is measured of a head is tested elsewhere; here, that it is the same head."""
    heads = []
    monkeypatch.setattr(bridge, "make_head", lambda *head: heads.append(head))
    monkeypatch.setattr(bridge, "_run", lambda *_: ([], "measured"))
    for weight_and_options in (["out/kernel:0"], ["stored/kernel:0", "--transpose"]):
        assert run(capsys, path, *weight_and_options) == (0, "measured\n", "")
    for diagram, latents in heads:
        expected = readout(WEIGHT, BIAS)
        np.testing.assert_array_equal(diagram.sites, expected.sites)
        np.testing.assert_array_equal(diagram.offsets, expected.offsets)
        np.testing.assert_array_equal(latents, LATENTS)
    assert len(heads) == 2


@pytest.mark.slow
def test_distances_equal_brute_force_and_transposition_changes_nothing(capsys, path):
    weight, latents = WEIGHT.astype(np.float64), LATENTS.astype(np.float64)
    logits = latents @ weight.T + BIAS
    label = logits.argmax(axis=1)
    length = np.linalg.norm(weight[label][:, None] - weight, axis=-1)
    gap = logits.max(axis=1, keepdims=True) - logits
    others = np.where(length > 0, gap / np.where(length > 0, length, 1), np.inf)
    for weight_and_options in (["out/kernel:0"], ["stored/kernel:0", "--transpose"]):
        assert run(capsys, path, *weight_and_options)[0] == 0
        np.testing.assert_allclose(distances(path), others.min(axis=1), rtol=1e-5)


def test_a_transposed_weight_is_refused_with_both_shapes(capsys, path):
    check_refused(*run(capsys, path, "stored/kernel:0"), "(12, 50)", "(50,)", "--transpose")
    check_refused(*run(capsys, path, "out/kernel:0", "--transpose"), "(50, 12)", "(50,)")
    check_refused(*run(capsys, path, "b"), "shape (50,), rank 1, expected a matrix")


def test_a_torn_file_and_an_unknown_tensor_are_one_line(capsys, path):
    check_refused(*run(capsys, path, "kernel:0"), "did you mean 'out/kernel:0'")
    path.write_bytes(path.read_bytes()[:100])
    check_refused(*run(capsys, path, "out/kernel:0"), f"not a readable {path.suffix} file")


def test_a_missing_package_is_one_line(capsys, path, monkeypatch):
    for name in ("gguf", "gguf.constants", "onnx", "h5py"):
        monkeypatch.setitem(sys.modules, name, None)
    check_refused(*run(capsys, path, "out/kernel:0"), "pip install 'noncommit[weights]'")
