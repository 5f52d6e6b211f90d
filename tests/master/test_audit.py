"""The audit: what stands in it, that it cannot be changed, and that nothing is sent without it."""

from __future__ import annotations

import csv
import io
import sqlite3
from typing import Any

import msgspec
import pytest

from gpumon.datafolder import DataFolder
from gpumon.roles import Principal, Role
from master.accounts import AccountError, Accounts
from master.api_tokens import ApiTokens
from master.audit import Actor, AuditTrail
from master.audit_reader import AuditEntry, AuditFilter, AuditReader, as_csv, as_json_lines
from master.commands import Caller, CannotSendError, NotAllowedError
from master.limits import LimitError
from master.master import Master
from master.sessions import PageSessions, SessionError
from master.store.engine import Store
from tests.master.support import RESEARCH, Publisher, info, result, sample
from tests.support import eventually

CLI = Actor("root", "cli")


def entries(store: Store, action: str | None = None, **wanted: Any) -> list[AuditEntry]:
    return list(AuditReader(store).all(AuditFilter(action=action, **wanted)))


def all_entries(master: Master, action: str) -> list[AuditEntry]:
    return list(master.audit_reader.all(AuditFilter(action=action)))


def with_workers(master: Master, publisher: Publisher, *worker_ids: str, **labels: str) -> None:
    for worker_id in worker_ids:
        publisher.publish(f"gpumon/{worker_id}/status", "online", retain=True)
        publisher.publish(f"gpumon/{worker_id}/info", info(labels=labels), retain=True)
        publisher.publish(f"gpumon/{worker_id}/metrics", sample(1), retain=True)
    eventually(lambda: all((w := master.fleet.worker(each)) and w.metrics and w.info for each in worker_ids))


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET who = 'nobody'",
        "UPDATE audit SET detail = NULL WHERE seq = 1",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE seq = 1",
        "INSERT OR REPLACE INTO audit (seq, time, who, origin, action) VALUES (1, 0, 'nobody', 'cli', 'x')",
        "REPLACE INTO audit (seq, time, who, origin, action) VALUES (1, 0, 'nobody', 'cli', 'x')",
        "INSERT INTO audit (seq, time, origin, action) VALUES (1, 0, 'cli', 'x') "
        "ON CONFLICT (seq) DO UPDATE SET who = 'nobody'",
    ],
)
def test_the_database_itself_refuses_to_change_or_delete_a_line(store: Store, data: DataFolder, statement: str) -> None:
    AuditTrail(store).add("login", who="eve", origin="page", address="192.0.2.7")
    before = entries(store)
    with sqlite3.connect(data.database) as connection, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()
    assert entries(store) == before
    assert [(entry.who, entry.address) for entry in before] == [("eve", "192.0.2.7")]


def test_every_change_of_an_account_is_audited_with_who_did_it(accounts: Accounts, store: Store) -> None:
    accounts.add_user("eve", Role.OPERATOR, "correct horse", "rack=3", by=CLI)
    accounts.add_user("ada", Role.ADMIN, "correct horse", by=CLI)
    accounts.change_user("eve", commands_on="all", by=CLI)
    accounts.change_user("eve", Role.VIEWER, by=CLI)
    made, token = ApiTokens(store).make("eve", "scripts", by=CLI)
    ApiTokens(store).revoke(made.id, by=CLI)
    accounts.set_password("eve", "another horse", by=CLI)
    accounts.remove_user("eve", by=CLI)
    found = entries(store)
    assert {(entry.who, entry.origin) for entry in found} == {("root", "cli")}
    assert [(entry.action, entry.subject) for entry in found] == [
        ("user.added", "eve"),
        ("user.added", "ada"),
        ("user.limits", "eve"),
        ("user.role", "eve"),
        ("token.made", "eve"),
        ("token.revoked", "eve"),
        ("user.password", "eve"),
        ("user.removed", "eve"),
    ]
    assert found[0].detail == {"role": "operator", "commands_on": "rack=3"}
    assert found[3].detail == {"before": "operator", "after": "viewer"}
    text = "".join(as_json_lines(found))
    for secret in ("correct horse", "another horse", token, "argon2"):
        assert secret not in text


