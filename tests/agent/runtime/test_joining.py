"""An agent that joins a master: what it asks, what it keeps, and what it does without an answer."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import ssl
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import agent.joining
from agent.joining import JoinRefusedError, read_join_line
from agent.membership import Membership, load_membership
from agent.service import run_agent
from gpumon.address import BrokerAddress
from gpumon.errors import GpumonError, SecretFileError
from gpumon.joining import JoinLine, JoinLineError
from gpumon.link import InboundMessage, MqttLink
from gpumon.settings import AgentSettings, Settings
from tests.agent.runtime.support import WORKER, Observer
from tests.support import accepts_connections, eventually, free_port, program_or_skip, stopping

pytestmark = pytest.mark.mosquitto

KEY = "gpj_" + "k" * 43
Reply = dict[str, Any]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again soon."""
    monkeypatch.setattr(agent.joining, "ASK_AGAIN_S", 0.5)


class MasterDouble:
    """Answers who asks to join, as it is told to."""

    def __init__(self, port: int, answer: Callable[[Reply], list[Reply]]) -> None:
        self.asked: list[Reply] = []
        self.asked_now = threading.Event()
        self._answer = answer
        self._link = MqttLink(BrokerAddress("127.0.0.1", port, tls=False), "master-double")
        self._link.subscribe("gpumon/join/+", 1, self._receive)

    def __enter__(self) -> MasterDouble:
        self._link.start()
        eventually(lambda: self._link.is_listening)
        return self

    def __exit__(self, *_: object) -> None:
        self._link.stop(1.0)

    def _receive(self, message: InboundMessage) -> None:
        request = msgspec.json.decode(message.payload)
        self.asked.append(request)
        self.asked_now.set()
        for reply in self._answer(request):
            self._link.publish(f"{message.topic}/reply", msgspec.json.encode(reply), qos=1)


def with_token(_request: Reply) -> list[Reply]:
    return [{"token": "t0ken", "worker_id": WORKER}]


def with_error(_request: Reply) -> list[Reply]:
    return [{"error": "w1 is taken by another worker", "worker_id": WORKER}]


def line_to(port: int, **more: Any) -> str:
    return JoinLine(BrokerAddress("127.0.0.1", port, tls=False), KEY, **more).encode()


def settings(folder: Path, join: str | None = None, **more: Any) -> Settings:
    agent_settings = AgentSettings(
        worker_id=WORKER,
        token_file=str(folder / "secrets" / "token.txt"),
        join=join,
        source="simulated",
        interval_s=0.3,
        **more,
    )
    return Settings(data=str(folder / "data"), agent=agent_settings)


def token_of(folder: Path) -> Path:
    return folder / "secrets" / "token.txt"


def own_folder(folder: Path) -> Path:
    return folder / "data" / "agent" / WORKER


@dataclass
class RunningAgent:
    """An agent in a thread of this process; `error` is how it ended, if it did."""

    thread: threading.Thread
    stop: threading.Event
    error: list[GpumonError]

    def ended(self) -> GpumonError:
        self.thread.join(15)
        return self.error[0]


@contextlib.contextmanager
def running(given: Settings) -> Iterator[RunningAgent]:
    stop, error = threading.Event(), list[GpumonError]()

    def run() -> None:
        try:
            run_agent(given, stop)
        except GpumonError as ended:
            error.append(ended)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield RunningAgent(thread, stop, error)
    finally:
        stop.set()
        thread.join(15)
        assert not thread.is_alive()


def comes_online(observer: Observer) -> None:
    """Wait for the agent's `online`; what an earlier run has left is `offline`."""
    eventually(lambda: observer.statuses()[-1:] == [b"online"])


def test_an_agent_joins_keeps_its_token_and_says_that_it_has_joined(mosquitto_port: int, tmp_path: Path) -> None:
    with MasterDouble(mosquitto_port, with_token) as master, Observer(mosquitto_port) as observer:
        with running(settings(tmp_path, line_to(mosquitto_port))):
            eventually(observer.metrics)
            eventually(lambda: observer.events("joined"))
        [request] = master.asked
        assert (request["worker_id"], request["key"]) == (WORKER, KEY)
        assert len(request["nonce"]) == 43
    token = token_of(tmp_path)
    assert token.read_text() == "t0ken\n"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and KEY in path.read_text(errors="replace")]
    assert kept == []  # the key is forgotten
    assert not (own_folder(tmp_path) / "join-nonce").exists()


def test_later_starts_need_neither_the_line_nor_the_master(mosquitto_port: int, tmp_path: Path) -> None:
    with MasterDouble(mosquitto_port, with_token), running(settings(tmp_path, line_to(mosquitto_port))):
        eventually(token_of(tmp_path).exists)
    with Observer(mosquitto_port) as observer, running(settings(tmp_path)):
        eventually(lambda: len(observer.metrics()) > 1)
        assert observer.events("joined") == []


