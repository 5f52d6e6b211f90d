"""The listener for other machines: TLS alone, the same limits, and nothing for those who stop halfway."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from broker import admission
from broker.certificates import ensure_authority, ensure_server_certificate
from broker.limits import Limits
from broker.listener import open_listeners
from gpumon.errors import StartError
from tests.broker.support import (
    RawClient,
    RunningBroker,
    client,
    connect_packet,
    publish_packet,
    running_broker,
    subscribe_packet,
)
from tests.support import eventually, free_port

LET_IN = (0x20, b"\0\0")


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's side and the clients'."""
    folder, now = tmp_path_factory.mktemp("tls"), datetime.datetime.now(datetime.timezone.utc)
    authority: Path = ensure_authority(folder, now)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(ensure_server_certificate(folder, ["localhost", "127.0.0.1"], now))
    return server, ssl.create_default_context(cafile=str(authority))


@pytest.fixture(scope="module")
def tls_broker(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> Iterator[RunningBroker]:
    with running_broker(tls=contexts[0]) as running:
        yield running


class TlsClient(RawClient):
    """A client that shakes hands first."""

    def __init__(self, broker: RunningBroker, context: ssl.SSLContext, *packets: bytes) -> None:
        plain = socket.create_connection(("127.0.0.1", broker.tls_port), timeout=10)
        try:
            self.socket = context.wrap_socket(plain, server_hostname="127.0.0.1")
        except OSError:
            plain.close()
            raise
        self.send(*packets)


def test_messages_pass_between_the_listeners(
    tls_broker: RunningBroker, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    with (
        TlsClient(tls_broker, contexts[1], connect_packet("w1"), subscribe_packet("gpumon/w1/cmd", 1)) as worker,
        client(tls_broker.port, "research") as operator,
    ):
        assert [worker.receive()[0], worker.receive()[0]] == [0x20, 0x90]
        operator.subscribe("gpumon/w1/event", 1)
        operator.publish("gpumon/w1/cmd", "uptime")
        assert worker.receive()[1].endswith(b"uptime")
        worker.send(publish_packet("gpumon/w1/event", bytes(1_000_000)))
        assert len(operator.get().payload) == 1_000_000


def test_a_refusal_is_answered_over_tls_and_the_connection_ends(
    tls_broker: RunningBroker, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    with TlsClient(tls_broker, contexts[1], connect_packet("w1", password="wrong")) as guess:
        assert guess.receive() == (0x20, b"\0\5")
        assert guess.is_closed()


def test_plain_mqtt_on_the_tls_port_is_closed_before_its_password_is_read(tls_broker: RunningBroker) -> None:
    failed = tls_broker.counters.failed_logins
    with RawClient(tls_broker.tls_port) as plain:
        plain.send_anyway(connect_packet("w1", password="wrong"))
        plain.read_to_the_end()
    assert tls_broker.counters.failed_logins == failed


def test_who_stops_in_the_middle_of_the_handshake_costs_nothing_after_the_timeout(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "INTRODUCTION_TIMEOUT_S", 1.0)
    hello = _client_hello(contexts[1])
    with running_broker(tls=contexts[0]) as broker, contextlib.ExitStack() as stack:
        stopped = []
        for number in range(300):
            raw = stack.enter_context(RawClient(broker.tls_port))
            raw.send(hello[: [0, 3, len(hello) // 2, len(hello)][number % 4]])
            stopped.append(raw)
        with TlsClient(broker, contexts[1], connect_packet("w1")) as honest:
            assert honest.receive() == LET_IN
            for raw in stopped:
                assert raw.is_closed()
            gate = broker.service._broker._gate if broker.service._broker is not None else None
            assert gate is not None
            eventually(lambda: (gate.connections, gate.half_open) == (1, 0))
            assert honest.collect() == []


def test_half_open_handshakes_make_room_for_who_shakes_hands(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    hello = _client_hello(contexts[1])
    with running_broker(tls=contexts[0], limits=Limits(max_half_open=100)) as broker, contextlib.ExitStack() as stack:
        for _ in range(150):
            raw = stack.enter_context(RawClient(broker.tls_port))
            raw.send_anyway(hello)
        with TlsClient(broker, contexts[1], connect_packet("w1")) as honest:
            assert honest.receive() == LET_IN
        assert broker.counters.evicted_guests >= 50


def test_a_fleet_shakes_hands_at_once(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    with running_broker(tls=contexts[0]) as broker, ThreadPoolExecutor(16) as pool:

        def logs_in(number: int) -> tuple[int, bytes]:
            connect = connect_packet(f"w{number}", client_id=f"agent-{number}")
            with TlsClient(broker, contexts[1], connect) as agent:
                return agent.receive()

        assert set(pool.map(logs_in, range(200))) == {LET_IN}


def test_a_reader_that_stops_reading_over_tls_has_no_more_waiting_than_a_plain_one(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    limits = Limits(max_queued_messages=50, max_bytes_per_s=1e9, max_messages_per_s=1e6)
    with running_broker(tls=contexts[0], limits=limits) as broker, client(broker.port, "eye") as reader:
        reader.subscribe("gpumon/#", 1)
        lazy = TlsClient(broker, contexts[1], connect_packet("research"), subscribe_packet("gpumon/#"))
        with lazy, RawClient(broker.port, connect_packet("w1", client_id="w1")) as worker:
            assert [lazy.receive()[0], lazy.receive()[0]] == [0x20, 0x90]
            worker.receive()
            for _ in range(400):
                worker.send(publish_packet("gpumon/w1/metrics", bytes(100_000)))
                reader.get()
            assert broker.counters.dropped_messages > 200


def test_a_new_certificate_is_shown_without_a_restart(tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority = ensure_authority(tmp_path, now)
    server.load_cert_chain(ensure_server_certificate(tmp_path, ["localhost"], now))
    ours = ssl.create_default_context(cafile=str(authority))
    with running_broker(tls=server) as broker:
        with pytest.raises(ssl.SSLCertVerificationError):
            TlsClient(broker, ours)
        server.load_cert_chain(ensure_server_certificate(tmp_path, ["localhost", "127.0.0.1"], now))
        with TlsClient(broker, ours, connect_packet("w1")) as agent:
            assert agent.receive() == LET_IN


def test_ipv6_addresses_are_listened_on_and_the_port_in_use_is_told() -> None:
    port = free_port()
    try:
        listeners = open_listeners("mqtts", "::", port, "--mqtts-port")
    except StartError:
        pytest.skip("this machine has no IPv6")
    try:
        for host in ("127.0.0.1", "::1"):
            with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=5) as each:
                assert each.getpeername()[1] == port
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
        with pytest.raises(StartError, match=f"port {port} on :: is in use.*--mqtts-port"):
            open_listeners("mqtts", "::", port, "--mqtts-port")
    finally:
        for listener in listeners:
            listener.socket.close()


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_a_host_that_is_not_this_machines_is_told_with_its_flag(host: str) -> None:
    with pytest.raises(StartError, match="--host"):
        open_listeners("mqtts", host, free_port(), "--mqtts-port")


def _client_hello(context: ssl.SSLContext) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1").do_handshake()
    return outgoing.read()
