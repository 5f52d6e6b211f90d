"""A message: what one channel tells at once, of one alert or of many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from master.alerts.records import Alert, Severity

# `over`: that it fired and has ended by now, in one.
Told = Literal["firing", "resolved", "over"]

_GRAVITY = {severity: place for place, severity in enumerate(Severity)}


@dataclass(frozen=True, slots=True)
class Item:
    """What is told of one alert."""

    alert: Alert
    told: Told

    @property
    def is_firing(self) -> bool:
        """Whether it is told that something is wrong, and not that it is over."""
        return self.told == "firing"


@dataclass(frozen=True, slots=True)
class Message:
    """What goes out; `id` stays the same when it is sent again, `is_repeated` says that it may have arrived already."""

    id: str
    channel: str
    time: float
    items: tuple[Item, ...]
    title: str
    body: str
    is_repeated: bool = False
    is_test: bool = False

    @property
    def gravest(self) -> Severity:
        """The severity of the gravest that fires; `note` where nothing does."""
        firing = (item.alert.severity for item in self.items if item.is_firing)
        return min(firing, key=lambda severity: _GRAVITY[severity], default=Severity.NOTE)

    @property
    def firing(self) -> int:
        """How many alerts are told to fire."""
        return sum(item.is_firing for item in self.items)


def in_order(items: Mapping[str, Item]) -> tuple[Item, ...]:
    """Return items as they are told: what fires first, the gravest before the others, then the newest."""
    return tuple(
        sorted(
            items.values(),
            key=lambda item: (not item.is_firing, _GRAVITY[item.alert.severity], -item.alert.since, item.alert.id),
        )
    )
