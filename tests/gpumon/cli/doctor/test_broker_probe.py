"""The probe of brokers: what it says of real ones, of one that lacks each thing in turn, and what it leaves behind."""

from __future__ import annotations

import getpass
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from gpumon.address import BrokerAddress
from gpumon.cli.doctor.broker_probe import probe_broker
from gpumon.cli.doctor.finding import Finding, Verdict
from gpumon.link import Credentials
from gpumon.topics import Topics
from tests.broker.support import PASSWORD, client, running_broker
from tests.foreign.support import mosquitto_process
from tests.gpumon.cli.doctor.broker_double import BrokerDouble, Lack
from tests.support import eventually, free_port

EVERYTHING = (
    *("log-in", "topics", "QoS 1", "order", "100 KB messages", "1 MB messages"),
    *("retained", "retained for +", "retained for #", "retained cleared"),
    *("last will", "retained will", "will and goodbye", "clean session", "same client id"),
    *("MQTT 5", "shared reading", "keepalive"),
)
SHARED = {"shared reading": Verdict.WARNING}  # the double has no shared subscriptions
# What is found where each is lacking, beside what is good.
FOUND: dict[Lack, dict[str, Verdict]] = {
    Lack.KEEPALIVES: {"keepalive": Verdict.WARNING},
    Lack.PASSWORDS: {"log-in": Verdict.WARNING},
    Lack.QOS_1: {"QoS 1": Verdict.BAD},
    Lack.EVERY_MESSAGE: {"order": Verdict.BAD},
    Lack.ORDER: {"order": Verdict.BAD},
    Lack.LARGE_PACKETS: {"1 MB messages": Verdict.WARNING},
    Lack.RETAINED: {"retained": Verdict.BAD, "retained will": Verdict.BAD},
    Lack.RETAINED_FOR_PLUS: {"retained for +": Verdict.BAD},
    Lack.RETAINED_FOR_HASH: {"retained for #": Verdict.BAD},
    Lack.NEWEST_RETAINED: {"retained": Verdict.BAD},
    Lack.RETAIN_FLAG: {"retained": Verdict.BAD},
    Lack.CLEARING: {"retained cleared": Verdict.BAD},
    Lack.LETTING_WILLS_IN: {"last will": Verdict.BAD},
    Lack.WILLS: {"last will": Verdict.BAD},
    Lack.RETAINED_WILLS: {"retained will": Verdict.BAD},
    Lack.DISCARDING_WILLS: {"will and goodbye": Verdict.WARNING},
    Lack.REPLACING: {"same client id": Verdict.WARNING},
    Lack.SECOND_CONNECTIONS: {"same client id": Verdict.BAD},
    Lack.CLEAN_SESSIONS: {"clean session": Verdict.BAD},
    Lack.REFUSING_SHARED: SHARED,
    Lack.SHARING: SHARED,
}
# An account that may do less, or a broker that does next to nothing.
UNTRIED = {"topics": Verdict.UNKNOWN, "not tried": Verdict.UNKNOWN}
NOTHING_THERE = {"retained for +": Verdict.UNKNOWN, "retained for #": Verdict.UNKNOWN}
NARROW: dict[Lack, dict[str, Verdict]] = {
    Lack.LOG_INS: {"log-in": Verdict.BAD},
    Lack.SUBSCRIPTIONS: UNTRIED,
    Lack.PUBLISHING: {**UNTRIED, **NOTHING_THERE},
    Lack.ACKNOWLEDGING: {**UNTRIED, **NOTHING_THERE},
}


def probed(port: int, user: str | None = "root", *, patience_s: float = 5.0) -> list[Finding]:
    """Probe the broker at this port."""
    credentials = Credentials(user, PASSWORD) if user is not None else None
    return list(probe_broker(BrokerAddress("127.0.0.1", port, tls=False), credentials, None, Topics(), patience_s))


