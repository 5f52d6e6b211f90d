"""What a broker's probe tries for a fleet that outgrows one master: MQTT 5, and reading shared among several."""

from __future__ import annotations

import time
from collections.abc import Iterator
from enum import Enum

from paho.mqtt.enums import MQTTProtocolVersion

from gpumon.cli.doctor.finding import Finding
from gpumon.cli.doctor.probe_client import MQTT_3_1_1, MQTT_5, REFUSED, NotLetInError, ProbeClient, ProbeError
from gpumon.cli.doctor.probe_ground import Ground, good, warning

SENT = 20
MOMENT_S = 0.3


class Sharing(str, Enum):
    """How a shared subscription behaves; the value is what is said of it."""

    WORKS = "each message goes to one of the readers that share a subscription"
    REFUSED = "it refuses shared subscriptions"
    SILENT = "it accepts a shared subscription and delivers nothing"
    TO_ALL = "it gives every message to each reader of a shared subscription"
    IN_PART = "it loses messages of a shared subscription"


def speaks_mqtt_5(ground: Ground) -> bool:
    """Tell whether the broker takes a client of MQTT 5."""
    try:
        with ground.client(version=MQTT_5):
            return True
    except NotLetInError:
        return False


def mqtt_5(*, has_mqtt_5: bool) -> Finding:
    """Say whether clients of MQTT 5 are served too."""
    return good("MQTT 5", "spoken too" if has_mqtt_5 else "not spoken, and not needed: gpumon speaks MQTT 3.1.1")


def sharing(ground: Ground, *, has_mqtt_5: bool) -> Iterator[Finding]:
    """Several masters would share the samples, so that each comes to one of them (MQTT 5 section 4.8.2)."""
    what = "shared reading"
    found, version = _try_sharing(ground, MQTT_3_1_1), "with MQTT 3.1.1 too"
    if found is not Sharing.WORKS and has_mqtt_5:
        found, version = _try_sharing(ground, MQTT_5), "with MQTT 5 alone"
    if found is Sharing.WORKS:
        yield good(what, f"{found.value}, {version}")
    else:
        yield warning(what, f"{found.value}: one master only", "for several masters use mosquitto, EMQX or HiveMQ")


def _try_sharing(ground: Ground, version: MQTTProtocolVersion) -> Sharing:
    topic = ground.topic(f"shared-{int(version)}")
    shared = f"$share/{ground.name}/{topic}"
    with ground.client(version=version) as one, ground.client(version=version) as other, ground.client() as writer:
        if getattr(one.properties, "SharedSubscriptionAvailable", 1) == 0:  # MQTT 5 section 3.2.2.3.13
            return Sharing.REFUSED
        try:
            if max(one.subscribe(shared), other.subscribe(shared)) >= REFUSED:
                return Sharing.REFUSED
        except ProbeError:
            return Sharing.REFUSED
        sent = [str(number).encode() for number in range(SENT)]
        for payload in sent:
            writer.publish(topic, payload)
        both = _heard_by(one, other, ground.way.patience_s)
    if not both:
        return Sharing.SILENT
    if sorted(both) == sorted(sent):
        return Sharing.WORKS
    return Sharing.TO_ALL if len(both) > SENT else Sharing.IN_PART


def _heard_by(one: ProbeClient, other: ProbeClient, patience_s: float) -> list[bytes]:
    """Return what both have got together, once that is all that was sent and a moment more has passed."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline and len(one.hear_many(0)) + len(other.hear_many(0)) < SENT:
        time.sleep(0.02)
    time.sleep(MOMENT_S)
    return [heard.payload for reader in (one, other) for heard in reader.hear_many(0)]
