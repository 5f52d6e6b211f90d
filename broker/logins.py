"""Log-ins: who guesses waits longer and longer, and hashing passwords delays nobody who has a token.

Two lanes. In the first every log-in is looked up, which for a worker's token, an API token or a join key is all there
is to do. Those that need a password hashed (50 ms, 64 MiB and, with argon2's defaults, all cores) go on to the second:
a bounded line for each address, which take turns, on threads of lower priority.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from broker.counters import BrokerCounters
from broker.fair_queue import FairQueue
from broker.limits import Failures, is_loopback
from broker.trust import Directory, SlowCheck
from gpumon.errors import GpumonError
from gpumon.roles import Principal

logger = logging.getLogger(__name__)

LOOKING_UP_AT_ONCE = 2
HASHING_AT_ONCE = 2
WAITING_FROM_EACH_ADDRESS = 8
WAITING_IN_ALL = 256
HASHING_NICENESS = 10

# Nobody's name is longer than 64 characters, nobody's password or token than 1,024.
MAX_NAME_CHARACTERS = 256
MAX_PASSWORD_CHARACTERS = 4096

# Failures that cost nothing, and the longest refusal (seconds) after more: passwords of one name from one address,
# passwords from an address, and everything from an address. Tokens count for the last alone: they cannot be guessed and
# cost little to look up, so that a tool with a wrong password locks out no agent beside it.
FREE_FOR_A_NAME, LONGEST_FOR_A_NAME_S = 5, 30.0
FREE_FOR_PASSWORDS, LONGEST_FOR_PASSWORDS_S = 20, 300.0
FREE_FOR_ALL, LONGEST_FOR_ALL_S = 200, 60.0


class LoginsLimitedError(GpumonError):
    """A log-in that was not looked at, because of those before it."""

    see = "troubleshooting.md#a-client-or-message-is-refused"


@dataclass(frozen=True, slots=True)
class _Waiting:
    address: str
    check: SlowCheck
    answer: asyncio.Future[Principal | None]


class LoginDesk:
    """Asks the directory who somebody is; belongs to one event loop."""

    def __init__(
        self, directory: Directory, counters: BrokerCounters, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._directory = directory
        self._counters = counters
        self._clock = clock
        self._of_name = Failures(FREE_FOR_A_NAME, LONGEST_FOR_A_NAME_S)
        self._of_passwords = Failures(FREE_FOR_PASSWORDS, LONGEST_FOR_PASSWORDS_S)
        self._of_all = Failures(FREE_FOR_ALL, LONGEST_FOR_ALL_S)
        self._line: FairQueue[_Waiting] = FairQueue(WAITING_FROM_EACH_ADDRESS, WAITING_IN_ALL)
        self._hashing = 0
        self._lookups = ThreadPoolExecutor(LOOKING_UP_AT_ONCE, thread_name_prefix="login")
        self._hashers = ThreadPoolExecutor(HASHING_AT_ONCE, thread_name_prefix="password", initializer=_be_nice)

    async def who_is(self, name: str, password: str, address: str) -> Principal | None:
        """Return who this is, None for a wrong name or password.

        Raises LoginsLimitedError: where it is refused unseen. Whatever the directory raises.
        """
        principal, is_guessable = None, True
        if 0 < len(name) <= MAX_NAME_CHARACTERS and 0 < len(password) <= MAX_PASSWORD_CHARACTERS:
            principal, is_guessable = await self._ask(name, password, address)
        key = (name[:MAX_NAME_CHARACTERS], address)
        if principal is not None:
            self._of_name.succeeded(key)
            return principal
        now = self._clock()
        self._counters.failed_logins += 1
        if is_guessable:
            self._of_name.failed(key, now)
        if not is_loopback(address):
            self._of_all.failed(address, now)
            if is_guessable:
                self._of_passwords.failed(address, now)
        return None

    def close(self) -> None:
        """End the threads; who waits is not answered any more."""
        while (waiting := self._line.take()) is not None:
            waiting.answer.cancel()
        for threads in (self._lookups, self._hashers):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, name: str, password: str, address: str) -> tuple[Principal | None, bool]:
        """Return who it is, and whether that is by a password, which could be guessed."""
        self._check(self._of_all, address)
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._lookups, self._directory.authenticate_quickly, name, password)
        if found is None or isinstance(found, Principal):
            return found, False
        self._check(self._of_name, (name, address))
        self._check(self._of_passwords, address)
        waiting = _Waiting(address, found, loop.create_future())
        # This machine's tools share one address, so there each name has a line of its own.
        line = (address, name) if is_loopback(address) else address
        given_up = self._line.put(line, waiting)
        if given_up is not None:
            self._refuse(given_up, "too many log-ins wait")
        self._hash_next(loop)
        return await waiting.answer, True

    def _check(self, failures: Failures, key: Hashable) -> None:
        wait_s = failures.wait_s(key, self._clock())
        if wait_s > 0:
            self._counters.limited_logins += 1
            raise LoginsLimitedError(f"failed to log in too often: refused for {wait_s:.0f} s")

    def _hash_next(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._hashing < HASHING_AT_ONCE and (waiting := self._line.take()) is not None:
            if waiting.answer.done():
                continue
            if self._of_passwords.wait_s(waiting.address, self._clock()) > 0:
                self._refuse(waiting, "failed to log in too often meanwhile")
                continue
            self._hashing += 1
            hashing = loop.run_in_executor(self._hashers, waiting.check)
            hashing.add_done_callback(partial(self._hashed, waiting))

    def _hashed(self, waiting: _Waiting, hashing: asyncio.Future[Principal | None]) -> None:
        self._hashing -= 1
        if not waiting.answer.done():
            if hashing.cancelled():
                waiting.answer.cancel()
            elif (error := hashing.exception()) is not None:
                waiting.answer.set_exception(error)
            else:
                waiting.answer.set_result(hashing.result())
        if not hashing.cancelled():
            self._hash_next(hashing.get_loop())

    def _refuse(self, waiting: _Waiting, why: str) -> None:
        self._counters.limited_logins += 1
        if not waiting.answer.done():
            waiting.answer.set_exception(LoginsLimitedError(f"{why}: refused for now"))


def _be_nice() -> None:
    """Leave the processors to the messages; on Linux priorities are a thread's own, and those it starts have its."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), HASHING_NICENESS)
    except OSError as error:
        logger.debug("passwords are hashed at the usual priority: %s", error)
