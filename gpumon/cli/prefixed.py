"""Printing many workers' output as it comes: whole lines, each with its worker's name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TextIO

from gpumon.commands import CommandOutput, Stream

# A worker's output is shown in somebody else's terminal: control sequences that could rewrite it are taken out.
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]"
)


def printable(text: str) -> str:
    """Return `text` without terminal control sequences; line ends and tabs stay."""
    return _CONTROL.sub("", text.replace("\r\n", "\n"))


class LinePrinter:
    """Prints output under each worker's name; that of a single worker as it is, without a name."""

    def __init__(self, worker_ids: Sequence[str], stdout: TextIO, stderr: TextIO) -> None:
        self._width = max((len(worker_id) for worker_id in worker_ids), default=0)
        self._plain = len(worker_ids) == 1
        self._streams = {"stdout": stdout, "stderr": stderr}
        self._begun: dict[tuple[str, Stream], str] = {}

    def wrote(self, worker_id: str, output: CommandOutput) -> None:
        """Print the whole lines of a piece of output; what is begun waits for its end."""
        if self._plain:
            self._print(output.stream, printable(output.data))
            return
        key = (worker_id, output.stream)
        *lines, begun = (self._begun.get(key, "") + output.data).split("\n")
        self._begun[key] = begun
        for line in lines:
            self._print(output.stream, f"{worker_id:<{self._width}}  {printable(line)}\n")

    def ended(self, worker_id: str, said: str = "") -> None:
        """Print what the worker has begun and not ended with a newline, and what is said of its end."""
        for (owner, stream), begun in list(self._begun.items()):
            if owner == worker_id and begun:
                self._print(stream, f"{worker_id:<{self._width}}  {printable(begun)}\n")
                del self._begun[owner, stream]
        if said:
            print(said, file=self._streams["stderr"])

    def close(self) -> None:
        """Do nothing: what was begun is printed when its worker has ended."""

    def _print(self, stream: Stream, text: str) -> None:
        self._streams[stream].write(text)
        self._streams[stream].flush()
