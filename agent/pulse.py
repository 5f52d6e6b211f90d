"""How an agent lets a health check on its machine see that it works: a small file that it writes again and again."""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path

import msgspec

from gpumon.log import OncePer

logger = logging.getLogger(__name__)

BEAT_S = 10.0
# Two beats may be missed: a disk or a machine under load takes its time.
STOPPED_AFTER_S = 3 * BEAT_S
_FILE = "pulse.json"
_REMIND_S = 3600.0


class Beat(msgspec.Struct, frozen=True):
    """What stands in the file: when (seconds of CLOCK_MONOTONIC), and what keeps the agent from working."""

    beat_s: float
    problem: str | None = None


class Pulse:
    """The writing side. It is not worth a disk's synchronisation: after a crash it means nothing."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._last: Beat | None = None
        self._due = OncePer(_REMIND_S)

    def beat(self, problem: str | None) -> None:
        """Say how the agent is; to be called more often than every `BEAT_S`, and written at most so often."""
        now = time.monotonic()
        if self._last is not None and problem == self._last.problem and now - self._last.beat_s < BEAT_S:
            return
        self._last = Beat(now, problem)
        new = self._path.with_suffix(".new")
        try:
            new.write_bytes(msgspec.json.encode(self._last))
            new.replace(self._path)
        except OSError as error:
            if self._due("unwritable"):
                logger.warning("%s cannot be written, a health check will fail: %s", self._path, error.strerror)

    def end(self) -> None:
        """Take the file away: an agent that was stopped does not work."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def pulse_problem(agents: Path, worker_id: str | None) -> str | None:
    """Return what is wrong with the agent of this machine, None where it works.

    `agents` is the folder in which each agent has its own; without `worker_id` it is that which wrote last.
    """
    beats = [beat for path in agents.glob(f"{worker_id or '*'}/{_FILE}") if (beat := _read(path)) is not None]
    if not beats:
        return f"no agent that works keeps its data in {agents.parent}: it starts, waits to be let in, or has ended"
    last = max(beats, key=lambda beat: beat.beat_s)
    age_s = time.monotonic() - last.beat_s
    if not 0 <= age_s < STOPPED_AFTER_S:
        return "the agent has said nothing for too long: it was killed, or hangs"
    return last.problem


def _read(path: Path) -> Beat | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Beat)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
