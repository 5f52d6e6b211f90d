"""The master as a whole: its parts, the order in which they start and stop, and its own status on the broker."""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from pathlib import Path

from gpumon.address import BrokerAddress, page_address
from gpumon.datafolder import DataFolder
from gpumon.errors import GpumonError, StartError
from gpumon.files import read_secret
from gpumon.link import Credentials, InboundMessage, MqttLink, Will
from gpumon.locks import FolderLock
from gpumon.messages import STATUS_OFFLINE, STATUS_ONLINE
from gpumon.queue_address import queue_address
from gpumon.settings import Settings
from gpumon.topics import Topics
from master.accounts import AccountError, Accounts
from master.alerts.desk import AlertDesk
from master.alerts.shared_desk import SharedAlertDesk
from master.audit import BY_ITSELF, Actor, AuditTrail
from master.audit_reader import AuditReader
from master.bus import EventBus
from master.command_intake import CommandIntake
from master.commands import CommandDesk
from master.counters import IngestCounters
from master.events import BrokerLinkChanged
from master.fleet import Fleet
from master.foreign_access import foreign_access
from master.foreign_sync import ForeignSync
from master.history.history import History
from master.ingest import Ingest
from master.join_desk import JoinDesk
from master.join_keys import JoinKeys
from master.keeping import Keeps, keeps_all
from master.last_uses import LastUses
from master.ledger import Ledger
from master.peers.leader import Presence
from master.peers.others import Others
from master.peers.peers import Parts, Peers
from master.prepare import instance_of, prepare
from master.removals import Removals
from master.shared_ledger import SharedLedger
from master.store.command_store import CommandStore
from master.store.engine import Store, StoreError
from master.store.fleet_store import FleetStore
from master.store.installation import installation_id
from master.store.writer import Writer
from master.telling.telling import Telling
from master.ticker import Ticker
from master.usage.store import UsageStore
from master.usage.usage import Usage

__all__ = ["Master", "prepare"]

logger = logging.getLogger(__name__)

PRUNE_EACH_S = 3600.0
HOLD_EACH_S = 10.0
_DAY_S = 86_400.0


