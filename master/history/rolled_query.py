"""Answers from the roll-ups in the database.

A month of eight cards is a million numbers, and an answer has to be quick: numbers are handled by the column, in C, by
`map` over slices. So that gaps need no second look, each kind of column marks them by what does not count in it: means
by a count of 0, lowest values by a number above all, highest values by GAP, which is below all.
"""

from __future__ import annotations

import math
from operator import mul

from master.history.blocks import Buckets, Damages, rolled_up
from master.history.columns import DamagedColumnsError, unpack
from master.history.query import Answer, Question, Series, Values, answer_of
from master.history.readings import GAP, Reading, readings_of
from master.history.resolutions import Resolution
from master.history.store import Kept
from master.history.summary import COUNT_COLUMN, HIGH, LOW, MEAN, column_id, column_ids

_ABOVE_ALL = 2**30
_FILL = {MEAN: 0, LOW: _ABOVE_ALL, HIGH: GAP}

Column = list[int]

damages = Damages()


def span_of(question: Question, resolution: Resolution) -> tuple[int, int]:
    """Return from when to when buckets are needed."""
    step_s, first, number = _points(question, resolution)
    return int(first), int(first) + number * step_s


def rolled_answer(question: Question, resolution: Resolution, kept: Kept) -> Answer:
    """Answer with the buckets of a resolution, so many together that they fit the points."""
    step_s, first, number = _points(question, resolution)
    factor = step_s // resolution.step_s
    grid = _Grid(question, resolution, int(first), number * factor)
    grid.fill(kept)
    times = [first + step_s * point for point in range(number)]
    return answer_of(
        question, resolution.name, step_s, times, [grid.series(reading, factor) for reading in question.readings]
    )


def _points(question: Question, resolution: Resolution) -> tuple[int, float, int]:
    """Return the points' step, when the first begins, and how many there are."""
    factor = max(1, math.ceil(question.step_s / resolution.step_s))
    return factor * resolution.step_s, *question.grid(factor * resolution.step_s)


class _Grid:
    """The columns that a question is about, of `length` buckets from `start` on."""

    def __init__(self, question: Question, resolution: Resolution, start: int, length: int) -> None:
        self._question = question
        self._step_s = resolution.step_s
        self._start = start
        self._length = length
        self._kinds = {column_id(reading, kind): kind for reading in question.readings for kind in (MEAN, LOW, HIGH)}
        self._columns: dict[int, Column] = {number: [_FILL[kind]] * length for number, kind in self._kinds.items()}
        self._columns[COUNT_COLUMN] = [0] * length
        self._sums: dict[int, Column] = {}

    def fill(self, kept: Kept) -> None:
        """Put what is stored in its place."""
        wanted = set(self._columns)
        for start, data in kept.blocks:
            try:
                _, found = unpack(data, wanted)
            except DamagedColumnsError as error:
                damages(self._question.worker_id, self._question.key, start, error)
                continue
            offset = (start - self._start) // self._step_s
            for number, column in found.items():
                self._place(number, offset, column)
        self._fill_minutes(rolled_up(kept.minutes, self._step_s))

    def _fill_minutes(self, buckets: Buckets) -> None:
        ids = column_ids(readings_of(self._question.key))
        starts = sorted(buckets)
        while starts:
            # Buckets without a hole between them go in as a block would; a hole stays as it was.
            first, number = starts[0], 1
            while number < len(starts) and starts[number] == first + number * self._step_s:
                number += 1
            run, starts = starts[:number], starts[number:]
            columns = zip(*(buckets[start] for start in run), strict=True)
            for column_number, column in zip(ids, columns, strict=True):
                if column_number in self._columns:
                    self._place(column_number, (first - self._start) // self._step_s, list(column))

    def series(self, reading: Reading, factor: int) -> Series:
        """Return a reading's points, of `factor` buckets each."""
        means, lows, highs = (self._columns[column_id(reading, kind)] for kind in (MEAN, LOW, HIGH))
        if factor > 1:
            lows = list(map(min, *_strides(lows, factor)))
            highs = list(map(max, *_strides(highs, factor)))
        per, unit = reading.per_unit, reading.unit
        return Series(
            self._means(means, factor, per, unit),
            [None if quanta == _ABOVE_ALL else quanta * unit / per for quanta in lows],
            [None if quanta == GAP else quanta * unit / per for quanta in highs],
        )

    def _means(self, means: Column, factor: int, per: int, unit: int) -> Values:
        """Return the means of so many buckets together, by their numbers of samples, to a digit more than each has."""
        weights = self._columns[COUNT_COLUMN]
        if GAP in means:
            weights = [0 if mean == GAP else weight for mean, weight in zip(means, weights, strict=True)]
        if factor == 1:
            pairs = zip(means, weights, strict=True)
            return [mean * unit / per if weight else None for mean, weight in pairs]
        totals = map(sum, zip(*_strides(list(map(mul, means, weights)), factor), strict=True))
        parts = self._parts(weights, factor)
        tenfold = 10 * per
        return [
            10 * total // part * unit / tenfold if part else None for total, part in zip(totals, parts, strict=True)
        ]

    def _parts(self, weights: Column, factor: int) -> Column:
        """Return the numbers of samples of so many buckets together; they are the same for nearly all readings."""
        if weights is not self._columns[COUNT_COLUMN]:
            return list(map(sum, zip(*_strides(weights, factor), strict=True)))
        if factor not in self._sums:
            self._sums[factor] = list(map(sum, zip(*_strides(weights, factor), strict=True)))
        return self._sums[factor]

    def _place(self, number: int, offset: int, column: Column) -> None:
        if offset < 0:
            offset, column = 0, column[-offset:]
        column = column[: max(0, self._length - offset)]
        if self._kinds.get(number) == LOW and GAP in column:
            column = [_ABOVE_ALL if quanta == GAP else quanta for quanta in column]
        self._columns[number][offset : offset + len(column)] = column


def _strides(column: Column, factor: int) -> list[Column]:
    return [column[offset::factor] for offset in range(factor)]
