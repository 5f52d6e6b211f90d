"""Commands through the broker: never retained, and the master is told who published them."""

from __future__ import annotations

import time

import msgspec
import pytest

from broker.audit import audit_of
from gpumon.commands import CommandAudit
from tests.broker.support import RunningBroker, client
from tests.support import eventually

CMD = "gpumon/w1/cmd"


@pytest.mark.parametrize("user", ["research", "root", "master"])
def test_a_retained_command_is_dropped_whoever_sends_it(broker: RunningBroker, user: str) -> None:
    with client(broker.port, "w1") as worker, client(broker.port, user) as sender:
        worker.subscribe(CMD, 1)
        worker.subscribe("gpumon/all/cmd", 1)
        sender.publish(CMD, "rm -rf scratch", retain=True)
        sender.publish("gpumon/all/cmd", "rm -rf scratch", retain=True)
        sender.publish(CMD, "uptime")
        assert worker.get().payload == b"uptime"
        worker.subscribe(CMD, 1)
        assert not worker.seen()
    assert broker.counters.refused_publishes == 2


def test_a_command_that_no_agent_would_take_is_not_sent_to_a_thousand(broker: RunningBroker) -> None:
    with client(broker.port, "w1") as worker, client(broker.port, "research") as operator:
        worker.subscribe("gpumon/all/cmd", 1)
        operator.publish("gpumon/all/cmd", bytes(200_000))
        operator.publish("gpumon/all/cmd", "x" * 70_000)  # the agent answers that this is too long
        assert len(worker.get().payload) == 70_000
    assert broker.counters.refused_publishes == 1


def test_the_master_is_told_who_published_a_command_before_the_command_comes(broker: RunningBroker) -> None:
    with client(broker.port, "master") as master, client(broker.port, "research") as operator:
        master.subscribe("gpumon/audit", 1)
        master.subscribe("gpumon/+/cmd", 1)
        operator.publish(CMD, "nvidia-smi -L")
        audit, command = master.get(), master.get()
        assert (command.topic, command.payload) == (CMD, b"nvidia-smi -L")
        assert (audit.topic, audit.qos, audit.retained) == ("gpumon/audit", 1, False)
        said = msgspec.json.decode(audit.payload, type=CommandAudit)
        assert (said.user, said.address, said.topic, said.id) == ("research", "127.0.0.1", CMD, None)
        assert said.command == "nvidia-smi -L"
        assert abs(said.time - time.time()) < 60
        assert msgspec.json.decode(audit.payload)["v"] == 1


def test_admins_are_named_too_and_the_masters_own_commands_are_not(broker: RunningBroker) -> None:
    with (
        client(broker.port, "root") as admin,
        client(broker.port, "master") as master,
        client(broker.port, "w1") as worker,
    ):
        admin.subscribe("gpumon/audit", 1)
        master.publish(CMD, '{"id":"c-1","command":"uptime"}')
        admin.publish("gpumon/all/cmd", '{"id":"c-2","command":"hostname"}')
        worker.publish(CMD, "not mine to send")
        worker.publish("gpumon/w1/cmd/result", "not a command")
        eventually(lambda: broker.counters.messages_in == 4)
        said = msgspec.json.decode(admin.get().payload, type=CommandAudit)
        assert (said.user, said.topic, said.id, said.command) == ("root", "gpumon/all/cmd", "c-2", "hostname")
        assert not admin.seen()


@pytest.mark.parametrize(
    ("payload", "command_id", "text"),
    [
        (b"nvidia-smi -L", None, "nvidia-smi -L"),
        (b'{"id":"c-81f3","command":"uptime"}', "c-81f3", "uptime"),
        (b'{"command":"uptime"}', None, "uptime"),
        (b'{"id":"c-81f3","cancel":true}', "c-81f3", ""),
        (b'{"id":"has spaces","command":"uptime"}', None, '{"id":"has spaces","command":"uptime"}'),
        (b'{"id":7}', None, '{"id":7}'),
        (b"{ echo grouped; }", None, "{ echo grouped; }"),
        (b"{}", None, "{}"),
        (b"", None, ""),
        (b"\xff\xfe", None, "\ufffd\ufffd"),
        ("ä".encode() * 5000, None, "ä" * 4096),
        (b"x" * 100_000, None, "x" * 4096),
    ],
)
def test_any_payload_gives_a_valid_audit(payload: bytes, command_id: str | None, text: str) -> None:
    audit = audit_of("research", "127.0.0.1", CMD, payload, 1.0)
    assert (audit.id, audit.command) == (command_id, text)
    assert msgspec.json.decode(msgspec.json.encode(audit), type=CommandAudit) == audit
