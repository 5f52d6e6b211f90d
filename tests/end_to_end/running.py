"""Starting the real thing: `gpumon up` and `gpumon agent` as processes, on ports and folders of their own."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from gpumon.cli.supervisor import gpumon_command
from gpumon.datafolder import DataFolder
from tests.support import eventually, free_port, stopping

# gpumon's own variables must not reach a test from outside.
CLEAN_ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not re.match(r"GPUMON_|MASTER_URL$|WORKER_ID$", name)
}


@dataclass(frozen=True, slots=True)
class Running:
    """A `gpumon up` that serves."""

    process: subprocess.Popen[bytes]
    data: DataFolder
    page: str
    mqtt_port: int
    log: Path
    environment: Mapping[str, str]
    verify: str | bool = True  # what requests verifies the page with

    @property
    def admin_password(self) -> str:
        """The generated password of the first admin."""
        return self.data.first_login.read_text().strip()

    def said(self) -> str:
        """Everything that its processes have written so far."""
        return self.log.read_text()

    def gpumon(self, *arguments: str, timeout_s: float = 60, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a subcommand on the same data folder and ports, and return how it ended."""
        return subprocess.run(
            gpumon_command(*arguments),
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    @property
    def master_url(self) -> str:
        """What an agent on this machine gives as `--master`."""
        return f"mqtt://127.0.0.1:{self.mqtt_port}"


def environment_for(
    data: Path, page_port: int, mqtt_port: int, more: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the environment in which every subcommand uses this data folder and these ports."""
    own = {
        "GPUMON_DATA": str(data),
        "GPUMON_PAGE_PORT": str(page_port),
        "GPUMON_MQTT_PORT": str(mqtt_port),
    }
    return {**CLEAN_ENVIRONMENT, **own, **(more or {})}


@contextmanager
def gpumon_up(
    folder: Path, *flags: str, more: Mapping[str, str] | None = None, verify: str | bool = True
) -> Iterator[Running]:
    """Run `gpumon up` until the block ends; its page answers when the block begins.

    `verify` is the authority of a certificate that is given by `--cert`.
    """
    page_port, mqtt_port = free_port(), free_port()
    data = folder / "data"
    environment = environment_for(data, page_port, mqtt_port, more)
    log = folder / "up.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            gpumon_command("up", *flags), env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    host = flags[flags.index("--host") + 1] if "--host" in flags else "127.0.0.1"
    has_tls = "--host" in flags and "--insecure-http" not in flags
    page = f"{'https' if has_tls else 'http'}://{host}:{page_port}"
    folder_of_data = DataFolder(data)
    own_authority = has_tls and "--cert" not in flags
    verify = str(folder_of_data.authority) if own_authority else verify
    running = Running(process, folder_of_data, page, mqtt_port, log, environment, verify)
    with stopping(process):
        eventually(lambda: answers(running) or process.poll() is not None, 30)
        assert process.poll() is None, running.said()
        yield running


def answers(running: Running) -> bool:
    """Tell whether the page answers and its master is connected to the broker."""
    try:
        health: dict[str, str] = requests.get(f"{running.page}/healthz", timeout=2, verify=running.verify).json()
    except (requests.RequestException, OSError):  # the authority's file may not be there yet
        return False
    return health["broker"] == "connected"


@contextmanager
def an_agent(
    running: Running, worker_id: str, *flags: str, more: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Add a worker and run its agent until the block ends."""
    added = running.gpumon("worker", "add", worker_id, "--if-missing")
    assert added.returncode == 0, added.stderr
    command = gpumon_command(
        "agent",
        *("--master", running.master_url),
        *("--worker-id", worker_id),
        *("--token-file", str(running.data.token_file(worker_id))),
        *flags,
    )
    with running.log.open("ab") as output:
        process = subprocess.Popen(
            command, env={**running.environment, **(more or {})}, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    with stopping(process):
        yield process


def online(running: Running, worker_ids: Sequence[str]) -> bool:
    """Tell whether the broker says that all of these workers are online."""
    listed = running.gpumon("run", "-w", ",".join(worker_ids), "--", "true", timeout_s=30)
    return listed.returncode == 0
