"""Cuts off whoever would not be let in any more: a removed worker, a changed password, a role taken away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from broker.trust import Directory
from gpumon.log import OncePer
from gpumon.roles import Principal

logger = logging.getLogger(__name__)

INTERVAL_S = 1.0


class CutOff:
    """Asks the directory about everybody who is connected, again and again.

    A log-in that was answered just before an account changed is connected when the next question is asked, at the
    latest a second later. A directory that fails or is slow delays this alone.
    """

    def __init__(
        self,
        directory: Directory,
        connected: Callable[[], set[Principal]],
        close: Callable[[set[Principal]], None],
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._directory = directory
        self._connected = connected
        self._close = close
        self._interval_s = interval_s
        self._due = OncePer(60.0)

    async def run(self) -> None:
        """Ask until cancelled."""
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, thread_name_prefix="cut-off")
        try:
            while True:
                await asyncio.sleep(self._interval_s)
                principals = self._connected()
                if not principals:
                    continue
                try:
                    outdated = await loop.run_in_executor(thread, self._directory.outdated, principals)
                except Exception as error:  # noqa: BLE001 - whatever it raises, it is asked again
                    if self._due("outdated"):
                        logger.error("the accounts cannot be asked, nobody is cut off for now: %r", error)
                    continue
                if outdated:
                    self._close(outdated)
        finally:
            thread.shutdown(wait=False, cancel_futures=True)
