"""Log-ins: guessing gets slower, and neither guesses nor people's passwords delay those who have a token."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from broker.counters import BrokerCounters
from broker.logins import HASHING_AT_ONCE, WAITING_FROM_EACH_ADDRESS, LoginDesk, LoginsLimitedError
from broker.trust import SlowCheck
from gpumon.roles import Principal, Role
from tests.broker.support import PASSWORD, FakeDirectory, RawClient, client, connect_packet, running_broker
from tests.support import eventually

FAR, NEAR = "192.0.2.1", "192.0.2.2"


class SlowPeople(FakeDirectory):
    """A directory in which passwords are hashed until the test lets them be done."""

    def __init__(self) -> None:
        super().__init__()
        self.done = threading.Event()
        self.hashed: list[str] = []

    def authenticate_quickly(self, username: str, password: str) -> Principal | SlowCheck | None:
        answer = super().authenticate_quickly(username, password)
        return answer if not callable(answer) else lambda: self._hash(username, answer)

    def _hash(self, username: str, answer: SlowCheck) -> Principal | None:
        self.hashed.append(username)
        assert self.done.wait(20)
        return answer()


class Clock:
    """What time it is, as the test says."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def with_desk(directory: FakeDirectory, test: Callable[[LoginDesk, Clock, BrokerCounters], Awaitable[None]]) -> None:
    async def run() -> None:
        clock, counters = Clock(), BrokerCounters()
        desk = LoginDesk(directory, counters, clock)
        try:
            await test(desk, clock, counters)
        finally:
            desk.close()

    asyncio.run(run())


async def refuses(desk: LoginDesk, name: str, password: str, address: str) -> bool:
    """Try what is wrong; tell whether it was refused unseen."""
    try:
        assert await desk.who_is(name, password, address) is None
    except LoginsLimitedError:
        return True
    return False


def test_who_guesses_a_password_is_refused_unseen_for_longer_and_longer() -> None:
    async def test(desk: LoginDesk, clock: Clock, counters: BrokerCounters) -> None:
        refused = 0
        for _ in range(600):  # a guess a second for ten minutes
            clock.now += 1
            refused += await refuses(desk, "eye", "guess", FAR)
        assert refused > 560
        assert counters.failed_logins + counters.limited_logins == 600
        assert counters.failed_logins < 40

    with_desk(FakeDirectory(), test)


def test_others_are_not_delayed_by_who_guesses_elsewhere_and_the_right_one_may_come_later() -> None:
    async def test(desk: LoginDesk, clock: Clock, _counters: BrokerCounters) -> None:
        for _ in range(6):
            await desk.who_is("eye", "guess", FAR)
        with pytest.raises(LoginsLimitedError):
            await desk.who_is("eye", PASSWORD, FAR)
        assert await desk.who_is("eye", PASSWORD, NEAR) is not None
        clock.now += 30
        assert await desk.who_is("eye", PASSWORD, FAR) is not None
        assert await desk.who_is("eye", "guess", FAR) is None

    with_desk(FakeDirectory(), test)


def test_an_address_that_tries_many_names_is_refused_for_all_passwords_but_its_agent_is_not() -> None:
    async def test(desk: LoginDesk, _clock: Clock, _counters: BrokerCounters) -> None:
        refused = [await refuses(desk, f"person-{number}", "guess", FAR) for number in range(50)]
        assert refused == [False] * 21 + [True] * 29
        with pytest.raises(LoginsLimitedError):
            await desk.who_is("eye", PASSWORD, FAR)
        assert await desk.who_is("w1", PASSWORD, FAR) is not None

    with_desk(FakeDirectory(), test)


def test_on_this_machine_a_wrong_password_in_one_tool_locks_out_no_other() -> None:
    async def test(desk: LoginDesk, _clock: Clock, _counters: BrokerCounters) -> None:
        for number in range(40):
            await desk.who_is(f"tool-{number}", "guess", "127.0.0.1")
        refused = [await refuses(desk, "home", "guess", "127.0.0.1") for _ in range(50)]
        assert refused == [False] * 6 + [True] * 44
        assert await desk.who_is("eye", PASSWORD, "127.0.0.1") is not None

    with_desk(FakeDirectory(), test)


def test_wrong_tokens_are_refused_unseen_after_many_from_one_address() -> None:
    class Counting(FakeDirectory):
        asked = 0

        def authenticate_quickly(self, username: str, password: str) -> Principal | SlowCheck | None:
            self.asked += 1
            return super().authenticate_quickly(username, password)

    directory = Counting()

    async def test(desk: LoginDesk, _clock: Clock, counters: BrokerCounters) -> None:
        for number in range(300):
            await refuses(desk, f"w{number}", "guess", FAR)
        assert directory.asked == 201
        assert counters.limited_logins == 99
        assert await desk.who_is("w1", PASSWORD, NEAR) is not None

    with_desk(directory, test)


