"""The command journal: which commands this worker has taken, so that each runs once and gets one result.

A file of JSON lines, only ever appended to while the agent runs:

    {"id": "c-81f3", "time": 1766500000.1, "command": "nvidia-smi -L", "by": "research"}
        taken; this is on disk before the command starts
    {"id": "c-81f3", "pid": 4242, "started": 8812345}
        its process, and when that one started (in the kernel's clock ticks)
    {"id": "c-81f3", "result": {...}}
        ended; this is on disk before the result is published
    {"id": "c-81f3", "delivered": true}
        the broker has the result

What that guarantees: a command whose id is known is never started again, also after a crash or a power cut. Every
command taken gets a result at least once, as soon as there is a broker. It is the same result twice only where the
agent died in the moment between the broker's acknowledgement and the last line.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path

import msgspec

from gpumon.commands import Command, CommandResult
from gpumon.errors import InvalidPayloadError, StartError
from gpumon.files import write_atomically
from gpumon.messages import Decoder, Message, encode

logger = logging.getLogger(__name__)

KEEP_IDS = 10_000
KEEP_DAYS = 30
COMPACT_ABOVE_BYTES = 8 * 1024 * 1024


class Entry(Message, frozen=True, omit_defaults=True):
    """One line of the journal; which fields are there says which kind it is."""

    id: str
    time: float | None = None
    command: str | None = None
    by: str | None = None
    pid: int | None = None
    started: int | None = None
    result: CommandResult | None = None
    delivered: bool = False


class Journal:
    """Remembers commands in one file. Thread-safe; `open()` reads what an earlier run has left."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._file: FileIO | None = None
        self._size = 0
        self._compact_above = COMPACT_ABOVE_BYTES
        self._is_torn = False
        self._taken: dict[str, float] = {}
        self._unfinished: dict[str, Entry] = {}
        self._undelivered: dict[str, CommandResult] = {}

    def open(self) -> None:
        """Read the journal and make it small.

        Raises StartError: when the file cannot be read or written. Lines that are damaged are left out and logged.
        """
        with self._lock:
            try:
                for entry in self._read():
                    self._apply(entry)
                self._compact()
            except OSError as error:
                raise StartError(f"command journal {self._path} cannot be used: {error.strerror}") from error

    def close(self) -> None:
        """Close the file; safe to call twice."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def knows(self, command_id: str) -> bool:
        """Tell whether a command of this id has been taken before."""
        with self._lock:
            return command_id in self._taken

    def take(self, commands: list[Command]) -> None:
        """Remember commands on disk, before any of them starts. Raises OSError: when that is not possible."""
        now = self._clock()
        self._append([Entry(id=each.id, time=now, command=each.command, by=each.by) for each in commands])

    def started(self, command_id: str, pid: int, started: int) -> None:
        """Remember the command's process, known by its id and start time; not worth waiting for the disk."""
        self._append([Entry(id=command_id, pid=pid, started=started)], sync=False)

    def ended(self, result: CommandResult) -> None:
        """Keep the result on disk until `delivered`. Raises OSError: when it is kept in memory alone."""
        self._append([Entry(id=result.id, time=self._clock(), result=result)])

    def delivered(self, command_id: str) -> None:
        """Forget the result: the broker has it."""
        self._append([Entry(id=command_id, delivered=True)], sync=False)

    def unfinished(self) -> list[Entry]:
        """Return the commands that were taken and have not ended, oldest first."""
        with self._lock:
            return list(self._unfinished.values())

    def undelivered(self) -> list[CommandResult]:
        """Return the results that the broker does not have yet, oldest first."""
        with self._lock:
            return list(self._undelivered.values())

    def _append(self, entries: list[Entry], *, sync: bool = True) -> None:
        with self._lock:
            for entry in entries:
                self._apply(entry)
            if self._file is None:
                raise OSError(errno.EBADF, "the journal is closed")
            lines = b"".join(encode(entry) + b"\n" for entry in entries)
            try:
                if self._file.write(b"\n" + lines if self._is_torn else lines) < len(lines):
                    raise OSError(errno.ENOSPC, "no space left")
                self._is_torn = False
                if sync:
                    os.fdatasync(self._file.fileno())
            except OSError:
                self._is_torn = True
                raise
            self._size += len(lines)
            if self._size > self._compact_above:
                self._compact()

    def _apply(self, entry: Entry) -> None:
        if entry.delivered:
            self._undelivered.pop(entry.id, None)
        elif entry.result is not None:
            self._taken.setdefault(entry.id, entry.time or 0.0)
            self._unfinished.pop(entry.id, None)
            self._undelivered[entry.id] = entry.result
        elif entry.command is not None:
            self._taken[entry.id] = entry.time or 0.0
            self._unfinished[entry.id] = entry
        elif entry.id in self._unfinished:
            taken = self._unfinished[entry.id]
            self._unfinished[entry.id] = msgspec.structs.replace(taken, pid=entry.pid, started=entry.started)
        else:
            self._taken[entry.id] = entry.time or 0.0

    def _read(self) -> Iterator[Entry]:
        if not self._path.exists():
            return
        decoder = Decoder(Entry)
        with self._path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield decoder.decode(line)
                except InvalidPayloadError:  # noqa: PERF203 - one damaged line must not cost the others
                    logger.warning("line %d of %s is damaged and left out", number, self._path)

    def _compact(self) -> None:
        """Write the file anew with what still matters: the latest ids, what is unfinished and what is undelivered."""
        oldest = self._clock() - KEEP_DAYS * 86400
        needed = self._unfinished.keys() | self._undelivered.keys()
        latest = list(self._taken.items())[-KEEP_IDS:]
        kept = {id_: taken for id_, taken in latest if taken >= oldest or id_ in needed}
        self._taken = {**{id_: self._taken.get(id_, oldest) for id_ in needed}, **kept}
        entries = [Entry(id=id_, time=taken) for id_, taken in self._taken.items() if id_ not in self._unfinished]
        entries += self._unfinished.values()
        entries += [Entry(id=id_, result=result) for id_, result in self._undelivered.items()]
        content = b"".join(encode(entry) + b"\n" for entry in entries)
        write_atomically(self._path, content)
        self._sync_folder()
        if self._file is not None:
            self._file.close()
        self._file = self._path.open("ab", buffering=0)
        self._size = len(content)
        self._compact_above = max(COMPACT_ABOVE_BYTES, 2 * self._size)

    def _sync_folder(self) -> None:
        """Make the new file's name survive a power cut, or what is appended to it would be lost with it."""
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
