"""What a person can set is documented, and the documents are true."""

from __future__ import annotations

import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from gpumon.settings_sources import load_settings

ROOT = Path(__file__).resolve().parents[2]


def test_the_annotated_file_is_one_that_can_be_loaded_with_every_line_taken_in(tmp_path: Path) -> None:
    lines = (ROOT / "config" / "gpumon.toml").read_text().splitlines()
    active = [
        line[1:] if line[:1] == "#" and line[1:2].isalpha() and not line.endswith("...") else line for line in lines
    ]
    path = tmp_path / "gpumon.toml"
    path.write_text("\n".join(active))
    assert len(tomllib.loads(path.read_text())) > 4
    assert load_settings({}, {}, path) == load_settings({}, {})
