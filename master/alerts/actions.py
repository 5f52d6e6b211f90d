"""What can be done about an alert: its rule's commands, filled in for the processes that are there at present."""

from __future__ import annotations

from collections.abc import Sequence

from gpumon.messages import GpuReading, Process
from master.alerts.placeholders import fill, used_in
from master.alerts.records import Action, Alert, Kind
from master.alerts.rules import Rule
from master.worker import Worker, WorkerState


def actions_for(alert: Alert, rule: Rule, worker: Worker | None, now: float) -> list[Action]:
    """Return the rule's commands; one that cannot be run now says why."""
    return [_action(name, command, alert, rule, worker, now) for name, command in rule.commands.items()]


def _action(name: str, command: str, alert: Alert, rule: Rule, worker: Worker | None, now: float) -> Action:  # noqa: PLR0917
    problem = _unreachable(worker, now)
    if problem is not None or worker is None:
        return Action(name, alert.worker_id, None, problem)
    cards = _cards(alert, worker)
    if not cards and alert.gpu is not None:
        return Action(name, alert.worker_id, None, f"{alert.gpu} is not there any more")
    processes = [process for card in cards for process in _processes(card, rule)]
    values: dict[str, Sequence[str]] = {
        "worker": [alert.worker_id],
        "gpu": [alert.gpu] if alert.gpu is not None else [],
        "index": [str(card.index) for card in cards if alert.gpu is not None and card.index is not None],
        "users": sorted({process.user for process in processes if process.user}),
        # `kill 0` would end the command's own group, and 1 the machine or container.
        "pids": [str(pid) for pid in sorted({process.pid for process in processes if process.pid > 1})],
    }
    missing = next((key for key in used_in(command) if not values[key]), None)
    if missing is not None:
        return Action(name, alert.worker_id, None, _why_missing(missing, rule, has_processes=bool(processes)))
    return Action(name, alert.worker_id, fill(command, values))


def _unreachable(worker: Worker | None, now: float) -> str | None:
    if worker is None:
        return "the worker is not known any more"
    if worker.state(now) is WorkerState.OFFLINE:
        return "the worker is offline"
    if worker.info is not None and worker.info.commands == "none":
        return "the worker runs no commands (agent.commands)"
    return None


def _cards(alert: Alert, worker: Worker) -> list[GpuReading]:
    gpus = worker.metrics.gpus if worker.metrics is not None else []
    return [gpu for gpu in gpus if alert.gpu in (None, gpu.uuid)]


def _processes(card: GpuReading, rule: Rule) -> list[Process]:
    """Return the processes that a command is about; where a rule is about what is idle, those that are idle now."""
    processes = [process for process in card.processes if process.type == "compute"]
    if rule.kind is not Kind.IDLE_HELD:
        return processes
    most = rule.threshold or 0.0
    if card.utilization_percent is None or card.utilization_percent >= most:
        return []
    return [process for process in processes if (process.sm_percent or 0) < most]


def _why_missing(placeholder: str, rule: Rule, *, has_processes: bool) -> str:
    if placeholder in ("pids", "users") and not has_processes:
        return "no idle process is left on it" if rule.kind is Kind.IDLE_HELD else "no process is on it"
    if placeholder == "users":
        return "whose processes they are is not known"
    if placeholder == "index":
        return "the card has no index at present"
    return "no card is known"
