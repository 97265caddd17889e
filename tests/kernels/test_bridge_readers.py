"""GGUF, ONNX and HDF5: what they hold beside plain arrays, and what of GGUF and ONNX is refused."""

import pickle
import struct
import sys

import numpy as np
import pytest

from tests import tensor_files
from theory.bridge import formats
from theory.bridge.formats import read_headers, read_metadata, read_tensor, read_tensors
from theory.bridge.reading import MissingReader

RNG = np.random.default_rng(1)
WEIGHT = RNG.normal(size=(40, 64)).astype(np.float32)
BIAS = RNG.normal(size=40).astype(np.float32)
SAVED = {
    ".gguf": tensor_files.save_gguf,
    ".onnx": tensor_files.save_onnx,
    ".hdf5": tensor_files.save_hdf5,
    ".h5": tensor_files.save_hdf5,
}


@pytest.fixture(params=sorted(SAVED))
def suffix(request):
    return request.param


@pytest.fixture
def saved(tmp_path, suffix):
    """A file of either format with a matrix, a vector and integers."""
    path = tmp_path / f"head{suffix}"
    SAVED[suffix](path, {"a/kernel:0": WEIGHT, "b": BIAS, "n": np.arange(3)})
    return path


def refusal(read, *arguments) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the callers match
        read(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_several_tensors_in_one_parse(saved, suffix, monkeypatch):
    opened, reader = [], formats.READERS[suffix]
    monkeypatch.setitem(formats.READERS, suffix, lambda path: opened.append(path) or reader(path))
    tensors = read_tensors(saved, ["b", "a/kernel:0"])
    assert list(tensors) == ["b", "a/kernel:0"]
    np.testing.assert_array_equal(tensors["a/kernel:0"], WEIGHT)
    np.testing.assert_array_equal(tensors["b"], BIAS)
    assert opened == [saved]
    for tensor in tensors.values():
        assert tensor.dtype == np.float32
        tensor[...] = 0  # one's own copy


def test_all_floats_when_none_is_named(saved):
    assert sorted(read_tensors(str(saved))) == ["a/kernel:0", "b"]


def test_named_tensors_must_be_there_and_be_finite_floats(saved, tmp_path, suffix):
    assert "no tensor 'c'" in refusal(read_tensors, saved, ["b", "c"])
    assert "dtype" in refusal(read_tensors, saved, ["n"])
    spoilt = BIAS.copy()
    spoilt[7] = np.nan
    SAVED[suffix](tmp_path / f"nan{suffix}", {"b": spoilt, "w": WEIGHT})
    said = refusal(read_tensors, tmp_path / f"nan{suffix}")
    assert "nan" in said
    assert ":b has 1 entries out of 40" in said
    SAVED[suffix](tmp_path / f"ints{suffix}", {"n": np.arange(3)})
    assert "holds no floats, but n (3,)" in refusal(read_tensors, tmp_path / f"ints{suffix}")


def test_foreign_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"foreign{suffix}"
    for content in (b"", pickle.dumps(WEIGHT), b"GGUF", b"\x89HDF\r\n\x1a\n", bytes(4000)):
        path.write_bytes(content)
        for read in (read_headers, read_tensors):
            assert f"{path} is not a readable {suffix} file" in refusal(read, path)


def test_a_missing_package_is_named(saved, suffix, monkeypatch):
    name = {".gguf": "gguf", ".onnx": "onnx"}.get(suffix, "h5py")
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "gguf.constants", None)
    with pytest.raises(MissingReader, match=rf"package {name}.*pip install 'noncommit\[weights\]'"):
        read_tensor(f"{saved}:b", rank=1)


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q8_0", "BF16"])
def test_quantized_gguf_is_what_the_package_makes_of_it(tmp_path, kind):
    path = tmp_path / "a.gguf"
    tensor_files.save_gguf(path, {"w": WEIGHT, "v": WEIGHT}, {"w": kind, "v": "Q8_0"})
    import gguf

    tensor = gguf.GGUFReader(path).get_tensor(0)
    expected = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    assert read_headers(path)["w"] == formats.Header((40, 64), kind)
    np.testing.assert_array_equal(read_tensor(f"{path}:w", rank=2), expected)
    assert np.abs(expected - WEIGHT).max() < 0.5


def test_one_quantized_tensor_is_read_without_the_others(tmp_path, monkeypatch):
    path = tmp_path / "a.gguf"
    tensor_files.save_gguf(path, {"w": WEIGHT, "v": WEIGHT}, {"w": "Q4_1", "v": "Q8_0"})
    import gguf.quants

    asked, real = [], gguf.quants.dequantize
    record = lambda data, kind: asked.append((data.shape, kind.name)) or real(data, kind)  # noqa: E731
    monkeypatch.setattr(gguf.quants, "dequantize", record)
    read_tensor(f"{path}:v", rank=2)
    assert asked == [((40, 2 * 34), "Q8_0")]


