"""The command desk: sends commands to workers, ends them, and answers what became of them."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gpumon.commands import (
    DEFAULT_TIMEOUT_S,
    MAX_COMMAND_BYTES,
    MAX_TIMEOUT_S,
    Cancel,
    Command,
    new_command_id,
)
from gpumon.errors import GpumonError
from gpumon.link import MqttLink
from gpumon.messages import encode
from gpumon.roles import Principal
from gpumon.topics import Channel, Topics
from master.audit import AuditTrail, Detail
from master.bus import EventBus
from master.events import CommandChanged
from master.fleet import Fleet, Worker, WorkerState
from master.ledger import Ledger
from master.limits import limit_text
from master.records import OFFLINE, CommandRecord, Origin, OutputChunk
from master.running import RunningCommand
from master.store.engine import StoreError

logger = logging.getLogger(__name__)

MOST_NAMED = 10


class CommandError(GpumonError):
    """A command that cannot be sent or ended as asked; the message says why."""

    see = "troubleshooting.md#a-command-is-not-run"


class NotAllowedError(CommandError):
    """A command that this person may not run, or not on these workers; the message names them."""


class CannotSendError(CommandError):
    """Nothing can be sent now: the broker is not connected, or the audit cannot be written."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks for something to be sent, by which way in and from which address."""

    principal: Principal
    origin: Origin = "page"
    address: str | None = None


