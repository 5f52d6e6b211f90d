"""One channel: what it has to tell, and the thread that tells it."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from master.alerts.records import Alert
from master.telling.channels import Channel
from master.telling.courier import Delivery
from master.telling.decisions import Decision, Verdict, decide_firing, decide_resolved
from master.telling.message import Item, Message, in_order
from master.telling.notifications import Key, Notification, What
from master.telling.outbox import Outbox
from master.telling.words import body_of, title_of

logger = logging.getLogger(__name__)

LOOK_AT_LATEST_S = 60.0
# Between two messages, so that a fault here or there is no flood.
BETWEEN_MESSAGES_S = 1.0

Send = Callable[[Channel, Message], Delivery]
QuietUntil = Callable[[Alert, float], float | None]


@dataclass(frozen=True, slots=True)
class _Ready:
    """A notification that can be told now, and what is told by it."""

    row: Notification
    item: Item
    end: Notification | None = None

    @property
    def rows(self) -> tuple[Notification, ...]:
        """All of which it tells: where what has begun is over by now, both."""
        return (self.row,) if self.end is None else (self.row, self.end)


class ChannelRunner:
    """Keeps what one channel has to tell and tells it, in a thread of its own. Constructing it does nothing.

    `take` is quick and may be called from any thread; `look` tells what is due, and is called by the thread alone.
    """

    def __init__(
        self,
        channel: Channel,
        outbox: Outbox,
        send: Send,
        *,
        clock: Callable[[], float],
        quiet_until: QuietUntil,
        page: str | None,
    ) -> None:
        self.channel = channel
        self.last_sent: float | None = None
        self.last_problem: str | None = None
        self._outbox = outbox
        self._send = send
        self._clock = clock
        self._quiet_until = quiet_until
        self._page = page
        self._rows: dict[Key, Notification] = {}
        self._alerts: dict[str, Alert] = {}
        self._condition = threading.Condition()
        self._has_news = False
        self._is_stopping = False
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """How many notifications are still to be told."""
        with self._condition:
            return sum(row.is_open for row in self._rows.values())

    def load(self, rows: Sequence[Notification], alerts: dict[str, Alert]) -> None:
        """Go on with what was kept; what was being sent when the master ended is sent again, marked as repeated."""
        now = self._clock()
        found = [row.taken_up(now) for row in rows]
        with self._condition:
            self._set(row for row in found if row.alert_id in alerts)
            self._alerts = {alert_id: alerts[alert_id] for alert_id, _ in self._rows}
            self.last_problem = next((row.problem for row in found if row.state in ("waiting", "failed")), None)
        orphans = [row for row in found if row.is_open and row.alert_id not in alerts]
        kept = [row for row, before in zip(found, rows, strict=True) if row is not before and row not in orphans]
        self._outbox.put_soon([*kept, *(row.dropped(now, "its alert is not kept any more") for row in orphans)])

    def take(self, alert: Alert, *, was_missed: bool = False) -> None:
        """Take up an alert as it is now: that it fires or has ended is put down once, to be told.

        One that is over and was never heard of is one of which all was told, unless it `was_missed`.
        """
        with self._condition:
            before = self._alerts.get(alert.id)
            if before is None and not (self.channel.wants(alert) and (alert.is_firing or was_missed)):
                return
            self._alerts[alert.id] = alert
            new = self._new_rows(alert)
            self._set(new)
            if new or before is None or _standing(before) != _standing(alert):
                self._has_news = True
                self._condition.notify_all()
        self._outbox.put_soon(new)

    def look_again(self) -> None:
        """Have the thread see what can be told under other rules than before."""
        with self._condition:
            self._has_news = True
            self._condition.notify_all()

    def start(self) -> None:
        """Begin to tell."""
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name=f"telling-{self.channel.name}", daemon=True)
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Have the thread end after what it is sending."""
        with self._condition:
            self._is_stopping = True
            self._condition.notify_all()

    def wait_stopped(self, timeout_s: float) -> bool:
        """Wait for the thread's end; False where it goes on."""
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def look(self) -> float:
        """Tell what is due, and return when to look again (seconds since 1970)."""
        now = self._clock()
        with self._condition:
            self._has_news = False
            ready, until = self._decide(now)
        groups = _groups(ready, now)
        for group in groups:
            if self._is_stopping:
                break
            self._tell(group)
        with self._condition:
            self._forget_settled()
            dues = [row.due for row in self._rows.values() if row.is_open and row.key not in until]
        # The end of an alert waits for its beginning to be told.
        again = now if groups else now + LOOK_AT_LATEST_S
        return min([*dues, *until.values(), again])

    def _run(self) -> None:
        while True:
            try:
                at = self.look()
            except Exception:
                # Nothing here is expected to fail; whatever does must not keep people from being told of the rest.
                logger.exception("channel %s could not tell what is due; it is tried again", self.channel.name)
                at = self._clock() + BETWEEN_MESSAGES_S
            with self._condition:
                wait_s = max(at - self._clock(), BETWEEN_MESSAGES_S)
                self._condition.wait_for(lambda: self._is_stopping or self._has_news, min(wait_s, LOOK_AT_LATEST_S))
                if self._is_stopping:
                    return

    def _new_rows(self, alert: Alert) -> list[Notification]:
        now = self._clock()
        tells_of_end = self.channel.resolved and not alert.is_firing
        needed: tuple[What, ...] = ("firing", "resolved") if tells_of_end else ("firing",)
        return [
            Notification(alert.id, what, self.channel.name, now, now + self.channel.gather_s)
            for what in needed
            if (alert.id, what) not in self._rows
        ]

    def _decide(self, now: float) -> tuple[list[_Ready], dict[Key, float]]:
        """Return what can be told, and when to look again at what waits for something; settle the rest."""
        ready: list[_Ready] = []
        until: dict[Key, float] = {}
        settled: list[Notification] = []
        for row in [row for row in self._rows.values() if row.is_open]:
            alert = self._alerts[row.alert_id]
            decision = self._decision(row, alert, now)
            if decision.verdict is Verdict.WAIT:
                until[row.key] = decision.until if decision.until is not None else now + LOOK_AT_LATEST_S
            elif decision.verdict is Verdict.TELL:
                ready.append(_Ready(row, Item(alert if row.what == "resolved" else _as_firing(alert), row.what)))
            elif decision.verdict is Verdict.TELL_BOTH:
                ready.append(_Ready(row, Item(alert, "over"), self._end_of(row)))
            else:
                is_told = decision.verdict is Verdict.SETTLE
                settled.append(row.sent(now) if is_told else row.dropped(now, decision.why))
                end = self._end_of(row)
                if is_told and end is not None and end.message == row.message:
                    settled.append(end.sent(now))
        self._set(settled)
        self._outbox.put_soon(settled)
        return ready, until

    def _decision(self, row: Notification, alert: Alert, now: float) -> Decision:
        quiet_until = self._quiet_until(alert, now)
        if row.what == "firing":
            end = self._end_of(row)
            return decide_firing(row, alert, quiet_until, end=end, tells_ends=self.channel.resolved)
        return decide_resolved(alert, self._rows.get((row.alert_id, "firing")), quiet_until)

    def _tell(self, group: Sequence[_Ready]) -> None:
        now = self._clock()
        is_repeated = group[0].row.message is not None
        message = self._message(group, now, is_repeated=is_repeated)
        rows = [row.sending(message.id) for each in group for row in each.rows]
        self._keep(rows)
        delivery = self._send(self.channel, message)
        now = self._clock()
        if delivery.outcome == "sent":
            self._keep([row.sent(now) for row in rows])
            self.last_sent, self.last_problem = now, None
            return
        problem = delivery.problem or "it could not be sent"
        is_uncertain = is_repeated or delivery.outcome == "uncertain"
        failed = [row.not_sent(now, problem, is_uncertain=is_uncertain) for row in rows]
        self._keep(failed)
        self._note_problem(problem, sum(row.state == "failed" for row in failed))

    def _end_of(self, row: Notification) -> Notification | None:
        end = self._rows.get((row.alert_id, "resolved"))
        return end if row.what == "firing" and end is not None and end.is_open else None

    def _message(self, group: Sequence[_Ready], now: float, *, is_repeated: bool) -> Message:
        items = in_order({f"{each.row.alert_id} {each.row.what}": each.item for each in group})
        before = {each.row.message for each in group}
        # The same id only for the very same content: who has seen it drops it.
        with self._condition:
            others = [row for row in self._rows.values() if row.is_open and row.message in before and row.message]
        is_whole = len(others) == sum(len(each.rows) for each in group)
        message_id = next(iter(before)) if is_repeated and is_whole else None
        return Message(
            id=message_id or f"m-{secrets.token_hex(12)}",
            channel=self.channel.name,
            time=now,
            items=items,
            title=title_of(items, is_repeated=is_repeated),
            body=body_of(items, self._page, is_repeated=is_repeated),
            is_repeated=is_repeated,
        )

    def _note_problem(self, problem: str, given_up: int) -> None:
        first = self.last_problem is None
        self.last_problem = problem
        if given_up:
            self.last_problem = f"{given_up} told nobody and were given up after a day of attempts: {problem}"
            logger.error("channel %s: %s", self.channel.name, self.last_problem)
        elif first:
            logger.warning("channel %s cannot tell of alerts, it is tried again: %s", self.channel.name, problem)

    def _keep(self, rows: Sequence[Notification]) -> None:
        with self._condition:
            self._set(rows)
        self._outbox.put(rows)

    def _set(self, rows: Iterable[Notification]) -> None:
        self._rows.update({row.key: row for row in rows})

    def _forget_settled(self) -> None:
        """Let go of alerts that are over and of which all is told."""
        over = [alert.id for alert in self._alerts.values() if not alert.is_firing]
        for alert_id in over:
            rows = [row for what in ("firing", "resolved") if (row := self._rows.get((alert_id, what))) is not None]
            if not any(row.is_open for row in rows) and (len(rows) == 2 or not self.channel.resolved):
                del self._alerts[alert_id]
                for row in rows:
                    del self._rows[row.key]


def _groups(ready: Sequence[_Ready], now: float) -> list[list[_Ready]]:
    """Return what goes into one message each: what may be repeated as it was, what is new, what failed before."""
    repeated: dict[str, list[_Ready]] = {}
    for each in ready:
        if each.row.message is not None:
            repeated.setdefault(each.row.message, []).append(each)
    new = [each for each in ready if each.row.message is None and each.row.attempts == 0]
    failed = [each for each in ready if each.row.message is None and each.row.attempts > 0]
    # What is not due yet goes with what is. What failed goes apart: it may be why a service refuses a message.
    return [group for group in (*repeated.values(), new, failed) if any(each.row.is_due(now) for each in group)]


def _standing(alert: Alert) -> tuple[object, ...]:
    return alert.state, alert.silenced, alert.acknowledged_by


def _as_firing(alert: Alert) -> Alert:
    """Return an alert as it was while it fired."""
    return alert if alert.is_firing else replace(alert, state="firing", until=None)
