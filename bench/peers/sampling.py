"""What a sample costs a GPU machine: gpumon's agent, gpustat, nvitop's exporter and plain NVML calls, side by side."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.children import Children, Helper, wait_until
from bench.deployment import GPUMON, Deployment, answers, free_port
from bench.errors import BenchmarkError
from bench.gpus import GPUS, PROCESSES_PER_GPU, standin_environment
from bench.listener import Listener
from bench.peers import places
from bench.peers.beside import Beside
from bench.processes import Cost, Meter, children
from bench.report import Figure, Result
from gpumon.files import read_secret, write_secret

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
INTERVAL_S = 1.0
WARM_UP_S = 10.0
SECONDS = 60.0
COUNTED_S = 6.0
AGENT = "gpumon's agent"
JSON_EACH = "gpustat --json, a process a sample"
WATCHED = "gpustat -i 1, on a terminal"
LIBRARY = "gpustat's new_query() in a loop"
EXPORTER = "nvitop-exporter, scraped"
BARE = "plain NVML calls, nine a card"
SAME = "plain NVML calls, all that gpumon makes"


@dataclass(slots=True)
class Peers:
    """Those that run: for each its pid, and how many samples it has taken until now."""

    environment: Mapping[str, str]
    children: Children
    pids: dict[str, int] = field(default_factory=dict)
    samples: dict[str, Callable[[], int]] = field(default_factory=dict)
    calls: dict[str, Callable[[], int]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def add(self, name: str, start: Callable[[Peers, str], None]) -> None:
        """Start one, or note why it is not there."""
        try:
            start(self, name)
        except places.NotHereError as error:
            self.missing.append(f"Not measured: {name}, since {error}.")


class Scraper:
    """Asks an exporter once an interval, as Prometheus does."""

    def __init__(self, url: str, interval_s: float) -> None:
        self.scrapes = 0
        self.text_bytes = 0
        self._url = url
        self._interval_s = interval_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            with urllib.request.urlopen(self._url, timeout=10) as answer:
                self.text_bytes = len(answer.read())
            self.scrapes += 1
            due += self._interval_s


def sampling() -> Result:
    """Run all of them at 1 Hz over the same stand-in in the same minute."""
    with tempfile.TemporaryDirectory(prefix="gpumon-bench-") as temporary, Children(Path(temporary)) as started:
        folder = Path(temporary)
        subprocess.run([sys.executable, "-m", "compileall", "-q", "agent", "gpumon"], cwd=ROOT, check=True)
        environment = standin_environment(folder, started)
        peers = Peers({**environment, "TERM": "xterm-256color"}, started)
        nvitop_calls = _nvitop_calls(peers)
        deployment, token_file, worker_id = _broker(folder, started)
        agent = [*GPUMON, "agent", "--master", f"mqtt://127.0.0.1:{deployment.mqtt_port}", "--worker-id", worker_id]
        agent += ["--token-file", str(token_file), "--interval", str(INTERVAL_S), "--source", "nvml"]
        peers.pids[AGENT] = started.start("agent", [*agent, "--data", str(folder / "agent")], environment).pid
        peers.add(BARE, _plain)
        peers.add(LIBRARY, _gpustat_library)
        peers.add(WATCHED, _gpustat_watched)
        peers.add(JSON_EACH, _gpustat_json)
        scrapers: list[Scraper] = []
        peers.add(EXPORTER, lambda peers, name: scrapers.append(_exporter(peers, name)))
        with Listener(deployment.mqtt_port, read_secret(deployment.data.master_secret)) as listener:
            peers.samples[AGENT] = lambda: len(listener.samples)
            for scraper in scrapers:
                scraper.start()
            time.sleep(WARM_UP_S)
            started.check()
            measured = _measure(peers, environment)
            for scraper in scrapers:
                scraper.stop()
        started.check()
        measured.calls[EXPORTER] = nvitop_calls
        text_bytes = scrapers[0].text_bytes if scrapers else 0
    return _result(measured, peers.missing, text_bytes)


@dataclass(slots=True)
class Measured:
    """What the minute gave, by name."""

    costs: list[Cost]
    samples: dict[str, int]
    calls: dict[str, float | None]
    same_ms: float
    same_calls: int
    others_cpu_percent: float

    def ms(self, name: str) -> float:
        """Return the milliseconds of CPU that a sample takes."""
        return 1000 * next(cost.cpu_s for cost in self.costs if cost.name == name) / max(1, self.samples[name])

    def memory_mb(self, name: str) -> float:
        """Return the PSS in MB."""
        return next(cost.pss_bytes for cost in self.costs if cost.name == name) / 1e6


def _measure(peers: Peers, environment: Mapping[str, str]) -> Measured:
    meter = Meter(peers.pids)
    before = {name: count() for name, count in peers.samples.items()}
    calls_before = {name: count() for name, count in peers.calls.items()}
    meter.start()
    # at the same time: what the machine does besides makes all of them dearer
    command = [sys.executable, "-m", "bench.nvml_loop", "--interval", str(INTERVAL_S), "--seconds", str(SECONDS - 5)]
    loop = Helper(peers.children, "nvml", command, environment)
    begin = time.monotonic()
    same = loop.hear("done", SECONDS + 60)
    loop.end()
    time.sleep(max(0.0, begin + SECONDS - time.monotonic()))
    costs = meter.stop()
    samples = {name: count() - before[name] for name, count in peers.samples.items()}
    calls = {name: (count() - calls_before[name]) / max(1, samples[name]) for name, count in peers.calls.items()}
    if not samples[AGENT]:
        raise BenchmarkError(f"the agent published no sample in {SECONDS} s: {peers.children.last_lines('agent')}")
    same_ms = 1000 * same["cpu_s"] / same["rounds"]
    return Measured(costs, samples, {**calls}, same_ms, same["calls"], meter.others_cpu_percent)


def _result(measured: Measured, missing: list[str], text_bytes: int) -> Result:
    names = [cost.name for cost in measured.costs]
    theirs = [name for name in (LIBRARY, WATCHED, JSON_EACH, EXPORTER) if name in names]
    cheapest = min(map(measured.ms, theirs), default=None)
    figures = [Figure(f"CPU of a sample: {AGENT}", measured.ms(AGENT), "ms", target=cheapest)]
    figures += [Figure(f"CPU of a sample: {name}", measured.ms(name), "ms") for name in theirs]
    figures += [Figure(f"CPU of a sample: {name}", measured.ms(name), "ms") for name in (BARE,) if name in names]
    figures.append(Figure(f"CPU of a sample: {SAME}", measured.same_ms, "ms"))
    resident = [name for name in (LIBRARY, WATCHED, EXPORTER) if name in names]
    least = min(map(measured.memory_mb, resident), default=None)
    figures.append(Figure(f"memory (PSS): {AGENT}", measured.memory_mb(AGENT), "MB", target=least))
    figures += [
        Figure(f"memory (PSS): {name}", measured.memory_mb(name), "MB") for name in (*resident, BARE) if name in names
    ]
    figures.append(Figure(f"NVML calls of a sample: {AGENT}", measured.same_calls, ""))
    figures += [Figure(f"NVML calls of a sample: {name}", calls, "") for name, calls in measured.calls.items() if calls]
    figures += [Figure(f"samples: {name}", count, "") for name, count in measured.samples.items()]
    pairs = [
        (name, Beside("CPU of a sample", "ms", measured.ms(AGENT), measured.ms(name), WHY_CPU[name])) for name in theirs
    ]
    pairs += [
        (name, Beside("memory", "MB", measured.memory_mb(AGENT), measured.memory_mb(name), WHY_MEMORY))
        for name in resident
    ]
    remarks = [remark for name, pair in pairs for remark in pair.remarks(name)]
    return Result(
        name="peers-agent",
        title="an agent's sample beside gpustat, nvitop's exporter and plain NVML",
        about=ABOUT.format(text_bytes=text_bytes),
        command=".venv/bin/python -m bench peers",
        figures=figures,
        # gpustat --json is only there for a part of the time, so its memory would be that of a moment by chance
        processes=[cost for cost in measured.costs if cost.name != JSON_EACH],
        remarks=[*remarks, *missing],
        others_cpu_percent=measured.others_cpu_percent,
    )


ABOUT = (
    f"All over the same stand-in for NVML, {GPUS} GPUs, {PROCESSES_PER_GPU} processes each, at 1 Hz, in the same "
    f"{SECONDS:.0f} s after {WARM_UP_S:.0f} s, each peer in a virtual environment of its own with the same Python and "
    "nvidia-ml-py, byte code compiled. CPU is user and system time of the process and its children, divided by the "
    "samples that it took; the kernel counts it in steps of 10 ms. A target is the figure of the cheapest of gpustat "
    "and nvitop's exporter. What each does is not the same: gpumon's agent reads 29 values a card and each process "
    "with its user and command line, encodes the sample and publishes it to a broker over MQTT. gpustat reads nine "
    "values a card and the same of processes with their CPU and memory, and prints them; `new_query()` alone does not "
    "even do that. nvitop's exporter reads 22 values a card and 10 a process, and the machine's own CPU, memory, disks "
    "and network, collects once a second by itself, and answers a scrape a second ({text_bytes:,} bytes). Plain calls "
    "are made by a process that does nothing with the answers: nine a card, as a short script would, and all those "
    "that gpumon's agent makes, recorded from it. The calls of nvitop's exporter were counted in a run of their own."
)
_DOES_LESS = "It asks the driver for less, and neither encodes nor sends what it reads"
WHY_CPU = {
    LIBRARY: f"{_DOES_LESS}: the calls a sample stand above.",
    WATCHED: f"{_DOES_LESS}: the calls a sample stand above.",
    JSON_EACH: "Both make the same of a sample.",
    EXPORTER: "Its sample has fewer values a card and more of the machine.",
}
WHY_MEMORY = (
    "The agent holds an MQTT client, a queue for when the broker is away and the runner of commands besides its "
    "sampler."
)


def _broker(folder: Path, started: Children) -> tuple[Deployment, Path, str]:
    deployment = Deployment(folder, started)
    deployment.add_accounts(1)
    deployment.start_broker()
    ((worker_id, token),) = json.loads(deployment.accounts_file.read_text()).items()
    write_secret(folder / "token.txt", token)
    return deployment, folder / "token.txt", worker_id


def _plain(peers: Peers, name: str) -> None:
    python = places.environment_of("plain", places.PLAIN) / "python"
    _counted(peers, name, [str(python), str(HERE / "plain_loop.py"), str(INTERVAL_S)], "plain")


def _gpustat_library(peers: Peers, name: str) -> None:
    python = places.environment_of("gpustat", places.GPUSTAT) / "python"
    _counted(peers, name, [str(python), str(HERE / "gpustat_loop.py"), str(INTERVAL_S)], "gpustat-library")


def _counted(peers: Peers, name: str, command: list[str], log: str) -> None:
    """Start one that prints a line a sample, with NVML's calls so far."""
    peers.pids[name] = peers.children.start(log, command, peers.environment).pid
    peers.samples[name] = lambda: len(_lines(peers.children.log(log)))
    peers.calls[name] = lambda: int((_lines(peers.children.log(log)) or [b"0"])[-1])


