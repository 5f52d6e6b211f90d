"""The other masters of the fleet, as the master knows them: who is there, who keeps what, what they tell each other."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from gpumon.errors import GpumonError
from gpumon.link import InboundMessage, MqttLink
from gpumon.log import OncePer
from gpumon.messages import STATUS_ONLINE
from gpumon.queue_address import QueueAddress
from gpumon.topics import Topics
from master.alerts.records import Alert
from master.alerts.shared_desk import SharedAlertDesk
from master.bus import EventBus
from master.events import AlertChanged, AlertRulesChanged, PeersProblemChanged
from master.keeping import HandedOver
from master.peers.channel import PeerChannel
from master.peers.feed import Feed
from master.peers.handover import Handover
from master.peers.leader import Leader
from master.peers.messages import AlertTold, Answered, Asked, Envelope, Pulse, Released, RulesChanged, Samples
from master.peers.questions import Questions
from master.peers.roster import BEAT_EACH_S, LET_GO_AFTER_S, Roster
from master.store.engine import Store, StoreError
from master.store.writer import Writer
from master.ticker import Ticker

logger = logging.getLogger(__name__)

LOOK_EACH_S = 0.25
_LEADER_HEARD_WITHIN_S = 3.0
_PATIENCE_S = 3.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What of the master works together with others; `leads` and `follows` are called as this master comes to lead."""

    keeping: Sequence[HandedOver]
    alerts: SharedAlertDesk
    leads: Callable[[], None]
    follows: Callable[[], None]


