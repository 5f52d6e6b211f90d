"""The workers' labels, as their retained inventories say, for those who may run commands on some workers alone."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from broker.packets import Message
from broker.retained import RetainedMessages
from gpumon.topics import Channel, Topics


class _Labelled(msgspec.Struct):
    labels: dict[str, str] = {}


_decoder = msgspec.json.Decoder(_Labelled)


class WorkerLabels:
    """Looks up a worker's labels; each inventory is read once."""

    def __init__(self, retained: RetainedMessages, topics: Topics) -> None:
        self._retained = retained
        self._topics = topics
        self._read: dict[str, tuple[Message, Mapping[str, str] | None]] = {}

    def __call__(self, worker_id: str) -> Mapping[str, str] | None:
        """Return the labels, None for a worker that has no inventory which can be read."""
        message = self._retained.get(self._topics.worker(worker_id, Channel.INFO))
        if message is None:
            self._read.pop(worker_id, None)
            return None
        read = self._read.get(worker_id)
        if read is None or read[0] is not message:
            read = self._read[worker_id] = message, _labels_in(message.payload)
        return read[1]


def _labels_in(info: bytes) -> Mapping[str, str] | None:
    try:
        return _decoder.decode(info).labels
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
