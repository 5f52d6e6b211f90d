"""Join keys: made, listed, revoked, and used by machines that join."""

from __future__ import annotations

import json
import threading
import time

import pytest
from sqlalchemy import select

from gpumon.datafolder import DataFolder
from gpumon.joining import JoinRequest
from gpumon.roles import Role
from master.accounts import AccountError, Accounts
from master.audit import Actor
from master.join_keys import Joined, JoinKeyError, JoinKeys, JoinRefusedError
from master.store.engine import Store, StoreError
from master.store.models import AuditRow, table_of

NONCE = "n" * 43
EVE = Actor("eve", "cli")


@pytest.fixture
def keys(store: Store) -> JoinKeys:
    return JoinKeys(store)


def request(key: str, worker_id: str = "gpu1", nonce: str | None = None) -> JoinRequest:
    return JoinRequest(worker_id=worker_id, hostname="gpu1.lab", key=key, nonce=nonce)


def refusal(keys: JoinKeys, asked: JoinRequest) -> str:
    with pytest.raises(JoinRefusedError) as refused:
        keys.use(asked)
    assert asked.key not in str(refused.value)
    return str(refused.value)


def uses_left(keys: JoinKeys) -> list[int]:
    return [key.uses_left for key in keys.all()]


def test_a_machine_that_joins_gets_a_token_of_its_own(keys: JoinKeys, accounts: Accounts) -> None:
    made, key = keys.make(EVE)
    joined = keys.use(request(key))
    assert (joined.worker_id, joined.key_id, joined.has_replaced) == ("gpu1", made.id, False)
    principal = accounts.authenticate("gpu1", joined.token)
    assert principal is not None
    assert principal.role is Role.WORKER
    [account] = accounts.workers()
    assert (account.worker_id, account.join_key_id) == ("gpu1", made.id)
    assert account.joined == pytest.approx(time.time(), abs=30)


def test_a_key_lets_in_as_often_as_was_said_and_no_more(keys: JoinKeys, accounts: Accounts) -> None:
    _, key = keys.make(EVE, uses=2)
    tokens = {keys.use(request(key, f"gpu{number}")).token for number in range(2)}
    assert len(tokens) == 2
    assert "used up" in refusal(keys, request(key, "gpu3"))
    assert [account.worker_id for account in accounts.workers()] == ["gpu0", "gpu1"]


def test_a_key_expires(store: Store, accounts: Accounts) -> None:
    now = [time.time()]
    keys = JoinKeys(store, clock=lambda: now[0])
    _, key = keys.make(EVE, uses=5, lifetime_s=3600)
    now[0] += 3599
    keys.use(request(key, "gpu1"))
    now[0] += 1
    assert "expired" in refusal(keys, request(key, "gpu2"))
    assert [account.worker_id for account in accounts.workers()] == ["gpu1"]


def test_a_revoked_key_lets_nobody_in_and_who_has_joined_stays(keys: JoinKeys, accounts: Accounts) -> None:
    made, key = keys.make(EVE, uses=5)
    token = keys.use(request(key, "gpu1")).token
    keys.revoke(made.id, EVE)
    assert "not known" in refusal(keys, request(key, "gpu2"))
    assert accounts.authenticate("gpu1", token)
    assert keys.all() == []
    with pytest.raises(JoinKeyError, match=f"no join key '{made.id}'"):
        keys.revoke(made.id, EVE)


@pytest.mark.parametrize("wrong", ["x", "gpj_", "k-12345678", "gpj_" + "A" * 43])
def test_an_unknown_key_lets_nobody_in(keys: JoinKeys, wrong: str) -> None:
    keys.make(EVE)
    assert "not known" in refusal(keys, request(wrong))


