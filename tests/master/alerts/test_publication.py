"""Alerts on MQTT: retained, right after every connect, cleared with their worker or rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gpumon.settings import AlertSettings, Settings
from gpumon.topics import Topics
from master.alerts.rule_parsing import parse_rule
from master.master import Master
from tests.master.alerts.support import ANNA, hot
from tests.master.support import Publisher, gpu, info, running_master, sample
from tests.support import eventually

SETTINGS = Settings(alerts=AlertSettings(rules={"hot": {"for_s": 0}}))


@pytest.fixture
def running(tmp_path: Path, mosquitto_port: int) -> Iterator[Master]:
    """A master that is connected, with a rule that fires at once."""
    with running_master(tmp_path / "data", mosquitto_port, SETTINGS) as master:
        yield master


def start(publisher: Publisher, worker_id: str = "w1") -> None:
    publisher.publish(f"gpumon/{worker_id}/status", "online", retain=True)
    publisher.publish(f"gpumon/{worker_id}/info", info(), retain=True)


def retained(port: int, topic_filter: str = "gpumon/+/alert/+") -> dict[str, Any]:
    """What the broker keeps at present."""
    reader = Publisher(port)
    reader.hear(topic_filter)
    reader.hear("another")  # its answer comes after what is retained
    reader.stop()
    return {topic: _decoded(payload) for topic, payload in reader.received}


def _decoded(payload: bytes) -> Any:
    return msgspec.json.decode(payload) if payload.startswith(b"{") else {"state": payload}


def keeps(port: int, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait until the broker keeps what is wanted, and return it."""

    found: dict[str, Any] = {}

    def look() -> bool:
        found.clear()
        found.update(retained(port))
        return wanted(found)

    eventually(look, timeout_s=20.0, interval_s=0.1)
    return found


def test_an_alert_is_published_retained_and_says_resolved_when_it_is_over(
    running: Master, publisher: Publisher, mosquitto_port: int
) -> None:
    start(publisher)
    publisher.publish("gpumon/w1/metrics", sample(1, gpus=[hot(91, 0), hot(40, 1)]))
    found = keeps(mosquitto_port, bool)
    assert list(found) == ["gpumon/w1/alert/hot"]
    message = found["gpumon/w1/alert/hot"]
    alert = running.alerts.active()[0]
    assert message == {
        "v": 1,
        "rule": "hot",
        "state": "firing",
        "since": alert.since,
        "gpu": "GPU-0",
        "gpus": ["GPU-0"],
        "value": 91.0,
        "threshold": 85.0,
        "unit": "°C",
        "text": "GPU 0 (NVIDIA H200) is at 91 °C (at or above 85 °C)",
        "severity": "warning",
        "count": 1,
        "until": None,
    }
    publisher.publish("gpumon/w1/metrics", sample(2, gpus=[hot(91, 0), hot(95, 1)]))
    found = keeps(mosquitto_port, lambda kept: len(kept["gpumon/w1/alert/hot"]["gpus"]) == 2)
    assert found["gpumon/w1/alert/hot"]["gpu"] == "GPU-1"  # the one that began last
    publisher.publish("gpumon/w1/metrics", sample(3, gpus=[hot(91, 0), hot(40, 1)]))
    keeps(mosquitto_port, lambda kept: kept["gpumon/w1/alert/hot"]["gpus"] == ["GPU-0"])
    publisher.publish("gpumon/w1/metrics", sample(4, gpus=[hot(40, 0), hot(40, 1)]))
    found = keeps(mosquitto_port, lambda kept: kept["gpumon/w1/alert/hot"]["state"] == "resolved")
    assert found["gpumon/w1/alert/hot"]["gpus"] == []
    assert found["gpumon/w1/alert/hot"]["until"] is not None


def test_a_worker_that_is_removed_and_a_rule_that_is_turned_off_leave_nothing_at_the_broker(
    running: Master, publisher: Publisher, mosquitto_port: int
) -> None:
    for worker in ("w1", "w2"):
        start(publisher, worker)
        publisher.publish(f"gpumon/{worker}/metrics", sample(1, gpus=[hot(91)]))
    publisher.publish("gpumon/w2/event", {"time": 1, "kind": "xid", "gpu": "GPU-0", "value": 79, "text": "off"})
    keeps(mosquitto_port, lambda kept: len(kept) == 3)
    running.remove_worker("w1")
    keeps(mosquitto_port, lambda kept: set(kept) == {"gpumon/w2/alert/hot", "gpumon/w2/alert/xid-critical"})
    running.alerts.put_rule(parse_rule("hot", {"enabled": False}, running.alerts.rule("hot")), ANNA)
    keeps(mosquitto_port, lambda kept: set(kept) == {"gpumon/w2/alert/xid-critical"})


def test_what_the_broker_has_kept_from_before_is_set_right_at_the_next_connect(
    tmp_path: Path, publisher: Publisher, mosquitto_port: int
) -> None:
    start(publisher)
    with running_master(tmp_path / "data", mosquitto_port, SETTINGS) as master:
        publisher.publish("gpumon/w1/metrics", sample(1, gpus=[hot(91)]))
        keeps(mosquitto_port, bool)
        alert_id = master.alerts.active()[0].id
    topics = Topics()
    stale = {"v": 1, "state": "firing", "since": 5, "text": "from before"}
    publisher.publish(topics.alert("w1", "power"), stale | {"rule": "power"}, retain=True)
    publisher.publish(topics.alert("w1", "gone"), stale | {"rule": "gone"}, retain=True)
    publisher.publish(topics.alert("w9", "hot"), stale | {"rule": "hot"}, retain=True)
    publisher.publish(topics.alert("w1", "gpu-lost"), "no JSON", retain=True)
    publisher.publish(topics.alert("w1", "hot"), b"", retain=True)  # as if the broker had lost it
    with running_master(tmp_path / "data", mosquitto_port, SETTINGS) as master:
        found = keeps(
            mosquitto_port,
            lambda kept: (
                {topic: message["state"] for topic, message in kept.items()}
                == {"gpumon/w1/alert/hot": "firing", "gpumon/w1/alert/power": "resolved"}
            ),
        )
        assert found["gpumon/w1/alert/power"]["text"] == "from before"
        assert [alert.id for alert in master.alerts.active()] == [alert_id]
    publisher.publish("gpumon/w1/metrics", b"", retain=True)
    publisher.publish("gpumon/w1/status", b"", retain=True)


def test_an_xid_comes_through_a_real_broker_once(running: Master, publisher: Publisher) -> None:
    start(publisher)
    publisher.publish("gpumon/w1/metrics", sample(1, gpus=[gpu()]))
    event = {"time": 1, "kind": "xid", "gpu": "GPU-0", "value": 79, "text": "GPU has fallen off the bus"}
    publisher.publish("gpumon/w1/event", event)
    publisher.publish("gpumon/w1/event", event)
    (alert,) = eventually(running.alerts.active)
    assert (alert.rule, alert.count) == ("xid-critical", 1)