def test_what_is_refused_is_not_audited(accounts: Accounts, store: Store) -> None:
    accounts.add_user("ada", Role.ADMIN, "correct horse")
    before = entries(store)
    for refused in (
        lambda: accounts.add_user("ada", Role.VIEWER, "correct horse"),
        lambda: accounts.remove_user("ada"),
        lambda: accounts.change_user("ada", Role.OPERATOR),
        lambda: accounts.change_user("nobody", Role.OPERATOR),
        lambda: accounts.change_user("ada", Role.WORKER),
    ):
        with pytest.raises(AccountError):
            refused()
    for role, limit in (
        (Role.VIEWER, "all"),
        (Role.OPERATOR, "none"),
        (Role.OPERATOR, "rack"),
        (Role.OPERATOR, "=3"),
        (Role.OPERATOR, "rack=3,rack=4"),
        (Role.OPERATOR, ""),
        (Role.ADMIN, "rack=3"),
    ):
        with pytest.raises(LimitError):
            accounts.add_user("bob", role, "correct horse", limit)
    assert entries(store) == before
    assert [user.role for user in accounts.users()] == [Role.ADMIN]


def test_a_limit_goes_with_the_role_and_comes_back_as_it_was_given(accounts: Accounts) -> None:
    accounts.add_user("zoe", Role.ADMIN, "correct horse")
    accounts.add_user("bob", Role.OPERATOR, "correct horse", "site=a, rack=3")
    assert accounts.users()[0].commands_on == (("rack", "3"), ("site", "a"))
    assert accounts.change_user("bob", Role.ADMIN).commands_on is None
    assert accounts.change_user("bob", Role.INTEGRATION).commands_on is None
    for text, labels in (("all", ()), ("rack=3", (("rack", "3"),)), ("none", None)):
        assert accounts.change_user("bob", commands_on=text).commands_on == labels
        bob = accounts.authenticate("bob", "correct horse")
        assert bob is not None
        assert (bob.role, bob.commands_on) == (Role.INTEGRATION, labels)


def test_sessions_end_by_log_out_by_their_owner_and_with_the_password(accounts: Accounts, store: Store) -> None:
    accounts.add_user("eve", Role.VIEWER, "correct horse")
    sessions = PageSessions(store)
    secrets = [sessions.open("eve", 3600, f"192.0.2.{number}", "Firefox") for number in range(4)]
    assert len(set(secrets)) == 4
    by_address = {session.address: session.id for session in sessions.of("eve")}
    sessions.close(secrets[0], Actor("eve", "page"))
    sessions.end(by_address["192.0.2.1"], "eve", Actor("eve", "page"))
    for wrong in ("nothing", by_address["192.0.2.1"], "", "%" * 16, by_address["192.0.2.2"][:4]):
        with pytest.raises(SessionError):
            sessions.end(wrong, "eve", Actor("eve", "page"))
    assert {session.address for session in sessions.of("eve")} == {"192.0.2.2", "192.0.2.3"}
    accounts.set_password("eve", "another horse", keep_session=by_address["192.0.2.2"])
    assert [session.address for session in sessions.of("eve")] == ["192.0.2.2"]
    assert sessions.end_all("eve", CLI) == 1
    assert sessions.counts() == {}
    actions = [entry.action for entry in entries(store) if entry.action in ("login", "logout", "session.ended")]
    assert actions == ["login"] * 4 + ["logout"] + ["session.ended"] * 3


def test_the_secret_of_a_session_is_not_in_the_database(accounts: Accounts, store: Store, data: DataFolder) -> None:
    accounts.add_user("eve", Role.VIEWER, "correct horse")
    secret = PageSessions(store).open("eve", 3600, "192.0.2.1", "Firefox")
    content = b"".join(path.read_bytes() for path in data.root.glob("gpumon.db*"))
    assert secret.encode() not in content


