"""TensorFlow.js models: exact numbers across shards, and no file but the shards beside them."""

import json
import os

import numpy as np
import pytest

from tests import tensor_files
from theory.bridge import tfjs_file
from theory.bridge.formats import Header, read_headers, read_tensor, read_tensors

RNG = np.random.default_rng(1)
WEIGHT = RNG.normal(size=(3, 3, 8, 16)).astype(np.float32)
BIAS = RNG.normal(size=16).astype(np.float32)
TENSORS = {"conv/kernel": WEIGHT, "conv/bias": BIAS}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.json"


def refusal(read, *arguments) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the callers match
        read(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("shard", [2**22, 4672, 4608, 1001, 7])
def test_tensors_lie_across_shards(path, shard):
    tensor_files.save_tfjs(path, TENSORS, shard)
    assert len(list(path.parent.glob("*.bin"))) == -(-4672 // shard)
    assert read_headers(path)["conv/kernel"] == Header((3, 3, 8, 16), "float32")
    tensors = read_tensors(path)
    assert list(tensors) == list(TENSORS)
    for name, tensor in TENSORS.items():
        np.testing.assert_array_equal(tensors[name], tensor)
        assert tensors[name].dtype == np.float32
        tensors[name][...] = 0  # one's own copy


def test_groups_have_their_own_shards(path):
    for name, tensor in (("a", WEIGHT), ("b", BIAS)):
        (path.parent / name).write_bytes(tensor.tobytes())
    groups = [
        {"paths": [name], "weights": [{"name": f"w{name}", "shape": shape, "dtype": "float32"}]}
        for name, shape in (("a", [3, 3, 8, 16]), ("b", [16]))
    ]
    tensor_files.save_manifest(path, groups)
    np.testing.assert_array_equal(read_tensor(f"{path}:wb", rank=1), BIAS)
    np.testing.assert_array_equal(read_tensor(f"{path}:wa", rank=4), WEIGHT)


def test_only_floats_are_read(path):
    others = {
        "n": np.arange(3, dtype=np.int32),
        "flag": np.array([True]),
        "empty": np.zeros(0, "f4"),
    }
    scalar = {"step": np.array(2.5, np.float32)}
    tensor_files.save_tfjs(path, {**others, **scalar, "z": np.ones(2, np.complex64)})
    assert {name: header.dtype for name, header in read_headers(path).items()} == {
        "n": "int32",
        "flag": "bool",
        "empty": "float32",
        "step": "float32",
        "z": "complex64",
    }
    assert read_tensors(path) == {"step": 2.5}
    assert "n has dtype int32" in refusal(read_tensors, path, ["n"])


@pytest.mark.parametrize("stored", ["uint8", "uint16"])
def test_quantized_integers_are_scaled_and_shifted(path, stored):
    levels = RNG.integers(0, 256, (20, 7)).astype(stored)
    how = {"dtype": stored, "scale": 0.0123, "min": -1.7}
    tensor_files.save_tfjs(path, {"q": levels, "b": BIAS}, quantized={"q": how})
    expected = (levels.astype(np.float64) * 0.0123 - 1.7).astype(np.float32)
    assert read_headers(path)["q"] == Header((20, 7), "float32")
    np.testing.assert_array_equal(read_tensors(path)["q"], expected)
    np.testing.assert_array_equal(read_tensors(path)["b"], BIAS)


def test_halves_are_widened(path):
    halves = WEIGHT.astype(np.float16)
    tensor_files.save_tfjs(path, {"h": halves}, quantized={"h": {"dtype": "float16"}})
    assert read_headers(path)["h"].dtype == "float16"
    np.testing.assert_array_equal(read_tensor(path, rank=4), halves.astype(np.float32))


def test_large_shards_are_measured_by_their_own_size(path):
    tensor_files.save_tfjs(path, {"w": np.zeros(2**24 + 1, np.float32)})
    assert path.stat().st_size < 2000
    assert read_tensors(path)["w"].size == 2**24 + 1


SHARD = 4 * 16
WEIGHTS = [{"name": "b", "shape": [16], "dtype": "float32"}]


def group(paths=("b.bin",), **changed):
    """A group of one tensor, its entry changed; None takes a key away."""
    entry = {**WEIGHTS[0], **changed}
    weights = [{key: value for key, value in entry.items() if value is not None}]
    return {"paths": list(paths), "weights": weights}


def quantized(**how):
    return group(shape=[64], quantization=how)


LEADING_OUT = [
    "../b.bin", "..", ".", "", "/etc/passwd", "sub/b.bin", "..\\b.bin", "C:b.bin", "C:\\b.bin",
    "https://example.org/b.bin", "./b.bin", "b.bin/", 7, None, ["b.bin"],
]  # fmt: skip
BROKEN = {
    "nothing": ([], "it holds no tensor"),
    "a group of nothing": ([{"paths": [], "weights": []}], "it holds no tensor"),
    "a group that is none": ([7], "no paths of the type list"),
    "no paths": ([{"weights": []}], "no paths of the type list"),
    "no weights": ([{"paths": ["b.bin"]}], "no weights of the type list"),
    "a weight that is none": ([{"paths": ["b.bin"], "weights": [7]}], "no name of the type str"),
    "no name": ([group(name=None)], "no name of the type str"),
    "no shape": ([group(shape=None)], "no shape of the type list"),
    "no dtype": ([group(dtype=None)], "no dtype of the type str"),
    "strings": ([group(dtype="string")], "dtype 'string', expected one of float32, int32"),
    "a negative size": ([group(shape=[-16])], "'b' has the shape [-16]"),
    "a fraction": ([group(shape=[16.0])], "'b' has the shape [16.0]"),
    "a truth for a size": ([group(shape=[16, True])], "'b' has the shape [16, True]"),
    "a huge size": ([group(shape=[2**63])], "'b' has the shape [9223372036854775808]"),
    "33 axes": ([group(shape=[1] * 33)], "'b' has the shape [1, 1"),
    "too many entries": ([group(shape=[17])], "shards have 64 bytes, its manifest promises 68"),
    "too few entries": ([group(shape=[15])], "shards have 64 bytes, its manifest promises 60"),
    "terabytes": ([group(shape=[2**40])], "its manifest promises 4398046511104"),
    "twins": ([{**group(), "weights": WEIGHTS * 2}], "two tensors 'b'"),
    "a shard twice": ([group(["b.bin", "b.bin"], shape=[32])], "lists a shard twice"),
    "a shard in two groups": ([group(), group(name="c")], "lists a shard twice"),
    "a missing shard": ([group(["c.bin"])], "its shard 'c.bin' is missing; copy it beside"),
    "a folder": ([group(["folder"])], "its shard 'folder' is missing"),
    "a line in a name": ([group(name="a\nb")], "unprintable name 'a\\nb'"),
    "half a character": ([group(name="\ud800")], "unprintable name '\\ud800'"),
    "four bits": ([quantized(dtype="uint4", scale=1, min=0)], "quantized to 'uint4'"),
    "integers of integers": (
        [group(shape=[64], dtype="int32", quantization={"dtype": "uint8", "scale": 1, "min": 0})],
        "int32 quantized to 'uint8', expected float32",
    ),
    "no scale": ([quantized(dtype="uint8", min=0)], "without the numbers scale and min"),
    "no minimum": ([quantized(dtype="uint8", scale=1)], "without the numbers scale and min"),
    "a scale of text": ([quantized(dtype="uint8", scale="1", min=0)], "without the numbers"),
    "no quantized dtype": ([quantized(scale=1, min=0)], "no dtype of the type str"),
    "a quantization that is none": ([group(quantization=8)], "no quantization of the type dict"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_manifests_that_contradict_themselves(path, case):
    groups, said = BROKEN[case]
    (path.parent / "b.bin").write_bytes(BIAS.tobytes())
    (path.parent / "folder").mkdir()
    tensor_files.save_manifest(path, groups)
    for read in (read_headers, read_tensors):
        message = refusal(read, path)
        assert said in message
        assert f"{path} is not a readable .json file" in message


def test_the_group_is_good_otherwise(path):
    (path.parent / "b.bin").write_bytes(BIAS.tobytes())
    tensor_files.save_manifest(path, [group()])
    np.testing.assert_array_equal(read_tensors(path)["b"], BIAS)


@pytest.mark.parametrize("name", LEADING_OUT, ids=repr)
def test_no_shard_leads_out_of_the_folder(tmp_path, name, monkeypatch):
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    for there in (tmp_path, folder, folder / "sub"):
        (there / "b.bin").write_bytes(BIAS.tobytes())
    monkeypatch.chdir(folder)
    path = folder / "model.json"
    tensor_files.save_manifest(path, [group([name])])
    said = refusal(read_tensors, path)
    assert f"it names the shard {str(name)!r}, expected a file beside it" in said


def test_no_pipe_is_waited_for(path):
    os.mkfifo(path.parent / "b.bin")
    tensor_files.save_manifest(path, [group()])
    assert "its shard 'b.bin' is missing" in refusal(read_headers, path)


def test_a_shard_cut_short(path):
    tensor_files.save_tfjs(path, TENSORS, 1000)
    last = max(path.parent.glob("*.bin"))
    last.write_bytes(last.read_bytes()[:-1])
    said = refusal(read_tensors, path)
    assert "its shards have 4671 bytes, its manifest promises 4672" in said


def test_numbers_must_be_finite(path):
    (path.parent / "b.bin").write_bytes(bytes(60) + np.float32(np.inf).tobytes())
    tensor_files.save_manifest(path, [group()])
    assert "b has 1 entries out of 16 that are NaN or infinite" in refusal(read_tensors, path)
    (path.parent / "b.bin").write_bytes(bytes(range(64)))
    tensor_files.save_manifest(path, [quantized(dtype="uint8", scale=1e300, min=0)])
    assert "63 entries out of 64" in refusal(read_tensors, path)
    tensor_files.save_manifest(path, [quantized(dtype="uint8", scale=10**400, min=0)])
    assert "too large to convert to float" in refusal(read_tensors, path)


FOREIGN = {
    "no JSON": (b"anything", "Expecting value"),
    "nothing": (b"", "Expecting value"),
    "a vocabulary": (b'{"a": 1}', "no weightsManifest of the type list, expected the model.json"),
    "a list": (b"[1, 2]", "no weightsManifest"),
    "no list": (b'{"weightsManifest": {}}', "no weightsManifest"),
    "no UTF-8": (b'{"\xff": 1}', "can't decode byte"),
    "deep lists": (b"[" * 100_000, "recursion"),
    "a long integer": (b'{"a": ' + b"1" * 5000 + b"}", "4300 digits"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_foreign_files_are_refused(path, case):
    content, said = FOREIGN[case]
    path.write_bytes(content)
    for read in (read_headers, read_tensors):
        message = refusal(read, path)
        assert f"{path} is not a readable .json file" in message
        assert said in message


def test_a_large_manifest_is_not_parsed(path, monkeypatch):
    tensor_files.save_tfjs(path, TENSORS)
    size = path.stat().st_size
    monkeypatch.setattr(tfjs_file, "MANIFEST", size)
    assert len(read_headers(path)) == 2
    monkeypatch.setattr(tfjs_file, "MANIFEST", size - 1)
    assert f"it has {size} bytes, expected at most {size - 1}" in refusal(read_headers, path)


def test_one_tensor_is_read_without_the_other_shards(path, monkeypatch):
    tensor_files.save_tfjs(path, TENSORS, 1168)
    opened, real = [], type(path).open
    record = lambda self, *a, **k: opened.append(self.name) or real(self, *a, **k)  # noqa: E731
    monkeypatch.setattr(type(path), "open", record)
    read_tensors(path, ["conv/bias"])
    assert [name for name in opened if name.endswith(".bin")] == ["group1-shard4of4.bin"]
    assert json.loads(path.read_text())["weightsManifest"][0]["paths"][0] == "group1-shard1of4.bin"
