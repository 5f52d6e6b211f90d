"""Telling people of alerts: by every channel that the settings name, each by itself."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gpumon.errors import SettingError
from gpumon.settings import AlertSettings
from master.alerts.errors import AlertError
from master.alerts.quantities import parse_quiet_hours
from master.alerts.records import Alert, Severity
from master.alerts.rules import QuietHours, Rule
from master.audit import Actor, AuditTrail
from master.bus import EventBus
from master.events import AlertChanged, AlertRulesChanged
from master.store.engine import Store
from master.store.writer import Writer
from master.telling.channels import Channel, read_channels, wrong
from master.telling.courier import Courier, Delivery
from master.telling.message import Message
from master.telling.missed import missed
from master.telling.outbox import Outbox
from master.telling.runner import ChannelRunner
from master.telling.webhook import webhook_job

logger = logging.getLogger(__name__)

# A message that has not gone out by then is tried again.
DEADLINE_S = 30.0
TEST_DEADLINE_S = 15.0
CHECK_DEADLINE_S = 30.0
# How long a stop waits for what is being sent, before it is cut off.
STOP_WITHIN_S = 3.0
_DAY_S = 86_400.0
_APPRISE_TYPES = {Severity.PAGE: "failure", Severity.WARNING: "warning", Severity.NOTE: "info"}


class Alerts(Protocol):
    """What telling asks the alert desk."""

    def active(self) -> list[Alert]:
        """Return what fires."""

    def alert(self, alert_id: str) -> Alert | None:
        """Return an alert, None where it is not kept."""

    def rule(self, name: str) -> Rule | None:
        """Return the rule in use of this name."""


@dataclass(frozen=True, slots=True)
class ChannelView:
    """A channel as it is shown; `kind` is `webhook` or the scheme of Apprise's URL, `last_problem` None if it works."""

    name: str
    kind: str
    severities: tuple[str, ...]
    labels: Mapping[str, str]
    resolved: bool
    gather_s: float
    last_sent: float | None
    last_problem: str | None
    waiting: int


class Elsewhere(Protocol):
    """How the master is asked that tells people, where several share a fleet. Both methods raise GpumonError."""

    def channels(self) -> list[ChannelView] | None:
        """Return its channels, None where this master tells people itself."""

    def try_channel(self, name: str, by: Actor) -> str | None:
        """Have it send a test message, and return what was wrong."""


