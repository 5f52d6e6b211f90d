"""The book of commands where several masters share a fleet.

Each of them hears every output and result, and shows them; each writes what it knows, and the database takes what is
further on (`master.store.guards`). So it does not matter which of them has sent a command, nor whether that one lives.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from master.audit import Actor, AuditTrail, Detail
from master.bus import EventBus
from master.ledger import Ledger
from master.records import CommandRecord, OutputChunk
from master.running import RunningCommand
from master.store.command_store import CommandStore
from master.store.engine import StoreError

logger = logging.getLogger(__name__)

COMPARE_EACH_S = 5.0
WRITTEN_WITHIN_S = 5.0
# Between two masters' clocks, and while a database that is away is waited for.
HEARD_WITHIN_S = 3600.0


class SharedLedger(Ledger):
    """Holds running commands, also those of other masters."""

    def __init__(
        self, store: CommandStore, bus: EventBus, clock: Callable[[], float], audit: AuditTrail | None = None
    ) -> None:
        super().__init__(store, bus, clock, audit)
        self._compared = 0.0

    def settle(self, command: RunningCommand) -> None:
        """Wait until a new command is written: other masters hear it from the broker and look up whose it is."""
        if not self._store.wait_stored(command.last_put, WRITTEN_WITHIN_S):
            logger.warning(
                "command %s is sent before it is written: other masters may not know whose it is", command.id
            )

    def note(self, audit: AuditTrail, by: Actor, action: str, command_id: str, **detail: Detail) -> None:
        """Have it told once, though every master has heard it."""
        audit.add_once(by, action, command_id, self._clock() - HEARD_WITHIN_S, **detail)

    def tick(self, now: float) -> None:
        """Take over what others know, and give up what is overdue."""
        with self.lock:
            has_open = [command for command in self._running.values() if not command.is_ended]
        is_overdue = any(now > command.deadline for command in has_open)
        if has_open and (is_overdue or abs(now - self._compared) >= COMPARE_EACH_S):
            self._compared = now
            self._compare(has_open)
        super().tick(now)

    def _compare(self, commands: list[RunningCommand]) -> None:
        """Take over how commands have ended of which this master has missed the results."""
        try:
            for record in self._store.get_each([command.id for command in commands]):
                ended = [target for target in record.targets if target.is_ended]
                if ended:
                    outputs = self._store.outputs(record.id)
                    with self.lock:
                        self._take_ended(record, outputs)
        except StoreError:
            return  # the writer tells of a database that is away

    def _take_ended(self, record: CommandRecord, outputs: dict[str, list[OutputChunk]]) -> None:
        command = self._running.get(record.id)
        if command is None:
            return
        for kept in record.targets:
            target = command.targets.get(kept.worker_id)
            if target is None or target.record.is_ended or not kept.is_ended:
                continue
            for chunk in outputs.get(kept.worker_id, ()):
                self.add_output(target, chunk)
            target.record = kept
            self.changed(command, [target])

    def _audit_end(self, command: RunningCommand, record: CommandRecord) -> None:
        outcome = {how: sorted(workers) for how, workers in sorted(record.outcome().items())}
        if self._audit is None or not record.is_ended or outcome == command.audited_outcome:
            return
        command.audited_outcome = outcome
        counts = {how: len(workers) for how, workers in outcome.items()}
        by = Actor(record.by, record.origin)
        self._audit.add_once(by, "command.ended", record.id, record.created, counts=counts, workers=outcome)
