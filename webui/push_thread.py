"""The thread beneath every pusher: it sleeps until something is noted, pushes that, and ends when it is told to."""

from __future__ import annotations

import threading


class PushThread:
    """Base of the pushers: what is noted is kept under `_wake`, which is notified; `_run` pushes it until it stops."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._wake = threading.Condition()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to push."""
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop pushing."""
        with self._wake:
            self._stopping.set()
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        raise NotImplementedError
