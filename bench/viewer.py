"""Somebody who looks at the fleet view: a real Socket.IO client in its own process, `python -m bench.viewer --help`.

It logs in through the page's form, watches the fleet, and notes for each new sample of a worker when it arrived. It
prints one JSON object a line: `watching`, then after the line `stop` on its standard input `stopped`.
"""

from __future__ import annotations

import argparse
import html.parser
import json
import sys
import time
from typing import Any

import msgspec
import requests
import socketio

from bench.errors import BenchmarkError

TIMEOUT_S = 30.0


class Json:
    """msgspec in the form in which python-socketio wants a JSON module; a browser's own parser is as quick."""

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        """Return the value as JSON text."""
        return msgspec.json.encode(value).decode()

    @staticmethod
    def loads(text: str | bytes, **_: Any) -> Any:
        """Return what the text says."""
        return msgspec.json.decode(text)


class _FormToken(html.parser.HTMLParser):
    """Finds the hidden field that proves that the form is the page's own."""

    def __init__(self) -> None:
        super().__init__()
        self.token: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        fields = dict(attrs)
        if tag == "input" and fields.get("name") == "csrf":
            self.token = fields.get("value")


def log_in(page: str, name: str, password: str) -> requests.Session:
    """Return a session in which this person is logged in. Raises BenchmarkError: where they are not let in."""
    session = requests.Session()
    form = _FormToken()
    form.feed(session.get(f"{page}/login", timeout=TIMEOUT_S).text)
    answer = session.post(
        f"{page}/login",
        data={"name": name, "password": password, "csrf": form.token or ""},
        allow_redirects=False,
        timeout=TIMEOUT_S,
    )
    if answer.status_code not in (302, 303):
        raise BenchmarkError(f"the page answered {answer.status_code} to the log-in of {name}")
    return session


def browser_cookies(page: str, name: str, password: str) -> list[Any]:
    """Return the cookies with which a browser is logged in as this person. Raises BenchmarkError."""
    cookies = log_in(page, name, password).cookies
    return [{"name": cookie.name, "value": cookie.value or "", "url": page} for cookie in cookies]


class FleetViewer:
    """Watches the fleet view and keeps the arrival of every sample."""

    def __init__(self, page: str, session: requests.Session) -> None:
        self.samples: list[tuple[float, float]] = []
        self.last_times: dict[str, float | None] = {}
        self.pushes = 0
        self.rows = 0
        self.disconnects = 0
        self._page = page
        self._client = socketio.Client(
            json=Json,
            http_session=session,
            reconnection=False,
            # Checking text that is parsed as JSON right afterwards is slow in pure Python, and done by nobody else.
            websocket_extra_options={"skip_utf8_validation": True},
        )
        self._client.on("fleet_changed", self._changed)
        self._client.on("disconnect", self._disconnected)

    def watch(self) -> int:
        """Begin to watch; return how many workers there are now. Raises BenchmarkError: where that is not allowed."""
        self._client.connect(self._page, transports=["websocket"], wait_timeout=TIMEOUT_S)
        snapshot = self._client.call("watch", "fleet", timeout=TIMEOUT_S)
        if "rows" not in snapshot:
            raise BenchmarkError(f"the fleet cannot be watched: {snapshot}")
        for row in snapshot["rows"]:
            self.last_times.setdefault(row["id"], row["sample_time"])
        return len(snapshot["rows"])

    def stop(self) -> None:
        """Leave."""
        self._client.disconnect()

    def _changed(self, change: dict[str, Any]) -> None:
        now = time.time()
        self.pushes += 1
        self.rows += len(change["rows"])
        for row in change["rows"]:
            sample_time = row["sample_time"]
            if sample_time is not None and self.last_times.get(row["id"]) != sample_time:
                self.last_times[row["id"]] = sample_time
                self.samples.append((sample_time, now - sample_time))

    def _disconnected(self, *_reason: object) -> None:
        self.disconnects += 1


def main() -> int:
    """Read the command line and watch; the password is the first line of standard input."""
    parser = argparse.ArgumentParser(prog="python -m bench.viewer", description=__doc__)
    parser.add_argument("--page", required=True, help="address of the page")
    parser.add_argument("--user", required=True)
    arguments = parser.parse_args()
    viewer = FleetViewer(arguments.page, log_in(arguments.page, arguments.user, sys.stdin.readline().strip()))
    workers = viewer.watch()
    print(json.dumps({"event": "watching", "workers": workers}), flush=True)
    sys.stdin.readline()
    disconnects = viewer.disconnects
    facts = {
        "pushes": viewer.pushes,
        "rows": viewer.rows,
        "disconnects": disconnects,
        "cpu_s": time.process_time(),
        "last_times": viewer.last_times,
        "samples": viewer.samples,
    }
    print(json.dumps({"event": "stopped", **facts}), flush=True)
    viewer.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