def test_a_key_for_one_worker_is_for_that_one_alone(keys: JoinKeys) -> None:
    _, key = keys.make(EVE, worker_id="gpu7")
    assert "give --worker-id gpu7" in refusal(keys, request(key, "gpu1"))
    assert uses_left(keys) == [1]
    assert keys.use(request(key, "gpu7")).worker_id == "gpu7"


def test_a_taken_id_is_refused_and_keeps_its_token_and_the_key_its_use(keys: JoinKeys, accounts: Accounts) -> None:
    token = accounts.add_worker("gpu1")
    _, key = keys.make(EVE)
    assert "gpu1 is taken" in refusal(keys, request(key))
    assert "--replace" in refusal(keys, request(key))
    assert uses_left(keys) == [1]
    assert accounts.authenticate("gpu1", token)


def test_a_taken_id_gets_another_token_where_an_admin_has_allowed_it(keys: JoinKeys, accounts: Accounts) -> None:
    before = accounts.add_worker("gpu1")
    _, key = keys.make(EVE, worker_id="gpu1", replaces=True)
    joined = keys.use(request(key))
    assert joined.has_replaced
    assert accounts.authenticate("gpu1", before) is None
    assert accounts.authenticate("gpu1", joined.token)


@pytest.mark.parametrize("replaces", [True, False])
def test_nobody_joins_with_a_persons_name(keys: JoinKeys, accounts: Accounts, replaces: bool) -> None:
    password = accounts.add_user("eve", Role.ADMIN)
    _, key = keys.make(EVE, replaces=replaces)
    assert "a person's name" in refusal(keys, request(key, "eve"))
    with pytest.raises(AccountError, match="a person's name"):
        keys.make(EVE, worker_id="eve", replaces=replaces)
    assert accounts.authenticate("eve", password)


@pytest.mark.parametrize("worker_id", ["master", "all", "join", "audit", "a/b", "a#", "+", "-a", "ü"])
def test_nobody_joins_with_an_id_that_topics_do_not_allow(keys: JoinKeys, accounts: Accounts, worker_id: str) -> None:
    _, key = keys.make(EVE)
    refusal(keys, request(key, worker_id))
    assert (uses_left(keys), accounts.workers()) == ([1], [])
    with pytest.raises(AccountError):
        keys.make(EVE, worker_id=worker_id)


def test_who_asks_again_gets_the_same_token_and_no_use_is_counted(store: Store, accounts: Accounts) -> None:
    _, key = JoinKeys(store).make(EVE)
    first = JoinKeys(store).use(request(key, nonce=NONCE))
    again = JoinKeys(store).use(request(key, nonce=NONCE))  # also after the master has started anew
    assert (again.token, first.is_repeated, again.is_repeated) == (first.token, False, True)
    assert accounts.authenticate("gpu1", again.token)
    assert uses_left(JoinKeys(store)) == [0]


def test_a_used_up_key_gives_nobody_else_the_token(keys: JoinKeys, accounts: Accounts) -> None:
    _, key = keys.make(EVE)
    token = keys.use(request(key, nonce=NONCE)).token
    for nonce in (None, "m" * 43, NONCE[:-1] + "m"):
        assert "used up" in refusal(keys, request(key, nonce=nonce))
    assert "used up" in refusal(keys, request(key, "gpu2", NONCE))
    assert accounts.authenticate("gpu1", token)


def test_nothing_is_given_again_to_a_worker_that_was_rotated_or_removed(keys: JoinKeys, accounts: Accounts) -> None:
    _, key = keys.make(EVE)
    keys.use(request(key, nonce=NONCE))
    rotated = accounts.rotate_worker("gpu1")
    assert "used up" in refusal(keys, request(key, nonce=NONCE))
    assert accounts.authenticate("gpu1", rotated)
    accounts.remove_worker("gpu1")
    assert "used up" in refusal(keys, request(key, nonce=NONCE))
    assert accounts.workers() == []


