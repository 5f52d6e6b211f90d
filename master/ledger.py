"""The book of commands: those that run in memory, the others in the store; it writes and announces what changes.

Messages only change what is in memory. A thread gathers the changes, at most each 100 ms a command, writes them and
publishes one `CommandChanged`: a thousand results at once cost one pass, not a thousand.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from master.audit import Actor, AuditTrail, Detail
from master.bus import EventBus
from master.events import CommandChanged
from master.records import CommandRecord, OutputChunk
from master.running import RunningCommand, RunningTarget
from master.store.command_store import CommandStore

logger = logging.getLogger(__name__)

ANNOUNCE_EACH_S = 0.1
MAX_KEPT_BYTES = 256 * 1024 * 1024


class Ledger:
    """Holds running commands; whoever changes one holds `lock` and calls `changed`."""

    def __init__(
        self, store: CommandStore, bus: EventBus, clock: Callable[[], float], audit: AuditTrail | None = None
    ) -> None:
        """Take the audit that is told how each command ended, None for none."""
        self.lock = threading.RLock()
        self._audit = audit
        self._store = store
        self._bus = bus
        self._clock = clock
        self._running: dict[str, RunningCommand] = {}
        self._changed: dict[str, RunningCommand] = {}
        self._kept_bytes = 0
        self._wake = threading.Event()
        self._stop = threading.Event()
        # Held for a whole pass, so that an older state is never written over a newer one.
        self._announcing = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take up the commands that had not ended when the last master did, and begin to announce.

        Raises StoreError.
        """
        for record in self._store.unfinished():
            self._changed[record.id] = self._take_up(record)
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="commands", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Hand the last changes to the writer and end the thread; safe to call twice."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._keep_unfinished_outputs()
            self.announce()

    def open(self, command: RunningCommand) -> CommandRecord:
        """Enter a new command and have it written; the caller publishes the record, once it holds no lock."""
        with self.lock:
            self._running[command.id] = command
            record = command.record()
            command.last_put = self._store.keep_command(record, None)
            for target in command.targets.values():
                command.last_put = self._store.keep_target(command.id, target.position, target.record)
            if command.is_ended:
                self.changed(command)
            return record

    def settle(self, command: RunningCommand) -> None:
        """Be sure that whoever hears of a new command finds it; called before it is sent, without the lock."""

    def note(self, audit: AuditTrail, by: Actor, action: str, command_id: str, **detail: Detail) -> None:
        """Have something told in the audit that was heard of a command."""
        audit.add_soon(by, action, command_id, **detail)

    def holds(self, command_id: str) -> bool:
        """Tell whether a command is in memory; the caller holds the lock."""
        return command_id in self._running

    def find(self, command_id: str) -> RunningCommand | None:
        """Return a command that runs, or take it up again from the store; the caller holds the lock.

        Raises StoreError.
        """
        command = self._running.get(command_id)
        if command is None:
            record = self._store.get(command_id)
            command = self._take_up(record) if record else None
            if command is not None and command.is_ended:
                command.audited_outcome = command.record().outcome()
        return command

    def changed(self, command: RunningCommand, targets: Iterable[RunningTarget] = ()) -> None:
        """Have the command and these targets written and announced soon; the caller holds the lock."""
        for target in targets:
            command.changed[target.record.worker_id] = target
        self._changed[command.id] = command
        self._wake.set()

    def add_output(self, target: RunningTarget, chunk: OutputChunk) -> bool:
        """Take a piece of output; False where it was there before. The caller holds the lock."""
        before = target.output.size_bytes
        is_new = target.output.add(chunk.seq, chunk.stream, chunk.data, MAX_KEPT_BYTES - self._kept_bytes)
        self._kept_bytes += target.output.size_bytes - before
        return is_new

    def get(self, command_id: str) -> CommandRecord | None:
        """Return a command's record, None where there is none. Raises StoreError."""
        with self.lock:
            command = self._running.get(command_id)
            if command is not None:
                return command.record()
        return self._store.get(command_id)

    def recent(self, limit: int, before: float | None, worker_id: str | None, text: str | None) -> list[CommandRecord]:
        """Return records, newest first. Raises StoreError."""
        with self.lock:
            live = [
                command.record()
                for command in self._running.values()
                if (before is None or command.created < before)
                and (worker_id is None or worker_id in command.targets)
                and (not text or text.lower() in f"{command.command}\n{command.by or ''}".lower())
            ]
        found = {record.id: record for record in self._store.recent(limit, before, worker_id, text)}
        found.update({record.id: record for record in live})
        return sorted(found.values(), key=lambda record: record.created, reverse=True)[:limit]

    def output(self, command_id: str, worker_id: str) -> list[OutputChunk]:
        """Return a target's output so far, or as it was stored. Raises StoreError."""
        with self.lock:
            command = self._running.get(command_id)
            target = command.targets.get(worker_id) if command else None
            if target is not None and (chunks := target.output.chunks()):
                return chunks
        return self._store.output(command_id, worker_id)

    def tick(self, now: float) -> None:
        """Give up what is overdue, and let go of what has ended and is written; called about once a second."""
        with self._announcing, self.lock:
            for command in list(self._running.values()):
                if not command.is_ended:
                    if now > command.deadline:
                        self.changed(command, command.lose())
                elif command.id not in self._changed and self._store.has_stored(command.last_put):
                    del self._running[command.id]
                    self._kept_bytes -= sum(target.output.size_bytes for target in command.targets.values())

    def announce(self) -> None:
        """Write and publish what has changed; the thread does so by itself."""
        with self._announcing:
            with self.lock:
                commands = list(self._changed.values())
            for command in commands:
                self._announce(command)

    def _announce(self, command: RunningCommand) -> None:
        with self.lock:
            self._changed.pop(command.id, None)
            targets, command.changed = list(command.changed.values()), {}
            if command.is_ended and command.ended is None:
                command.ended = self._clock()
            record = command.record()
            self._audit_end(command, record)
            command.last_put = self._store.keep_command(record, command.ended if record.is_ended else None)
            for target in targets:
                command.last_put = self._store.keep_target(command.id, target.position, target.record)
            outputs = [
                (target.record.worker_id, target.output.chunks()) for target in targets if target.record.is_ended
            ]
        for worker_id, chunks in outputs:
            if chunks:
                command.last_put = self._store.keep_output(command.id, worker_id, chunks)
        self._bus.publish(CommandChanged(record))

    def _audit_end(self, command: RunningCommand, record: CommandRecord) -> None:
        """Tell the audit how the command ended on each worker; again where a late result says otherwise."""
        outcome = record.outcome()
        if self._audit is None or not record.is_ended or outcome == command.audited_outcome:
            return
        command.audited_outcome = outcome
        counts = {how: len(workers) for how, workers in outcome.items()}
        by = Actor(record.by, record.origin)
        self._audit.add_soon(by, "command.ended", record.id, counts=counts, workers=outcome)

    def _take_up(self, record: CommandRecord) -> RunningCommand:
        command = self._running[record.id] = RunningCommand.from_record(record)
        if any(not target.is_settled for target in command.targets.values()):
            for worker_id, chunks in self._store.outputs(record.id).items():
                for chunk in chunks:
                    self.add_output(command.targets[worker_id], chunk)
        return command

    def _keep_unfinished_outputs(self) -> None:
        with self.lock:
            for command in self._running.values():
                for target in command.targets.values():
                    if not target.record.is_ended and (chunks := target.output.chunks()):
                        self._store.keep_output(command.id, target.record.worker_id, chunks)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            try:
                self.announce()
            except Exception:
                logger.exception("changes of commands could not be announced; trying again with the next")
            self._stop.wait(ANNOUNCE_EACH_S)