@pytest.mark.parametrize(("name", "password"), [("", "x"), ("eye", ""), ("e" * 257, "x"), ("eye", "x" * 4097)])
def test_what_can_be_nobodys_is_refused_without_asking(name: str, password: str) -> None:
    class Never(FakeDirectory):
        def authenticate_quickly(self, username: str, password: str) -> Principal | SlowCheck | None:
            raise AssertionError("asked")

    async def test(desk: LoginDesk, _clock: Clock, counters: BrokerCounters) -> None:
        assert await desk.who_is(name, password, FAR) is None
        assert counters.failed_logins == 1

    with_desk(Never(), test)


def test_a_flood_of_peoples_names_waits_in_its_own_line_and_delays_no_token_and_no_other_address() -> None:
    directory = SlowPeople()

    async def test(desk: LoginDesk, _clock: Clock, counters: BrokerCounters) -> None:
        flood = [asyncio.ensure_future(desk.who_is(f"person-{number}", "x", FAR)) for number in range(100)]
        while len(directory.hashed) < HASHING_AT_ONCE:
            await asyncio.sleep(0)
        assert await desk.who_is("w1", PASSWORD, FAR) == Principal("w1", Role.WORKER)
        honest = asyncio.ensure_future(desk.who_is("eye", PASSWORD, NEAR))
        while counters.limited_logins < 100 - HASHING_AT_ONCE - WAITING_FROM_EACH_ADDRESS:
            await asyncio.sleep(0)
        for _ in range(100):
            await desk.who_is("w2", PASSWORD, NEAR)
        directory.done.set()
        principal = await honest
        assert principal is not None
        assert principal.role is Role.VIEWER
        answers = await asyncio.gather(*flood, return_exceptions=True)
        assert answers.count(None) == HASHING_AT_ONCE + WAITING_FROM_EACH_ADDRESS
        assert directory.hashed.index("eye") <= HASHING_AT_ONCE + 2

    with_desk(directory, test)


def test_a_directory_that_fails_costs_the_log_in_that_asked() -> None:
    class Broken(FakeDirectory):
        def authenticate_quickly(self, username: str, password: str) -> Principal | SlowCheck | None:
            def broken() -> Principal | None:
                raise OSError("the disk is gone")

            return broken if username == "eye" else super().authenticate_quickly(username, password)

    async def test(desk: LoginDesk, _clock: Clock, _counters: BrokerCounters) -> None:
        for _ in range(2 * HASHING_AT_ONCE):
            with pytest.raises(OSError, match="gone"):
                await desk.who_is("eye", PASSWORD, FAR)
        assert await desk.who_is("research", PASSWORD, FAR) is not None

    with_desk(Broken(), test)


def test_over_mqtt_who_guesses_too_often_is_told_to_come_later_and_others_go_on() -> None:
    with running_broker() as broker, client(broker.port, "w1") as worker, client(broker.port, "eye") as reader:
        reader.subscribe("gpumon/#")
        answers = []
        for _ in range(20):
            with RawClient(broker.port, connect_packet("root", password="guess")) as guess:
                answers.append(guess.receive()[1][1])
                assert guess.is_closed()
        assert answers[:6] == [5] * 6
        assert set(answers[6:]) == {3}
        with client(broker.port, "research"):
            worker.publish("gpumon/w1/event", "fine")
            assert reader.get().payload == b"fine"
        assert broker.counters.limited_logins == 14


def test_over_mqtt_a_fleet_logs_in_while_people_wait_for_their_passwords() -> None:
    directory = SlowPeople()
    with running_broker(directory) as broker, ThreadPoolExecutor(16) as pool:
        flood = [RawClient(broker.port, connect_packet(f"p{number}", client_id=f"p{number}")) for number in range(60)]
        eventually(lambda: len(directory.hashed) == HASHING_AT_ONCE)

        def logs_in(number: int) -> int:
            with RawClient(broker.port, connect_packet(f"w{number}", client_id=f"c{number}")) as agent:
                return agent.receive()[1][1]

        assert set(pool.map(logs_in, range(300))) == {0}
        directory.done.set()
        for guess in flood:
            assert guess.receive()[1][1] == 5
            guess.socket.close()


def test_a_password_checked_for_somebody_who_has_gone_lets_nobody_in() -> None:
    directory = SlowPeople()
    with running_broker(directory) as broker, client(broker.port, "w1"):
        will = ("gpumon/w1/cmd", b"boo", 1, False)
        with RawClient(broker.port, connect_packet("research", client_id="gone", will=will)):
            eventually(lambda: directory.hashed)
        directory.done.set()
        with RawClient(broker.port, connect_packet("eye", client_id="here")) as here:
            assert here.receive()[1][1] == 0
        assert broker.counters.messages_in == 0