def test_a_command_is_audited_before_it_is_sent_and_again_when_it_has_ended_everywhere(
    master: Master, publisher: Publisher
) -> None:
    with_workers(master, publisher, "w1", "w2", "w3")
    record = master.commands.run("nvidia-smi -L", ["w1", "w2", "w3"], RESEARCH, timeout_s=30)
    (run,) = all_entries(master, "command.run")
    assert (run.who, run.origin, run.address, run.subject) == ("research", "page", "192.0.2.7", record.id)
    assert run.detail == {"command": "nvidia-smi -L", "workers": ["w1", "w2", "w3"], "timeout_s": 30.0}
    publisher.publish("gpumon/w1/cmd/result", result(record.id))
    publisher.publish("gpumon/w2/cmd/result", result(record.id, exit_code=3))
    master.commands.cancel(record.id, RESEARCH)
    assert all_entries(master, "command.cancelled")[0].detail["workers"]
    publisher.publish("gpumon/w3/cmd/result", result(record.id, state="cancelled", exit_code=None))
    (ended,) = eventually(lambda: all_entries(master, "command.ended"))
    assert ended.subject == record.id
    assert ended.detail == {
        "counts": {"exit 0": 1, "exit 3": 1, "cancelled": 1},
        "workers": {"exit 0": ["w1"], "exit 3": ["w2"], "cancelled": ["w3"]},
    }


def test_a_late_result_is_audited_as_well_and_nothing_twice(master: Master, publisher: Publisher) -> None:
    with_workers(master, publisher, "w1")
    publisher.publish("gpumon/w1/status", "offline", retain=True)
    eventually(lambda: (w := master.fleet.worker("w1")) and w.status == "offline")
    record = master.commands.run("ls", ["w1"], RESEARCH)
    eventually(lambda: all_entries(master, "command.ended"))
    publisher.publish("gpumon/w1/cmd/result", result(record.id))
    eventually(lambda: len(all_entries(master, "command.ended")) == 2)
    publisher.publish("gpumon/w1/cmd/result", result(record.id, exit_code=5))
    assert master.flush()
    found = [entry.detail["counts"] for entry in all_entries(master, "command.ended")]
    assert found == [{"failed": 1}, {"exit 0": 1}]


