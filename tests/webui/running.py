"""A page that serves, as a process, and the people who may log in to it."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import requests

from gpumon.roles import Role
from tests.support import accepts_connections, eventually

PASSWORDS = {"alice": "correct horse alice", "olaf": "correct horse olaf", "vera": "correct horse vera"}
ROLES = {"alice": Role.ADMIN, "olaf": Role.OPERATOR, "vera": Role.VIEWER}


@dataclass(slots=True)
class RunningPage:
    """A page that serves, and what it stands on."""

    data: Path
    port: int
    mqtt_port: int
    threads: int
    log: Path
    process: subprocess.Popen[bytes] | None = None
    sessions: dict[str, requests.Session] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Serve; returns when it answers."""
        arguments = [str(self.data), str(self.port), str(self.mqtt_port), str(self.threads)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.webui.serve_page", *arguments], stdout=log, stderr=log
            )
        eventually(lambda: self.process and self.process.poll() is None and accepts_connections(self.port))
        eventually(self._is_connected)

    def stop(self) -> float:
        """Stop serving; return how long that took, in seconds."""
        assert self.process is not None
        began = time.monotonic()
        self.process.terminate()
        self.process.wait(20)
        self.process = None
        return time.monotonic() - began

    def session(self, name: str) -> requests.Session:
        """Return a session in which this person is logged in; the same for a person each time."""
        if name not in self.sessions:
            self.sessions[name] = self._log_in(name)
        return self.sessions[name]

    def _log_in(self, name: str) -> requests.Session:
        session = requests.Session()
        token = form_token(session, f"{self.address}/login")
        answer = session.post(
            f"{self.address}/login", data={"csrf": token, "name": name, "password": PASSWORDS[name]}, timeout=10
        )
        assert answer.status_code == 200, answer.text
        return session

    def _is_connected(self) -> bool:
        return bool(requests.get(f"{self.address}/healthz", timeout=10).json()["broker"] == "connected")


def form_token(session: requests.Session, address: str) -> str:
    """Return the token of the form at this address."""
    text = session.get(address, timeout=10).text
    return text.split('name="csrf" value="')[1].split('"')[0]
