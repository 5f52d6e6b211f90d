"""What came in over MQTT, counted by kind."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class IngestCounters:
    """Messages by kind (`metrics`, `info`, `cmd/result`, `audit`, ...), counted since the master started.

    `received` counts all, `rejected` those whose payload or topic was not valid, `late` samples that were not newer
    than the one at hand.
    """

    received: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    late: int = 0
