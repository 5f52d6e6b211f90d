"""What happens to a message: who may publish it, what is retained of it, and who gets it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
from amqtt.contexts import Action

from broker.access import is_command_topic, is_never_retained
from broker.admission import name_and_address
from broker.audit import audit_of
from broker.complaints import Complaints
from broker.connection import SUBSCRIPTION_REFUSED, Connection
from broker.counters import BrokerCounters
from broker.limits import BURST_S, Allowances, Limits
from broker.outbox import MAX_QUEUED_BYTES_IN_ALL, Queued
from broker.packets import Message, is_topic_name
from broker.plugins import TopicAccessPlugin
from broker.retained import RetainedMessages
from broker.subscriptions import MAX_TOPIC_CHARACTERS, SubscriptionTree, check_filter
from gpumon.commands import MAX_COMMAND_BYTES
from gpumon.errors import InvalidTopicError
from gpumon.roles import Role
from gpumon.topics import Topics

MAX_SUBSCRIPTIONS = 1000
MAX_SUBSCRIPTIONS_OF_A_USER = 10_000
# Agents answer a command that is too long for them; one that is much too long would be sent to a thousand for nothing.
MAX_COMMAND_MESSAGE_BYTES = 2 * MAX_COMMAND_BYTES


class MessageHub:
    """Takes what clients publish and subscribe to; `on_overflow` is called when too much waits for slow readers."""

    def __init__(
        self,
        topics: Topics,
        limits: Limits,
        access: TopicAccessPlugin,
        retained: RetainedMessages,
        *,
        complaints: Complaints,
        counters: BrokerCounters,
        on_overflow: Callable[[], None],
    ) -> None:
        self.counters = counters
        self.queued = Queued()
        self._on_overflow = on_overflow
        self._topics = topics
        self._access = access
        self._retained = retained
        self._complaints = complaints
        self._readers: SubscriptionTree[Connection] = SubscriptionTree()
        self._subscriptions: Counter[str] = Counter()  # by user
        # A user's connections share its allowance: connecting again does not make it larger.
        self._messages = Allowances(limits.max_messages_per_s, BURST_S * limits.max_messages_per_s)
        self._bytes = Allowances(limits.max_bytes_per_s, BURST_S * limits.max_bytes_per_s)

    def spend(self, connection: Connection, messages: float, size: int) -> float:
        """Count what a client has sent, in messages and bytes; return for how many seconds not to read from it."""
        user = connection.principal
        if user.role is Role.MASTER:
            return 0.0
        now = time.monotonic()
        return max(self._messages.spend(user.name, messages, now), self._bytes.spend(user.name, size, now))

    def published(self, connection: Connection, message: Message) -> None:
        """Take what a client publishes, its will too: refuse it, or hand it on."""
        self.counters.messages_in += 1
        topic = message.topic
        is_topic = is_topic_name(topic) and len(topic) <= MAX_TOPIC_CHARACTERS
        if not is_topic or not self._access.allows(connection.session, topic, Action.PUBLISH):
            self._refuse_publish(connection, f"may not publish to {topic[:200]!r}: dropped")
            return
        if message.retain and is_never_retained(topic, self._topics):
            self._refuse_publish(connection, f"published a retained message to {topic!r}, where none is kept: dropped")
            return
        if is_command_topic(topic, self._topics):
            if len(message.payload) > MAX_COMMAND_MESSAGE_BYTES:
                self._refuse_publish(connection, f"published a command of {len(message.payload)} bytes: dropped")
                return
            if connection.principal.role is not Role.MASTER:
                self._audit(connection, message)
        self.route(message, connection)

    def route(self, message: Message, publisher: Connection | None = None) -> None:
        """Retain a message if it asks for that, and deliver it to all readers of its topic.

        Each gets it at the lower of the QoS published at and granted (MQTT 3.1.1 section 3.8.4); amqtt takes the
        granted one for both.
        """
        topic, qos = message.topic, message.qos
        if message.retain:
            self._retain(message, publisher)
        for reader, granted in self._readers.match(topic).items():
            if self._access.allows(reader.session, topic, Action.RECEIVE):
                reader.deliver(message, min(granted, qos))
        message.forget_packet()
        if self.queued.size > MAX_QUEUED_BYTES_IN_ALL:
            self._on_overflow()

    def subscribe(self, connection: Connection, topic_filter: str, qos: int) -> int:
        """Subscribe a client; return the QoS granted (1 at most), or `SUBSCRIPTION_REFUSED`."""
        problem = None
        try:
            check_filter(topic_filter)
        except InvalidTopicError as error:
            problem = f"asked for {error}"
        else:
            if not self._access.allows(connection.session, topic_filter, Action.SUBSCRIBE):
                problem = f"may not subscribe to {topic_filter[:200]!r}"
            elif self._readers.count(connection) >= MAX_SUBSCRIPTIONS:
                problem = f"has {MAX_SUBSCRIPTIONS} subscriptions, and asks for more"
            elif self._subscriptions[connection.principal.name] >= MAX_SUBSCRIPTIONS_OF_A_USER:
                problem = f"has {MAX_SUBSCRIPTIONS_OF_A_USER} subscriptions in all, and asks for more"
        if problem is not None:
            self.counters.refused_subscriptions += 1
            self._complain("subscription", connection, f"{problem}: refused")
            return SUBSCRIPTION_REFUSED
        granted = min(qos, 1)
        before = self._readers.count(connection)
        self._readers.add(topic_filter, connection, granted)
        self._count_subscriptions(connection, before)
        return granted

    def unsubscribe(self, connection: Connection, topic_filter: str) -> None:
        """End a client's subscription."""
        before = self._readers.count(connection)
        self._readers.remove(topic_filter, connection)
        self._count_subscriptions(connection, before)

    def forget(self, connection: Connection) -> None:
        """End everything that a client has subscribed to."""
        before = self._readers.count(connection)
        self._readers.remove_reader(connection)
        self._count_subscriptions(connection, before)

    def retained_topics(self, topic_filter: str) -> Sequence[str]:
        """Return the topics under a filter that have a retained message; amqtt looks at all for every filter."""
        return self._retained.topics(topic_filter)

    def retained_message(self, connection: Connection, topic: str) -> Message | None:
        """Return what is retained on a topic now, where this client may read it."""
        if not self._access.allows(connection.session, topic, Action.RECEIVE):
            return None
        return self._retained.get(topic)

    def _count_subscriptions(self, connection: Connection, before: int) -> None:
        user = connection.principal.name
        self._subscriptions[user] += self._readers.count(connection) - before
        if not self._subscriptions[user]:
            del self._subscriptions[user]

    def _retain(self, message: Message, publisher: Connection | None) -> None:
        user = publisher.principal if publisher is not None else None
        owner = user.name if user is not None and user.role not in (Role.ADMIN, Role.MASTER) else None
        if not self._retained.put(message, owner):
            self.counters.unretained_messages += 1
            if publisher is not None:
                self._complain("retained", publisher, f"has too much retained: {message.topic!r} is not kept")

    def _audit(self, connection: Connection, message: Message) -> None:
        address = connection.session.remote_address
        audit = audit_of(connection.principal.name, address, message.topic, message.payload, time.time())
        self.route(Message(self._topics.audit, msgspec.json.encode(audit), 1))

    def _refuse_publish(self, connection: Connection, problem: str) -> None:
        self.counters.refused_publishes += 1
        self._complain("publish", connection, problem)

    def _complain(self, kind: str, connection: Connection, problem: str) -> None:
        who = name_and_address(connection.session)
        self._complaints(kind, who, f"{who} {problem}")
