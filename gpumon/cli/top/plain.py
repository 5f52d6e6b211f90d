"""The lists as text that a pipe, a mail or a script takes."""

from __future__ import annotations

from collections.abc import Sequence

from gpumon.cli.top.columns import CARD_COLUMNS, WORKER_COLUMNS, Column, Line
from gpumon.cli.top.fleet import sums
from webui.rows import FleetRow

NO_WORKER = "no worker is known to this broker yet: gpumon join-key on the master's machine makes a line that joins one"


def table(lines: Sequence[Line], rows: Sequence[FleetRow]) -> str:
    """Return the sums and a table, as wide as what is in it."""
    if not rows:
        return f"{NO_WORKER}\n"
    if not lines:
        return f"{sums(rows)}\n\nnothing matches\n"
    columns = WORKER_COLUMNS if lines[0].gpu is None else CARD_COLUMNS
    cells = [[column.name.upper() for column in columns]]
    cells += [[column.text(line) for column in columns] for line in lines]
    widths = [max(len(row[place]) for row in cells) for place in range(len(columns))]
    body = "".join(_joined(columns, row, widths) for row in cells)
    return f"{sums(rows)}\n\n{body}"


def _joined(columns: Sequence[Column], row: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        text.rjust(width) if column.is_number else text.ljust(width)
        for column, text, width in zip(columns, row, widths, strict=True)
    ]
    return "  ".join(padded).rstrip() + "\n"
