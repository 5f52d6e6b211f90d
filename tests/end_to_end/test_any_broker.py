"""The same fleet at the embedded broker and at mosquitto: who comes later, commands, a death, a broker's restart."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.end_to_end.listener import Listener, listening
from tests.end_to_end.page_client import PageClient
from tests.end_to_end.running import Running, an_agent, gpumon_up
from tests.support import eventually, free_port, mosquitto

SIMULATED = ("--source", "simulated", "--interval", "0.5")


@dataclass(frozen=True, slots=True)
class Fleet:
    """A master at some broker; `restart_broker` kills that and starts it again on the same port."""

    running: Running
    restart_broker: Callable[[], None]

    @property
    def page(self) -> PageClient:
        """Somebody logged in on the page."""
        return PageClient(self.running.page, "admin", self.running.admin_password)

    @contextmanager
    def listening(self, *filters: str) -> Iterator[Listener]:
        """Hear, as an admin, what comes from now on and what is retained."""
        with listening(self.running.mqtt_port, "admin", self.running.admin_password, *filters) as listener:
            yield listener


def at_the_embedded_broker(folder: Path, stack: ExitStack) -> Fleet:
    """Run a master with the embedded broker."""
    running = stack.enter_context(gpumon_up(folder, more={"LD_LIBRARY_PATH": "/nonexistent"}))

    def restart() -> None:
        children = psutil.Process(running.process.pid).children()
        next(process for process in children if "broker" in process.cmdline()).kill()  # it is started again

    return Fleet(running, restart)


def at_mosquitto(folder: Path, stack: ExitStack) -> Fleet:
    """Run a master at a mosquitto that lets everybody in."""
    port = free_port()
    broker = ExitStack()
    stack.callback(broker.close)
    broker.enter_context(mosquitto(folder, port))
    more = {"LD_LIBRARY_PATH": "/nonexistent", "GPUMON_BROKER_URL": f"mqtt://127.0.0.1:{port}"}
    running = stack.enter_context(gpumon_up(folder, more=more))

    def restart() -> None:
        broker.close()
        broker.enter_context(mosquitto(folder, port))

    return Fleet(replace(running, mqtt_port=port), restart)


@pytest.fixture(params=["embedded", pytest.param("mosquitto", marks=pytest.mark.mosquitto)])
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    """A master at each broker in turn."""
    with ExitStack() as stack:
        yield (at_mosquitto if request.param == "mosquitto" else at_the_embedded_broker)(tmp_path, stack)


def results(listener: Listener, worker_id: str) -> list[dict[str, Any]]:
    """Return the results that the listener has heard from a worker."""
    return [json.loads(payload) for payload in listener.on(f"gpumon/{worker_id}/cmd/result")]


def retained_of(fleet: Fleet, worker_id: str) -> dict[str, bytes]:
    """Return what somebody who comes now hears of a worker as retained, by channel."""
    own = f"gpumon/{worker_id}/"
    with fleet.listening(f"{own}#", "gpumon/mark") as listener:
        listener.publish("gpumon/mark", "x")
        eventually(lambda: listener.on("gpumon/mark"))
        return {each.topic.removeprefix(own): each.payload for each in list(listener.heard) if each.is_retained}


def test_a_fleet_works_the_same_at_any_broker(fleet: Fleet) -> None:
    running, page = fleet.running, fleet.page
    with an_agent(running, "w1", *SIMULATED) as agent, an_agent(running, "w2", *SIMULATED):
        eventually(lambda: [row["state"] for row in page.workers()] == ["online", "online"], 40)

        # Who comes later is told what is true now; nothing but that is retained.
        eventually(lambda: {"status", "info", "metrics"} <= set(retained_of(fleet, "w1")), 20)
        kept = retained_of(fleet, "w1")
        assert kept["status"] == b"online"
        assert json.loads(kept["info"])["agent_version"]
        assert not {"cmd", "cmd/output", "cmd/result", "event"} & set(kept)

        # A command by MQTT runs once, and has one result, which the master has as well.
        with fleet.listening("gpumon/+/cmd/#") as listener:
            for _ in range(2):
                listener.publish("gpumon/w1/cmd", '{"id":"once-1","command":"echo by mqtt"}')
            listener.publish("gpumon/all/cmd", "echo to all")
            eventually(lambda: len(results(listener, "w1")) == 2 and len(results(listener, "w2")) == 1, 30)
            # Commands run side by side, so either may end first.
            assert sorted(result["output"] for result in results(listener, "w1")) == ["by mqtt\n", "to all\n"]
            pieces = [json.loads(payload) for payload in listener.on("gpumon/w1/cmd/output")]
            assert [piece["data"] for piece in pieces if piece["id"] == "once-1"] == ["by mqtt\n"]
        gathered = running.gpumon("run", "--all", "--", "echo by the command line")
        assert (gathered.returncode, gathered.stdout.count("by the command line")) == (0, 2)

        # A command that is retained is run by nobody, neither now nor by who comes later.
        with fleet.listening("gpumon/w1/cmd/#") as listener:
            listener.publish("gpumon/w1/cmd", "echo retained", retain=True)
            listener.publish("gpumon/w1/cmd", "", retain=True)
            listener.publish("gpumon/w1/cmd", "echo after it")
            eventually(lambda: any(result["command"] == "echo after it" for result in results(listener, "w1")), 20)

        # A worker that falls over is offline by its will, for who listens and for who comes later.
        with fleet.listening("gpumon/w1/status") as listener:
            agent.send_signal(signal.SIGKILL)
            eventually(lambda: listener.on("gpumon/w1/status")[-1:] == [b"offline"], 20)
        assert retained_of(fleet, "w1")["status"] == b"offline"
        eventually(lambda: page.state("w1") == "offline", 20)

    with an_agent(running, "w1", *SIMULATED):
        eventually(lambda: page.state("w1") == "online", 30)
        fleet.restart_broker()
        # All of it is there again, though the broker has forgotten what was retained.
        eventually(lambda: came_back(fleet, "w1"), 60, 0.5)
        eventually(lambda: page.state("w1") == "online", 30)
        eventually(lambda: running.gpumon("run", "-w", "w1", "--", "echo back").stdout == "back\n", 30)


def came_back(fleet: Fleet, worker_id: str) -> bool:
    """Tell whether the broker answers, and the worker has said again who it is."""
    try:
        kept = retained_of(fleet, worker_id)
    except (OSError, AssertionError):  # the broker is not there yet, or goes just now
        return False
    return kept.get("status") == b"online" and {"info", "metrics"} <= set(kept)
