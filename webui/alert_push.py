"""Pushes the alerts that fire to every browser: sums over all, and the gravest of them, in batches."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Protocol

import msgspec

from master.alerts.records import Alert
from master.fleet import Fleet
from webui.alert_view import (
    AlertCount,
    AlertView,
    Mark,
    RuleCount,
    Rules,
    alert_views,
    counts_of,
    marks_of,
    place_of,
    rules_of,
)
from webui.fleet_push import Rooms
from webui.push_thread import PushThread

logger = logging.getLogger(__name__)

ALERTS_ROOM = "alerts"
# What each browser is told of without asking: enough to fill a screen; the rest is asked for at the API.
MOST_OF_A_RULE = 25
MOST_PUSHED = 200
WINDOW_PER_ALERT_S = 0.0005
SHORTEST_WINDOW_S = 0.1
LONGEST_WINDOW_S = 2.0


class Desk(Rules, Protocol):
    """Where alerts come from."""

    def active(self) -> list[Alert]:
        """Return those that fire."""


class AlertChange(msgspec.Struct, frozen=True):
    """What browsers are told, as of `time`: sums over all that fire, and of those in `alerts` what is different.

    `gone` are ids that are no longer among the pushed ones; `marks` has, of each worker whose marks are others than
    before, the gravest severity on each card and (under "") on any of it; nothing where nothing fires on it any more.
    """

    time: float
    counts: dict[str, AlertCount]
    rules: list[RuleCount]
    alerts: list[AlertView]
    gone: list[str]
    marks: dict[str, Mark]


def push_window_s(alerts: int) -> float:
    """Return the least time between two pushes: one alert is seen within 0.1 s, thousands cost a push in 2 s."""
    return min(max(WINDOW_PER_ALERT_S * alerts, SHORTEST_WINDOW_S), LONGEST_WINDOW_S)


def gravest(alerts: Sequence[Alert]) -> list[Alert]:
    """Return those that are pushed: the gravest and newest, with no rule crowding out the others."""
    taken: list[Alert] = []
    of_rule: dict[str, int] = {}
    for alert in alerts:
        if len(taken) == MOST_PUSHED:
            break
        of_rule[alert.rule] = of_rule.get(alert.rule, 0) + 1
        if of_rule[alert.rule] <= MOST_OF_A_RULE:
            taken.append(alert)
    return taken


class AlertPusher(PushThread):
    """Compares what fires with what browsers were told, and pushes the difference."""

    def __init__(self, desk: Desk, fleet: Fleet, rooms: Rooms) -> None:
        super().__init__("webui-alerts")
        self._desk = desk
        self._fleet = fleet
        self._rooms = rooms
        self._is_changed = False
        self._order = threading.Lock()  # what is told, in the order in which it is told
        self._told = AlertChange(0.0, {}, [], [], [], {})

    def changed(self, _event: object) -> None:
        """Note that an alert fires, has ended or is different."""
        if not self._rooms.has_members(ALERTS_ROOM):
            return
        with self._wake:
            self._is_changed = True
            self._wake.notify()

    def snapshot(self) -> AlertChange:
        """Return everything as it is now; whoever watches already is told first of what is different."""
        with self._order:
            self._push()
            return self._told

    def _run(self) -> None:
        while not self._stopping.is_set():
            with self._wake:
                self._wake.wait_for(lambda: self._is_changed or self._stopping.is_set())
                self._is_changed = False
            if self._stopping.is_set():
                return
            try:
                with self._order:
                    self._push()
            except Exception:
                logger.exception("the alerts on the page could not be updated; the next change tries again")
            self._stopping.wait(push_window_s(sum(count.firing for count in self._told.counts.values())))

    def _push(self) -> None:
        now, before = self._now(), self._told
        self._told = now
        known = {alert.id: alert for alert in before.alerts}
        changed = [alert for alert in now.alerts if known.pop(alert.id, None) != alert]
        marks = {worker: mark for worker, mark in now.marks.items() if before.marks.get(worker) != mark}
        marks |= {worker: {} for worker in before.marks if worker not in now.marks}
        if not (changed or known or marks) and (now.counts, now.rules) == (before.counts, before.rules):
            return
        change = AlertChange(now.time, now.counts, now.rules, changed, list(known), marks)
        self._rooms.emit("alerts_changed", msgspec.Raw(msgspec.json.encode(change)), ALERTS_ROOM)

    def _now(self) -> AlertChange:
        now = time.time()
        firing = sorted(self._desk.active(), key=place_of)
        shown = alert_views(gravest(firing), self._desk, self._fleet)
        return AlertChange(now, counts_of(firing), rules_of(firing), shown, [], marks_of(firing))
