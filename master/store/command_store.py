"""What is kept of commands: who ran what, where, when, how it ended, and the output."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Select, delete, or_, select

from master.records import CommandRecord, OutputChunk, TargetRecord
from master.store.engine import Store, give_space_back
from master.store.models import CommandRow, OutputRow, TargetRow
from master.store.writer import Writer

_PRUNED_AT_ONCE = 100
_FREED_PAGES = 2_000


class CommandStore:
    """Loads commands, and keeps them through the writer; every `keep_` returns the writer's number for the row."""

    def __init__(self, store: Store, writer: Writer) -> None:
        self._store = store
        self._writer = writer

    def has_stored(self, number: int) -> bool:
        """Tell whether what got this number has been written."""
        return self._writer.has_stored(number)

    def wait_stored(self, number: int, timeout_s: float) -> bool:
        """Wait until what got this number has been written; False where it was not within `timeout_s`."""
        return self._writer.wait_stored(number, timeout_s)

    def keep_command(self, record: CommandRecord, ended: float | None) -> int:
        """Keep the command without its targets; `ended` is None while it runs."""
        return self._writer.put(
            CommandRow,
            {
                "id": record.id,
                "command": record.command,
                "by": record.by,
                "origin": record.origin,
                "created": record.created,
                "timeout_s": record.timeout_s,
                "ended": ended,
            },
        )

    def keep_target(self, command_id: str, position: int, target: TargetRecord) -> int:
        """Keep how the command is on one worker."""
        return self._writer.put(
            TargetRow,
            {
                "command_id": command_id,
                "worker_id": target.worker_id,
                "position": position,
                "state": target.state,
                "exit_code": target.exit_code,
                "started": target.started,
                "duration_s": target.duration_s,
                "stdout_bytes": target.stdout_bytes,
                "stderr_bytes": target.stderr_bytes,
                "truncated": target.truncated,
                "problem": target.problem,
            },
        )

    def keep_output(self, command_id: str, worker_id: str, chunks: Iterable[OutputChunk]) -> int:
        """Keep what the command wrote on one worker."""
        text = json.dumps([[chunk.seq, chunk.stream, chunk.data] for chunk in chunks], ensure_ascii=False)
        return self._writer.put(OutputRow, {"command_id": command_id, "worker_id": worker_id, "chunks": text})

    def get(self, command_id: str) -> CommandRecord | None:
        """Return a command, None where there is none. Raises StoreError."""
        found = self._records(_commands().where(CommandRow.id == command_id))
        return found[0] if found else None

    def get_each(self, command_ids: Sequence[str]) -> list[CommandRecord]:
        """Return those of these commands that there are. Raises StoreError."""
        return self._records(_commands().where(CommandRow.id.in_(command_ids)))

    def unfinished(self) -> list[CommandRecord]:
        """Return all commands that have not ended, oldest first. Raises StoreError."""
        return self._records(_commands().where(CommandRow.ended.is_(None)).order_by(CommandRow.created))

    def recent(
        self, limit: int, before: float | None = None, worker_id: str | None = None, text: str | None = None
    ) -> list[CommandRecord]:
        """Return commands, newest first, created before `before`, with this worker among the targets.

        `text` is looked for in the command and its author's name, in capitals or not.

        Raises StoreError.
        """
        query = _commands().order_by(CommandRow.created.desc()).limit(limit)
        if before is not None:
            query = query.where(CommandRow.created < before)
        if worker_id is not None:
            query = query.where(CommandRow.id.in_(select(TargetRow.command_id).where(TargetRow.worker_id == worker_id)))
        if text:
            matches = [column.icontains(text, autoescape=True) for column in (CommandRow.command, CommandRow.by)]
            query = query.where(or_(*matches))
        return self._records(query)

    def output(self, command_id: str, worker_id: str) -> list[OutputChunk]:
        """Return what was kept of a target's output. Raises StoreError."""
        query = select(OutputRow.chunks).where(OutputRow.command_id == command_id, OutputRow.worker_id == worker_id)
        with self._store.read() as connection:
            text = connection.execute(query).scalar()
        return _chunks(text) if text else []

    def outputs(self, command_id: str) -> dict[str, list[OutputChunk]]:
        """Return what was kept of the outputs of all targets, by worker. Raises StoreError."""
        query = select(OutputRow.worker_id, OutputRow.chunks).where(OutputRow.command_id == command_id)
        with self._store.read() as connection:
            return {row.worker_id: _chunks(row.chunks) for row in connection.execute(query)}

    def prune(self, before: float) -> None:
        """Delete commands that ended before this time, a hundred at a time, and give their space back."""

        def job(connection: Connection) -> bool:
            old = select(CommandRow.id).where(CommandRow.ended < before).limit(_PRUNED_AT_ONCE)
            deleted = connection.execute(delete(CommandRow).where(CommandRow.id.in_(old))).rowcount
            give_space_back(connection, _FREED_PAGES)
            return deleted == _PRUNED_AT_ONCE

        self._writer.run(job)

    def _records(self, query: Select[Any]) -> list[CommandRecord]:
        with self._store.read() as connection:
            rows = connection.execute(query).all()
            targets = _targets(connection, [row.id for row in rows])
        return [
            CommandRecord(
                id=row.id,
                command=row.command,
                by=row.by,
                origin=row.origin,
                created=row.created,
                timeout_s=row.timeout_s,
                targets=tuple(targets.get(row.id, ())),
            )
            for row in rows
        ]


def _chunks(text: str) -> list[OutputChunk]:
    return [OutputChunk(seq, stream, data) for seq, stream, data in json.loads(text)]


def _commands() -> Select[Any]:
    return select(CommandRow.__table__)


def _targets(connection: Connection, command_ids: Sequence[str]) -> dict[str, list[TargetRecord]]:
    found: dict[str, list[TargetRecord]] = {}
    # SQLite takes up to 32,766 parameters in one statement (999 before 3.32).
    for start in range(0, len(command_ids), 500):
        some = command_ids[start : start + 500]
        query = select(TargetRow.__table__).where(TargetRow.command_id.in_(some)).order_by(TargetRow.position)
        for row in connection.execute(query):
            target = TargetRecord(
                worker_id=row.worker_id,
                state=row.state,
                exit_code=row.exit_code,
                started=row.started,
                duration_s=row.duration_s,
                stdout_bytes=row.stdout_bytes,
                stderr_bytes=row.stderr_bytes,
                truncated=row.truncated,
                problem=row.problem,
            )
            found.setdefault(row.command_id, []).append(target)
    return found
