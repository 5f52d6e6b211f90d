"""What these tests share: a real mosquitto that keeps accounts itself, and clients that log in to it."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from gpumon.address import BrokerAddress
from gpumon.link import Credentials
from gpumon.topics import Topics
from master.dynamic_security import DynamicSecurity
from master.foreign_access import ForeignAccess
from tests.support import accepts_connections, eventually, free_port, program_or_skip, stopping

ADMIN = "gpumon"
ADMIN_PASSWORD = "the broker's own"
PLUGIN = "mosquitto_dynamic_security.so"
PLUGIN_FOLDERS = ("/usr/lib", "/usr/local/lib", "/usr/lib64")
TOPICS = Topics()


def plugin_or_skip() -> Path:
    """Return where the dynamic-security plugin is, or skip the test."""
    program_or_skip("mosquitto", "mosquitto")
    for folder in PLUGIN_FOLDERS:
        for found in (*Path(folder).glob(PLUGIN), *Path(folder).glob(f"*/{PLUGIN}")):
            return found
    pytest.skip(f"{PLUGIN} is not installed: apt-get install mosquitto")


@dataclass
class Mosquitto:
    """A mosquitto with the plugin; `accounts` is the plugin's file."""

    port: int
    folder: Path

    @property
    def accounts(self) -> Path:
        return self.folder / "dynamic-security.json"

    @property
    def address(self) -> BrokerAddress:
        return BrokerAddress("127.0.0.1", self.port, tls=False)

    def said(self) -> str:
        return (self.folder / "mosquitto.log").read_text(errors="replace")


def new_accounts(folder: Path) -> Path:
    """Make the plugin's file as its documentation says."""
    control = program_or_skip("mosquitto_ctrl", "mosquitto")
    accounts = folder / "dynamic-security.json"
    command = [control, "dynsec", "init", str(accounts), ADMIN, ADMIN_PASSWORD]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    accounts.chmod(0o600)
    return accounts


@contextlib.contextmanager
def running_mosquitto(folder: Path, port: int | None = None) -> Iterator[Mosquitto]:
    """Run a mosquitto that lets in whom the plugin knows."""
    plugin, port = plugin_or_skip(), port or free_port()
    if not (folder / "dynamic-security.json").exists():
        new_accounts(folder)
    configuration = folder / "mosquitto.conf"
    configuration.write_text(
        f"user {getpass.getuser()}\nlistener {port} 127.0.0.1\nallow_anonymous false\npersistence false\n"
        f"plugin {plugin}\nplugin_opt_config_file {folder / 'dynamic-security.json'}\n"
    )
    with mosquitto_process(configuration, port):
        yield Mosquitto(port, folder)


