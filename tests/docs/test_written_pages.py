"""What is written from the code is as the code is now."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WRITERS = sorted((ROOT / "scripts").glob("document-*"))


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.name)
def test_what_a_script_writes_is_as_the_code_declares(writer: Path) -> None:
    written: dict[str, str] = runpy.run_path(str(writer))["written"]()
    old = [name for name, text in written.items() if not (ROOT / name).is_file() or (ROOT / name).read_text() != text]
    assert not old, f"run scripts/{writer.name}: {old} are not as the code is now"


def test_the_command_line_page_has_every_subcommand_and_action() -> None:
    headings = {line for line in (ROOT / "docs" / "command-line.md").read_text().splitlines() if line[:1] == "#"}
    assert {"## gpumon up", "## gpumon agent", "### gpumon user add", "### gpumon worker rotate"} <= headings