class Peers:
    """The masters that share the fleet. Constructing it does nothing; nothing of it is made for a master alone."""

    def __init__(self, address: QueueAddress, store: Store, writer: Writer, bus: EventBus, topics: Topics) -> None:
        self.channel = PeerChannel(address, self._receive)
        self.feed = Feed(self.channel, topics)
        self.questions = Questions(self.channel)
        self._bus = bus
        self._topics = topics
        self._roster = Roster(time.monotonic)
        self._handover = Handover(lambda: self._parts.keeping if self._parts else (), writer, self.channel)
        self._leader = Leader(
            store, gained=self._begins_to_lead, lost=self._leads_no_more, another_leads=lambda: self.leader is not None
        )
        self._instance = ""
        self._parts: Parts | None = None
        self._link: MqttLink | None = None
        self._leaders: dict[str, float] = {}
        self._was_whole = False
        self._beaten = self._heard_itself = float("-inf")
        self._begun = 0.0
        self._told_problem: str | None = None
        self._ticker = Ticker(LOOK_EACH_S, "peers")
        self._ticker.every(LOOK_EACH_S, self._look)
        self._due = OncePer(60.0)

    @property
    def problem(self) -> str | None:
        """What keeps the masters from working together, None while nothing does."""
        return self._told_problem

    @property
    def members(self) -> tuple[str, ...]:
        """The masters that share the fleet now, by their instance; none while that is not known."""
        return self._handover.members

    @property
    def leads(self) -> bool:
        """Whether this master does what is done once for all."""
        return self._leader.leads

    @property
    def leader(self) -> str | None:
        """The other master that leads, None where none has said so lately."""
        now = time.monotonic()
        heard = [name for name, at in list(self._leaders.items()) if now - at < _LEADER_HEARD_WITHIN_S]
        return heard[0] if heard else None

    def keeps(self, worker_id: str) -> bool:
        """Tell whether this master accounts for a worker."""
        return self._handover.keeps(worker_id)

    def keeper(self, worker_id: str) -> str | None:
        """Return the other master that keeps a worker, None where this one does, or nobody."""
        found = self._handover.keeper(worker_id)
        return None if found == self._instance else found

    def start(self, instance: str, installation: str, parts: Parts) -> None:
        """Begin, with no worker. Raises SettingError, StartError."""
        self._instance, self._parts = instance, parts
        self._leader.start()
        self._roster.begin(instance)
        self.channel.start(instance, installation)
        self.questions.start()
        self._handover.start(instance)
        self._bus.subscribe(AlertChanged, self._alert_changed)
        self._bus.subscribe(AlertRulesChanged, self._rules_changed)

    def attach(self, link: MqttLink) -> None:
        """Hear over this link who is there, say that this master is, and begin to share."""
        self._link = link
        link.subscribe(self._topics.every_master_status, 1, self._status_arrived)
        self._begun = time.monotonic()
        self._ticker.start()

    def stop(self) -> None:
        """Work with the others no more; safe to call twice. What is kept is left for its parts to write."""
        self._ticker.stop()
        self._bus.unsubscribe(AlertChanged, self._alert_changed)
        self._bus.unsubscribe(AlertRulesChanged, self._rules_changed)
        self._handover.stop()
        self._leader.stop()
        self.questions.stop()
        self.channel.stop()

    def _look(self) -> None:
        link, now = self._link, time.monotonic()
        if link is None:
            return
        if now - self._beaten >= BEAT_EACH_S:
            self._beaten = now
            self.channel.pulse(leads=self.leads)
            if link.is_listening:
                link.publish(self._topics.master_status(self._instance), STATUS_ONLINE.encode(), retain=True)
        # A connection may be dead for long before anybody is told: what does not come back, the others do not hear.
        is_heard = now - self._heard_itself < LET_GO_AFTER_S
        self._handover.follow(self._roster.look(is_listening=link.is_listening and is_heard))
        self.feed.look(takes_all=self._roster.is_one_silent)
        is_whole = self.channel.is_whole
        if is_whole and not self._was_whole:
            self.questions.soon(self._reload)
        self._was_whole = is_whole
        self._tell_problem(now)

    def _tell_problem(self, now: float) -> None:
        # At its start a master has not heard itself yet.
        problem = (self.channel.problem or self.feed.problem) if now - self._begun >= _PATIENCE_S else None
        if problem != self._told_problem:
            self._told_problem = problem
            self._bus.publish(PeersProblemChanged(problem))

    def _status_arrived(self, message: InboundMessage) -> None:
        instance = self._topics.read_master(message.topic)
        if message.retained:
            return  # it may be of a master that ended together with its broker
        if instance == self._instance:
            self._heard_itself = time.monotonic()
        elif message.payload == STATUS_ONLINE.encode():
            self._roster.beats(instance)
        else:
            self._roster.is_gone(instance)

    def _receive(self, envelope: Envelope) -> None:
        message = envelope.message
        if isinstance(message, Samples):
            self.feed.take(message)
        elif isinstance(message, Pulse):
            if message.leads:
                self._leaders[envelope.sender] = time.monotonic()
            else:
                self._leaders.pop(envelope.sender, None)
        elif isinstance(message, Released):
            self._handover.released(envelope.sender, tuple(message.masters))
        elif isinstance(message, (Asked, Answered)):
            self.questions.take(envelope.sender, message)
        elif self._parts is not None:
            if isinstance(message, AlertTold):
                self._parts.alerts.told(msgspec.json.decode(message.alert, type=Alert))
            else:
                self.questions.soon(self._reload)

    def _reload(self) -> None:
        try:
            if self._parts is not None:
                self._parts.alerts.reload()
        except StoreError as error:
            if self._due("reload"):
                logger.error("alert rules and silences of another master cannot be taken up: %s", error)

    def _alert_changed(self, event: AlertChanged) -> None:
        if not event.is_told:
            self.channel.send(AlertTold(msgspec.json.encode(event.alert)))

    def _rules_changed(self, event: AlertRulesChanged) -> None:
        if not event.is_told:
            self.channel.send(RulesChanged())

    def _begins_to_lead(self) -> None:
        if self._parts is not None:
            self._parts.leads()

    def _leads_no_more(self) -> None:
        if self._parts is not None:
            try:
                self._parts.follows()
            except GpumonError as error:
                logger.error("what the leader did could not be ended well: %s", error)
