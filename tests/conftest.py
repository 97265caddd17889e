"""Strict modes for every test: checked shapes, float64, no key used twice, reproducible draws."""

import gc
import os

os.environ.setdefault("MPLBACKEND", "Agg")

import jaxtyping
import pytest
from hypothesis import HealthCheck, Phase, settings

from experiments import runtime
from tests import key_reuse, ledger
from tests.ledger import pytest_sessionfinish, pytest_terminal_summary, pytest_testnodedown

__all__ = ["pytest_sessionfinish", "pytest_terminal_summary", "pytest_testnodedown"]

jaxtyping.install_import_hook("theory", "beartype.beartype")  # before anything imports theory

gc.disable()  # until all tests are collected
runtime.configure()
key_reuse.watch()
runtime.keep_compilations()
ledger.watch()

ROOM = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 6  # a process, in bytes

# A first example compiles, so no deadline, and slow generation is no finding.
COMMON = {"deadline": None, "print_blob": True, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("ci", derandomize=True, max_examples=25, **COMMON)
settings.register_profile("nightly", max_examples=400, **COMMON)
settings.register_profile("soak", max_examples=25, database=None, **COMMON)  # seeds are given
SEARCH = (Phase.explicit, Phase.generate)  # a mutant is dead whatever the least example is
settings.register_profile("mutants", derandomize=True, max_examples=25, phases=SEARCH, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_collection_finish() -> None:
    """What the collection made stays to the end: garbage is not sought there, then or later."""
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)  # what is traced is garbage only when programs go
    gc.enable()


@pytest.fixture(autouse=True, scope="module")
def _fresh_caches(request: pytest.FixtureRequest):
    """What was compiled holds memory: past a limit it goes; what is needed again is in files."""
    ledger.LEDGER.enter_file(request.path)
    yield
    runtime.forget_programs(ROOM)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch):
    """Annotations unchecked, as for a user, so that a wrong type meets the function itself."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
