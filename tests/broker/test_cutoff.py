"""Whoever is not let in any more is cut off, and nobody else."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import pytest

from broker.trust import SlowCheck
from gpumon.roles import Principal, Role
from tests.broker.support import (
    FakeDirectory,
    RawClient,
    Received,
    RunningBroker,
    client,
    connect_packet,
    publish_packet,
    running_broker,
)
from tests.support import eventually

STATUS = "gpumon/w1/status"


def test_a_removed_worker_is_cut_off_everywhere_goes_offline_and_is_not_let_in_again(broker: RunningBroker) -> None:
    will = (STATUS, b"offline", 1, True)
    first = RawClient(broker.port, connect_packet("w1", client_id="one", will=will))
    second = RawClient(broker.port, connect_packet("w1", client_id="two"))
    with client(broker.port, "eye") as reader, client(broker.port, "w2") as other, first, second:
        reader.subscribe("gpumon/#", 1)
        assert [first.receive()[1][1], second.receive()[1][1]] == [0, 0]
        broker.directory.removed.add("w1")
        assert first.is_closed()
        assert second.is_closed()
        assert reader.get() == Received(STATUS, b"offline", 1, retained=False)
        with RawClient(broker.port, connect_packet("w1")) as again:
            assert again.receive()[1][1] == 5
        other.publish("gpumon/w2/event", "fine")
        assert reader.get().payload == b"fine"
    assert broker.counters.cut_off == 2


@pytest.mark.parametrize("role", ["research", "root", "flows"])
def test_a_removed_persons_will_gives_no_command_any_more(broker: RunningBroker, role: str) -> None:
    connect = connect_packet(role, client_id="fired", will=("gpumon/w1/cmd", b"rm -rf /", 1, False))
    with client(broker.port, "w1") as worker, RawClient(broker.port, connect) as fired:
        worker.subscribe("gpumon/w1/cmd", 1)
        assert fired.receive()[1][1] == 0
        broker.directory.removed.add(role)
        assert fired.is_closed()
        with client(broker.port, "master") as master:
            master.publish("gpumon/w1/cmd", "uptime")
        assert worker.get().payload == b"uptime"


def test_who_logged_in_with_an_old_secret_is_cut_off_and_who_has_the_new_one_stays() -> None:
    class Rotated(FakeDirectory):
        """Knows w1 by a token that the test changes."""

        token = "old"

        def authenticate_quickly(self, username: str, password: str) -> Principal | SlowCheck | None:
            if username != "w1":
                return super().authenticate_quickly(username, password)
            return Principal("w1", Role.WORKER, credential=password) if password == self.token else None

        def outdated(self, principals: Iterable[Principal]) -> set[Principal]:
            return {each for each in principals if each.name == "w1" and each.credential != self.token}

    directory = Rotated()
    with running_broker(directory) as broker:
        with RawClient(broker.port, connect_packet("w1", password="old", client_id="a")) as old:
            assert old.receive()[1][1] == 0
            directory.token = "new"
            with RawClient(broker.port, connect_packet("w1", password="new", client_id="b")) as new:
                assert new.receive()[1][1] == 0
                assert old.is_closed()
                assert new.collect() == []
        eventually(lambda: broker.counters.cut_off == 1)


def test_a_log_in_that_was_answered_before_its_account_was_removed_does_not_slip_through() -> None:
    class Late(FakeDirectory):
        """Answers, and is told of the removal before the answer arrives."""

        def authenticate_quickly(self, username: str, password: str) -> Principal | SlowCheck | None:
            answer = super().authenticate_quickly(username, password)
            if username == "w1":
                self.removed.add("w1")
            return answer

    with running_broker(Late()) as broker, RawClient(broker.port, connect_packet("w1")) as late:
        assert late.receive()[1][1] == 0
        assert late.is_closed()


@pytest.mark.parametrize("fault", ["raises", "hangs"])
def test_a_directory_that_fails_to_tell_costs_nobody_anything_and_is_asked_again(
    caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    class Faulty(FakeDirectory):
        well = threading.Event()
        asked = 0

        def outdated(self, principals: Iterable[Principal]) -> set[Principal]:
            self.asked += 1
            if not self.well.is_set():
                if fault == "raises":
                    raise OSError("the disk is gone")
                self.well.wait(20)
            return super().outdated(principals)

    directory = Faulty()
    directory.well.clear()
    with running_broker(directory) as broker, client(broker.port, "eye") as reader:
        reader.subscribe("gpumon/#")
        with RawClient(broker.port, connect_packet("w1")) as worker:
            worker.receive()
            directory.removed.add("w1")
            eventually(lambda: directory.asked)
            worker.send(publish_packet("gpumon/w1/event", b"still here"))
            assert reader.get().payload == b"still here"
            with client(broker.port, "w2"):
                directory.well.set()
            assert worker.is_closed()
    assert ("nobody is cut off for now" in caplog.text) == (fault == "raises")
