"""The command runner: takes what arrives on `cmd`, decides, runs, and answers with output and exactly one result."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from agent.command_conditions import CommandConditions
from agent.command_process import CommandProcess, Ending, process_start
from agent.command_rules import CommandRefusedError, CommandRules
from agent.journal import Entry, Journal
from agent.output import OutputPublisher
from agent.publisher import Publisher, shortened
from agent.results import ResultOutbox
from gpumon.commands import Cancel, Command, CommandId, CommandResult, parse_command
from gpumon.errors import InvalidPayloadError
from gpumon.link import InboundMessage

logger = logging.getLogger(__name__)

MAX_RUNNING = 16
MAX_WAITING = 100
MAX_INBOX = 1000
SWEEP_INTERVAL_S = 0.5

_AGENT_STOPPED = Ending("failed", problem="the agent was stopped")


class _Identified(msgspec.Struct):
    """What can still be told of a command object that is not valid."""

    id: CommandId
    command: Any = None
    cancel: Any = None


@dataclass(slots=True)
class _Taken:
    """A command in the journal, waiting or running."""

    command: Command
    arguments: list[str]
    process: CommandProcess | None = None
    thread: threading.Thread | None = field(default=None, repr=False)


class CommandRunner:
    """Runs commands, at most 16 at once; 100 more wait their turn, further ones are refused.

    A command's id is on disk before it starts, and one that is known is not run again. A retained message is no
    command (it would come again at every connect): it is told of as an event and gets no result. `receive` is for the
    link's thread; decisions are made in a thread of the runner's own, and each command is read in one of its own.
    """

    def __init__(
        self,
        publisher: Publisher,
        journal: Journal,
        rules: CommandRules,
        conditions: CommandConditions,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._publisher = publisher
        self._journal = journal
        self._rules = rules
        self._conditions = conditions
        self._clock = clock
        self._outbox = ResultOutbox(publisher, journal)
        self._inbox: queue.Queue[InboundMessage | None] = queue.Queue(MAX_INBOX)
        self._lock = threading.Lock()
        self._running: dict[str, _Taken] = {}
        self._waiting: deque[_Taken] = deque()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Open the journal, answer for what an earlier run has left, and begin to take commands.

        Raises StartError: when the journal cannot be used.
        """
        self._journal.open()
        self._outbox.send_undelivered()
        for entry in self._journal.unfinished():
            self._answer_for(entry)
        self._thread = threading.Thread(target=self._serve, name="commands", daemon=True)
        self._thread.start()

    def receive(self, message: InboundMessage) -> None:
        """Take a message from a `cmd` topic. Waits while a thousand are undecided, which slows the sender down."""
        if not self._stopping:
            self._inbox.put(message)

    def end_all(self, timeout_s: float) -> None:
        """End every command, with the result `failed`, and take no more."""
        with self._lock:
            self._stopping = True
            waiting, running = list(self._waiting), list(self._running.values())
            self._waiting.clear()
        self._wake()
        for taken in waiting:
            self._finish(taken.command, _AGENT_STOPPED)
        for taken in running:
            if taken.process is not None:
                taken.process.end(_AGENT_STOPPED)
        deadline = time.monotonic() + timeout_s
        for thread in [self._thread, *(taken.thread for taken in running)]:
            if thread is not None and thread.is_alive():
                thread.join(max(deadline - time.monotonic(), 0))

    def close(self) -> None:
        """Note which results the broker has by now, and close the journal."""
        self._outbox.sweep()
        self._journal.close()

    def _serve(self) -> None:
        while not self._stopping:
            with contextlib.suppress(queue.Empty):
                message = self._inbox.get(timeout=None if self._outbox.is_empty else SWEEP_INTERVAL_S)
                if message is not None:
                    self._handle_safely(message)
            self._outbox.sweep()
        with contextlib.suppress(queue.Empty):
            while True:
                self._inbox.get_nowait()

    def _wake(self) -> None:
        with contextlib.suppress(queue.Full):  # then it is awake
            self._inbox.put_nowait(None)

    def _handle_safely(self, message: InboundMessage) -> None:
        try:
            self._handle(message)
        except Exception:
            logger.exception("a message on %s could not be handled; commands go on", message.topic)

    def _handle(self, message: InboundMessage) -> None:
        if message.retained:
            if message.payload.strip():
                self._tell_refused(f"a retained message on {message.topic} is no command; it was not run")
            return
        try:
            parsed = parse_command(message.payload)
        except InvalidPayloadError as error:
            self._refuse_invalid(message.payload, str(error))
            return
        if isinstance(parsed, Cancel):
            self._cancel(parsed.id)
        elif parsed is not None and self._journal.knows(parsed.id):
            logger.debug("command %s has come again; it is not run twice", parsed.id)
        elif parsed is not None:
            self._admit(parsed)

    def _refuse_invalid(self, payload: bytes, reason: str) -> None:
        self._tell_refused(reason)
        try:
            known = msgspec.json.decode(payload, type=_Identified)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if known.cancel is None and not self._journal.knows(known.id):
            command = shortened(known.command) if isinstance(known.command, str) else ""
            self._outbox.send(CommandResult(id=known.id, command=command, state="refused", problem=shortened(reason)))

    def _admit(self, command: Command) -> None:
        if self._is_expired(command):
            self._finish_expired(command)
            return
        try:
            taken = _Taken(command, self._rules.arguments(command.command))
            with self._lock:
                if len(self._waiting) >= MAX_WAITING:
                    raise CommandRefusedError(f"{MAX_RUNNING} commands run and {MAX_WAITING} wait: try again later")
        except CommandRefusedError as error:
            self._tell_refused(f"command {command.id} was refused: {error}")
            self._finish(command, Ending("refused", problem=f"{error} (see {error.more})"))
            return
        try:
            self._journal.take([command])
        except OSError as error:
            reason = f"not run, since the journal of commands cannot be written: {error.strerror}"
            logger.warning("command %s was %s", command.id, reason)
            self._finish(command, Ending("failed", problem=reason))
            return
        with self._lock:
            is_too_late = self._stopping
            if not is_too_late:
                self._waiting.append(taken)
        if is_too_late:
            self._finish(command, _AGENT_STOPPED)
        self._start_waiting()

    def _start_waiting(self) -> None:
        """Start what waits, as far as there is room."""
        while True:
            with self._lock:
                if self._stopping or not self._waiting or len(self._running) >= MAX_RUNNING:
                    return
                taken = self._waiting.popleft()
                is_expired = self._is_expired(taken.command)
                if not is_expired:
                    self._launch(taken)
            if is_expired:
                self._finish_expired(taken.command)

    def _launch(self, taken: _Taken) -> None:
        command = taken.command
        output = OutputPublisher(command.id, self._publisher.output, max_bytes=self._conditions.max_output_bytes)
        taken.process = process = CommandProcess(
            taken.arguments, self._conditions, command.timeout_s, output, lambda pid: self._note_process(command, pid)
        )
        taken.thread = threading.Thread(
            target=self._run, args=(command, process, output), name=f"command-{command.id}", daemon=True
        )
        taken.thread.start()  # where there is no thread to be had, the place stays free
        self._running[command.id] = taken

    def _run(self, command: Command, process: CommandProcess, output: OutputPublisher) -> None:
        started, began = self._clock(), time.monotonic()
        try:
            ending = process.run()
            output.finish()
        except Exception as error:
            logger.exception("command %s could not be followed", command.id)
            ending = Ending("failed", problem=f"the agent could not follow the command: {error}")
        self._finish(command, ending, output, started, time.monotonic() - began)
        with self._lock:
            del self._running[command.id]
        self._start_waiting()
        self._wake()

    def _note_process(self, command: Command, pid: int) -> None:
        start = process_start(pid)
        if start is not None:
            with contextlib.suppress(OSError):
                self._journal.started(command.id, pid, start)

    def _cancel(self, command_id: str) -> None:
        with self._lock:
            running = self._running.get(command_id)
            waiting = next((taken for taken in self._waiting if taken.command.id == command_id), None)
            if waiting is not None:
                self._waiting.remove(waiting)
        if running is not None and running.process is not None:
            running.process.end(Ending("cancelled"))
        elif waiting is not None:
            self._finish(waiting.command, Ending("cancelled", problem="cancelled before it started"))
        else:
            logger.debug("command %s does not run here; there is nothing to cancel", command_id)

    def _answer_for(self, entry: Entry) -> None:
        """Answer for a command that an earlier run of the agent has left, and end its process if that still runs."""
        if entry.pid is not None and entry.started is not None and process_start(entry.pid) == entry.started:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(entry.pid, signal.SIGKILL)
        self._outbox.send(
            CommandResult(
                id=entry.id,
                command=entry.command or "",
                by=entry.by,
                state="failed",
                started=entry.time,
                problem="the agent ended in the middle of this command",
            )
        )

    def _is_expired(self, command: Command) -> bool:
        return command.expires_at is not None and command.expires_at < self._clock()

    def _finish_expired(self, command: Command) -> None:
        self._finish(command, Ending("expired", problem="it came after its expires_at; check this machine's clock"))

    def _finish(
        self,
        command: Command,
        ending: Ending,
        output: OutputPublisher | None = None,
        started: float | None = None,
        duration_s: float | None = None,
    ) -> None:
        self._outbox.send(
            CommandResult(
                id=command.id,
                command=command.command,
                by=command.by,
                state=ending.state,
                exit_code=ending.exit_code,
                started=started,
                duration_s=duration_s,
                output=output.tail if output else "",
                stdout_bytes=output.byte_counts["stdout"] if output else 0,
                stderr_bytes=output.byte_counts["stderr"] if output else 0,
                truncated=output.truncated if output else False,
                problem=ending.problem and shortened(ending.problem),
            )
        )

    def _tell_refused(self, reason: str) -> None:
        logger.info("%s", reason)
        self._publisher.happened("command_refused", reason)
