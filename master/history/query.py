"""What can be asked of history, and how it is answered: so many points, with mean, lowest and highest of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from master.history.readings import HOST, Reading

Values = list[float | None]


@dataclass(frozen=True, slots=True)
class Question:
    """A card (its uuid) or the host (HOST), over [start, end), in so many points (one more where the first is cut)."""

    worker_id: str
    key: str
    readings: tuple[Reading, ...]
    start: float
    end: float
    points: int

    @property
    def step_s(self) -> float:
        """Seconds a point."""
        return (self.end - self.start) / self.points

    def grid(self, step_s: float) -> tuple[float, int]:
        """Return the first point, a whole multiple of the step so that it stays where it is, and how many there are."""
        first = self.start // step_s * step_s
        return first, max(1, math.ceil((self.end - first) / step_s))


class Series(msgspec.Struct, frozen=True):
    """One reading's points; null where nothing was measured."""

    mean: Values
    min: Values
    max: Values


class Answer(msgspec.Struct, frozen=True):
    """What was asked for, by columns: `time` is when each point begins (seconds since 1970)."""

    worker: str
    uuid: str | None
    start: float = msgspec.field(name="from")
    end: float = msgspec.field(name="to")
    step_s: float
    source: str
    time: list[float]
    series: dict[str, Series]


def answer_of(question: Question, source: str, step_s: float, times: list[float], series: Sequence[Series]) -> Answer:
    """Return the answer to a question."""
    return Answer(
        worker=question.worker_id,
        uuid=None if question.key == HOST else question.key,
        start=question.start,
        end=question.end,
        step_s=step_s,
        source=source,
        time=times,
        series={reading.name: values for reading, values in zip(question.readings, series, strict=True)},
    )
