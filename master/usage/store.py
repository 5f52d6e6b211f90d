"""What is kept of usage: a row an hour, user and place, and of days that are over (UTC) a row a day besides.

The hours of the last two months answer for any time zone; days answer quickly, and alone for what is older.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Connection, case, delete, func, insert, literal, select

from master.history.store import give_surplus_back
from master.store.engine import Store
from master.store.models import UsagePlaceRow, UsageRow, UsageUserRow, table_of
from master.store.writer import Writer
from master.usage.amounts import COLUMNS, Amounts, from_kept, to_kept
from master.usage.book import HOUR_S
from master.usage.names import NOBODY, Place, labels_text, number_of

DAY_S = 86_400
# Hours are kept for two whole months in any time zone.
HOURS_KEPT_S = 64 * DAY_S

_SUMS = [func.sum(getattr(UsageRow, name)) for name in COLUMNS]
_NOBODY = number_of(NOBODY)


class UsageStore:
    """Keeps usage through the writer, and adds up what was asked for."""

    def __init__(self, store: Store, writer: Writer) -> None:
        self._store = store
        self._writer = writer

    @property
    def problem(self) -> str | None:
        """Why nothing can be written, None while it can."""
        return self._writer.problem

    def keep(self, lines: Iterable[tuple[int, Place, str, Amounts]]) -> None:
        """Keep the amounts of hours as far as they have come, in place of what was kept of them."""
        places: dict[int, tuple[Place, int]] = {}
        users: dict[str, int] = {}
        for hour, at, user, amounts in lines:
            places[at.number] = (at, max(hour, places.get(at.number, (at, 0))[1]))
            users[user] = max(hour, users.get(user, 0))
            key = {"step_s": HOUR_S, "start": hour, "user_id": number_of(user), "place_id": at.number}
            self._writer.put(UsageRow, {**key, **to_kept(amounts)})
        for at, hour in places.values():
            row = {"worker_id": at.worker_id, "model": at.model, "labels": labels_text(at.labels)}
            self._writer.put(UsagePlaceRow, {"id": at.number, **row, "seen": hour})
        for user, hour in users.items():
            self._writer.put(UsageUserRow, {"id": number_of(user), "name": user, "seen": hour})

    def hours_since(self, start: int) -> list[tuple[int, Place, str, Amounts]]:
        """Return all lines of hours from then on. Raises StoreError."""
        columns = [getattr(UsageRow, name) for name in COLUMNS]
        query = select(UsageRow.start, UsageRow.place_id, UsageRow.user_id, *columns).where(
            UsageRow.step_s == HOUR_S, UsageRow.start >= start
        )
        with self._store.read() as connection:
            found = list(connection.execute(query))
            if not found:
                return []
            places, users = _places(connection), _users(connection)
        return [
            (row[0], places[row[1]], users[row[2]], from_kept(row[3:]))
            for row in found
            if row[1] in places and row[2] in users
        ]

    def places(self) -> dict[int, Place]:
        """Return all places of which there is usage, by number. Raises StoreError."""
        with self._store.read() as connection:
            return _places(connection)

    def users(self) -> dict[int, str]:
        """Return the names of all users of whom there is usage, by number. Raises StoreError."""
        with self._store.read() as connection:
            return _users(connection)

    def reach(self) -> tuple[int | None, int]:
        """Return from when on there are hours (None: none), and up to when there are days (0). Raises StoreError."""
        with self._store.read() as connection:
            first = connection.execute(select(func.min(UsageRow.start)).where(UsageRow.step_s == HOUR_S)).scalar()
            return first, days_end(connection)

    def by_user(self, step_s: int, start: int, end: int, without: Iterable[int]) -> list[tuple[int, Amounts]]:
        """Return what each user (by number) has in rows of `step_s` that begin within [start, end). Raises StoreError.

        `without` are hours to leave out.
        """
        query = select(UsageRow.user_id, *_SUMS).where(*_within(step_s, start, end, without)).group_by(UsageRow.user_id)
        with self._store.read() as connection:
            return [(row[0], from_kept(row[1:])) for row in connection.execute(query)]

    def by_place(
        self, step_s: int, start: int, end: int, without: Iterable[int], user: str | None, *, apart: bool
    ) -> list[tuple[int, int, Amounts]]:
        """Return the same for each place and user, of one user alone where one is named. Raises StoreError.

        Where users need not be told `apart`, all of them stand for one (0), and nobody for himself.
        """
        who = UsageRow.user_id if apart else case((UsageRow.user_id == _NOBODY, _NOBODY), else_=0)
        conditions = _within(step_s, start, end, without)
        if user is not None:
            conditions.append(UsageRow.user_id == number_of(user))
        query = select(UsageRow.place_id, who.label("who"), *_SUMS).where(*conditions).group_by("place_id", "who")
        with self._store.read() as connection:
            return [(row[0], row[1], from_kept(row[2:])) for row in connection.execute(query)]

    def make_days(self, over: int, again: Iterable[int], done: Callable[[int], None]) -> None:
        """Add up the days `again`, and all that end by `over` and were not yet; then tell up to when it is done."""
        left = list(again)

        def job(connection: Connection) -> bool:
            day = left[-1] if left else next_day(connection)
            if day is None or day + DAY_S > over:
                done(over)
                return False
            make_day(connection, day)
            if left:
                left.pop()
            return True

        self._writer.run(job)

    def prune(self, hours_before: int, days_before: int) -> None:
        """Delete hours and days that begin before these moments, a part at a time, and give their space back."""

        def job(connection: Connection) -> bool:
            # Hours are needed until their day has been made of them.
            for step_s, before in ((HOUR_S, min(hours_before, days_end(connection))), (DAY_S, days_before)):
                these = (UsageRow.step_s == step_s, UsageRow.start < before)
                oldest = connection.execute(select(func.min(UsageRow.start)).where(*these)).scalar()
                if oldest is not None:
                    connection.execute(delete(UsageRow).where(UsageRow.step_s == step_s, UsageRow.start == oldest))
                    return True
            for model in (UsagePlaceRow, UsageUserRow):
                connection.execute(delete(model).where(model.seen < days_before))
            return give_surplus_back(connection)

        self._writer.run(job)


def days_end(connection: Connection) -> int:
    """Return the end of the newest day that was made, 0 where there is none."""
    newest = connection.execute(select(func.max(UsageRow.start)).where(UsageRow.step_s == DAY_S)).scalar()
    return 0 if newest is None else int(newest) + DAY_S


def next_day(connection: Connection) -> int | None:
    """Return the first day with hours of which no day was made yet."""
    query = select(func.min(UsageRow.start)).where(UsageRow.step_s == HOUR_S, UsageRow.start >= days_end(connection))
    first = connection.execute(query).scalar()
    return None if first is None else int(first) // DAY_S * DAY_S


def make_day(connection: Connection, day: int) -> None:
    """Add up the hours of a day, in place of what was added up before."""
    connection.execute(delete(UsageRow).where(UsageRow.step_s == DAY_S, UsageRow.start == day))
    hours = (
        select(literal(DAY_S), literal(day), UsageRow.user_id, UsageRow.place_id, *_SUMS)
        .where(*_within(HOUR_S, day, day + DAY_S, ()))
        .group_by(UsageRow.user_id, UsageRow.place_id)
    )
    table = table_of(UsageRow)
    connection.execute(insert(table).from_select(["step_s", "start", "user_id", "place_id", *COLUMNS], hours))


def _within(step_s: int, start: int, end: int, without: Iterable[int]) -> list[Any]:
    conditions = [UsageRow.step_s == step_s, UsageRow.start >= start, UsageRow.start < end]
    left_out = [hour for hour in without if step_s == HOUR_S and start <= hour < end]
    if left_out:
        conditions.append(UsageRow.start.not_in(left_out))
    return conditions


def _places(connection: Connection) -> dict[int, Place]:
    rows = connection.execute(select(table_of(UsagePlaceRow)))
    return {row.id: Place(row.worker_id, row.model, json.loads(row.labels), row.id) for row in rows}


def _users(connection: Connection) -> dict[int, str]:
    return {row.id: row.name for row in connection.execute(select(table_of(UsageUserRow)))}