class CommandDesk:
    """Sends commands and answers for all of them, its own and ad-hoc ones; safe to use from any thread.

    This is the one place that decides who may run or cancel what, whichever way a person or program comes in.
    """

    def __init__(
        self,
        ledger: Ledger,
        fleet: Fleet,
        bus: EventBus,
        topics: Topics,
        audit: AuditTrail,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._audit = audit
        self._bus = bus
        self._fleet = fleet
        self._topics = topics
        self._clock = clock
        self._link: MqttLink | None = None

    def attach(self, link: MqttLink | None) -> None:
        """Send through this link from now on; through none, nothing can be sent."""
        self._link = link

    def run(
        self,
        command: str,
        worker_ids: Sequence[str],
        by: Caller,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> CommandRecord:
        """Send the command to these workers and return its record; what comes of it is published on the bus.

        A worker that is offline is not sent to: its target has failed at once. Nothing is sent before the audit has
        it. Raises NotAllowedError: for workers on which this person may run nothing; CommandError: for no worker, an
        unknown one, a command that is empty, too long or no text, and a timeout out of bounds; CannotSendError: while
        the broker is not connected, or the audit cannot be written.
        """
        link = self._connected_link()
        now = self._clock()
        if not (math.isfinite(timeout_s) and 0 < timeout_s <= MAX_TIMEOUT_S):
            raise CommandError(
                f"a timeout of {timeout_s} s cannot be used: give more than 0, {MAX_TIMEOUT_S:.0f} at most"
            )
        self._check_may_command(by.principal, worker_ids)
        message = Command(
            id=new_command_id(), command=command, timeout_s=timeout_s, expires_at=now + timeout_s, by=by.principal.name
        )
        payload = _payload(message)
        running = RunningCommand(message.id, command, by.principal.name, by.origin, now, timeout_s)
        for worker_id in dict.fromkeys(worker_ids):
            worker = self._fleet.worker(worker_id)
            if worker is None:
                raise CommandError(f"worker {worker_id!r} is not known here")
            running.add_target(worker_id, OFFLINE if worker.state(now) is WorkerState.OFFLINE else None)
        if not running.targets:
            raise CommandError("no worker was chosen: choose one at least")
        sent_to = [worker_id for worker_id, target in running.targets.items() if not target.record.is_ended]
        self._note("command.run", by, message.id, command=command, workers=list(running.targets), timeout_s=timeout_s)
        self._bus.publish(CommandChanged(self._ledger.open(running)))
        self._ledger.settle(running)
        logger.info(
            "command sent",
            extra={"id": message.id, "by": by.principal.name, "workers": len(sent_to), "origin": by.origin},
        )
        for worker_id in sent_to:
            link.publish(self._topics.worker(worker_id, Channel.COMMAND), payload, qos=1)
        return self._ledger.get(message.id) or running.record()

    def choose(self, by: Principal, labels: Mapping[str, str] | None = None) -> list[str]:
        """Return the workers that are not offline, have all these labels, and on which this person may run commands."""
        now = self._clock()
        return [
            worker.id
            for worker in self._fleet.workers()
            if worker.state(now) is not WorkerState.OFFLINE
            and by.may_command(labels_of(worker))
            and all(labels_of(worker).get(key) == value for key, value in (labels or {}).items())
        ]

    def cancel(self, command_id: str, by: Caller, worker_ids: Sequence[str] | None = None) -> None:
        """Ask these workers, or all on which it has not ended, to end the command; their results tell when it has.

        With no workers named, those on which this person may run nothing are left alone. Raises NotAllowedError: for
        named ones of those, and where nothing else is left; CommandError: for an unknown command; CannotSendError.
        """
        link = self._connected_link()
        record = self.get(command_id)
        if record is None:
            raise CommandError(f"command {command_id!r} is not known here")
        payload = encode(Cancel(id=command_id))
        unfinished = [target.worker_id for target in record.targets if not target.is_ended]
        if worker_ids is None:
            forbidden = set(self._forbidden(by.principal, unfinished))
            asked = [worker_id for worker_id in unfinished if worker_id not in forbidden]
            if not asked:
                self._check_may_command(by.principal, unfinished)
        else:
            self._check_may_command(by.principal, worker_ids)
            asked = [worker_id for worker_id in unfinished if worker_id in worker_ids]
        self._note("command.cancelled", by, command_id, workers=asked)
        for worker_id in asked:
            link.publish(self._topics.worker(worker_id, Channel.COMMAND), payload, qos=1)
        logger.info("command cancelled", extra={"id": command_id, "by": by.principal.name, "workers": len(asked)})

    def get(self, command_id: str) -> CommandRecord | None:
        """Return a command's record, None where there is none. Raises StoreError."""
        return self._ledger.get(command_id)

    def recent(
        self, limit: int = 50, before: float | None = None, worker_id: str | None = None, text: str | None = None
    ) -> list[CommandRecord]:
        """Return records, newest first, created before `before`, with this worker among the targets.

        `text` is looked for in the command and its author's name, in capitals or not. Raises StoreError.
        """
        return self._ledger.recent(limit, before, worker_id, text)

    def output(self, command_id: str, worker_id: str) -> list[OutputChunk]:
        """Return a target's output so far, or as it was stored; 1 MiB at most. Raises StoreError."""
        return self._ledger.output(command_id, worker_id)

    def _connected_link(self) -> MqttLink:
        link = self._link
        if link is None or not link.is_connected:
            problem = link.problem if link else "the master is not running"
            raise CannotSendError(f"nothing can be sent now: {problem}")
        return link

    def _check_may_command(self, by: Principal, worker_ids: Sequence[str]) -> None:
        if not by.may_command_some:
            raise NotAllowedError(f"{by.name} has the role {by.role.value}, which may run and cancel nothing")
        forbidden = self._forbidden(by, worker_ids)
        if forbidden:
            more = f" and {len(forbidden) - MOST_NAMED} more" if len(forbidden) > MOST_NAMED else ""
            raise NotAllowedError(
                f"{by.name} may run commands on workers with {limit_text(by)} alone, which "
                f"{', '.join(forbidden[:MOST_NAMED])}{more} {'is' if len(forbidden) == 1 else 'are'} not"
            )

    def _forbidden(self, by: Principal, worker_ids: Sequence[str]) -> list[str]:
        if by.may_command_all:
            return []
        workers = {worker_id: self._fleet.worker(worker_id) for worker_id in dict.fromkeys(worker_ids)}
        return [worker_id for worker_id, worker in workers.items() if not by.may_command(labels_of(worker))]

    def _note(self, action: str, by: Caller, command_id: str, **detail: Detail) -> None:
        who = by.principal.name
        try:
            self._audit.add(action, who=who, origin=by.origin, address=by.address, subject=command_id, **detail)
        except StoreError as error:
            raise CannotSendError(f"nothing was sent, since the audit cannot be written: {error}") from error


def labels_of(worker: Worker | None) -> Mapping[str, str]:
    """Return the labels that a worker gives itself."""
    return worker.info.labels if worker is not None and worker.info is not None else {}


def _payload(message: Command) -> bytes:
    if not message.command.strip():
        raise CommandError("the command is empty: give one")
    if "\0" in message.command:
        raise CommandError("a command with a NUL character cannot be run")
    try:
        payload = encode(message)
    except UnicodeEncodeError as error:
        raise CommandError(f"the command is not valid text: {error.reason} at character {error.start}") from error
    if len(payload) > MAX_COMMAND_BYTES:
        raise CommandError(
            f"the command is too long: {len(payload)} bytes, {MAX_COMMAND_BYTES} can be sent; put it in a file there"
        )
    return payload
