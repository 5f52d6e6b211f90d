"""One command on many workers over MQTT: who they are, what they write, how each ended."""

from __future__ import annotations

import queue
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gpumon.address import BrokerAddress
from gpumon.commands import Cancel, Command, CommandOutput, CommandResult
from gpumon.errors import GpumonError, InvalidPayloadError, InvalidTopicError
from gpumon.link import Credentials, InboundMessage, MqttLink
from gpumon.messages import Decoder, Info, decode_status, encode
from gpumon.topics import Channel, Topics

CONNECT_TIMEOUT_S = 10.0
# Retained messages come in one burst after the subscription; this long a silence ends it.
QUIET_S = 0.5
FIRST_ANSWER_TIMEOUT_S = 3.0
LOST_AFTER_S = 30.0


class RunError(GpumonError):
    """The command could not be sent."""

    see = "troubleshooting.md#a-command-is-not-run"


@dataclass(slots=True)
class WorkerRun:
    """What one worker has written so far, and how it ended (None while it has not)."""

    worker_id: str
    result: CommandResult | None = None
    chunks: dict[int, CommandOutput] = field(default_factory=dict)

    @property
    def output(self) -> str:
        """Everything written, in order."""
        return "".join(chunk.data for _, chunk in sorted(self.chunks.items()))


@dataclass(frozen=True, slots=True)
class Wrote:
    """A worker has written something."""

    worker_id: str
    output: CommandOutput


@dataclass(frozen=True, slots=True)
class Ended:
    """A worker's command has ended."""

    worker_id: str
    result: CommandResult


class FleetRun:
    """Finds the workers, sends them a command and tells what happens, until each has ended."""

    def __init__(
        self, address: BrokerAddress, credentials: Credentials | None, cafile: Path | None, topics: Topics
    ) -> None:
        self._link = MqttLink(address, f"gpumon-run-{secrets.token_hex(8)}", credentials, cafile)
        self._topics = topics
        self._statuses: dict[str, str] = {}
        self._labels: dict[str, Mapping[str, str]] = {}
        self._heard = time.monotonic()
        # A simple one: Ctrl-C in the middle of the other kind's `get` can leave it locked for good.
        self._arrivals: queue.SimpleQueue[Wrote | Ended] = queue.SimpleQueue()
        self._outputs = Decoder(CommandOutput)
        self._results = Decoder(CommandResult)
        self._infos = Decoder(Info)

    def start(self) -> None:
        """Connect and listen.

        Raises RunError: when the broker does not let this in within 10 s.
        """
        for channel, qos in ((Channel.STATUS, 1), (Channel.INFO, 1), (Channel.OUTPUT, 1), (Channel.RESULT, 1)):
            self._link.subscribe(self._topics.every_worker(channel), qos, self._received)
        self._link.start()
        if not self._link.wait_listening(CONNECT_TIMEOUT_S):
            raise RunError(self._link.problem or "the broker does not answer")
        self._heard = time.monotonic()

    def stop(self) -> None:
        """Disconnect."""
        self._link.stop()

    def online_workers(self, labels: Mapping[str, str] | None = None) -> list[str]:
        """Return the workers that are online, those with all these labels alone where some are given."""
        self._await_retained()
        wanted = (labels or {}).items()
        online = [worker_id for worker_id, status in self._statuses.items() if status == "online"]
        return sorted(
            worker_id for worker_id in online if all(self._labels.get(worker_id, {}).get(k) == v for k, v in wanted)
        )

    def missing(self, worker_ids: list[str]) -> dict[str, str]:
        """Return which of these workers cannot take a command now, and why."""
        deadline = time.monotonic() + FIRST_ANSWER_TIMEOUT_S
        while not all(worker_id in self._statuses for worker_id in worker_ids) and time.monotonic() < deadline:
            time.sleep(0.02)
        return {
            worker_id: "is offline" if worker_id in self._statuses else "is not known here"
            for worker_id in worker_ids
            if self._statuses.get(worker_id) != "online"
        }

    def send(self, command: Command, worker_ids: list[str]) -> None:
        """Send the command to each of the workers."""
        payload = encode(command)
        for worker_id in worker_ids:
            self._link.publish(self._topics.worker(worker_id, Channel.COMMAND), payload, qos=1)

    def cancel(self, command: Command, worker_ids: list[str]) -> None:
        """Ask these workers to end the command."""
        for worker_id in worker_ids:
            payload = encode(Cancel(id=command.id))
            self._link.publish(self._topics.worker(worker_id, Channel.COMMAND), payload, qos=1)

    def follow(self, command: Command, runs: Mapping[str, WorkerRun]) -> Iterator[Wrote | Ended]:
        """Yield what the workers write and how they end, each once, until all have or are given up as lost."""
        deadline = time.monotonic() + command.timeout_s + LOST_AFTER_S
        while any(run.result is None for run in runs.values()):
            try:
                arrival = self._arrivals.get(timeout=0.2)
            except queue.Empty:
                if time.monotonic() > deadline:
                    yield from self._given_up(command, runs)
                continue
            run = runs.get(arrival.worker_id)
            if run is None or run.result is not None:
                continue
            if isinstance(arrival, Wrote):
                if arrival.output.id == command.id and arrival.output.seq not in run.chunks:
                    run.chunks[arrival.output.seq] = arrival.output
                    yield arrival
            elif arrival.result.id == command.id:
                run.result = arrival.result
                yield arrival

    def _given_up(self, command: Command, runs: Mapping[str, WorkerRun]) -> Iterator[Ended]:
        problem = f"no result came within {command.timeout_s + LOST_AFTER_S:.0f} s"
        for run in runs.values():
            if run.result is None:
                run.result = CommandResult(id=command.id, command=command.command, state="lost", problem=problem)
                yield Ended(run.worker_id, run.result)

    def _await_retained(self) -> None:
        deadline = time.monotonic() + FIRST_ANSWER_TIMEOUT_S
        while time.monotonic() - self._heard < QUIET_S or (not self._statuses and time.monotonic() < deadline):
            time.sleep(0.02)

    def _received(self, message: InboundMessage) -> None:
        try:
            worker_id, channel = self._topics.read(message.topic)
            if channel is Channel.OUTPUT:
                self._arrivals.put(Wrote(worker_id, self._outputs.decode(message.payload)))
            elif channel is Channel.RESULT:
                self._arrivals.put(Ended(worker_id, self._results.decode(message.payload)))
            elif channel is Channel.STATUS:
                self._heard = time.monotonic()
                self._statuses[worker_id] = decode_status(message.payload)
            else:
                self._heard = time.monotonic()
                self._labels[worker_id] = self._infos.decode(message.payload).labels
        except (InvalidPayloadError, InvalidTopicError):
            return  # not for us: the master counts it and says so
