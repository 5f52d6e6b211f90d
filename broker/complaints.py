"""What clients do wrong, told in the log without letting them fill it."""

from __future__ import annotations

import logging
import time
from collections import Counter

from gpumon.log import OncePer

logger = logging.getLogger(__name__)

LINES_A_MINUTE = 20
MINUTE_S = 60.0


class Complaints:
    """Logs a problem once a minute for each kind of it and client, and a few lines a minute of each kind altogether.

    What is left out stands in the broker's counters, of which a line is logged each minute.
    """

    def __init__(self) -> None:
        self._due = OncePer(MINUTE_S)
        self._since = 0.0
        self._lines: Counter[str] = Counter()

    def __call__(self, kind: str, who: str, text: str, level: int = logging.WARNING) -> None:
        """Tell of a problem of this kind with this client."""
        now = time.monotonic()
        if now - self._since > MINUTE_S:
            self._since = now
            self._lines.clear()
        if self._lines[kind] < LINES_A_MINUTE and self._due(f"{kind} {who}"):
            self._lines[kind] += 1
            logger.log(level, "%s", text)
