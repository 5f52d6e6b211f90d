"""Load on the embedded broker: a fleet that publishes, one reader of all of it, and how long each message takes.

    python -m bench.broker_load --workers 1000 --interval-s 1 --payload-bytes 8192 --seconds 30

The broker runs in a process of its own, the fleet and its reader in this one; both are on one machine, so both have
the same clock (CLOCK_MONOTONIC). Log-in costs nothing here: what is measured is the broker.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import resource
import struct
import time
from collections.abc import Iterable
from multiprocessing.connection import Connection
from typing import cast

import psutil
import uvloop

from broker.fleet_broker import FleetBroker
from broker.limits import Limits
from broker.listener import open_listeners
from gpumon.roles import Principal, Role
from gpumon.topics import Topics

TOPICS = Topics()


class Everybody:
    """Takes any password: `reader` sees everything, everybody else is a worker."""

    def authenticate_quickly(self, username: str, _password: str) -> Principal:
        """Return a worker, or the reader."""
        return Principal(username, Role.VIEWER if username == "reader" else Role.WORKER)

    def outdated(self, _principals: Iterable[Principal]) -> set[Principal]:
        """Return nobody."""
        return set()


async def _broker(port: int, ready: Connection) -> None:
    broker = FleetBroker(open_listeners("mqtt", "127.0.0.1", port, "--port"), Everybody(), TOPICS, Limits())
    await broker.start()
    ready.send("listening")
    await asyncio.get_running_loop().run_in_executor(None, ready.recv)
    ready.send(broker.counters)
    await broker.shutdown()


def _run_broker(port: int, ready: Connection) -> None:
    _allow_many_files()
    uvloop.run(_broker(port, ready))


def _allow_many_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _text(value: str) -> bytes:
    return struct.pack("!H", len(value)) + value.encode()


def _packet(first: int, body: bytes) -> bytes:
    digits, length = bytearray(), len(body)
    while length > 0x7F:
        digits.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes((first, *digits, length)) + body


class Client(asyncio.Protocol):
    """As much of an MQTT client as the load needs; counts what it is sent, and how late."""

    def __init__(self, name: str, topic_filter: str) -> None:
        self.name = name
        self.latencies_s: list[float] = []
        self.subscribed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._filter = topic_filter
        self._buffer = bytearray()
        self.transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connect and subscribe."""
        self.transport = transport = cast("asyncio.WriteTransport", transport)
        body = _text("MQTT") + b"\4\xc2\0\x3c" + _text(f"load-{self.name}") + _text(self.name) + _text("x")
        transport.write(_packet(0x10, body) + _packet(0x82, b"\0\1" + _text(self._filter) + b"\0"))

    def data_received(self, data: bytes) -> None:
        """Take the whole packets out of what has come."""
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= 2:
            length, shift, at = 0, 0, start + 1
            while at < len(buffer):
                length |= (buffer[at] & 0x7F) << shift
                shift, at = shift + 7, at + 1
                if not buffer[at - 1] & 0x80:
                    break
            else:
                break
            if len(buffer) - at < length:
                break
            self._take(buffer[start] >> 4, memoryview(buffer)[at : at + length].tobytes())
            start = at + length
        del buffer[:start]

    def _take(self, kind: int, body: bytes) -> None:
        if kind == 9 and not self.subscribed.done():
            self.subscribed.set_result(None)
        elif kind == 3:
            at = 2 + int.from_bytes(body[:2], "big")
            self.latencies_s.append(time.monotonic() - struct.unpack_from("!d", body, at)[0])

    async def publish(self, interval_s: float, payload_bytes: int, start: float, end: float) -> int:
        """Publish at a steady beat from `start` to `end`; return how many messages were sent."""
        topic, filling = _text(f"gpumon/{self.name}/metrics"), bytes(payload_bytes - 8)
        loop, sent, due = asyncio.get_running_loop(), 0, start
        while due < end:
            await asyncio.sleep(due - loop.time())
            self.transport.write(_packet(0x31, topic + struct.pack("!d", time.monotonic()) + filling))
            sent, due = sent + 1, due + interval_s
        return sent


async def _fleet(port: int, arguments: argparse.Namespace, broker: psutil.Process) -> str:
    loop = asyncio.get_running_loop()

    async def connected(name: str, topic_filter: str) -> Client:
        _, client = await loop.create_connection(lambda: Client(name, topic_filter), "127.0.0.1", port)
        await client.subscribed
        return client

    reader = await connected("reader", "gpumon/+/metrics")
    began = loop.time()
    names = [f"w{number}" for number in range(arguments.workers)]
    workers = await asyncio.gather(*(connected(name, f"gpumon/{name}/cmd") for name in names))
    connecting_s = loop.time() - began
    start = loop.time() + 0.5
    step_s = arguments.interval_s / arguments.workers
    busy_before = sum(broker.cpu_times()[:2])
    sent = sum(
        await asyncio.gather(
            *(
                worker.publish(
                    arguments.interval_s, arguments.payload_bytes, start + index * step_s, start + arguments.seconds
                )
                for index, worker in enumerate(workers)
            )
        )
    )
    busy = (sum(broker.cpu_times()[:2]) - busy_before) / arguments.seconds
    for _ in range(500):
        if len(reader.latencies_s) >= sent:
            break
        await asyncio.sleep(0.01)
    late = sorted(reader.latencies_s)
    at = {percent: late[min(len(late) - 1, int(len(late) * percent / 100))] * 1000 for percent in (50, 99, 99.9)}
    return (
        f"{arguments.workers} workers connected and subscribed in {connecting_s:.2f} s; {sent} messages of "
        f"{arguments.payload_bytes} bytes at {sent / arguments.seconds:.0f}/s, {len(late)} arrived; latency "
        f"p50 {at[50]:.1f} ms, p99 {at[99]:.1f} ms, p99.9 {at[99.9]:.1f} ms, max {late[-1] * 1000:.1f} ms; "
        f"broker {busy:.0%} of a core, {broker.memory_info().rss / 2**20:.0f} MiB"
    )


def main() -> None:
    """Run the load and print one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--interval-s", type=float, default=1.0)
    parser.add_argument("--payload-bytes", type=int, default=8192)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--port", type=int, default=18830)
    arguments = parser.parse_args()
    _allow_many_files()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_run_broker, args=(arguments.port, theirs))
    process.start()
    ours.recv()
    try:
        print(uvloop.run(_fleet(arguments.port, arguments, psutil.Process(process.pid))))
        ours.send("stop")
        print(ours.recv())
        process.join(10)
    finally:
        process.terminate()


if __name__ == "__main__":
    main()
