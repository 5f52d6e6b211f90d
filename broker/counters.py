"""What the broker counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class BrokerCounters:
    """Counted since the start, `connections` apart, which is how many there are now; written by the broker's thread."""

    connections: int = 0
    messages_in: int = 0
    messages_out: int = 0
    dropped_messages: int = 0
    refused_publishes: int = 0
    refused_subscriptions: int = 0
    failed_logins: int = 0
    oversized_packets: int = 0
