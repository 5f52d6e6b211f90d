"""Alerts as they are pushed: to every browser what fires, to those who look at a worker what is about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support import eventually
from tests.webui.alerting import ask, firing, rule
from tests.webui.conftest import LiveClient
from tests.webui.running import RunningPage
from tests.webui.worker_double import WorkerDouble, reading

Workers = Callable[..., WorkerDouble]
Live = Callable[[str], LiveClient]


def pushed(client: LiveClient, double: WorkerDouble) -> list[dict[str, Any]]:
    """Return what was pushed of a worker's alerts, in order."""
    changes = client.of("alerts_changed")
    return [alert for change in changes for alert in change["alerts"] if alert["worker_id"] == double.id]


def test_an_alert_is_pushed_when_it_fires_is_acknowledged_and_ends(
    page: RunningPage, worker: Workers, live: Live
) -> None:
    name, labels = rule(page)
    double = worker("live", [reading(0)], labels=labels)
    client = live("vera")
    before = client.watch("alerts")
    assert set(before["counts"]) == {"page", "warning", "note"}

    double.sample([reading(0, temperature_c=91)])
    alert = eventually(lambda: pushed(client, double))[0]
    assert (alert["rule"], alert["value"], alert["acknowledged_by"]) == (name, 91, None)
    marks = [change["marks"][double.id] for change in client.of("alerts_changed") if double.id in change["marks"]]
    assert marks == [{"": "page", alert["gpu"]: "page"}]

    ask(page, "olaf", "POST", f"alerts/{alert['id']}/acknowledge")
    eventually(lambda: pushed(client, double)[-1]["acknowledged_by"] == "olaf")

    double.sample([reading(0, temperature_c=40)])
    eventually(lambda: any(alert["id"] in change["gone"] for change in client.of("alerts_changed")))
    assert client.of("alerts_changed")[-1]["marks"][double.id] == {}


def test_who_comes_later_is_answered_what_fires(page: RunningPage, worker: Workers, live: Live) -> None:
    name, labels = rule(page)
    double = worker("later", [reading(0, temperature_c=91)], labels=labels)
    [alert] = firing(page, double)

    snapshot = live("olaf").watch("alerts")

    assert alert["id"] in {each["id"] for each in snapshot["alerts"]}
    assert [(each["firing"], each["workers"]) for each in snapshot["rules"] if each["rule"] == name] == [(1, 1)]
    assert snapshot["marks"][double.id] == {"": "page", alert["gpu"]: "page"}


def test_who_looks_at_a_worker_is_told_of_its_alerts_alone(page: RunningPage, worker: Workers, live: Live) -> None:
    _, labels = rule(page)
    ours, theirs = (worker("watched", [reading(0)], labels=labels) for _ in range(2))
    client = live("vera")
    eventually(lambda: client.knows(ours, theirs))
    assert client.watch(f"worker:{ours.id}")["alerts"] == []

    for double in (theirs, ours):
        double.sample([reading(0, temperature_c=91)])
    told = eventually(lambda: client.of("worker_alert"))[0]
    assert (told["id"], told["alert"]["state"]) == (ours.id, "firing")
    firing(page, theirs)
    assert {each["id"] for each in client.of("worker_alert")} == {ours.id}
    assert [each["id"] for each in client.watch(f"worker:{ours.id}")["alerts"]] == [told["alert"]["id"]]

    ours.sample([reading(0, temperature_c=40)])
    eventually(lambda: client.of("worker_alert")[-1]["alert"]["state"] == "resolved")


def test_everybody_is_told_that_rules_or_silences_are_others(page: RunningPage, live: Live) -> None:
    client = live("vera")
    eventually(lambda: client.watch("alerts"))

    rule(page)

    eventually(lambda: client.of("alert_rules_changed"))


def test_many_at_once_come_in_few_pushes(page: RunningPage, worker: Workers, live: Live) -> None:
    name, labels = rule(page)
    doubles = [worker("many", [reading(index) for index in range(8)], labels=labels) for _ in range(12)]
    client = live("vera")
    eventually(lambda: client.knows(*doubles))
    client.watch("alerts")
    client.events.clear()

    for double in doubles:
        double.sample([reading(index, temperature_c=90) for index in range(8)])

    def counted() -> int:
        changes = client.of("alerts_changed")
        return sum(each["firing"] for each in changes[-1]["rules"] if each["rule"] == name) if changes else 0

    eventually(lambda: counted() == 96)
    changes = client.of("alerts_changed")
    shown = {alert["id"] for change in changes for alert in change["alerts"]} - {
        gone for change in changes for gone in change["gone"]
    }
    assert len(shown) <= 200
    assert len(changes) < 48