def test_a_one_use_key_lets_in_one_of_many_that_ask_at_once(keys: JoinKeys, accounts: Accounts, store: Store) -> None:
    _, key = keys.make(EVE)
    start = threading.Barrier(8)
    joined: list[Joined] = []
    refused: list[str] = []

    def ask(number: int) -> None:
        start.wait()
        try:
            joined.append(JoinKeys(store).use(request(key, f"gpu{number}", f"{NONCE}{number}")))
        except JoinRefusedError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(joined) == 1
    assert len(refused) == 7
    assert [account.worker_id for account in accounts.workers()] == [joined[0].worker_id]


def test_neither_keys_nor_tokens_are_in_the_database_or_printed(keys: JoinKeys, data: DataFolder) -> None:
    made, key = keys.make(EVE, uses=2)
    joined = [keys.use(request(key, "gpu1", NONCE)), keys.use(request(key, "gpu2"))]
    content = b"".join(path.read_bytes() for path in data.root.glob("gpumon.db*"))
    for secret in (key, *(worker.token for worker in joined)):
        assert secret.encode() not in content
        assert secret not in repr((made, joined))
    assert key.startswith("gpj_")
    assert [len(worker.token) for worker in joined] == [43, 43]


def test_keys_are_listed_with_what_is_left_of_them(keys: JoinKeys) -> None:
    first, key = keys.make(EVE, uses=3, lifetime_s=3600)
    second, _ = keys.make(Actor("bob", "cli"), worker_id="gpu9")
    keys.use(request(key))
    listed = {known.id: known for known in keys.all()}
    assert (listed[first.id].created_by, listed[first.id].uses_left, listed[first.id].is_usable) == ("eve", 2, True)
    assert listed[first.id].last_used is not None
    assert listed[first.id].expires - listed[first.id].created == pytest.approx(3600)
    assert listed[second.id] == second


@pytest.mark.parametrize(("uses", "lifetime_s"), [(0, 60.0), (-1, 60.0), (10**9, 60.0), (1, 0.0), (1, -5.0), (1, 1e12)])
def test_a_key_has_uses_and_an_end(keys: JoinKeys, uses: int, lifetime_s: float) -> None:
    with pytest.raises(JoinKeyError):
        keys.make(EVE, uses=uses, lifetime_s=lifetime_s)
    with pytest.raises(JoinKeyError):
        keys.make(EVE, lifetime_s=float("nan"))
    assert keys.all() == []


def test_keys_that_have_ended_long_ago_are_forgotten(store: Store) -> None:
    now = [time.time()]
    keys = JoinKeys(store, clock=lambda: now[0])
    keys.make(EVE)
    now[0] += 40 * 86_400
    second, _ = keys.make(EVE)
    assert [key.id for key in keys.all()] == [second.id]


@pytest.mark.sqlite
def test_a_database_that_cannot_be_read_is_told_as_that(keys: JoinKeys, data: DataFolder, store: Store) -> None:
    _, key = keys.make(EVE)
    store.stop()
    for path in data.root.glob("gpumon.db*"):
        path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(StoreError):
        keys.use(request(key))


def test_what_is_done_with_keys_is_audited(keys: JoinKeys, store: Store) -> None:
    made, key = keys.make(EVE, uses=2)
    keys.use(request(key, nonce=NONCE))
    keys.use(request(key, nonce=NONCE))
    refusal(keys, request(key, "a/b"))
    keys.revoke(made.id, EVE)
    with store.read() as connection:
        rows = connection.execute(select(table_of(AuditRow)).order_by(AuditRow.seq)).all()
    assert [(row.action, row.who, row.origin, row.subject) for row in rows] == [
        ("join_key.made", "eve", "cli", made.id),
        ("worker.joined", None, "mqtt", "gpu1"),
        ("join_key.revoked", "eve", "cli", made.id),
    ]
    assert json.loads(rows[1].detail) == {"hostname": "gpu1.lab", "join_key": made.id, "replaced": False}
    assert key not in repr(rows)
