"""amqtt's broker with its faults mended, each where its sentence stands; read in amqtt 0.12.1, the version pinned.

amqtt keeps the start and the stop, the plugins, the sessions and the packets. What happens to a connection and to a
message is done here, in plain calls from the packet read to the packets written: amqtt queues every message without a
bound, makes a task for each of its deliveries, and loses it for those whose turn has not come when somebody subscribes
meanwhile. amqtt's own tables of sessions, subscriptions and retained messages stay empty.

A session ends with its connection, also where the client asks for a lasting one, as MQTT 3.1.1 section 4.1 permits:
nothing waits here for somebody who has gone. QoS 2 is taken, and granted as QoS 1.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from functools import partial

import msgspec
from amqtt.adapters import BufferReader, StreamWriterAdapter
from amqtt.broker import Broker, Server
from amqtt.contexts import Action, BrokerConfig, ListenerConfig
from amqtt.errors import AMQTTError, MQTTError, NoDataError
from amqtt.mqtt.connack import (
    CONNECTION_ACCEPTED,
    IDENTIFIER_REJECTED,
    NOT_AUTHORIZED,
    SERVER_UNAVAILABLE,
    UNACCEPTABLE_PROTOCOL_VERSION,
)
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.session import Session

from broker.access import is_command_topic
from broker.audit import audit_of
from broker.connection import SUBSCRIPTION_REFUSED, Connection, Limits
from broker.counters import BrokerCounters
from broker.listener import Listener
from broker.packets import (
    CONNECT,
    MalformedPacketError,
    Message,
    PacketTooLargeError,
    encode_connack,
    is_topic_name,
    protocol_level,
    read_packet,
    whole,
)
from broker.plugins import TopicAccessPlugin, principal_of
from broker.subscriptions import SubscriptionTree, check_filter, filter_matches
from broker.trust import Directory
from gpumon.errors import InvalidTopicError
from gpumon.log import OncePer
from gpumon.roles import Role
from gpumon.topics import Topics

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
MAX_CONNECT_BYTES = 256 * 1024
MAX_SUBSCRIPTIONS = 1000
PENDING_CONNECTIONS = 1024
MQTT_3_1_1 = 4


class FleetBroker(Broker):  # type: ignore[misc]
    """The broker; to be made in the running loop that it is to serve in."""

    def __init__(self, listeners: Iterable[Listener], directory: Directory, topics: Topics, limits: Limits) -> None:
        # $SYS topics and packet logging, amqtt's default plugins, are load that nobody reads.
        plugins = {
            "broker.plugins.LoginPlugin": {"directory": directory},
            "broker.plugins.TopicAccessPlugin": {"topics": topics},
        }
        super().__init__(BrokerConfig(listeners={"default": ListenerConfig(bind=None)}, plugins=plugins))
        self.counters = BrokerCounters()
        self._listeners = tuple(listeners)
        self._topics = topics
        self._limits = limits
        self._connections: dict[str, Connection] = {}
        self._readers: SubscriptionTree[Connection] = SubscriptionTree()
        self._retained: dict[str, Message] = {}
        self._clients: set[asyncio.Task[None]] = set()
        self._due = OncePer(60.0)
        self._access = next(plugin for plugin in self.plugins_manager.plugins if isinstance(plugin, TopicAccessPlugin))

    async def _start_listeners(self) -> None:
        """Listen on sockets that are already bound; amqtt would let 100 clients wait where a fleet comes at once."""
        for listener in self._listeners:
            server = await asyncio.start_server(
                self._serve, sock=listener.socket, ssl=listener.tls, backlog=PENDING_CONNECTIONS
            )
            self._servers[listener.name] = Server(listener.name, server)

    async def shutdown(self) -> None:
        """Stop: no more clients, all connections closed (without wills: nobody is left to read them)."""
        for server in self._servers.values():
            server.instance.close()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        self._retained.clear()
        await super().shutdown()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a client from its first byte to its last, whichever listener it came by."""
        task = asyncio.current_task()
        if task is not None:
            self._clients.add(task)
            task.add_done_callback(self._clients.discard)
        connection = None
        will_is_due = True
        try:
            connection = await self._admit(reader, writer)
            if connection is not None:
                will_is_due = not await connection.run()
        except asyncio.CancelledError:
            # By `shutdown` alone. Not raised again: asyncio before Python 3.12 logs a cancelled task as a failure.
            will_is_due = False
        finally:
            if connection is None:
                writer.close()
            else:
                self._end(connection, with_will=will_is_due)

    async def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Connection | None:
        """Let a client in, or answer why not.

        amqtt takes over the session of that client id, and lists the new one as connected, before it has asked who it
        is; here nothing is touched before the log-in, and a client id in use is given up to its own user alone.
        """
        session = await self._read_connect(reader, writer)
        if session is None:
            return None
        try:
            known = await self._authenticate(session, self.listeners_config["default"])
        except Exception as error:  # noqa: BLE001 - whatever the directory raises, it costs this log-in alone
            if self._due("accounts"):
                logger.error("the accounts cannot be asked, log-ins are refused for now: %r", error)
            self._refuse(writer, SERVER_UNAVAILABLE)
            return None
        if not known:
            self.counters.failed_logins += 1
            self._warn("log-in", session, "is refused: unknown name, or wrong password or token")
            self._refuse(writer, NOT_AUTHORIZED)
            return None
        holder = self._connections.get(session.client_id)
        if holder is not None and principal_of(holder.session).name != principal_of(session).name:
            self._warn("takeover", session, f"asked for the client id {session.client_id!r}, which another user has")
            self._refuse(writer, IDENTIFIER_REJECTED)
            return None
        if writer.transport.is_closing():
            return None
        if holder is not None:
            # The old connection ends without a DISCONNECT, so its will is due (MQTT 3.1.1 sections 3.1.2.5 and 3.1.4).
            # It is delivered before the new CONNACK: amqtt could send a worker's `offline` after its new `online`.
            self._end(holder, with_will=True)
        connection = Connection(session, reader, writer, self, self._limits, partial(self._warn, "problem", session))
        self._connections[session.client_id] = connection
        self.counters.connections = len(self._connections)
        connection.answer(encode_connack(CONNECTION_ACCEPTED))
        return connection

    async def _read_connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Session | None:
        """Read the CONNECT, which amqtt would wait for without end and take at any size."""
        address = writer.get_extra_info("peername")
        if not address:
            return None
        limit = min(MAX_CONNECT_BYTES, self._limits.max_packet_bytes)
        try:
            packet = await asyncio.wait_for(read_packet(reader, limit), CONNECT_TIMEOUT_S)
            if packet.kind != CONNECT:
                raise MalformedPacketError("a first packet that is no CONNECT")
            level = protocol_level(packet)
            if level != MQTT_3_1_1:
                if self._due(f"version {address[0]}"):
                    logger.warning("%s speaks MQTT protocol level %s; use MQTT 3.1.1 (level 4)", address[0], level)
                self._refuse(writer, UNACCEPTABLE_PROTOCOL_VERSION)
                return None
            _, session = await BrokerProtocolHandler.init_from_connect(
                BufferReader(whole(packet)), StreamWriterAdapter(writer), self.plugins_manager
            )
        except (asyncio.IncompleteReadError, asyncio.TimeoutError, OSError):
            return None
        except (MalformedPacketError, PacketTooLargeError, AMQTTError, MQTTError, NoDataError) as error:
            if self._due(f"connect {address[0]}"):
                logger.warning("%s did not connect: %s", address[0], error)
            return None
        return session

    def _refuse(self, writer: asyncio.StreamWriter, code: int) -> None:
        if not writer.transport.is_closing():
            writer.write(encode_connack(code))

    def _end(self, connection: Connection, *, with_will: bool) -> None:
        """Free everything that a connection has, once; amqtt walks all subscriptions of everybody to do so."""
        session = connection.session
        if self._connections.get(session.client_id) is not connection:
            return
        del self._connections[session.client_id]
        self.counters.connections = len(self._connections)
        self._readers.remove_reader(connection)
        connection.close()
        if with_will and session.will_flag:
            will = Message(
                session.will_topic, bytes(session.will_message), session.will_qos, retain=session.will_retain
            )
            self.published(connection, will)

    def published(self, connection: Connection, message: Message) -> None:
        """Take what a client publishes, its will too: refuse it, or hand it on."""
        self.counters.messages_in += 1
        session, topic = connection.session, message.topic
        if not is_topic_name(topic) or not self._access.allows(session, topic, Action.PUBLISH):
            self._refuse_publish(session, f"may not publish to {topic[:200]!r}: dropped")
            return
        if is_command_topic(topic, self._topics):
            if message.retain:
                self._refuse_publish(session, f"published a retained command to {topic[:200]!r}: dropped")
                return
            self._audit(session, message)
        self.route(message)

    def route(self, message: Message) -> None:
        """Retain a message if it asks for that, and deliver it to all readers of its topic.

        Each gets it at the lower of the QoS published at and granted (MQTT 3.1.1 section 3.8.4); amqtt takes the
        granted one for both.
        """
        topic, qos = message.topic, message.qos
        if message.retain:
            if message.payload:
                self._retained[topic] = message
            else:
                self._retained.pop(topic, None)
        for reader, granted in self._readers.match(topic).items():
            if self._access.allows(reader.session, topic, Action.RECEIVE):
                reader.deliver(message, min(granted, qos))

    def subscribe(self, connection: Connection, topic_filter: str, qos: int) -> int:
        """Subscribe a client; return the QoS granted (1 at most), or `SUBSCRIPTION_REFUSED`."""
        session = connection.session
        problem = None
        try:
            check_filter(topic_filter)
        except InvalidTopicError as error:
            problem = f"asked for {error}"
        else:
            if not self._access.allows(session, topic_filter, Action.SUBSCRIBE):
                problem = f"may not subscribe to {topic_filter[:200]!r}"
            elif self._readers.count(connection) >= MAX_SUBSCRIPTIONS:
                problem = f"has {MAX_SUBSCRIPTIONS} subscriptions, and asks for more"
        if problem is not None:
            self.counters.refused_subscriptions += 1
            self._warn("subscription", session, f"{problem}: refused")
            return SUBSCRIPTION_REFUSED
        granted = min(qos, 1)
        self._readers.add(topic_filter, connection, granted)
        return granted

    def unsubscribe(self, connection: Connection, topic_filter: str) -> None:
        """End a client's subscription."""
        self._readers.remove(topic_filter, connection)

    def retained_topics(self, topic_filter: str) -> Iterable[str]:
        """Return the topics under a filter that have a retained message; amqtt looks at all for every filter."""
        if "+" not in topic_filter and "#" not in topic_filter:
            return (topic_filter,) if topic_filter in self._retained else ()
        return [topic for topic in self._retained if filter_matches(topic_filter, topic)]

    def retained_message(self, connection: Connection, topic: str) -> Message | None:
        """Return what is retained on a topic now, where this client may read it."""
        if not self._access.allows(connection.session, topic, Action.RECEIVE):
            return None
        return self._retained.get(topic)

    def _audit(self, session: Session, message: Message) -> None:
        principal = principal_of(session)
        if principal.role is Role.MASTER:
            return
        audit = audit_of(principal.name, session.remote_address, message.topic, message.payload, time.time())
        self.route(Message(self._topics.audit, msgspec.json.encode(audit), 1))

    def _refuse_publish(self, session: Session, problem: str) -> None:
        self.counters.refused_publishes += 1
        self._warn("publish", session, problem)

    def _warn(self, about: str, session: Session, problem: str) -> None:
        """Log a problem with a client, once a minute for each user and kind of problem."""
        user, address = str(session.username)[:100], session.remote_address
        if self._due(f"{about} {user} {address}"):
            logger.warning("%r at %s %s", user, address, problem)
