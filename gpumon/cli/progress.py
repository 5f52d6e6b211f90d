"""How far a command has come on many workers, in one line of a terminal that is written again and again."""

from __future__ import annotations

from typing import TextIO

from gpumon.commands import CommandOutput

BAR = 30
_CLEAR = "\r\x1b[K"


class Progress:
    """Counts the workers on which a command has ended; says so at a terminal, and nothing into a file or pipe."""

    def __init__(self, workers: int, stream: TextIO) -> None:
        self._workers = workers
        self._stream = stream
        self._is_shown = workers > 1 and stream.isatty()
        self._ended = 0

    def wrote(self, _worker_id: str, _output: CommandOutput) -> None:
        """Take no notice: output is shown at the end."""

    def ended(self, _worker_id: str, said: str = "") -> None:
        """Count one more, after what is said of it."""
        self._ended += 1
        self.close()
        if said:
            print(said, file=self._stream)
        full = BAR * self._ended // self._workers
        self._write(f"{_CLEAR}[{'#' * full}{'.' * (BAR - full)}] {self._ended} of {self._workers} have ended")

    def close(self) -> None:
        """Take the line away."""
        self._write(_CLEAR)

    def _write(self, text: str) -> None:
        if self._is_shown:
            self._stream.write(text)
            self._stream.flush()