def test_metadata(tmp_path):
    pairs = {"tokens": ["a", "é"], "types": [1, -3], "flag": True, "layers": 30, "base": 1e5}
    tensor_files.save_gguf(tmp_path / "a.gguf", {"w": WEIGHT}, **pairs, empty=" ")
    found = read_metadata(tmp_path / "a.gguf")
    assert found == {"general.architecture": "toy", **pairs, "empty": " "}
    tensor_files.save_onnx(tmp_path / "a.onnx", {"w": WEIGHT}, character="a\nb\n ")
    assert read_metadata(str(tmp_path / "a.onnx")) == {"character": "a\nb\n "}
    np.savez(tmp_path / "a.npz", w=WEIGHT)
    assert "expected .gguf or .onnx for metadata" in refusal(read_metadata, tmp_path / "a.npz")


def text(word: str) -> bytes:
    return struct.pack("<Q", len(word)) + word.encode()


def info(name: str, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    dims = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + dims + struct.pack("<IQ", kind, offset)


def gguf_bytes(tensors: list[bytes], pairs: list[bytes] = (), version: int = 3) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs))
    return head + b"".join(pairs) + b"".join(tensors) + bytes(200)


NESTED = text("k") + struct.pack("<IIQIQ", 9, 9, 1, 0, 0)
HOSTILE = {
    "an older version": (gguf_bytes([], version=1), "GGUF of version 1, expected 2 or 3"),
    "big-endian": (gguf_bytes([], version=3 << 24), "big-endian GGUF"),
    "more tensors than bytes": (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "promises 1152921504"),
    "more pairs than bytes": (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "promises 1152921504"),
    "a long array": (
        gguf_bytes([], [text("k") + struct.pack("<IIQ", 9, 4, 2**61)]),
        "promises 2305843009213693952 entries",
    ),
    "a long name": (gguf_bytes([struct.pack("<Q", 2**50) + bytes(24)]), "promises 11258999"),
    "nested arrays": (gguf_bytes([], [NESTED]), "arrays of arrays"),
    "an unknown type of metadata": (
        gguf_bytes([], [text("k") + struct.pack("<IQ", 77, 0)]),
        "unknown type 77",
    ),
    "no UTF-8": (gguf_bytes([struct.pack("<Q", 1) + b"\xff" + bytes(24)]), "decode"),
    "an odd alignment": (
        gguf_bytes([info("a", (1,))], [text("general.alignment") + struct.pack("<II", 4, 3)]),
        "alignment is 3",
    ),
    "terabytes": (gguf_bytes([info("a", (2**20, 2**20))]), "promises 4398046511"),
    "an offset beyond the end": (gguf_bytes([info("a", (1,), 0, 2**63)]), "promises 92233720368"),
    "shared bytes": (gguf_bytes([info(c, (25,)) for c in "abcdefg"]), "promises 700 bytes"),
    "twins": (gguf_bytes([info("a", (1,))] * 2), "two tensors 'a'"),
    "rank 5": (gguf_bytes([info("a", (1,) * 5)]), "rank 5, more than 4"),
    "a torn block": (gguf_bytes([info("a", (31,), 8)]), "does not divide into Q8_0 blocks"),
    "an unknown type": (gguf_bytes([info("a", (32,), 999)]), "999 is not a valid"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_gguf(tmp_path, case):
    pytest.importorskip("gguf")
    content, said = HOSTILE[case]
    path = tmp_path / "a.gguf"
    path.write_bytes(content)
    assert said in refusal(read_headers, path)


def onnx_with(tmp_path, *tensors):
    """A model with these initializers."""
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "a.onnx"
    graph = onnx.helper.make_graph([], "toy", [], [], tensors)
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    return path


def test_hostile_onnx(tmp_path):
    onnx = pytest.importorskip("onnx")
    tensor = onnx.numpy_helper.from_array(WEIGHT, "w")
    path = onnx_with(tmp_path, tensor, tensor)
    assert "two tensors 'w'" in refusal(read_headers, path)
    tensor.dims[0] = -1
    assert "shape (-1, 64)" in refusal(read_headers, onnx_with(tmp_path, tensor))
    tensor.dims[0] = 2**60
    assert "not a readable .onnx" in refusal(read_tensors, onnx_with(tmp_path, tensor))
    tensor.dims[0] = 40
    tensor.data_type = 99
    assert "dtype number 99" in refusal(read_tensors, onnx_with(tmp_path, tensor), ["w"])
    assert "it holds no tensor" in refusal(read_tensors, onnx_with(tmp_path))


def test_onnx_never_opens_another_file(tmp_path):
    onnx = pytest.importorskip("onnx")
    tensor = onnx.numpy_helper.from_array(WEIGHT, "w")
    (tmp_path / "secret").write_bytes(tensor.raw_data)
    onnx.external_data_helper.set_external_data(tensor, location="secret")
    tensor.ClearField("raw_data")
    assert "lie in another file" in refusal(read_tensors, onnx_with(tmp_path, tensor))
