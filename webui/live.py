"""Live updates: what browsers may watch over Socket.IO, and the commands they send."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import flask
import flask_socketio
import msgspec
from msgspec import Meta

from gpumon.errors import GpumonError
from gpumon.roles import Role
from master.events import (
    AlertChanged,
    AlertRulesChanged,
    BrokerLinkChanged,
    CommandChanged,
    HistoryProblemChanged,
    OutputArrived,
    PeersProblemChanged,
    SampleArrived,
    WorkerChanged,
    WorkerEventArrived,
    WorkerRemoved,
)
from master.master import Master
from webui.access import need_of, needs, open_to_all
from webui.alert_push import ALERTS_ROOM, AlertPusher
from webui.alert_view import alert_views
from webui.answers import status_and_text
from webui.api import TimedEvent, worker_view
from webui.api_commands import CommandView, RunRequest, WorkerIds, caller, run_as
from webui.command_push import COMMANDS_ROOM, CommandPusher, command_room, summary_of, worker_room
from webui.context import context
from webui.fleet_push import FLEET_ROOM, FleetPusher
from webui.guard import visitor
from webui.rows import fleet_row
from webui.transport import Connections, RoomManager
from webui.viewers import NAMESPACE, Viewers

logger = logging.getLogger(__name__)

MOST_ROOMS = 64
LOG_IN_FIRST = "log in first"
WATCHABLE = re.compile(r"fleet|commands|alerts|(?:worker|command):[A-Za-z0-9._-]{1,64}")


class CancelRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """End a command, on some of its workers or (None) on all."""

    id: Annotated[str, Meta(max_length=64)]
    workers: WorkerIds | None = None


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


class Live:
    """Carries what happens in the master to the browsers that watch it."""

    def __init__(self, master: Master, rooms: Rooms, connections: Connections) -> None:
        self.connections = connections
        self.fleet = FleetPusher(master.fleet, rooms)
        self.commands = CommandPusher(rooms)
        self.alerts = AlertPusher(master.alerts, master.fleet, rooms)
        self._master = master
        self._bus = master.bus
        self._rooms = rooms

    def start(self) -> None:
        """Begin to push."""
        self.connections.start()
        self.fleet.start()
        self.commands.start()
        self.alerts.start()
        for event_type, handler in self._subscriptions():
            self._bus.subscribe(event_type, handler)

    def stop(self) -> None:
        """End all connections and stop pushing."""
        for event_type, handler in self._subscriptions():
            self._bus.unsubscribe(event_type, handler)
        self.connections.stop()
        self.fleet.stop()
        self.commands.stop()
        self.alerts.stop()

    def _subscriptions(self) -> list[tuple[type, Callable[[Any], None]]]:
        return [
            (WorkerChanged, self.fleet.worker_changed),
            (WorkerChanged, self._row_changed),
            (WorkerRemoved, self.fleet.worker_removed),
            (SampleArrived, self._sample_arrived),
            (WorkerEventArrived, self._event_arrived),
            (CommandChanged, self.commands.command_changed),
            (OutputArrived, self.commands.output_arrived),
            (AlertChanged, self.alerts.changed),
            (AlertChanged, self._alert_changed),
            (AlertRulesChanged, self.alerts.changed),
            (AlertRulesChanged, self._rules_changed),
            (BrokerLinkChanged, self._link_changed),
            (HistoryProblemChanged, self._history_changed),
            (PeersProblemChanged, self._peers_changed),
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

    def _alert_changed(self, event: AlertChanged) -> None:
        room = worker_room(event.alert.worker_id)
        if self._rooms.has_members(room):
            view = alert_views([event.alert], self._master.alerts, self._master.fleet)[0]
            told = {"id": view.worker_id, "alert": view}
            self._rooms.emit("worker_alert", msgspec.Raw(msgspec.json.encode(told)), room)

    def _rules_changed(self, _event: AlertRulesChanged) -> None:
        self._rooms.emit_to_all("alert_rules_changed", {})

    def _link_changed(self, event: BrokerLinkChanged) -> None:
        self._rooms.emit_to_all("broker_link", {"problem": None if event.connected else event.problem})

    def _history_changed(self, event: HistoryProblemChanged) -> None:
        self._rooms.emit_to_all("history_kept", {"problem": event.problem})

    def _peers_changed(self, event: PeersProblemChanged) -> None:
        self._rooms.emit_to_all("masters_shared", {"problem": event.problem})


class LiveNamespace(flask_socketio.Namespace):  # type: ignore[misc]
    """What browsers send: what they watch, and commands. Each event declares who may send it, and is checked."""

    def __init__(self, live: Live, viewers: Viewers) -> None:
        super().__init__(NAMESPACE)
        self._live = live
        self._viewers = viewers
        for handler in self.handlers():
            setattr(self, handler.__name__, partial(_checked, getattr(self, handler.__name__)))

    @classmethod
    def handlers(cls) -> list[Callable[..., Any]]:
        """Return what is called for each event, as it is declared."""
        return [handler for name, handler in vars(cls).items() if name.startswith("on_")]

    @needs(Role.VIEWER, by_token=False)
    def on_connect(self, _auth: object = None, *_more: object) -> None:
        """Let in who is logged in, as long as there is room."""
        page = context()
        if not self._viewers.add(_sid(), visitor(), page.most_viewers):
            raise flask_socketio.ConnectionRefusedError(
                f"all {page.most_viewers} live connections are in use: close another page, or raise page.threads "
                f"({page.settings.page.threads} now)"
            )

    @open_to_all
    def on_disconnect(self, _reason: object = None, *_more: object) -> None:
        """Forget who has left."""
        self._viewers.remove(_sid())

    @needs(Role.VIEWER, by_token=False)
    def on_watch(self, topic: object = None, *_more: object) -> Any:
        """Begin to send `fleet`, `commands`, `alerts`, `worker:<id>` or `command:<id>`; answer how it is now."""
        if not isinstance(topic, str) or not WATCHABLE.fullmatch(topic) or len(flask_socketio.rooms()) > MOST_ROOMS:
            return {"error": "this cannot be watched"}
        flask_socketio.join_room(topic)  # before looking, so that nothing is missed between the two
        try:
            snapshot = self._snapshot(topic)
        except GpumonError as error:
            flask_socketio.leave_room(topic)
            return {"error": status_and_text(error)[1]}
        if snapshot is None:
            flask_socketio.leave_room(topic)
            return {"error": "nothing of that name is known"}
        return msgspec.Raw(msgspec.json.encode(snapshot))

    @needs(Role.VIEWER, by_token=False)
    def on_unwatch(self, topic: object = None, *_more: object) -> None:
        """Send no more of it."""
        if isinstance(topic, str):
            flask_socketio.leave_room(topic)

    @needs(Role.OPERATOR, by_token=False)
    def on_run(self, data: object = None, *_more: object) -> Any:
        """Run a command; answer its id, or the error in words."""
        try:
            record = run_as(visitor(), msgspec.convert(data, RunRequest))
        except msgspec.ValidationError as error:
            return {"error": str(error)}
        except GpumonError as error:
            return {"error": status_and_text(error)[1]}
        return {"id": record.id}

    @needs(Role.OPERATOR, by_token=False)
    def on_cancel(self, data: object = None, *_more: object) -> Any:
        """End a command; answer nothing, or the error in words."""
        try:
            asked = msgspec.convert(data, CancelRequest)
            context().master.commands.cancel(asked.id, caller(visitor()), asked.workers)
        except msgspec.ValidationError as error:
            return {"error": str(error)}
        except GpumonError as error:
            return {"error": status_and_text(error)[1]}
        return {}

    def _snapshot(self, topic: str) -> object | None:
        kind, _, name = topic.partition(":")
        desk = context().master.commands
        if topic == FLEET_ROOM:
            return self._live.fleet.snapshot()
        if topic == ALERTS_ROOM:
            return self._live.alerts.snapshot()
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


def _checked(handler: Callable[..., Any], *arguments: object) -> Any:
    """Call what is declared for an event, if who sends it may."""
    found, need = context().sessions.visitor(), need_of(handler)
    flask.g.visitor = found
    by_token = found is not None and found.by_token
    if need.is_met_by(found.principal if found else None, by_token=by_token):
        return handler(*arguments)
    refusal = LOG_IN_FIRST if found is None else need.refusal(by_token=by_token)
    if handler.__name__ == "on_connect":
        raise flask_socketio.ConnectionRefusedError(refusal)
    return {"error": refusal}
