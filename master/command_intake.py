"""What comes in about commands: outputs and results, commands that others sent, and the broker's word on who did."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from gpumon.commands import DEFAULT_TIMEOUT_S, Command, CommandAudit, CommandOutput, CommandResult
from master.audit import Actor, AuditTrail
from master.authors import Authors, is_about
from master.bus import EventBus
from master.events import CommandChanged, OutputArrived
from master.fleet import Fleet, WorkerState
from master.ledger import Ledger
from master.records import DESK_ORIGINS, OFFLINE, UNKNOWN, Origin, OutputChunk
from master.running import RunningCommand, RunningTarget

# The broker tells at once; an audit that comes after the result of a quick command comes soon after.
LATE_AUDIT_S = 60.0
_REMEMBERED_WITHOUT_AUTHOR = 1_000
ALL = "all"


@dataclass(frozen=True, slots=True)
class _WithoutAuthor:
    received: float
    command_id: str
    worker_id: str
    command: str


class CommandIntake:
    """Brings what the broker delivers about commands into the ledger.

    `trusts_senders`: the broker tells of every ad-hoc command by anyone but the master's own role, so that one it does
    not tell of came from the master's machine (`gpumon run`), and says truly who sent it. Behind a broker that tells
    nothing, an ad-hoc command's author is not known.
    """

    def __init__(
        self, ledger: Ledger, fleet: Fleet, bus: EventBus, audit: AuditTrail | None = None, *, trusts_senders: bool
    ) -> None:
        """Take the audit that is told of ad-hoc commands, None for none."""
        self._ledger = ledger
        self._audit = audit
        self._fleet = fleet
        self._bus = bus
        self._trusts_senders = trusts_senders
        self._authors = Authors()
        self._without_author: deque[_WithoutAuthor] = deque(maxlen=_REMEMBERED_WITHOUT_AUTHOR)

    def take_command(self, command: Command, worker_id: str | None, received: float) -> None:
        """Enter a command object with an id that somebody published, to one worker or (None) to all."""
        opened = None
        with self._ledger.lock:
            is_new_here = not self._ledger.holds(command.id)
            running = self._ledger.find(command.id)
            if running is not None and is_new_here and not running.is_ended:
                opened = running.record()  # another master's
            if running is None:
                running = self._ad_hoc(command, received)
                self._add_targets(running, worker_id, received)
                opened = self._ledger.open(running)
            elif running.origin not in DESK_ORIGINS:
                self._ledger.changed(running, self._add_targets(running, worker_id, received))
            if running.origin not in DESK_ORIGINS:
                self._note_unknown(command.command, command.id, worker_id)
        if opened is not None:
            self._bus.publish(CommandChanged(opened))

    def take_output(self, worker_id: str, output: CommandOutput, received: float) -> None:
        """Pass a piece of output on, and keep it."""
        opened = None
        with self._ledger.lock:
            running = self._ledger.find(output.id)
            if running is None:
                running = self._presumed(output.id, worker_id, received)
                opened = self._ledger.open(running)
            target = _target(running, worker_id)
            if target is None or target.record.is_ended:
                return
            if not self._ledger.add_output(target, OutputChunk(output.seq, output.stream, output.data)):
                return
            if target.record.state == "sent":
                target.record = replace(target.record, state="running")
                self._ledger.changed(running, [target])
        if opened is not None:
            self._bus.publish(CommandChanged(opened))
        self._bus.publish(OutputArrived(output.id, worker_id, output.seq, output.stream, output.data))

    def take_result(self, worker_id: str, result: CommandResult, received: float) -> None:
        """Enter how a command ended on a worker; the first result counts."""
        with self._ledger.lock:
            running = self._ledger.find(result.id)
            if running is None:
                running = self._presumed(result.id, worker_id, received)
                self._ledger.open(running)
            if running.is_presumed:
                running.command, running.by = result.command, None
                running.is_presumed = False
                self._find_author(running, worker_id, received)
                self._note_unknown(result.command, result.id, worker_id)
            target = _target(running, worker_id)
            if target is not None and not target.is_settled:
                target.end(result)
                self._ledger.changed(running, [target])

    def take_audit(self, audit: CommandAudit, worker_id: str | None, received: float) -> None:
        """Enter who published a command, to one worker or (None) to all."""
        self._note_audited(audit, worker_id)
        if not audit.command:  # a cancellation
            return
        with self._ledger.lock:
            running = self._audited(audit, worker_id, received)
            if running is None:
                self._authors.add(audit, worker_id, received)
            elif running.origin not in DESK_ORIGINS and not running.is_audited and is_about(audit, running.command):
                _set_author(running, audit)
                self._ledger.changed(running)

    def _note_audited(self, audit: CommandAudit, worker_id: str | None) -> None:
        if self._audit is not None:
            by = Actor(audit.user, "mqtt", audit.address)
            workers = [worker_id or ALL]
            if audit.command:
                self._audit.add_soon(
                    by, "command.mqtt", audit.id, command=audit.command, workers=workers, topic=audit.topic
                )
            else:
                self._audit.add_soon(by, "command.cancelled", audit.id, workers=workers, topic=audit.topic)

    def _note_unknown(self, command: str, command_id: str, worker_id: str | None) -> None:
        """Tell the audit of a command of which the broker does not say whose it is."""
        if self._audit is not None and not self._trusts_senders:
            by, workers = Actor(None, "mqtt"), [worker_id or ALL]
            self._ledger.note(self._audit, by, "command.mqtt", command_id, command=command, workers=workers)

    def _ad_hoc(self, command: Command, received: float) -> RunningCommand:
        by = command.by if self._trusts_senders else None
        origin: Origin = "cli" if self._trusts_senders else "mqtt"
        running = RunningCommand(command.id, command.command, by, origin, received, command.timeout_s)
        audit = self._authors.of_id(command.id, command.command, received)
        if audit is not None:
            _set_author(running, audit)
        return running

    def _presumed(self, command_id: str, worker_id: str, received: float) -> RunningCommand:
        """Enter what runs on a worker under an id nobody has seen: shell text, known for sure from the result alone."""
        audit = self._authors.only_one_for(worker_id, received)
        text, by = (audit.command, audit.user) if audit else ("", None)
        running = RunningCommand(command_id, text, by, "mqtt", received, DEFAULT_TIMEOUT_S, is_presumed=True)
        running.add_target(worker_id)
        return running

    def _find_author(self, running: RunningCommand, worker_id: str, received: float) -> None:
        audit = self._authors.of_text(worker_id, running.command, received)
        if audit is not None:
            _set_author(running, audit)
        else:
            self._without_author.append(_WithoutAuthor(received, running.id, worker_id, running.command))

    def _audited(self, audit: CommandAudit, worker_id: str | None, received: float) -> RunningCommand | None:
        if audit.id is not None:
            return self._ledger.find(audit.id)
        for earlier in self._without_author:
            if (
                worker_id in (None, earlier.worker_id)
                and is_about(audit, earlier.command)
                and earlier.received > received - LATE_AUDIT_S
            ):
                self._without_author.remove(earlier)
                return self._ledger.find(earlier.command_id)
        return None

    def _add_targets(self, running: RunningCommand, worker_id: str | None, now: float) -> list[RunningTarget]:
        if worker_id is None:
            workers = [worker for worker in self._fleet.workers() if worker.state(now) is not WorkerState.OFFLINE]
            return [running.add_target(each.id) for each in workers if each.id not in running.targets]
        if worker_id in running.targets:
            return []
        worker = self._fleet.worker(worker_id)
        if worker is None:
            return [running.add_target(worker_id, UNKNOWN)]
        return [running.add_target(worker_id, OFFLINE if worker.state(now) is WorkerState.OFFLINE else None)]


def _target(running: RunningCommand, worker_id: str) -> RunningTarget | None:
    """Return the worker's part; ad-hoc commands may have reached workers that nobody saw them sent to."""
    target = running.targets.get(worker_id)
    if target is None and running.origin not in DESK_ORIGINS:
        target = running.add_target(worker_id)
    return target


def _set_author(running: RunningCommand, audit: CommandAudit) -> None:
    running.by = audit.user
    running.origin = "mqtt"
    running.is_audited = True
