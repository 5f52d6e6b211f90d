"""The line that says how far a command has come."""

from __future__ import annotations

import io

from gpumon.cli.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_told_how_many_have_ended_and_left_clean() -> None:
    terminal = Terminal()
    progress = Progress(3, terminal)
    for worker_id in ("a", "b"):
        progress.ended(worker_id)
    assert "[####################..........] 2 of 3 have ended" in terminal.getvalue()
    progress.close()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_a_file_and_a_single_worker_are_told_nothing() -> None:
    for stream, workers in ((io.StringIO(), 3), (Terminal(), 1)):
        progress = Progress(workers, stream)
        progress.ended("a")
        progress.close()
        assert stream.getvalue() == ""


def test_what_is_said_of_a_worker_stands_on_a_line_of_its_own() -> None:
    terminal = Terminal()
    progress = Progress(2, terminal)
    progress.ended("a")
    progress.ended("b", "b: exit code 3")
    assert "\r\x1b[Kb: exit code 3\n\r\x1b[K[####" in terminal.getvalue()
