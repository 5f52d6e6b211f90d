"""A join line that is pasted at a terminal or comes through a pipe."""

from __future__ import annotations

import contextlib
import sys

from gpumon.joining import LONGEST_LINE, JoinLineError, parse_join_line


def line_from_standard_input() -> str:
    """Return what is piped in, or at a terminal what is pasted, up to the end of a whole line or an empty one."""
    if sys.stdin is None or not sys.stdin.isatty():
        piped = sys.stdin.buffer.read(2 * LONGEST_LINE) if sys.stdin is not None else b""
        return piped.decode(errors="replace")
    print("Paste the line that `gpumon join-key` has printed, and press Enter:", file=sys.stderr)
    pasted = ""
    while (piece := sys.stdin.readline()).strip() and len(pasted) < LONGEST_LINE:
        pasted += piece
        with contextlib.suppress(JoinLineError):
            parse_join_line(pasted)
            break
    return pasted