class Telling:
    """Who is told of alerts, and how; safe to ask from any thread. Constructing it does nothing.

    `page` is where people find the page, None where that is not known. With no channel in the settings it costs
    nothing.
    """

    def __init__(
        self,
        store: Store,
        writer: Writer,
        bus: EventBus,
        alerts: Alerts,
        *,
        audit: AuditTrail,
        settings: AlertSettings,
        page: str | None = None,
        clock: Callable[[], float] = time.time,
        courier: Courier | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """Take who is asked about the channels while another master tells people, None where this one always does."""
        self._elsewhere = elsewhere
        self._bus = bus
        self._alerts = alerts
        self._audit = audit
        self._settings = settings
        self._page = page
        self._clock = clock
        self._courier = courier or Courier()
        self._outbox = Outbox(store, writer)
        self._runners: dict[str, ChannelRunner] = {}
        self._quiet_hours: QuietHours | None = None
        self._testing: set[str] = set()
        self._lock = threading.Lock()

    def check(self) -> None:
        """See that the channels can be used. Raises SettingError."""
        self._quiet_hours = _quiet_hours(self._settings.quiet_hours)
        channels = read_channels(self._settings.channels)
        if channels:
            self._courier.start()
            self._check(channels)

    def start(self) -> None:
        """Check the channels, go on with what was to be told, and listen.

        Raises SettingError: for a channel or quiet hours that cannot be used; StoreError.
        """
        self._quiet_hours = _quiet_hours(self._settings.quiet_hours)
        channels = read_channels(self._settings.channels)
        if not channels:
            return
        self._courier.start()
        self._check(channels)
        self._load(channels)
        self._bus.subscribe(AlertChanged, self._take)
        self._bus.subscribe(AlertRulesChanged, self._rules_changed)
        self._take_up()
        self._outbox.start()
        for runner in self._runners.values():
            runner.start()

    def stop(self) -> None:
        """Listen no more, and end within a few seconds; safe to call twice. What is left is told at the next start."""
        self._bus.unsubscribe(AlertChanged, self._take)
        self._bus.unsubscribe(AlertRulesChanged, self._rules_changed)
        runners = list(self._runners.values())
        for runner in runners:
            runner.ask_to_stop()
        for patience_s in (STOP_WITHIN_S, STOP_WITHIN_S):
            end = time.monotonic() + patience_s
            for runner in runners:
                runner.wait_stopped(max(0.0, end - time.monotonic()))
            self._courier.stop()
        self._outbox.stop()

    def prune(self) -> None:
        """Delete what is kept longer than alerts are; called about once an hour."""
        self._outbox.prune(self._clock() - self._settings.keep_days * _DAY_S)

    def channels(self) -> list[ChannelView]:
        """Return the channels as they are shown, in the order of the settings."""
        told = self._elsewhere.channels() if self._elsewhere is not None else None
        return self.channels_here() if told is None else told

    def channels_here(self) -> list[ChannelView]:
        """Return the channels by which this master tells people."""
        return [_view(runner) for runner in self._runners.values()]

    def test(self, name: str, by: Actor) -> str | None:
        """Send a test message by a channel, and return what was wrong, None where it was sent.

        Takes up to 15 s. Raises AlertError: where there is no such channel, or it is being tested already.
        """
        if self._elsewhere is not None and self._elsewhere.channels() is not None:
            return self._elsewhere.try_channel(name, by)
        return self.test_here(name, by)

    def test_here(self, name: str, by: Actor) -> str | None:
        """Send a test message from this master."""
        runner = self._runners.get(name)
        if runner is None:
            known = ", ".join(self._runners) or "none"
            raise AlertError(f"there is no channel {name!r}, there are: {known}")
        with self._lock:
            if name in self._testing:
                raise AlertError(f"a test message is being sent by {name} already: wait for it")
            self._testing.add(name)
        try:
            delivery = self._deliver(runner.channel, _test_message(name, by, self._clock()), TEST_DEADLINE_S)
        finally:
            with self._lock:
                self._testing.discard(name)
        problem = None if delivery.outcome == "sent" else delivery.problem or "it could not be sent"
        self._audit.add_soon(by, "alert_channel.tested", name, problem=problem)
        return problem

    def _load(self, channels: list[Channel]) -> None:
        """Make the channels' runners, with what was kept of them."""
        kept = self._outbox.load(self._clock() - _DAY_S)
        unheard = {channel.name: missed(kept, channel.name) for channel in channels}
        alerts = self._known_alerts({row.alert_id for row in kept.rows if row.is_open}.union(*unheard.values()))
        for channel in channels:
            runner = ChannelRunner(
                channel,
                self._outbox,
                lambda to, message: self._deliver(to, message, DEADLINE_S),
                clock=self._clock,
                quiet_until=self._quiet_until,
                page=self._page,
            )
            runner.load([row for row in kept.rows if row.channel == channel.name], alerts)
            runner.last_sent = kept.last_sent.get(channel.name)
            self._runners[channel.name] = runner
            for alert_id in unheard[channel.name]:
                if alert_id in alerts:
                    runner.take(alerts[alert_id], was_missed=True)

    def _take_up(self) -> None:
        """Put down what fires and is not put down yet."""
        for alert in self._alerts.active():
            self._take(AlertChanged(alert))

    def _check(self, channels: list[Channel]) -> None:
        """Have Apprise say whether it can use the URLs, in a process of its own: that takes a second."""
        by_apprise = [channel for channel in channels if not channel.is_webhook]
        if not by_apprise:
            return
        job = {"do": "check", "urls": [channel.url for channel in by_apprise]}
        answer = self._courier.ask(job, CHECK_DEADLINE_S)
        if answer is None or "problems" not in answer:
            logger.warning("Apprise did not say within %g s whether it can use the channels' URLs", CHECK_DEADLINE_S)
            return
        for channel, problem in zip(by_apprise, answer["problems"], strict=True):
            if problem is not None:
                raise wrong(channel.name, problem)

    def _known_alerts(self, needed: set[str]) -> dict[str, Alert]:
        """Return what fires, and those that are needed besides, as far as they are kept."""
        found = {alert.id: alert for alert in self._alerts.active()}
        for alert_id in needed - found.keys():
            alert = self._alerts.alert(alert_id)
            if alert is not None:
                found[alert_id] = alert
        return found

    def _take(self, event: AlertChanged) -> None:
        for runner in self._runners.values():
            runner.take(event.alert)

    def _rules_changed(self, _event: AlertRulesChanged) -> None:
        for runner in self._runners.values():
            runner.look_again()

    def _quiet_until(self, alert: Alert, now: float) -> float | None:
        rule = self._alerts.rule(alert.rule)
        if rule is not None and rule.quiet_hours is not None:
            return rule.quiet_until(now)
        if alert.severity is Severity.PAGE or self._quiet_hours is None:
            return None
        return self._quiet_hours.until(now)

    def _deliver(self, channel: Channel, message: Message, deadline_s: float) -> Delivery:
        if channel.is_webhook:
            job: dict[str, Any] = webhook_job(channel, message, self._page, self._clock())
        else:
            kind = _APPRISE_TYPES[message.gravest] if message.firing else "success"
            job = {"do": "apprise", "url": channel.url, "title": message.title, "body": message.body, "type": kind}
        return self._courier.deliver(job, deadline_s)


def _quiet_hours(text: str) -> QuietHours | None:
    try:
        return parse_quiet_hours(text)
    except ValueError as error:
        raise SettingError(f"alerts.quiet_hours: {text!r} cannot be used: {error}") from error


def _view(runner: ChannelRunner) -> ChannelView:
    channel = runner.channel
    return ChannelView(
        name=channel.name,
        kind=channel.kind,
        severities=tuple(severity.value for severity in Severity if severity in channel.severities),
        labels=channel.labels,
        resolved=channel.resolved,
        gather_s=channel.gather_s,
        last_sent=runner.last_sent,
        last_problem=runner.last_problem,
        waiting=runner.waiting,
    )


def _test_message(name: str, by: Actor, now: float) -> Message:
    who = by.who or by.origin
    text = f"A test of channel {name} by {who}. Nothing is wrong; people are told of alerts this way."
    return Message(f"test-{int(now)}", name, now, (), f"gpumon: test of channel {name}", text, is_test=True)
