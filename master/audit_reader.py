"""Reading the audit: a page of it, newest first, or all of it in the order in which it was written."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import msgspec
from sqlalchemy import Select, func, select

from master.store.engine import Store
from master.store.models import AuditRow

READ_AT_ONCE = 1_000
COLUMNS = ("seq", "time", "who", "origin", "address", "action", "subject", "detail")
# A cell that begins with one of these is a formula to spreadsheets.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class AuditEntry(msgspec.Struct, frozen=True):
    """One row; `time` in seconds since 1970, `detail` as it was given."""

    seq: int
    time: float
    who: str | None
    origin: str
    address: str | None
    action: str
    subject: str | None
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """What is looked for; None for anything. `action` finds all below it: `command` finds `command.run`."""

    who: str | None = None
    action: str | None = None
    worker: str | None = None
    since: float | None = None
    until: float | None = None

    def applied_to(self, query: Select[Any]) -> Select[Any]:
        """Return the query with this filter."""
        if self.who is not None:
            query = query.where(AuditRow.who == self.who)
        if self.action is not None:
            query = query.where((AuditRow.action == self.action) | AuditRow.action.startswith(f"{self.action}."))
        if self.worker is not None:
            # In JSON a name stands in quotes, and quotes within text have a backslash: nothing else is found. Not by
            # LIKE, which tells capitals from small letters on PostgreSQL alone.
            named = func.replace(AuditRow.detail, json.dumps(self.worker, ensure_ascii=False), "") != AuditRow.detail
            query = query.where((AuditRow.subject == self.worker) | named)
        if self.since is not None:
            query = query.where(AuditRow.time >= self.since)
        if self.until is not None:
            query = query.where(AuditRow.time < self.until)
        return query


class AuditReader:
    """Reads the audit from the database. Every method raises StoreError where that does not answer."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def page(self, wanted: AuditFilter, limit: int, before: int | None = None) -> list[AuditEntry]:
        """Return entries, newest first, from before this `seq` on."""
        query = wanted.applied_to(select(AuditRow.__table__)).order_by(AuditRow.seq.desc()).limit(limit)
        if before is not None:
            query = query.where(AuditRow.seq < before)
        with self._store.read() as connection:
            return [_entry(row) for row in connection.execute(query)]

    def all(self, wanted: AuditFilter) -> Iterator[AuditEntry]:
        """Yield entries, oldest first, reading a thousand at a time: no transaction stays open in between."""
        after = 0
        while True:
            query = wanted.applied_to(select(AuditRow.__table__)).where(AuditRow.seq > after)
            with self._store.read() as connection:
                rows = connection.execute(query.order_by(AuditRow.seq).limit(READ_AT_ONCE)).all()
            yield from (_entry(row) for row in rows)
            if len(rows) < READ_AT_ONCE:
                return
            after = rows[-1].seq


def as_json_lines(entries: Iterable[AuditEntry]) -> Iterator[str]:
    """Yield each entry as a line of JSON."""
    for entry in entries:
        yield msgspec.json.encode(entry).decode() + "\n"


def as_csv(entries: Iterable[AuditEntry]) -> Iterator[str]:
    """Yield the entries as CSV with a heading, times in UTC as ISO 8601, and no cell that a spreadsheet would run."""
    yield _csv_line(COLUMNS)
    for entry in entries:
        moment = datetime.fromtimestamp(entry.time, timezone.utc).isoformat(timespec="milliseconds")
        detail = msgspec.json.encode(entry.detail).decode() if entry.detail else ""
        texts = (entry.who, entry.origin, entry.address, entry.action, entry.subject, detail)
        yield _csv_line((str(entry.seq), moment, *(_harmless(text or "") for text in texts)))


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _csv_line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


def _entry(row: Any) -> AuditEntry:
    values = dict(row._mapping)
    return AuditEntry(**{**values, "detail": msgspec.json.decode(values["detail"]) if values["detail"] else {}})
