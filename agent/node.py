"""One worker: it samples, publishes, and runs commands, over one connection to the broker."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from agent.command_conditions import CommandConditions
from agent.command_rules import CommandRules
from agent.identity import Identity
from agent.journal import Journal
from agent.machine import Machine
from agent.publisher import Publisher, shortened
from agent.runner import CommandRunner
from agent.samplers.base import Inventory, Sampler
from agent.sampling import CardMemory, Sample, Sampling
from gpumon.address import BrokerAddress
from gpumon.link import Credentials, InboundMessage, MqttLink, Will
from gpumon.log import OncePer
from gpumon.messages import STATUS_OFFLINE, STATUS_ONLINE, Event, HostReading, Info, Metrics
from gpumon.settings import AgentSettings
from gpumon.topics import Channel, Topics
from gpumon.version import __version__

logger = logging.getLogger(__name__)

STOP_COMMANDS_S = 2.5
STOP_LINK_S = 1.0
REMIND_OF_TWIN_S = 600.0
# As long as the master waits before it calls a worker stale.
SILENT_INTERVALS = 3
SILENT_AT_LEAST_S = 10.0


class Extension(Protocol):
    """Something more that a worker does for others, such as announcing itself to a home automation system."""

    def start(self, link: MqttLink) -> None:
        """Take the worker's connection, which is about to begin."""

    def stop(self) -> None:
        """End before the connection does."""

    def announced(self, info: Info) -> None:
        """Hear that the worker has published its inventory: after every connect, and when it has changed."""


