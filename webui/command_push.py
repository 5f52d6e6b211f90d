"""Pushes commands while they run: their output as it is written and their targets as they end, in small batches."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from master.events import CommandChanged, OutputArrived
from master.records import CommandRecord, TargetRecord
from webui.fleet_push import Rooms
from webui.push_thread import PushThread

logger = logging.getLogger(__name__)

COMMANDS_ROOM = "commands"
WINDOW_S = 0.08
# A command on many workers may write faster than a browser reads; what is beyond this in one push is fetched by those
# who look at it (the whole output is kept by the master).
MOST_OUTPUT_CHARACTERS = 128 * 1024
SHOWN_COMMAND_CHARACTERS = 1000


def command_room(command_id: str) -> str:
    """Return the room of those who watch one command."""
    return f"command:{command_id}"


def worker_room(worker_id: str) -> str:
    """Return the room of those who watch one worker."""
    return f"worker:{worker_id}"


class CommandSummary(msgspec.Struct, frozen=True):
    """A command as a list shows it: `counts` is how many of its targets are in each state.

    `nonzero` is how many of those that finished did so with another exit code than 0.
    """

    id: str
    command: str
    by: str | None
    origin: str
    created: float
    timeout_s: float
    counts: dict[str, int]
    nonzero: int
    ended: bool
    target: TargetRecord | None = None


class OutputPiece(msgspec.Struct, frozen=True):
    """A piece of one target's output."""

    worker_id: str
    seq: int
    stream: str
    data: str


class CommandProgress(msgspec.Struct, frozen=True):
    """What happened to a command since the last push; `behind` are targets whose output has to be fetched."""

    id: str
    output: list[OutputPiece]
    targets: list[TargetRecord]
    behind: list[str]
    ended: bool | None


def summary_of(record: CommandRecord, worker_id: str | None = None) -> CommandSummary:
    """Return the command as a list shows it, with one worker's target where the list is that worker's."""
    counts: dict[str, int] = {}
    for target in record.targets:
        counts[target.state] = counts.get(target.state, 0) + 1
    return CommandSummary(
        id=record.id,
        command=_shown(record.command),
        by=record.by,
        origin=record.origin,
        created=record.created,
        timeout_s=record.timeout_s,
        counts=counts,
        nonzero=sum(target.state == "finished" and target.exit_code != 0 for target in record.targets),
        ended=record.is_ended,
        target=next((target for target in record.targets if target.worker_id == worker_id), None),
    )


def _shown(command: str) -> str:
    return command if len(command) <= SHOWN_COMMAND_CHARACTERS else command[:SHOWN_COMMAND_CHARACTERS] + "…"


@dataclass(slots=True)
class _Pending:
    record: CommandRecord | None = None
    output: list[OutputPiece] = field(default_factory=list)
    characters: int = 0
    behind: set[str] = field(default_factory=set)


class CommandPusher(PushThread):
    """Collects what happens to commands that somebody watches, and pushes it a dozen times a second at most."""

    def __init__(self, rooms: Rooms) -> None:
        super().__init__("webui-commands")
        self._rooms = rooms
        self._pending: dict[str, _Pending] = {}
        self._pushed: dict[str, dict[str, TargetRecord]] = {}

    def command_changed(self, event: CommandChanged) -> None:
        """Note that a command was created, or that targets of it changed."""
        with self._wake:
            self._pending.setdefault(event.command.id, _Pending()).record = event.command
            self._wake.notify()

    def output_arrived(self, event: OutputArrived) -> None:
        """Note a piece of output, unless nobody watches."""
        if not self._rooms.has_members(command_room(event.command_id)):
            return
        with self._wake:
            pending = self._pending.setdefault(event.command_id, _Pending())
            if pending.characters + len(event.data) > MOST_OUTPUT_CHARACTERS and pending.output:
                pending.behind.add(event.worker_id)
            else:
                pending.characters += len(event.data)
                pending.output.append(OutputPiece(event.worker_id, event.seq, event.stream, event.data))
            self._wake.notify()

    def _run(self) -> None:
        while not self._stopping.is_set():
            with self._wake:
                self._wake.wait_for(lambda: self._pending or self._stopping.is_set())
                pending, self._pending = self._pending, {}
            for command_id, one in pending.items():
                self._push_or_log(command_id, one)
            self._stopping.wait(WINDOW_S)

    def _push_or_log(self, command_id: str, pending: _Pending) -> None:
        try:
            self._push(command_id, pending)
        except Exception:
            logger.exception("the progress of command %s could not be pushed", command_id)

    def _push(self, command_id: str, pending: _Pending) -> None:
        changed = self._changed_targets(pending.record) if pending.record is not None else []
        room = command_room(command_id)
        if self._rooms.has_members(room):
            progress = CommandProgress(
                id=command_id,
                output=pending.output,
                targets=changed,
                behind=sorted(pending.behind),
                ended=pending.record.is_ended if pending.record is not None else None,
            )
            self._rooms.emit("command_progress", _encoded(progress), room)
        if pending.record is not None:
            self._push_to_lists(pending.record, changed)

    def _changed_targets(self, record: CommandRecord) -> list[TargetRecord]:
        pushed = self._pushed.get(record.id, {})
        changed = [target for target in record.targets if pushed.get(target.worker_id) != target]
        if record.is_ended:
            self._pushed.pop(record.id, None)
        else:
            self._pushed[record.id] = {target.worker_id: target for target in record.targets}
        return changed

    def _push_to_lists(self, record: CommandRecord, changed: Iterable[TargetRecord]) -> None:
        if self._rooms.has_members(COMMANDS_ROOM):
            self._rooms.emit("command_listed", _encoded(summary_of(record)), COMMANDS_ROOM)
        for target in changed:
            room = worker_room(target.worker_id)
            if self._rooms.has_members(room):
                listed = {"worker_id": target.worker_id, "command": summary_of(record, target.worker_id)}
                self._rooms.emit("worker_command", _encoded(listed), room)


def _encoded(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
