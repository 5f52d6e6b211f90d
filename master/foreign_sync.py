"""Keeps the accounts at a foreign broker right while the master runs.

It compares everything when the master comes to the broker, and when accounts change, or what workers tell of themselves
(labels decide whom a limited operator may command, GPUs which discovery topics a worker has).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from sqlalchemy import Connection

from gpumon.errors import GpumonError
from gpumon.log import OncePer
from gpumon.roles import Principal
from master.account_snapshot import AccountSnapshot
from master.fleet import Fleet
from master.foreign_access import Drift, ForeignAccess
from master.foreign_roles import Told
from master.principals import stranger
from master.store.engine import Store

logger = logging.getLogger(__name__)

LOOK_EACH_S = 1.0
RETRY_AFTER_S = 5.0

_Seen = tuple[list[Principal], Mapping[str, Told]]


class ForeignSync:
    """A thread that looks once a second whether the broker must be told something, and tells it."""

    def __init__(
        self, access: ForeignAccess, store: Store, fleet: Fleet, leads: Callable[[], bool] = lambda: True
    ) -> None:
        """Take whether this is the one master that does so."""
        self._leads = leads
        self._access = access
        self._store = store
        self._fleet = fleet
        self._done: _Seen | None = None
        self._told: Drift | None = None
        self._due = OncePer(60.0)
        self._awake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="foreign-accounts")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and disconnect; safe to call twice, and where it was never started."""
        self._stopping = True
        self._awake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._access.stop()

    def compare(self) -> None:
        """Compare everything soon: the broker may have been replaced, or its file."""
        self._done = None
        self._awake.set()

    def set_right(self) -> Drift:
        """Compare everything now and set it right. Raises DynamicSecurityError, StoreError."""
        present = self._access.present()
        # Inside a write transaction, so that whoever has just told the broker of an account has committed it.
        with self._store.write() as connection:
            principals = read_principals(connection)
        told = self._told_by_workers()
        drift = self._access.set_right(present, principals, told)
        self._done = (principals, told)
        self._report(drift)
        return drift

    def _run(self) -> None:
        while not self._stopping:
            self._awake.clear()
            wait_s = LOOK_EACH_S
            try:
                if self._leads() and self._is_outdated():
                    self.set_right()
            except GpumonError as error:
                wait_s = RETRY_AFTER_S
                if self._due(str(error)):
                    logger.warning("accounts at the broker cannot be compared: %s", error)
            self._awake.wait(wait_s)

    def _is_outdated(self) -> bool:
        with self._store.read() as connection:
            principals = read_principals(connection)
        return self._done != (principals, self._told_by_workers())

    def _told_by_workers(self) -> dict[str, Told]:
        return {
            worker.id: Told(dict(worker.info.labels), tuple(gpu.uuid for gpu in worker.info.gpus))
            for worker in self._fleet.workers()
            if worker.info is not None
        }

    def _report(self, drift: Drift) -> None:
        if drift.removed:
            logger.info("accounts that are gone were shut out at the broker: %s", ", ".join(drift.removed))
        previous, self._told = self._told, drift
        if drift.missing and (previous is None or previous.missing != drift.missing):
            logger.warning(
                "accounts that cannot log in at the broker, which has not got their present password: %s; give people "
                "another with gpumon user passwd NAME, workers another token with gpumon worker rotate ID",
                ", ".join(drift.missing),
            )
        if drift.taken and (previous is None or previous.taken != drift.taken):
            logger.warning(
                "accounts whose name belongs at the broker to a client that gpumon has not made: %s; rename one of "
                "the two",
                ", ".join(drift.taken),
            )


def read_principals(connection: Connection) -> list[Principal]:
    """Return everybody who may log in at the broker now: people, workers, and join keys that let somebody in."""
    snapshot, now = AccountSnapshot.read(connection), time.time()
    keys = [stranger(key_id) for key_id, end in sorted(snapshot.keys.items()) if now < end]
    return [*snapshot.people.values(), *snapshot.workers.values(), *keys]
