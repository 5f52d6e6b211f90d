"""A Home Assistant for each broker, and machines that announce themselves to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.standin import build


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stand-in for NVIDIA's library."""
    return build(tmp_path_factory.mktemp("standin"))
