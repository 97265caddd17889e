"""Cells on disk: one JSON file each, written whole or not at all, trusted only when intact."""

import csv
import hashlib
import io
import itertools
import json
import math
import os
import re
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Value = int | float | bool | str | None
Row = dict[str, Value]

FORMAT = 1  # of the cell files; raise it when flattening changes, so that old cells are redone
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_INTEGER = re.compile(r"[+-]?\d+")
_TRUTH = {"true": True, "false": False}


class Unavailable(Exception):
    """Raised by `measure` when a cell cannot be measured here (weights that cannot be fetched).

    The cell is skipped by name, with this reason; the run goes on and counts as a success.
    """


@dataclass(frozen=True)
class Record:
    """A measured cell: its row, what it cost, and the digest of its arrays if it has any."""

    row: Row
    arrays_sha256: str | None = None
    seconds: float = 0.0
    peak_memory: int | None = None


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def configuration(cell: Any) -> Row:
    """A cell's fields, which must be finite JSON scalars."""
    config = asdict(cell)
    for name, value in config.items():
        if type(value) not in (int, float, bool, str, type(None)):
            raise ValueError(f"cell field {name} = {value!r} is not a plain scalar")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"cell field {name} = {value!r} is not finite")
    return config


def cell_path(out: Path, identity: Mapping[str, Any]) -> Path:
    """`OUT/<experiment>/<cell-hash>.json`; the hash is over everything that makes the number."""
    name = hashlib.sha256(canonical(identity).encode()).hexdigest()[:20]
    return out / identity["experiment"] / f"{name}.json"


def check_writable(folder: Path) -> None:
    """Make the folder, or raise an OSError that names it, before anything is computed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"cannot write to {folder}: {error.strerror or error}") from error


def write_atomic(path: Path, data: bytes) -> None:
    """The file afterwards is the old one or the new one, whole, whatever happens meanwhile."""
    descriptor, temporary = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"
    )
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would hide results from colleagues
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Atomic, indented, and an error rather than a NaN."""
    write_atomic(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def flatten(row: Mapping[str, Any]) -> Row:
    """Estimates become `_value`, `_sem`, `_bias`, `_count` columns; NaN and ±inf become None."""
    from theory.estimate import Estimate

    flat: Row = {}
    for name, value in row.items():
        if isinstance(value, Estimate):
            parts = {part: getattr(value, part) for part in ("value", "sem", "bias", "count")}
            flat |= {f"{name}_{part}": _scalar(f"{name}.{part}", x) for part, x in parts.items()}
        else:
            flat[name] = _scalar(name, value)
    return flat


def _scalar(name: str, value: Any) -> Value:
    if value is None or isinstance(value, bool | str | int):
        return value
    if (shape := getattr(value, "shape", ())) != ():
        raise ValueError(f"{name} has shape {shape}, a row holds scalars")
    value = value.item() if hasattr(value, "item") else value
    if not isinstance(value, bool | int | float):
        raise ValueError(f"{name} is a {type(value).__name__}, a row holds real scalars")
    return value if math.isfinite(value) else None


def write_cell(
    path: Path, identity: Mapping[str, Any], record: Record, arrays: Any = None
) -> Record:
    """Store a measured cell; its arrays go first, so that a JSON file always has its npz."""
    if arrays:
        import numpy as np  # here: a worker imports this file before its threads are set

        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        record = Record(record.row, digest, record.seconds, record.peak_memory)
        write_atomic(path.with_suffix(".npz"), buffer.getvalue())
    body = asdict(record)
    write_json(path, {"identity": dict(identity), **body, "sha256": _checksum(body)})
    return record


def _checksum(body: Mapping[str, Any]) -> str:
    """Over the text in its own order: the order of a row's columns counts too."""
    return hashlib.sha256(json.dumps(body, allow_nan=False).encode()).hexdigest()


def read_cell(path: Path, identity: Mapping[str, Any]) -> Record | None:
    """The stored cell; None if there is none, or none to trust: then it is set aside by name."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return _trusted(path, data, identity)
    except ValueError as fault:
        moved = [set_aside(file) for file in (path, path.with_suffix(".npz")) if file.exists()]
        names = " and ".join(file.name for file in moved if file)
        print(
            f"noncommit: {path} {fault}: set aside as {names}, computing it again", file=sys.stderr
        )
        return None


def _trusted(path: Path, data: bytes, identity: Mapping[str, Any]) -> Record:
    """The record in `data`, or a ValueError that says what is wrong with it."""
    try:
        body = json.loads(data)
        found, checksum = canonical(body.pop("identity")), body.pop("sha256")
        record, expected = Record(**body), _checksum(body)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("is torn or no cell file") from error
    if found != canonical(identity):
        raise ValueError("belongs to another cell, seed, source or version")
    if checksum != expected:
        raise ValueError("was changed after it was written (wrong checksum)")
    if record.arrays_sha256 and record.arrays_sha256 != _digest(path.with_suffix(".npz")):
        raise ValueError("has lost its arrays (missing or changed npz)")
    return record


def _digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def set_aside(path: Path) -> Path | None:
    """Rename to the first free `<name>.aside-<n>`; None if another run was faster."""
    for number in itertools.count(1):
        target = path.with_name(f"{path.name}.aside-{number}")
        try:
            target.touch(exist_ok=False)  # reserves the name against a run at the same time
        except FileExistsError:
            continue
        try:
            os.replace(path, target)
        except FileNotFoundError:
            target.unlink()
            return None
        return target
    return None


def collect(path: Path, configs: Sequence[Row], rows: Iterable[Row | None]) -> None:
    """One tidy CSV: rows in the order of the grid, the configuration's columns first."""
    table = []
    for config, row in zip(configs, rows, strict=True):
        if row is not None:
            if both := config.keys() & row.keys():
                raise ValueError(f"measured columns have a cell field's name: {sorted(both)}")
            table.append(config | row)
    columns = list(dict.fromkeys(name for row in [*configs, *table] for name in row))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_text(row.get(name)) for name in columns] for row in table)
    write_atomic(path, buffer.getvalue().encode())


