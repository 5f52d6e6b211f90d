"""MQTT packets, guided by coverage: `python -m tests.fuzz.atheris_packets -max_total_time=60`, where atheris is."""

from __future__ import annotations

import contextlib
import sys

import atheris  # type: ignore[import-untyped]

with atheris.instrument_imports(include=["broker", "gpumon"]):
    import asyncio

    from broker.connect_packet import ConnectRefusedError, decode_connect
    from broker.packets import (
        MalformedPacketError,
        Packet,
        PacketTooLargeError,
        decode_publish,
        decode_subscribe,
        decode_unsubscribe,
        read_packet,
    )

DECODERS = (decode_connect, decode_publish, decode_subscribe, decode_unsubscribe)


async def _first(data: bytes) -> Packet:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return await read_packet(reader, 4096, 4096)


def one_input(data: bytes) -> None:
    """Read a packet from the bytes, and take the bytes for the body of one of each kind."""
    with contextlib.suppress(MalformedPacketError, PacketTooLargeError, asyncio.IncompleteReadError):
        LOOP.run_until_complete(_first(data))
    if not data:
        return
    for decode in DECODERS:
        with contextlib.suppress(MalformedPacketError, ConnectRefusedError):
            decode(Packet(data[0] >> 4, data[0] & 0x0F, data[1:]))


LOOP = asyncio.new_event_loop()

if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
