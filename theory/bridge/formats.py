"""Arrays from other people's files, of which none can run code: pickles are never obeyed.

NumPy, safetensors, GGUF, ONNX, HDF5, PyTorch's zips and TensorFlow.js.

Every refusal is one line: what was expected, what came, what to do.
"""

import difflib
import errno
import math
import os
import re
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open

from theory.bridge import gguf_file, hdf5_file, numpy_file, onnx_file, tfjs_file, torch_file
from theory.bridge.reading import Header, MissingReader, TensorFile, check_promise

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
    TypeError,
    KeyError,
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


@contextmanager
def _opened_safetensors(path: Path) -> Iterator[TensorFile]:
    with safe_open(path, framework="numpy") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        headers = {n: Header(tuple(s.get_shape()), s.get_dtype()) for n, s in slices.items()}
        yield TensorFile(headers, file.get_tensor)


READERS: dict[str, Callable[[Path], AbstractContextManager[TensorFile]]] = {
    ".npz": numpy_file.opened_npz,
    ".npy": numpy_file.opened_npy,
    ".safetensors": _opened_safetensors,
    ".gguf": gguf_file.opened,
    ".onnx": onnx_file.opened,
    ".hdf5": hdf5_file.opened,
    ".h5": hdf5_file.opened,
    ".pth": torch_file.opened,
    ".pt": torch_file.opened,
    ".tar": torch_file.opened,
    ".json": tfjs_file.opened,
}
SUFFIXES = tuple(READERS)


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
    known = "|".join(re.escape(suffix) for suffix in SUFFIXES)
    suffix = re.match(rf".*?({known})(?=:|$)", text)
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
    with _opened(path) as file:
        name = _choose(path, file.headers, wanted, rank)
        return _read(path, file, name, rank)


def read_tensors(
    path: str | os.PathLike[str], names: Iterable[str] | None = None
) -> dict[str, np.ndarray]:
    """Several tensors of one file, which is parsed once; each as `read_tensor` gives it.

    Args:
        path: the file.
        names: which tensors, of any rank; without names every one that has floats in it.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: as `read_tensor`, when no names are given and no tensor has floats, and when
            they would be far more bytes than the file.
    """
    path = Path(path)
    with _opened(path) as file:
        if names is None:
            wanted = [name for name, header in file.headers.items() if _has_floats(header)]
        else:
            wanted = [_choose(path, file.headers, name, rank=None) for name in names]
        if not wanted:
            raise ValueError(f"{path} holds no floats, but {_listing(file.headers, None)}")
        with _parsing(path):  # each may pass, and all of them together be too much
            entries = sum(math.prod(file.headers[name].shape) for name in wanted)
            size = path.stat().st_size if file.size is None else file.size
            check_promise(4 * entries, size, compressed=True)
        return {name: _read(path, file, name, rank=None) for name in wanted}


def read_headers(path: Path) -> dict[str, Header]:
    """Name, shape and dtype of every tensor in the file; one that stands alone is named "".

    Raises:
        ValueError: on an unknown suffix or an unreadable file.
    """
    with _opened(path) as file:
        return file.headers


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a .gguf (numbers, strings, lists) or an .onnx (strings) says beside its tensors.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: on an unreadable file, or a format without metadata.
    """
    path = Path(path)
    with _opened(path) as file:
        if file.metadata is None:
            raise ValueError(
                f"{path} is a {path.suffix} file, expected .gguf or .onnx for metadata"
            )
        return dict(file.metadata)


@contextmanager
def _opened(path: Path) -> Iterator[TensorFile]:
    """The file through the reader that its suffix names; only the reader's words are translated."""
    if path.suffix not in READERS:
        raise ValueError(
            f"{path} has the suffix {path.suffix!r}, expected one of {', '.join(SUFFIXES)}; "
            "save the tensor with numpy.savez or safetensors"
        )
    with ExitStack() as stack:
        with _parsing(path):
            file = stack.enter_context(READERS[path.suffix](path))
            _check_names(file.headers)
        yield file