def test_the_topics_base_comes_with_the_line(mosquitto_port: int, tmp_path: Path) -> None:
    heard: list[InboundMessage] = []
    link = MqttLink(BrokerAddress("127.0.0.1", mosquitto_port, tls=False), "listener")
    link.subscribe("site-a/#", 1, heard.append)
    link.start()
    eventually(lambda: link.is_listening)
    given = settings(tmp_path, line_to(mosquitto_port, base="site-a"))
    with running(given):
        asked = eventually(lambda: [message for message in list(heard) if message.topic.startswith("site-a/join/")])
        link.publish(f"{asked[0].topic}/reply", b'{"token":"t0ken"}', qos=1)
        eventually(lambda: f"site-a/{WORKER}/metrics" in {message.topic for message in list(heard)})
    link.stop()


def test_it_asks_until_a_master_is_there_always_the_same(mosquitto_port: int, tmp_path: Path) -> None:
    answers = iter([[], [], [{"token": "t0ken"}]])
    with (
        MasterDouble(mosquitto_port, lambda _request: next(answers)) as master,
        running(settings(tmp_path, line_to(mosquitto_port))),
    ):
        eventually(token_of(tmp_path).exists)
    assert len(master.asked) == 3
    assert len({request["nonce"] for request in master.asked}) == 1


def test_an_agent_that_is_started_again_before_the_answer_asks_the_same(mosquitto_port: int, tmp_path: Path) -> None:
    with MasterDouble(mosquitto_port, lambda _request: []) as master:
        for _ in range(2):
            master.asked_now.clear()
            with running(settings(tmp_path, line_to(mosquitto_port))):
                assert master.asked_now.wait(10)
    assert len({request["nonce"] for request in master.asked}) == 1
    assert not token_of(tmp_path).exists()


def test_answers_that_are_none_or_for_somebody_else_are_passed_over(mosquitto_port: int, tmp_path: Path) -> None:
    odd: list[Reply] = [{}, {"token": ""}, {"token": "other", "worker_id": "w2"}, {"error": "no", "worker_id": "w2"}]
    with (
        MasterDouble(mosquitto_port, lambda request: [*odd, *with_token(request)]),
        running(settings(tmp_path, line_to(mosquitto_port))),
    ):
        eventually(token_of(tmp_path).exists)
    assert token_of(tmp_path).read_text() == "t0ken\n"


def test_a_refusal_ends_the_agent_with_the_masters_reason(mosquitto_port: int, tmp_path: Path) -> None:
    with MasterDouble(mosquitto_port, with_error), running(settings(tmp_path, line_to(mosquitto_port))) as started:
        error = started.ended()
    assert isinstance(error, JoinRefusedError)
    assert error.exit_code == 3
    assert "w1 is taken by another worker" in str(error)
    assert "\n" not in str(error)
    assert not token_of(tmp_path).exists()


def test_where_the_token_cannot_be_kept_no_key_is_used(mosquitto_port: int, tmp_path: Path) -> None:
    token_of(tmp_path).parent.write_text("a file, not a folder")
    given = settings(tmp_path, line_to(mosquitto_port))
    with MasterDouble(mosquitto_port, with_token) as master, running(given) as started:
        assert "cannot be written" in str(started.ended())
        assert master.asked == []


def test_with_a_token_the_line_is_passed_over(mosquitto_port: int, tmp_path: Path) -> None:
    with MasterDouble(mosquitto_port, with_token) as master:
        for _ in range(2):
            with Observer(mosquitto_port) as observer, running(settings(tmp_path, line_to(mosquitto_port))):
                comes_online(observer)
        assert len(master.asked) == 1


def test_a_bad_line_does_not_stop_an_agent_that_has_a_token(
    mosquitto_port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with MasterDouble(mosquitto_port, with_token), running(settings(tmp_path, line_to(mosquitto_port))):
        eventually(token_of(tmp_path).exists)
    for bad in (line_to(mosquitto_port)[:-5], "", str(tmp_path / "none")):
        with Observer(mosquitto_port) as observer, running(settings(tmp_path, bad)):
            comes_online(observer)
    assert "going on with the token" in caplog.text
    assert KEY not in caplog.text


def test_a_line_to_another_master_makes_it_join_there(mosquitto_port: int, tmp_path: Path) -> None:
    with MasterDouble(mosquitto_port, with_token), running(settings(tmp_path, line_to(mosquitto_port))):
        eventually(token_of(tmp_path).exists)
    other = JoinLine(BrokerAddress("localhost", mosquitto_port, tls=False), KEY).encode()
    with MasterDouble(mosquitto_port, with_error) as master, Observer(mosquitto_port) as observer:
        with running(settings(tmp_path, other)):
            eventually(observer.metrics)  # refused there, it goes on where it was
        assert len(master.asked) == 1
    with MasterDouble(mosquitto_port, lambda _request: [{"token": "other"}]), running(settings(tmp_path, other)):
        eventually(lambda: token_of(tmp_path).read_text() == "other\n")
    kept = load_membership(own_folder(tmp_path))
    assert kept is not None
    assert kept.address.host == "localhost"


def test_a_token_that_is_put_in_place_by_hand_needs_no_line(mosquitto_port: int, tmp_path: Path) -> None:
    token_of(tmp_path).parent.mkdir()
    token_of(tmp_path).write_text("by hand")
    token_of(tmp_path).chmod(0o600)
    with MasterDouble(mosquitto_port, with_token) as master, Observer(mosquitto_port) as observer:
        given = settings(tmp_path, line_to(mosquitto_port), master=f"mqtt://127.0.0.1:{mosquitto_port}")
        with running(given):
            eventually(observer.metrics)
        assert master.asked == []


def authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    return certificate("an authority", None, None)


def certificate(
    name: str, issuer: x509.Certificate | None, issuer_key: ec.EllipticCurvePrivateKey | None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.subject if issuer else subject)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=2))
    builder = builder.add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    return builder.add_extension(here, critical=False).sign(issuer_key or key, hashes.SHA256()), key


