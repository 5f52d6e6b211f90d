#!/usr/bin/env python3
"""Tries an installed gpumon: `smoke.py GPUMON AGENT`, two installed programs, the second with the agent alone.

With the standard library alone, so that it runs under any Python. It starts the demo in a folder of its own, on free
ports, and ends with 0 when the page answers, workers and an agent tell their readings, and the doctor has looked.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PATIENCE_S = 60.0
WORKER = "agent-alone"


class Installed:
    """A `gpumon up --demo` of an installed program."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self.mqtt_port = free_port()
        self._page = f"http://127.0.0.1:{free_port()}"
        own = {
            "GPUMON_DATA": str(folder / "data"),
            "GPUMON_PAGE_PORT": self._page.rpartition(":")[2],
            "GPUMON_MQTT_PORT": str(self.mqtt_port),
        }
        self.environment = {**clean_environment(), **own}

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        """Run it until the block ends; it has to end by itself when it is asked to."""
        with running([self._program, "up", "--demo", "2"], self.environment, self._folder, stops_with=0):
            wait_until("the page answers", lambda: self._is_connected)
            yield

    def gpumon(self, *words: str) -> str:
        """Run a subcommand and return what it printed."""
        command = [self._program, *words]
        ended = subprocess.run(command, env=self.environment, cwd=self._folder, capture_output=True, check=False)
        if ended.returncode != 0:
            sys.exit(f"{' '.join(command)} ended with {ended.returncode}: {ended.stderr.decode()}")
        return ended.stdout.decode()

    def doctor(self) -> str:
        """Return what the doctor has to say, whatever it finds."""
        command = [self._program, "doctor"]
        ended = subprocess.run(command, env=self.environment, cwd=self._folder, capture_output=True, check=False)
        return ended.stdout.decode() + ended.stderr.decode()

    def get(self, path: str, token: str = "") -> bytes:
        """Return what the page answers."""
        request = urllib.request.Request(
            self._page + path, headers={"Authorization": f"Bearer {token}"} if token else {}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            content: bytes = answer.read()
        return content

    def readings(self, token: str) -> dict[str, int]:
        """Return how many cards each worker that is online has."""
        rows: list[dict[str, Any]] = json.loads(self.get("/api/v1/workers", token))["rows"]
        return {row["id"]: len(row["gpus"]) for row in rows if row["state"] == "online"}

    @property
    def _is_connected(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(json.loads(self.get("/healthz"))["broker"] == "connected")
        return False


def try_everything(program: str, agent: str) -> None:
    """Try a whole installation, and an agent's. Ends the program where something does not work."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        installed = Installed(program, folder)
        with installed.up():
            token = installed.gpumon("user", "token", "admin", "--label", "smoke").strip()
            installed.gpumon("worker", "add", WORKER)
            master = f"mqtt://127.0.0.1:{installed.mqtt_port}"
            who = ["--worker-id", WORKER, "--token-file", str(folder / "data" / "tokens" / f"{WORKER}.token")]
            command = [
                agent,
                "agent",
                "--master",
                master,
                *who,
                "--source",
                "simulated",
                "--data",
                str(folder / "agent"),
            ]
            with running(command, clean_environment(), folder, stops_with=0):
                wait_until("two workers and the agent tell of their cards", lambda: is_whole(installed.readings(token)))
            for path in ("/login", *page_parts(installed.get("/login").decode())):
                if not installed.get(path):
                    sys.exit(f"{path} is empty")
            if "ok" not in installed.doctor():
                sys.exit(f"the doctor says nothing: {installed.doctor()}")


def is_whole(readings: dict[str, int]) -> bool:
    """Tell whether the demo's workers and the agent are online with cards."""
    return len(readings) == 3 and WORKER in readings and all(readings.values())


def page_parts(html: str) -> list[str]:
    """Return the scripts and styles that a page asks for."""
    found: list[str] = re.findall(r'(?:src|href)="(/static/[^"]+)"', html)
    if not found:
        sys.exit("the page asks for no script and no style")
    return found


@contextlib.contextmanager
def running(command: list[str], environment: dict[str, str], folder: Path, *, stops_with: int) -> Iterator[None]:
    """Run a program until the block ends, and see how it ends when it is asked to."""
    log = folder / f"{command[1]}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield
        process.terminate()
        if process.wait(30) != stops_with:
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{log.read_text()}")
    except BaseException:
        sys.stderr.write(log.read_text())
        raise
    finally:
        process.kill()
        process.wait()


def wait_until(what: str, condition: Callable[[], bool]) -> None:
    """Wait, and end the program where it takes too long."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"not within {PATIENCE_S:.0f} s: {what}")
        time.sleep(0.2)


def clean_environment() -> dict[str, str]:
    """Return the environment without what would lead to another gpumon, or another Python's packages."""
    foreign = re.compile(r"GPUMON_|PYTHON|MASTER_URL$|WORKER_ID$|VIRTUAL_ENV$")
    return {name: value for name, value in os.environ.items() if not foreign.match(name)}


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    began = time.monotonic()
    try_everything(*sys.argv[1:])
    sys.stdout.write(f"works ({time.monotonic() - began:.0f} s)\n")
