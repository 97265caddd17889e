"""Readers of foreign arrays: exact numbers in, one clear line for everything else."""

import io
import pickle
import struct
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests import tensor_files
from theory.bridge.formats import LISTED, read_headers, read_tensor, split_reference

MATRIX = np.random.default_rng(0).normal(size=(4, 3))
VECTOR = np.arange(4.0)
SAVED = {
    ".npz": lambda path, tensors: np.savez(path, **tensors),
    ".safetensors": lambda path, tensors: save_file(tensors, path),
    ".gguf": tensor_files.save_gguf,
    ".onnx": tensor_files.save_onnx,
    ".hdf5": tensor_files.save_hdf5,
}


@pytest.fixture(params=sorted(SAVED))
def suffix(request):
    return request.param


@pytest.fixture
def save(tmp_path, suffix):
    """Write tensors in any format and return the path."""

    def write(stem="head", **tensors):
        path = tmp_path / f"{stem}{suffix}"
        path.parent.mkdir(exist_ok=True)
        SAVED[suffix](path, {n: np.ascontiguousarray(t) for n, t in tensors.items()})
        return path

    return write


def message(reference, rank=2) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the callers match
        read_tensor(reference, rank=rank)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_keep_every_bit(save, dtype):
    tensor = MATRIX.astype(dtype)
    got = read_tensor(save(weight=tensor), rank=2)
    assert got.dtype == (np.float64 if dtype is np.float64 else np.float32)
    np.testing.assert_array_equal(got, tensor.astype(np.float64))


def test_bfloat16_of_safetensors(tmp_path):
    tensor = MATRIX.astype(jnp.bfloat16)
    save_file({"weight": tensor}, tmp_path / "a.safetensors")
    got = read_tensor(tmp_path / "a.safetensors", rank=2)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, tensor.astype(np.float32))


def test_other_byte_and_axis_orders(tmp_path):
    np.save(tmp_path / "a.npy", np.asfortranarray(MATRIX.astype(">f4")))
    got = read_tensor(tmp_path / "a.npy", rank=2)
    assert got.dtype == np.float32
    assert got.dtype.isnative
    np.testing.assert_array_equal(got, MATRIX.astype(np.float32))


def test_colons_and_slashes_in_tensor_names(save):
    name = "output/output/kernel:0"
    path = save(**{name: MATRIX, "other:1": VECTOR})
    assert split_reference(f"{path}:{name}") == (path, name)
    np.testing.assert_array_equal(read_tensor(f"{path}:{name}", rank=2), MATRIX)
    np.testing.assert_array_equal(read_tensor(f"{path}:other:1", rank=1), VECTOR)


def test_colons_in_paths(save):
    path = save(stem="run:12:30/head:v2", **{"a:0": MATRIX, "b": VECTOR})
    assert split_reference(path) == (path, None)
    assert split_reference(f"{path}:a:0") == (path, "a:0")
    np.testing.assert_array_equal(read_tensor(f"{path}:a:0", rank=2), MATRIX)


def test_absent_files_and_folders(tmp_path):
    for reference in ("absent.npz", "absent.npz:fc_w", "absent.npz:a/b:0"):
        with pytest.raises(FileNotFoundError) as caught:
            read_tensor(tmp_path / reference, rank=2)
        assert caught.value.filename == str(tmp_path / "absent.npz")
    with pytest.raises(FileNotFoundError, match="nothing"):
        split_reference("nothing")
    assert "is a folder; give a file ending in .npz" in message(tmp_path)


def test_the_only_tensor_needs_no_name(save, tmp_path):
    np.testing.assert_array_equal(read_tensor(save(weight=MATRIX), rank=2), MATRIX)
    np.save(tmp_path / "bias.npy", VECTOR)
    np.testing.assert_array_equal(read_tensor(tmp_path / "bias.npy", rank=1), VECTOR)
    assert "one array without a name; drop ':b'" in message(f"{tmp_path / 'bias.npy'}:b", 1)


def test_several_tensors_are_listed(save):
    said = message(save(weight=MATRIX, bias=VECTOR), 1)
    assert "holds 2 tensors and none is named" in said
    assert "bias (4,), weight (4, 3)" in said  # those of the wanted rank first
    many = message(save(stem="many", **{f"t{i:03}": VECTOR for i in range(LISTED + 7)}))
    assert "and 7 more" in many


def test_unknown_tensor_suggests_the_nearest(save):
    said = message(f"{save(fc_w=MATRIX, bias=VECTOR)}:fc_W")
    assert "holds no tensor 'fc_W'; did you mean 'fc_w'? It holds fc_w (4, 3), bias (4,)" in said


