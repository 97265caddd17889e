"""A folder in place of the package index, for tests that run the real pip."""

import os
from pathlib import Path

import pytest


def offer_only(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pip find what lies in the folder and ask no index."""
    monkeypatch.setenv("NONCOMMIT_CACHE", str(cache))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
