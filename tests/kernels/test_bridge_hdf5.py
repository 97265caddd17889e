"""HDF5 in particular: what its library would follow, allocate or walk without an end is refused."""

import numpy as np
import pytest

from tests import tensor_files
from theory.bridge.formats import read_headers, read_tensors

RNG = np.random.default_rng(1)
WEIGHT = RNG.normal(size=(40, 64)).astype(np.float32)
BIAS = RNG.normal(size=40).astype(np.float32)


def refusal(read, *arguments) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the callers match
        read(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def hdf5_with(tmp_path, fill):
    """A file that `fill` writes into."""
    path = tmp_path / "a.hdf5"
    with pytest.importorskip("h5py").File(path, "w") as file:
        fill(file)
    return path


def test_compressed_hdf5(tmp_path):
    def fill(file):
        for name in ("gzip", "lzf"):
            file.create_dataset(name, data=WEIGHT, compression=name, shuffle=True, fletcher32=True)

    tensors = read_tensors(hdf5_with(tmp_path, fill))
    for name in ("gzip", "lzf"):
        np.testing.assert_array_equal(tensors[name], WEIGHT)


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_unwritten_hdf5_allocates_nothing(tmp_path, compression):
    def fill(file):
        file.create_dataset("w", (2**20, 2**20), "f4", compression=compression)

    assert "promises 4398046511104 bytes" in refusal(read_tensors, hdf5_with(tmp_path, fill))


def test_unwritten_chunks_of_hdf5_take_no_time(tmp_path):
    def fill(file):
        file.create_dataset("many", (2**22,), "f4", chunks=(1,), compression="gzip")
        file.create_dataset("large", (1,), "f4", chunks=(2**28,), maxshape=(None,))

    path = hdf5_with(tmp_path, fill)
    assert "promises 4194304 chunks" in refusal(read_tensors, path, ["many"])
    assert "promises 1073741824 bytes" in refusal(read_tensors, path, ["large"])


def test_hdf5_never_opens_another_file(tmp_path):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "secret").write_bytes(WEIGHT.tobytes())
    tensor_files.save_hdf5(tmp_path / "other.h5", {"w": WEIGHT})

    def fill(file):
        file["b"] = BIAS
        file["link"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/w")
        size = WEIGHT.nbytes
        outside = [(str(tmp_path / "secret"), 0, size)]
        file.create_dataset("external", WEIGHT.shape, "f4", external=outside)
        layout = h5py.VirtualLayout(WEIGHT.shape, "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "w", WEIGHT.shape)
        file.create_virtual_dataset("virtual", layout)

    path = hdf5_with(tmp_path, fill)
    assert sorted(read_headers(path)) == ["b", "external", "virtual"]
    for name in ("external", "virtual"):
        assert "lie in another file" in refusal(read_tensors, path, [name])


def test_hdf5_that_is_no_plain_array(tmp_path):
    h5py = pytest.importorskip("h5py")

    def fill(file):
        file["text"] = "hello"
        file["none"] = h5py.Empty("f")
        file["pair"] = np.zeros(3, "i4,f4")
        file.create_dataset("offset", data=np.ones((4, 4)), scaleoffset=2)

    path = hdf5_with(tmp_path, fill)
    for name, said in {
        "text": "dtype of varying length",
        "none": "at least one entry",
        "pair": "dtype [('f0'",
        "offset": "filters [6], expected",
    }.items():
        assert said in refusal(read_tensors, path, [name])


def test_hdf5_of_deep_or_circular_groups(tmp_path):
    def fill(file, levels):
        group = file
        for _ in range(levels):
            group = group.create_group("g")
        group["w"] = BIAS
        group["again"] = group["w"]
        group["root"] = file["/"]

    path = hdf5_with(tmp_path, lambda file: fill(file, 5))
    assert list(read_headers(path)) == ["g/g/g/g/g/again"]
    path = hdf5_with(tmp_path, lambda file: fill(file, 100))
    assert "nests groups deeper than 32" in refusal(read_headers, path)


def test_many_datasets_are_too_much_together(tmp_path):
    def fill(file):
        for i in range(9):
            file.create_dataset(str(i), (2**21,), "f4", chunks=(2**15,), compression="gzip")

    path = hdf5_with(tmp_path, fill)
    assert not read_tensors(path, ["3"])["3"].any()  # never written, so zero
    assert "promises 75497472 bytes" in refusal(read_tensors, path)
