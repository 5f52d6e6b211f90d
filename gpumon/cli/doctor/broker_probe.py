"""What a broker can do for gpumon and what it lacks, by trying it: `gpumon doctor --broker URL`.

Everything is tried on topics of its own (`gpumon/probe-<random>/...`), and nothing stays retained: what is retained is
taken back at the end, by the last will of a client that stays connected all the time where the probe is killed.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import replace
from enum import Enum
from functools import partial
from pathlib import Path

from gpumon.address import BrokerAddress
from gpumon.cli.doctor import probe_sessions, probe_sharing
from gpumon.cli.doctor.finding import Finding
from gpumon.cli.doctor.probe_client import MQTT_5, REFUSED, NotLetInError, ProbeError, Way
from gpumon.cli.doctor.probe_ground import Check, Ground, bad, good, unknown, warning
from gpumon.cli.doctor.probe_messages import CHECKS
from gpumon.link import Credentials
from gpumon.topics import Channel, Topics

PATIENCE_S = 5.0
FULL_ACCESS = "probe with an account that may read and write everything under the base of the topics, as admin"


class Access(Enum):
    """What the account that probes may do on the probe's topics."""

    ALL = 1
    READ = 2
    NONE = 3


def probe_broker(
    address: BrokerAddress,
    credentials: Credentials | None,
    cafile: Path | None,
    topics: Topics,
    patience_s: float = PATIENCE_S,
) -> Iterator[Finding]:
    """Try everything that gpumon needs of a broker; give each finding as soon as it is there.

    `patience_s` is how long each answer is waited for before it counts as missing. Takes a few seconds where
    nothing is missing. An account that may not publish, or read, gets the findings that can be had without.
    """
    way = Way(address, credentials, cafile, patience_s)
    ground = Ground(way, topics.base, f"probe-{secrets.token_hex(6)}")
    try:
        with ground.client(keepalive_s=probe_sessions.KEEPALIVE_S) as silent:
            silent.fall_silent()
            yield from _findings(ground, topics)
            yield probe_sessions.keepalive(silent)
    except NotLetInError as error:
        how = "refused" if error.is_answered else "no connection"
        yield bad("log-in", f"{how}: {error}", "correct the address, --username, --password-file or --cafile")


def _findings(ground: Ground, topics: Topics) -> Iterator[Finding]:
    yield _logged_in(ground)
    has_mqtt_5 = probe_sharing.speaks_mqtt_5(ground)
    access, finding = _access(ground, has_mqtt_5=has_mqtt_5)
    yield finding
    if access is Access.ALL:
        yield from _guarded_checks(ground)
    else:
        named = ", ".join(name for name, _ in (*CHECKS, *probe_sessions.CHECKS))
        yield unknown("not tried", f"{named}: {ground.user} may not publish there", FULL_ACCESS)
    if access is Access.READ:
        yield from _checked(ground, ("retained", lambda ground: _what_is_there(ground, topics)))
    yield from _checked(ground, ("same client id", probe_sessions.same_client_id))
    yield probe_sharing.mqtt_5(has_mqtt_5=has_mqtt_5)
    if access is Access.ALL:
        shared = partial(probe_sharing.sharing, has_mqtt_5=has_mqtt_5)
        yield from _checked(ground, ("shared reading", shared))


def _logged_in(ground: Ground) -> Finding:
    """Say how the log-in is, and whether anybody else could have come in."""
    what, to_do = "log-in", "ask for a name and password there (mosquitto: allow_anonymous false)"
    if ground.way.credentials is None:
        return warning(what, "anybody is let in, without name and password", to_do)
    nobody = replace(ground, way=replace(ground.way, credentials=None))
    try:
        with nobody.client():
            return warning(what, f"{ground.user} is let in, and so is anybody without name and password", to_do)
    except NotLetInError:
        return good(what, f"{ground.user} is let in, and nobody without a password")


def _access(ground: Ground, *, has_mqtt_5: bool) -> tuple[Access, Finding]:
    """Find out what this account may do. MQTT 3.1.1 has no answer to a publish that is not allowed; MQTT 5 has."""
    what, topic = "topics", ground.topic("word")
    where = f"under {ground.base}/{ground.name}/"
    with ground.client() as client:
        granted = client.subscribe(topic)
        if granted >= REFUSED:
            found = f"{ground.user} may not read {where}: the subscription is refused ({granted:#x})"
            return Access.NONE, unknown(what, found, FULL_ACCESS)
        happens = "is neither refused nor delivered"
        try:
            client.publish(topic, b"word")
            if client.hear(lambda heard: heard.topic == topic):
                return Access.ALL, good(what, f"{ground.user} may publish and read {where}")
        except ProbeError as error:
            happens = f"is not taken ({error})"
    if has_mqtt_5:
        with contextlib.suppress(ProbeError), ground.client(version=MQTT_5) as client:
            answer = client.publish(topic, b"word")
            if answer >= REFUSED:
                found = f"{ground.user} may not publish {where}: a client of MQTT 5 is told so ({answer:#x})"
                return Access.READ, unknown(what, found, FULL_ACCESS)
    found = f"what {ground.user} publishes {where} {happens}: it may not publish there, or not read"
    return Access.READ, unknown(what, found, FULL_ACCESS)


def _guarded_checks(ground: Ground) -> Iterator[Finding]:
    """Make the checks that publish, and take back at the end whatever they have left."""
    try:
        with ground.guard() as guard:
            try:
                for check in (*CHECKS, *probe_sessions.CHECKS):
                    yield from _checked(ground, check)
            finally:
                with contextlib.suppress(ProbeError):
                    ground.clear(guard)
    except NotLetInError as error:
        yield bad("last will", f"a client that has a will is not let in: {error}", probe_sessions.ALLOW_WILLS)
        for check in CHECKS:
            yield from _checked(ground, check)


def _checked(ground: Ground, check: Check) -> Iterator[Finding]:
    """Make a check; where the broker does not even do what it takes for granted, that is what is found."""
    what, make = check
    try:
        yield from make(ground)
    except ProbeError as error:
        yield bad(what, str(error), "look into the broker's log")


def _what_is_there(ground: Ground, topics: Topics) -> Iterator[Finding]:
    """Look, for an account that may only read, at what a running gpumon has retained there."""
    for wildcard, topic_filter in (("+", topics.every_worker(Channel.STATUS)), ("#", f"{topics.base}/#")):
        what = f"retained for {wildcard}"
        with ground.client() as reader:
            if reader.subscribe(topic_filter) >= REFUSED:
                yield unknown(what, f"{ground.user} may not read {topic_filter}", FULL_ACCESS)
            elif reader.hear(lambda heard: heard.is_retained, min(2.0, ground.way.patience_s)):
                yield good(what, f"who subscribes to {topic_filter} gets what is retained")
            else:
                none = f"nothing retained came for {topic_filter}: either no worker is there, or it is not kept"
                yield unknown(what, none, FULL_ACCESS)
