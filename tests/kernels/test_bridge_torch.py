"""PyTorch's zips: exact numbers of every view, no PyTorch, and one clear line for torn files."""

import io
import pickle
import struct
import sys
import tarfile
import types
import zipfile
from collections import OrderedDict

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import tensor_files
from theory.bridge import torch_tensors
from theory.bridge.formats import Header, read_headers, read_tensor, read_tensors
from theory.bridge.torch_pickle import interpret

RNG = np.random.default_rng(1)
WEIGHT = RNG.normal(size=(40, 64)).astype(np.float32)
BIAS = RNG.normal(size=40).astype(np.float32)
NOTHING = np.lib.stride_tricks.as_strided(np.zeros(0, np.float32), (4, 0), (4, 4))


@pytest.fixture
def save(tmp_path):
    """Write a value as `torch.save` does and return the path."""

    def write(value, suffix=".pth", **options):
        path = tmp_path / f"model{suffix}"
        tensor_files.save_torch(path, value, **options)
        return path

    return write


@pytest.fixture
def records(tmp_path):
    """Write a zip of a valid checkpoint whose records are changed; None takes one away."""

    def write(**changed):
        program = tensor_files.TorchPickle({"w": WEIGHT, "b": BIAS})
        whole = {"data.pkl": bytes(program.code), "byteorder": b"little", "version": b"3\n"}
        whole |= {f"data/{key}": owner.tobytes() for key, owner in enumerate(program.storages)}
        whole |= {name.replace("__", "/").replace("_", "."): c for name, c in changed.items()}
        path = tmp_path / "changed.pt"
        tensor_files.save_records(path, {n: c for n, c in whole.items() if c is not None})
        return path

    return write


def refusal(read, *arguments) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the callers match
        read(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("dtype", ["float16", jnp.bfloat16, "float32", "float64"])
def test_floats_keep_every_bit(save, dtype, order):
    tensor = WEIGHT.astype(dtype)
    path = save({"w": tensor}, order=order)
    got = read_tensor(path, rank=2)
    assert read_headers(path) == {"w": Header((40, 64), np.dtype(dtype).name)}
    assert got.dtype == (np.float64 if dtype == "float64" else np.float32)
    np.testing.assert_array_equal(got, tensor.astype(np.float64))
    got[...] = 0  # one's own copy


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".tar"])
def test_names_join_keys_and_indices_by_dots(save, suffix):
    state = OrderedDict(weight=WEIGHT, bias=tensor_files.Parameter(BIAS))
    state._metadata = OrderedDict({"": {"version": 1}})
    value = {"net": {"layer.0": state}, "steps": [BIAS, (BIAS, 3)], 7: BIAS, "rate": 0.1}
    value |= {"name": "toy", "flags": [None, True], "count": np.arange(3), "none": NOTHING}
    path = save(value, suffix)
    assert {name: header.shape for name, header in read_headers(path).items()} == {
        "net.layer.0.weight": (40, 64),
        "net.layer.0.bias": (40,),
        "steps.0": (40,),
        "steps.1.0": (40,),
        "7": (40,),
        "count": (3,),
        "none": (4, 0),
    }
    tensors = read_tensors(path)
    assert {"count", "none"}.isdisjoint(tensors)
    np.testing.assert_array_equal(tensors["net.layer.0.weight"], WEIGHT)
    np.testing.assert_array_equal(tensors["steps.1.0"], BIAS)
    assert "count has dtype int64" in refusal(read_tensors, path, ["count"])


def test_a_tensor_on_its_own_needs_no_name(save):
    path = save(WEIGHT)
    np.testing.assert_array_equal(read_tensor(path, rank=2), WEIGHT)
    assert f"{path} has shape (40, 64), rank 2" in refusal(lambda: read_tensor(path, rank=1))
    assert "drop ':w'" in refusal(lambda: read_tensor(f"{path}:w", rank=2))


@pytest.mark.parametrize("order", ["little", "big"])
def test_views_walk_through_their_storage(save, order):
    views = {
        "turned": WEIGHT.T,
        "rows": WEIGHT[5:9],
        "scattered": WEIGHT[3::7, 2::5],
        "one": WEIGHT[4, 4:5],
        "scalar": WEIGHT[1, 2:3].reshape(()),
        "repeated": np.broadcast_to(BIAS[:, None], (40, 30)),
        "windows": np.lib.stride_tricks.sliding_window_view(BIAS, 8),
    }
    tensors = read_tensors(save(views, order=order))
    for name, view in views.items():
        np.testing.assert_array_equal(tensors[name], view)


