"""A worker's token while its agent runs: what to do when the broker does not accept it any more."""

from __future__ import annotations

import logging
import threading
import time

from agent.identity import Identity, load_identity
from agent.joining import Joining
from agent.node import WorkerNode
from gpumon.address import BrokerAddress
from gpumon.errors import SettingError
from gpumon.log import OncePer
from gpumon.messages import Event
from gpumon.settings import Settings

logger = logging.getLogger(__name__)

REMIND_EACH_S = 600.0


class Login:
    """Finds another token for a worker whose own is refused, or says where to get one."""

    def __init__(self, settings: Settings, who: Identity, joining: Joining) -> None:
        self._settings = settings
        self._who = who
        self._joining = joining
        self._due = OncePer(REMIND_EACH_S)

    def renew(self, node: WorkerNode, address: BrokerAddress, stop: threading.Event) -> None:
        """Log in with what stands in the token file now, or with what joining once more gives.

        What the worker is at goes on: commands keep running, and their results wait.
        """
        has_joined = not self._has_other_token() and self._joining.join_again(address, stop)
        if self._has_other_token():
            self._who = load_identity(self._settings)
            if self._who.credentials is not None:
                node.log_in_with(self._who.credentials)
            if has_joined:
                tell_joined(node)
        elif self._settings.agent.username is None and self._due("refused"):
            logger.error(
                "%s is not let in any more: it was removed, or its token replaced; run `gpumon join-key --worker-id %s "
                "--replace` on the master, and start this agent again with --join - and the line that it prints",
                self._who.worker_id,
                self._who.worker_id,
            )

    def _has_other_token(self) -> bool:
        try:
            return load_identity(self._settings).credentials != self._who.credentials
        except SettingError:
            return False


def tell_joined(node: WorkerNode) -> None:
    """Publish that this worker has joined just now."""
    node.happened(Event(time=time.time(), kind="joined", text="joined with a join key"))
