"""`gpumon top` in a terminal of its library's own making, over a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from gpumon.address import BrokerAddress
from gpumon.cli.top.app import TopApp
from gpumon.cli.top.feed import FeedError, FleetFeed
from gpumon.cli.top.fleet import Order, View
from gpumon.cli.top.list_view import ListView
from gpumon.cli.top.search import Search
from gpumon.topics import Topics
from tests.gpumon.cli.top.rows import row
from tests.support import eventually, free_port, mosquitto
from tests.webui.worker_double import WorkerDouble, idle, reading

pytestmark = pytest.mark.mosquitto

Steps = Callable[[Pilot[None]], Awaitable[None]]


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A broker that lets everybody in."""
    with mosquitto(tmp_path) as started:
        yield started


@pytest.fixture
def feed(port: int) -> Iterator[FleetFeed]:
    """A feed from that broker."""
    started = FleetFeed(BrokerAddress("127.0.0.1", port, tls=False), None, None, Topics())
    started.start()
    yield started
    started.stop()


@pytest.fixture
def workers(port: int) -> Iterator[Callable[..., WorkerDouble]]:
    """Makes workers, which leave at the end."""
    made: list[WorkerDouble] = []

    def make(worker_id: str, *gpus: object, **more: object) -> WorkerDouble:
        made.append(WorkerDouble(port, worker_id, **more).start(list(gpus)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for double in made:
        double.stop()


def played(feed: FleetFeed, steps: Steps, view: View | None = None) -> None:
    """Run the program in a terminal of 120 x 30 and do the steps."""
    app = TopApp(feed, view or View(is_cards=False, search=Search(""), order=Order()))

    async def play() -> None:
        async with app.run_test(size=(120, 30)) as pilot:
            await pilot.pause()
            await steps(pilot)

    asyncio.run(play())


def screen_text(pilot: Pilot[None]) -> str:
    """Return all that is on the screen."""
    screen = pilot.app.screen
    lists = list(screen.query(ListView))
    drawn = [widget.render_line(y).text for widget in lists for y in range(widget.size.height)]
    told = [str(widget.render()) for widget in screen.query(Static)]
    return "\n".join([*told, *drawn])


async def shows(pilot: Pilot[None], *parts: str) -> None:
    """Wait until the screen shows all of it."""
    for _ in range(200):
        if all(part in screen_text(pilot) for part in parts):
            return
        await pilot.pause(0.05)
    raise AssertionError(f"{parts} not on the screen:\n{screen_text(pilot)}")


def heard(feed: FleetFeed, *worker_ids: str) -> bool:
    return {row.id for row in feed.rows() if row.gpus} >= set(worker_ids)


def test_workers_appear_change_and_go(feed: FleetFeed, workers: Callable[..., WorkerDouble]) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await shows(pilot, "gpumon join-key")
        double = workers("gpu-1", reading(0), idle(1))
        await shows(pilot, "workers 1/1 online", "● online", "research 0", "1: 1")
        double.sample([reading(0), reading(1, temperature_c=91)])
        await shows(pilot, "91 °C")
        double.stop()
        await shows(pilot, "✕ offline", "workers 0/1 online")

    played(feed, steps)


def test_keys_search_sort_and_change_the_list(feed: FleetFeed, workers: Callable[..., WorkerDouble]) -> None:
    workers("gpu-9", idle(0))
    workers("gpu-10", reading(0))
    assert eventually(lambda: heard(feed, "gpu-9", "gpu-10"))

    def order(pilot: Pilot[None]) -> list[str]:
        lines = [line for line in screen_text(pilot).splitlines() if "hottest" not in line]
        return [word for line in lines for word in line.split() if word in ("gpu-9", "gpu-10")]

    async def steps(pilot: Pilot[None]) -> None:
        assert order(pilot) == ["gpu-9", "gpu-10"]
        await pilot.press("r")
        assert order(pilot) == ["gpu-10", "gpu-9"]
        await pilot.press("slash", *"free")
        assert order(pilot) == ["gpu-9"]
        await pilot.press("enter", "escape")
        assert order(pilot) == ["gpu-10", "gpu-9"]
        await pilot.press("g")
        await shows(pilot, "MODEL", "□ free", "■ busy")
        await pilot.click(ListView, offset=(2, 0))
        await shows(pilot, "STATE▲")

    played(feed, steps)


def test_a_worker_is_opened_and_left_again(feed: FleetFeed, workers: Callable[..., WorkerDouble]) -> None:
    workers("gpu-9", idle(0))
    workers("gpu-10", reading(0))
    assert eventually(lambda: heard(feed, "gpu-9", "gpu-10"))

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("down", "enter")
        await shows(pilot, "gpu-10.lab", "python train.py", "4242")
        await pilot.press("escape")
        await shows(pilot, "WORKER▲")

    played(feed, steps)


def test_a_thousand_workers_are_scrolled_through(feed: FleetFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(f"w-{number}", [reading(0)]) for number in range(1_000)]
    monkeypatch.setattr(feed, "rows", lambda: rows)

    async def steps(pilot: Pilot[None]) -> None:
        await shows(pilot, "w-0 ", "w-20 ")
        await pilot.press("end")
        await shows(pilot, "w-999 ")
        await pilot.press("pageup")
        await shows(pilot, "w-975 ")

    played(feed, steps)


def test_a_broker_that_goes_away_is_said(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as port:
        feed = FleetFeed(BrokerAddress("127.0.0.1", port, tls=False), None, None, Topics())
        feed.start()
    try:
        assert eventually(lambda: feed.problem is not None)

        async def steps(pilot: Pilot[None]) -> None:
            await shows(pilot, "not connected to mqtt://127.0.0.1")

        played(feed, steps)
    finally:
        feed.stop()


def test_no_broker_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpumon.cli.top.feed.CONNECT_TIMEOUT_S", 0.5)
    feed = FleetFeed(BrokerAddress("127.0.0.1", free_port(), tls=False), None, None, Topics())
    with pytest.raises(FeedError, match="no broker answers there"):
        feed.start()
    feed.stop()
