"""A wall clock that can be set wrong from outside, for the process that follows it.

libfaketime cannot do it: with its 0.9.10, sleeping fails in Python 3.11 and later (clock_nanosleep gets a moment that
has passed).
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

LOOK_EACH_S = 0.5


def follow(file: Path) -> None:
    """Let `time.time` be off by as many seconds as the file says, now and later."""
    really = time.time
    offset_s = [0.0]

    def look() -> None:
        while True:
            text = file.read_text().strip() if file.exists() else ""
            offset_s[0] = float(text or 0)
            time.sleep(LOOK_EACH_S)

    threading.Thread(target=look, name="shifted-clock", daemon=True).start()
    time.time = lambda: really() + offset_s[0]
