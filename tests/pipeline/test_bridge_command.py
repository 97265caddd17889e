"""`noncommit bridge` on heads never seen before, and one clear line for every bad input."""

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from experiments import cli

RNG = np.random.default_rng(7)
WEIGHT = RNG.normal(size=(50, 12)).astype(np.float32)
WEIGHT[9] = WEIGHT[4]
WEIGHT[11] = WEIGHT[4] * np.float32(1 + 3e-7)
BIAS = RNG.normal(size=50).astype(np.float32)
LATENTS = RNG.normal(size=(300, 12)).astype(np.float32)


def run(capsys, *words: object) -> tuple[int, str, str]:
    status = cli.main(["bridge", *map(str, words)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def brute_force(weight, bias, latents) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, neighbours and distances over all classes by direct float64 differences."""
    weight, bias, latents = (np.asarray(a, np.float64) for a in (weight, bias, latents))
    label = (latents @ weight.T + bias).argmax(axis=1)
    apart = weight[label][:, None] - weight
    gap = np.einsum("rn,rkn->rk", latents, apart) + bias[label][:, None] - bias
    length = np.linalg.norm(apart, axis=-1)
    ratio = np.where(length > 0, gap / np.where(length > 0, length, 1), np.inf)
    return label, ratio.argmin(axis=1), ratio.min(axis=1)


def written(out: Path) -> tuple[np.ndarray, ...]:
    with (out / "distances.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [int(row["row"]) for row in rows] == list(range(len(rows)))
    columns = ("label", "neighbour", "distance")
    return tuple(np.array([float(row[name]) for row in rows]) for name in columns)


def save(folder: Path, kind: str, **tensors: np.ndarray) -> Path:
    path = folder / f"head.{kind}"
    if kind == "npz":
        np.savez(path, **tensors)
    else:
        save_file({name: np.ascontiguousarray(t) for name, t in tensors.items()}, path)
    return path


FAST = [("npz", np.float16, False), ("safetensors", np.float64, True)]
LAYOUTS = itertools.product(
    ["npz", "safetensors"], [np.float16, np.float32, np.float64], [False, True]
)


@pytest.mark.parametrize(
    ("kind", "dtype", "transpose"),
    [
        layout if layout in FAST else pytest.param(*layout, marks=pytest.mark.slow)
        for layout in LAYOUTS
    ],
)
def test_distances_equal_brute_force(capsys, tmp_path, kind, dtype, transpose):
    weight, bias, latents = (a.astype(dtype) for a in (WEIGHT, BIAS, LATENTS))
    stored = weight.T if transpose else weight
    path = save(tmp_path, kind, **{"lm_head.weight": stored, "b": bias, "z": latents})
    options = ["--transpose"] if transpose else []
    status, printed, errors = run(
        capsys,
        *("--weight", f"{path}:lm_head.weight", "--bias", f"{path}:b"),
        *("--latents", f"{path}:z", "--out", tmp_path / "out", "--draws", 2, *options),
    )
    assert (status, errors) == (0, "")
    assert "300 latents" in printed
    label, neighbour, distance = brute_force(weight, bias, latents)
    found = written(tmp_path / "out")
    np.testing.assert_array_equal(found[0], label)
    np.testing.assert_array_equal(found[1], neighbour)
    np.testing.assert_allclose(found[2], distance, rtol=1e-6)


def test_report_is_json_without_nan_and_flips_lie_in_the_sandwich(capsys, tmp_path):
    path = save(tmp_path, "npz", w=WEIGHT, z=LATENTS)
    arguments = ["--weight", f"{path}:w", "--latents", f"{path}:z", "--out", tmp_path]
    assert run(capsys, *arguments)[0] == 0
    report = json.loads((tmp_path / "bridge.json").read_text(), parse_constant=pytest.fail)
    assert report["head"]["classes"] == 50
    assert len(report["noise"]) >= 5
    for row in report["noise"]:
        assert row["flips_lower"] <= row["sandwich_upper"]
        assert row["flips_upper"] >= row["sandwich_lower"]


def test_a_single_latent_is_enough_for_distances(capsys, tmp_path):
    path = save(tmp_path, "npz", w=WEIGHT, z=LATENTS[:1])
    arguments = ["--weight", f"{path}:w", "--latents", f"{path}:z", "--out", tmp_path]
    assert run(capsys, *arguments)[0] == 0
    assert json.loads((tmp_path / "bridge.json").read_text())["head"]["latents"] == 1


def test_latents_at_zero_have_distances_but_no_relative_ones(capsys, tmp_path):
    path = save(tmp_path, "npz", w=WEIGHT, b=BIAS, z=np.zeros((3, 12), np.float32))
    words = ["--weight", f"{path}:w", "--bias", f"{path}:b", "--latents", f"{path}:z"]
    assert run(capsys, *words, "--out", tmp_path)[0] == 0
    assert json.loads((tmp_path / "bridge.json").read_text())["head"]["relative_median"] is None


def spoiled(array: np.ndarray) -> np.ndarray:
    spoiled = array.copy()
    spoiled.flat[3] = np.nan
    return spoiled


GOOD = {"w": WEIGHT, "b": BIAS, "z": LATENTS}
BAD = {
    "wrong rank": ({"w": WEIGHT[0]}, [], "rank"),
    "NaN weight": ({"w": spoiled(WEIGHT)}, [], "NaN"),
    "NaN latents": ({"z": spoiled(LATENTS)}, [], "NaN"),
    "no latents": ({"z": LATENTS[:0]}, [], "at least one"),
    "one class": ({"w": WEIGHT[:1], "b": BIAS[:1]}, [], "class"),
    "equal rows": ({"w": np.repeat(WEIGHT[:1], 50, axis=0)}, [], "equal"),
    "latents of another width": ({"z": LATENTS[:, :5]}, [], "(300, 5)"),
    "bias of another length": ({"b": BIAS[:7]}, [], "(7,)"),
    "no noise": ({}, ["--scales", "0"], "positive"),
    "negative noise": ({}, ["--scales", "0.1", "-1"], "positive"),
    "no draws": ({}, ["--draws", "0"], "draws"),
    "fractional draws": ({}, ["--draws", "1.5"], "draws"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_writes_nothing(capsys, tmp_path, case):
    changed, options, said = BAD[case]
    path = save(tmp_path, "npz", **{**GOOD, **changed})
    arguments = ["--weight", f"{path}:w", "--bias", f"{path}:b", "--latents", f"{path}:z"]
    out = tmp_path / "out"
    status, printed, errors = run(capsys, *arguments, "--out", out, *options)
    check_refused(status, printed, errors, said)
    assert not out.exists() or not list(out.iterdir())


def check_refused(status: int, printed: str, errors: str, said: str) -> None:
    assert (status, printed) == (2, "")
    assert errors.startswith("noncommit: ")
    assert errors.count("\n") == 1
    assert said in errors


def test_several_tensors_and_none_named_lists_them(capsys, tmp_path):
    path = save(tmp_path, "npz", **GOOD)
    check_refused(
        *run(capsys, "--weight", path, "--latents", f"{path}:z", "--out", tmp_path / "out"),
        "(50, 12)",
    )


def test_a_missing_file_and_an_unknown_decoder_are_named(capsys, tmp_path):
    gone = tmp_path / "gone.npz"
    check_refused(
        *run(capsys, "--weight", gone, "--latents", gone, "--out", tmp_path / "out"), "gone.npz"
    )
    check_refused(*run(capsys, "g2p", "--out", tmp_path / "out"), "g2p-en")


def test_a_folder_that_cannot_be_written_is_named(capsys, tmp_path):
    path = save(tmp_path, "npz", **GOOD)
    arguments = ["--weight", f"{path}:w", "--latents", f"{path}:z"]
    check_refused(*run(capsys, *arguments, "--out", path / "below"), str(path))


def test_weights_whose_hash_differs_are_refused(capsys, tmp_path):
    path = tmp_path / "checkpoint20.npz"
    path.write_bytes(b"not the weights")
    status = cli.main(["weights", "g2p-en", "--path", str(path)])
    captured = capsys.readouterr()
    check_refused(status, captured.out, captured.err, "sha256")


RUNS = {
    "one mode": ["--simplicial", "1"],
    "fractional modes": ["--simplicial", "2.5"],
    "orthants not a power of two": ["--orthants", "6"],
    "no effort": ["--effort", "0"],
    "unknown estimator": ["--estimators", "croften"],
}


ALIKE = {"no effort", "orthants not a power of two", "unknown estimator"}  # to the default run


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=pytest.mark.slow if c in ALIKE else ()) for c in RUNS]
)
def test_a_bad_grid_is_one_line(capsys, tmp_path, case):
    out = tmp_path / "out"
    status = cli.main(["run", "interface_exact", *RUNS[case], "--out", str(out)])
    captured = capsys.readouterr()
    check_refused(status, captured.out, captured.err, RUNS[case][-1].split(".")[0])
    assert not out.exists() or not list(out.iterdir())
