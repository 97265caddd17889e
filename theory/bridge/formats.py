"""Arrays from other people's files: .npz, .npy and .safetensors, never a pickle.

Every refusal is one line: what was expected, what came, what to do.
"""

import difflib
import errno
import math
import os
import re
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open

SUFFIXES = (".npz", ".npy", ".safetensors")
LISTED = 60  # an error that names thousands of tensors names none
KINDS = {1: "vector, rank 1", 2: "matrix, rank 2"}
# Kept as they are, or widened without loss. jnp.bfloat16 also teaches NumPy the type's name.
WIDENED: dict[np.dtype, type[np.floating]] = {
    np.dtype(np.float16): np.float32,
    np.dtype(jnp.bfloat16): np.float32,
    np.dtype(np.float32): np.float32,
    np.dtype(np.float64): np.float64,
}

# What the parsers raise on bytes they cannot read; NumPy evaluates a header as Python text.
BROKEN = (
    ValueError,
    EOFError,
    OSError,
    MemoryError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
    SafetensorError,
)


class Header(NamedTuple):
    """What a file says of one tensor before its numbers are read."""

    shape: tuple[int, ...]
    dtype: str


def split_reference(reference: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """`F:T` as path and tensor, split at the first colon that follows an existing file.

    Paths and tensor names may both contain colons. Without such a colon the whole is the path.

    Raises:
        FileNotFoundError: when no prefix that ends at a colon, nor the whole, is a file.
        ValueError: when the whole is a folder.
    """
    text = os.fspath(reference)
    ends = [match.start() for match in re.finditer(":", text)]
    for end in [*ends, len(text)]:
        path = Path(text[:end])
        if end and path.is_file():
            return path, None if end == len(text) else text[end + 1 :]
    if Path(text).is_dir():
        raise ValueError(f"{text} is a folder; give a file ending in {', '.join(SUFFIXES)}")
    suffix = re.match(r".*?\.(npz|npy|safetensors)(?=:|$)", text)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), suffix[0] if suffix else text)


def read_tensor(reference: str | os.PathLike[str], *, rank: int) -> np.ndarray:
    """The one tensor that `F` or `F:T` names, finite, in float32 or float64.

    float16 and bfloat16 are widened to float32, which loses nothing; float32 and float64 stay.

    Args:
        reference: a path, or a path, a colon and a tensor's name.
        rank: how many axes the tensor must have.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: on an unknown suffix, an unreadable file, no or an unknown tensor named among
            several, another rank, no entries, another dtype, NaN or infinity.
    """
    path, wanted = split_reference(reference)
    headers = read_headers(path)
    name = _choose(path, headers, wanted, rank)
    where = path if path.suffix == ".npy" else f"{path}:{name}"
    _check_header(where, headers[name], rank)
    with _parsing(path):
        tensor = _load(path, name)
    tensor = tensor.astype(WIDENED[tensor.dtype.newbyteorder("=")])
    _check_finite(where, tensor)
    return tensor


