"""Values that workers send and databases must be able to hold."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Dialect, Text, TypeDecorator

_MOST = 2**63 - 1


def fits(value: int | None) -> int | None:
    """Return the number, brought into the 64 bits that a column holds."""
    return None if value is None else max(-_MOST, min(value, _MOST))


class PlainText(TypeDecorator[str]):
    """Text that may hold what workers and browsers send: a NUL, which PostgreSQL has no room for, becomes U+FFFD there.

    So does one that is looked for.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Return what the database is given."""
        if dialect.name == "postgresql" and isinstance(value, str):
            return value.replace("\0", "\ufffd")
        return value
