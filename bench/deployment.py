"""A broker and a master with its page, as `gpumon broker` and `gpumon master` run them, on free ports and new data."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from bench.children import Children, wait_until
from gpumon.datafolder import DataFolder
from gpumon.roles import Role
from master.accounts import open_accounts
from master.master import prepare

START_TIMEOUT_S = 30.0
USER = "watcher"
GPUMON = (sys.executable, "-m", "gpumon")


class Deployment:
    """gpumon on this machine alone, its broker with TLS on a second port too. Constructing it does nothing."""

    def __init__(self, folder: Path, children: Children, *, tls: bool = False) -> None:
        self.data = DataFolder(folder / "data")
        self.mqtt_port = free_port()
        self.mqtts_port = free_port()
        self.page_port = free_port()
        self.accounts_file = folder / "accounts.json"
        self.password = ""
        self._children = children
        self._is_tls = tls
        self._flags = ["--host", "127.0.0.1", "--mqtts-port", str(self.mqtts_port)] if tls else []
        self.broker: subprocess.Popen[bytes] | None = None
        self.master: subprocess.Popen[bytes] | None = None

    @property
    def page(self) -> str:
        """The page's address."""
        return f"http://127.0.0.1:{self.page_port}"

    def way_in(self) -> list[str]:
        """Return the load generator's flags by which it reaches the broker."""
        if self._is_tls:
            return ["--port", str(self.mqtts_port), "--cafile", str(self.data.certificates / "ca.crt")]
        return ["--port", str(self.mqtt_port)]

    def add_accounts(self, workers: int, *more: str) -> None:
        """Make the accounts of `workers` workers and `more`, written to `accounts_file`, and of one who watches."""
        prepare(self.data)
        with open_accounts(self.data) as accounts:
            self.password = accounts.add_user(USER, Role.OPERATOR)
            tokens = {
                name: accounts.add_worker(name)
                for name in (*(f"load-{number:05d}" for number in range(workers)), *more)
            }
        self.accounts_file.touch(mode=0o600)
        self.accounts_file.write_text(json.dumps(tokens))

    def start(self) -> None:
        """Start broker and master; return when both answer."""
        self.start_broker()
        command = self._command("master", *self._master_flags(), "--port", str(self.page_port))
        self.master = self._children.start("master", command, clean_environment())
        wait_until(lambda: answers(f"{self.page}/login"), "the page answers", START_TIMEOUT_S, self._children)

    def start_broker(self) -> None:
        """Start the broker alone; return when it listens."""
        command = self._command("broker", "--mqtt-port", str(self.mqtt_port), *self._flags)
        self.broker = self._children.start("broker", command, clean_environment())
        wait_until(lambda: listens(self.mqtt_port), "the broker listens", START_TIMEOUT_S, self._children)

    def stop_broker(self) -> None:
        """Stop the broker alone; the master stays and waits for it."""
        assert self.broker is not None
        self._children.end(self.broker)

    def pids(self) -> dict[str, int]:
        """Return the pids of both, by name."""
        assert self.broker is not None
        assert self.master is not None
        return {"broker": self.broker.pid, "master and page": self.master.pid}

    def _master_flags(self) -> list[str]:
        return ["--mqtt-port", str(self.mqtt_port)]

    def _command(self, *arguments: str) -> Sequence[str]:
        return [*GPUMON, *arguments, "--data", str(self.data.root)]


def clean_environment(**more: str) -> dict[str, str]:
    """Return this environment without settings of gpumon, which would change what is measured."""
    own = {"MASTER_URL", "WORKER_ID"}
    return {name: text for name, text in os.environ.items() if not (name.startswith("GPUMON_") or name in own)} | more


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Tell whether somebody listens on this port of 127.0.0.1."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def answers(url: str) -> bool:
    """Tell whether a page is there."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
