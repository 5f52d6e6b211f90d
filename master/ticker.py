"""What happens with time alone: one thread that calls, about once a second, whoever has to look at the clock."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from gpumon.log import OncePer

logger = logging.getLogger(__name__)

Task = Callable[[], None]


class Ticker:
    """Calls each task at its own interval, none before the first of them has passed; constructing it does nothing."""

    def __init__(self, resolution_s: float = 1.0, name: str = "ticker") -> None:
        self._resolution_s = resolution_s
        self._name = name
        self._tasks: list[tuple[float, Task]] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._due = OncePer(60.0)

    def every(self, interval_s: float, task: Task) -> None:
        """Call `task` every `interval_s` from the start on."""
        self._tasks.append((interval_s, task))

    def start(self) -> None:
        """Begin to call."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; safe to call twice."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        waited = [0.0] * len(self._tasks)
        while not self._stop.wait(self._resolution_s):
            for place, (interval_s, task) in enumerate(self._tasks):
                waited[place] += self._resolution_s
                if waited[place] >= interval_s:
                    waited[place] = 0.0
                    self._call(task)

    def _call(self, task: Task) -> None:
        try:
            task()
        except Exception:
            if self._due(repr(task)):
                logger.exception("a periodic task failed; it is called again")