def not_good(findings: list[Finding]) -> dict[str, Verdict]:
    """Return what is not well, by what it is."""
    return {finding.what: finding.verdict for finding in findings if finding.verdict is not Verdict.GOOD}


def said_of(findings: list[Finding], what: str) -> str:
    """Return what was found of one thing."""
    return next(finding.found for finding in findings if finding.what == what)


def probe_of_what_lacks(lack: Lack) -> list[Finding]:
    """Probe a broker that lacks this; see that nothing stays retained afterwards, where that can be helped."""
    with BrokerDouble(lack) as double:
        findings = probed(double.port, patience_s=2.5)
        assert bool(double.retained) == (lack is Lack.CLEARING)
    return findings


def probe_of_mosquitto(folder: Path, *lines: str, user: str | None = None, patience_s: float = 2.5) -> list[Finding]:
    """Probe a mosquitto with these lines in its configuration."""
    port = free_port()
    folder.mkdir()
    configuration = folder / "mosquitto.conf"
    start = [f"user {getpass.getuser()}", f"listener {port} 127.0.0.1", "allow_anonymous true", "persistence false"]
    configuration.write_text("\n".join([*start, *lines]))
    with mosquitto_process(configuration, port):
        return probed(port, user, patience_s=patience_s)


Probes = dict[Lack | str, "Future[list[Finding]]"]


@pytest.fixture(scope="module")
def probes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probes]:
    """All probes at the same time, since each is mostly waiting: of doubles, of mosquitto, of the embedded broker.

    At the embedded broker the worker w1 has retained its status.
    """
    folder = tmp_path_factory.mktemp("mosquitto")
    access = folder / "acl"
    access.write_text("topic read gpumon/#\n")
    access.chmod(0o600)
    with ExitStack() as stack:
        embedded = stack.enter_context(running_broker())
        stack.enter_context(client(embedded.port, "w1")).publish("gpumon/w1/status", "online", retain=True)
        pool = stack.enter_context(ThreadPoolExecutor(40))
        started: Probes = {lack: pool.submit(probe_of_what_lacks, lack) for lack in Lack}
        small = ("retain_available false", "message_size_limit 50000")
        started["mosquitto"] = pool.submit(probe_of_mosquitto, folder / "open", user="root", patience_s=5.0)
        started["small mosquitto"] = pool.submit(probe_of_mosquitto, folder / "small", *small)
        started["closed mosquitto"] = pool.submit(probe_of_mosquitto, folder / "closed", f"acl_file {access}")
        for user in ("root", "eye", "research", "w1", "unheard-of"):
            patience_s = 5.0 if user == "root" else 2.0
            started[user] = pool.submit(probed, embedded.port, user, patience_s=patience_s)
        yield started


@pytest.mark.parametrize("lack", FOUND, ids=lambda lack: lack.name.lower())
def test_what_a_broker_lacks_is_found_and_nothing_else(probes: Probes, lack: Lack) -> None:
    findings = probes[lack].result(90)
    assert not_good(findings) == {**FOUND[lack], **SHARED}
    assert all(finding.to_do for finding in findings if finding.verdict is not Verdict.GOOD)


@pytest.mark.parametrize("lack", NARROW, ids=lambda lack: lack.name.lower())
def test_an_account_that_may_do_little_is_told_which_checks_could_not_be_made(probes: Probes, lack: Lack) -> None:
    assert not_good(probes[lack].result(90)) == NARROW[lack]


def test_every_lack_is_looked_for() -> None:
    assert {*FOUND, *NARROW} == set(Lack)


def test_a_broker_with_retained_messages_for_exact_topics_alone_is_told_apart(probes: Probes) -> None:
    said = said_of(probes[Lack.RETAINED_FOR_PLUS].result(90), "retained for +")
    assert "the master, after its start, knows a worker only once that says something" in said


