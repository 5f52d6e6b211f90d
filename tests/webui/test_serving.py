"""The server as a process: how it starts, fails to start, stops, and bears browsers that do not read."""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import requests

from gpumon.messages import encode
from tests.support import eventually, free_port
from tests.webui.conftest import LiveClient
from tests.webui.running import RunningPage
from tests.webui.worker_double import WorkerDouble, reading
from webui.server import STOP_TIMEOUT_S
from webui.transport import MAX_WAITING_BYTES

Workers = Callable[..., WorkerDouble]


def test_a_port_in_use_is_told_in_one_line_that_names_the_flag(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        arguments = [
            sys.executable,
            "-m",
            "tests.webui.serve_page",
            str(tmp_path / "d"),
            str(port),
            str(free_port()),
            "20",
        ]
        ended = subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=False)

    assert ended.returncode == 3
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1
    assert f"port {port}" in lines[0]
    assert "--port" in lines[0]


def test_a_master_that_cannot_start_ends_the_process_with_one_line(page: RunningPage) -> None:
    arguments = [str(page.data), str(free_port()), str(page.mqtt_port), "20"]
    ended = subprocess.run(
        [sys.executable, "-m", "tests.webui.serve_page", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert ended.returncode == 3
    assert "another master runs" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_stop_waits_for_no_open_page_and_is_quiet(own_page: RunningPage) -> None:
    session = own_page.session("vera")
    clients = [LiveClient(own_page, session) for _ in range(3)]
    session.get(f"{own_page.address}/healthz", timeout=10)

    took = own_page.stop()

    assert took < STOP_TIMEOUT_S
    assert "SIGKILL" not in own_page.log.read_text()
    assert "Traceback" not in own_page.log.read_text()
    eventually(lambda: not any(client.client.connected for client in clients))


def test_the_page_and_the_master_are_one_process(own_page: RunningPage) -> None:
    assert own_page.process is not None
    threads = Path(f"/proc/{own_page.process.pid}/task").iterdir()

    assert not any((thread / "children").read_text() for thread in threads)


def test_a_closed_terminal_stops_the_page_in_order(own_page: RunningPage) -> None:
    assert own_page.process is not None
    own_page.process.send_signal(signal.SIGHUP)

    assert own_page.process.wait(timeout=30) == 0
    assert "Traceback" not in own_page.log.read_text()


def test_the_page_comes_back_on_the_same_port_with_the_same_sessions(own_page: RunningPage) -> None:
    double = WorkerDouble(own_page.mqtt_port, "w1").start([reading(0)])
    session = own_page.session("vera")
    workers = f"{own_page.address}/api/v1/workers"
    eventually(lambda: session.get(workers, timeout=10).json()["rows"])

    own_page.stop()
    own_page.start()

    assert [row["id"] for row in session.get(workers, timeout=10).json()["rows"]] == ["w1"]
    double.stop()


def open_and_never_read(page: RunningPage, session: requests.Session, worker_id: str) -> socket.socket:
    """Open a WebSocket by hand, watch a worker with a lot to tell, and read nothing of it."""
    raw = socket.create_connection(("127.0.0.1", page.port), timeout=10)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    cookie = "; ".join(f"{cookie.name}={cookie.value}" for cookie in session.cookies)
    raw.sendall(
        (
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{page.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\nSec-WebSocket-Version: 13\r\n"
            f"Cookie: {cookie}\r\n\r\n"
        ).encode()
    )
    assert b" 101 " in raw.recv(16)
    for text in (b"40", f'42["watch","worker:{worker_id}"]'.encode()):
        mask = os.urandom(4)
        raw.sendall(bytes([0x81, 0x80 | len(text)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(text)))
    return raw


def test_a_browser_that_does_not_read_is_cut_off_and_holds_up_nobody(page: RunningPage, worker: Workers) -> None:
    double = worker("w", [reading(0)])
    session = page.session("vera")
    reader = LiveClient(page, session)
    eventually(lambda: "row" in reader.watch(f"worker:{double.id}"))
    stuck = open_and_never_read(page, session, double.id)
    many = [reading(index, name="x" * 250) for index in range(200)]

    for number in range(2 * MAX_WAITING_BYTES // len(encode(many[0])) // len(many)):
        double.sample(many)
        eventually(lambda least=number: len(reader.of("sample")) > least, interval_s=0.002)  # type: ignore[misc]

    eventually(lambda: "does not read" in page.log.read_text())
    assert reader.client.connected
    stuck.close()
    reader.client.disconnect()
