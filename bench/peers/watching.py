"""A real Chromium that looks at a fleet's page: gpumon's and gpu-hot's, by the same measure."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psutil
from playwright.sync_api import Browser, BrowserContext, Error, Page

from bench.errors import BenchmarkError
from bench.peers.places import program
from bench.processes import Cost, Meter, memory_bytes

OPENED = 4
SETTLED_AFTER_S = 8.0
LONGEST_OPENING_S = 90.0
TAB = "the page's process in Chromium"


@dataclass(frozen=True, slots=True)
class Look:
    """How a page is opened, and by what it is known that its first useful picture is there."""

    address: str
    prepare: Callable[[BrowserContext], None]
    is_there: str
    port: int


@dataclass(frozen=True, slots=True)
class Watched:
    """What one page gave."""

    first_opened_s: float
    opened_s: list[float]
    bytes_per_s: float
    new_connections: int
    costs: list[Cost]
    others_cpu_percent: float

    def cost(self, *names: str) -> tuple[float, float]:
        """Return the CPU in percent of a core and the PSS in MB of these processes together."""
        costs = [cost for cost in self.costs if cost.name in names]
        return sum(cost.cpu_percent for cost in costs), sum(cost.pss_bytes for cost in costs) / 1e6


def watched(browser: Browser, look: Look, pids: Mapping[str, int], seconds: float) -> Watched:
    """Open a page several times, with nothing cached, leave the last one open and measure for a while."""
    times_s = []
    kept: list[BrowserContext] = []
    for _ in range(OPENED):
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        look.prepare(context)
        times_s.append(_open(context.new_page(), look))
        kept.append(context)
        while len(kept) > 1:  # there is always one who looks: gpu-hot's hub stops where there is none
            kept.pop(0).close()
    time.sleep(SETTLED_AFTER_S)
    meter = Meter({**pids, TAB: _renderer()})
    sent = Sent(look.port)
    began = time.monotonic()
    meter.start()
    while time.monotonic() < began + seconds:
        kept[0].pages[0].wait_for_timeout(1000)  # and lets Playwright go on with its own work
        sent.read()
    costs = meter.stop()
    wall_s = time.monotonic() - began
    kept[0].close()
    return Watched(times_s[0], times_s[1:], sent.bytes / wall_s, sent.new_connections, costs, meter.others_cpu_percent)


class Sent:
    """Adds up what a port of 127.0.0.1 sends from now on, over whatever connections there are when it is read."""

    def __init__(self, port: int) -> None:
        self.bytes = 0
        self.new_connections = 0
        self._port = port
        self._last = sent_bytes(port)

    def read(self) -> None:
        """Take another reading; what a connection sent that has ended since the last one is lost."""
        now = sent_bytes(self._port)
        self.bytes += sum(count - self._last.get(peer, 0) for peer, count in now.items())
        self.new_connections += len(now.keys() - self._last.keys())
        self._last = now


def sent_bytes(port: int) -> dict[str, int]:
    """Return how much this port of 127.0.0.1 has sent so far over each open connection, by its other end."""
    command = [program("ss", "iproute2"), "-tinHO", "state", "established", f"sport = :{port}"]
    return parse_sent(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def parse_sent(text: str) -> dict[str, int]:
    """Return what `ss -tinHO` says of sent bytes, by the address of the other end."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        counts = [word.partition(":")[2] for word in words if word.startswith("bytes_sent:")]
        if counts:
            found[words[3]] = int(counts[0])
    return found


def _open(tab: Page, look: Look) -> float:
    """Return the seconds from asking for the page to its first useful picture."""
    began = time.monotonic()
    tab.set_default_timeout(1000 * LONGEST_OPENING_S)
    try:
        tab.goto(look.address, wait_until="commit")
        tab.wait_for_function(look.is_there)
    except Error as error:
        raise BenchmarkError(f"its page shows nothing useful in {LONGEST_OPENING_S:.0f} s: {error.message}") from None
    return time.monotonic() - began


def _renderer() -> int:
    """Return the largest renderer below this process, which is the tab's."""
    found = [each for each in psutil.Process().children(recursive=True) if "--type=renderer" in each.cmdline()]
    sizes = [(memory_bytes(each.pid)[0], each.pid) for each in found]
    return max(sizes)[1]
