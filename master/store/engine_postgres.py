"""PostgreSQL: a server that `database.url` names, reached by psycopg.

What it does differently from SQLite is kept here: who may write when, what is wrong with it, which errors pass. An
error is known by its SQLSTATE (PostgreSQL's documentation, appendix A); where a connection cannot be made there is
none, and the text of libpq says what it is.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from gpumon.database_address import FORM, DatabaseAddress
from gpumon.errors import GpumonError, SecretFileError, SettingError, StartError
from master.store.transactions import is_to_write

OLDEST = 130_000  # the first with pg_current_snapshot()
CONNECT_TIMEOUT_S = 5
LOCK_TIMEOUT_MS = 5_000
# What a client that is gone without a word may hold the writers' lock.
LONGEST_PAUSE_S = 60
# A connection that is not used for so long may have been forgotten by a firewall on the way.
RECYCLE_S = 1_800
KEPT_CONNECTIONS = 5
LONGEST_REASON = 300

# The advisory lock of whoever writes; any number would do that others do not use ("gpumon" in ASCII).
_WRITERS_LOCK = 0x6770756D6F6E

_PASSING_CLASSES = frozenset({"08", "25", "28", "3D", "40", "53", "55", "57", "58", "F0", "XX"})
# A row too large for an index or a page (54), a value that cannot be kept (22), a constraint (23).
_CLASSES_OF_THE_ROW = frozenset({"22", "23", "54"})
_STOPPING = frozenset({"57P01", "57P02", "57P03"})
_READ_ONLY = "25006"
_UNREADABLE_AS_TEXT = (OverflowError, UnicodeError)


class DatabasePasswordError(GpumonError):
    """No connection can be made, since the file with the password cannot be read."""

    see = "database.md#setting-it-up"


class PostgresDatabase:
    """The database at this address."""

    def __init__(self, address: DatabaseAddress) -> None:
        self._address = address

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return str(self._address)

    def identity(self) -> object | None:
        """Return what stays as it is: whether the server is there is seen when it is asked."""
        return self._address.url

    def open(self) -> Engine:
        """Return an engine; opens nothing yet. Raises SettingError: when psycopg is not installed.

        Its errors do not show what was to be written, which may be a password's hash.
        """
        kept = min(KEPT_CONNECTIONS, self._address.max_connections)
        try:
            engine = create_engine(
                "postgresql+psycopg://",
                pool_size=kept,
                max_overflow=self._address.max_connections - kept,
                pool_timeout=CONNECT_TIMEOUT_S,
                pool_pre_ping=True,
                pool_recycle=RECYCLE_S,
                isolation_level="READ COMMITTED",
                hide_parameters=True,
            )
        except ImportError as error:
            raise SettingError(
                f"database.url needs psycopg, which cannot be used here ({error}): pip install 'gpumon[postgres]'"
            ) from error
        event.listen(engine, "do_connect", self._address_connection)
        event.listen(engine, "connect", _configure_connection)
        event.listen(engine, "begin", _begin)
        event.listen(engine, "handle_error", _leave_read_only)
        return engine

    def make(self, engine: Engine) -> None:
        """See that gpumon can use the server. Raises StartError: when it cannot."""
        query = "SELECT current_setting('server_version_num')::int, current_setting('server_encoding')"
        with engine.connect() as connection:
            version, encoding = connection.exec_driver_sql(query).one()
        if version < OLDEST:
            raise StartError(f"database {self.name} is PostgreSQL {version // 10_000}: gpumon needs 13 or later")
        if encoding != "UTF8":
            raise StartError(
                f"database {self.name} keeps text as {encoding}: make another with createdb -T template0 -E UTF8"
            )

    @contextlib.contextmanager
    def migrating(self, engine: Engine) -> Iterator[Connection]:
        """Give a connection in a transaction that changes the schema, once nobody else writes or migrates.

        It waits for another master's migration as long as that takes.
        """
        with engine.connect() as connection, connection.begin():
            connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
            _take_writers_lock(connection)
            yield connection

    def is_of_the_row(self, error: Exception) -> bool:
        """Tell whether what was to be written is at fault, so that writing it again cannot help."""
        if isinstance(error, _UNREADABLE_AS_TEXT):
            return True
        state = _state(error)
        if state is not None:
            return state[:2] in _CLASSES_OF_THE_ROW
        # What psycopg refuses by itself, such as a NUL in a text, has no state.
        return type(getattr(error, "orig", None)).__name__ in ("DataError", "ProgrammingError")

    def is_passing(self, error: Exception) -> bool:
        """Tell whether the same statement may succeed later."""
        state = _state(error)
        return (state is None or state[:2] in _PASSING_CLASSES) and not self.is_of_the_row(error)

    def is_unmade(self, error: Exception) -> bool:
        """Tell whether no master has made the tables yet."""
        return _state(error) == "42P01"

    def reason(self, error: Exception) -> str:
        """Return the server's own words, without what was to be written, which its details would show."""
        original = getattr(error, "orig", None) or error
        said = getattr(getattr(original, "diag", None), "message_primary", None) or str(original)
        line = " ".join(said.split())
        return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}..."

    def problem(self, error: Exception) -> str:
        """Say in one line what is wrong with the database and what to do."""
        if isinstance(error, GpumonError):
            return f"database {self.name}: {error}"
        if isinstance(error, PoolTimeoutError):
            most = self._address.max_connections
            return (
                f"database {self.name}: all {most} connections are in use: it is slow, or database.max_connections low"
            )
        reason, state = self.reason(error), _state(error)
        told = self._without_a_state(reason) if state is None else self._by_state(state, reason)
        return f"database {self.name} {told}" if told else f"database {self.name}: {reason}"

    def _by_state(self, state: str, reason: str) -> str | None:
        user, name = self._address.user or "its user", self._address.name
        told = {
            _READ_ONLY: f"is read-only ({reason}), as a standby is: name the primary in database.url (with several "
            "hosts, add ?target_session_attrs=read-write)",
            "42501": f"refuses {user} what gpumon needs ({reason}): ALTER DATABASE {name} OWNER TO {user}, or grant it",
            "42P01": f"has no tables of this gpumon ({reason}): start gpumon master on it first",
            "53100": f"cannot grow, its server's disk is full ({reason}): free some space there",
            "55P03": f"is locked by another transaction for more than {LOCK_TIMEOUT_MS // 1000} s: pg_stat_activity "
            "shows by whose",
        }
        if state in told:
            return told[state]
        if state[:2] == "XX":
            return f"is damaged ({reason}): see its server's log, and put a backup in its place"
        if state in _STOPPING or state[:2] == "08":
            return f"does not answer now ({reason}): see that its server runs"
        return self._without_a_state(reason) if state[:2] in ("28", "3D", "53") else None

    def _without_a_state(self, reason: str) -> str | None:
        user, name = self._address.user or "its user", self._address.name
        told = {
            "no password supplied": f"wants a password of {user}: put it in a file of mode 0600, named in "
            "database.password_file",
            "password authentication failed": f"refuses {user}'s password: see the file in database.password_file, or "
            "PGPASSFILE",
            'database ".*" does not exist': f"is not there: make it on the server with createdb -O {user} -T template0 "
            f"-E UTF8 {name}",
            "too many (clients|connections)|connection slots": f"has no connection left ({reason}): raise "
            "max_connections there, or lower database.max_connections",
            "invalid (uri|connection option|integer|port)|invalid .* value": f"cannot be asked for ({reason}): check "
            f"database.url, {FORM}",
            "connection|server|timeout|host|ssl": f"does not answer now ({reason}): see that its server runs, and that "
            "database.url is right",
        }
        return next((text for pattern, text in told.items() if re.search(pattern, reason, re.IGNORECASE)), None)

    def _address_connection(self, _dialect: Any, _record: Any, words: list[Any], parameters: dict[str, Any]) -> None:
        """Have psycopg connect to the address; the password is read each time, since it may be changed meanwhile."""
        words[:] = [self._address.url]
        try:
            secret = self._address.secret()
        except SecretFileError as error:
            raise DatabasePasswordError(str(error)) from error
        if secret is not None:
            parameters["password"] = secret
        parameters.update(client_encoding="utf8", **_defaults(self._address.url))


def _defaults(url: str) -> dict[str, Any]:
    """Return libpq's parameters for what the URL leaves out: a server that is gone without a word is noticed."""
    values = {
        "application_name": "gpumon",
        "connect_timeout": CONNECT_TIMEOUT_S,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
    }
    return {name: value for name, value in values.items() if f"{name}=" not in url}


def _configure_connection(connection: Any, _record: Any) -> None:
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('lock_timeout', %s, false), "
            "set_config('idle_in_transaction_session_timeout', %s, false)",
            [f"{LOCK_TIMEOUT_MS}ms", f"{LONGEST_PAUSE_S}s"],
        )
    connection.autocommit = False


def _leave_read_only(context: ExceptionContext) -> None:
    """Connect anew where a server has become a standby: of several hosts, another is the primary now."""
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
        context.is_disconnect = True


def _begin(connection: Connection) -> None:
    if is_to_write(connection):
        _take_writers_lock(connection)


def _take_writers_lock(connection: Connection) -> None:
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})")


def _state(error: Exception) -> str | None:
    state: str | None = getattr(getattr(error, "orig", error), "sqlstate", None)
    return state
