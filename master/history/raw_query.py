"""Answers from the samples in memory."""

from __future__ import annotations

from master.history.query import Answer, Question, Series, Values, answer_of
from master.history.raw import RawCard
from master.history.readings import GAP, Reading, readings_of

# Samples further apart than this many intervals have a gap between them.
GAP_INTERVALS = 3.0


def raw_answer(question: Question, card: RawCard | None) -> Answer:
    """Answer with each sample as it is, or with so many together if there are more than points."""
    order = {reading: place for place, reading in enumerate(readings_of(question.key))}
    places = [order[reading] for reading in question.readings]
    times, columns = card.samples(question.start, question.end, places) if card else ([], [[] for _ in places])
    interval_s = card.interval_s if card else 0.0
    if len(times) <= question.points:
        times, columns = _with_gaps(times, columns, GAP_INTERVALS * interval_s)
        single = [_restored(reading, column) for reading, column in zip(question.readings, columns, strict=True)]
        return answer_of(question, "raw", interval_s, times, [Series(values, values, values) for values in single])
    # At least two samples a point, so that a sample that is a little early leaves no hole.
    step_s = max(question.step_s, 2 * interval_s)
    first, number = question.grid(step_s)
    points = [int((at - first) // step_s) for at in times]
    series = [
        _gathered(reading, points, column, number) for reading, column in zip(question.readings, columns, strict=True)
    ]
    return answer_of(question, "raw", step_s, [first + step_s * point for point in range(number)], series)


def _restored(reading: Reading, column: list[int]) -> Values:
    return [None if quanta == GAP else reading.restore(quanta) for quanta in column]


def _gathered(reading: Reading, points: list[int], column: list[int], number: int) -> Series:
    members: list[list[int]] = [[] for _ in range(number)]
    for point, quanta in zip(points, column, strict=True):
        if quanta != GAP:
            members[point].append(quanta)
    return Series(
        [round(reading.restore(sum(some) / len(some)), 2) if some else None for some in members],
        [reading.restore(min(some)) if some else None for some in members],
        [reading.restore(max(some)) if some else None for some in members],
    )


def _with_gaps(times: list[float], columns: list[list[int]], longest_s: float) -> tuple[list[float], list[list[int]]]:
    """Return the samples with an empty one in the middle of every gap, so that no line is drawn across."""
    holes = [place for place in range(1, len(times)) if times[place] - times[place - 1] > longest_s]
    for place in reversed(holes):
        times.insert(place, (times[place - 1] + times[place]) / 2)
        for column in columns:
            column.insert(place, GAP)
    return times, columns
