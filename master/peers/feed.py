"""How samples come in when several masters share a fleet.

The broker gives each sample to one of them (a shared subscription); that one hands it on to the others as it came,
so that every page shows every worker. While Redis is away a master takes all samples from the broker itself: it costs
it more, and nothing is lost.
"""

from __future__ import annotations

from gpumon.link import MqttLink
from gpumon.topics import Channel, Topics
from master.ingest import Ingest
from master.peers.channel import PeerChannel
from master.peers.messages import Samples


class Feed:
    """Chooses the subscription, hands on, and takes in what others hand on."""

    def __init__(self, channel: PeerChannel, topics: Topics) -> None:
        self.taken_samples = 0
        self._channel = channel
        self._every_sample = topics.every_worker(Channel.METRICS)
        self._shared = topics.shared(self._every_sample)
        self._link: MqttLink | None = None
        self._ingest: Ingest | None = None
        self._is_sharing: bool | None = None

    @property
    def problem(self) -> str | None:
        """Why samples cannot be shared, None where they can."""
        if self._link is not None and self._shared in self._link.refused_filters:
            return (
                f"the broker refuses the shared subscription {self._shared}: every master takes all samples itself; "
                "let its account read that, or use mosquitto, EMQX or HiveMQ"
            )
        return None

    def attach(self, link: MqttLink, ingest: Ingest) -> None:
        """Subscribe over this link from now on."""
        self._link, self._ingest = link, ingest
        self._is_sharing = None
        self.look()

    def look(self, *, takes_all: bool = False) -> None:
        """Share samples with the others, or take all: where a master may get its share and do nothing with it."""
        link = self._link
        can_share = self._channel.is_whole and self.problem is None and not takes_all
        if link is None or can_share == self._is_sharing:
            return
        self._is_sharing = can_share
        wanted, other = (self._shared, self._every_sample) if can_share else (self._every_sample, self._shared)
        link.ask_for(wanted, 0)  # the other goes after it, so that a sample comes twice rather than not at all
        link.ask_no_more_for(other)

    def hand_on(self, worker_id: str, payload: bytes) -> None:
        """Give a sample that the broker gave to this master to the others."""
        if self._is_sharing:
            self._channel.send_sample(worker_id, payload)

    def take(self, message: Samples) -> None:
        """Take in what another master has handed on."""
        ingest = self._ingest
        if ingest is not None:
            self.taken_samples += len(message.samples)
            for worker_id, payload in message.samples:
                ingest.take_told(worker_id, payload)
