"""Fixtures of the kernel tests."""

import jaxtyping
import pytest


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch):
    """Annotations unchecked, as for a user, so that a wrong type meets the function itself."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
