"""Alerts as they are shown, told and kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

AlertState = Literal["firing", "resolved"]


class Kind(str, Enum):
    """What a rule looks at; the value is how settings, topics and the API spell it."""

    WORKER_OFFLINE = "worker_offline"
    TELEMETRY_BROKEN = "telemetry_broken"
    GPU_LOST = "gpu_lost"
    XID = "xid"
    ECC_UNCORRECTED = "ecc_uncorrected"
    TEMPERATURE = "temperature"
    MEMORY_TEMPERATURE = "memory_temperature"
    THROTTLING = "throttling"
    MEMORY_FULL = "memory_full"
    POWER = "power"
    IDLE_HELD = "idle_held"


class Severity(str, Enum):
    """How much an alert matters: `page` wakes somebody, `warning` is for working hours, `note` is to be known."""

    PAGE = "page"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that a rule has found, from its first firing to its end; `id` is never used again.

    `gpu` is the card's uuid, None where it is about the whole worker. `since` is when it fired, `until` when it was
    resolved, by the master's clock (seconds since 1970). `value` and `threshold` are in the unit of the rule's kind,
    None where the kind has none, `unit` that unit; `value` is the last one that was read while it fired. `labels` are
    the worker's, as they were when it fired. `count` says how often it has happened and `last` when it last did, for
    what happens at one moment (XID, ECC).
    """

    id: str
    rule: str
    kind: Kind
    severity: Severity
    worker_id: str
    gpu: str | None
    state: AlertState
    since: float
    text: str
    value: float | None = None
    threshold: float | None = None
    unit: str | None = None
    until: float | None = None
    count: int = 1
    last: float | None = None
    labels: dict[str, str] = field(default_factory=dict)
    acknowledged_by: str | None = None
    acknowledged_at: float | None = None
    acknowledged_note: str = ""
    silenced: bool = False

    @property
    def is_firing(self) -> bool:
        """Whether it goes on."""
        return self.state == "firing"


@dataclass(frozen=True, slots=True)
class Action:
    """What an operator may run about an alert, on its worker: filled in for the processes that are there at present.

    Where `command` is None, `problem` says why it cannot be run now.
    """

    name: str
    worker_id: str
    command: str | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """No notifications, until `until`, of alerts that match all that is given; they are still shown, and published."""

    id: str
    created: float
    until: float
    by: str
    reason: str
    rule: str | None = None
    worker_id: str | None = None
    gpu: str | None = None
    labels: dict[str, str] = field(default_factory=dict)

    def covers(self, alert: Alert, now: float) -> bool:
        """Tell whether it silences an alert at `now`."""
        return (
            self.created <= now < self.until
            and self.rule in (None, alert.rule)
            and self.worker_id in (None, alert.worker_id)
            and self.gpu in (None, alert.gpu)
            and self.labels.items() <= alert.labels.items()
        )
