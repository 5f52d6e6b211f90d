"""The lines of docs/foreign-broker.md do what the page says, run as they stand but for places, ports and names."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import requests

from gpumon.cli.supervisor import gpumon_command
from tests.end_to_end.running import CLEAN_ENVIRONMENT
from tests.foreign.support import Client, client, mosquitto_process, plugin_or_skip
from tests.support import eventually, free_port, program_or_skip, stopping

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "foreign-broker.md"
BLOCKS: list[str] = re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
CERTIFICATES, ACCOUNT, CONFIGURATION, SETTINGS, USE = BLOCKS

pytestmark = pytest.mark.mosquitto


@dataclass(frozen=True, slots=True)
class Lab:
    """A folder that stands for the lab's machine."""

    folder: Path
    tls_port: int
    plain_port: int
    page_port: int

    def placed(self, text: str) -> str:
        """Return a text of the page, or a configuration, with this lab's places, ports and names."""
        for before, after in (
            ("/etc/mosquitto", str(self.folder / "etc")),
            ("/var/lib/mosquitto", str(self.folder / "lib")),
            ("mqtts://mqtt.lab", f"mqtts://localhost:{self.tls_port}"),
            ("mqtt.lab", "localhost"),
            ("listener 8883", f"listener {self.tls_port} 127.0.0.1"),
            ("listener 1883", f"listener {self.plain_port}"),
            ("/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so", str(plugin_or_skip())),
        ):
            text = text.replace(before, after)
        return text

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return {**CLEAN_ENVIRONMENT, "PATH": path, "GPUMON_PAGE_PORT": str(self.page_port)}

    def run(self, block: str) -> str:
        """Run a block of the page in a shell that stops at the first line that fails, and return what it has said."""
        command = ["sh", "-eu", "-c", self.placed(block)]
        return self._finished(command)

    def gpumon(self, line: str) -> str:
        """Run a line of the page that begins with gpumon, and return what it has said."""
        return self._finished(gpumon_command(*self.placed(line).split()[1:]))

    def _finished(self, command: list[str]) -> str:
        finished = subprocess.run(
            command, check=False, cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    @contextmanager
    def running(self, *arguments: str, text: str = "") -> Iterator[subprocess.Popen[bytes]]:
        """Run gpumon, with this text on its standard input, until the block ends."""
        with (self.folder / "gpumon.log").open("ab") as log:
            process = subprocess.Popen(
                gpumon_command(*arguments),
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        with stopping(process):
            assert process.stdin is not None
            process.stdin.write(text.encode())
            process.stdin.close()
            yield process

    def said(self) -> str:
        return (self.folder / "gpumon.log").read_text()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A lab with mosquitto's folders, in which `sudo` is nothing special and services are started by the test."""
    plugin_or_skip()
    program_or_skip("openssl", "openssl")
    program_or_skip("mosquitto_ctrl", "mosquitto")
    for folder in ("etc/certs", "lib", "bin", "config/mosquitto"):
        (tmp_path / folder).mkdir(parents=True)
    lab = Lab(tmp_path, free_port(), free_port(), free_port())
    shipped = (ROOT / "config" / "mosquitto" / "mosquitto.conf").read_text()
    user = f"user {os.environ.get('USER', 'root')}\n" if os.getuid() == 0 else ""
    (tmp_path / "config" / "mosquitto" / "mosquitto.conf").write_text(user + lab.placed(shipped))
    for name, script in {
        "sudo": 'exec "$@"',
        "chown": ":",
        "systemctl": ":",
        "install": '[ "$1" != -o ] || shift 2\nexec /usr/bin/install "$@"',
    }.items():
        shim = tmp_path / "bin" / name
        shim.write_text(f"#!/bin/sh\n{script}\n")
        shim.chmod(0o755)
    return lab


def test_a_lab_that_follows_the_page_has_its_fleet_on_mosquitto_over_tls(lab: Lab) -> None:
    for block in (CERTIFICATES, ACCOUNT, CONFIGURATION):
        lab.run(block)
    settings, start = SETTINGS.strip().rsplit("\n", 1)
    lab.run(settings + "\n")
    add_user, make_key, join, add_worker, agent = USE.strip().splitlines()
    configuration = lab.folder / "etc" / "mosquitto.conf"
    authority = lab.folder / "mqtt-ca" / "ca.crt"
    simulated = ("--source", "simulated", "--interval", "0.5")
    with ExitStack() as stack:
        stack.enter_context(mosquitto_process(configuration, lab.tls_port))
        stack.enter_context(lab.running(*start.split()[1:]))
        eventually(lambda: page_says(lab) == "connected", 40)
        password = lab.gpumon(add_user).rpartition(" ")[2].strip()
        lab.gpumon(add_worker)
        stack.enter_context(lab.running(*lab.placed(agent).split()[1:], *simulated))
        line = lab.gpumon(make_key)
        own_token = ("--token-file", "joined.token")
        stack.enter_context(lab.running(*join.split()[1:], *own_token, *simulated, text=line))
        operator = stack.enter_context(client(lab.tls_port, "ann", password, cafile=authority))
        for worker in ("w1", "w2"):
            operator.subscribe(f"gpumon/{worker}/metrics", f"gpumon/{worker}/cmd/result")
            assert operator.next_on(f"gpumon/{worker}/metrics")
            assert b"over mosquitto" in (eventually(partial(run_on, operator, worker), 40) or b"")
        assert "used up" in lab.gpumon("gpumon join-key list")
        lab.gpumon("gpumon worker remove w1 w2")
        eventually(lambda: lab.said().count("refused the connection") >= 2, 20)


def run_on(operator: Client, worker: str) -> bytes | None:
    """Run a command and return its result; a worker may be cut off just then, as it gets the topics of its GPUs."""
    operator.publish(f"gpumon/{worker}/cmd", b"echo over mosquitto")
    return operator.next_on(f"gpumon/{worker}/cmd/result", timeout_s=3)


def page_says(lab: Lab) -> str | None:
    """Return whether the page's master is connected to the broker, None while there is no page."""
    try:
        health: dict[str, str] = requests.get(f"http://127.0.0.1:{lab.page_port}/healthz", timeout=2).json()
    except requests.RequestException:
        return None
    return health["broker"]