def test_a_shared_storage_is_read_once(save, monkeypatch):
    read, real = [], zipfile.ZipFile.read
    record = lambda self, member: read.append(member.filename) or real(self, member)  # noqa: E731
    monkeypatch.setattr(zipfile.ZipFile, "read", record)
    tensors = read_tensors(save({"w": WEIGHT, "tied": WEIGHT.T, "b": BIAS}))
    np.testing.assert_array_equal(tensors["tied"], WEIGHT.T)
    assert sorted(name for name in read if "/data/" in name) == ["model/data/0", "model/data/1"]


def test_no_pytorch_is_asked_for(save, monkeypatch):
    class Untouchable(types.ModuleType):
        def __getattr__(self, name):
            raise AssertionError(name)

    path = save({"w": WEIGHT})
    for module in (None, Untouchable("torch")):
        monkeypatch.setitem(sys.modules, "torch", module)
        monkeypatch.setitem(sys.modules, "torch._utils", module)
        np.testing.assert_array_equal(read_tensor(path, rank=2), WEIGHT)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=300)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(st.text(max_size=8) | st.integers(-9, 9), inner, max_size=4)
        | st.dictionaries(st.text(max_size=8), inner, max_size=4).map(OrderedDict)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@given(value=VALUES)
def test_plain_values_are_those_of_python(value, protocol):
    got = interpret(pickle.dumps(value, protocol))
    assert got == value
    assert repr(got) == repr(value)  # True is not 1, and an OrderedDict no dict


def test_the_memo_goes_by_the_numbers_it_is_given():
    program = b"(K\x01q\x07K\x02r\x03\x00\x00\x00K\x03q\x07h\x07j\x03\x00\x00\x00t."
    assert interpret(program) == pickle.loads(program) == (1, 2, 3, 3, 2)


def test_metadata_of_a_state_dict_is_passed_over():
    state = OrderedDict(a=1)
    state._metadata = OrderedDict(b={"version": 2})
    got = interpret(pickle.dumps(state, 2))
    assert got == state
    assert not vars(got)


TORN = {
    "no program": ({"data_pkl": None}, "it has 0 records data.pkl"),
    "a storage too few": ({"data__1": None}, "it has no record 'data/1'"),
    "a storage too short": ({"data__1": bytes(159)}, "storage 1 has 159 bytes, expected 160"),
    "a storage too long": ({"data__1": bytes(161)}, "storage 1 has 161 bytes, expected 160"),
    "another version": ({"version": b"11\n"}, "format version '11', expected 1 to 10"),
    "another byte order": ({"byteorder": b"middle"}, "byte order 'middle'"),
    "a long byte order": ({"byteorder": bytes(65)}, "'byteorder' has 65 bytes, at most 64"),
    "no pickle": ({"data_pkl": b""}, "pickle exhausted before seeing STOP"),
    "a torn pickle": ({"data_pkl": pickle.dumps([BIAS.tolist()])[:99]}, "not a readable .pt file"),
    "no tensors": ({"data_pkl": pickle.dumps({"a": 1})}, "it holds no tensor"),
    "two pickles": ({"x__data_pkl": b""}, "it has 2 records data.pkl"),
}


@pytest.mark.parametrize("case", TORN)
def test_records_that_do_not_fit(records, case):
    changed, said = TORN[case]
    assert said in refusal(read_headers, records(**changed))


def test_older_checkpoints_do_without_notes(records):
    path = records(byteorder=None, version=None)
    np.testing.assert_array_equal(read_tensors(path)["b"], BIAS)


def test_a_flipped_bit_is_a_torn_file(save):
    path = save({"w": WEIGHT})
    content = bytearray(path.read_bytes())
    content[content.index(WEIGHT.tobytes()[:64]) + 500] ^= 1
    path.write_bytes(content)
    assert "Bad CRC-32" in refusal(read_tensors, path)


@pytest.mark.parametrize("kept", [0, 4, 40, 400, 4000, 10_700])
def test_torn_files(save, kept):
    path = save({"w": WEIGHT})
    path.write_bytes(path.read_bytes()[:kept])
    assert f"{path} is not a readable .pth file" in refusal(read_tensors, path)


