"""What happens in the master, as events on its bus; each says what changed, and who cares looks up the rest."""

from __future__ import annotations

from dataclasses import dataclass

from gpumon.commands import Stream
from gpumon.messages import Event, Metrics
from master.alerts.records import Alert
from master.records import CommandRecord


@dataclass(frozen=True, slots=True)
class WorkerChanged:
    """Anything of the worker's row in the fleet is different: status, sample, inventory, or its state with time."""

    worker_id: str


@dataclass(frozen=True, slots=True)
class WorkerRemoved:
    """The worker is no longer part of the fleet."""

    worker_id: str


@dataclass(frozen=True, slots=True)
class SampleArrived:
    """A live sample: the whole validated payload as it came, and when (master's clock, seconds since 1970)."""

    worker_id: str
    payload: bytes
    received: float


@dataclass(frozen=True, slots=True)
class ReadingsArrived:
    """A live sample as it was decoded: every one that is valid, late and repeated ones too."""

    worker_id: str
    metrics: Metrics
    received: float


@dataclass(frozen=True, slots=True)
class WorkerEventArrived:
    """A worker has told of something that happened to it."""

    worker_id: str
    event: Event
    received: float


@dataclass(frozen=True, slots=True)
class CommandChanged:
    """A command was created, one of its targets changed state, or it ended; at most each 100 ms a command."""

    command: CommandRecord


@dataclass(frozen=True, slots=True)
class OutputArrived:
    """A piece of a command's output, as it was written; `seq` rises over both streams of one target."""

    command_id: str
    worker_id: str
    seq: int
    stream: Stream
    data: str


@dataclass(frozen=True, slots=True)
class HistoryProblemChanged:
    """History is not being kept, for another reason than before, or is kept again (None)."""

    problem: str | None


@dataclass(frozen=True, slots=True)
class PeersProblemChanged:
    """The masters that share the fleet cannot work together, for another reason than before, or can again (None)."""

    problem: str | None


@dataclass(frozen=True, slots=True)
class BrokerLinkChanged:
    """The master's connection to the broker came, went, or has another problem."""

    connected: bool
    problem: str | None


@dataclass(frozen=True, slots=True)
class AlertChanged:
    """An alert fires, is resolved, was acknowledged or (not) silenced, or its value has changed.

    `is_told`: another master that shares the fleet has found it.
    """

    alert: Alert
    is_told: bool = False


@dataclass(frozen=True, slots=True)
class AlertRulesChanged:
    """Rules or silences are others than before; `is_told`: another master has changed them."""

    is_told: bool = False