class WorkerNode:
    """A worker from start to stop; it keeps to the topics and payloads of the protocol.

    The sampler is read in a thread of its own, commands are run in others: neither waits for the driver, nor for each
    other, nor for the broker.
    """

    def __init__(
        self,
        identity: Identity,
        address: BrokerAddress,
        topics: Topics,
        settings: AgentSettings,
        *,
        sampler: Sampler,
        cards: CardMemory,
        host: Callable[[], HostReading | None],
        machine: Machine,
        conditions: CommandConditions,
        extensions: Sequence[Extension] = (),
        hang_after_s: float | None = None,
    ) -> None:
        self.worker_id = identity.worker_id
        self._link = link = MqttLink(
            address,
            identity.client_id,
            identity.credentials,
            Path(settings.cafile) if settings.cafile else None,
            Will(topics.worker(identity.worker_id, Channel.STATUS), STATUS_OFFLINE.encode()),
        )
        self._topics = topics
        self._settings = settings
        self._sampler = sampler
        self._machine = machine
        self._extensions = extensions
        self._publisher = Publisher(link, topics, identity.worker_id)
        self._sampling = Sampling(
            sampler=sampler,
            cards=cards,
            host=host,
            listener=self,
            interval_s=settings.interval_s,
            hang_after_s=hang_after_s,
        )
        self._runner = CommandRunner(
            self._publisher,
            Journal(identity.folder / "commands.jsonl"),
            CommandRules(settings.commands, settings.allow_commands),
            conditions,
        )
        self._lock = threading.Lock()
        self._info: Info | None = None
        self._seq = 0
        self._problem: str | None = None
        self._unsent: Metrics | None = None
        self._published = 0.0
        self._unheard = -1
        self._twin_due = OncePer(REMIND_OF_TWIN_S)
        self._is_stopping = False

    def start(self) -> None:
        """Begin to sample, to take commands, and to connect; returns without waiting for the broker.

        Raises SamplerError: when there is nothing to read here. Raises StartError: when the command journal cannot be
        used. Raises SettingError: when the CA file cannot be used.
        """
        self._published = time.monotonic()
        self._runner.start()
        self._sampling.start()
        self._link.subscribe(self._topics.worker(self.worker_id, Channel.COMMAND), 1, self._runner.receive)
        self._link.subscribe(self._topics.command_to_all, 1, self._runner.receive)
        self._link.subscribe(self._topics.worker(self.worker_id, Channel.STATUS), 1, self._status_heard)
        self._link.on_connected(self._announce)
        for extension in self._extensions:
            extension.start(self._link)
        self._link.start()

    def stop(self) -> None:
        """End commands, say `offline` and leave: at once where nothing runs, in 3 seconds where a command resists."""
        self._is_stopping = True
        self._sampling.stop()
        for extension in self._extensions:
            extension.stop()
        self._runner.end_all(STOP_COMMANDS_S)
        if self._link.is_connected:
            self._publisher.status(STATUS_OFFLINE)
            self._link.flush(STOP_LINK_S)
        self._runner.close()
        self._link.stop(STOP_LINK_S)

    @property
    def trouble(self) -> str | None:
        """What keeps the master from hearing of this machine; None while samples go out, whatever they tell."""
        if not self._link.is_connected:
            return self._link.problem or "not connected"
        silent_s = time.monotonic() - self._published
        if silent_s > max(SILENT_INTERVALS * self._settings.interval_s, SILENT_AT_LEAST_S):
            return f"no sample has gone out for {silent_s:.0f} s: see the agent's log"
        return None

    @property
    def is_login_refused(self) -> bool:
        """Whether the broker knows neither this worker nor its token (any more)."""
        return self._link.is_login_refused

    def log_in_with(self, credentials: Credentials) -> None:
        """Show another token from the next connect on; what is queued and running goes on."""
        self._link.log_in_with(credentials)

    def sampled(self, sample: Sample) -> None:
        """Publish a sample; see SampleListener."""
        with self._lock:
            self._tell_health(sample.problem)
            metrics = Metrics(
                time=time.time(),
                seq=self._seq,
                interval_s=self._settings.interval_s,
                source=self._sampler.source,
                gpus=sample.gpus,
                health="ok" if sample.problem is None else "degraded",
                problem=sample.problem and shortened(sample.problem),
                host=sample.host,
            )
            self._seq += 1
            self._publish(metrics)

    def found(self, inventory: Inventory) -> None:
        """Publish the inventory; see SampleListener."""
        info = self._described(inventory)
        with self._lock:
            self._info = info
        self._publish_info()

    def happened(self, event: Event) -> None:
        """Publish an event; see SampleListener."""
        self._publisher.event(event)

    def _announce(self) -> None:
        """Say on a new connection who this is, and what the last look found if nobody has heard it."""
        # One that the connection before has left unacknowledged may go out once more; the first connection has none.
        self._unheard += 1
        self._say_online()
        self._publish_info()
        with self._lock:
            if self._unsent is not None:
                self._publish(self._unsent)

    def _publish(self, metrics: Metrics) -> None:
        is_out = self._publisher.metrics(metrics)
        self._unsent = None if is_out else metrics
        if is_out:
            self._published = time.monotonic()

    def _publish_info(self) -> None:
        with self._lock:
            info = self._info
        if info is None or not self._link.is_connected:
            return
        self._publisher.info(info)
        for extension in self._extensions:
            extension.announced(info)

    def _status_heard(self, message: InboundMessage) -> None:
        """Answer an `offline` that is not true: an old connection's will that arrived late, or somebody's mistake.

        An `online` that this agent has not said itself is another's, with the same worker id.
        """
        if message.payload != STATUS_ONLINE.encode():
            if not self._is_stopping:
                self._say_online()
        elif not message.retained:
            self._unheard -= 1
            if self._unheard < 0:
                self._unheard = 0
                self._tell_of_twin()

    def _say_online(self) -> None:
        self._unheard += 1
        self._publisher.status(STATUS_ONLINE)

    def _tell_of_twin(self) -> None:
        if self._twin_due(self.worker_id):
            text = f"another agent reports as {self.worker_id} too: give one of the two another --worker-id"
            logger.warning(text)
            self._publisher.happened("health", text)

    def _tell_health(self, problem: str | None) -> None:
        if problem is not None and self._problem is None:
            logger.warning("readings are not whole: %s", problem)
            self._publisher.happened("health", f"degraded: {problem}")
        elif problem is None and self._problem is not None:
            logger.info("readings are whole again")
            self._publisher.happened("health", "ok again")
        self._problem = problem

    def _described(self, inventory: Inventory) -> Info:
        return Info(
            hostname=self._machine.hostname,
            os=self._machine.os,
            kernel=self._machine.kernel,
            cpu=self._machine.cpu,
            cpu_count=self._machine.cpu_count,
            memory_total_bytes=self._machine.memory_total_bytes,
            agent_version=__version__,
            source=self._sampler.source,
            driver_version=inventory.driver_version,
            cuda_version=inventory.cuda_version,
            interval_s=self._settings.interval_s,
            labels=self._settings.labels,
            commands=self._settings.commands,
            gpus=list(inventory.gpus),
        )
