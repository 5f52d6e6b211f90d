"""Output put into pieces."""

from __future__ import annotations

from agent.output import PIECE_BYTES, OutputPublisher
from gpumon.commands import MAX_OUTPUT_BYTES, RESULT_TAIL_BYTES, CommandOutput


class Published:
    def __init__(self) -> None:
        self.now = 0.0
        self.pieces: list[CommandOutput] = []
        self.output = OutputPublisher("c", self.pieces.append, lambda: self.now)

    @property
    def text(self) -> str:
        return "".join(piece.data for piece in self.pieces)


def test_the_first_output_is_due_at_once_and_the_next_after_100_ms() -> None:
    published = Published()
    published.output.write("stdout", b"a")
    assert published.output.flush_at is not None
    assert published.output.flush_at <= 0.0
    published.output.flush()
    published.output.write("stdout", b"b")
    assert published.output.flush_at == 0.1


def test_a_character_is_never_split_between_reads_nor_between_pieces() -> None:
    published = Published()
    text = "a" + "€" * PIECE_BYTES
    for position in range(0, len(text.encode()), 1000):
        published.output.write("stdout", text.encode()[position : position + 1000])
    published.output.finish()
    assert published.text == text
    assert all(len(piece.data.encode()) <= PIECE_BYTES for piece in published.pieces)


def test_both_streams_are_decoded_apart_and_numbered_together() -> None:
    published = Published()
    published.output.write("stdout", b"\xe2\x82")
    published.output.write("stderr", b"x\xe2")
    published.output.write("stdout", b"\xac")
    published.output.finish()
    assert [(piece.stream, piece.data, piece.seq) for piece in published.pieces] == [
        ("stderr", "x", 0),
        ("stdout", "€", 1),
        ("stderr", "\ufffd", 2),
    ]
    assert published.output.tail == "x€\ufffd"


def test_after_one_mebibyte_nothing_more_is_published_but_the_tail_goes_on() -> None:
    published = Published()
    published.output.write("stdout", b"\xff" * MAX_OUTPUT_BYTES)  # each replaced by three bytes
    published.output.write("stderr", b"the end")
    published.output.finish()
    assert published.output.truncated
    assert len(published.text.encode()) <= MAX_OUTPUT_BYTES
    assert set(published.text) == {"\ufffd"}
    assert published.output.tail.endswith("\ufffdthe end")
    assert RESULT_TAIL_BYTES - 2 <= len(published.output.tail.encode()) <= RESULT_TAIL_BYTES
    assert published.output.byte_counts == {"stdout": MAX_OUTPUT_BYTES, "stderr": 7}


def test_exactly_one_mebibyte_is_not_truncated() -> None:
    published = Published()
    published.output.write("stdout", b"x" * MAX_OUTPUT_BYTES)
    published.output.finish()
    assert not published.output.truncated
    assert len(published.text) == MAX_OUTPUT_BYTES
