"""Secrets and files that are never half written."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from gpumon.errors import SecretFileError, SettingError, StartError
from gpumon.files import (
    LARGEST_SECRET_BYTES,
    check_trusted_file,
    ensure_secret,
    make_folder,
    read_secret,
    write_atomically,
    write_secret,
)


def test_a_secret_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "token"
    write_secret(path, "s3cret")
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_secret(path) == "s3cret"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o610])
def test_a_secret_that_others_may_read_is_refused_with_the_line_that_mends_it(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    write_secret(path, "s3cret")
    path.chmod(mode)
    with pytest.raises(SecretFileError, match=f"chmod 600 {path}"):
        read_secret(path)


def test_a_missing_or_empty_secret_is_said(tmp_path: Path) -> None:
    with pytest.raises(SecretFileError, match="cannot be read"):
        read_secret(tmp_path / "none")
    write_secret(tmp_path / "empty", "")
    with pytest.raises(SecretFileError, match="empty"):
        read_secret(tmp_path / "empty")


def test_a_secret_that_another_user_owns_is_refused_but_roots_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    write_secret(path, "s3cret")
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 4711)
    if owner == 0:
        assert read_secret(path) == "s3cret"
        os.chown(path, 65534, 65534)
    with pytest.raises(SecretFileError, match=rf"belongs to \w+, who may read it: run chown {owner + 4711}"):
        read_secret(path)


def test_root_is_told_to_work_as_the_user_whom_a_services_secrets_belong_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "master.secret"
    write_secret(path, "s3cret")
    if path.stat().st_uid == 0:
        os.chown(path, 65534, 65534)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(SecretFileError, match=r"do this as \w+: sudo -u \w+"):
        read_secret(path)


def test_what_counts_is_the_file_that_a_link_leads_to(tmp_path: Path) -> None:
    path, link = tmp_path / "token", tmp_path / "link"
    write_secret(path, "s3cret")
    link.symlink_to(path)
    assert read_secret(link) == "s3cret"
    path.chmod(0o644)
    with pytest.raises(SecretFileError, match="chmod 600"):
        read_secret(link)


def test_a_file_that_is_put_in_the_place_of_a_secret_while_it_is_read_does_not_lend_it_its_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, private = tmp_path / "token", tmp_path / "private"
    write_secret(path, "open to all")
    path.chmod(0o644)
    write_secret(private, "s3cret")
    fstat = os.fstat

    def replaced_first(descriptor: int) -> os.stat_result:
        if private.exists():
            private.replace(path)
        return fstat(descriptor)

    monkeypatch.setattr(os, "fstat", replaced_first)
    with pytest.raises(SecretFileError, match="others may read it"):
        read_secret(path)


@pytest.mark.parametrize("content", [b"\xffs3cret", b"s3cret" * LARGEST_SECRET_BYTES])
def test_what_is_no_secret_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    write_atomically(path, content)
    with pytest.raises(SecretFileError, match=r"not text|too large") as raised:
        read_secret(path)
    assert "s3cret" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_trusted_file_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ca.crt"
    write_atomically(path, b"certificate", mode=0o664)
    check_trusted_file(path)
    check_trusted_file(tmp_path / "none")
    path.chmod(0o666)
    with pytest.raises(SettingError, match="chmod 644"):
        check_trusted_file(path)


@pytest.mark.parametrize(("mode", "is_told"), [(0o700, False), (0o755, False), (0o777, True), (0o1777, False)])
def test_a_folder_in_which_everybody_may_replace_files_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, *, is_told: bool
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(mode)
    make_folder(folder)
    assert ("chmod 700" in caplog.text) is is_told


def test_two_that_make_the_same_secret_at_once_get_the_same(tmp_path: Path) -> None:
    found: list[str] = []
    barrier = threading.Barrier(8)

    def make() -> None:
        barrier.wait()
        found.append(ensure_secret(tmp_path / "secret"))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_a_failed_write_leaves_the_old_content_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full_disk(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="--data"):
        make_folder(tmp_path / "file" / "data")
