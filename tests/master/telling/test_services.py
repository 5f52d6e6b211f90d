"""Services on bad days: none holds up another channel, the end of the master, or anything else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpumon.settings import ChannelSettings
from master.audit import Actor
from master.store.engine import Store
from master.telling.courier import Courier
from tests.master.telling.services import HttpService, Mood, http_service, silent_port
from tests.master.telling.support import Desk, alert, tell, telling
from tests.support import eventually

ANNA = Actor("anna", "page", "192.0.2.7")
pytestmark = pytest.mark.sqlite


@pytest.fixture
def courier() -> Iterator[Courier]:
    """What sends."""
    made = Courier()
    made.start()
    yield made
    made.stop()


def post(service: HttpService, path: str = "/hook") -> dict[str, object]:
    """A job for the process that sends."""
    return {"do": "webhook", "url": f"http://{service.address}{path}", "headers": {}, "body": "{}"}


@pytest.mark.parametrize(
    ("mood", "outcome", "told"),
    [
        ("well", "sent", None),
        ("drips", "sent", None),  # it has taken it; the rest of its answer does not matter
        (204, "sent", None),
        (302, "failed", "a redirect, which is not followed"),
        (404, "failed", "it answers 404"),
        (500, "uncertain", "it answers 500"),
        ("hangs", "uncertain", "no answer within"),
        ("drips headers", "uncertain", "no answer within"),
    ],
)
def test_a_webhook_is_ended_at_its_deadline_whatever_the_service_does(
    courier: Courier, mood: Mood, outcome: str, told: str | None
) -> None:
    with http_service(mood) as service:
        began = time.monotonic()
        delivery = courier.deliver(post(service), 3.0)
        assert time.monotonic() - began < 30
        assert delivery.outcome == outcome
        assert told is None or told in str(delivery.problem)
        assert len(service.posts) == 1


def test_what_cannot_be_reached_says_why_and_shows_no_secret(courier: Courier) -> None:
    for url, told in (
        ("http://127.0.0.1:1/s3cret", "Connection refused"),
        ("https://no-such-host.invalid/s3cret", "its name is not known"),
    ):
        delivery = courier.deliver({"do": "webhook", "url": url, "headers": {}, "body": "{}"}, 20.0)
        assert delivery.outcome in ("failed", "uncertain")
        assert told in str(delivery.problem) or "no answer" in str(delivery.problem)
        assert "s3cret" not in str(delivery.problem)


def test_a_service_without_a_word_is_ended_at_the_deadline(courier: Courier) -> None:
    with silent_port() as port:
        job = {"do": "apprise", "url": f"json://127.0.0.1:{port}/", "title": "t", "body": "b", "type": "info"}
        began = time.monotonic()
        assert courier.deliver(job, 2.0).outcome == "uncertain"
        assert time.monotonic() - began < 20


def test_a_stop_ends_what_is_being_sent(courier: Courier) -> None:
    with http_service("hangs") as service:
        found: list[object] = []
        thread = threading.Thread(target=lambda: found.append(courier.deliver(post(service), 60.0)))
        thread.start()
        eventually(lambda: service.posts)
        courier.stop()
        thread.join(10)
        assert not thread.is_alive()
        assert courier.deliver(post(service), 60.0).outcome == "uncertain"


@pytest.mark.parametrize("mood", ["hangs", "drips headers", 500])
def test_a_service_that_does_not_answer_hurts_no_other_channel_and_no_stop(store: Store, mood: Mood) -> None:
    with http_service(mood) as bad, http_service() as good:
        channels = {
            "bad": ChannelSettings(webhook=f"http://{bad.address}/", gather_s=0),
            "good": ChannelSettings(webhook=f"http://{good.address}/", gather_s=0),
        }
        desk = Desk()
        with telling(store, desk, channels) as running:
            tell(running, alert(1))
            eventually(lambda: bad.posts, 30)
            tell(running, alert(2))
            eventually(lambda: sum(len(post.content["alerts"]) for post in good.posts) == 2, 30)
            began = time.monotonic()
            running.stop()
            assert time.monotonic() - began < 20
            views = {view.name: view for view in running.channels()}
            assert views["good"].last_problem is None
            assert views["good"].last_sent is not None
            assert views["bad"].last_problem is not None
            assert views["bad"].waiting == 2
        # And the next start tells it, as the same message.
        bad.mood = "well"
        desk.alerts = {each.id: each for each in (alert(1), alert(2))}
        first = bad.posts[0].content
        with telling(store, desk, channels):
            eventually(lambda: {a["id"] for post in bad.posts for a in post.content["alerts"]} >= {"a-1", "a-2"}, 30)
            again = eventually(lambda: [post for post in bad.posts[1:] if post.content["id"] == first["id"]], 30)[-1]
        assert again.content["repeated"]
        assert again.headers["Idempotency-Key"] == first["id"]
        assert sum(len(post.content["alerts"]) for post in good.posts) == 2


def test_a_test_message_says_what_is_wrong_and_stands_in_the_audit(store: Store) -> None:
    with http_service() as service:
        channels = {"hook": ChannelSettings(webhook=f"http://{service.address}/s3cret")}
        with telling(store, Desk(), channels) as running:
            assert running.test("hook", ANNA) is None
            assert service.posts[0].content["test"]
            service.mood = 403
            assert running.test("hook", ANNA) == "it answers 403 Forbidden"
            with pytest.raises(Exception, match="there is no channel 'hok', there are: hook"):
                running.test("hok", ANNA)
            assert "s3cret" not in repr(running.channels())
    with store.read() as connection:
        rows = connection.exec_driver_sql("SELECT who, action, subject FROM audit WHERE who = 'anna'").all()
    assert [tuple(row) for row in rows] == [("anna", "alert_channel.tested", "hook")] * 2


def test_what_a_process_is_to_send_stands_in_no_list_of_processes(courier: Courier) -> None:
    with http_service("hangs") as service:
        job = post(service, "/s3cret")
        thread = threading.Thread(target=lambda: courier.deliver(job, 60.0))
        thread.start()
        eventually(lambda: service.posts)
        (process,) = courier._running
        seen = Path(f"/proc/{process.pid}/cmdline").read_bytes() + Path(f"/proc/{process.pid}/environ").read_bytes()
        assert b"send_one" in seen
        assert b"s3cret" not in seen
        courier.stop()
        thread.join(10)
