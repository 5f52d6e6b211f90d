"""What a master costs that is alone, and what each costs of several that share the same fleet."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path

from bench.children import Children, Helper
from bench.errors import BenchmarkError
from bench.processes import cpu_s, memory_bytes
from bench.report import Figure, Result
from gpumon.datafolder import DataFolder
from gpumon.roles import Role
from master.accounts import open_accounts
from master.prepare import prepare
from tests.peers.support import ADMIN, PASSWORD, MasterProcess, a_master, redis_server
from tests.postgres_server import postgres_server
from tests.support import eventually, mosquitto

WORKERS = 1_000
GPUS = 8
INTERVAL_S = 1.0
SECONDS = 20.0
SETTLE_S = 5.0
MASTERS = (1, 2, 3)


def masters() -> Result:
    """Have one master and then several take in the same samples."""
    figures = []
    for count in MASTERS:
        with tempfile.TemporaryDirectory(prefix="gpumon-masters-") as folder:
            figures += _measured(Path(folder), count)
    return Result(
        name="masters",
        title=f"several masters, {WORKERS:,} workers x {GPUS} GPUs at {1 / INTERVAL_S:g} Hz",
        about=(
            "Masters with mosquitto, PostgreSQL and Redis of this machine; nobody looks at their pages but at the end, "
            "when each has to show every worker with a sample of the last seconds. A sample of the fleet is one that "
            "every master shows and one of them accounts for."
        ),
        command=f"{Path(sys.executable).name} -m bench masters",
        figures=figures,
    )


def _measured(folder: Path, count: int) -> list[Figure]:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(postgres_server())
        name = server.new_database()
        data = DataFolder(folder / "accounts", server.address(name))
        prepare(data)
        with open_accounts(data) as accounts:
            accounts.first_login()
            accounts.add_user(ADMIN, Role.ADMIN, PASSWORD)
        port = stack.enter_context(mosquitto(folder))
        redis = stack.enter_context(redis_server(folder))
        shared = {"GPUMON_BROKER_URL": f"mqtt://127.0.0.1:{port}", "GPUMON_DATABASE_URL": server.url(name)}
        if count > 1:
            shared["GPUMON_SOCKETIO_QUEUE"] = redis.url
        running = [stack.enter_context(a_master(folder, f"m{number}", shared)) for number in range(count)]
        eventually(lambda: all(_is_ready(master, count) for master in running), 60)
        load = _load(folder, stack.enter_context(Children(folder)), port)
        load.tell("publish")
        load.hear("publishing", 10)
        time.sleep(SETTLE_S)
        pids = [master.process.pid for master in running if master.process is not None]
        before = [cpu_s(pid) for pid in (*pids, redis.pid)]
        began = time.monotonic()
        time.sleep(SECONDS)
        took_s = time.monotonic() - began
        used = [cpu_s(pid) - at for pid, at in zip((*pids, redis.pid), before, strict=True)]
        _check_current(running)
        memory = max(memory_bytes(pid)[0] for pid in pids)
        load.tell("stop")
        load.hear("stopped", 10)
    samples = took_s * WORKERS / INTERVAL_S
    who = "one master alone" if count == 1 else f"each of {count} masters"
    figures = [
        Figure(f"{who}: CPU", round(max(used[:-1]) / took_s * 100, 1), "% of a core"),
        Figure(f"{who}: CPU a sample of the fleet", round(max(used[:-1]) / samples * 1e6), "µs"),
        Figure(f"{who}: memory", round(memory / 2**20), "MiB"),
    ]
    if count > 1:
        figures.append(Figure(f"Redis, for {count} masters: CPU", round(used[-1] / took_s * 100, 1), "% of a core"))
    return figures


def _load(folder: Path, children: Children, port: int) -> Helper:
    accounts = folder / "accounts.json"
    accounts.write_text(json.dumps({f"w{number:04d}": "any" for number in range(WORKERS)}))
    flags = ["--port", str(port), "--accounts", str(accounts), "--gpus", str(GPUS), "--interval", str(INTERVAL_S)]
    load = Helper(children, "load", [sys.executable, "-m", "bench.load", *flags])
    load.hear("connected", 60)
    return load


def _is_ready(master: MasterProcess, count: int) -> bool:
    return master.shares_with(count - 1) if count > 1 else master.health().get("broker") == "connected"


def _check_current(running: list[MasterProcess]) -> None:
    """See that every page shows every worker. Raises BenchmarkError: where one is behind."""
    for master in running:
        rows, now = master.client().workers(), time.time()
        late = [row["id"] for row in rows if now - (row["last_seen"] or 0) > INTERVAL_S + 2]
        if len(rows) != WORKERS or late:
            raise BenchmarkError(f"{master.name} shows {len(rows)} workers, {len(late)} of them late")
