"""Titles and bodies of messages: for whoever reads them on a phone at three in the morning."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence

from master.alerts.quantities import duration_text, quantity_text
from master.alerts.records import Alert
from master.telling.advice import advice_for
from master.telling.message import Item

LONGEST_TITLE = 160
# Telegram and ntfy take about 4,000 characters.
LONGEST_BODY = 3500
MOST_COUNTED = 8
SHORT_UUID = 12
_FOOT = 400  # what is kept free for the lines below a list
REPEATED = "This may have been told before: the last time it was sent, it was not seen whether it arrived."


def title_of(items: Sequence[Item], *, is_repeated: bool = False) -> str:
    """Return the title of a message."""
    text = _title_of_one(items[0]) if len(items) == 1 else _title_of_many(items)
    return _bounded(f"{text} (perhaps told before)" if is_repeated else text, LONGEST_TITLE)


def body_of(items: Sequence[Item], page: str | None, *, is_repeated: bool = False) -> str:
    """Return the body of a message; `page` is the address of the page, None where it is not known."""
    lines = _body_of_one(items[0], page) if len(items) == 1 else _body_of_many(items, page)
    if is_repeated:
        lines += ["", REPEATED]
    return _bounded("\n".join(lines), LONGEST_BODY, keep_lines=True)


def local_time(at: float) -> str:
    """Return a time (seconds since 1970) as the clock on the master's wall shows it."""
    return datetime.datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def _title_of_one(item: Item) -> str:
    mark = item.alert.severity.value if item.is_firing else "over"
    return f"[{mark}] {item.alert.worker_id}: {_clean(item.alert.text)}"


def _title_of_many(items: Sequence[Item]) -> str:
    mark = items[0].alert.severity.value if items[0].is_firing else "over"
    rules = Counter(item.alert.rule for item in items)
    return f"[{mark}] {_how_many(items)}: {_counted(rules)}"


def _body_of_one(item: Item, page: str | None) -> list[str]:
    alert = item.alert
    lines = [f"{alert.worker_id}: {_clean(alert.text)}", ""]
    if not item.is_firing:
        lines[1:1] = [f"It is over; it lasted {duration_text(_lasted(alert))}."]
    labels = ", ".join(f"{key}={value}" for key, value in sorted(alert.labels.items()))
    lines.append(f"Worker: {alert.worker_id}" + (f" ({_clean(labels)})" if labels else ""))
    if alert.gpu is not None:
        lines.append(f"Card: {_clean(alert.gpu[:SHORT_UUID])}")
    lines.append(f"Since: {local_time(alert.since)}")
    if alert.until is not None and not item.is_firing:
        lines.append(f"Until: {local_time(alert.until)}")
    if alert.count > 1:
        lines.append(f"So often: {alert.count} times")
    if alert.value is not None and alert.threshold is not None:
        value, threshold = quantity_text(alert.value, alert.unit), quantity_text(alert.threshold, alert.unit)
        lines.append(f"Value: {value} (threshold {threshold})")
    lines.append(f"Rule: {alert.rule}, severity {alert.severity.value}")
    if page is not None:
        lines.append(f"Page: {page}/alerts/{alert.id}")
    if item.is_firing:
        lines += ["", f"What to do: {advice_for(alert.kind)}"]
    return lines


def _body_of_many(items: Sequence[Item], page: str | None) -> list[str]:
    rules = Counter(f"{item.alert.rule} ({item.alert.severity.value})" for item in items)
    workers = Counter(item.alert.worker_id for item in items)
    lines = [
        f"{_how_many(items)}.",
        f"By rule: {_counted(rules)}",
        f"By worker: {_counted(workers)}",
        "",
    ]
    used = sum(len(line) + 1 for line in lines)
    for place, item in enumerate(items):
        line = _line_of(item)
        if used + len(line) > LONGEST_BODY - _FOOT:
            lines.append(f"... and {len(items) - place} more")
            break
        lines.append(line)
        used += len(line) + 1
    if page is not None:
        lines += ["", f"Page: {page}/alerts"]
    return lines


def _line_of(item: Item) -> str:
    alert = item.alert
    about = f"{alert.worker_id}: {_bounded(_clean(alert.text), 200)}"
    if item.is_firing:
        return f"[{alert.severity.value}] {about}, since {local_time(alert.since)[11:19]}"
    return f"[over] {about}, after {duration_text(_lasted(alert))}"


def _how_many(items: Sequence[Item]) -> str:
    firing = sum(item.is_firing for item in items)
    over = len(items) - firing
    parts = []
    if firing:
        parts.append("1 alert fires" if firing == 1 else f"{firing} alerts fire")
    if over:
        noun = "" if firing else (" alert" if over == 1 else " alerts")
        parts.append(f"{over}{noun} {'is' if over == 1 else 'are'} over")
    return ", ".join(parts)


def _counted(counts: Counter[str]) -> str:
    most = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = ", ".join(f"{name} {count}" for name, count in most[:MOST_COUNTED])
    left = len(most) - MOST_COUNTED
    return f"{shown} and {left} more" if left > 0 else shown


def _lasted(alert: Alert) -> float:
    return max(0.0, (alert.until if alert.until is not None else alert.since) - alert.since)


def _clean(text: str) -> str:
    """Return text in one line: what a worker tells is not to make lines or headers of its own."""
    return "".join(character if character.isprintable() else " " for character in text)


def _bounded(text: str, longest: int, *, keep_lines: bool = False) -> str:
    text = text if keep_lines else _clean(text)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
