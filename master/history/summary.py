"""Summaries: how a card's readings were over a stretch of time, as one tuple of whole numbers.

The number of samples, then mean, lowest and highest of each reading in its order; GAP three times where a reading was
not measured at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from master.history.readings import GAP, Reading

Summary = Sequence[int]

# Ids of a summary's numbers among packed columns.
COUNT_COLUMN = 0
MEAN, LOW, HIGH = range(3)


def column_id(reading: Reading, kind: int) -> int:
    """Return the id of a reading's means (MEAN), lowest (LOW) or highest (HIGH) values."""
    return 1 + 3 * reading.code + kind


def column_ids(readings: Iterable[Reading]) -> list[int]:
    """Return the ids in the order of a summary."""
    return [COUNT_COLUMN, *(column_id(reading, kind) for reading in readings for kind in (MEAN, LOW, HIGH))]


def nothing(width: int) -> Summary:
    """Return the summary of no sample at all, for this many readings."""
    return (0,) + (GAP,) * (3 * width)


def fitted(summary: Summary, width: int) -> Summary:
    """Return a summary that was made when fewer readings (or more) were kept as one of this many."""
    missing = 1 + 3 * width - len(summary)
    return summary if missing == 0 else tuple(summary[: 1 + 3 * width]) + (GAP,) * missing


def summary_of_rows(rows: Sequence[int], width: int) -> Summary:
    """Return the summary of samples that lie one behind the other, `width` readings each."""
    summary = [len(rows) // width]
    for place in range(width):
        column: Sequence[int] = rows[place::width]
        if GAP in column:
            column = [quanta for quanta in column if quanta != GAP]
        summary += (round(sum(column) / len(column)), min(column), max(column)) if column else (GAP, GAP, GAP)
    return tuple(summary)


def combined(summaries: Sequence[Summary]) -> Summary:
    """Return the summary of several stretches; each mean counts by its number of samples."""
    if len(summaries) == 1:
        return summaries[0]
    columns = list(zip(*summaries, strict=True))
    counts = columns[0]
    result = [sum(counts)]
    for place in range(1, len(columns), 3):
        means, lows, highs = columns[place : place + 3]
        weights = counts
        if GAP in means:
            present = [number for number, mean in enumerate(means) if mean != GAP]
            if not present:
                result += (GAP, GAP, GAP)
                continue
            means, lows, highs, weights = (
                tuple(map(column.__getitem__, present)) for column in (means, lows, highs, counts)
            )
        total = sum(map(int.__mul__, means, weights))
        result += (round(total / sum(weights)), min(lows), max(highs))
    return tuple(result)
