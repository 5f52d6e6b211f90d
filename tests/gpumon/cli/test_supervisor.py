"""The supervisor: children that die come back, those that cannot start end everything, none outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gpumon.cli.supervisor import Child, Supervisor
from tests.support import eventually


def child(folder: Path, name: str, script: str) -> Child:
    """Return a child that writes its process id to a file and goes on with `script`."""
    path = folder / f"{name}.py"
    note = f"open({str(folder / name)!r} + '.pids', 'a').write(f'{{os.getpid()}}\\n')"
    path.write_text(f"import os, signal, sys, time\n{script.replace('NOTE', note)}\n")
    return Child(name, [sys.executable, str(path)], os.environ)


def pids(folder: Path, name: str) -> list[int]:
    """Return the process ids that the child has had so far."""
    path = folder / f"{name}.pids"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def is_alive(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def supervised(*children: Child) -> Iterator[threading.Thread]:
    """Run a supervisor in a thread until the block ends."""
    stop = threading.Event()
    with Supervisor(stop) as supervisor:
        for each in children:
            supervisor.add(each)
        thread = threading.Thread(target=supervisor.run)
        thread.start()
        try:
            yield thread
        finally:
            stop.set()
            thread.join(20)


def test_a_child_that_is_killed_is_started_again(tmp_path: Path) -> None:
    with supervised(child(tmp_path, "one", "NOTE\ntime.sleep(60)")):
        first = eventually(lambda: pids(tmp_path, "one"))[0]
        os.kill(first, signal.SIGKILL)
        second = eventually(lambda: pids(tmp_path, "one")[1:])[0]
        assert second != first
    assert not is_alive(second)


def test_a_child_that_cannot_start_ends_the_others_and_gives_its_exit_code(tmp_path: Path) -> None:
    patient = child(tmp_path, "patient", "NOTE\ntime.sleep(60)")
    once_patient_runs = f"while not os.path.exists({str(tmp_path / 'patient.pids')!r}):\n    time.sleep(0.01)"
    hopeless = child(tmp_path, "hopeless", f"{once_patient_runs}\nsys.exit(3)")
    with Supervisor(threading.Event()) as supervisor:
        supervisor.add(patient)
        supervisor.add(hopeless)
        assert supervisor.run() == 3
    assert not is_alive(pids(tmp_path, "patient")[0])


def test_a_child_that_has_run_before_is_started_again_whatever_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpumon.cli.supervisor.SETTLED_AFTER_S", 0.1)
    with supervised(child(tmp_path, "busy", "NOTE\ntime.sleep(1)\nsys.exit(3)")):
        eventually(lambda: len(pids(tmp_path, "busy")) >= 2)


def test_a_child_that_ignores_the_request_to_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpumon.cli.supervisor.STOP_TIMEOUT_S", 0.5)
    stubborn = child(tmp_path, "stubborn", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nNOTE\ntime.sleep(60)")
    with supervised(stubborn):
        pid = eventually(lambda: pids(tmp_path, "stubborn"))[0]
    assert not is_alive(pid)


def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    orphan = child(tmp_path, "orphan", "NOTE\ntime.sleep(60)")
    program = (
        "import threading, os; from gpumon.cli.supervisor import Child, Supervisor\n"
        "supervisor = Supervisor(threading.Event())\n"
        f"supervisor.add(Child('orphan', {orphan.command!r}, os.environ))\n"
        "supervisor.run()"
    )
    parent = subprocess.Popen([sys.executable, "-c", program])
    pid = eventually(lambda: pids(tmp_path, "orphan"))[0]
    parent.kill()
    parent.wait(10)
    eventually(lambda: not is_alive(pid))