@contextlib.contextmanager
def mosquitto_process(configuration: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a mosquitto with this configuration until the block ends; it listens when the block begins."""
    program = program_or_skip("mosquitto", "mosquitto")
    log = configuration.parent / "mosquitto.log"
    with log.open("ab") as output:
        process = subprocess.Popen([program, "-v", "-c", str(configuration)], stdout=output, stderr=output)
    with stopping(process):
        eventually(lambda: accepts_connections(port) or process.poll() is not None)
        assert process.poll() is None, log.read_text(errors="replace")
        yield process


@contextlib.contextmanager
def access_to(broker: Mosquitto) -> Iterator[ForeignAccess]:
    """gpumon's way to the accounts of this broker."""
    access = ForeignAccess(DynamicSecurity(broker.address, Credentials(ADMIN, ADMIN_PASSWORD)), TOPICS)
    try:
        yield access
    finally:
        access.stop()


def somebody_elses(broker: Mosquitto, name: str) -> None:
    """Make a client that has nothing to do with gpumon."""
    plugin = DynamicSecurity(broker.address, Credentials(ADMIN, ADMIN_PASSWORD))
    plugin.ask([{"command": "createClient", "username": name, "password": "somebody else's"}])
    plugin.stop()


class RefusedError(Exception):
    """The broker has refused the connection."""


@dataclass
class Client:
    """A paho client that keeps what it gets: topic, payload and whether it was retained."""

    paho: paho.Client
    messages: Queue[tuple[str, bytes]] = field(default_factory=Queue)
    granted: list[int] = field(default_factory=list)

    def subscribe(self, *filters: str) -> list[int]:
        """Subscribe, and return the broker's answers."""
        self.granted.clear()
        self.paho.subscribe([(topic_filter, 1) for topic_filter in filters])
        eventually(lambda: len(self.granted) == len(filters))
        return list(self.granted)

    def publish(self, topic: str, payload: bytes | str = b"x", *, retain: bool = False) -> None:
        """Publish, and wait until the broker has it (mosquitto acknowledges what it drops, too)."""
        self.paho.publish(topic, payload, 1, retain).wait_for_publish(10)

    def until(self, payload: bytes) -> list[str]:
        """Return the topics of all messages that come before one with this payload."""
        topics: list[str] = []
        while True:
            topic, came = self.messages.get(timeout=10)
            if came == payload:
                return topics
            topics.append(topic)

    def next_on(self, topic: str, timeout_s: float = 20.0) -> bytes | None:
        """Return the payload of the next message on this topic, None where none comes in time."""
        deadline = time.monotonic() + timeout_s
        with contextlib.suppress(Empty):
            while (left_s := deadline - time.monotonic()) > 0:
                came, payload = self.messages.get(timeout=left_s)
                if came == topic:
                    return payload
        return None

    @property
    def is_connected(self) -> bool:
        return bool(self.paho.is_connected())


@contextlib.contextmanager
def client(
    port: int,
    user: str | None,
    password: str = "",
    *,
    client_id: str = "",
    will: str | None = None,
    cafile: Path | None = None,
) -> Iterator[Client]:
    """Log in. Raises RefusedError."""
    mqtt = paho.Client(
        CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv311, reconnect_on_failure=False
    )
    it = Client(mqtt)
    answer: list[bool] = []
    answered = threading.Event()

    def connected(_c: object, _u: object, _f: object, reason: ReasonCode, _p: object) -> None:
        answer.append(reason.is_failure)
        answered.set()

    if user is not None:
        mqtt.username_pw_set(user, password)
    if will is not None:
        mqtt.will_set(will, b"a will", 1)
    if cafile is not None:
        mqtt.tls_set(ca_certs=str(cafile))
    mqtt.on_connect = connected
    mqtt.on_message = lambda _c, _u, m: it.messages.put((m.topic, bytes(m.payload)))
    mqtt.on_subscribe = lambda _c, _u, _m, codes, _p: it.granted.extend(int(code.value) for code in codes)
    mqtt.connect("127.0.0.1" if cafile is None else "localhost", port)
    mqtt.loop_start()
    try:
        assert answered.wait(10)
        if answer[0]:
            raise RefusedError
        yield it
    finally:
        mqtt.disconnect()
        mqtt.loop_stop()


def die_with_will(port: int, user: str, password: str, client_id: str, topic: str) -> None:
    """Log in with a will on this topic, and end without a word, so that the broker publishes it (or does not)."""
    flags = 0xC4  # user name, password, a will of QoS 0; MQTT 3.1.1 section 3.1.2.3
    texts = (client_id, topic, "a will", user, password)
    body = b"\0\4MQTT\4" + struct.pack("!BH", flags, 60)
    body += b"".join(struct.pack("!H", len(text.encode())) + text.encode() for text in texts)
    length = bytes((len(body),)) if len(body) < 0x80 else bytes((len(body) & 0x7F | 0x80, len(body) >> 7))
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"\x10" + length + body)
        connection.recv(4)  # the broker's answer, whichever
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1024):  # until the broker has ended it, too
            pass


def gpumon_environment(broker: Mosquitto, data: Path) -> dict[str, str]:
    """Return the environment in which gpumon's subcommands keep their accounts at this broker."""
    password_file = broker.folder / "broker.password"
    password_file.write_text(ADMIN_PASSWORD + "\n")
    password_file.chmod(0o600)
    return {
        **os.environ,
        "GPUMON_DATA": str(data),
        "GPUMON_BROKER_URL": str(broker.address),
        "GPUMON_BROKER_USERNAME": ADMIN,
        "GPUMON_BROKER_PASSWORD_FILE": str(password_file),
        "GPUMON_BROKER_DYNAMIC_SECURITY": "true",
    }
