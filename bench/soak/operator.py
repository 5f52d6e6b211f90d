"""Somebody who runs commands all the time, whatever happens, and what became of each."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

COMMAND_TIMEOUT_S = 15.0
EACH_S = 0.4


@dataclass(slots=True)
class Outcome:
    """What became of the commands: how many were taken, how often the worst ran, and how they ended."""

    taken: int = 0
    unanswered: int = 0
    ran_at_most: int = 0
    by_state: dict[str, int] = field(default_factory=dict)
    not_ended: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Operator:
    """Runs a command on a worker by chance, several a second, each of which leaves a line in a file of its own."""

    def __init__(self, page: str, token: str, workers: list[str], folder: Path, seed: int) -> None:
        self._page = page
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"
        self._workers = workers
        self._folder = folder
        self._chance = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="operator")
        self._asked: dict[str, str] = {}
        self._unanswered = 0
        self._number = 0

    def start(self) -> None:
        """Begin."""
        self._folder.mkdir()
        self._thread.start()

    def stop(self) -> None:
        """Run no more commands."""
        self._stop.set()
        self._thread.join()

    def workers(self) -> list[dict[str, object]]:
        """Return the fleet as the page shows it. Raises requests.RequestException."""
        answer = self._session.get(f"{self._page}/api/v1/workers?limit=1000", timeout=5)
        answer.raise_for_status()
        rows: list[dict[str, object]] = answer.json()["rows"]
        return rows

    def outcome(self) -> Outcome:
        """Look at every command that was taken, and at what each has left. Raises requests.RequestException."""
        found = Outcome(taken=len(self._asked), unanswered=self._unanswered)
        for path in self._folder.iterdir():
            found.ran_at_most = max(found.ran_at_most, len(path.read_text().splitlines()))
        for id_, name in self._asked.items():
            answer = self._session.get(f"{self._page}/api/v1/commands/{id_}", timeout=10)
            answer.raise_for_status()
            (target,) = answer.json()["command"]["targets"]
            state, path = target["state"], self._folder / name
            found.by_state[state] = found.by_state.get(state, 0) + 1
            if state in ("sent", "running", "waiting"):
                found.not_ended.append(id_)
            if state == "finished" and not path.exists():
                found.wrong.append(f"{id_} is shown as finished and has not run")
            if state in ("refused", "expired") and path.exists():
                found.wrong.append(f"{id_} is shown as {state} and has run")
        return found

    def _run(self) -> None:
        while not self._stop.wait(EACH_S):
            self._number += 1
            name = f"{self._number:06d}"
            # Some take a while, so that they are in the middle of it when something happens.
            command = f"echo once >> {self._folder / name}; sleep {self._chance.choice((0, 0, 0, 1, 3))}"
            body: dict[str, Any] = {
                "command": command,
                "workers": [self._chance.choice(self._workers)],
                "timeout_s": COMMAND_TIMEOUT_S,
            }
            try:
                answer = self._session.post(f"{self._page}/api/v1/commands", json=body, timeout=5)
                answer.raise_for_status()
            except requests.RequestException:
                self._unanswered += 1
                continue
            self._asked[answer.json()["id"]] = name