def test_shape_is_checked_against_the_rank(save):
    path = save(weight=MATRIX, bias=VECTOR, deep=np.ones((1, 2, 3)), none=np.ones((0, 3)))
    assert "shape (4, 3), rank 2, expected a vector, rank 1" in message(f"{path}:weight", 1)
    assert "shape (4,), rank 1, expected a matrix, rank 2" in message(f"{path}:bias")
    assert "shape (4,), rank 1, expected a tensor of rank 3" in message(f"{path}:bias", 3)
    assert "shape (1, 2, 3), rank 3" in message(f"{path}:deep")
    assert "shape (0, 3), expected at least one entry" in message(f"{path}:none")


@pytest.mark.parametrize("dtype", [np.int8, np.int64, bool, np.uint16])
def test_integers_are_refused(save, suffix, dtype):
    if suffix == ".gguf" and dtype in (bool, np.uint16):
        pytest.skip("GGUF has no such type")
    assert "expected float16, bfloat16, float32, float64 or" in message(
        save(weight=MATRIX.astype(dtype))
    )


@pytest.mark.parametrize("dtype", [np.complex64, "U3", "V2"])
def test_other_types_are_refused(tmp_path, dtype):
    np.savez(tmp_path / "a.npz", weight=np.zeros((2, 2), dtype))
    assert "has dtype" in message(tmp_path / "a.npz")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_must_be_finite(save, value):
    spoilt = MATRIX.copy()
    spoilt[1, 2] = spoilt[3, 0] = value
    said = message(save(weight=spoilt))
    assert "2 entries out of 12 that are NaN or infinite, the first at index (1, 2)" in said


def test_unknown_suffix(tmp_path):
    path = tmp_path / "head.bin"
    path.write_bytes(b"anything")
    said = message(path)
    known = ".npz, .npy, .safetensors, .gguf, .onnx, .hdf5, .h5, .pth, .pt, .tar, .json"
    assert f"suffix '.bin', expected one of {known}; save" in said


@pytest.mark.parametrize("kept", [0, 5, 40, 120, 200])
def test_torn_files(save, kept):
    path = save(weight=MATRIX, bias=VECTOR)
    path.write_bytes(path.read_bytes()[:kept])
    assert f"{path} is not a readable {path.suffix} file" in message(f"{path}:weight")


def test_a_flipped_bit_is_a_torn_file(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", weight=MATRIX)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "a.npz").write_bytes(content)
    assert "not a readable .npz file" in message(tmp_path / "a.npz")


def test_torn_npy_and_empty_npz(tmp_path):
    np.save(tmp_path / "a.npy", MATRIX)
    for kept in (0, 8, 64, 140):
        torn = tmp_path / f"{kept}.npy"
        torn.write_bytes((tmp_path / "a.npy").read_bytes()[:kept])
        assert "not a readable .npy file" in message(torn)
    np.savez(tmp_path / "none.npz")
    assert "it holds no array" in message(tmp_path / "none.npz")


def test_a_header_that_promises_terabytes_allocates_nothing(tmp_path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }\n"
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("weight.npy", array)
    assert "promises 8000000000000 bytes" in message(tmp_path / "a.npz")


def test_files_written_by_python_2_are_read(tmp_path):
    np.save(tmp_path / "a.npy", MATRIX)
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content.replace(b"(4, 3), }  ", b"(4L, 3L), }"))
    np.testing.assert_array_equal(read_tensor(tmp_path / "a.npy", rank=2), MATRIX)


class Hostile:
    """Unpickling this would be seen: it raises."""

    def __reduce__(self):
        return (eval, ("1 / 0",))


def test_pickles_are_never_loaded(tmp_path):
    objects = np.array([[Hostile()]], dtype=object)
    np.savez(tmp_path / "objects.npz", weight=objects, fine=MATRIX)
    np.save(tmp_path / "objects.npy", objects, allow_pickle=True)
    for reference in ("objects.npz:weight", "objects.npy"):
        assert "pickles can run code and are never loaded" in message(tmp_path / reference)
    np.testing.assert_array_equal(read_tensor(tmp_path / "objects.npz:fine", rank=2), MATRIX)
    for name in ("plain.npz", "plain.npy", "plain.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps(Hostile()))
        assert "not a readable" in message(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "member.npz", "w") as archive:
        archive.writestr("weight.npy", pickle.dumps(Hostile()))
    assert "not a readable" in message(tmp_path / "member.npz")


def test_headers_are_read_without_the_numbers(save):
    headers = read_headers(save(weight=MATRIX, bias=VECTOR))
    assert {name: header.shape for name, header in headers.items()} == {
        "weight": (4, 3),
        "bias": (4,),
    }


def test_members_that_are_no_arrays_are_ignored(tmp_path):
    array = io.BytesIO()
    np.save(array, MATRIX)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("README", "hello")
        archive.writestr("weight.npy", array.getvalue())
    np.testing.assert_array_equal(read_tensor(tmp_path / "a.npz", rank=2), MATRIX)
