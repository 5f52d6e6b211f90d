"""Taking a backup and putting it back: whole, as it was, and nothing else."""

from __future__ import annotations

import io
import os
import pwd
import shutil
import sqlite3
import stat
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gpumon.datafolder import DataFolder
from gpumon.files import ensure_secret
from gpumon.locks import FolderLock
from master.audit_reader import AuditFilter, AuditReader
from master.backup.archive import MANIFEST, BackupError, Manifest
from master.backup.restoring import check, restore
from master.backup.taking import take
from master.prepare import prepare
from master.store.engine import Store
from tests.master.backup.filled import BY, files_of, filled, rows_of

Members = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder and its backup, which are made once and copied for each test."""
    place = tmp_path_factory.mktemp("made")
    data = filled(DataFolder(place / "data"))
    shutil.copytree(data.root, place / "before")
    take(data, place / "backup.tar.gz", BY)
    return place / "before", place / "backup.tar.gz"


@pytest.fixture
def folder(tmp_path: Path, made: tuple[Path, Path]) -> DataFolder:
    return DataFolder(Path(shutil.copytree(made[0], tmp_path / "data")))


@pytest.fixture
def backup(tmp_path: Path, made: tuple[Path, Path]) -> Path:
    return Path(shutil.copy(made[1], tmp_path / "backup.tar.gz"))


def changed(backup: Path, change: Callable[[Members], Members]) -> Path:
    """Write the backup anew, with other members."""
    with tarfile.open(backup) as archive:
        members: Members = []
        for member in archive:
            source = archive.extractfile(member)
            assert source is not None
            members.append((member, source.read()))
    path = backup.with_name("changed.tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        for member, content in change(members):
            archive.addfile(member, io.BytesIO(content))
    return path


def with_manifest(members: Members, **changes: object) -> Members:
    manifest = {**msgspec.json.decode(members[0][1]), **changes}
    return [member_of(MANIFEST, msgspec.json.encode(manifest)), *members[1:]]


def member_of(name: str, content: bytes = b"") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member, content


def said_of(backup: Path, folder: DataFolder) -> str:
    """What a refused restore says; what is there stays as it is."""
    before = files_of(folder.root), rows_of(folder)
    with pytest.raises(BackupError) as refused:
        restore(backup, folder, BY)
    assert (files_of(folder.root), rows_of(folder)) == before
    assert not (folder.root / ".restore").exists()
    return str(refused.value)


def test_everything_comes_back_as_it_was(tmp_path: Path, folder: DataFolder, backup: Path) -> None:
    other = DataFolder(tmp_path / "other")
    other.root.mkdir()
    restore(backup, other, BY)
    assert files_of(other.root) == files_of(folder.root)
    assert rows_of(other) == rows_of(folder)
    assert {"tls/ca.key", "tokens/w1.token", "agent/w1/client-id", "session.secret", "instance"} <= set(
        files_of(other.root)
    )
    prepare(other)
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600


def test_the_audit_tells_of_backups(tmp_path: Path, folder: DataFolder, backup: Path) -> None:
    restore(backup, folder, BY)
    store = Store(folder)
    found = [(entry.action, entry.who) for entry in AuditReader(store).all(AuditFilter()) if "backup" in entry.action]
    store.stop()
    assert found == [("backup.taken", "eve"), ("backup.restored", "eve")]


def test_what_was_there_is_kept_beside_and_nothing_of_it_is_mixed_in(
    tmp_path: Path, folder: DataFolder, backup: Path
) -> None:
    other = filled(DataFolder(tmp_path / "other"), admin="mallory")
    (other.root / "tls" / "server.crt").write_text("newer")
    (other.root / "mine").write_text("not gpumon's")
    before = files_of(other.root)
    restored = restore(backup, other, BY)
    assert restored.before is not None
    assert (other.root / "mine").read_text() == "not gpumon's"
    assert not (other.root / "tls" / "server.crt").exists()
    assert {**files_of(restored.before), "mine": before["mine"]} == before
    assert "mallory" in str(rows_of(DataFolder(restored.before))["users"])
    assert rows_of(other) == rows_of(folder)


def test_a_backup_that_is_taken_under_load_is_of_one_moment(tmp_path: Path, folder: DataFolder) -> None:
    stop, written = threading.Event(), 0
    store = Store(folder)

    def write() -> None:
        nonlocal written
        while not stop.is_set():
            with store.write() as connection:
                for half in ("a", "b"):  # of each number there are both, or neither
                    connection.exec_driver_sql(
                        "INSERT INTO events (id, worker_id, received, time, kind, text) VALUES (?, ?, 1, 1, 'xid', ?)",
                        (f"{half}{written}", "w1", "x" * 5000),
                    )
            written += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(4):
            time.sleep(0.1)
            least = written
            take(folder, tmp_path / f"{number}.tar.gz", BY)
            assert written > least  # nobody had to wait for it
            other = DataFolder(tmp_path / f"other{number}")
            other.root.mkdir()
            restore(tmp_path / f"{number}.tar.gz", other, BY)
            with sqlite3.connect(other.database) as connection:
                ids = {row[0] for row in connection.execute("SELECT id FROM events")}
            connection.close()
            count = len(ids) // 2
            assert ids == {f"{half}{index}" for half in "ab" for index in range(count)}
            assert count >= least
    finally:
        stop.set()
        writer.join()
        store.stop()


def test_a_settings_file_from_elsewhere_is_kept_but_put_nowhere_by_itself(tmp_path: Path, folder: DataFolder) -> None:
    (tmp_path / "etc.toml").write_text("[page]\nport = 5001\n")
    take(folder, tmp_path / "b.tar.gz", BY, tmp_path / "etc.toml")
    restored = restore(tmp_path / "b.tar.gz", folder, BY)
    assert restored.other_settings is not None
    assert restored.other_settings.read_text() == "[page]\nport = 5001\n"


def test_no_backup_takes_the_place_of_another_file(tmp_path: Path, folder: DataFolder, backup: Path) -> None:
    before = backup.read_bytes()
    with pytest.raises(BackupError, match="is there already"):
        take(folder, backup, BY)
    assert backup.read_bytes() == before
    with pytest.raises(BackupError, match="make it first"):
        take(folder, tmp_path / "missing" / "b.tar.gz", BY)
    with pytest.raises(BackupError, match="no master keeps its data"):
        take(DataFolder(tmp_path), tmp_path / "b.tar.gz", BY)


def test_a_damaged_database_is_told_of_when_the_backup_is_taken(tmp_path: Path, folder: DataFolder) -> None:
    content = bytearray(folder.database.read_bytes())
    content[8192:] = b"\xa5" * (len(content) - 8192)
    folder.database.write_bytes(bytes(content))
    with pytest.raises(BackupError, match="is damaged"):
        take(folder, tmp_path / "b.tar.gz", BY)
    assert not list(tmp_path.glob("*.gz"))
    assert not (tmp_path / ".gpumon-backup").exists()


def test_nothing_is_restored_under_a_running_master(folder: DataFolder, backup: Path) -> None:
    lock = FolderLock(folder.master_lock)
    assert lock.take(wait=False)
    assert "stop it first" in said_of(backup, folder)
    lock.free()


def test_any_damage_is_noticed_before_anything_is_changed(folder: DataFolder, backup: Path) -> None:
    whole = backup.read_bytes()
    for place in range(20, len(whole), max(1, len(whole) // 40)):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        backup.write_bytes(bytes(damaged))
        with pytest.raises(BackupError):
            check(backup)
    for length in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        backup.write_bytes(whole[:length])
        with pytest.raises(BackupError):
            check(backup)
    assert "take another one" in said_of(backup, folder)


def test_another_content_under_the_same_name_is_noticed(folder: DataFolder, backup: Path) -> None:
    def other_secret(members: Members) -> Members:
        return [(member, content[::-1] if member.name == "master.secret" else content) for member, content in members]

    assert "the checksum of master.secret" in said_of(changed(backup, other_secret), folder)
    assert "is missing" in said_of(changed(backup, lambda members: members[:-1]), folder)
    assert "is not as its manifest says" in said_of(changed(backup, lambda members: [*members, members[1]]), folder)


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "tls/../../outside", "mine", "tls//x", "./tls/x", "tls/", "gpumon.db/x", ""]
)
def test_nothing_is_written_outside_of_what_a_master_keeps(folder: DataFolder, backup: Path, name: str) -> None:
    def smuggled(members: Members) -> Members:
        files = {**msgspec.json.decode(members[0][1])["files"], name: {"size": 0, "sha256": "0"}}
        return [*with_manifest(members, files=files), member_of(name)]

    assert "does not belong into a backup" in said_of(changed(backup, smuggled), folder)
    added = changed(backup, lambda members: [*members, member_of(name)])
    assert "is not as its manifest says" in said_of(added, folder)
    assert not (folder.root.parent / "outside").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_only_files_are_taken_out_of_a_backup(folder: DataFolder, backup: Path, kind: bytes) -> None:
    def instead(members: Members) -> Members:
        for member, _ in members:
            if member.name == "master.secret":
                member.type, member.linkname, member.size = kind, "/etc/passwd", 0
        return members

    assert "is damaged" in said_of(changed(backup, instead), folder)


def test_a_backup_of_a_newer_gpumon_is_refused(folder: DataFolder, backup: Path) -> None:
    newer = changed(backup, lambda members: with_manifest(members, format=2, files=None))
    assert "made by a newer gpumon" in said_of(newer, folder)
    newer = changed(backup, lambda members: with_manifest(members, schema="9999"))
    assert "made by a newer gpumon" in said_of(newer, folder)


def test_a_file_that_is_no_backup_is_said_to_be_none(tmp_path: Path, folder: DataFolder, backup: Path) -> None:
    with pytest.raises(BackupError, match="there is no backup"):
        check(tmp_path / "nothing")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(BackupError, match="is damaged"):
        check(tmp_path / "text")
    other = changed(backup, lambda members: members[1:])
    assert "is not a backup of gpumon" in said_of(other, folder)


def test_what_a_killed_backup_has_left_is_deleted_by_the_next(tmp_path: Path, folder: DataFolder) -> None:
    left = tmp_path / ".gpumon-backup"
    left.mkdir()
    (left / "database").write_bytes(b"half")
    take(folder, tmp_path / "b.tar.gz", BY)
    assert isinstance(check(tmp_path / "b.tar.gz"), Manifest)
    assert not left.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to others")
def test_what_root_restores_for_a_services_user_is_that_users(tmp_path: Path, backup: Path) -> None:
    user = pwd.getpwnam("daemon")
    root = tmp_path / "other"
    root.mkdir()
    os.chown(root, user.pw_uid, user.pw_gid)
    for _ in range(2):
        restore(backup, DataFolder(root), BY)
    assert {path.stat().st_uid for path in root.rglob("*")} == {user.pw_uid}


def test_the_secrets_are_those_of_the_backup(tmp_path: Path, folder: DataFolder, backup: Path) -> None:
    secret = ensure_secret(folder.master_secret)
    folder.master_secret.unlink()
    assert ensure_secret(folder.master_secret) != secret
    restore(backup, folder, BY)
    assert ensure_secret(folder.master_secret) == secret
