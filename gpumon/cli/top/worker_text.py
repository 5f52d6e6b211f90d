"""One worker as text: its machine, its cards, and the processes on them."""

from __future__ import annotations

from gpumon.cli.top.words import STATES, celsius, gibibytes, line, of, percent, share, watts
from gpumon.messages import GpuReading, Metrics, Process
from master.worker import Worker
from webui.rows import shown_state

BAR = 16


def worker_text(worker: Worker, now: float, width: int = 120) -> str:
    """Return what is known of a worker at `now`, in lines of up to `width` characters."""
    parts = [*_machine(worker, now)]
    if worker.metrics is not None:
        parts += ["", *_cards(worker.metrics), "", *_processes(worker.metrics)]
    return "\n".join(text[:width] for text in parts)


def _machine(worker: Worker, now: float) -> list[str]:
    lines = [f"{worker.id}  {STATES[shown_state(worker, now)]}"]
    info = worker.info
    if info is not None:
        labels = "  ".join(f"{line(key)}={line(value)}" for key, value in sorted(info.labels.items()))
        driver = f"driver {line(info.driver_version)}  CUDA {line(info.cuda_version)}"
        lines.append(
            "  ".join(part for part in (line(info.hostname), line(info.os), driver, line(info.cpu), labels) if part)
        )
    host = worker.metrics.host if worker.metrics is not None else None
    if host is not None:
        load = "-" if host.load_1m is None else f"{host.load_1m:.1f}"
        memory = of(host.memory_used_bytes, host.memory_total_bytes)
        disk = of(host.disk_used_bytes, host.disk_total_bytes)
        lines.append(f"CPU {percent(host.cpu_percent)}  load {load}  memory {memory}  disk {disk}")
    return lines + [f"▲ {line(problem)}" for problem in worker.problems(now)]


def _cards(metrics: Metrics) -> list[str]:
    lines = [f"{'GPU':>3}  {'MODEL':<26}  {'UTILIZATION':<22}  {'MEMORY':<39}  {'TEMP':>6}  {'POWER':>13}"]
    for gpu in metrics.gpus:
        name = f"{'-' if gpu.index is None else gpu.index:>3}  {line(gpu.name)[:26]:<26}"
        if gpu.state != "ok":
            lines.append(f"{name}  {gpu.state}: {line(gpu.uuid)}")
            continue
        used, total = gpu.memory_used_bytes, gpu.memory_total_bytes
        utilization = f"{_bar(gpu.utilization_percent)} {percent(gpu.utilization_percent):>5}"
        memory = f"{_bar(share(used, total))} {of(used, total):<22}"
        lines.append(f"{name}  {utilization}  {memory}  {celsius(gpu.temperature_c):>6}  {_power(gpu):>13}")
    return lines


def _processes(metrics: Metrics) -> list[str]:
    found: list[tuple[GpuReading, Process]] = [(gpu, process) for gpu in metrics.gpus for process in gpu.processes]
    if not found:
        return ["no process is on its cards"]
    found.sort(key=lambda pair: -(pair[1].memory_bytes or 0))
    lines = [f"{'PID':>8}  {'USER':<16}  {'GPU':>3}  {'MEMORY':>9}  {'SM':>5}  COMMAND"]
    for gpu, process in found:
        index = "-" if gpu.index is None else str(gpu.index)
        container = f"  [{line(process.container)}]" if process.container else ""
        lines.append(
            f"{process.pid:>8}  {line(process.user)[:16]:<16}  {index:>3}  {gibibytes(process.memory_bytes):>9}"
            f"  {percent(process.sm_percent):>5}  {line(process.command or process.name)}{container}"
        )
    return lines


def _bar(value: float | None) -> str:
    full = 0 if value is None else round(min(max(value, 0), 100) / 100 * BAR)
    return "█" * full + "·" * (BAR - full)


def _power(gpu: GpuReading) -> str:
    return watts(gpu.power_w) if gpu.power_limit_w is None else f"{watts(gpu.power_w)} / {gpu.power_limit_w:.0f}"
