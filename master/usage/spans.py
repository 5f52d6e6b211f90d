"""From samples to spans: each sample tells of the time since the one before it, unless that was too long ago."""

from __future__ import annotations

from dataclasses import dataclass

from gpumon.messages import GpuReading, Metrics
from master.history.placing import SampleClock
from master.usage.energy import joules
from master.worker import CLOCK_TOLERANCE_S, sample_patience_s

# Cards of a worker that are followed at once: a machine has up to 16, and a worker that invents ids must end somewhere.
MAX_CARDS = 512


@dataclass(frozen=True, slots=True)
class Span:
    """A card from `start` to `end` (seconds since 1970), as the sample at the end says; energy None: not known."""

    gpu: GpuReading
    start: float
    end: float
    energy_j: float | None


class WorkerSpans:
    """What is remembered of one worker's cards: when each was last told of, and its energy counter then."""

    __slots__ = ("_cards", "_clock", "_received")

    def __init__(self) -> None:
        self._clock = SampleClock()
        self._received = float("-inf")
        self._cards: dict[str, tuple[float, float | None]] = {}

    @property
    def last_received(self) -> float:
        """When the last sample came."""
        return self._received

    def take(self, metrics: Metrics, received: float) -> list[Span]:
        """Return the spans of which this sample tells: none where it is a repeated or late one, or the first."""
        at = self._clock.place(metrics.time, metrics.seq, received)
        if at is None:
            return []
        if received < self._received - CLOCK_TOLERANCE_S:  # the master's clock was set back
            self._cards.clear()
        self._received = received
        longest = sample_patience_s(metrics.interval_s)
        if len(self._cards) > len(metrics.gpus):
            self._let_go(at - longest)
        spans = []
        for gpu in metrics.gpus:
            span = self._span(gpu, at, longest)
            if span is not None:
                spans.append(span)
        return spans

    def _span(self, gpu: GpuReading, at: float, longest: float) -> Span | None:
        if not gpu.uuid or gpu.state not in ("ok", "asleep"):
            self._cards.pop(gpu.uuid, None)
            return None
        before = self._cards.get(gpu.uuid)
        if before is None:
            if len(self._cards) >= MAX_CARDS:
                return None
        elif at <= before[0]:
            return None  # its time has been counted, with the sample that overtook it
        self._cards[gpu.uuid] = (at, gpu.energy_j)
        if before is None or at - before[0] > longest:
            return None
        return Span(gpu, before[0], at, joules(before[1], gpu, at - before[0]))

    def _let_go(self, before: float) -> None:
        """Forget cards that are not told of any more."""
        for uuid in [uuid for uuid, (at, _) in self._cards.items() if at < before]:
            del self._cards[uuid]