def _gpustat_watched(peers: Peers, name: str) -> None:
    """Start `gpustat -i 1` on a terminal of its own; what counts is the process on it, not the terminal."""
    program = str(places.environment_of("gpustat", places.GPUSTAT) / "gpustat")
    command = [sys.executable, "-m", "bench.peers.terminal", program, "-i", str(INTERVAL_S)]
    terminal = peers.children.start("gpustat-watched", command, peers.environment)
    (pid,) = wait_until(lambda: children(terminal.pid), "gpustat runs", 10)
    peers.pids[name] = pid
    driver = b"580.159.03"  # in the head of what it draws
    peers.samples[name] = lambda: peers.children.log("gpustat-watched").read_bytes().count(driver)


def _gpustat_json(peers: Peers, name: str) -> None:
    program = str(places.environment_of("gpustat", places.GPUSTAT) / "gpustat")
    loop = f"while :; do {shlex.quote(program)} --json; sleep {INTERVAL_S}; done"
    peers.pids[name] = peers.children.start("gpustat-json", ["sh", "-c", loop], peers.environment).pid
    peers.samples[name] = lambda: peers.children.log("gpustat-json").read_bytes().count(b'"query_time"')


def _exporter(peers: Peers, name: str) -> Scraper:
    port = free_port()
    program = str(places.environment_of("nvitop-exporter", places.NVITOP_EXPORTER) / "nvitop-exporter")
    peers.pids[name] = peers.children.start(
        "nvitop-exporter", [program, "--port", str(port), "--interval", str(INTERVAL_S)], peers.environment
    ).pid
    url = f"http://127.0.0.1:{port}/metrics"
    wait_until(lambda: answers(url), "nvitop-exporter answers", 30)
    scraper = Scraper(url, INTERVAL_S)
    peers.samples[name] = lambda: scraper.scrapes
    return scraper


def _nvitop_calls(peers: Peers) -> float | None:
    """Return how many NVML functions nvitop's exporter calls a second, None where it is not here."""
    try:
        python = places.environment_of("nvitop-exporter", places.NVITOP_EXPORTER) / "python"
    except places.NotHereError:
        return None
    port, log = free_port(), peers.children.log("nvitop-counted")
    command = [str(python), str(HERE / "nvitop_counted.py"), "--port", str(port), "--interval", str(INTERVAL_S)]
    process = peers.children.start("nvitop-counted", command, peers.environment)
    url = f"http://127.0.0.1:{port}/metrics"
    wait_until(lambda: answers(url), "nvitop-exporter answers", 30)
    time.sleep(COUNTED_S / 2)
    first, before = int(_numbers(log)[-1]), len(_numbers(log))
    time.sleep(COUNTED_S)
    last, after = int(_numbers(log)[-1]), len(_numbers(log))
    peers.children.end(process)
    return (last - first) / max(1, after - before)


def _lines(log: Path) -> list[bytes]:
    """Return the whole lines of a log."""
    return log.read_bytes().split(b"\n")[:-1]


def _numbers(log: Path) -> list[bytes]:
    return [line for line in _lines(log) if line.isdigit()]
