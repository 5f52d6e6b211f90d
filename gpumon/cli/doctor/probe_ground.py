"""Where a broker's probe works: topics of its own, clients on them, and how it leaves nothing retained behind."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from paho.mqtt.enums import MQTTProtocolVersion

from gpumon.cli.doctor.finding import Finding, Verdict
from gpumon.cli.doctor.probe_client import (
    KEEPALIVE_S,
    MQTT_3_1_1,
    REFUSED,
    Heard,
    LastWill,
    ProbeClient,
    ProbeError,
    Way,
)

ANOTHER = "use another broker: mosquitto, EMQX and HiveMQ keep them"  # retained messages


@dataclass(frozen=True, slots=True)
class Ground:
    """The topics of one probe, under `gpumon/probe-<random>/`, where no part of gpumon listens."""

    way: Way
    base: str
    name: str

    def topic(self, last: str) -> str:
        """Return a topic of this probe."""
        return f"{self.base}/{self.name}/{last}"

    @property
    def kept(self) -> str:
        """The one topic that anything is retained on; its last level is of this probe alone as well."""
        return self.topic(f"kept-{self.name}")

    @property
    def user(self) -> str:
        """How messages call who probes."""
        return self.way.credentials.username if self.way.credentials is not None else "an anonymous client"

    def client(
        self,
        client_id: str | None = None,
        *,
        will: LastWill | None = None,
        version: MQTTProtocolVersion = MQTT_3_1_1,
        keepalive_s: int = KEEPALIVE_S,
    ) -> ProbeClient:
        """Return a client that connects when its block begins."""
        return ProbeClient(self.way, client_id, will=will, version=version, keepalive_s=keepalive_s)

    def guard(self) -> ProbeClient:
        """Return the client that keeps the place clean: if the probe is killed, its will clears what is retained."""
        return self.client(will=LastWill(self.kept, b"", is_retained=True))

    def retained_for(self, topic_filter: str) -> Heard | None:
        """Return what a client that comes now gets for this filter as retained of this probe's, None for nothing.

        Waits no longer than it takes a message published after the subscription to arrive, and a moment more.
        """
        with self.client() as reader:
            if reader.subscribe(topic_filter) >= REFUSED:
                return None
            self.mark(reader)
            moment_s = min(1.0, self.way.patience_s)
            return reader.hear(lambda heard: heard.topic == self.kept, moment_s)

    def mark(self, reader: ProbeClient) -> None:
        """Wait until a message has gone round to this reader, and so has had time what would have come before it.

        Raises ProbeError: where it does not arrive.
        """
        topic, payload = self.topic("mark"), secrets.token_hex(8).encode()
        reader.subscribe(topic)
        reader.publish(topic, payload)
        if reader.hear(lambda heard: heard.payload == payload) is None:
            raise ProbeError("a message that was acknowledged did not arrive")

    def clear(self, client: ProbeClient) -> None:
        """Take back what is retained (MQTT 3.1.1 section 3.3.1.3)."""
        client.publish(self.kept, b"", retain=True)


# What a check is called, and how it is made.
Check = tuple[str, Callable[[Ground], Iterator[Finding]]]


def good(what: str, found: str) -> Finding:
    """Return a finding of something that is as gpumon needs it."""
    return Finding(what, Verdict.GOOD, found)


def bad(what: str, found: str, to_do: str | None) -> Finding:
    """Return a finding of something without which gpumon does not work."""
    return Finding(what, Verdict.BAD, found, to_do)


def warning(what: str, found: str, to_do: str | None) -> Finding:
    """Return a finding of something that gpumon works without, but less well."""
    return Finding(what, Verdict.WARNING, found, to_do)


def unknown(what: str, found: str, to_do: str | None = None) -> Finding:
    """Return a finding of something that could not be tried."""
    return Finding(what, Verdict.UNKNOWN, found, to_do)