def read_headers(path: Path) -> dict[str, Header]:
    """Name, shape and dtype of every tensor in the file; a .npy has one, named "".

    Raises:
        ValueError: on an unknown suffix or an unreadable file.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f"{path} has the suffix {path.suffix!r}, expected one of {', '.join(SUFFIXES)}; "
            "save the tensor with numpy.savez or safetensors"
        )
    with _parsing(path):
        if path.suffix == ".npz":
            return _npz_headers(path)
        if path.suffix == ".npy":
            with path.open("rb") as stream:
                return {"": _npy_header(stream, path.stat().st_size)}
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {n: Header(tuple(s.get_shape()), s.get_dtype()) for n, s in slices.items()}


def _load(path: Path, name: str) -> np.ndarray:
    """The numbers of one tensor; object arrays are refused here too."""
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)
    with safe_open(path, framework="numpy") as file:
        return file.get_tensor(name)


def _npz_headers(path: Path) -> dict[str, Header]:
    """Headers of the members that are arrays."""
    headers = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.filename.endswith(".npy"):
                with archive.open(member) as stream:
                    name = member.filename.removesuffix(".npy")
                    headers[name] = _npy_header(stream, member.file_size)
    if not headers:
        raise ValueError("it holds no array")
    return headers


def _npy_header(stream: Any, size: int) -> Header:
    """Shape and dtype; a header that promises more bytes than there are would allocate them."""
    version = np.lib.format.read_magic(stream)
    old = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    promised = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and promised > size:
        raise ValueError(f"its header promises {promised} bytes, it has {size}")
    return Header(shape, str(dtype))


@contextmanager
def _parsing(path: Path) -> Iterator[None]:
    """Turn whatever a parser says of a torn or foreign file into one ValueError."""
    with path.open("rb"):  # no permission is not a torn file
        pass
    try:
        yield
    except BROKEN as error:
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{path} is not a readable {path.suffix} file ({what}); it is torn or of another "
            "format: save or copy it again"
        ) from error


def _choose(path: Path, headers: dict[str, Header], wanted: str | None, rank: int) -> str:
    """The tensor that is meant: the named one, or the only one."""
    if wanted is None and len(headers) == 1:
        return next(iter(headers))
    if wanted is not None and wanted in headers:
        return wanted
    if path.suffix == ".npy":
        raise ValueError(f"{path} holds one array without a name; drop ':{wanted}'")
    listing = _listing(headers, rank)
    if wanted is None:
        raise ValueError(
            f"{path} holds {len(headers)} tensors and none is named; "
            f"add one as {path}:NAME out of {listing}"
        )
    near = difflib.get_close_matches(wanted, headers, n=1, cutoff=0.0)
    guess = f"; did you mean {near[0]!r}?" if near else ";"
    raise ValueError(f"{path} holds no tensor {wanted!r}{guess} It holds {listing}")


def _listing(headers: dict[str, Header], rank: int) -> str:
    """Names with shapes, those of the wanted rank first."""
    names = sorted(headers, key=lambda name: len(headers[name].shape) != rank)
    shown = [f"{name} {headers[name].shape}" for name in names[:LISTED]]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def _check_header(where: Path | str, header: Header, rank: int) -> None:
    """ValueError unless rank, size and dtype will do."""
    shape = header.shape
    if header.dtype in ("object", "O"):
        raise ValueError(
            f"{where} is a pickled Python object, expected numbers; pickles can run code and are "
            "never loaded: save a plain float array"
        )
    if len(shape) != rank:
        kind = KINDS.get(rank, f"tensor of rank {rank}")
        raise ValueError(
            f"{where} has shape {shape}, rank {len(shape)}, expected a {kind}; "
            "name another tensor or reshape it"
        )
    if 0 in shape:
        raise ValueError(f"{where} has shape {shape}, expected at least one entry; save it again")
    if not _is_float(header.dtype):
        raise ValueError(
            f"{where} has dtype {header.dtype}, expected float16, bfloat16, float32 or float64; "
            "integers and quantized weights mean nothing without their scale: save it as floats"
        )


def _is_float(dtype: str) -> bool:
    """Whether NumPy's or safetensors' name of a dtype is one that is accepted."""
    if dtype in ("F16", "BF16", "F32", "F64"):
        return True
    try:
        return np.dtype(dtype).newbyteorder("=") in WIDENED
    except TypeError:  # safetensors' names of other types
        return False


def _check_finite(where: Path | str, tensor: np.ndarray) -> None:
    """ValueError that says how many entries are NaN or infinite and where the first is."""
    bad = np.argwhere(~np.isfinite(tensor))
    if len(bad):
        raise ValueError(
            f"{where} has {len(bad)} entries out of {tensor.size} that are NaN or infinite, the "
            f"first at index {tuple(bad[0].tolist())}; expected finite numbers: save it again"
        )
