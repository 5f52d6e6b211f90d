"""A target's output while its command runs: bounded, without repeats, in few pieces."""

from __future__ import annotations

from gpumon.commands import MAX_OUTPUT_BYTES, Stream
from master.records import OutputChunk


class OutputBuffer:
    """Collects output pieces of one target; a piece that is delivered again (QoS 1) is told by its `seq`."""

    def __init__(self, max_bytes: int = MAX_OUTPUT_BYTES) -> None:
        self.size_bytes = 0
        self.is_cut = False
        self._max_bytes = max_bytes
        self._last_seq = -1
        # Neighbouring pieces of one stream share an element: a command that writes byte by byte stays affordable.
        self._runs: list[tuple[int, Stream, list[str]]] = []

    def add(self, seq: int, stream: Stream, data: str, room_bytes: int) -> bool:
        """Take a piece; False where it was there before. What exceeds the bound, or `room_bytes`, is left out."""
        if seq <= self._last_seq:
            return False
        self._last_seq = seq
        size = len(data.encode(errors="replace"))
        if self.is_cut or size > min(self._max_bytes - self.size_bytes, room_bytes):
            self.is_cut = True
            return True
        self.size_bytes += size
        if self._runs and self._runs[-1][1] == stream:
            _, _, pieces = self._runs[-1]
            self._runs[-1] = (seq, stream, pieces)
            pieces.append(data)
        else:
            self._runs.append((seq, stream, [data]))
        return True

    def chunks(self) -> list[OutputChunk]:
        """Return everything taken so far, in order."""
        return [OutputChunk(seq, stream, "".join(pieces)) for seq, stream, pieces in self._runs]
