"""When a channel tells what: gathering, holding back, trying again, and going on after a restart."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import NoReturn

import pytest

from master.alerts.records import Alert, Severity
from master.alerts.rules import QuietHours
from master.store.engine import Store, StoreError
from master.telling.notifications import MOST_ATTEMPTS, pause_s
from tests.master.telling.support import HOUR_S, NO_ANSWER, NOON, REFUSED, TimedChannel, alert, over


def test_an_alert_is_told_once_after_a_short_wait_and_so_is_its_end(channel: TimedChannel) -> None:
    channel.changes(alert())
    assert channel.told(9) == []
    assert channel.told(2) == [("a-1", "firing")]
    channel.changes(replace(alert(), value=95.0))
    channel.changes(alert())
    assert channel.told(HOUR_S) == []
    channel.changes(over(alert()))
    assert channel.told() == [("a-1", "resolved")]
    channel.changes(over(alert()))
    assert channel.told(HOUR_S) == []


def test_a_hundred_at_once_are_one_message(channel: TimedChannel) -> None:
    channel.changes(*(alert(number) for number in range(60)))
    channel.passes(5)
    channel.changes(*(alert(number) for number in range(60, 100)))
    messages = channel.passes(60)
    assert [len(message.items) for message in messages] == [100]
    assert "100 alerts fire" in messages[0].title


def test_a_channel_tells_what_it_is_for_alone(store: Store) -> None:
    made = TimedChannel(store, severities=frozenset({Severity.PAGE}), labels={"rack": "3"})
    try:
        made.changes(
            alert(1),
            alert(2, severity=Severity.PAGE),
            alert(3, severity=Severity.PAGE, labels={"rack": "4"}),
            alert(4, severity=Severity.PAGE, labels={"rack": "3", "row": "b"}),
        )
        assert made.told() == [("a-2", "firing"), ("a-4", "firing")]
    finally:
        made.stop()


def test_a_channel_without_ends_does_not_tell_them(store: Store) -> None:
    made = TimedChannel(store, resolved=False)
    try:
        made.changes(alert())
        assert made.told() == [("a-1", "firing")]
        made.changes(over(alert()))
        assert made.told(HOUR_S) == []
    finally:
        made.stop()


def test_what_ends_before_it_is_told_is_told_once_as_both(channel: TimedChannel) -> None:
    channel.changes(alert())
    channel.passes(5)
    channel.changes(over(alert()))
    assert channel.told() == [("a-1", "over")]
    assert channel.told(HOUR_S) == []
    assert {row.state for row in channel.kept().values()} == {"sent"}


def test_a_note_that_ends_before_it_is_told_is_not_told_at_all(channel: TimedChannel) -> None:
    note = alert(severity=Severity.NOTE)
    channel.changes(note, over(note))
    assert channel.told(HOUR_S) == []
    assert {row.state for row in channel.kept().values()} == {"dropped"}


@pytest.mark.parametrize("held", [alert(1, silenced=True), alert(1, acknowledged_by="anna")])
def test_what_is_held_back_is_told_afterwards_if_it_still_fires(channel: TimedChannel, held: Alert) -> None:
    also = replace(held, id="a-2")
    channel.changes(held, also)
    assert channel.told(2 * HOUR_S) == []
    channel.changes(over(also), alert(1))
    assert channel.told() == [("a-1", "firing")]
    assert channel.runner.waiting == 0


def test_what_ends_while_it_is_held_back_is_never_told(channel: TimedChannel) -> None:
    silenced = alert(silenced=True)
    channel.changes(silenced)
    assert channel.told(HOUR_S) == []
    channel.changes(over(silenced))
    assert channel.told(HOUR_S) == []


def test_the_end_of_what_was_told_is_told_though_it_was_acknowledged(channel: TimedChannel) -> None:
    channel.changes(alert())
    assert channel.told() == [("a-1", "firing")]
    seen = alert(acknowledged_by="anna")
    channel.changes(seen)
    channel.changes(over(seen))
    assert channel.told() == [("a-1", "resolved")]


def test_the_end_of_what_was_told_is_not_told_while_it_is_silenced(channel: TimedChannel) -> None:
    channel.changes(alert())
    assert channel.told() == [("a-1", "firing")]
    channel.changes(over(alert(silenced=True)))
    assert channel.told(HOUR_S) == []


def test_nobody_is_told_in_quiet_hours_and_all_is_when_they_end(channel: TimedChannel) -> None:
    local_noon = datetime.datetime.fromtimestamp(NOON).astimezone()
    begin = local_noon.hour * 60 + local_noon.minute
    quiet = QuietHours(begin, (begin + 120) % 1440)
    channel.quiet = {"hot": quiet}
    channel.changes(alert(1), alert(2), alert(3, rule="power"))
    assert channel.told(HOUR_S) == [("a-3", "firing")]
    channel.changes(over(alert(2)))
    assert channel.told(HOUR_S - 120) == []
    assert channel.told(240) == [("a-1", "firing")]
    assert channel.now < NOON + 2 * HOUR_S + 240


def test_a_service_that_refuses_is_tried_again_with_growing_pauses(channel: TimedChannel) -> None:
    channel.outcomes = [REFUSED] * 4
    channel.changes(alert())
    assert channel.told(10 + sum(pause_s(n) for n in (1, 2, 3)) + 3) == []
    assert "Connection refused" in str(channel.runner.last_problem)
    assert channel.told(pause_s(4) + 5) == [("a-1", "firing")]
    assert not channel.sent[0].is_repeated
    assert channel.runner.last_problem is None
    assert channel.runner.last_sent is not None


def test_what_cannot_be_told_for_a_day_is_given_up_and_said_so(channel: TimedChannel) -> None:
    channel.outcomes = [REFUSED] * (MOST_ATTEMPTS + 10)
    channel.changes(alert())
    channel.passes(23 * HOUR_S)
    assert channel.runner.waiting == 1
    channel.passes(2 * HOUR_S)
    assert channel.runner.waiting == 0
    assert "given up after a day" in str(channel.runner.last_problem)
    assert channel.kept()["a-1", "firing"].state == "failed"
    channel.changes(over(alert()))
    assert channel.told(HOUR_S) == []  # nobody knows that it began


def test_what_ends_while_its_service_is_down_is_told_once_as_both(channel: TimedChannel) -> None:
    channel.outcomes = [REFUSED, REFUSED]
    channel.changes(alert())
    channel.passes(15)
    channel.changes(over(alert()))
    assert channel.told() == [("a-1", "over")]


def test_what_a_service_refuses_does_not_hold_up_what_comes_after_it(channel: TimedChannel) -> None:
    channel.outcomes = [REFUSED] * 6
    channel.changes(alert(1))
    channel.passes(10 + sum(pause_s(n) for n in range(1, 6)) + 10)
    channel.outcomes = []
    channel.changes(alert(2))
    assert channel.told(15) == [("a-2", "firing")]
    assert channel.told(400) == [("a-1", "firing")]


def test_a_message_of_which_nobody_knows_whether_it_arrived_is_the_same_one_when_sent_again(
    channel: TimedChannel,
) -> None:
    channel.outcomes = [NO_ANSWER, REFUSED]
    channel.changes(alert(1), alert(2))
    first = channel.passes(15)[0]
    channel.changes(over(alert(1)), alert(3))
    later = channel.passes(120)
    again = next(message for message in later if message.is_repeated)
    assert again.id == first.id
    assert "perhaps told before" in again.title
    assert {(item.alert.id, item.told) for item in again.items} == {("a-1", "firing"), ("a-2", "firing")}
    others = [(item.alert.id, item.told) for message in later if message is not again for item in message.items]
    assert sorted(others) == [("a-1", "resolved"), ("a-3", "firing")]


def test_what_was_perhaps_told_as_both_is_sent_again_as_both(channel: TimedChannel) -> None:
    channel.outcomes = [NO_ANSWER]
    channel.changes(alert(), over(alert()))
    first, again = channel.passes(HOUR_S)
    assert (first.items[0].told, again.items[0].told) == ("over", "over")
    assert (first.id, again.is_repeated) == (again.id, True)
    assert {row.state for row in channel.kept().values()} == {"sent"}


def test_what_was_perhaps_told_is_not_told_again_once_somebody_has_seen_it(channel: TimedChannel) -> None:
    channel.outcomes = [NO_ANSWER]
    channel.changes(alert())
    assert len(channel.passes(12)) == 1
    seen = alert(acknowledged_by="anna")
    channel.changes(seen)
    assert channel.told(HOUR_S) == []
    channel.changes(over(seen))
    assert channel.told(HOUR_S) == [("a-1", "resolved")]


def test_what_was_being_sent_at_a_kill_is_sent_again_as_the_same_message(channel: TimedChannel) -> None:
    killed_as: list[str] = []

    def kill() -> None:
        killed_as.append(channel.kept()["a-1", "firing"].state)
        channel.during_send = None
        raise KeyboardInterrupt

    channel.during_send = kill
    channel.changes(alert())
    channel.now += 11
    with pytest.raises(KeyboardInterrupt):
        channel.runner.look()
    assert killed_as == ["sending"]
    kept = channel.kept()["a-1", "firing"]
    channel.start()
    (again,) = channel.passes(60)
    assert again.is_repeated
    assert again.id == kept.message


def test_a_restart_tells_nothing_twice_and_loses_nothing(channel: TimedChannel) -> None:
    channel.changes(alert(1))
    assert channel.told() == [("a-1", "firing")]
    channel.changes(alert(2))
    assert channel.outbox.put([])
    channel.keep(alert(3), over(alert(1), channel.now), over(alert(4, since=channel.now - 5), channel.now))
    channel.start()  # killed before 3, 4 and the end of 1 were put down
    assert sorted(channel.told()) == [("a-1", "resolved"), ("a-2", "firing"), ("a-3", "firing"), ("a-4", "over")]
    channel.start()
    assert channel.told(HOUR_S) == []


def test_a_new_channel_is_told_what_fires_and_nothing_of_yesterday(channel: TimedChannel) -> None:
    channel.keep(alert(1), over(alert(2), NOON))
    channel.start()
    assert channel.told() == [("a-1", "firing")]


def test_a_clock_that_is_set_back_keeps_nothing_from_being_told(channel: TimedChannel) -> None:
    channel.changes(alert())
    channel.now -= 30 * 24 * HOUR_S
    assert channel.told(120) == [("a-1", "firing")]


def test_what_is_told_is_kept_as_long_as_alerts_are(channel: TimedChannel) -> None:
    channel.changes(alert(1), alert(2))
    channel.passes(60)
    channel.changes(over(alert(1)))
    channel.passes(60)
    channel.outbox.put([])
    channel.outbox.prune(NOON + 10 * HOUR_S)
    assert channel.writer.flush()
    assert set(channel.kept()) == {("a-2", "firing")}  # it still fires: else it would be told again


@pytest.mark.sqlite
def test_a_database_that_cannot_be_written_keeps_nobody_from_being_told(
    channel: TimedChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel.changes(alert(1))
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", _disk_is_full)
        assert channel.told() == [("a-1", "firing")]
        assert not channel.outbox.put([])
    assert channel.kept()["a-1", "firing"].state == "sent"
    channel.start()
    assert channel.told(HOUR_S) == []


def _disk_is_full(_store: Store) -> NoReturn:
    raise StoreError("database gpumon.db cannot grow, the disk is full: free some space")