class Master:
    """The fleet, the command desk and the accounts over one store and one link to the broker.

    Constructing it does nothing. `instance` is known from the start on.
    """

    def __init__(
        self,
        settings: Settings,
        data: DataFolder,
        address: BrokerAddress,
        credentials: Credentials | None,
        cafile: Path | None = None,
    ) -> None:
        self.bus = EventBus()
        self.instance = ""
        self._settings = settings
        self._data = data
        queue = queue_address(settings)
        self._way_in = (address, credentials, cafile)
        self._topics = Topics(settings.mqtt.base, settings.home_assistant.prefix)
        self._lock = FolderLock(data.master_lock)
        self._store = Store(data)
        self._writer = Writer(self._store)
        self.peers = None if queue is None else Peers(queue, self._store, self._writer, self.bus, self._topics)
        self._presence = Presence(self._store, shares=False)
        keeps = keeps_all if self.peers is None else self.peers.keeps
        others = None if self.peers is None else Others(self.peers)
        self._fleet_store = FleetStore(self._store, self._writer)
        self._command_store = CommandStore(self._store, self._writer)
        self.audit = AuditTrail(self._store, self._writer)
        ledger = Ledger if self.peers is None else SharedLedger
        self._ledger = ledger(self._command_store, self.bus, time.time, self.audit)
        self.fleet = Fleet(self._fleet_store, self.bus, keeps=keeps)
        self.commands = CommandDesk(self._ledger, self.fleet, self.bus, self._topics, self.audit)
        foreign = foreign_access(settings, address, credentials, cafile)
        self._foreign = None if foreign is None else ForeignSync(foreign, self._store, self.fleet, self._leads)
        self.accounts = Accounts(self._store, foreign)
        self.last_uses = LastUses(self._writer)
        self.audit_reader = AuditReader(self._store)
        self.history = History(
            self._store, self._writer, self.bus, settings.history, elsewhere=None if others is None else others.history
        )
        self.usage = Usage(
            UsageStore(self._store, self._writer),
            self.bus,
            self.fleet.labels,
            settings.usage,
            is_shared=self.peers is not None,
        )
        self.alerts = self._alert_desk(keeps, others)
        self.telling = Telling(
            self._store,
            self._writer,
            self.bus,
            self.alerts,
            audit=self.audit,
            settings=settings.alerts,
            page=page_address(settings) if settings.host is not None or settings.page.origins else None,
            elsewhere=others,
        )
        if others is not None:
            others.answer_for(self.history, self.alerts, self.telling)
        embedded = settings.broker.url is None
        intake = CommandIntake(self._ledger, self.fleet, self.bus, self.audit, trusts_senders=embedded)
        self._removals = Removals(self._store, self.fleet, self._topics)
        feed = None if self.peers is None else self.peers.feed
        self._ingest = Ingest(self.fleet, intake, self._topics, passes_over=self._removals.covers, feed=feed)
        self.join_keys = JoinKeys(self._store, foreign)
        self.joining = JoinDesk(self.join_keys, self.audit, self._topics, is_shared=self.peers is not None)
        self._ticker = Ticker()
        self._set_ticks()
        self._link: MqttLink | None = None
        self._told_link = (False, "")

    def _set_ticks(self) -> None:
        self._ticker.every(1.0, lambda: self.fleet.tick(time.time()))
        self._ticker.every(1.0, lambda: self._ledger.tick(time.time()))
        self._ticker.every(1.0, lambda: self.history.tick(time.time()))
        self._ticker.every(1.0, lambda: self.usage.tick(time.time()))
        self._ticker.every(1.0, self.alerts.tick)
        self._ticker.every(1.0, self._watch_link)
        self._ticker.every(1.0, self._removals.look)
        self._ticker.every(self._settings.master.save_interval_s, self.fleet.save)
        self._ticker.every(PRUNE_EACH_S, self._prune)

    def _alert_desk(self, keeps: Keeps, others: Others | None) -> AlertDesk:
        parts = self._store, self._writer, self.bus, self.fleet, self._topics
        settings = self._settings.alerts
        if others is None:
            return AlertDesk(*parts, settings=settings, is_listening=lambda: self.is_listening)
        return SharedAlertDesk(
            *parts, settings=settings, is_listening=lambda: self.is_listening, keeps=keeps, elsewhere=others
        )

    @property
    def counters(self) -> IngestCounters:
        """What came in over MQTT since this master was made."""
        return self._ingest.counters

    @property
    def link_problem(self) -> str | None:
        """Why the broker is not connected, None while it is."""
        if self._link is None:
            return "the master is not running"
        return None if self._link.is_connected else self._link.problem or "not connected yet"

    @property
    def is_listening(self) -> bool:
        """Whether the broker has confirmed every subscription, so that nothing published from now on is missed."""
        return self._link is not None and self._link.is_listening

    @property
    def store_problem(self) -> str | None:
        """Why the database cannot be written, None while it can."""
        return self._writer.problem

    @property
    def rows_waiting(self) -> int:
        """How many rows wait to be written to the database."""
        return self._writer.waiting_rows

    @property
    def rows_dropped(self) -> int:
        """How many rows could not be kept since the master started."""
        return self._writer.dropped_rows

    @property
    def history_problem(self) -> str | None:
        """Why history is not being kept, None while it is."""
        return self.history.problem

    @property
    def peers_problem(self) -> str | None:
        """Why the masters that share the fleet cannot work together, None while they can, or this one is alone."""
        return None if self.peers is None else self.peers.problem

    def start(self) -> None:
        """Prepare the folder, load the last known fleet and begin to connect; the broker may come later.

        Raises StartError: when the folder or its database cannot be used, or another master uses them. SettingError:
        when the CA file cannot be used.
        """
        prepare(self._data)
        if not self._lock.take(wait=False):
            raise StartError(f"another master runs on {self._data.root}: end it, or give another folder with --data")
        try:
            self._start()
        except GpumonError as error:
            self.stop()
            if isinstance(error, StoreError):
                raise StartError(str(error)) from error
            raise

    def stop(self) -> None:
        """Say goodbye to the broker, write what is pending, close the store; safe to call twice."""
        self._ticker.stop()
        if self._foreign is not None:
            self._foreign.stop()
        self.joining.stop()
        self.commands.attach(None)
        if self.peers is not None:
            self.peers.stop()
        link, self._link = self._link, None  # without it, the `offline` below is not contradicted
        if link is not None:
            link.publish(self._status_topic, STATUS_OFFLINE.encode(), qos=1, retain=True)
            link.stop()
        self._ledger.stop()
        self.telling.stop()
        self.alerts.stop()
        self.fleet.save()
        self.history.stop()
        self.usage.stop()
        self._writer.stop()
        self.accounts.close()
        self._presence.close()
        self._store.stop()
        self._lock.free()

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Write everything now and wait for it; False where it was not written within `timeout_s`."""
        self.fleet.save()
        self._ledger.announce()
        return self._writer.flush(timeout_s)

    def remove_worker(self, worker_id: str, by: Actor = BY_ITSELF) -> None:
        """Remove a worker for good: its account, what is kept of it, and its retained messages at the broker.

        Raises AccountError: when neither an account nor the fleet knows it.
        """
        try:
            self.accounts.remove_worker(worker_id, by)
        except AccountError:
            if self.fleet.worker(worker_id) is None:
                raise
            self._removals.add(worker_id, by)
        self._removals.look()

    def _start(self) -> None:
        self._store.start()
        if self.peers is None and self._data.server is not None:
            self._presence.check()
            self._ticker.every(HOLD_EACH_S, self._presence.hold_or_tell)
        self.instance = instance_of(self._data)
        self.fleet.load()
        self._writer.start()
        self.history.start()
        self.alerts.start()
        self.usage.start()
        self._ledger.start()
        self._start_what_is_done_once()
        self._link = self._new_link()
        self._removals.attach(self._link)
        self._removals.look()
        self._ingest.attach(self._link)
        self.joining.attach(self._link)
        self.joining.start()
        self.commands.attach(self._link)
        self.alerts.attach(self._link)
        if self.peers is not None:
            self.peers.attach(self._link)
        self._link.start()
        if self._foreign is not None:
            self._foreign.start()
        self._ticker.start()

    def _start_what_is_done_once(self) -> None:
        """Begin to tell people and to prune, or leave it to whichever master leads."""
        if self.peers is None or not isinstance(self.alerts, SharedAlertDesk):
            self.telling.start()
            self._prune()
            return
        self.telling.check()
        parts = Parts(
            keeping=(self.fleet, self.history, self.usage, self.alerts),
            alerts=self.alerts,
            leads=self._begin_to_lead,
            follows=self.telling.stop,
        )
        self.peers.start(self.instance, installation_id(self._store), parts)

    def _leads(self) -> bool:
        return self.peers is None or self.peers.leads

    def _begin_to_lead(self) -> None:
        self.telling.start()
        self._prune_all()
        if self._foreign is not None:
            self._foreign.compare()

    def _new_link(self) -> MqttLink:
        address, credentials, cafile = self._way_in
        # Stable, so that a master that starts again replaces its dead connection; not to be guessed, so that nobody
        # else can.
        secret = read_secret(self._data.master_secret)
        digest = hmac.new(secret.encode(), f"client id {self.instance}".encode(), hashlib.sha256).hexdigest()
        will = Will(self._status_topic, STATUS_OFFLINE.encode())
        link = MqttLink(address, f"gpumon-master-{digest[:16]}", credentials, cafile, will)
        link.subscribe(self._status_topic, 1, self._own_status_arrived)
        link.on_connected(self._say_online)
        link.on_connected(self._watch_link)
        if self._foreign is not None:
            link.on_connected(self._foreign.compare)
        return link

    @property
    def _status_topic(self) -> str:
        return self._topics.master_status(self.instance)

    def _say_online(self) -> None:
        if self._link is not None:
            self._link.publish(self._status_topic, STATUS_ONLINE.encode(), qos=1, retain=True)

    def _own_status_arrived(self, message: InboundMessage) -> None:
        # The will of an earlier, dead connection may arrive after this one's `online`.
        if message.payload == STATUS_OFFLINE.encode() and not message.retained:
            self._say_online()

    def _watch_link(self) -> None:
        problem = self.link_problem
        told = (problem is None, problem or "")
        if told != self._told_link:
            self._told_link = told
            self.bus.publish(BrokerLinkChanged(problem is None, problem))

    def _prune(self) -> None:
        if self._leads():
            self._prune_all()

    def _prune_all(self) -> None:
        self._command_store.prune(time.time() - self._settings.master.command_days * _DAY_S)
        self._fleet_store.prune_events()
        self.history.prune(time.time())
        self.alerts.prune()
        self.telling.prune()
        self.usage.prune(time.time())
