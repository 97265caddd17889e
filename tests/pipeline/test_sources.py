"""The digest covers exactly the first-party files a number comes from."""

import importlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from experiments import sources


@pytest.fixture
def package(tmp_path, monkeypatch):
    """bench.main imports bench.helper inside a function, which imports bench.deep relatively."""
    folder = tmp_path / "bench"
    folder.mkdir()
    files = {
        "__init__": "",
        "main": "import json\ndef f():\n    from bench import helper, missing_name\n",
        "helper": "from .deep import number\n",
        "deep": "number = 1\n",
        "apart": "number = 2\n",
    }
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    return folder


def test_imports_are_followed(package):
    found = {name for name in sources.files("bench.main") if name.startswith("bench")}
    assert found == {"bench", "bench.main", "bench.helper", "bench.deep"}


@pytest.mark.parametrize("name", ["__init__", "main", "helper", "deep", "apart"])
def test_the_digest_changes_with_what_is_imported_and_nothing_else(package, name):
    before = sources.digest("bench.main")
    with (package / f"{name}.py").open("a") as stream:
        stream.write("# a change\n")
    assert (sources.digest("bench.main") == before) == (name == "apart")


def test_the_toy_rests_on_theory_but_not_on_the_harness():
    found = sources.files("tests.pipeline.toy")
    assert {"tests.pipeline.toy", "theory", "theory.estimate", "experiments.runtime"} <= set(found)
    assert not {"experiments.store", "experiments.sweep", "experiments.cli"} & set(found)


def test_threads_that_ask_at_once_parse_one_after_the_other(monkeypatch):
    counts = {"now": 0, "most": 0, "all": 0}

    def slow(module):
        counts["all"] += 1
        counts["now"] += 1
        counts["most"] = max(counts["most"], counts["now"])
        time.sleep(0.05)
        counts["now"] -= 1
        return module

    monkeypatch.setattr(sources, "digest", slow)
    names = ["threads.one", "threads.two"] * 2
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(sources.imported_digest, names)) == names
    assert (counts["most"], counts["all"]) == (1, 2)