def _check_names(names: Iterable[str]) -> None:
    """ValueError on a name that would break the line of an error."""
    for name in names:
        if not name.isprintable():
            raise ValueError(f"it has a tensor of the unprintable name {name[:LISTED]!r}")


def _read(path: Path, file: TensorFile, name: str, rank: int | None) -> np.ndarray:
    """One tensor: its header checked, then its numbers."""
    where = f"{path}:{name}" if name else path
    header = file.headers[name]
    _check_header(where, header, rank)
    with _parsing(path), np.errstate(all="ignore"):  # what overflows is found below
        tensor = file.load(name)
        tensor = np.require(tensor, WIDENED[tensor.dtype.newbyteorder("=")], "W")
    if tensor.shape != header.shape:
        raise ValueError(f"{where} has shape {tensor.shape}, its header promised {header.shape}")
    _check_finite(where, tensor)
    return tensor


@contextmanager
def _parsing(path: Path) -> Iterator[None]:
    """Turn whatever a parser says of a torn or foreign file into one ValueError."""
    with path.open("rb"):  # no permission is not a torn file
        pass
    try:
        with warnings.catch_warnings():  # NumPy warns of files written by Python 2, and reads them
            warnings.simplefilter("ignore")
            yield
    except MissingReader:
        raise
    except BROKEN as error:
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{path} is not a readable {path.suffix} file ({what}); it is torn or of another "
            "format: save or copy it again"
        ) from error


def _choose(path: Path, headers: dict[str, Header], wanted: str | None, rank: int | None) -> str:
    """The tensor that is meant: the named one, or the only one."""
    if wanted is None and len(headers) == 1:
        return next(iter(headers))
    if wanted is not None and wanted in headers:
        return wanted
    if list(headers) == [""]:
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


def _listing(headers: dict[str, Header], rank: int | None) -> str:
    """Names with shapes, those of the wanted rank first."""
    names = sorted(headers, key=lambda name: len(headers[name].shape) != rank)
    shown = [f"{name} {headers[name].shape}" for name in names[:LISTED]]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def _check_header(where: Path | str, header: Header, rank: int | None) -> None:
    """ValueError unless rank, size and dtype will do."""
    shape = header.shape
    if header.dtype in ("object", "O"):
        raise ValueError(
            f"{where} is a pickled Python object, expected numbers; pickles can run code and are "
            "never loaded: save a plain float array"
        )
    if rank is not None and len(shape) != rank:
        kind = KINDS.get(rank, f"tensor of rank {rank}")
        raise ValueError(
            f"{where} has shape {shape}, rank {len(shape)}, expected a {kind}; "
            "name another tensor or reshape it"
        )
    if 0 in shape:
        raise ValueError(f"{where} has shape {shape}, expected at least one entry; save it again")
    if not _is_float(header.dtype):
        raise ValueError(
            f"{where} has dtype {header.dtype}, expected float16, bfloat16, float32, float64 or a "
            "quantized type of .gguf; integers mean nothing without their scale: save it as floats"
        )


def _has_floats(header: Header) -> bool:
    return _is_float(header.dtype) and 0 not in header.shape


def _is_float(dtype: str) -> bool:
    """Whether the name of a dtype, NumPy's or a format's own, is one that is accepted."""
    if dtype in ("F16", "BF16", "F32", "F64") or gguf_file.is_float(dtype):
        return True
    try:
        return np.dtype(dtype).newbyteorder("=") in WIDENED
    except (TypeError, ValueError, SyntaxError):  # other formats' names of other types
        return False


def _check_finite(where: Path | str, tensor: np.ndarray) -> None:
    """ValueError that says how many entries are NaN or infinite and where the first is."""
    bad = ~np.isfinite(tensor)
    if count := np.count_nonzero(bad):
        first = tuple(int(i) for i in np.unravel_index(np.argmax(bad), tensor.shape))
        raise ValueError(
            f"{where} has {count} entries out of {tensor.size} that are NaN or infinite, the "
            f"first at index {first}; expected finite numbers: save it again"
        )
