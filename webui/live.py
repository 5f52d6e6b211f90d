"""Live updates: what browsers may watch over Socket.IO, and the commands they send."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import flask
import flask_socketio
import msgspec
from msgspec import Meta

from gpumon.commands import DEFAULT_TIMEOUT_S, MAX_COMMAND_BYTES
from gpumon.errors import GpumonError
from master.events import (
    BrokerLinkChanged,
    CommandChanged,
    HistoryProblemChanged,
    OutputArrived,
    SampleArrived,
    WorkerChanged,
    WorkerEventArrived,
    WorkerRemoved,
)
from master.master import Master
from webui.api import CommandView, TimedEvent, worker_view
from webui.command_push import COMMANDS_ROOM, CommandPusher, command_room, summary_of, worker_room
from webui.context import context
from webui.fleet_push import FLEET_ROOM, FleetPusher
from webui.rows import fleet_row
from webui.sessions import MAY_RUN, Sessions
from webui.transport import Connections, RoomManager

logger = logging.getLogger(__name__)

NAMESPACE = "/"
MOST_WORKERS_AT_ONCE = 10_000
MOST_ROOMS = 64
NOT_ALLOWED = {"error": "viewers may watch; running and cancelling commands takes the role operator or admin"}
LOG_IN_FIRST = {"error": "log in first"}

WorkerId = Annotated[str, Meta(min_length=1, max_length=63)]


class RunRequest(msgspec.Struct, frozen=True):
    """Run `command` on these workers."""

    command: Annotated[str, Meta(min_length=1, max_length=MAX_COMMAND_BYTES)]
    workers: Annotated[list[WorkerId], Meta(min_length=1, max_length=MOST_WORKERS_AT_ONCE)]
    timeout_s: float = DEFAULT_TIMEOUT_S


class CancelRequest(msgspec.Struct, frozen=True):
    """End a command, on some of its workers or (None) on all."""

    id: Annotated[str, Meta(max_length=64)]
    workers: Annotated[list[WorkerId], Meta(max_length=MOST_WORKERS_AT_ONCE)] | None = None


@dataclass(frozen=True, slots=True)
class Viewer:
    """Somebody who is connected, until their session ends."""

    name: str
    until: float


class Rooms:
    """Who watches what; the one way in which anything is pushed to browsers."""

    def __init__(self, socketio: flask_socketio.SocketIO, manager: RoomManager) -> None:
        self._socketio = socketio
        self._manager = manager

    def has_members(self, room: str) -> bool:
        """Tell whether anybody is in the room."""
        return self._manager.has_members(NAMESPACE, room)

    def emit(self, event: str, data: Any, room: str) -> None:
        """Send an event to everybody in the room."""
        self._socketio.emit(event, data, to=room, namespace=NAMESPACE)

    def emit_to_all(self, event: str, data: Any) -> None:
        """Send an event to every browser."""
        self._socketio.emit(event, data, namespace=NAMESPACE)


class Viewers:
    """Everybody who is connected, by Socket.IO's session id."""

    def __init__(self, manager: RoomManager, sessions: Sessions) -> None:
        self._manager = manager
        self._sessions = sessions
        self._by_sid: dict[str, Viewer] = {}
        self._lock = threading.Lock()

    def add(self, sid: str, viewer: Viewer, most: int) -> bool:
        """Let somebody in; False where there are as many as may be."""
        with self._lock:
            if len(self._by_sid) >= most:
                return False
            self._by_sid[sid] = viewer
            return True

    def remove(self, sid: str) -> None:
        """Forget somebody who has left."""
        with self._lock:
            self._by_sid.pop(sid, None)

    def in_use(self, engine_sid: str) -> bool:
        """Tell whether a connection carries a viewer whose session has not ended, nor whose account."""
        viewer = self._by_sid.get(self._manager.sid_from_eio_sid(engine_sid, NAMESPACE))
        return viewer is not None and viewer.until > time.time() and self._sessions.may_watch(viewer.name)


