"""Fixtures of the command line's tests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _not_private(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the command line, where a test calls it in its own process, from changing that process for good."""
    monkeypatch.setattr("gpumon.cli.keep_private", lambda: None)
