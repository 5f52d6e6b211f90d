"""A list of any length in the terminal: only the lines in sight are drawn, so a thousand workers cost what ten do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.binding import Binding
from textual.events import Click
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from gpumon.cli.top.columns import Column, Line

GAP = 2
_HEAD = Style(bold=True, reverse=True)
_CURSOR = Style(reverse=True)


class ListView(ScrollView, can_focus=True):
    """Columns of lines, with a cursor on one of them that stays with it when the order changes."""

    BINDINGS: ClassVar = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home", "move(-1000000)", "first", show=False),
        Binding("end", "move(1000000)", "last", show=False),
        Binding("enter", "choose", "open"),
    ]

    class Chosen(Message):
        """Somebody opens a line."""

        def __init__(self, line: Line) -> None:
            super().__init__()
            self.line = line

    class HeadClicked(Message):
        """Somebody clicks on a column's head."""

        def __init__(self, column: str) -> None:
            super().__init__()
            self.column = column

    def __init__(self) -> None:
        super().__init__()
        self._columns: Sequence[Column] = ()
        self._lines: Sequence[Line] = ()
        self._sorted_by = ("", False)
        self._fitted: dict[str, int] = {}
        self._cursor = 0
        self._key: str | None = None

    @property
    def current(self) -> Line | None:
        """The line under the cursor."""
        return self._lines[self._cursor] if self._lines else None

    def show(self, columns: Sequence[Column], lines: Sequence[Line], column: str, *, descending: bool) -> None:
        """Show these lines from now on."""
        self._columns, self._lines, self._sorted_by = columns, lines, (column, descending)
        self._fitted = {
            fitted.name: min(max([len(fitted.name) + 1, *(len(fitted.text(line)) for line in lines)]), fitted.width)
            for fitted in columns
            if fitted.fits
        }
        places = {line.key: place for place, line in enumerate(lines)} if self._key is not None else {}
        self._cursor = places.get(self._key or "", min(self._cursor, max(len(lines) - 1, 0)))
        self.virtual_size = Size(0, len(lines) + 1)
        self.refresh()

    def action_move(self, by: int) -> None:
        """Move the cursor."""
        if not self._lines:
            return
        self._cursor = min(max(self._cursor + by, 0), len(self._lines) - 1)
        self._key = self._lines[self._cursor].key
        self.scroll_to_region(Region(0, self._cursor, 1, 2), animate=False, force=True)
        self.refresh()

    def action_page(self, by: int) -> None:
        """Move the cursor by what is in sight."""
        self.action_move(by * max(self.size.height - 2, 1))

    def action_choose(self) -> None:
        """Open the line under the cursor."""
        if self.current is not None:
            self.post_message(self.Chosen(self.current))

    def on_click(self, event: Click) -> None:
        """Move the cursor to a clicked line, open it on the second click; sort by a clicked head."""
        if event.y == 0:
            column = self._column_at(event.x)
            if column is not None:
                self.post_message(self.HeadClicked(column))
            return
        place = self.scroll_offset.y + event.y - 1
        if not 0 <= place < len(self._lines):
            return
        was_there = place == self._cursor
        self.action_move(place - self._cursor)
        if was_there:
            self.action_choose()

    def render_line(self, y: int) -> Strip:
        """Return one line of the screen: the head stays, the lines scroll below it."""
        width = self.size.width
        if y == 0:
            return self._strip([(self._head(column), "") for column in self._columns], _HEAD, width)
        place = self.scroll_offset.y + y - 1
        if place >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        line, is_current = self._lines[place], place == self._cursor and self.has_focus
        cells = [(column.text(line), "" if is_current else column.style(line)) for column in self._columns]
        return self._strip(cells, _CURSOR if is_current else self.rich_style, width)

    def _head(self, column: Column) -> str:
        name, descending = self._sorted_by
        mark = ("▼" if descending else "▲") if column.name == name else ""
        return f"{column.name.upper()}{mark}"

    def _strip(self, cells: Sequence[tuple[str, str]], style: Style, width: int) -> Strip:
        whole = Text(no_wrap=True, end="")
        for column, (text, own_style), room in zip(self._columns, cells, self._widths(width), strict=True):
            cell = Text(text, style=own_style, no_wrap=True, end="")
            cell.truncate(room, overflow="ellipsis")
            cell.align("right" if column.is_number else "left", room)
            whole.append_text(cell).append(" " * GAP)
        whole.truncate(width, pad=True)
        return Strip(Segment.apply_style(whole.render(self.app.console), style), width)

    def _widths(self, width: int) -> list[int]:
        own = [self._fitted.get(column.name, column.width) for column in self._columns]
        taken = sum(room + GAP for column, room in zip(self._columns, own, strict=True) if not column.is_wide)
        rest = max(width - taken - GAP, 10)
        return [rest if column.is_wide else room for column, room in zip(self._columns, own, strict=True)]

    def _column_at(self, x: int) -> str | None:
        end = 0
        for column, width in zip(self._columns, self._widths(self.size.width), strict=True):
            end += width + GAP
            if x < end:
                return column.name
        return None
