"""What an agent costs the machine that it watches."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.children import Children, Helper
from bench.deployment import GPUMON, Deployment, clean_environment
from bench.errors import BenchmarkError
from bench.gpus import GPUS, PROCESSES_PER_GPU, standin_environment
from bench.listener import Listener
from bench.processes import Meter
from bench.report import Figure, Result
from gpumon.files import read_secret, write_secret
from gpumon.messages import encode

INTERVAL_S = 1.0
WARM_UP_S = 10.0
SECONDS = 60.0
ROOT = Path(__file__).resolve().parent.parent


def agent() -> Result:
    """Measure an agent over the stand-in's eight GPUs."""
    return _measure("agent", real=False)


def real_agent() -> Result:
    """Measure an agent over this machine's own GPUs."""
    return _measure("agent-real", real=True)


def _measure(name: str, *, real: bool) -> Result:
    with tempfile.TemporaryDirectory(prefix="gpumon-bench-") as temporary, Children(Path(temporary)) as children:
        folder = Path(temporary)
        # as an installation does; where the agent has to compile itself, its memory is another
        subprocess.run([sys.executable, "-m", "compileall", "-q", "agent", "gpumon"], cwd=ROOT, check=True)
        environment = clean_environment() if real else standin_environment(folder, children)
        deployment = Deployment(folder, children)
        deployment.add_accounts(1)
        deployment.start_broker()
        ((worker_id, token),) = json.loads(deployment.accounts_file.read_text()).items()
        write_secret(folder / "token.txt", token)
        command = [*GPUMON, "agent", "--master", f"mqtt://127.0.0.1:{deployment.mqtt_port}", "--worker-id", worker_id]
        command += ["--token-file", str(folder / "token.txt"), "--interval", str(INTERVAL_S), "--source", "nvml"]
        process = children.start("agent", [*command, "--data", str(folder / "agent")], environment)
        time.sleep(WARM_UP_S)
        children.check()
        meter = Meter({"agent": process.pid})
        loop_command = [sys.executable, "-m", "bench.nvml_loop", "--interval", str(INTERVAL_S)]
        with Listener(deployment.mqtt_port, read_secret(deployment.data.master_secret)) as listener:
            meter.start()
            begin = time.time()
            # at the same time: what the machine does besides makes both dearer
            loop = Helper(children, "nvml", [*loop_command, "--seconds", str(SECONDS)], environment)
            bare = loop.hear("done", SECONDS + 30)
            loop.end()
            (cost,) = meter.stop()
        children.check()
        samples = [sample for sample in listener.samples if sample.time >= begin]
        if not samples:
            raise BenchmarkError(f"the agent published no sample in {SECONDS} s: {children.last_lines('agent')}")
        others = meter.others_cpu_percent
    bare_percent = 100.0 * bare["cpu_s"] / bare["wall_s"]
    cards = (
        "this machine's own GPUs" if real else f"the stand-in for NVML, {GPUS} GPUs, {PROCESSES_PER_GPU} processes each"
    )
    return Result(
        name=name,
        title="an agent at 1 Hz",
        about=(
            f"`gpumon agent`, its byte code compiled, over {cards}, publishing to the embedded broker for "
            f"{SECONDS:.0f} s after {WARM_UP_S:.0f} s. NVML's own share is what the same calls of a sample, recorded "
            f"from the agent's sampler, cost when made through nvidia-ml-py at the same pace and the same time by a "
            f"process that does nothing else "
            f"({bare['calls']} calls a sample)."
        ),
        command=".venv/bin/python -m bench agent" + (" --real" if real else ""),
        figures=[
            Figure("memory (PSS)", cost.pss_bytes / 1e6, "MB", target=30),
            Figure("CPU in all", cost.cpu_percent, "% of a core"),
            Figure("the same NVML calls alone", bare_percent, "% of a core"),
            Figure("CPU beyond NVML's calls", cost.cpu_percent - bare_percent, "% of a core", target=0.3),
            Figure("NVML calls a sample", bare["calls"], ""),
            Figure("samples published", len(samples), ""),
            Figure("size of a sample", len(encode(samples[-1])), "bytes"),
            Figure("GPUs in a sample", sum(gpu.state == "ok" for gpu in samples[-1].gpus), ""),
            Figure("GPU processes in a sample", sum(len(gpu.processes) for gpu in samples[-1].gpus), ""),
        ],
        processes=[cost],
        others_cpu_percent=others,
        remarks=[]
        if real
        else ["The stand-in answers at once: a real driver takes its own time on top, in NVML's share."],
    )
