"""amqtt's broker with its faults mended, each where its sentence stands; read in amqtt 0.12.1, the version pinned.

amqtt keeps the start and the stop, and the plugins. What happens to a connection and to a message is done
here, in plain calls from the packet read to the packets written: amqtt queues every message without a bound, makes a
task for each of its deliveries, and loses it for those whose turn has not come when somebody subscribes meanwhile.
amqtt's own tables of sessions, subscriptions and retained messages stay empty.

A session ends with its connection, also where the client asks for a lasting one, as MQTT 3.1.1 section 4.1 permits:
nothing waits here for somebody who has gone. QoS 2 is taken, and granted as QoS 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Coroutine, Iterable
from functools import partial
from typing import Any

from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig

from broker.access import is_strangers_client_id
from broker.admission import Admission, Admitted, close_politely, name_and_address
from broker.clients import Clients
from broker.complaints import Complaints
from broker.connect_packet import ACCEPTED, WRONG_CLIENT_ID, encode_connack
from broker.connection import Connection
from broker.counters import BrokerCounters, told
from broker.cutoff import CutOff
from broker.gate import Gate, Guest
from broker.hub import MessageHub
from broker.labels import WorkerLabels
from broker.limits import Limits
from broker.listener import Acceptor, Listener
from broker.logins import LoginDesk
from broker.outbox import MAX_QUEUED_BYTES_IN_ALL
from broker.plugins import TopicAccessPlugin
from broker.retained import RetainedMessages
from broker.session import Session, principal_of
from broker.trust import Directory
from gpumon.roles import Principal, Role
from gpumon.topics import Topics

logger = logging.getLogger(__name__)

MAX_CONNECTIONS_OF_A_WORKER = 8
STRANGERS_STAY_S = 120.0
TELL_EVERY_S = 60.0


class FleetBroker(Broker):  # type: ignore[misc]
    """The broker; to be made in the running loop that it is to serve in."""

    def __init__(self, listeners: Iterable[Listener], directory: Directory, topics: Topics, limits: Limits) -> None:
        self.counters = BrokerCounters()
        self._limits = limits
        self._retained = RetainedMessages()
        # $SYS topics and packet logging, amqtt's default plugins, are load that nobody reads.
        plugins = {
            "broker.plugins.LoginPlugin": {"desk": LoginDesk(directory, self.counters)},
            "broker.plugins.TopicAccessPlugin": {"topics": topics, "labels_of": WorkerLabels(self._retained, topics)},
        }
        super().__init__(BrokerConfig(listeners={"default": ListenerConfig(bind=None)}, plugins=plugins))
        access = next(plugin for plugin in self.plugins_manager.plugins if isinstance(plugin, TopicAccessPlugin))
        self._complaints = Complaints()
        self._hub = MessageHub(
            topics,
            limits,
            access,
            self._retained,
            complaints=self._complaints,
            counters=self.counters,
            on_overflow=self._close_slow_readers,
        )
        self._clients = Clients()
        self._gate = Gate(limits, self.counters)
        authenticate = partial(self._authenticate, _=self.listeners_config["default"])
        self._admission = Admission(self._gate, authenticate, self._complaints, self.counters)
        self._acceptors = [
            Acceptor(each, partial(self._may_accept, each), self._accepted, self._gate.turn_away_oldest)
            for each in listeners
        ]
        self._cutoff = CutOff(directory, self._clients.principals, self._cut_off)
        self._tasks: set[asyncio.Task[None]] = set()

    async def _start_listeners(self) -> None:
        """Listen on sockets that are already bound."""
        for acceptor in self._acceptors:
            acceptor.start()
        self._start_task(self._cutoff.run())
        self._start_task(self._tell())

    async def shutdown(self) -> None:
        """Stop: no more clients, all connections closed (without wills: nobody is left to read them)."""
        for acceptor in self._acceptors:
            acceptor.stop()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._retained.clear()
        await super().shutdown()

    def _may_accept(self, listener: Listener) -> bool:
        return self._gate.is_open(time.monotonic(), has_tls=listener.tls is not None)

    def _accepted(self, listener: Listener, connection: socket.socket, address: str) -> None:
        """Take a connection that has just come, or close it where there is no room for it."""
        hang_up, has_tls = partial(_hang_up, connection), listener.tls is not None
        guest = self._gate.enter(address, time.monotonic(), hang_up, has_tls=has_tls)
        if guest is None:
            connection.close()
            self._complaints(
                "room",
                address,
                f"{address} has more connections, or opens them faster, than broker.max_connections_per_address and "
                "broker.max_connections allow: it is refused",
            )
            return
        self._start_task(self._serve(guest, listener, connection))

    async def _serve(self, guest: Guest, listener: Listener, socket_: socket.socket) -> None:
        """Serve a client from its first byte to its last, whichever listener it came by."""
        connection = None
        will_is_due = True
        try:
            admitted = await self._admission.admit(guest, socket_, listener.tls)
            connection = await self._register(admitted) if admitted is not None else None
            if connection is not None:
                will_is_due = not await connection.run()
        except asyncio.CancelledError:
            # By `shutdown` alone. Not raised again: asyncio before Python 3.12 logs a cancelled task as a failure.
            will_is_due = False
        finally:
            self._gate.leave(guest)
            if connection is not None:
                self._end(connection, with_will=will_is_due)

    async def _register(self, admitted: Admitted) -> Connection | None:
        """Give a client the client id that it asks for, where nobody else has it.

        amqtt takes over the session of that client id, and lists the new one as connected, before it has asked who it
        is; here nothing is touched before the log-in, and a client id in use is given up to its own user alone. All
        strangers are one user, so a stranger's is given up to nobody: it hears what is answered to that client id.
        """
        session, principal = admitted.session, principal_of(admitted.session)
        if admitted.writer.transport.is_closing() or admitted.reader.at_eof():
            admitted.writer.transport.abort()  # it went while its password was checked
            return None
        holder = self._clients.holder(session.client_id)
        is_stranger = principal.role is Role.STRANGER
        problem = None
        if holder is not None and (is_stranger or holder.principal.name != principal.name):
            problem = f"asked for the client id {session.client_id[:100]!r}, which another user has: refused"
        elif is_stranger and not is_strangers_client_id(session.client_id):
            problem = "asked to join without a client id of letters, digits, '.', '-' and '_': refused"
        if problem is not None:
            self._complain("client id", session, problem)
            await close_politely(admitted.writer, WRONG_CLIENT_ID)
            return None
        if holder is None and self._clients.count(principal.name) >= MAX_CONNECTIONS_OF_A_WORKER:
            holder = self._clients.oldest_of(principal.name) if principal.role is Role.WORKER else None
        if holder is not None:
            # The old connection ends without a DISCONNECT, so its will is due (MQTT 3.1.1 sections 3.1.2.5 and 3.1.4).
            # It is delivered before the new CONNACK: amqtt could send a worker's `offline` after its new `online`.
            self._end(holder, with_will=True)
        connection = Connection(admitted, self._hub, self._limits, partial(self._complain_about, session))
        self._clients.add(connection)
        self.counters.connections = len(self._clients)
        connection.answer(encode_connack(ACCEPTED))
        if is_stranger:
            connection.close_in(STRANGERS_STAY_S)
        return connection

    def _end(self, connection: Connection, *, with_will: bool) -> None:
        """Free everything that a connection has, once; amqtt walks all subscriptions of everybody to do so."""
        if not self._clients.remove(connection):
            return
        self.counters.connections = len(self._clients)
        self._hub.forget(connection)
        connection.close()
        if with_will and connection.will is not None:
            self._hub.published(connection, connection.will)

    def _cut_off(self, principals: set[Principal]) -> None:
        """Close the connections of those who would not be let in any more.

        A worker's will tells that it is offline. Anybody else's could be a command, which is not theirs to give now.
        """
        for connection in self._clients:
            if connection.principal in principals:
                self.counters.cut_off += 1
                self._complain("cut-off", connection.session, "is cut off: its account has changed or is gone")
                self._end(connection, with_will=connection.principal.role is Role.WORKER)

    def _close_slow_readers(self) -> None:
        """Free a quarter of what may wait for all readers together, at the cost of those for whom most waits."""
        too_much = self._hub.queued.size - 3 * MAX_QUEUED_BYTES_IN_ALL // 4
        for reader in self._clients.slowest(too_much):
            self.counters.closed_readers += 1
            self._complain("slow", reader.session, "reads too slowly while too much waits for all: disconnected")
            self._end(reader, with_will=True)

    def _complain(self, kind: str, session: Session, problem: str) -> None:
        who = name_and_address(session)
        self._complaints(kind, who, f"{who} {problem}")

    def _complain_about(self, session: Session, kind: str, problem: str) -> None:
        self._complain(kind, session, problem)

    def _start_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self) -> None:
        """Log each minute how often the broker had to defend itself, where it had to."""
        before = self.counters.as_dict()
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            now = self.counters.as_dict()
            if text := told(before, now):
                logger.warning("in the last minute: %s", text)
            before = now


def _hang_up(connection: socket.socket) -> None:
    """End a connection from outside: whoever reads from it, or shakes hands, finds its end."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
