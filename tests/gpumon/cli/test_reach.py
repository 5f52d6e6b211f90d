"""How subcommands find the broker of a master that was started with flags of its own."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gpumon.cli.reach import as_the_master_runs, note_reach
from gpumon.datafolder import DataFolder
from gpumon.settings import Settings


def settings_of(folder: Path, **sections: object) -> Settings:
    """Return settings as flags would give them."""
    return msgspec.convert({"data": str(folder), **sections}, Settings)


def test_a_subcommand_finds_the_port_and_base_that_the_master_was_started_with(tmp_path: Path) -> None:
    note_reach(settings_of(tmp_path, mqtt={"port": 2883, "base": "lab"}), DataFolder(tmp_path))

    found = as_the_master_runs(settings_of(tmp_path))

    assert (found.mqtt.port, found.mqtt.base) == (2883, "lab")


@pytest.mark.parametrize(
    "given",
    [{"mqtt": {"port": 3883}}, {"agent": {"master": "mqtts://lab"}}, {"broker": {"url": "mqtts://lab"}}],
)
def test_what_was_given_wins(tmp_path: Path, given: dict[str, object]) -> None:
    note_reach(settings_of(tmp_path, mqtt={"port": 2883}), DataFolder(tmp_path))

    found = as_the_master_runs(settings_of(tmp_path, **given))

    assert found.mqtt.port == settings_of(tmp_path, **given).mqtt.port


def test_a_file_from_before_ports_were_said_changes_nothing(tmp_path: Path) -> None:
    DataFolder(tmp_path).reach.write_text('{"master":"mqtt://127.0.0.1:2883","cafile":null,"base":"gpumon"}')

    assert as_the_master_runs(settings_of(tmp_path)) == settings_of(tmp_path)
