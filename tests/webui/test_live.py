"""Live updates over Socket.IO: a real client, server, master and broker."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import socketio

from gpumon.datafolder import DataFolder
from gpumon.messages import Event
from master.accounts import open_accounts
from tests.support import eventually
from tests.webui.conftest import LiveClient, serving
from tests.webui.running import RunningPage
from tests.webui.worker_double import WorkerDouble, idle, reading
from webui.context import THREADS_KEPT_FREE
from webui.fleet_push import push_window_s

Workers = Callable[..., WorkerDouble]
Live = Callable[[str], LiveClient]


def is_refused(page: RunningPage, session: requests.Session, origin: str | None = None) -> bool:
    """Tell whether a live connection is refused."""
    options = {"origin": origin}
    client = socketio.Client(http_session=session, reconnection=False, websocket_extra_options=options)
    try:
        client.connect(page.address, transports=["websocket"], wait_timeout=10)
    except socketio.exceptions.ConnectionError:
        return True
    client.disconnect()
    return False


def test_who_is_not_logged_in_is_refused(page: RunningPage) -> None:
    assert is_refused(page, requests.Session())


def test_a_page_of_another_origin_is_refused(page: RunningPage) -> None:
    session = page.session("olaf")

    assert is_refused(page, session, "https://evil.example")
    assert not is_refused(page, session, page.address)


def test_watching_the_fleet_answers_every_row_and_then_tells_what_changes(worker: Workers, live: Live) -> None:
    double = worker("w", [idle(0)])
    client = live("vera")
    eventually(lambda: client.knows(double))

    double.sample([reading(0, utilization_percent=77)])

    row = eventually(lambda: [row for row in client.rows_of(double) if row["utilization_percent"] == 77])[0]
    assert row["sample_time"] == pytest.approx(time.time(), abs=5)


def test_a_worker_that_leaves_is_shown_offline_at_once(worker: Workers, live: Live) -> None:
    double = worker("w", [idle(0)])
    client = live("vera")
    eventually(lambda: client.knows(double))

    double.stop()

    eventually(lambda: any(row["state"] == "offline" for row in client.rows_of(double)))


def test_the_push_window_grows_with_the_fleet() -> None:
    assert push_window_s(10) == 0.03
    assert push_window_s(1000) == pytest.approx(0.15)
    assert push_window_s(5000) == 0.5


def test_a_master_that_is_short_of_time_pushes_less_often() -> None:
    assert push_window_s(1000, took_s=0.1) == pytest.approx(0.4)
    assert push_window_s(1000, took_s=60.0) == 0.5


def test_whole_samples_go_to_those_alone_who_watch_that_worker(worker: Workers, live: Live) -> None:
    first, second = (worker("w", [idle(0)]) for _ in range(2))
    watching, elsewhere = live("vera"), live("olaf")
    eventually(lambda: elsewhere.knows(first, second))
    assert watching.watch(f"worker:{first.id}")["row"]["id"] == first.id

    for double in (first, second):
        double.sample([reading(0, utilization_percent=55)])
    first.event(Event(time=time.time(), kind="xid", text="GPU has fallen off the bus", value=79))
    first.sample([reading(0, utilization_percent=56)])

    eventually(lambda: any(s["metrics"]["gpus"][0]["utilization_percent"] == 56 for s in watching.of("sample")))
    assert {sample["id"] for sample in watching.of("sample")} == {first.id}
    assert watching.of("worker_event")[0]["event"]["event"]["value"] == 79
    assert elsewhere.of("sample") == []

    watching.client.call("unwatch", f"worker:{first.id}")
    told = len(watching.of("sample"))
    first.sample([reading(0, utilization_percent=57)])
    eventually(lambda: any(row["utilization_percent"] == 57 for row in elsewhere.rows_of(first)))
    assert len(watching.of("sample")) == told


def test_what_is_not_there_cannot_be_watched(live: Live) -> None:
    client = live("vera")

    for topic in ("worker:nobody", "command:c-nothing", "everything", "", None, 7, {"a": 1}):
        assert "error" in client.watch(topic)


def test_one_viewer_too_many_is_told_so_and_has_room_later(tmp_path: Path, mosquitto_port: int) -> None:
    with serving(tmp_path, mosquitto_port, threads=THREADS_KEPT_FREE + 2) as page:
        session = page.session("vera")
        first, second = LiveClient(page, session), LiveClient(page, session)

        told: list[Any] = []
        third = socketio.Client(http_session=session, reconnection=False)
        third.on("connect_error", told.append)
        with pytest.raises(socketio.exceptions.ConnectionError):
            third.connect(page.address, transports=["websocket"], wait_timeout=10)
        assert "all 2 live connections are in use" in str(told[0])

        second.client.disconnect()
        eventually(lambda: not is_refused(page, session))
        first.client.disconnect()


def test_a_connection_ends_with_its_account(own_page: RunningPage) -> None:
    client = LiveClient(own_page, own_page.session("olaf"))
    with open_accounts(DataFolder(own_page.data)) as accounts:
        accounts.remove_user("olaf")

    eventually(lambda: not client.client.connected, timeout_s=30)
    assert is_refused(own_page, own_page.session("olaf"))
