"""The audit: who did what, from where, on what. Rows are only ever added; the database refuses everything else."""

from __future__ import annotations

import time
from typing import Literal

import msgspec
from sqlalchemy import insert

from master.store.engine import Store
from master.store.models import AuditRow

Where = Literal["page", "api", "mqtt", "cli", "master"]


class AuditTrail:
    """Adds to the audit, from any thread and any process of the data folder."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(
        self,
        action: str,
        *,
        who: str | None,
        origin: Where,
        address: str | None = None,
        subject: str | None = None,
        **detail: str | float | bool | list[str] | None,
    ) -> None:
        """Add a row: `who` (None: not known) did `action` to `subject`; `detail` says the rest, never a secret.

        Raises StoreError: when it cannot be written, so that what is to be audited can be given up.
        """
        row = {
            "time": time.time(),
            "who": who,
            "origin": origin,
            "address": address,
            "action": action,
            "subject": subject,
            "detail": msgspec.json.encode(detail).decode() if detail else None,
        }
        with self._store.write() as connection:
            connection.execute(insert(AuditRow).values(row))