def test_a_refused_subscription_is_told_from_one_that_delivers_nothing(probes: Probes) -> None:
    assert "is refused (0x80)" in said_of(probes[Lack.SUBSCRIPTIONS].result(90), "topics")
    assert "is neither refused nor delivered" in said_of(probes[Lack.PUBLISHING].result(90), "topics")
    assert "gave no answer" in said_of(probes[Lack.ACKNOWLEDGING].result(90), "topics")


def test_how_shared_subscriptions_fail_is_told(probes: Probes) -> None:
    said = [
        said_of(probes[lack].result(90), "shared reading")
        for lack in (Lack.PASSWORDS, Lack.REFUSING_SHARED, Lack.SHARING)
    ]
    assert said[0].startswith("it refuses shared subscriptions")
    assert said[1].startswith("it accepts a shared subscription and delivers nothing")
    assert said[2].startswith("it gives every message to each reader")


def test_the_embedded_broker_has_everything_but_shared_subscriptions(probes: Probes) -> None:
    findings = probes["root"].result(90)
    assert tuple(finding.what for finding in findings) == EVERYTHING
    assert not_good(findings) == SHARED


@pytest.mark.parametrize(
    ("user", "says", "unknown"),
    [
        ("eye", "what eye publishes under gpumon/probe-", UNTRIED),
        ("research", "what research publishes under gpumon/probe-", UNTRIED),
        ("w1", "w1 may not read under gpumon/probe-", UNTRIED),
    ],
)
def test_accounts_of_the_embedded_broker_that_may_do_less(
    probes: Probes, user: str, says: str, unknown: dict[str, Verdict]
) -> None:
    findings = probes[user].result(90)
    assert said_of(findings, "topics").startswith(says)
    assert not_good(findings) == unknown


def test_a_broker_that_is_not_there_and_a_wrong_password_are_told(probes: Probes) -> None:
    (nobody,) = probed(free_port())
    assert "no broker answers there" in nobody.found
    (wrong,) = probes["unheard-of"].result(90)
    assert (wrong.what, wrong.verdict) == ("log-in", Verdict.BAD)
    assert "refused" in wrong.found


@pytest.mark.mosquitto
def test_mosquitto_has_everything_and_is_told_to_ask_for_passwords(probes: Probes) -> None:
    findings = probes["mosquitto"].result(90)
    assert not_good(findings) == {"log-in": Verdict.WARNING}
    assert "and so is anybody without name and password" in said_of(findings, "log-in")
    assert "with MQTT 3.1.1 too" in said_of(findings, "shared reading")


@pytest.mark.mosquitto
def test_a_mosquitto_without_retained_messages_and_with_small_packets(probes: Probes) -> None:
    found = not_good(probes["small mosquitto"].result(90))
    assert found.pop("100 KB messages") is Verdict.BAD
    assert found.pop("1 MB messages") is Verdict.WARNING
    assert found.pop("retained") is Verdict.BAD
    assert {*found} <= {"log-in", "last will", "retained will"}


@pytest.mark.mosquitto
def test_with_mqtt_5_a_refused_publish_is_told_as_such(probes: Probes) -> None:
    assert "a client of MQTT 5 is told so (0x87)" in said_of(probes["closed mosquitto"].result(90), "topics")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_a_probe_that_is_ended_in_the_middle_leaves_nothing_retained(number: signal.Signals) -> None:
    with BrokerDouble(Lack.RETAINED_FOR_HASH) as double:  # so that it waits while something is retained
        script = (
            "from gpumon.address import BrokerAddress; from gpumon.link import Credentials\n"
            "from gpumon.cli.doctor.broker_probe import probe_broker; from gpumon.topics import Topics\n"
            f"address = BrokerAddress('127.0.0.1', {double.port}, tls=False)\n"
            "list(probe_broker(address, Credentials('root', 'x'), None, Topics()))\n"
        )
        process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
        try:
            eventually(lambda: double.retained, 30)
            process.send_signal(number)
            process.wait(20)
        finally:
            process.kill()
            process.wait(10)
        eventually(lambda: not double.retained)
        eventually(lambda: not double.sessions)
        assert not double.retained
