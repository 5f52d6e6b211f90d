"""What is served of the master itself: what came in, what waits, what is wrong, and what became of commands."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import get_args

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gpumon.messages import GpuState
from gpumon.topics import Channel
from gpumon.version import __version__
from master.alerts.records import Severity
from master.events import CommandChanged
from master.ingest import AUDIT
from master.master import Master
from master.peers.peers import Peers
from master.records import UNFINISHED, TargetState
from master.worker import WorkerState
from webui.metrics_workers import WorkerNow

KINDS = (*(channel.value for channel in Channel), AUDIT)
# A command of which nothing more was heard among so many others is not counted on.
MOST_REMEMBERED = 1_000


class CommandCounts:
    """Counts how commands end, each on each of its workers, since the master started."""

    def __init__(self) -> None:
        self._ended: Counter[str] = Counter()
        self._counted: OrderedDict[str, Counter[str]] = OrderedDict()
        self._lock = threading.Lock()

    def command_changed(self, event: CommandChanged) -> None:
        """Count what has ended since the command was heard of last; where a late result comes, that as well."""
        states: Counter[str] = Counter(target.state for target in event.command.targets)
        with self._lock:
            before = self._counted.pop(event.command.id, Counter())
            self._counted[event.command.id] = states
            self._ended.update({state: n for state, n in (states - before).items() if state not in UNFINISHED})
            while len(self._counted) > MOST_REMEMBERED:
                self._counted.popitem(last=False)

    def by_state(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return how many run now, and how many have ended, by state."""
        with self._lock:
            running = Counter[str]()
            for states in self._counted.values():
                running.update(states)
            ended = dict(self._ended)
        return (
            {state: running[state] for state in get_args(TargetState) if state in UNFINISHED},
            {state: ended.get(state, 0) for state in get_args(TargetState) if state not in UNFINISHED},
        )


class MasterCollector(Collector):
    """What prometheus-client asks for at a scrape, of the master and of the fleet as a whole."""

    def __init__(
        self, master: Master, workers: Sequence[WorkerNow], commands: CommandCounts, connections: Callable[[], int]
    ) -> None:
        self._master = master
        self._workers = workers
        self._commands = commands
        self._connections = connections

    def collect(self) -> Iterable[Metric]:
        """Return all families."""
        yield _gauge("gpumon_build_info", "1, with gpumon's version in a label.", {__version__: 1}, "version")
        yield from self._fleet()
        yield from self._ingest()
        yield from self._problems()
        yield from self._activity()
        if self._master.peers is not None:
            yield from self._masters(self._master.peers)

    def _fleet(self) -> Iterator[Metric]:
        states = Counter(now.state for now in self._workers)
        workers = {state.value: states[state] for state in WorkerState}
        yield _gauge("gpumon_workers", "Workers by state.", workers, "state")
        cards = Counter(
            gpu.state
            for now in self._workers
            if now.has_readings and now.worker.metrics is not None
            for gpu in now.worker.metrics.gpus
        )
        gpus = {state: cards[state] for state in get_args(GpuState)}
        yield _gauge("gpumon_gpus", "Cards of the workers whose samples come, by state.", gpus, "state")

    def _ingest(self) -> Iterator[Metric]:
        counters = self._master.counters
        received = {kind: counters.received[kind] for kind in KINDS}
        rejected = {kind: counters.rejected[kind] for kind in KINDS}
        yield _counter("gpumon_ingest_messages", "Messages received over MQTT, by kind.", received, "kind")
        yield _counter("gpumon_ingest_rejected", "Messages that were not valid and ignored.", rejected, "kind")
        yield CounterMetricFamily(
            "gpumon_ingest_late_samples", "Samples that were not newer than the one at hand.", counters.late
        )

    def _problems(self) -> Iterator[Metric]:
        master = self._master
        connected = int(master.link_problem is None)
        yield GaugeMetricFamily("gpumon_broker_connected", "1 while the master is connected to the broker.", connected)
        store = int(master.store_problem is not None)
        yield GaugeMetricFamily("gpumon_database_problem", "1 while the database cannot be written.", store)
        waiting = master.rows_waiting
        yield GaugeMetricFamily("gpumon_database_rows_waiting", "Rows that wait to be written.", waiting)
        dropped = master.rows_dropped
        yield CounterMetricFamily("gpumon_database_rows_dropped", "Rows that could not be kept.", dropped)
        history = int(master.history_problem is not None)
        yield GaugeMetricFamily("gpumon_history_problem", "1 while history is not being kept.", history)

    def _activity(self) -> Iterator[Metric]:
        running, ended = self._commands.by_state()
        yield _gauge("gpumon_commands_running", "Commands that run, counted on each worker.", running, "state")
        yield _counter("gpumon_commands_ended", "Commands that have ended, counted on each worker.", ended, "state")
        connections = self._connections()
        yield GaugeMetricFamily("gpumon_page_live_connections", "Pages that are open and updated live.", connections)
        firing = Counter(alert.severity for alert in self._master.alerts.active())
        alerts = {severity.value: firing[severity] for severity in Severity}
        yield _gauge("gpumon_alerts_firing", "Alerts that fire, by severity.", alerts, "severity")

    def _masters(self, peers: Peers) -> Iterator[Metric]:
        online = len(peers.members)
        yield GaugeMetricFamily("gpumon_masters_online", "Masters that share the fleet, this one too.", online)
        problem = int(peers.problem is not None)
        yield GaugeMetricFamily("gpumon_masters_problem", "1 while the masters cannot work together.", problem)
        yield GaugeMetricFamily("gpumon_masters_leading", "1 while this master leads.", int(peers.leads))
        samples = {
            "handed on": peers.channel.sent_samples,
            "taken": peers.feed.taken_samples,
            "dropped": peers.channel.dropped_samples,
        }
        yield _counter("gpumon_masters_samples", "Samples that masters hand on to each other.", samples, "what")
        missed = peers.channel.missed_batches
        yield CounterMetricFamily(
            "gpumon_masters_missed_messages", "Messages of other masters that did not come.", missed
        )


def master_text(collector: MasterCollector) -> str:
    """Return the families of the master and of its process (`process_...`, as every exporter names them)."""
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    return generate_latest(registry).decode()


def _gauge(name: str, text: str, values: dict[str, int], label: str) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


def _counter(name: str, text: str, values: dict[str, int], label: str) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family
