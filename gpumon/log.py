"""Logging: one structured line an event, `key=value` after the message, quiet by default and without secrets."""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import Any

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _LineFormatter(logging.Formatter):
    """`2026-01-31 12:00:00 WARNING master.ingest: message key=value`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        fields = " ".join(f"{key}={_quoted(value)}" for key, value in vars(record).items() if key not in _STANDARD)
        line = super().formatMessage(record).replace("\n", "\\n")
        return f"{line} {fields}" if fields else line


def _quoted(value: Any) -> str:
    text = str(value)
    return repr(text) if not text or any(character.isspace() or character == '"' for character in text) else text


def configure_logging(level: str) -> None:
    """Send the log to standard error from `level` (debug, info, warning, error) on; libraries speak from warning on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LineFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("gpumon", "broker", "agent", "master", "webui"):
        logging.getLogger(name).setLevel(level.upper())


class OncePer:
    """Lets a message about one thing through once per `interval_s`, so that a fault repeated all day is not a flood."""

    def __init__(self, interval_s: float = 60.0) -> None:
        self._interval_s = interval_s
        self._last: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, key: str) -> bool:
        """Tell whether a message about `key` is due now, and count it as given."""
        now = time.monotonic()
        with self._lock:
            if now - self._last.get(key, float("-inf")) < self._interval_s:
                return False
            if len(self._last) > 10_000:
                self._last.clear()
            self._last[key] = now
            return True
