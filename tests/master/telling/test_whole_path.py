"""From what a worker publishes to what people are told, through a real broker and master."""

from __future__ import annotations

import datetime
import time
from pathlib import Path

import pytest

from gpumon.settings import AlertSettings, ChannelSettings, PageSettings, Settings
from master.alerts.records import Severity
from master.alerts.rules import QuietHours, Rule
from master.store.engine import Store
from tests.master.support import Publisher, info, running_master, sample
from tests.master.telling.services import http_service
from tests.master.telling.support import Desk, alert, tell, telling
from tests.support import eventually


def test_an_xid_is_told_to_whom_it_concerns_and_a_hanging_service_holds_up_nobody(
    tmp_path: Path, mosquitto_port: int, publisher: Publisher
) -> None:
    with http_service() as good, http_service("hangs") as bad:
        channels = {
            "oncall": ChannelSettings(webhook=f"http://{good.address}/", severities=["page"], gather_s=0),
            "hanging": ChannelSettings(webhook=f"http://{bad.address}/", gather_s=0),
        }
        settings = Settings(
            alerts=AlertSettings(channels=channels), page=PageSettings(origins=["https://gpumon.example.org"])
        )
        with running_master(tmp_path / "data", mosquitto_port, settings) as master:
            publisher.publish("gpumon/w1/status", "online", retain=True)
            publisher.publish("gpumon/w1/info", info(), retain=True)
            publisher.publish("gpumon/w1/metrics", sample())
            event = {"v": 1, "time": time.time(), "kind": "xid", "gpu": "GPU-0", "value": 79, "text": "off the bus"}
            publisher.publish("gpumon/w1/event", event)
            publisher.publish("gpumon/w1/event", event | {"value": 31})
            eventually(lambda: good.posts and bad.posts, 40)
            (told,) = good.posts[0].content["alerts"]
            assert (told["rule"], told["worker_id"], told["gpu"]) == ("xid-critical", "w1", "GPU-0")
            (fires,) = [each for each in master.alerts.active() if each.severity is Severity.PAGE]
            assert told["url"] == f"https://gpumon.example.org/alerts/{fires.id}"
            waiting = {view.name: view.waiting for view in master.telling.channels()}
            assert waiting["hanging"] >= 1
            # The answer has still to come back when the service has the message.
            eventually(lambda: next(view for view in master.telling.channels() if view.name == "oncall").waiting == 0)
            began = time.monotonic()
            master.stop()
            assert time.monotonic() - began < 30  # and not for as long as it hangs
        assert len(good.posts) == 1
        assert master.telling.channels()[1].last_problem == "the master is being stopped"


@pytest.mark.sqlite
def test_default_quiet_hours_hold_for_all_but_page_and_a_rules_own_ones_win(store: Store) -> None:
    now = datetime.datetime.now().astimezone()
    minute = now.hour * 60 + now.minute
    present = QuietHours((minute - 60) % 1440, (minute + 60) % 1440)
    elsewhere = QuietHours((minute + 120) % 1440, (minute + 180) % 1440)
    alerts = [
        alert(1),
        alert(2, severity=Severity.PAGE),
        alert(3, rule="own"),
        alert(4, rule="quiet", severity=Severity.PAGE),
    ]
    rules = {
        "own": Rule("own", alert().kind, quiet_hours=elsewhere),
        "quiet": Rule("quiet", alert().kind, quiet_hours=present),
    }
    with http_service() as service:
        channels = {"hook": ChannelSettings(webhook=f"http://{service.address}/", gather_s=0.5)}
        with telling(store, Desk(rules=rules), channels, quiet_hours=str(present)) as running:
            tell(running, *alerts)
            eventually(lambda: service.posts, 30)
            assert running.channels()[0].waiting == 2
    assert sorted(each["id"] for post in service.posts for each in post.content["alerts"]) == ["a-2", "a-3"]
