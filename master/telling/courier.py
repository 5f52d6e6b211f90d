"""Sending a message in a process of its own, so that no service can hold up anything else.

A service may hang in ways that no timeout of a library covers: a name that does not resolve, an answer byte by byte
(timeouts of sockets count from the last byte), a plugin that waits on something else. A thread that hangs cannot be
ended; a process can. It also keeps what Apprise and its plugins take of memory out of the master.

What the process is to do, secrets too, goes over its standard input: arguments and environment are seen by others.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Outcome = Literal["sent", "failed", "uncertain"]
PROGRAM = "master.telling.send_one"


@dataclass(frozen=True, slots=True)
class Delivery:
    """How an attempt went; `uncertain`: the message may or may not have arrived. `problem` holds no secret."""

    outcome: Outcome
    problem: str | None = None


class Courier:
    """Runs the processes that send. Constructing it does nothing; safe to use from any thread."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._is_stopped = False

    def start(self) -> None:
        """Take jobs."""
        with self._lock:
            self._is_stopped = False

    def stop(self) -> None:
        """End whatever is being sent, and take no further job."""
        with self._lock:
            self._is_stopped = True
            running = list(self._running)
        for process in running:
            process.kill()

    def deliver(self, job: Mapping[str, Any], deadline_s: float) -> Delivery:
        """Have a message sent, and wait for it at most so long."""
        answer = self.ask(job, deadline_s)
        if answer is None:
            why = "the master is being stopped" if self._is_stopped else f"no answer within {deadline_s:g} s"
            return Delivery("uncertain", why)
        return Delivery(answer["outcome"], answer["problem"])

    def ask(self, job: Mapping[str, Any], deadline_s: float) -> dict[str, Any] | None:
        """Return what the process answers to a job, None where it gave no answer in that time."""
        given = json.dumps({**job, "deadline_s": deadline_s}).encode()
        with self._lock:
            if self._is_stopped:
                return None
            process = subprocess.Popen(
                [sys.executable, "-m", PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # a traceback of a library may show a secret
                start_new_session=True,  # Ctrl-C at the master's terminal does not cut off what is being sent
            )
            self._running.add(process)
        try:
            output, _ = process.communicate(given, timeout=deadline_s)
            answer = json.loads(output)
        except (subprocess.TimeoutExpired, ValueError, OSError):
            return None
        finally:
            with self._lock:
                self._running.discard(process)
            process.kill()
            process.communicate()
        return answer if isinstance(answer, dict) else None
