"""What the tests of telling need: alerts, a desk that knows them, and a channel under a clock that tests move."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gpumon.settings import AlertSettings, ChannelSettings
from master.alerts.alert_store import AlertStore
from master.alerts.records import Alert, Kind, Severity
from master.alerts.rules import QuietHours, Rule
from master.audit import AuditTrail
from master.bus import EventBus
from master.events import AlertChanged
from master.store.engine import Store
from master.store.writer import Writer
from master.telling.channels import Channel
from master.telling.courier import Delivery
from master.telling.message import Message
from master.telling.missed import missed
from master.telling.notifications import Notification
from master.telling.outbox import Outbox
from master.telling.runner import ChannelRunner
from master.telling.telling import Telling

# Tuesday 2026-11-24, 12:00 UTC.
NOON = 1_795_521_600.0
HOUR_S = 3600.0
SENT = Delivery("sent")
REFUSED = Delivery("failed", "Connection refused")
NO_ANSWER = Delivery("uncertain", "no answer within 30 s")


def alert(number: int = 1, **changes: Any) -> Alert:
    """An alert that fires."""
    values: dict[str, Any] = {
        "id": f"a-{number}",
        "rule": "hot",
        "kind": Kind.TEMPERATURE,
        "severity": Severity.WARNING,
        "worker_id": f"gpu{number}",
        "gpu": "GPU-5d1e6a2c-1111-2222-3333-444455556666",
        "state": "firing",
        "since": NOON,
        "text": "GPU 3 (NVIDIA H200) is at 91 °C (at or above 85 °C)",
        "value": 91.0,
        "threshold": 85.0,
        "unit": "°C",
        "labels": {"rack": "3"},
    }
    return Alert(**{**values, **changes})


def over(fired: Alert, until: float = NOON + 720) -> Alert:
    """The alert once it has ended."""
    return replace(fired, state="resolved", until=until)


@dataclass
class Desk:
    """Stands for the alert desk: what telling asks of it."""

    alerts: dict[str, Alert] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)

    def active(self) -> list[Alert]:
        """What fires."""
        return [each for each in self.alerts.values() if each.is_firing]

    def alert(self, alert_id: str) -> Alert | None:
        """One of them."""
        return self.alerts.get(alert_id)

    def rule(self, name: str) -> Rule | None:
        """One of the rules."""
        return self.rules.get(name)


class TimedChannel:
    """A channel over a real database; `now` is its clock, `sent` what went out, `outcomes` how the next attempts go."""

    def __init__(self, store: Store, **changes: Any) -> None:
        self.now = NOON
        self.sent: list[Message] = []
        self.outcomes: list[Delivery] = []
        self.quiet: Mapping[str, QuietHours] = {}
        self.store = store
        self.writer = Writer(store)
        self.writer.start()
        self.desk = Desk()
        self.channel = Channel(**{"name": "oncall", "kind": "webhook", "url": "https://example.org/h", **changes})
        self.during_send: Any = None
        self.start()

    def start(self) -> None:
        """Start as a master does, on what is kept."""
        self.outbox = Outbox(self.store, self.writer)
        self.runner = ChannelRunner(
            self.channel,
            self.outbox,
            self._send,
            clock=lambda: self.now,
            quiet_until=lambda each, now: self.quiet[each.rule].until(now) if each.rule in self.quiet else None,
            page="https://gpumon.lab:5000",
        )
        kept = self.outbox.load(self.now - 24 * HOUR_S)
        self.runner.load(kept.rows, dict(self.desk.alerts))
        for alert_id in missed(kept, self.channel.name):
            self.runner.take(self.desk.alerts[alert_id], was_missed=True)
        for each in self.desk.active():
            self.runner.take(each)

    def keep(self, *alerts: Alert) -> None:
        """Keep alerts as the desk does, before it tells of them."""
        for each in alerts:
            self.desk.alerts[each.id] = each
            AlertStore(self.store, self.writer).keep(each)
        assert self.writer.flush()

    def changes(self, *alerts: Alert) -> None:
        """Let alerts be kept and told to the bus as they are now."""
        self.keep(*alerts)
        for each in alerts:
            self.runner.take(each)

    def passes(self, seconds: float) -> list[Message]:
        """Let time pass, tell what is due meanwhile, and return it."""
        end = self.now + seconds
        before = len(self.sent)
        at = self.runner.look()
        while at <= end:
            self.now = max(at, self.now + 1.0)
            at = self.runner.look()
        self.now = max(self.now, end)
        return self.sent[before:]

    def told(self, seconds: float = 60.0) -> list[tuple[str, str]]:
        """Return what is told within a minute: the alert and what of it."""
        return [(item.alert.id, item.told) for message in self.passes(seconds) for item in message.items]

    def kept(self) -> dict[tuple[str, str], Notification]:
        """Return what is kept."""
        assert self.outbox.put([])
        return {row.key: row for row in self.outbox.load(0.0).rows}

    def stop(self) -> None:
        """Stop what was started."""
        self.writer.stop()

    def _send(self, _channel: Channel, message: Message) -> Delivery:
        if self.during_send is not None:
            self.during_send()
        outcome = self.outcomes.pop(0) if self.outcomes else SENT
        if outcome.outcome != "failed":
            self.sent.append(message)
        return outcome


@contextlib.contextmanager
def telling(store: Store, desk: Desk, channels: dict[str, ChannelSettings], **settings: Any) -> Iterator[Telling]:
    """Telling that runs, with real processes that send; its bus is the desk's `tell`."""
    writer, bus = Writer(store), EventBus()
    writer.start()
    made = Telling(
        store,
        writer,
        bus,
        desk,
        audit=AuditTrail(store, writer),
        settings=AlertSettings(channels=channels, **settings),
        page="https://gpumon.lab:5000",
    )
    made.start()
    try:
        yield made
    finally:
        made.stop()
        writer.stop()


def tell(running: Telling, *alerts: Alert) -> None:
    """Let the bus tell of alerts."""
    for each in alerts:
        running._bus.publish(AlertChanged(each))
