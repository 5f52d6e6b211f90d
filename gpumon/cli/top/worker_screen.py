"""One worker in the terminal, live."""

from __future__ import annotations

import time
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static

from gpumon.cli.top.feed import FleetFeed
from gpumon.cli.top.worker_text import worker_text

DRAWN_EACH_S = 1.0


class WorkerScreen(Screen[None]):
    """One worker, live."""

    BINDINGS: ClassVar = [Binding("escape,backspace,left", "app.pop_screen", "back"), Binding("q", "app.quit", "quit")]

    def __init__(self, feed: FleetFeed, worker_id: str) -> None:
        super().__init__()
        self._feed = feed
        self._worker_id = worker_id

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        with VerticalScroll():
            yield Static(id="worker")
        yield Footer()

    def on_mount(self) -> None:
        """Draw, and again each second."""
        self.query_one(VerticalScroll).focus()
        self._draw()
        self.set_interval(DRAWN_EACH_S, self._draw)

    def _draw(self) -> None:
        worker = self._feed.worker(self._worker_id)
        gone = f"{self._worker_id} is not there any more"
        text = gone if worker is None else worker_text(worker, time.time(), max(self.size.width, 40))
        shown = Text(text, no_wrap=True)
        shown.highlight_regex(r"(?m)^ *(?:GPU|PID) .*$", "bold reverse")
        shown.highlight_regex(r"(?m)^▲ .*$", "bold yellow")
        self.query_one("#worker", Static).update(shown)
