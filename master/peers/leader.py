"""What must happen once in the whole installation: the one master that holds a lock in PostgreSQL does it.

The lock belongs to a connection and ends with it (PostgreSQL's documentation, 13.3.5), so that there are never two
holders. A holder that has lost its connection goes on until it hears that another leads: people are to be told of
alerts while the database is away, too.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable

from sqlalchemy import Connection

from gpumon.errors import StartError
from gpumon.log import OncePer
from master.store.engine import DATABASE_ERRORS, Store

logger = logging.getLogger(__name__)

LOOK_EACH_S = 1.0
# Any numbers would do that others do not use; the writers' lock is the one before ("gpumon" in ASCII).
_LEADERS_LOCK = 0x6770756D6F6E + 1
# Masters that share hold it together, one that shares with nobody holds it alone.
_MASTERS_LOCK = 0x6770756D6F6E + 2
# A leader whose machine has lost its power is noticed by the server within about 10 s.
_KEEPALIVES = (
    "SELECT set_config('tcp_keepalives_idle', '4', false), set_config('tcp_keepalives_interval', '2', false), "
    "set_config('tcp_keepalives_count', '3', false)"
)


class Presence:
    """A connection of its own that holds the lock by which a master is alone, or shares. Not safe to share."""

    def __init__(self, store: Store, *, shares: bool) -> None:
        self._store = store
        self._shares = shares
        self._connection: Connection | None = None
        self._due = OncePer(60.0)

    def hold(self) -> Connection | None:
        """Return the connection that holds the lock, None where other masters do not allow for it.

        Raises what SQLAlchemy raises.
        """
        if self._connection is not None:
            try:
                self._connection.exec_driver_sql("SELECT 1")
            except Exception:
                self.close()
                raise
            return self._connection
        connection = self._store.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            # Out of the pool for good: closing it must end its locks.
            connection.detach()
            connection.exec_driver_sql(_KEEPALIVES)
            kind = "_shared" if self._shares else ""
            taken = connection.exec_driver_sql(f"SELECT pg_try_advisory_lock{kind}({_MASTERS_LOCK})").scalar()
        except Exception:
            connection.close()
            raise
        if not taken:
            connection.close()
            return None
        self._connection = connection
        return connection

    def check(self) -> None:
        """See that this master may run beside those that there are. Raises StartError."""
        try:
            connection = self.hold()
        except DATABASE_ERRORS as error:
            raise StartError(self._store.database.problem(error)) from error
        if connection is None:
            name = self._store.database.name
            raise StartError(
                f"another master runs on database {name} without socketio.queue: end it, or set socketio.queue for both"
                if self._shares
                else f"another master runs on database {name}: end it, or have them share the fleet by setting "
                "broker.url, database.url and socketio.queue for both"
            )

    def hold_or_tell(self) -> None:
        """Hold the lock anew where the connection has ended; called now and then by a master that is alone."""
        try:
            connection = self.hold()
        except DATABASE_ERRORS:
            return  # the writer tells of a database that is away
        if connection is None and self._due("others"):
            logger.error(
                "another master runs on database %s: end one of the two, or have them share the fleet by setting "
                "broker.url, database.url and socketio.queue for both",
                self._store.database.name,
            )

    def close(self) -> None:
        """Let go; safe to call twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*DATABASE_ERRORS):
                connection.close()


class Leader:
    """Tries each second to be the one, in a thread of its own. Constructing it does nothing."""

    def __init__(
        self, store: Store, *, gained: Callable[[], None], lost: Callable[[], None], another_leads: Callable[[], bool]
    ) -> None:
        """Take what is called, in the leader's thread, when this master becomes the leader or is it no more."""
        self.leads = False
        self._store = store
        self._presence = Presence(store, shares=True)
        self._gained = gained
        self._lost = lost
        self._another_leads = another_leads
        self._has_lock = False
        self._is_stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._due = OncePer(60.0)

    def start(self) -> None:
        """Begin to try. Raises StartError: where a master that shares with nobody uses the database."""
        self._presence.check()
        self._is_stopping.clear()
        self._thread = threading.Thread(target=self._run, name="peers-leader", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop leading, and let another; safe to call twice."""
        self._is_stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self.leads:
            self.leads = False
            self._lost()
        self._presence.close()

    def _run(self) -> None:
        while not self._is_stopping.is_set():
            try:
                self._look()
            except Exception as error:
                self._has_lock = False
                if not isinstance(error, DATABASE_ERRORS):
                    logger.exception("the masters' leader could not be looked after; it is tried again")
                elif self._due("database"):
                    logger.warning("no leader of the masters can be chosen: %s", self._store.database.problem(error))
                if self.leads and self._another_leads():
                    self._step_down()
            self._is_stopping.wait(LOOK_EACH_S)

    def _look(self) -> None:
        had_lock = self._has_lock
        connection = self._presence.hold()
        if connection is None:
            if self._due("alone"):
                logger.error("another master runs on this database without socketio.queue: end it, or set it for both")
            return
        if not had_lock:
            self._has_lock = bool(connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({_LEADERS_LOCK})").scalar())
        if self._has_lock and not self.leads:
            self._gained()
            self.leads = True
            logger.info("this master leads: it tells people of alerts, and looks after what all masters share")
        elif self.leads and not self._has_lock:
            self._step_down()

    def _step_down(self) -> None:
        self.leads = False
        logger.info("another master leads now")
        self._lost()
