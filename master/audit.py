"""The audit: who did what, from where, on what. Rows are only ever added; the database refuses everything else."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, insert, select

from master.store.engine import Store
from master.store.models import AuditRow
from master.store.writer import Writer

Where = Literal["page", "api", "mqtt", "cli", "master"]
Detail = str | float | bool | Sequence[str] | Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something (None: not known), by which way in, and from which address where that is known."""

    who: str | None
    origin: Where
    address: str | None = None


# What gpumon does by itself, at its first start for instance.
BY_ITSELF = Actor(None, "master")


class AuditTrail:
    """Adds to the audit, from any thread and any process of the data folder."""

    def __init__(self, store: Store, writer: Writer | None = None) -> None:
        """Take the running master's writer where there is one; `add_soon` needs it."""
        self._store = store
        self._writer = writer

    def add(
        self,
        action: str,
        *,
        who: str | None,
        origin: Where,
        address: str | None = None,
        subject: str | None = None,
        **detail: Detail,
    ) -> None:
        """Add a row: `who` (None: not known) did `action` to `subject`; `detail` says the rest, never a secret.

        Raises StoreError: when it cannot be written, so that what is to be audited can be given up.
        """
        with self._store.write() as connection:
            add_entry(connection, Actor(who, origin, address), action, subject, **detail)

    def add_soon(self, by: Actor, action: str, subject: str | None = None, **detail: Detail) -> None:
        """Have a row added about what has happened already; it waits while the database cannot be written."""
        if self._writer is None:
            self.add(action, who=by.who, origin=by.origin, address=by.address, subject=subject, **detail)
        else:
            self._writer.append(AuditRow, _row(by, action, subject, detail))

    def add_once(self, by: Actor, action: str, subject: str, since: float, **detail: Detail) -> None:
        """Have a row added soon, unless the very same was since then (seconds since 1970), by another master perhaps.

        The running master's alone.
        """
        row = _row(by, action, subject, detail)
        same = [getattr(AuditRow, name) == row[name] for name in ("action", "subject", "detail")]
        there_is = select(AuditRow.seq).where(AuditRow.time >= since, *same).limit(1)

        def job(connection: Connection) -> bool:
            if connection.execute(there_is).first() is None:
                connection.execute(insert(AuditRow).values(row))
            return False

        if self._writer is not None:
            self._writer.run(job)


def add_entry(connection: Connection, by: Actor, action: str, subject: str | None = None, **detail: Detail) -> None:
    """Add a row in the transaction that does what it tells of, so that neither is there without the other."""
    connection.execute(insert(AuditRow).values(_row(by, action, subject, detail)))


def _row(by: Actor, action: str, subject: str | None, detail: Mapping[str, Detail]) -> dict[str, Any]:
    return {
        "time": time.time(),
        "who": by.who,
        "origin": by.origin,
        "address": by.address,
        "action": action,
        "subject": subject,
        "detail": msgspec.json.encode(detail).decode() if detail else None,
    }
