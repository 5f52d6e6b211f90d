"""The two kinds of transaction, the same on every database: reading, and short writes, of which there is one at a time.

SQLite has one writer at a time by itself. On PostgreSQL a lock makes it so, since what is read within a write
transaction is relied on: that a name is free, that there is another admin, that a join key has a use left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sqlalchemy import Connection, Engine

_WRITES = "gpumon_writes"


@contextlib.contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Give a connection inside one write transaction, committed at the end; raises what SQLAlchemy raises."""
    with engine.connect() as connection:
        connection.execution_options(**{_WRITES: True})
        with connection.begin():
            yield connection


@contextlib.contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Give a connection to read with; raises what SQLAlchemy raises.

    On SQLite all that is read is of one moment; on PostgreSQL each statement is, which saves it two round trips.
    """
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execution_options(isolation_level="AUTOCOMMIT")
        yield connection


def is_to_write(connection: Connection) -> bool:
    """Tell whether the transaction that begins on this connection is one of `writing`."""
    return bool(connection.get_execution_options().get(_WRITES, False))