def _text(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and _parse(value) != value:
        raise ValueError(f"the text {value!r} would be read back as {_parse(value)!r}")
    return value if isinstance(value, str) else repr(value)


def _parse(text: str) -> Value:
    if text in _TRUTH:
        return _TRUTH[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else (text or None)


def read_table(path: Path) -> list[Row]:
    """The rows of a collected CSV with typed values; an empty field is None."""
    with Path(path).open(newline="", encoding="utf-8") as stream:
        return [
            {name: _parse(text) for name, text in row.items()} for row in csv.DictReader(stream)
        ]


def stored_arrays(table: Path) -> list[tuple[Row, dict[str, Any]]]:
    """The arrays of the cells behind a table's rows, where the run that made it left them here.

    A cell belongs to the table when its configuration and its row are the table's. Arrays that
    are not those that were measured are left out.
    """
    import numpy as np

    rows = {_text_of(row): row for row in read_table(table)}
    found = []
    for path in sorted((table.parent / table.stem).glob("*.json")):
        try:
            body = json.loads(path.read_bytes())
            row = rows[_text_of(body["identity"]["config"] | body["row"])]
        except (ValueError, KeyError, TypeError):
            continue  # not of this table, or torn: a run sets it aside and makes it again
        arrays = path.with_suffix(".npz")
        if body.get("arrays_sha256") and body["arrays_sha256"] == _digest(arrays):
            with np.load(arrays) as stored:
                found.append((row, dict(stored)))
    return found


def _text_of(row: Row) -> tuple[tuple[str, str], ...]:
    """Without blanks: a table has a column for what some of its cells did not measure."""
    return tuple(sorted((name, _text(value)) for name, value in row.items() if value is not None))


class Checkpoint:
    """The arrays of an unfinished cell beside its file-to-be, so that a killed run goes on.

    Its name holds the cell's hash, so a state of another cell, seed or source is never found.
    """

    def __init__(self, cell: Path, part: str = "") -> None:
        self.cell = cell
        self.path = cell.with_suffix(f"{part}.checkpoint.npz")

    def part(self, name: str) -> "Checkpoint":
        """The state of one part of the cell, kept when that part is done and the next is not."""
        return Checkpoint(self.cell, f".{name}")

    def load(self) -> list[Any] | None:
        """The arrays last saved; None if there are none, or none to trust: set aside by name."""
        import numpy as np

        if not self.path.is_file():
            return None
        try:
            with np.load(io.BytesIO(self.path.read_bytes())) as stored:
                return [stored[f"leaf_{k}"] for k in range(len(stored.files))]
        except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            moved = set_aside(self.path)
            name = moved.name if moved else self.path.name
            print(f"noncommit: {self.path} is torn: set aside as {name}", file=sys.stderr)
            return None

    def save(self, leaves: Iterable[Any]) -> None:
        """Replace what was saved before, whole or not at all."""
        import numpy as np

        buffer = io.BytesIO()
        named: dict[str, Any] = {f"leaf_{k}": np.asarray(a) for k, a in enumerate(leaves)}
        np.savez(buffer, **named)
        write_atomic(self.path, buffer.getvalue())

    def clear(self) -> None:
        """The cell is stored: what it was made from, in all its parts, is no longer needed."""
        for path in self.cell.parent.glob(f"{self.cell.stem}*.checkpoint.npz"):
            path.unlink(missing_ok=True)


def reference_folder() -> Path:
    """The committed tables and verdicts: of the source checkout, or those in the wheel."""
    package = Path(__file__).resolve().parent
    checkout = package.parent / "results" / "reference"
    return checkout if checkout.is_dir() else package / "reference"
