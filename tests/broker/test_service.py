"""The broker as a process: it starts, says why it cannot, and stops when it is asked to."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from broker.service import BrokerService, serve
from gpumon.errors import StartError
from tests.broker.support import TOPICS, FakeDirectory, client, settings_for
from tests.support import accepts_connections, eventually, free_port, stopping

ROOT = Path(__file__).parents[2]


def _start(port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.broker.broker_process", str(port)], cwd=ROOT, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_stops_cleanly_with_clients_connected(number: signal.Signals) -> None:
    port = free_port()
    with stopping(_start(port)) as process:
        eventually(lambda: accepts_connections(port))
        with client(port, "eye") as reader, client(port, "w1", will=("gpumon/w1/status", b"offline", 1, True)):
            reader.subscribe("gpumon/#", 1)
            process.send_signal(number)
            assert process.wait(10) == 0
            assert not reader.seen()
        assert process.stderr is not None
        lines = process.stderr.read().decode().splitlines()
        assert len(lines) == 1
        assert f"the broker listens on 127.0.0.1:{port}" in lines[0]


def test_a_port_in_use_is_one_clear_line_and_the_exit_code_of_a_part_that_cannot_start() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with stopping(_start(port)) as process:
            assert process.wait(10) == StartError.exit_code
            assert process.stderr is not None
            assert process.stderr.read().decode().splitlines() == [
                f"port {port} on 127.0.0.1 is in use: stop what listens there, or choose another port with --mqtt-port"
            ]


def test_housekeeping_is_done_again_and_again_whatever_it_raises(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []

    def faulty() -> None:
        done.append(threading.current_thread().name)
        raise OSError("the disk is full")

    async def serve_until_done() -> None:
        serving = asyncio.ensure_future(
            serve(BrokerService(settings_for(free_port()), FakeDirectory(), TOPICS), [(0.01, faulty)])
        )
        while len(done) < 3:
            await asyncio.sleep(0.01)
        signal.raise_signal(signal.SIGTERM)
        await serving

    asyncio.run(serve_until_done())
    assert threading.main_thread().name not in done
    assert "the disk is full" in caplog.text


def test_it_listens_on_this_machine_alone() -> None:
    port = free_port()
    with stopping(_start(port)):
        eventually(lambda: accepts_connections(port))
        with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.2", port), timeout=5):
            pass


def test_a_broker_can_be_stopped_and_started_again_on_its_port() -> None:
    async def twice() -> None:
        service = BrokerService(settings_for(free_port()), FakeDirectory(), TOPICS)
        for _ in range(2):
            await service.start()
            await service.stop()
        assert service.counters.connections == 0

    asyncio.run(twice())