@pytest.mark.sqlite
def test_nothing_is_sent_while_the_audit_cannot_be_written(
    master: Master, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_workers(master, publisher, "w1")
    publisher.hear("gpumon/+/cmd")
    database = master.audit._store.data.database
    monkeypatch.setattr("master.store.engine_sqlite.BUSY_TIMEOUT_MS", 50)
    master.audit._store.engine.dispose()
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(CannotSendError, match=r"nothing was sent, since the audit cannot be written: .*locked"):
        master.commands.run("ls", ["w1"], RESEARCH)
    assert master.commands.recent() == []
    other.execute("ROLLBACK")
    other.close()
    record = master.commands.run("ls", ["w1"], RESEARCH)
    eventually(lambda: publisher.received)
    assert [msgspec.json.decode(payload)["id"] for _, payload in publisher.received] == [record.id]


@pytest.mark.parametrize(
    ("principal", "allowed"),
    [
        (Principal("eve", Role.ADMIN), {"a1", "a2", "b1"}),
        (Principal("eve", Role.OPERATOR), {"a1", "a2", "b1"}),
        (Principal("eve", Role.OPERATOR, (("rack", "a"),)), {"a1", "a2"}),
        (Principal("eve", Role.OPERATOR, (("rack", "a"), ("site", "x"))), set()),
        (Principal("eve", Role.INTEGRATION, (("rack", "b"),)), {"b1"}),
        (Principal("eve", Role.INTEGRATION, ()), {"a1", "a2", "b1"}),
        (Principal("eve", Role.INTEGRATION), set()),
        (Principal("eve", Role.VIEWER), set()),
        (Principal("eve", Role.VIEWER, ()), set()),
        (Principal("a1", Role.WORKER), set()),
    ],
)
def test_a_command_goes_to_no_worker_beyond_ones_limit(
    master: Master, publisher: Publisher, principal: Principal, allowed: set[str]
) -> None:
    with_workers(master, publisher, "a1", "a2", rack="a")
    with_workers(master, publisher, "b1", rack="b")
    publisher.hear("gpumon/+/cmd")
    caller = Caller(principal, "api")
    workers = {"a1", "a2", "b1"}
    assert set(master.commands.choose(principal)) == allowed
    assert set(master.commands.choose(principal, {"rack": "b"})) == allowed & {"b1"}
    for worker_id in workers:
        if worker_id in allowed:
            master.commands.run("ls", [worker_id], caller)
        else:
            with pytest.raises(NotAllowedError):
                master.commands.run("ls", [worker_id], caller)
    if allowed != workers:
        with pytest.raises(NotAllowedError):
            master.commands.run("ls", sorted(workers), caller)
    foreign = master.commands.run("sleep 60", sorted(workers), RESEARCH)
    eventually(lambda: len(publisher.received) == 3 + len(allowed))
    publisher.received.clear()
    if allowed:
        master.commands.cancel(foreign.id, caller)
        eventually(lambda: len(publisher.received) == len(allowed))
    else:
        with pytest.raises(NotAllowedError):
            master.commands.cancel(foreign.id, caller)
    for worker_id in workers - allowed:
        with pytest.raises(NotAllowedError):
            master.commands.cancel(foreign.id, caller, [worker_id])
    assert {topic.split("/")[1] for topic, _ in publisher.received} == allowed


def test_who_is_refused_is_told_the_limit_and_the_workers_outside_it(master: Master, publisher: Publisher) -> None:
    with_workers(master, publisher, "a1", rack="a")
    with_workers(master, publisher, "b1", "b2", rack="b")
    limited = Caller(Principal("eve", Role.OPERATOR, (("rack", "a"),)))
    with pytest.raises(NotAllowedError, match=r"eve may run commands on workers with rack=a alone, which b1, b2 are"):
        master.commands.run("ls", ["a1", "b1", "b2"], limited)
    with pytest.raises(NotAllowedError, match="which nobody is not"):  # whether there is such a worker is not told
        master.commands.run("ls", ["nobody"], limited)


def test_an_ad_hoc_command_is_audited_with_what_the_broker_says_of_it(master: Master, publisher: Publisher) -> None:
    with_workers(master, publisher, "w1")
    told = {
        "v": 1,
        "time": 5.0,
        "user": "olaf",
        "address": "192.0.2.9",
        "topic": "gpumon/w1/cmd",
        "command": "ls",
        "id": "c-9",
    }
    publisher.publish("gpumon/audit", told)
    publisher.publish("gpumon/audit", {**told, "command": ""})
    publisher.publish("gpumon/audit", {**told, "topic": "gpumon/all/cmd", "id": None, "command": "reboot"})
    eventually(lambda: len(all_entries(master, "command.mqtt")) == 2)
    one, all_of_them = all_entries(master, "command.mqtt")
    assert (one.who, one.origin, one.address, one.subject) == ("olaf", "mqtt", "192.0.2.9", "c-9")
    assert one.detail == {"command": "ls", "workers": ["w1"], "topic": "gpumon/w1/cmd"}
    assert all_of_them.detail["workers"] == ["all"]
    assert all_entries(master, "command.cancelled")[0].who == "olaf"


def test_the_audit_is_filtered_and_paged(store: Store) -> None:
    trail = AuditTrail(store)
    for number in range(30):
        trail.add("command.run", who="eve", origin="page", subject=f"c-{number}", workers=[f"w{number}"], command="ls")
    trail.add("command.run", who="bob", origin="api", subject="c-x", workers=["w_1"], command='echo "w2"')
    trail.add("login", who="bob", origin="page")
    reader = AuditReader(store)
    assert [entry.subject for entry in reader.page(AuditFilter(), 2)] == [None, "c-x"]
    first = reader.page(AuditFilter(who="eve"), 10)
    second = reader.page(AuditFilter(who="eve"), 10, before=first[-1].seq)
    assert [entry.subject for entry in first + second] == [f"c-{number}" for number in range(29, 9, -1)]
    assert [entry.subject for entry in entries(store, worker="w2")] == ["c-2"]
    assert [entry.subject for entry in entries(store, worker="w_1")] == ["c-x"]
    assert entries(store, worker="w1%") == []
    assert {entry.action for entry in entries(store, "command")} == {"command.run"}
    assert len(entries(store, since=0.0)) == 32
    assert entries(store, until=1.0) == []


def test_an_export_as_csv_runs_nothing_in_a_spreadsheet(store: Store) -> None:
    AuditTrail(store).add("login.failed", who="=HYPERLINK(1)", origin="page", address="+1", command='a,"b"\nc')
    rows = list(csv.reader(io.StringIO("".join(as_csv(entries(store))))))
    assert rows[0] == ["seq", "time", "who", "origin", "address", "action", "subject", "detail"]
    assert rows[1][2] == "'=HYPERLINK(1)"
    assert rows[1][4] == "'+1"
    assert msgspec.json.decode(rows[1][7]) == {"command": 'a,"b"\nc'}
    assert rows[1][1].endswith("+00:00")
