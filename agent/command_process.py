"""One command as a process group: started, read, and ended with everything that it has started."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from agent.command_conditions import CommandConditions
from agent.output import OutputPublisher
from gpumon.commands import CommandState, Stream

# What is sent to end a group, and how long that may take. A process in an uninterruptible call into a driver
# outlives even SIGKILL; then the command is given up.
ESCALATION = ((signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0))
GROUP_CHECK_S = 0.02
READ_BYTES = 64 * 1024
UMASK = 0o022  # a log-in's usual one: the agent's own is 077, with which nobody else could use what a command installs
MAX_REST_BYTES = 1024 * 1024  # as much as a pipe can hold where an administrator has raised its size (pipe(7))


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command ended; `exit_code` is None unless it ended by itself, a signal is its negative number."""

    state: CommandState
    exit_code: int | None = None
    problem: str | None = None


class CommandProcess:
    """Runs one command in a session of its own, with nothing on its standard input and none of the agent's files open.

    It starts in the home of the user as whom it runs (in `/` where that cannot be entered), and has the time that it
    asks for or that the worker allows, whichever is shorter.

    `run()` blocks until the command and its process group have ended; `end()` may be called from any thread at any
    time. Only a process that leaves the group (setsid) outlives its command.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        conditions: CommandConditions,
        timeout_s: float,
        output: OutputPublisher,
        started: Callable[[int], None],
    ) -> None:
        self._arguments = arguments
        self._conditions = conditions
        self._timeout_s = timeout_s
        self._output = output
        self._started = started
        self._ending: Ending | None = None
        self._exited = threading.Event()
        self._wake_lock = threading.Lock()
        self._wake_end: int | None = None

    def end(self, ending: Ending) -> None:
        """Ask for the command to be ended, and say how that counts; the first to ask is heard."""
        if self._ending is None:
            self._ending = ending
        self._wake()

    def run(self) -> Ending:
        """Run the command to its end and say how that was; its output goes to the publisher as it is written."""
        if self._ending is not None:
            return self._ending
        user = self._conditions.user
        try:
            process = subprocess.Popen(
                [argument.encode() for argument in self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._conditions.environment,
                cwd=_home(self._conditions.environment),
                start_new_session=True,
                close_fds=True,
                umask=UMASK,
                user=user.uid if user else None,
                group=user.gid if user else None,
                extra_groups=user.groups if user else None,
            )
        except (OSError, ValueError) as error:
            return Ending("failed", problem=f"the command could not be started: {error}")
        with self._reading(process) as selector:
            self._started(process.pid)
            if not self._run_to_exit(process.pid, selector):
                return Ending("failed", problem="the command cannot be killed: it hangs in the kernel")
            exit_code = process.wait()
            if _group_lives(process.pid):
                self._end_group(process.pid, selector, lambda: not _group_lives(process.pid))
            self._read_rest(selector)
        return self._ending or Ending("finished", exit_code)

    @contextlib.contextmanager
    def _reading(self, process: subprocess.Popen[bytes]) -> Iterator[selectors.BaseSelector]:
        wake, wake_end = os.pipe()
        pipes: tuple[tuple[Stream, IO[bytes] | None], ...] = (("stdout", process.stdout), ("stderr", process.stderr))
        with selectors.DefaultSelector() as selector:
            self._wake_end = wake_end
            selector.register(wake, selectors.EVENT_READ)
            for stream, pipe in pipes:
                if pipe is not None:
                    os.set_blocking(pipe.fileno(), False)
                    selector.register(pipe, selectors.EVENT_READ, stream)
            threading.Thread(target=self._await_exit, args=(process.pid,), name="command-exit", daemon=True).start()
            try:
                yield selector
            finally:
                with self._wake_lock:
                    self._wake_end = None
                os.close(wake_end)
                os.close(wake)
                for _, pipe in pipes:
                    if pipe is not None:
                        pipe.close()

    def _await_exit(self, pid: int) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # left unreaped, so that its id stays its own
        self._exited.set()
        self._wake()

    def _wake(self) -> None:
        with self._wake_lock:
            if self._wake_end is not None:
                os.write(self._wake_end, b"!")

    def _run_to_exit(self, pid: int, selector: selectors.BaseSelector) -> bool:
        """Read until the command has ended, or end it when it is time; False where even that does not help."""
        allowed_s = self._conditions.max_timeout_s
        timeout_s = min(self._timeout_s, allowed_s)
        self._read_until(selector, lambda: self._exited.is_set() or self._ending is not None, timeout_s)
        if self._exited.is_set():
            return True
        if self._ending is None:
            reason = f", the most that this worker allows (it asked for {self._timeout_s:g} s)"
            problem = f"ended because it ran longer than {timeout_s:g} s"
            self._ending = Ending("timeout", problem=problem + (reason if allowed_s < self._timeout_s else ""))
        return self._end_group(pid, selector, self._exited.is_set)

    def _end_group(self, pid: int, selector: selectors.BaseSelector, is_over: Callable[[], bool]) -> bool:
        for number, patience_s in ESCALATION:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, number)
            if self._read_until(selector, is_over, patience_s, GROUP_CHECK_S):
                return True
        return False

    def _read_until(
        self,
        selector: selectors.BaseSelector,
        is_over: Callable[[], bool],
        timeout_s: float,
        check_s: float = 3600.0,
    ) -> bool:
        """Publish output until `is_over`, which is looked at whenever something happens; False after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not is_over():
            now = time.monotonic()
            if now >= deadline:
                return False
            flush_at = self._output.flush_at
            until = min(deadline, now + check_s, deadline if flush_at is None else flush_at)
            for key, _ in selector.select(max(until - now, 0)):
                if key.data is None:
                    os.read(key.fd, READ_BYTES)
                else:
                    self._read(selector, key)
            flush_at = self._output.flush_at
            if flush_at is not None and time.monotonic() >= flush_at:
                self._output.flush()
        return True

    def _read(self, selector: selectors.BaseSelector, key: selectors.SelectorKey) -> int:
        data = os.read(key.fd, READ_BYTES)
        if data:
            self._output.write(key.data, data)
        else:
            selector.unregister(key.fileobj)
        return len(data)

    def _read_rest(self, selector: selectors.BaseSelector) -> None:
        """Read what is left in the pipes, but do not wait for a process that has left the group and keeps one open."""
        for key in list(selector.get_map().values()):
            read = 0
            with contextlib.suppress(BlockingIOError):
                while key.data is not None and read < MAX_REST_BYTES and (length := self._read(selector, key)):
                    read += length


def process_start(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot (proc(5), stat field 22); None where there is none."""
    fields = _stat_fields(Path(f"/proc/{pid}/stat"))
    return int(fields[19]) if fields else None


def _group_lives(group: int) -> bool:
    """Tell whether a process group has a member that is no zombie."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    for path in Path("/proc").glob("[0-9]*/stat"):
        fields = _stat_fields(path)
        if fields and int(fields[2]) == group and fields[0] not in ("Z", "X"):
            return True
    return False


def _stat_fields(path: Path) -> list[str]:
    """Return a process's stat from its state (field 3) on; the name before it may hold anything."""
    try:
        return path.read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _home(environment: Mapping[str, str]) -> str:
    home = environment.get("HOME", "")
    # The agent enters it before it becomes the command's user, and on a network file system root may not. Neither
    # os.path.isdir nor os.access raises where a folder above cannot be entered.
    can_be_entered = home.startswith("/") and os.path.isdir(home) and os.access(home, os.X_OK)  # noqa: PTH112
    return home if can_be_entered else "/"
