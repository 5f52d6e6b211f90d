"""Accounts of people and workers, in one process and in several."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from gpumon.datafolder import DataFolder
from gpumon.files import ensure_secret
from gpumon.roles import Principal, Role
from master.account_directory import AccountDirectory
from master.accounts import AccountError, Accounts, open_accounts
from master.passwords import Passwords
from master.prepare import prepare
from master.store.engine import Store, StoreError


def who(principal: Principal | None) -> tuple[str, Role] | None:
    return None if principal is None else (principal.name, principal.role)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.INTEGRATION, Role.ADMIN])
def test_a_person_logs_in_with_name_and_password(accounts: Accounts, role: Role) -> None:
    assert accounts.add_user("eve", role, "correct horse") == "correct horse"
    assert who(accounts.authenticate("eve", "correct horse")) == ("eve", role)
    assert accounts.authenticate("eve", "Correct horse") is None
    assert accounts.authenticate("eve", "") is None
    assert accounts.authenticate("Eve", "correct horse") is None
    assert [(user.name, user.role) for user in accounts.users()] == [("eve", role)]


def test_a_password_is_made_up_where_none_is_given(accounts: Accounts) -> None:
    first = accounts.add_user("eve", Role.VIEWER)
    assert accounts.authenticate("eve", first)
    second = accounts.set_password("eve")
    assert second != first
    assert accounts.authenticate("eve", first) is None
    assert accounts.authenticate("eve", second)


def test_a_worker_logs_in_with_its_token_alone(accounts: Accounts) -> None:
    token = accounts.add_worker("w1")
    assert len(token) == 43  # 32 bytes in base64
    assert who(accounts.authenticate("w1", token)) == ("w1", Role.WORKER)
    assert accounts.authenticate("w1", token[:-1]) is None
    assert accounts.authenticate("w1", "ü\ud800") is None
    assert accounts.authenticate("w2", token) is None
    rotated = accounts.rotate_worker("w1")
    assert accounts.authenticate("w1", token) is None
    assert accounts.authenticate("w1", rotated)
    accounts.remove_worker("w1")
    assert accounts.authenticate("w1", rotated) is None
    assert accounts.workers() == []


def test_neither_passwords_nor_tokens_are_in_the_database(accounts: Accounts, data: DataFolder) -> None:
    password, token = accounts.add_user("eve", Role.ADMIN), accounts.add_worker("w1")
    content = b"".join(path.read_bytes() for path in data.root.glob("gpumon.db*"))
    assert password.encode() not in content
    assert token.encode() not in content


def test_a_known_worker_is_not_replaced_unless_asked_for(accounts: Accounts) -> None:
    token = accounts.add_worker("w1")
    with pytest.raises(AccountError, match="w1 is taken by a worker"):
        accounts.add_worker("w1")
    assert accounts.authenticate("w1", token)
    replaced = accounts.add_worker("w1", replace=True)
    assert accounts.authenticate("w1", replaced)
    assert accounts.authenticate("w1", token) is None
    assert [account.worker_id for account in accounts.workers()] == ["w1"]
    assert accounts.authenticate("w2", accounts.add_worker("w2", replace=True))


def test_people_and_workers_share_one_set_of_names(accounts: Accounts) -> None:
    accounts.add_user("eve", Role.VIEWER, "correct horse")
    accounts.add_worker("w1")
    with pytest.raises(AccountError, match="eve is taken by a user"):
        accounts.add_worker("eve", replace=True)
    with pytest.raises(AccountError, match="w1 is taken by a worker"):
        accounts.add_user("w1", Role.VIEWER, "correct horse")
    with pytest.raises(AccountError, match="eve is taken by a user"):
        accounts.add_user("eve", Role.ADMIN, "correct horse")


@pytest.mark.parametrize("name", ["master", "all", "join", "audit", "", "a/b", "a#", "a+", "-a", "x" * 64])
def test_names_that_the_contract_does_not_allow_are_refused(accounts: Accounts, name: str) -> None:
    with pytest.raises(AccountError, match="name"):
        accounts.add_user(name, Role.VIEWER, "correct horse")
    with pytest.raises(AccountError, match="name"):
        accounts.add_worker(name)
    assert accounts.users() == []
    assert accounts.workers() == []


def test_a_short_password_and_a_role_that_is_not_for_people_are_refused(accounts: Accounts) -> None:
    with pytest.raises(AccountError, match="8 to 1024 characters"):
        accounts.add_user("eve", Role.VIEWER, "short")
    with pytest.raises(AccountError, match="no valid text"):
        accounts.add_user("eve", Role.VIEWER, "eight or more \ud800")
    for role in (Role.WORKER, Role.MASTER):
        with pytest.raises(AccountError, match="is not for people"):
            accounts.add_user("eve", role, "correct horse")


def test_the_last_admin_cannot_be_removed(accounts: Accounts) -> None:
    accounts.add_user("eve", Role.ADMIN, "correct horse")
    accounts.add_user("bob", Role.OPERATOR, "correct horse")
    with pytest.raises(AccountError, match="the last admin"):
        accounts.remove_user("eve")
    accounts.add_user("mallory", Role.ADMIN, "correct horse")
    accounts.remove_user("eve")
    accounts.remove_user("bob")
    assert [user.name for user in accounts.users()] == ["mallory"]


def test_what_is_not_there_cannot_be_changed(accounts: Accounts) -> None:
    for change in (accounts.set_password, accounts.remove_user, accounts.remove_worker, accounts.rotate_worker):
        with pytest.raises(AccountError, match=r"there is no (user|worker) 'nobody'"):
            change("nobody")


def test_the_first_admin_is_made_once(accounts: Accounts) -> None:
    password = accounts.first_login()
    assert password is not None
    assert who(accounts.authenticate("admin", password)) == ("admin", Role.ADMIN)
    assert accounts.first_login() is None
    accounts.add_user("eve", Role.ADMIN, "correct horse")
    accounts.remove_user("admin")
    assert accounts.first_login() is None


def test_the_first_admin_does_not_take_somebody_elses_name(accounts: Accounts) -> None:
    accounts.add_worker("admin")
    with pytest.raises(AccountError, match="admin is taken by a worker"):
        accounts.first_login()


def test_the_master_logs_in_with_the_folders_secret(accounts: Accounts, data: DataFolder) -> None:
    secret = ensure_secret(data.master_secret)
    assert who(accounts.authenticate("master", secret)) == ("master", Role.MASTER)
    assert accounts.authenticate("master", secret + "x") is None
    data.master_secret.chmod(0o644)  # others may read it: not trusted any more
    assert accounts.authenticate("master", secret) is None


def test_a_wrong_name_takes_the_same_work_as_a_wrong_password(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts.add_user("eve", Role.VIEWER, "correct horse")
    verified: list[str] = []
    verify = Passwords().is_right

    def counting(self: Passwords, password_hash: str | None, password: str) -> bool:
        verified.append("known" if password_hash else "nobody")
        return verify(password_hash, password)

    monkeypatch.setattr(Passwords, "is_right", counting)
    assert accounts.authenticate("eve", "wrong horse") is None
    assert accounts.authenticate("nobody", "wrong horse") is None
    assert verified == ["known", "nobody"]


def test_a_password_checked_against_nobodys_hash_is_never_right() -> None:
    passwords = Passwords()
    assert not passwords.is_right(None, "correct horse")
    assert not passwords.is_right("no argon2 hash", "correct horse")
    assert passwords.is_right(passwords.hash("correct horse"), "correct horse")


def test_before_there_is_a_database_only_the_master_is_known(tmp_path: Path) -> None:
    data = DataFolder(tmp_path)
    secret = ensure_secret(data.master_secret)
    directory = AccountDirectory(data)
    assert who(directory.authenticate("master", secret)) == ("master", Role.MASTER)
    assert directory.authenticate("w1", "token") is None
    data.database.touch()  # being made
    assert directory.authenticate("w1", "token") is None
    with open_accounts(data) as accounts:
        token = accounts.add_worker("w1")
    assert who(directory.authenticate("w1", token)) == ("w1", Role.WORKER)
    directory.close()


@pytest.mark.sqlite
def test_a_backup_put_in_the_databases_place_is_what_counts(
    accounts: Accounts, directory: AccountDirectory, data: DataFolder, tmp_path: Path
) -> None:
    backup = sqlite3.connect(tmp_path / "backup.db")
    with sqlite3.connect(data.database) as source:
        source.backup(backup)
    source.close()
    backup.close()
    token = accounts.add_worker("w1")
    assert directory.authenticate("w1", token)
    (tmp_path / "backup.db").replace(data.database)
    for name in ("gpumon.db-wal", "gpumon.db-shm"):
        (data.root / name).unlink(missing_ok=True)
    assert directory.authenticate("w1", token) is None


def _change_accounts(data: DataFolder, number: int) -> None:
    with open_accounts(data) as accounts:
        for place in range(25):
            accounts.add_worker(f"w{number}-{place}")
        accounts.rotate_worker(f"w{number}-0")


def test_several_processes_change_accounts_while_another_reads_them(
    directory: AccountDirectory, data: DataFolder, accounts: Accounts
) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_change_accounts, args=(data, number)) for number in range(3)]
    for process in processes:
        process.start()
    token = accounts.add_worker("mine")
    while any(process.is_alive() for process in processes):
        assert who(directory.authenticate("mine", token)) == ("mine", Role.WORKER)
        time.sleep(0.005)
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(accounts.workers()) == 76


def test_what_one_process_changes_the_other_knows_at_once(
    accounts: Accounts, directory: AccountDirectory, data: DataFolder
) -> None:
    token = accounts.add_worker("w1")
    assert directory.authenticate("w1", token)
    assert directory.authenticate("w1", accounts.rotate_worker("w1"))
    assert directory.authenticate("w1", token) is None
    accounts.remove_worker("w1")
    assert directory.authenticate("w1", token) is None


def test_many_threads_may_ask_at_once(accounts: Accounts, directory: AccountDirectory) -> None:
    tokens = {f"w{number}": accounts.add_worker(f"w{number}") for number in range(20)}
    wrong: list[str] = []

    def ask() -> None:
        wrong.extend(name for name, token in tokens.items() if directory.authenticate(name, token) is None)
        wrong.extend(name for name in tokens if directory.authenticate(name, "x") is not None)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.sqlite
def test_a_database_that_stays_locked_is_said_and_readers_go_on(
    accounts: Accounts, store: Store, data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = accounts.add_worker("w1")
    monkeypatch.setattr("master.store.engine_sqlite.BUSY_TIMEOUT_MS", 50)
    store.engine.dispose()
    other = sqlite3.connect(data.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="is locked by another program"):
        accounts.add_worker("w2")
    assert accounts.authenticate("w1", token)
    other.execute("ROLLBACK")
    other.close()
    accounts.add_worker("w2")


def test_opening_accounts_makes_the_folder_ready(tmp_path: Path) -> None:
    with open_accounts(DataFolder(tmp_path / "new")) as accounts:
        assert accounts.workers() == []
    assert DataFolder(tmp_path / "new").database.exists()
    prepare(DataFolder(tmp_path / "new"))
