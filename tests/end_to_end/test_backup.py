"""`gpumon backup` and `gpumon restore` on a fleet that runs."""

from __future__ import annotations

import signal
import subprocess
import tarfile
from pathlib import Path

from gpumon.cli.supervisor import gpumon_command
from master.backup.archive import KEPT, SQLITE_FILE
from tests.end_to_end.page_client import PageClient
from tests.end_to_end.running import Running, gpumon_up, online
from tests.support import eventually

WORKERS = ["demo-gpu-01", "demo-gpu-02"]


def kill_in_the_middle(running: Running, folder: Path) -> None:
    """Start a backup, and kill it once it copies the database."""
    process = subprocess.Popen(gpumon_command("backup", str(folder)), env=running.environment)
    eventually(lambda: (folder / ".gpumon-backup" / "database").exists() or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait(10)


def test_a_fleet_goes_on_from_its_backup_in_another_folder(tmp_path: Path) -> None:
    backups, again = tmp_path / "backups", tmp_path / "again"
    for folder in (backups, again):
        folder.mkdir()
    with gpumon_up(tmp_path, "--demo", "2") as running:
        eventually(lambda: online(running, WORKERS), 30)
        password = running.admin_password
        kill_in_the_middle(running, backups)
        taken = running.gpumon("backup", str(backups), "--keep", "1")
        assert taken.returncode == 0, taken.stderr
        refused = running.gpumon("restore", str(next(backups.glob("*.gz"))))
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 2)
        assert "a master runs on" in refused.stderr
        unknown = {path.name for path in running.data.root.iterdir() if not path.name.startswith((".", SQLITE_FILE))}
        assert unknown - set(KEPT) == set(), "say in master/backup/archive.py whether it is kept"
    (backup,) = backups.iterdir()
    with tarfile.open(backup) as archive:
        assert {"session.secret", "agent/demo-gpu-01/client-id"} <= set(archive.getnames())
    environment = {**running.environment, "GPUMON_DATA": str(again / "data")}
    command = gpumon_command("restore", str(backup))
    restored = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert restored.returncode == 0, restored.stderr
    assert (again / "data" / "gpumon.db").stat().st_mode & 0o777 == 0o600
    with gpumon_up(again, "--demo", "2") as running:
        eventually(lambda: online(running, WORKERS), 30)
        page = PageClient(running.page, "admin", password)
        assert {worker["id"] for worker in page.workers()} == set(WORKERS)
