"""What a row does not give way to: two masters that share a fleet write the same commands, each as far as it knows.

What has ended on a worker stays as it ended first, and what a person has run stays that person's, whichever of them
comes to write later.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Table, case, func, not_, or_

from master.records import DESK_ORIGINS, PRESUMED, UNFINISHED
from master.store.models import CommandRow, OutputRow, TargetRow, table_of


def values_of(table: Table, excluded: Any) -> dict[str, Any]:
    """Return what an existing row gets of one that is written in its place (`excluded`), by column."""
    values = {column.name: excluded[column.name] for column in table.columns if not column.primary_key}
    if table is table_of(CommandRow):
        is_a_persons = _is_any(table.c.origin, DESK_ORIGINS)
        for name in ("command", "by", "origin", "created", "timeout_s"):
            values[name] = case((is_a_persons, table.c[name]), else_=excluded[name])
        has_ended = func.coalesce(excluded.ended, table.c.ended)
        values["ended"] = case((is_a_persons, has_ended), else_=excluded.ended)
    return values


def condition_of(table: Table, excluded: Any) -> Any:
    """Return when an existing row is changed at all, None for always."""
    if table is table_of(TargetRow):
        # What was only presumed, since nothing was heard, gives way to what was.
        is_open = or_(_is_any(table.c.state, {*UNFINISHED, "lost"}), _is_any(table.c.problem, PRESUMED))
        falls_back = _is_any(excluded.state, UNFINISHED) & or_(table.c.state != "sent", excluded.state == "sent")
        return is_open & not_(falls_back)
    if table is table_of(OutputRow):
        return func.length(excluded.chunks) >= func.length(table.c.chunks)
    return None


def _is_any(column: Any, values: Collection[str]) -> Any:
    # With IN, many rows could not be written at once.
    return or_(*(column == value for value in sorted(values)))
