"""The MQTT link over TLS: it trusts nobody whom it should not, and says in one line why."""

from __future__ import annotations

import datetime
import logging
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from broker.certificates import ensure_server_certificate
from gpumon.address import BrokerAddress
from gpumon.errors import SettingError
from gpumon.link import MqttLink
from tests.support import accepts_connections, eventually, free_port, mosquitto, program_or_skip, stopping

pytestmark = pytest.mark.mosquitto

NOW = datetime.datetime.now(datetime.timezone.utc)


@contextmanager
def mosquitto_with_tls(folder: Path, names: list[str], made: datetime.datetime = NOW) -> Iterator[int]:
    """Run a mosquitto that shows a certificate for these names, made at that time, and give its port."""
    program = program_or_skip("mosquitto", "mosquitto")
    pem = ensure_server_certificate(folder, names, made)
    port = free_port()
    configuration = folder / "mosquitto.conf"
    certificate = f"cafile {folder / 'ca.crt'}\ncertfile {pem}\nkeyfile {pem}\n"
    addresses = ["127.0.0.1", "::1"] if socket.has_ipv6 and "::1" in names else ["127.0.0.1"]
    listeners = "".join(f"listener {port} {address}\n{certificate}" for address in addresses)
    configuration.write_text(f"allow_anonymous true\nuser root\n{listeners}")
    process = subprocess.Popen([program, "-c", str(configuration)], stderr=subprocess.DEVNULL)
    with stopping(process):
        eventually(lambda: accepts_connections(port))
        yield port


def problem_of(address: BrokerAddress, cafile: Path | None) -> str:
    """Return why a link does not connect."""
    link = MqttLink(address, "link", cafile=cafile)
    link.start()
    try:
        eventually(lambda: link.problem != "not connected yet")
        said = str(link.problem)
        assert not link.is_connected
    finally:
        link.stop(1.0)
    assert "\n" not in said
    return said


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_broker_with_the_authoritys_certificate_is_trusted(tmp_path: Path, host: str) -> None:
    with mosquitto_with_tls(tmp_path, ["localhost", "127.0.0.1", "::1"]) as port:
        link = MqttLink(BrokerAddress(host, port, tls=True), "link", cafile=tmp_path / "ca.crt")
        link.start()
        try:
            assert link.wait_connected(10), link.problem
        finally:
            link.stop(1.0)


def test_an_unknown_authority_is_not_trusted(tmp_path: Path) -> None:
    ensure_server_certificate(tmp_path / "other", ["localhost"], NOW)
    with mosquitto_with_tls(tmp_path, ["127.0.0.1"]) as port:
        address = BrokerAddress("127.0.0.1", port, tls=True)
        assert "its authority is not one known here: give it by --cafile" in problem_of(address, None)
        other = tmp_path / "other" / "ca.crt"
        assert f"its authority is not the one in {other}" in problem_of(address, other)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_certificate_for_another_machine_is_not_trusted(tmp_path: Path, host: str) -> None:
    with mosquitto_with_tls(tmp_path, ["other.lab", "127.0.0.2"]) as port:
        said = problem_of(BrokerAddress(host, port, tls=True), tmp_path / "ca.crt")
    assert f"its certificate is not for {host}: use a name" in said


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            NOW - datetime.timedelta(days=100),
            "its certificate has expired: renew it there, or set this machine's clock",
        ),
        (NOW + datetime.timedelta(days=3), "is not valid yet: set this machine's clock, which says 20"),
    ],
)
def test_a_certificate_out_of_its_time_is_not_trusted(tmp_path: Path, made: datetime.datetime, said: str) -> None:
    with mosquitto_with_tls(tmp_path, ["127.0.0.1"], made) as port:
        assert said in problem_of(BrokerAddress("127.0.0.1", port, tls=True), tmp_path / "ca.crt")


def test_tls_to_the_plain_port_and_the_reverse_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    with mosquitto(tmp_path) as plain, mosquitto_with_tls(tmp_path / "tls", ["127.0.0.1"]) as tls:
        cafile = tmp_path / "tls" / "ca.crt"
        said = problem_of(BrokerAddress("127.0.0.1", plain, tls=True), cafile)
        assert said.endswith("is it the port for TLS?")
        said = problem_of(BrokerAddress("127.0.0.1", tls, tls=False), None)
        assert said.endswith("is it the port for TLS? then say mqtts://")


def test_a_port_that_speaks_something_else_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" * 10)
                connection.recv(1024)

        threading.Thread(target=greet, daemon=True).start()
        said = problem_of(BrokerAddress("127.0.0.1", server.getsockname()[1], tls=True), None)
    assert "no TLS there" in said


def test_a_file_that_is_no_certificate_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("nonsense")
    for cafile in (tmp_path / "ca.crt", tmp_path / "missing"):
        with pytest.raises(SettingError, match="CA file"):
            MqttLink(BrokerAddress("127.0.0.1", 1, tls=True), "link", cafile=cafile).start()


def test_the_same_problem_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "gpumon.link")
    with mosquitto_with_tls(tmp_path, ["other.lab"]) as port:
        link = MqttLink(BrokerAddress("127.0.0.1", port, tls=True), "link", cafile=tmp_path / "ca.crt")
        link.start()
        eventually(lambda: link._attempts >= 3)
        link.stop(1.0)
    assert len(caplog.records) == 1
