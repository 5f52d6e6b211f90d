"""Who was let in and would not be any more; API tokens and join keys as ways in."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import Connection, delete, insert, update

from gpumon.datafolder import DataFolder
from gpumon.files import ensure_secret, write_secret
from gpumon.roles import Principal, Role
from master.account_directory import AccountDirectory
from master.account_snapshot import AccountSnapshot
from master.accounts import Accounts
from master.api_tokens import ApiTokens, TokenError
from master.last_uses import LastUses
from master.passwords import token_digest
from master.sessions import PageSessions
from master.store.engine import Store
from master.store.models import ApiTokenRow, JoinKeyRow, UserRow
from master.store.writer import Writer
from tests.support import eventually

KEY = "gpj_a-join-key"


def let_in(directory: AccountDirectory, name: str, secret: str) -> Principal:
    principal = directory.authenticate(name, secret)
    assert principal is not None
    assert secret not in repr(principal)
    assert directory.outdated([principal]) == set()
    return principal


def counted_reads(monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """Return a list that grows with every reading of all accounts."""
    read, reads = AccountSnapshot.read, list[Connection]()

    def counting(connection: Connection) -> AccountSnapshot:
        reads.append(connection)
        return read(connection)

    monkeypatch.setattr(AccountSnapshot, "read", counting)
    return reads


def set_limit(store: Store, name: str, commands_on: str | None) -> None:
    with store.write() as connection:
        connection.execute(update(UserRow).where(UserRow.name == name).values(commands_on=commands_on))


def add_key(store: Store, *, uses: int = 1, lasts_s: float = 60.0) -> None:
    row = {
        "id": "k-1",
        "key_sha256": token_digest(KEY),
        "created": time.time(),
        "created_by": "eve",
        "expires": time.time() + lasts_s,
        "uses_left": uses,
        "replaces": False,
    }
    with store.write() as connection:
        connection.execute(insert(JoinKeyRow).values(row))


def test_who_has_another_password_is_outdated_and_the_others_are_not(
    accounts: Accounts, directory: AccountDirectory
) -> None:
    eve = let_in(directory, "eve", accounts.add_user("eve", Role.OPERATOR))
    bob = let_in(directory, "bob", accounts.add_user("bob", Role.OPERATOR))
    password = accounts.set_password("eve")
    assert directory.outdated([eve, bob]) == {eve}
    assert let_in(directory, "eve", password) != eve


def test_who_is_removed_or_has_another_limit_is_outdated(
    accounts: Accounts, directory: AccountDirectory, store: Store
) -> None:
    password = accounts.add_user("eve", Role.OPERATOR)
    eve = let_in(directory, "eve", password)
    assert eve.commands_on is None
    set_limit(store, "eve", '{"site":"a","rack":"3"}')
    assert directory.outdated([eve]) == {eve}
    limited = let_in(directory, "eve", password)
    assert limited.commands_on == (("rack", "3"), ("site", "a"))
    accounts.remove_user("eve")
    assert directory.outdated([limited]) == {limited}


def test_an_account_with_a_limit_that_cannot_be_read_is_not_let_in(
    accounts: Accounts, directory: AccountDirectory, store: Store
) -> None:
    password = accounts.add_user("eve", Role.OPERATOR)
    eve = let_in(directory, "eve", password)
    for broken in ("", "[]", "{", '{"rack":3}', "null"):
        set_limit(store, "eve", broken)
        assert directory.authenticate("eve", password) is None
        assert directory.outdated([eve]) == {eve}


def test_a_worker_whose_token_was_rotated_or_removed_is_outdated(
    accounts: Accounts, directory: AccountDirectory
) -> None:
    first = let_in(directory, "w1", accounts.add_worker("w1"))
    second = let_in(directory, "w1", accounts.rotate_worker("w1"))
    assert directory.outdated([first, second]) == {first}
    accounts.remove_worker("w1")
    assert directory.outdated([first, second]) == {first, second}


def test_a_user_that_takes_a_removed_workers_name_is_not_that_worker(
    accounts: Accounts, directory: AccountDirectory
) -> None:
    worker = let_in(directory, "w1", accounts.add_worker("w1"))
    accounts.remove_worker("w1")
    accounts.add_user("w1", Role.ADMIN)
    assert directory.outdated([worker]) == {worker}


def test_an_api_token_stands_for_its_user_until_it_is_revoked(
    accounts: Accounts, directory: AccountDirectory, store: Store
) -> None:
    password = accounts.add_user("eve", Role.OPERATOR)
    accounts.add_user("bob", Role.ADMIN)
    tokens = ApiTokens(store)
    made, token = tokens.make("eve", "scripts")
    assert token.startswith("gpt_")
    assert len(token) == 47

    by_password, by_token = let_in(directory, "eve", password), let_in(directory, "eve", token)
    assert by_token == Principal("eve", Role.OPERATOR, credential=made.id)
    assert directory.token_owner(token) == by_token
    assert directory.authenticate("bob", token) is None
    assert directory.authenticate("eve", token[:-1] + "x") is None
    accounts.set_password("eve")
    assert directory.outdated([by_password, by_token]) == {by_password}  # a token is ended by revoking it

    tokens.revoke(made.id)
    assert directory.outdated([by_token]) == {by_token}
    assert directory.authenticate("eve", token) is None
    assert directory.token_owner(token) is None


def test_a_token_ends_by_itself_and_with_its_user_and_follows_the_users_role(
    accounts: Accounts, directory: AccountDirectory, store: Store
) -> None:
    accounts.add_user("eve", Role.OPERATOR)
    made, token = ApiTokens(store).make("eve", "scripts", lifetime_s=3600)
    principal = let_in(directory, "eve", token)
    set_limit(store, "eve", '{"rack":"3"}')
    assert directory.outdated([principal]) == {principal}
    principal = let_in(directory, "eve", token)
    with store.write() as connection:
        connection.execute(update(ApiTokenRow).where(ApiTokenRow.id == made.id).values(expires=time.time() - 1))
    assert directory.outdated([principal]) == {principal}
    assert directory.authenticate("eve", token) is None
    other, token = ApiTokens(store).make("eve", "scripts")
    assert other.expires is None
    let_in(directory, "eve", token)
    accounts.remove_user("eve")
    assert directory.authenticate("eve", token) is None
    assert ApiTokens(store).of() == []


def test_an_expiry_is_seen_though_nobody_writes(
    accounts: Accounts, directory: AccountDirectory, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts.add_user("eve", Role.OPERATOR)
    _, token = ApiTokens(store).make("eve", "scripts", lifetime_s=3600)
    add_key(store)
    principals = {let_in(directory, "eve", token), let_in(directory, "join", KEY)}
    reads = counted_reads(monkeypatch)
    assert directory.outdated(principals) == set()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 4000)
    assert directory.outdated(principals) == principals
    assert reads == []


def test_tokens_have_a_label_and_there_are_not_too_many(accounts: Accounts, store: Store) -> None:
    accounts.add_user("eve", Role.OPERATOR)
    tokens = ApiTokens(store)
    for bad in ("x" * 65, "two\nlines", "\x1b[31m"):
        with pytest.raises(TokenError, match="label"):
            tokens.make("eve", bad)
    with pytest.raises(TokenError, match="no user 'nobody'"):
        tokens.make("nobody", "x")
    for _ in range(50):
        tokens.make("eve", "")
    with pytest.raises(TokenError, match="has 50 tokens already"):
        tokens.make("eve", "")
    assert {token.label for token in tokens.of("eve")} == {"unnamed"}
    with pytest.raises(TokenError, match="no token 't-nothing'"):
        tokens.revoke("t-nothing")


def test_nobody_revokes_anothers_token(accounts: Accounts, store: Store) -> None:
    accounts.add_user("eve", Role.OPERATOR)
    accounts.add_user("bob", Role.OPERATOR)
    made, _ = ApiTokens(store).make("eve", "scripts")
    with pytest.raises(TokenError, match="there is no token"):
        ApiTokens(store).revoke(made.id, "bob")
    assert ApiTokens(store).of("eve") == [made]


def test_uses_of_tokens_and_sessions_are_noted_once_in_a_while(accounts: Accounts, store: Store) -> None:
    accounts.add_user("eve", Role.OPERATOR)
    tokens, sessions = ApiTokens(store), PageSessions(store)
    made, _ = tokens.make("eve", "scripts")
    secret = sessions.open("eve", 3600, "192.0.2.1", "Firefox")
    opened = sessions.of("eve")[0].last_seen
    writer = Writer(store)
    writer.start()
    uses = LastUses(writer)
    for _ in range(3):
        uses.token(made.id)
        uses.session(token_digest(secret))
    eventually(lambda: tokens.of("eve")[0].last_used)
    eventually(lambda: sessions.of("eve")[0].last_seen > opened)
    noted = tokens.of("eve")[0].last_used
    uses.token(made.id)
    assert writer.flush()
    writer.stop()
    assert tokens.of("eve")[0].last_used == noted


def test_a_join_key_lets_strangers_in_while_it_has_uses_left(
    directory: AccountDirectory, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_key(store, uses=1)
    stranger = let_in(directory, "join", KEY)
    assert stranger == Principal("join", Role.STRANGER, credential="k-1")
    for wrong in ("", KEY + "x", "k-1", token_digest(KEY)):
        assert directory.authenticate("join", wrong) is None
    with store.write() as connection:
        connection.execute(update(JoinKeyRow).values(uses_left=0, last_used=time.time()))
    assert directory.outdated([stranger]) == set()  # it waits for the answer
    assert directory.authenticate("join", KEY) == stranger  # or has not heard it, and asks again
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 125)
    assert directory.outdated([stranger]) == {stranger}
    assert directory.authenticate("join", KEY) is None
    monkeypatch.undo()
    with store.write() as connection:
        connection.execute(delete(JoinKeyRow))
    assert directory.outdated([stranger]) == {stranger}


def test_an_expired_join_key_lets_nobody_in(directory: AccountDirectory, store: Store) -> None:
    add_key(store, uses=5, lasts_s=-1)
    assert directory.authenticate("join", KEY) is None


def test_the_master_with_another_secret_is_outdated(directory: AccountDirectory, data: DataFolder) -> None:
    master = let_in(directory, "master", ensure_secret(data.master_secret))
    data.master_secret.unlink()
    assert directory.outdated([master]) == set()
    write_secret(data.master_secret, "another secret")
    assert directory.outdated([master]) == {master}


@pytest.mark.sqlite
def test_where_the_accounts_cannot_be_read_nobody_is_outdated(
    accounts: Accounts, directory: AccountDirectory, data: DataFolder
) -> None:
    worker = let_in(directory, "w1", accounts.add_worker("w1"))
    hidden = data.database.rename(data.root / "hidden.db")
    assert directory.outdated([worker]) == set()
    data.database.write_bytes(b"this is no database" * 1000)
    assert directory.outdated([worker]) == set()
    hidden.replace(data.database)
    assert directory.outdated([worker]) == set()


def test_a_thousand_workers_are_read_once_until_somebody_writes(
    accounts: Accounts, directory: AccountDirectory, data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = {let_in(directory, f"w{number}", accounts.add_worker(f"w{number}")) for number in range(100)}
    reads = counted_reads(monkeypatch)
    for _ in range(5):
        assert directory.outdated(workers) == set()
    assert reads == []
    other = Store(data)
    with other.write() as connection:
        connection.exec_driver_sql("DELETE FROM worker_tokens WHERE worker_id = 'w7'")
    other.stop()
    assert {principal.name for principal in directory.outdated(workers)} == {"w7"}
    assert len(reads) == 1
