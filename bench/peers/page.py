"""The page and what serves it, beside gpu-hot's hub: many nodes with a plain viewer, a few with a real Chromium."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import BrowserContext, Route

from bench.children import Children, Helper, wait_until
from bench.delivery import HEAR_TIMEOUT_S, Run, deliver, quantile, unwatched
from bench.deployment import USER
from bench.errors import BenchmarkError
from bench.peers import places
from bench.peers.beside import Beside
from bench.peers.gpu_hot import GpuHot
from bench.peers.watching import TAB, Look, Watched, watched
from bench.processes import Cost, Meter
from bench.report import Figure, Result
from bench.viewer import browser_cookies
from tests.browser import chromium

NODES = 100
SHOWN_NODES = 10
GPUS = 8
INTERVAL_S = 1.0
SECONDS = 40.0
HUB = "gpu-hot's hub"
SERVERS = ("broker", "master and page")
CHART_JS = "https://cdn.jsdelivr.net/**"
FONTS = "https://fonts.googleapis.com/**"
# The map of all cards and a row with a temperature.
GPUMON_IS_THERE = r"""() => document.querySelector("canvas.heat")?.height > 10
    && /\d+\s*°C/.test(document.querySelector(".table-body .cell-temperature")?.textContent)"""
# All cards, one of them with a temperature.
GPU_HOT_IS_THERE = rf"""() => document.querySelectorAll(".overview-gpu-card").length >= {SHOWN_NODES * GPUS}
    && /\d+°/.test(document.querySelector("[id^=overview-temp-]")?.textContent)"""


@dataclass(frozen=True, slots=True)
class HubRun:
    """What the hub gave with a plain viewer."""

    latencies_s: list[float]
    costs: list[Cost]
    text_bytes_per_s: float
    others_cpu_percent: float


@dataclass(frozen=True, slots=True)
class GpuHotRun:
    """What gpu-hot gave in all."""

    hub: HubRun
    page: Watched
    message_bytes: int


def page() -> Result:
    """Measure gpumon, and gpu-hot where it can be run."""
    ours, our_page = deliver(NODES, INTERVAL_S, SECONDS), _gpumon_page()
    try:
        theirs = GpuHotRun(_hub(), *_gpu_hot_page())
    except (places.NotHereError, BenchmarkError) as error:
        return _result(ours, our_page, None, [f"Not measured: gpu-hot, since {error}."])
    return _result(ours, our_page, theirs, [])


def _hub() -> HubRun:
    """Let one plain viewer look at the hub over many nodes."""
    with tempfile.TemporaryDirectory(prefix="gpumon-bench-") as name, Children(Path(name)) as children:
        gpu_hot = GpuHot(Path(name), children)
        pids = gpu_hot.start(NODES, INTERVAL_S)
        url = f"ws://127.0.0.1:{gpu_hot.port}/socket.io/"
        viewer = Helper(children, "viewer", [sys.executable, "-m", "bench.peers.hub_viewer", url])
        viewer.hear("watching", HEAR_TIMEOUT_S)
        wait_until(lambda: _told(viewer)[0] == NODES, "the hub has all nodes", HEAR_TIMEOUT_S)
        time.sleep(5)
        meter = Meter({**pids, "viewer": viewer.process.pid})
        _, text_before = _told(viewer)
        meter.start()
        begin = time.time()
        time.sleep(SECONDS)
        end = time.time()
        costs = meter.stop()
        text_bytes = _told(viewer)[1] - text_before
        time.sleep(2)
        viewer.tell("stop")
        seen = viewer.hear("stopped", HEAR_TIMEOUT_S)
    latencies_s = sorted(age for sent, age in seen["samples"] if begin <= sent < end) or [float("inf")]
    return HubRun(latencies_s, costs, text_bytes / (end - begin), meter.others_cpu_percent)


def _told(viewer: Helper) -> tuple[int, int]:
    """Return how many nodes the viewer is shown, and how many bytes of text it has had so far."""
    viewer.tell("nodes")
    told = viewer.hear("nodes", HEAR_TIMEOUT_S)
    return told["nodes"], told["text_bytes"]


def _gpumon_page() -> Watched:
    with unwatched(SHOWN_NODES, INTERVAL_S) as (_children, deployment, _load):
        time.sleep(2 * INTERVAL_S)
        cookies = browser_cookies(deployment.page, USER, deployment.password)
        look = Look(
            deployment.page, lambda context: context.add_cookies(cookies), GPUMON_IS_THERE, deployment.page_port
        )
        with chromium() as browser:
            return watched(browser, look, deployment.pids(), SECONDS)


def _gpu_hot_page() -> tuple[Watched, int]:
    with tempfile.TemporaryDirectory(prefix="gpumon-bench-") as name, Children(Path(name)) as children:
        library = places.chart_js()
        gpu_hot = GpuHot(Path(name), children)
        pids = gpu_hot.start(SHOWN_NODES, INTERVAL_S)

        def prepare(context: BrowserContext) -> None:
            """Give the page at once what it loads from elsewhere."""
            context.route(CHART_JS, lambda route: route.fulfill(path=library, content_type="text/javascript"))
            context.route(FONTS, _without)

        with chromium() as browser:
            look = Look(gpu_hot.page, prepare, GPU_HOT_IS_THERE, gpu_hot.port)
            return watched(browser, look, pids, SECONDS), gpu_hot.message_bytes


def _without(route: Route) -> None:
    route.fulfill(body="", content_type="text/css")


def _result(ours: Run, our_page: Watched, theirs: GpuHotRun | None, remarks: list[str]) -> Result:
    pairs = _pairs(ours, our_page, theirs)
    figures = [figure for pair in pairs for figure in pair.figures("gpumon", "gpu-hot")]
    if theirs is not None:
        text = theirs.hub.text_bytes_per_s / 1e6
        figures.append(Figure(f"{NODES} nodes: text that gpu-hot makes for each who looks", text, "MB/s"))
        again = theirs.page.new_connections
        figures.append(Figure(f"{SHOWN_NODES} nodes: connections that gpu-hot's page opened anew meanwhile", again, ""))
        again = our_page.new_connections
        figures.append(Figure(f"{SHOWN_NODES} nodes: connections that gpumon's page opened anew meanwhile", again, ""))
        first = theirs.page.first_opened_s
        figures.append(Figure(f"{SHOWN_NODES} nodes: gpu-hot's first opening after its start", first, "s"))
    return Result(
        name="peers-page",
        title="the page beside gpu-hot's hub",
        about=ABOUT.format(message_bytes=theirs.message_bytes if theirs else 0, payload_bytes=ours.payload_bytes),
        command=".venv/bin/python -m bench peers",
        figures=figures,
        processes=[*ours.costs, *(theirs.hub.costs if theirs else [])],
        remarks=[remark for pair in pairs for remark in pair.remarks("gpu-hot")] + remarks,
        others_cpu_percent=max(ours.others_cpu_percent, theirs.hub.others_cpu_percent if theirs else 0.0),
    )


def _pairs(ours: Run, our_page: Watched, theirs: GpuHotRun | None) -> list[Beside]:
    """Return each measure of gpumon with that of gpu-hot."""
    servers = [cost for cost in ours.costs if cost.name in SERVERS]
    cpu, memory = sum(cost.cpu_percent for cost in servers), sum(cost.pss_bytes for cost in servers) / 1e6
    p50, p99 = (1000 * quantile(ours.latencies_s, share) for share in (0.5, 0.99))
    tab_cpu, tab_mb = our_page.cost(TAB)
    peer = _compared(theirs) if theirs else [None] * 8
    many, few = f"{NODES} nodes", f"{SHOWN_NODES} nodes"
    return [
        Beside(f"{many}: CPU of the servers", "% of a core", cpu, peer[0], WHY_CPU),
        Beside(f"{many}: memory (PSS) of the servers", "MB", memory, peer[1], WHY_MEMORY),
        Beside(f"{many}: from a node's word to who looks, p50", "ms", p50, peer[2], WHY_LATENCY),
        Beside(f"{many}: from a node's word to who looks, p99", "ms", p99, peer[3], WHY_LATENCY),
        Beside(f"{few}: first useful picture, slowest", "s", max(our_page.opened_s), peer[4]),
        Beside(f"{few}: sent to one who looks", "KB/s", our_page.bytes_per_s / 1e3, peer[5], WHY_BYTES),
        Beside(f"{few}: CPU of the page's process", "% of a core", tab_cpu, peer[6]),
        Beside(f"{few}: memory (PSS) of the page's process", "MB", tab_mb, peer[7]),
    ]


def _compared(run: GpuHotRun) -> list[float | None]:
    hub = next(cost for cost in run.hub.costs if cost.name == HUB)
    latencies = [1000 * quantile(run.hub.latencies_s, share) for share in (0.5, 0.99)]
    shown = [max(run.page.opened_s), run.page.bytes_per_s / 1e3, *run.page.cost(TAB)]
    return [hub.cpu_percent, hub.pss_bytes / 1e6, *latencies, *shown]


ABOUT = (
    f"gpu-hot at the commit {places.GPU_HOT_COMMIT[:10]}, with the requirements that it names, as a hub over pretended "
    "nodes in one process; each says once a second what a real node of gpu-hot said over the stand-in for NVML "
    f"({GPUS} GPUs, 2 processes each, {{message_bytes:,}} bytes), with moving readings, compressed. gpumon with its "
    "embedded broker, the same number of workers x 8 GPUs at 1 Hz with 3 processes each ({payload_bytes:,} bytes a "
    f"sample). With {NODES} nodes a plain client looks, over the WebSocket that the page uses; the servers of gpumon "
    f"are its broker and its master. With {SHOWN_NODES} nodes a headless Chromium looks, drawing without a graphics "
    "card on the same cores: more would take gigabytes of memory for gpu-hot's page. The first useful picture is all "
    "cards and a temperature, slowest of 3 openings without a cache, while the servers are warm; Chart.js, which "
    "gpu-hot's page loads from a CDN, is given to it at once. Bytes are those on the wire to that Chromium. A target "
    "is gpu-hot's figure. What they do is not the same: gpu-hot's hub holds the newest message of each node and sends "
    "all of them to each viewer twice a second, without log-in, history, alerts or commands, and asks nothing of nodes "
    "while nobody looks; gpumon keeps history, usage and alerts, checks who may see what, and sends what changed of "
    "what is on the screen. Its page has a row a machine and a map of all cards; gpu-hot's draws a card with a chart "
    "for each GPU, and a hidden tab with more charts."
)
WHY_CPU = "gpumon keeps history, usage and alerts of each sample; the hub keeps the newest message alone."
WHY_MEMORY = (
    "gpumon is two processes with a broker, a database, a window of raw samples, accounts and the page's server; the "
    "hub holds the newest message of each node and no more."
)
WHY_LATENCY = "gpumon gathers changes for up to half a second where there are many; the hub sends each half second."
WHY_BYTES = "gpu-hot's messages are compressed, and pretended nodes that say much the same compress well."
