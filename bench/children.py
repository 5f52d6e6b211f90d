"""The processes a benchmark starts: each is ended by its own pid, whatever happens."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.errors import BenchmarkError

STOP_TIMEOUT_S = 10.0


class Children:
    """Starts processes whose output goes to files in one folder, and ends them in the reverse order."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[tuple[str, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.end_all()

    def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None, *, piped: bool = False
    ) -> subprocess.Popen[bytes]:
        """Start a process; `piped` keeps its standard input and output for the caller, else they go to its log."""
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else log,
                stderr=log,
                env=environment,
            )
        self._processes.append((name, process))
        return process

    def log(self, name: str) -> Path:
        """Return the file with what a process said."""
        return self._folder / f"{name}.log"

    def check(self) -> None:
        """Raise BenchmarkError where a process has ended, with the last lines of its log."""
        for name, process in self._processes:
            if process.poll() is not None:
                raise BenchmarkError(f"{name} ended with exit code {process.returncode}: {self.last_lines(name)}")

    def last_lines(self, name: str, lines: int = 5) -> str:
        """Return the end of a process's log in one line."""
        log = self.log(name)
        return " | ".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """End one process now."""
        _end(process)
        self._processes = [each for each in self._processes if each[1] is not process]

    def end_all(self) -> None:
        """End all of them, the last started first."""
        while self._processes:
            _end(self._processes.pop()[1])


class Helper:
    """A child of the benchmarks' own that says what happens in JSON lines and is told in plain ones."""

    def __init__(
        self, children: Children, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self._children = children
        self._name = name
        self.process = children.start(name, command, environment, piped=True)
        self._said: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, name=f"bench-{name}", daemon=True)
        self._reader.start()

    def tell(self, line: str) -> None:
        """Send a line."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()

    def hear(self, event: str, timeout_s: float) -> dict[str, Any]:
        """Return what it says next. Raises BenchmarkError: where that is not `event`, or nothing in time."""
        try:
            said = self._said.get(timeout=timeout_s)
        except queue.Empty:
            raise BenchmarkError(f"{self._name} did not say {event!r} within {timeout_s} s") from None
        if said is None:
            raise BenchmarkError(f"{self._name} ended before {event!r}: {self._children.last_lines(self._name)}")
        if said["event"] != event:
            raise BenchmarkError(f"{self._name} said {said} instead of {event!r}")
        return said

    def end(self) -> None:
        """Let it end by itself."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self._children.end(self.process)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._said.put(json.loads(line))
        self._said.put(None)


def wait_until(condition: Any, what: str, timeout_s: float, children: Children | None = None) -> Any:
    """Return what `condition` returns as soon as that is true. Raises BenchmarkError: when it is not in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if children is not None:
            children.check()
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{what}: not within {timeout_s} s")
        time.sleep(0.02)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
