"""Keeps child processes running: one that dies is started again, and all of them end with their parent."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpumon.errors import SettingError, StartError

logger = logging.getLogger(__name__)

STOP_TIMEOUT_S = 8.0
LONGEST_PAUSE_S = 30.0
HEALTHY_AFTER_S = 60.0
SETTLED_AFTER_S = 10.0
# A child that says by these codes that it cannot start will not be able to a second later either. One that has already
# run may: its port is still held by what is left of the process before it.
GIVE_UP_CODES = frozenset({SettingError.exit_code, StartError.exit_code})
_PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass(slots=True)
class Child:
    """One process to keep running."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    deaths: int = 0
    has_settled: bool = False
    due: float = 0.0

    @property
    def is_running(self) -> bool:
        """Whether the process is there now."""
        return self.process is not None and self.process.poll() is None


def gpumon_command(*arguments: str) -> list[str]:
    """Return the command line of one of gpumon's own subcommands.

    The installed script comes first: `python -m` would let a folder named `agent` or `broker` in the working directory
    take the place of gpumon's.
    """
    script = Path(sys.executable).with_name("gpumon")
    return [str(script), *arguments] if script.exists() else [sys.executable, "-m", "gpumon", *arguments]


class Supervisor:
    """Starts children as they are added, again when one dies, and ends them in the reverse order when it is left."""

    def __init__(self, stop: threading.Event) -> None:
        self._children: list[Child] = []
        self._stop = stop

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_all()

    def add(self, child: Child) -> None:
        """Start a child, and look after it from now on."""
        self._children.append(child)
        self._start(child)

    def run(self) -> int:
        """Keep the children running until `stop` is set; return the exit code to end with.

        A child that says it cannot start (a port in use, a setting that is wrong) ends all of them with its code.
        """
        while not self._stop.wait(0.2):
            for child in self._children:
                code = self._look_after(child)
                if code is not None:
                    return code
        return 0

    def _look_after(self, child: Child) -> int | None:
        if child.is_running:
            age_s = time.monotonic() - child.started
            child.has_settled = child.has_settled or age_s > SETTLED_AFTER_S
            child.deaths = 0 if age_s > HEALTHY_AFTER_S else child.deaths
            return None
        if child.process is not None:
            code = child.process.wait()
            child.process = None
            if code in GIVE_UP_CODES and not child.has_settled:
                return code
            pause = min(2.0**child.deaths - 1, LONGEST_PAUSE_S)
            child.deaths += 1
            child.due = time.monotonic() + pause
            logger.warning("%s ended with %s and is started again in %.0f s", child.name, _ended_how(code), pause)
        if time.monotonic() >= child.due:
            self._start(child)
        return None

    def _start(self, child: Child) -> None:
        child.process = subprocess.Popen(
            child.command,
            stdin=subprocess.DEVNULL,
            env=child.environment,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - this process has one thread when it forks
        )
        child.started = time.monotonic()

    def _end_all(self) -> None:
        for child in reversed(self._children):
            if child.process is None:
                continue
            child.process.terminate()
            try:
                child.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                logger.warning("%s does not end and is killed", child.name)
                child.process.kill()
                child.process.wait()


def _end_with_parent() -> None:
    # In its own session, a Ctrl-C reaches the parent alone, which then ends the children in order.
    os.setsid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _ended_how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
