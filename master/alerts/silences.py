"""Silences: made by people, kept until they are over."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, select

from master.alerts.errors import AlertError
from master.alerts.records import Alert, Silence
from master.audit import Actor, add_entry
from master.store.engine import Store, upsert
from master.store.models import SilenceRow, table_of
from master.store.writer import Writer

logger = logging.getLogger(__name__)

LONGEST_S = 366 * 86_400.0
LONGEST_REASON = 500
MOST_SILENCES = 1000


class Silences:
    """All silences that are not over. Not safe to share: the desk's lock guards it."""

    def __init__(self, store: Store, writer: Writer) -> None:
        self._store = store
        self._writer = writer
        self._silences: dict[str, Silence] = {}

    def load(self, now: float) -> None:
        """Read those that are not over. Raises StoreError."""
        with self._store.read() as connection:
            rows = connection.execute(select(SilenceRow.id, SilenceRow.silence).where(SilenceRow.until > now)).all()
        self._silences = {row.id: silence for row in rows if (silence := _decoded(row)) is not None}

    def all(self, now: float) -> list[Silence]:
        """Return those that hold, the one that ends first before the others."""
        holding = [silence for silence in self._silences.values() if silence.until > now]
        return sorted(holding, key=lambda silence: (silence.until, silence.id))

    def covers(self, alert: Alert, now: float) -> bool:
        """Tell whether any of them silences an alert."""
        return any(silence.covers(alert, now) for silence in self._silences.values())

    def new(
        self,
        now: float,
        *,
        until: float,
        reason: str,
        by: Actor,
        rule: str | None,
        worker_id: str | None,
        gpu: str | None,
        labels: Mapping[str, str],
    ) -> Silence:
        """Return a new silence, not kept yet. Raises AlertError: for one that cannot be used."""
        if not isinstance(until, (int, float)) or not now < until <= now + LONGEST_S:
            raise AlertError(f"a silence cannot end at {until!r}: give a time from now on, within a year")
        if len(reason) > LONGEST_REASON:
            raise AlertError(f"the reason has {len(reason)} characters, {LONGEST_REASON} at most are kept")
        if len(self._silences) >= MOST_SILENCES:
            raise AlertError(f"there are {MOST_SILENCES} silences already: end some first")
        return Silence(
            f"s-{secrets.token_hex(8)}",
            created=now,
            until=float(until),
            by=by.who or by.origin,
            reason=reason,
            rule=rule,
            worker_id=worker_id,
            gpu=gpu,
            labels=dict(labels),
        )

    def find(self, silence_id: str, now: float) -> Silence:
        """Return one that holds. Raises AlertError."""
        found = self._silences.get(silence_id)
        if found is None or found.until <= now:
            raise AlertError(f"there is no silence {silence_id!r}: it has ended already, or never was")
        return found

    def write(self, connection: Connection, silence: Silence, by: Actor, *, has_ended: bool = False) -> None:
        """Write one within a transaction, with its entry in the audit; `take` takes it up."""
        row = {
            "id": silence.id,
            "until": silence.until,
            "silence": msgspec.json.encode(silence).decode(),
        }
        connection.execute(upsert(connection.dialect.name, table_of(SilenceRow)).values(row))
        matching = {"rule": silence.rule, "worker": silence.worker_id, "gpu": silence.gpu, "labels": silence.labels}
        detail = {key: value for key, value in matching.items() if value}
        add_entry(
            connection,
            by,
            "silence.ended" if has_ended else "silence.made",
            silence.id,
            until=silence.until,
            reason=silence.reason,
            **detail,
        )

    def take(self, silence: Silence, now: float) -> None:
        """Take up one that was written."""
        if silence.until > now:
            self._silences[silence.id] = silence
        else:
            self._silences.pop(silence.id, None)

    def let_go(self, now: float) -> None:
        """Let go of those that are over."""
        for silence_id in [each.id for each in self._silences.values() if each.until <= now]:
            del self._silences[silence_id]

    def prune(self, before: float) -> None:
        """Delete those that ended before then (seconds since 1970)."""

        def job(connection: Connection) -> bool:
            connection.execute(delete(SilenceRow).where(SilenceRow.until < before))
            return False

        self._writer.run(job)


def ended(silence: Silence, now: float) -> Silence:
    """Return a silence that ends now."""
    return replace(silence, until=now)


def _decoded(row: Any) -> Silence | None:
    try:
        return msgspec.json.decode(row.silence, type=Silence)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        logger.warning("silence %s cannot be read any more and is passed over: %s", row.id, error)
        return None