def test_compressed_records_are_refused(tmp_path):
    program = tensor_files.TorchPickle({"w": np.zeros(2**20)})
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(program.code), zipfile.ZIP_STORED)
        archive.writestr("a/data/0", bytes(2**23))
    assert "'data/0' is compressed" in refusal(read_headers, tmp_path / "a.pt")


@pytest.mark.parametrize("sizes", [(2**31, 160), (160, 2**31), (2**31, 2**31)])
def test_sizes_in_the_directory_of_a_zip_allocate_nothing(records, sizes):
    path = records()
    content = path.read_bytes()
    at = content.rindex(b"changed/data/1") - 46 + 20  # where its entry in the directory has them
    path.write_bytes(content[:at] + struct.pack("<II", *sizes) + content[at + 8 :])
    said = refusal(read_headers, path)
    assert "'data/1' is compressed" in said or "promises 2147483648 bytes" in said


def test_a_record_within_another_is_too_much(tmp_path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a/data/1"), WEIGHT.tobytes())
        hidden = archive.getinfo("a/data/1")
    around = np.array(bytearray(inner.getvalue()[: 38 + WEIGHT.nbytes]))  # header, name, numbers
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        program = tensor_files.TorchPickle({"around": around, "w": WEIGHT})
        archive.writestr("a/data.pkl", bytes(program.code))
        archive.writestr("a/data/0", around.tobytes())
        hidden.header_offset = archive.getinfo("a/data/0").header_offset + 38
        archive.filelist.append(hidden)
    with zipfile.ZipFile(path) as archive:
        assert archive.read("a/data/1") == WEIGHT.tobytes()
    assert f"promises {2 * WEIGHT.nbytes + 38} bytes" in refusal(read_headers, path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_records_of_one_name_are_refused(save):
    path = save({"w": WEIGHT})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model/data/0", bytes(WEIGHT.nbytes))
    assert "two records of one name" in refusal(read_headers, path)


def test_what_else_bears_the_suffix_is_named(tmp_path, save):
    checkpoint = save({"w": WEIGHT})
    with tarfile.open(tmp_path / "real.tar", "w") as archive:
        archive.add(checkpoint, "model.pth")
    assert "it is a tar archive, expected a PyTorch zip" in refusal(
        read_headers, tmp_path / "real.tar"
    )
    (tmp_path / "old.pt").write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2))
    said = refusal(read_headers, tmp_path / "old.pt")
    assert "bare pickle, expected a zip; save it with PyTorch 1.6 or later" in said
    (tmp_path / "other.pt").write_bytes(b"anything")
    assert "does not begin as the zip" in refusal(read_headers, tmp_path / "other.pt")
    with zipfile.ZipFile(tmp_path / "zip.pt", "w") as archive:
        archive.writestr("readme", "hello")
    assert "it has 0 records data.pkl" in refusal(read_headers, tmp_path / "zip.pt")


def test_numbers_must_be_finite(save):
    spoilt = BIAS.copy()
    spoilt[7] = np.nan
    assert "w has 1 entries out of 40" in refusal(read_tensors, save({"w": spoilt}))


def test_names_are_told_apart(save, monkeypatch):
    assert "two tensors 'a.b'" in refusal(read_headers, save({"a.b": BIAS, "a": {"b": BIAS}}))
    assert "two tensors '1'" in refusal(read_headers, save({"1": BIAS, 1: BIAS}))
    assert "unprintable name 'a\\nb'" in refusal(read_headers, save({"a\nb": BIAS}))
    monkeypatch.setattr(torch_tensors, "TENSORS", 2)
    assert len(read_headers(save([BIAS, BIAS]))) == 2
    assert "more than 2 tensors" in refusal(read_headers, save([BIAS] * 3))


def test_many_views_of_few_numbers_are_too_much(save):
    wide = np.broadcast_to(BIAS[:1], (2**13, 2**12))
    path = save({"w": wide})
    for read in (read_tensors, lambda path: read_tensor(path, rank=2)):
        assert "promises 134217728 bytes" in refusal(read, path)
    narrow = np.broadcast_to(BIAS[:1], (2**12, 2**10))
    assert read_tensors(save([narrow]))["0"].shape == (2**12, 2**10)
    assert "promises 83886080 bytes" in refusal(read_tensors, save([narrow] * 5))
