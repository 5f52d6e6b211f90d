"""Alerts where two masters share a fleet: each found by one, shown by both, told once, taken over by the other."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.end_to_end.page_client import PageClient
from tests.master.support import Publisher, gpu, info, sample
from tests.peers.conftest import Ground
from tests.peers.support import MasterProcess
from tests.support import eventually

# So many that each of the two masters surely keeps some.
WORKERS = [f"w{number:02d}" for number in range(14)]

Masters = tuple[MasterProcess, MasterProcess]


@pytest.fixture(scope="module")
def publisher(ground: Ground, masters: Masters) -> Iterator[Publisher]:
    """Speaks for workers that both masters know."""
    speaker = Publisher(ground.mqtt_port)
    for name in WORKERS:
        speaker.publish(f"gpumon/{name}/status", "online", retain=True)
        speaker.publish(f"gpumon/{name}/info", info(interval_s=60), retain=True)
        speaker.publish(f"gpumon/{name}/metrics", sample(interval_s=60), retain=True)
    yield speaker
    speaker.stop()


@pytest.fixture(scope="module")
def pages(masters: Masters, publisher: Publisher) -> list[PageClient]:
    """Somebody on each page."""
    opened = [master.client() for master in masters]
    eventually(lambda: all({row["id"] for row in page.workers()} >= set(WORKERS) for page in opened), 20)
    return opened


def test_what_each_master_finds_is_on_both_pages_is_told_once_and_is_acknowledged_from_either(
    ground: Ground, pages: list[PageClient], publisher: Publisher
) -> None:
    _xid(publisher, 79)
    eventually(lambda: all(len(_firing(page)) == len(WORKERS) for page in pages), 20)
    kept = ground.sql("SELECT worker_id, count(*) FROM alerts WHERE rule = 'xid-critical' GROUP BY worker_id")
    assert dict(kept) == dict.fromkeys(WORKERS, 1)
    eventually(lambda: sum(_told(ground).values()) >= len(WORKERS), 20)
    assert set(_told(ground).values()) == {1}
    for number, alert in enumerate(_firing(pages[0]).values()):
        pages[number % 2].send("POST", f"alerts/{alert['id']}/acknowledge", {"note": "seen"})
    for page in pages:
        eventually(lambda page=page: {a["acknowledged_by"] for a in _firing(page).values()} == {"ann"}, 10)  # type: ignore[misc]


def test_rules_silences_and_the_channel_are_the_same_on_both_pages(pages: list[PageClient]) -> None:
    here, there = pages
    here.send("PUT", "alerts/rules/very-hot", {"kind": "temperature", "severity": "page", "above": "70 °C", "for_s": 0})
    eventually(lambda: "very-hot" in [rule["name"] for rule in there.get("alerts/rules")["rules"]])
    silence = there.send(
        "POST", "alerts/silences", {"until": time.time() + 600, "reason": "moving", "rule": "very-hot"}
    )
    eventually(lambda: [each["reason"] for each in here.get("alerts/silences")["silences"]] == ["moving"])
    here.send("DELETE", f"alerts/silences/{_id_of(silence)}")
    eventually(lambda: there.get("alerts/silences")["silences"] == [])
    for page in pages:
        (channel,) = page.get("alerts/channels")["channels"]
        assert channel["name"] == "hook"
        assert channel["last_sent"] is not None
        assert page.send("POST", "alerts/channels/hook/test") == {"problem": None}


def test_who_survives_goes_on_with_all_alerts_and_with_what_happened_while_nobody_kept_their_workers(
    ground: Ground, masters: Masters, pages: list[PageClient], publisher: Publisher
) -> None:
    leader = 0 if "this master leads" in masters[0].said() else 1
    survivor = pages[1 - leader]
    before = _firing(survivor)
    masters[leader].kill()
    _xid(publisher, 79)
    eventually(lambda: {alert["count"] for alert in _firing(survivor).values()} == {2}, 20)
    assert {name: alert["id"] for name, alert in _firing(survivor).items()} == {
        name: alert["id"] for name, alert in before.items()
    }
    assert {alert["acknowledged_by"] for alert in _firing(survivor).values()} == {"ann"}
    for name in WORKERS:
        hot = sample(1, interval_s=60, gpus=[gpu(temperature_c=75)])
        publisher.publish(f"gpumon/{name}/metrics", hot, retain=True)
    eventually(lambda: len(_firing(survivor, "very-hot")) == len(WORKERS), 20)
    eventually(lambda: len(_told(ground)) == 2 * len(WORKERS), 20)
    masters[leader].start()
    eventually(lambda: all(master.shares_with(1) for master in masters), 60)
    assert len(_firing(pages[leader], "very-hot")) == len(WORKERS)
    assert set(_told(ground).values()) == {1}


def _xid(publisher: Publisher, number: int) -> None:
    for name in WORKERS:
        event = {"v": 1, "time": time.time(), "kind": "xid", "gpu": "GPU-0", "value": number, "text": "off the bus"}
        publisher.publish(f"gpumon/{name}/event", event)


def _firing(page: PageClient, rule: str = "xid-critical") -> dict[str, dict[str, object]]:
    alerts = page.get(f"alerts?rule={rule}&limit=100")["alerts"]
    return {alert["worker_id"]: alert for alert in alerts}


def _told(ground: Ground) -> Counter[str]:
    posts = [post.content for post in ground.hook.posts]
    return Counter(alert["id"] for post in posts for alert in post.get("alerts", ()))


def _id_of(silence: dict[str, object]) -> object:
    found = silence.get("silence", silence)
    return found["id"] if isinstance(found, dict) else None
