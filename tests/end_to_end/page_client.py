"""Somebody on the page, without a browser: logs in and asks its API."""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Iterator
from typing import Any

import requests
import socketio


class PageClient:
    """A logged-in session on the page."""

    def __init__(self, page: str, name: str, password: str, verify: str | bool = True) -> None:
        self._page = page
        self._session = requests.Session()
        self._session.verify = verify
        self._session.trust_env = False  # REQUESTS_CA_BUNDLE would win over `verify`
        form = self._session.get(f"{page}/login", timeout=10).text
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form))
        data = {**hidden, "name": name, "password": password}
        answer = self._session.post(f"{page}/login", data=data, timeout=10)
        answer.raise_for_status()

    def get(self, path: str) -> Any:
        """Return what the API answers at `path`."""
        answer = self._session.get(f"{self._page}/api/v1/{path}", timeout=10)
        answer.raise_for_status()
        return answer.json()

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """Have the API change something at `path`, and return its answer."""
        headers = {"X-CSRFToken": self.get("session")["csrf"]}
        answer = self._session.request(method, f"{self._page}/api/v1/{path}", json=body, headers=headers, timeout=20)
        answer.raise_for_status()
        return answer.json()

    def at(self, page: str) -> PageClient:
        """Return the same browser, sent to another address of the same page by what stands before it."""
        other = copy.copy(self)
        other._page = page
        return other

    def workers(self) -> list[dict[str, Any]]:
        """Return every worker's row."""
        rows: list[dict[str, Any]] = self.get("workers")["rows"]
        return rows

    def worker(self, worker_id: str) -> dict[str, Any]:
        """Return one worker's row."""
        return next(row for row in self.workers() if row["id"] == worker_id)

    def state(self, worker_id: str) -> str | None:
        """Return a worker's state, None while it is not known."""
        return next((row["state"] for row in self.workers() if row["id"] == worker_id), None)

    def run(self, worker_id: str, command: str) -> str:
        """Run a command as the page does and return its id."""
        answer = self._asked("run", {"command": command, "workers": [worker_id]})
        assert "id" in answer, answer
        return str(answer["id"])

    def command(self, command_id: str) -> dict[str, Any]:
        """Return a command with its targets."""
        command: dict[str, Any] = self.get(f"commands/{command_id}")["command"]
        return command

    @contextlib.contextmanager
    def watching(self, topic: str, event: str) -> Iterator[list[Any]]:
        """Watch a topic live, and give what the page pushes about it."""
        told: list[Any] = []
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._session.cookies)
        client = socketio.Client(http_session=self._session)
        client.on(event, told.append)
        client.connect(self._page, headers={"Cookie": cookies}, transports=["websocket"])
        try:
            client.call("watch", topic, timeout=10)
            yield told
        finally:
            client.disconnect()

    def _asked(self, event: str, data: object) -> dict[str, Any]:
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._session.cookies)
        client = socketio.Client(http_session=self._session)
        client.connect(self._page, headers={"Cookie": cookies}, transports=["websocket"])
        try:
            answer: dict[str, Any] = client.call(event, data, timeout=10)
            return answer
        finally:
            client.disconnect()