def pem(made: x509.Certificate) -> str:
    return made.public_bytes(serialization.Encoding.PEM).decode()


@contextlib.contextmanager
def mosquitto_with_tls(
    folder: Path, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey
) -> Iterator[tuple[int, int]]:
    """Run a mosquitto that is plain on one port and has a certificate of this authority on another; give both."""
    program = program_or_skip("mosquitto", "mosquitto")
    plain, tls = free_port(), free_port()
    shown, key = certificate("server", ca, ca_key)
    (folder / "server.crt").write_text(pem(shown))
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.key").write_bytes(key_pem)
    configuration = folder / "mosquitto-tls.conf"
    configuration.write_text(
        f"allow_anonymous true\nlistener {plain} 127.0.0.1\n"
        f"listener {tls} 127.0.0.1\ncertfile {folder}/server.crt\nkeyfile {folder}/server.key\nuser root\n"
    )
    process = subprocess.Popen(
        [program, "-c", str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with stopping(process):
        eventually(lambda: accepts_connections(plain) and accepts_connections(tls))
        yield plain, tls


def der(made: x509.Certificate) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem(made))


def test_the_first_contact_is_verified_with_the_authority_in_the_line(tmp_path: Path) -> None:
    ca, ca_key = authority()
    with mosquitto_with_tls(tmp_path, ca, ca_key) as (plain, tls), MasterDouble(plain, with_token) as master:
        address = BrokerAddress("127.0.0.1", tls, tls=True)
        wrong = JoinLine(address, KEY, der(authority()[0])).encode()
        with running(settings(tmp_path, wrong)) as refused:
            refused.thread.join(1.0)
        assert master.asked == []
        with Observer(plain) as observer:
            with running(settings(tmp_path, JoinLine(address, KEY, der(ca)).encode())):
                eventually(observer.metrics)
            with running(settings(tmp_path)):
                eventually(lambda: observer.statuses().count(b"online") >= 2)
        assert len(master.asked) == 1
    assert (own_folder(tmp_path) / "ca.crt").read_text().strip() == pem(ca).strip()
    assert not (own_folder(tmp_path) / "ca-to-join.crt").exists()


def test_flags_win_over_the_line(tmp_path: Path) -> None:
    ca = authority()[0]
    line = JoinLine(BrokerAddress("gpu-master", 8883, tls=True), KEY, der(ca), "site-a")
    given = settings(tmp_path, None, master="mqtts://10.0.0.1:8884", cafile="/etc/lab-ca.crt")
    completed = Membership.by(line, given).completed(given, tmp_path)
    assert (completed.agent.master, completed.agent.cafile) == ("mqtts://10.0.0.1:8884", "/etc/lab-ca.crt")
    assert completed.mqtt.base == "site-a"
    without = settings(tmp_path)
    completed = Membership.by(line, without).completed(without, tmp_path)
    assert (completed.agent.master, completed.agent.cafile) == ("mqtts://gpu-master:8883", str(tmp_path / "ca.crt"))


def test_a_line_is_read_from_a_file_that_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "line"
    path.write_text(line_to(1883) + "\n")
    path.chmod(0o600)
    assert read_join_line(str(path)).key == KEY
    path.chmod(0o644)
    with pytest.raises(SecretFileError, match="chmod 600"):
        read_join_line(str(path))


@pytest.mark.parametrize("given", ["", " ", "/nonexistent", ".", line_to(1883)[3:], "x" * 5000, line_to(1883)[:60]])
def test_what_is_no_line_is_refused_without_being_shown(given: str) -> None:
    with pytest.raises(JoinLineError) as refused:
        read_join_line(given)
    assert len(given) < 15 or given not in str(refused.value)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"master":7}', '{"master":"http://x"}', "\xff"])
def test_a_damaged_memory_of_joining_is_told_and_passed_over(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "joined.json").write_text(content, encoding="latin-1")
    assert load_membership(tmp_path) is None
    assert "join again or give --master" in caplog.text


def test_the_authoritys_certificate_is_written_again_where_it_is_gone(tmp_path: Path) -> None:
    ca = authority()[0]
    Membership("mqtts://gpu-master:8883", pem(ca)).save(tmp_path)
    (tmp_path / "ca.crt").unlink()
    assert load_membership(tmp_path) is not None
    assert (tmp_path / "ca.crt").read_text() == pem(ca)
