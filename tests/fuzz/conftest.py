"""Says at the end how many inputs were tried."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.fuzz.fuzzing import TRIED


def pytest_configure(config: pytest.Config) -> None:
    """Let the link's thread, which waits a random time, run while inputs are drawn."""
    config.addinivalue_line("filterwarnings", "ignore:Do not use the .random. module")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the inputs tried by target, and write them to the file that FUZZ_TRIED names."""
    if TRIED:
        counts = ", ".join(f"{target} {count}" for target, count in sorted(TRIED.items()))
        terminalreporter.write_line(f"fuzzing tried {sum(TRIED.values())} inputs: {counts}")
    if "FUZZ_TRIED" in os.environ:
        Path(os.environ["FUZZ_TRIED"]).write_text(json.dumps(TRIED))
