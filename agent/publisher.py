"""What an agent publishes, each kind on its topic, with its quality of service and retained or not as agreed."""

from __future__ import annotations

import time

from gpumon.commands import CommandOutput, CommandResult
from gpumon.link import Delivery, MqttLink
from gpumon.messages import Event, EventKind, Info, Metrics, Status, encode
from gpumon.topics import Channel, Topics

MAX_TEXT = 1024  # characters, as `gpumon.messages.Text` allows


def shortened(text: str, limit: int = MAX_TEXT) -> str:
    """Return the text, cut with an ellipsis where it is longer than messages allow."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


class Publisher:
    """Publishes for one worker. Every method may be called from any thread."""

    def __init__(self, link: MqttLink, topics: Topics, worker_id: str) -> None:
        self._link = link
        self._topics = {channel: topics.worker(worker_id, channel) for channel in Channel}

    def status(self, status: Status) -> None:
        """Say `online` or `offline`."""
        self._link.publish(self._topics[Channel.STATUS], status.encode(), qos=1, retain=True)

    def info(self, info: Info) -> None:
        """Say what this machine has."""
        self._link.publish(self._topics[Channel.INFO], encode(info), qos=1, retain=True)

    def metrics(self, metrics: Metrics) -> bool:
        """Publish one sample; False where there is no connection, since an old sample is not worth queueing."""
        return self._link.publish(self._topics[Channel.METRICS], encode(metrics), qos=0, retain=True)

    def event(self, event: Event) -> None:
        """Say what has happened."""
        self._link.publish(self._topics[Channel.EVENT], encode(event), qos=1)

    def happened(self, kind: EventKind, text: str) -> None:
        """Say what has happened just now to the worker as a whole."""
        self.event(Event(time=time.time(), kind=kind, text=shortened(text)))

    def output(self, output: CommandOutput) -> None:
        """Publish a piece of a command's output."""
        self._link.publish(self._topics[Channel.OUTPUT], encode(output), qos=1)

    def result(self, result: CommandResult) -> Delivery:
        """Publish how a command ended; the delivery tells when the broker has it."""
        return self._link.deliver(self._topics[Channel.RESULT], encode(result))
