"""What is said of the disk and the clock."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from gpumon.cli.doctor.finding import Finding, Verdict
from gpumon.cli.doctor.machine import look_at_machine


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def found(data: Path, what: str) -> Finding:
    return next(finding for finding in look_at_machine(data) if finding.what == what)


@pytest.mark.parametrize(
    ("free", "verdict"), [(500 * 2**30, Verdict.GOOD), (2**29, Verdict.WARNING), (2**20, Verdict.BAD)]
)
def test_a_disk_is_judged_by_its_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, verdict: Verdict
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: Usage(1000 * 2**30, 1000 * 2**30 - free, free))
    assert found(tmp_path / "not" / "yet", "disk").verdict is verdict


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [("echo yes", Verdict.GOOD), ("echo no", Verdict.WARNING), ("exit 1", Verdict.UNKNOWN)],
)
def test_a_clock_is_judged_by_what_sets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, verdict: Verdict
) -> None:
    program = tmp_path / "timedatectl"
    program.write_text(f"#!/bin/sh\n{answer}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert found(tmp_path, "clock").verdict is verdict


def test_a_machine_without_timedatectl_is_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert found(tmp_path, "clock").verdict is Verdict.UNKNOWN