class Live:
    """Carries what happens in the master to the browsers that watch it."""

    def __init__(self, master: Master, rooms: Rooms, connections: Connections) -> None:
        self.connections = connections
        self.fleet = FleetPusher(master.fleet, rooms)
        self.commands = CommandPusher(rooms)
        self._master = master
        self._bus = master.bus
        self._rooms = rooms

    def start(self) -> None:
        """Begin to push."""
        self.connections.start()
        self.fleet.start()
        self.commands.start()
        for event_type, handler in self._subscriptions():
            self._bus.subscribe(event_type, handler)

    def stop(self) -> None:
        """End all connections and stop pushing."""
        for event_type, handler in self._subscriptions():
            self._bus.unsubscribe(event_type, handler)
        self.connections.stop()
        self.fleet.stop()
        self.commands.stop()

    def _subscriptions(self) -> list[tuple[type, Callable[[Any], None]]]:
        return [
            (WorkerChanged, self.fleet.worker_changed),
            (WorkerChanged, self._row_changed),
            (WorkerRemoved, self.fleet.worker_removed),
            (SampleArrived, self._sample_arrived),
            (WorkerEventArrived, self._event_arrived),
            (CommandChanged, self.commands.command_changed),
            (OutputArrived, self.commands.output_arrived),
            (BrokerLinkChanged, self._link_changed),
            (HistoryProblemChanged, self._history_changed),
        ]

    def _row_changed(self, event: WorkerChanged) -> None:
        room = worker_room(event.worker_id)
        worker = self._master.fleet.worker(event.worker_id) if self._rooms.has_members(room) else None
        if worker is not None:
            self._rooms.emit("worker_row", msgspec.Raw(msgspec.json.encode(fleet_row(worker))), room)

    def _sample_arrived(self, event: SampleArrived) -> None:
        room = worker_room(event.worker_id)
        if self._rooms.has_members(room):
            sample = {"id": event.worker_id, "received": event.received, "metrics": msgspec.Raw(event.payload)}
            self._rooms.emit("sample", msgspec.Raw(msgspec.json.encode(sample)), room)

    def _event_arrived(self, event: WorkerEventArrived) -> None:
        room = worker_room(event.worker_id)
        if self._rooms.has_members(room):
            told = {"id": event.worker_id, "event": TimedEvent(event.received, event.event)}
            self._rooms.emit("worker_event", msgspec.Raw(msgspec.json.encode(told)), room)

    def _link_changed(self, event: BrokerLinkChanged) -> None:
        self._rooms.emit_to_all("broker_link", {"problem": None if event.connected else event.problem})

    def _history_changed(self, event: HistoryProblemChanged) -> None:
        self._rooms.emit_to_all("history_kept", {"problem": event.problem})


class LiveNamespace(flask_socketio.Namespace):  # type: ignore[misc]
    """What browsers send: what they watch, and commands. Each event checks who sends it."""

    def __init__(self, live: Live, viewers: Viewers) -> None:
        super().__init__(NAMESPACE)
        self._live = live
        self._viewers = viewers

    def on_connect(self, _auth: object = None) -> None:
        """Let in who is logged in, as long as there is room."""
        page = context()
        principal = page.sessions.principal()
        if principal is None:
            raise flask_socketio.ConnectionRefusedError("log in first")
        viewer = Viewer(principal.name, page.sessions.ends_at())
        if not self._viewers.add(_sid(), viewer, page.most_viewers):
            raise flask_socketio.ConnectionRefusedError(
                f"all {page.most_viewers} live connections are in use: close another page, or raise page.threads "
                f"({page.settings.page.threads} now)"
            )

    def on_disconnect(self, _reason: object = None) -> None:
        """Forget who has left."""
        self._viewers.remove(_sid())

    def on_watch(self, topic: object = None, *_more: object) -> Any:
        """Begin to send what happens to `fleet`, `commands`, `worker:<id>` or `command:<id>`; answer how it is now."""
        if context().sessions.principal() is None:
            return LOG_IN_FIRST
        if not isinstance(topic, str) or len(flask_socketio.rooms()) > MOST_ROOMS:
            return {"error": "this cannot be watched"}
        flask_socketio.join_room(topic)  # before looking, so that nothing is missed between the two
        try:
            snapshot = self._snapshot(topic)
        except GpumonError as error:
            flask_socketio.leave_room(topic)
            return {"error": str(error)}
        if snapshot is None:
            flask_socketio.leave_room(topic)
            return {"error": "nothing of that name is known"}
        return msgspec.Raw(msgspec.json.encode(snapshot))

    def on_unwatch(self, topic: object = None, *_more: object) -> None:
        """Send no more of it."""
        if isinstance(topic, str):
            flask_socketio.leave_room(topic)

    def on_run(self, data: object = None, *_more: object) -> Any:
        """Run a command; answer its id, or the error in words."""
        principal = context().sessions.principal()
        if principal is None or principal.role not in MAY_RUN:
            return LOG_IN_FIRST if principal is None else NOT_ALLOWED
        try:
            asked = msgspec.convert(data, RunRequest)
            record = context().master.commands.run(asked.command, asked.workers, principal.name, asked.timeout_s)
        except (GpumonError, msgspec.ValidationError) as error:
            return {"error": str(error)}
        return {"id": record.id}

    def on_cancel(self, data: object = None, *_more: object) -> Any:
        """End a command; answer nothing, or the error in words."""
        principal = context().sessions.principal()
        if principal is None or principal.role not in MAY_RUN:
            return LOG_IN_FIRST if principal is None else NOT_ALLOWED
        try:
            asked = msgspec.convert(data, CancelRequest)
            context().master.commands.cancel(asked.id, principal.name, asked.workers)
        except (GpumonError, msgspec.ValidationError) as error:
            return {"error": str(error)}
        return {}

    def _snapshot(self, topic: str) -> object | None:
        kind, _, name = topic.partition(":")
        desk = context().master.commands
        if topic == FLEET_ROOM:
            return self._live.fleet.snapshot()
        if topic == COMMANDS_ROOM:
            return {"time": time.time(), "commands": [summary_of(record) for record in desk.recent()]}
        if topic == worker_room(name) and kind:
            return worker_view(name)
        if topic == command_room(name) and kind:
            record = desk.get(name)
            return None if record is None else CommandView(time.time(), record)
        return None


def _sid() -> str:
    sid: str = flask.request.sid  # type: ignore[attr-defined]  # set by Flask-SocketIO
    return sid
