"""A restore that is killed leaves the old state whole, or the new one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gpumon.datafolder import DataFolder
from master.backup.taking import take
from tests.master.backup.filled import BY, filled


def test_killed_at_any_step_a_restore_leaves_the_old_state_or_the_new_one(tmp_path: Path) -> None:
    new, old = filled(DataFolder(tmp_path / "new")), filled(DataFolder(tmp_path / "old"), admin="mallory")
    backup, states = tmp_path / "b.tar.gz", tmp_path / "states"
    take(new, backup, BY)
    program = [sys.executable, "-m", "tests.master.backup.killed_at_each_step"]
    subprocess.run([*program, str(backup), str(old.root), str(new.root), str(states)], check=True, timeout=110)
    found = states.read_text().split("\n")[:-1]
    assert set(found) == {"old", "new"}
    assert found == sorted(found, reverse=True), "once it is decided, it stays so"
    assert found.count("old") > 10
    assert found.count("new") > 10
