"""What masters tell each other over Redis, as MessagePack."""

from __future__ import annotations

import msgspec

from gpumon.errors import InvalidPayloadError


class Pulse(msgspec.Struct, frozen=True, tag=True):
    """A master hears itself over Redis, and so that it works; `run` is another at each of its starts."""

    run: str
    leads: bool


class Samples(msgspec.Struct, frozen=True, tag=True):
    """Samples that the sender got from the broker: worker and payload. `batch` rises by one each time."""

    batch: int
    samples: list[tuple[str, bytes]]


class Released(msgspec.Struct, frozen=True, tag=True):
    """The sender has let go of all workers that it does not keep among these masters."""

    masters: list[str]


class AlertTold(msgspec.Struct, frozen=True, tag=True):
    """An alert of a worker that the sender keeps is another than before (JSON, as it is kept)."""

    alert: bytes


class RulesChanged(msgspec.Struct, frozen=True, tag=True):
    """Rules or silences in the database are others than before."""


class Asked(msgspec.Struct, frozen=True, tag=True):
    """A question to one master; the answer carries its number."""

    number: str
    what: str
    body: bytes


class Answered(msgspec.Struct, frozen=True, tag=True):
    """The answer to a question, or why there is none."""

    number: str
    body: bytes
    problem: str | None = None


Message = Pulse | Samples | Released | AlertTold | RulesChanged | Asked | Answered


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """A message and the instance of the master that has sent it."""

    sender: str
    message: Message


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Envelope)


def packed(sender: str, message: Message) -> bytes:
    """Return what is sent."""
    return _encoder.encode(Envelope(sender, message))


def unpacked(data: bytes) -> Envelope:
    """Return what was sent. Raises InvalidPayloadError."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidPayloadError(f"not a message of a master: {error}") from error
