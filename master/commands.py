"""The command desk: sends commands to workers, ends them, and answers what became of them."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence

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
from gpumon.topics import Channel, Topics
from master.bus import EventBus
from master.events import CommandChanged
from master.fleet import Fleet, WorkerState
from master.ledger import Ledger
from master.records import CommandRecord, Origin, OutputChunk
from master.running import OFFLINE, RunningCommand

logger = logging.getLogger(__name__)


class CommandError(GpumonError):
    """A command that cannot be sent or ended as asked; the message says why."""


class CommandDesk:
    """Sends commands and answers for all of them, its own and ad-hoc ones; safe to use from any thread."""

    def __init__(
        self, ledger: Ledger, fleet: Fleet, bus: EventBus, topics: Topics, clock: Callable[[], float] = time.time
    ) -> None:
        self._ledger = ledger
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
        by: str,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        origin: Origin = "page",
    ) -> CommandRecord:
        """Send the command to these workers and return its record; what comes of it is published on the bus.

        A worker that is offline is not sent to: its target has failed at once. Raises CommandError: for no worker, an
        unknown one, a command that is empty, too long or no text, a timeout out of bounds, and while the broker is
        not connected.
        """
        link = self._connected_link()
        now = self._clock()
        if not (math.isfinite(timeout_s) and 0 < timeout_s <= MAX_TIMEOUT_S):
            raise CommandError(
                f"a timeout of {timeout_s} s cannot be used: give more than 0, {MAX_TIMEOUT_S:.0f} at most"
            )
        message = Command(id=new_command_id(), command=command, timeout_s=timeout_s, expires_at=now + timeout_s, by=by)
        payload = _payload(message)
        running = RunningCommand(message.id, command, by, origin, now, timeout_s)
        for worker_id in dict.fromkeys(worker_ids):
            worker = self._fleet.worker(worker_id)
            if worker is None:
                raise CommandError(f"worker {worker_id!r} is not known here")
            running.add_target(worker_id, OFFLINE if worker.state(now) is WorkerState.OFFLINE else None)
        if not running.targets:
            raise CommandError("no worker was chosen: choose one at least")
        sent_to = [worker_id for worker_id, target in running.targets.items() if not target.record.is_ended]
        self._bus.publish(CommandChanged(self._ledger.open(running)))
        logger.info("command sent", extra={"id": message.id, "by": by, "workers": len(sent_to), "origin": origin})
        for worker_id in sent_to:
            link.publish(self._topics.worker(worker_id, Channel.COMMAND), payload, qos=1)
        return self._ledger.get(message.id) or running.record()

    def cancel(self, command_id: str, by: str, worker_ids: Sequence[str] | None = None) -> None:
        """Ask these workers, or all on which it has not ended, to end the command; their results tell when it has.

        Raises CommandError: for an unknown command, and while the broker is not connected.
        """
        link = self._connected_link()
        record = self.get(command_id)
        if record is None:
            raise CommandError(f"command {command_id!r} is not known here")
        payload = encode(Cancel(id=command_id))
        asked = [
            target.worker_id
            for target in record.targets
            if not target.is_ended and (worker_ids is None or target.worker_id in worker_ids)
        ]
        for worker_id in asked:
            link.publish(self._topics.worker(worker_id, Channel.COMMAND), payload, qos=1)
        logger.info("command cancelled", extra={"id": command_id, "by": by, "workers": len(asked)})

    def get(self, command_id: str) -> CommandRecord | None:
        """Return a command's record, None where there is none. Raises StoreError."""
        return self._ledger.get(command_id)

    def recent(self, limit: int = 50, before: float | None = None, worker_id: str | None = None) -> list[CommandRecord]:
        """Return records, newest first, created before `before`, with this worker among the targets.

        Raises StoreError.
        """
        return self._ledger.recent(limit, before, worker_id)

    def output(self, command_id: str, worker_id: str) -> list[OutputChunk]:
        """Return a target's output so far, or as it was stored; 1 MiB at most. Raises StoreError."""
        return self._ledger.output(command_id, worker_id)

    def _connected_link(self) -> MqttLink:
        link = self._link
        if link is None or not link.is_connected:
            raise CommandError(f"nothing can be sent now: {link.problem if link else 'the master is not running'}")
        return link


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
