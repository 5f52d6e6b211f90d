"""A command's output on its way out: decoded, put into pieces, bounded, and its tail kept for the result."""

from __future__ import annotations

import codecs
import time
from collections import deque
from collections.abc import Callable

from gpumon.commands import MAX_OUTPUT_BYTES, RESULT_TAIL_BYTES, CommandOutput, Stream

FLUSH_INTERVAL_S = 0.1
PIECE_BYTES = 16 * 1024

_utf8_decoder = codecs.getincrementaldecoder("utf-8")


class OutputPublisher:
    """Publishes what a command writes, at most one piece each 100 ms unless there is more than 16 KiB.

    Each stream is decoded by itself as UTF-8; a character is never split, bytes that are none are replaced. Sizes are
    those of the decoded text in UTF-8, but `byte_counts`, which has what the command wrote. After `max_bytes` nothing
    more is published (`truncated`), but counted and kept for the tail all the same. For use by one thread.
    """

    def __init__(
        self,
        command_id: str,
        publish: Callable[[CommandOutput], None],
        clock: Callable[[], float] = time.monotonic,
        max_bytes: int = MAX_OUTPUT_BYTES,
    ) -> None:
        self.byte_counts: dict[Stream, int] = {"stdout": 0, "stderr": 0}
        self.truncated = False
        self._command_id = command_id
        self._publish = publish
        self._clock = clock
        self._decoders = {stream: _utf8_decoder("replace") for stream in self.byte_counts}
        self._seq = 0
        self._room = max_bytes
        self._tail_room = min(RESULT_TAIL_BYTES, max_bytes)
        self._pending: list[tuple[Stream, bytearray]] = []
        self._pending_bytes = 0
        self._last_flush = float("-inf")
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0

    @property
    def flush_at(self) -> float | None:
        """When what is pending should be published, on the monotonic clock; None where nothing is."""
        return self._last_flush + FLUSH_INTERVAL_S if self._pending else None

    @property
    def tail(self) -> str:
        """The last 64 KiB of both streams (or `max_bytes`), in the order in which they were read."""
        return _last(b"".join(self._tail), self._tail_room).decode()

    def write(self, stream: Stream, data: bytes) -> None:
        """Take what the command has written."""
        self.byte_counts[stream] += len(data)
        self._add(stream, self._decoders[stream].decode(data))

    def flush(self) -> None:
        """Publish what is pending."""
        for stream, text in self._pending:
            while text:
                piece = _first(text, PIECE_BYTES)
                self._publish(
                    CommandOutput(id=self._command_id, seq=self._seq, stream=stream, data=bytes(piece).decode())
                )
                self._seq += 1
                del text[: len(piece)]
        self._pending.clear()
        self._pending_bytes = 0
        self._last_flush = self._clock()

    def finish(self) -> None:
        """Publish the rest, half a character at the end included (replaced)."""
        for stream, decoder in self._decoders.items():
            self._add(stream, decoder.decode(b"", final=True))
        self.flush()

    def _add(self, stream: Stream, decoded: str) -> None:
        if not decoded:
            return
        text = decoded.encode()
        self._keep_tail(text)
        if self.truncated:
            return
        if len(text) > self._room:
            self.truncated = True
            text = _first(text, self._room)
        self._room -= len(text)
        if self._pending and self._pending[-1][0] == stream:
            self._pending[-1][1].extend(text)
        else:
            self._pending.append((stream, bytearray(text)))
        self._pending_bytes += len(text)
        if self._pending_bytes >= PIECE_BYTES:
            self.flush()

    def _keep_tail(self, text: bytes) -> None:
        self._tail.append(text)
        self._tail_bytes += len(text)
        while self._tail_bytes - len(self._tail[0]) >= self._tail_room:
            self._tail_bytes -= len(self._tail.popleft())


def _is_inside_character(byte: int) -> bool:
    return byte & 0xC0 == 0x80  # RFC 3629 section 3: bytes after a character's first are 10xxxxxx


def _first(text: bytes | bytearray, limit: int) -> bytes:
    """Return as much of the beginning as fits, ending where a character does."""
    end = min(limit, len(text))
    while 0 < end < len(text) and _is_inside_character(text[end]):
        end -= 1
    return bytes(text[:end])


def _last(text: bytes, limit: int) -> bytes:
    """Return as much of the end as fits, beginning where a character does."""
    start = max(len(text) - limit, 0)
    while start < len(text) and _is_inside_character(text[start]):
        start += 1
    return text[start:]
