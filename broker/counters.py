"""What the broker counts."""

from __future__ import annotations

from dataclasses import asdict, dataclass

_DEFENCES = {
    "refused_connections": "connections refused",
    "evicted_guests": "connections ended that had not logged in",
    "timed_out_guests": "connections ended that took too long to log in",
    "failed_logins": "log-ins failed",
    "limited_logins": "log-ins refused unseen",
    "slowed_packets": "packets slowed down",
    "oversized_packets": "packets too large",
    "refused_publishes": "publishes refused",
    "refused_subscriptions": "subscriptions refused",
    "unretained_messages": "messages not retained",
    "dropped_messages": "messages dropped for slow readers",
    "closed_readers": "slow readers disconnected",
    "cut_off": "connections cut off with their account",
}


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
    refused_connections: int = 0
    evicted_guests: int = 0
    timed_out_guests: int = 0
    limited_logins: int = 0
    slowed_packets: int = 0
    unretained_messages: int = 0
    closed_readers: int = 0
    cut_off: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return a copy by name."""
        return asdict(self)


def told(before: dict[str, int], now: dict[str, int]) -> str:
    """Say in words how often the broker had to defend itself between two readings; empty where it had not."""
    more = {words: now[name] - before[name] for name, words in _DEFENCES.items()}
    return ", ".join(f"{count} {words}" for words, count in more.items() if count)
