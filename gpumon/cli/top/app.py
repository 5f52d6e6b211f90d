"""The fleet in a terminal: sums above, a list of workers or cards below, and one worker when it is opened."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.screen import Screen
from textual.widgets import Footer, Input, Static

from gpumon.cli.top.feed import FleetFeed
from gpumon.cli.top.fleet import Order, View, sums
from gpumon.cli.top.list_view import ListView
from gpumon.cli.top.plain import NO_WORKER
from gpumon.cli.top.search import Search
from gpumon.cli.top.worker_screen import DRAWN_EACH_S, WorkerScreen


class TopApp(App[None]):
    """`gpumon top` where there is a terminal."""

    TITLE = "gpumon top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layout: vertical; background: ansi_default; color: ansi_default; }
    """

    def __init__(self, feed: FleetFeed, view: View) -> None:
        super().__init__(ansi_color=True)
        self._screen = FleetScreen(feed, view)

    def on_mount(self) -> None:
        """Show the fleet."""
        self.push_screen(self._screen)


class FleetScreen(Screen[None]):
    """The whole fleet, live."""

    CSS = """
    #sums { height: auto; max-height: 3; text-style: bold; }
    #told { height: auto; max-height: 2; }
    #search { height: 1; border: none; padding: 0; background: ansi_default; }
    ListView { height: 1fr; scrollbar-size: 1 1; }
    """
    BINDINGS: ClassVar = [
        Binding("q", "app.quit", "quit"),
        Binding("slash", "search", "search", key_display="/"),
        Binding("g", "cards", "workers/GPUs"),
        Binding("s", "sort(1)", "sort by"),
        Binding("S", "sort(-1)", "sort by, back", show=False),
        Binding("r", "reverse", "reverse"),
        Binding("escape", "clear", "all", show=False),
    ]

    def __init__(self, feed: FleetFeed, view: View) -> None:
        super().__init__()
        self._feed = feed
        self._view = view

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        yield Static(id="sums")
        yield Static(id="told")
        search = Input(self._view.search.text, placeholder="user:research temp>80 free label:rack=3", id="search")
        search.display = False
        yield search
        yield ListView()
        yield Footer()

    def on_mount(self) -> None:
        """Draw, and again each second."""
        self.query_one(ListView).focus()
        self._draw()
        self.set_interval(DRAWN_EACH_S, self._draw)

    def action_search(self) -> None:
        """Go to the search."""
        search = self.query_one("#search", Input)
        search.display = True
        search.focus()

    def action_clear(self) -> None:
        """Show everything again."""
        self.query_one("#search", Input).value = ""
        self._close_search()

    def action_cards(self) -> None:
        """Change between workers and cards."""
        changed = replace(self._view, is_cards=not self._view.is_cards)
        known = {column.name for column in changed.columns}
        self._view = changed if changed.order.column in known else replace(changed, order=Order())
        self._draw()

    def action_sort(self, by: int) -> None:
        """Sort by the next column, or the one before."""
        columns = self._view.columns
        place = next((p for p, column in enumerate(columns) if column.name == self._view.order.column), 0)
        self._sort_by(columns[(place + by) % len(columns)].name)

    def action_reverse(self) -> None:
        """Turn the order round."""
        order = self._view.order
        self._view = replace(self._view, order=replace(order, descending=not order.descending))
        self._draw()

    def on_list_view_head_clicked(self, event: ListView.HeadClicked) -> None:
        """Sort by the clicked column; once more turns it round."""
        if event.column == self._view.order.column:
            self.action_reverse()
        else:
            self._sort_by(event.column)

    def on_list_view_chosen(self, event: ListView.Chosen) -> None:
        """Open a worker."""
        self.app.push_screen(WorkerScreen(self._feed, event.line.row.id))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search while it is typed."""
        self._view = replace(self._view, search=Search(event.value))
        self._draw()

    def on_input_submitted(self) -> None:
        """Keep what is searched for, and go to the list."""
        self._close_search()

    def _sort_by(self, name: str) -> None:
        column = next(column for column in self._view.columns if column.name == name)
        self._view = replace(self._view, order=Order(name, descending=column.is_number))
        self._draw()

    def _close_search(self) -> None:
        search = self.query_one("#search", Input)
        search.display = bool(search.value)
        self.query_one(ListView).focus()

    def _draw(self) -> None:
        rows = self._feed.rows()
        view = self._view
        lines = view.of(rows)
        self.query_one("#sums", Static).update(Text(sums(rows)))
        self.query_one("#told", Static).update(Text(self._told(len(rows), len(lines)), style="bold yellow"))
        self.query_one(ListView).show(view.columns, lines, view.order.column, descending=view.order.descending)

    def _told(self, known: int, shown: int) -> str:
        problem = self._feed.problem
        if problem is not None:
            return f"▲ not connected to {self._feed.broker}: {problem}; what is shown is as old as it says"
        if known == 0:
            return NO_WORKER
        return "nothing matches" if shown == 0 else ""
