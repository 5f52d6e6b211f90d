"""The answer to a scrape: gathered from the master, written, compressed, and shared by those who ask at once."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterator

from master.events import CommandChanged
from master.master import Master
from webui.metrics_cards import card_texts, cards_of
from webui.metrics_master import CommandCounts, MasterCollector, master_text
from webui.metrics_workers import worker_now, worker_texts

# An answer is shared for twice the time that making it took, so that scrapes, however many, never take all of a core.
SHARED_TIMES = 2.0
# The text repeats itself: the fastest level makes a small part of it, and the slower ones little less.
_LEVEL = 1
_AS_GZIP = 16 + zlib.MAX_WBITS
_CHUNK_BYTES = 64 * 1024


class Exposition:
    """Makes the answer to a scrape, one at a time, and once for all who ask at about the same time.

    It is kept compressed: 8,000 cards are about 45 MB of text.
    """

    def __init__(self, master: Master, connections: Callable[[], int], clock: Callable[[], float] = time.time) -> None:
        """Take the master, and what counts the live connections to the page."""
        self._master = master
        self._connections = connections
        self._clock = clock
        self._commands = CommandCounts()
        self._lock = threading.Lock()
        self._made = b""
        self._shared_until = float("-inf")

    def listen(self) -> None:
        """Count from now on how commands end."""
        self._master.bus.subscribe(CommandChanged, self._commands.command_changed)

    def gzipped(self) -> bytes:
        """Return everything as it is now, compressed."""
        with self._lock:
            began = time.monotonic()
            if began >= self._shared_until:
                squeeze = zlib.compressobj(_LEVEL, wbits=_AS_GZIP)
                parts = [squeeze.compress(text.encode()) for text in self._texts()]
                self._made = b"".join([*parts, squeeze.flush()])
                made = time.monotonic()
                self._shared_until = made + SHARED_TIMES * (made - began)
            return self._made

    def _texts(self) -> Iterator[str]:
        now = self._clock()
        workers = [worker_now(worker, now) for worker in self._master.fleet.workers()]
        yield master_text(MasterCollector(self._master, workers, self._commands, self._connections))
        yield from worker_texts(workers)
        yield from card_texts([card for each in workers if each.has_readings for card in cards_of(each.worker)])


def unpacked(made: bytes) -> Iterator[bytes]:
    """Return the text again, piece by piece."""
    unpack = zlib.decompressobj(_AS_GZIP)
    for start in range(0, len(made), _CHUNK_BYTES):
        yield unpack.decompress(made[start : start + _CHUNK_BYTES])
