"""What runs by itself: the same wherever it runs, and nothing that was not chosen."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from tests.packaging.conftest import ROOT

WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
STEPS = WORKFLOW["jobs"]["check-and-test"]["steps"]


def commands_of(script: Path) -> list[str]:
    """What a script of continuous integration runs, but for how it begins."""
    lines = [line.strip() for line in script.read_text().splitlines()]
    return [line for line in lines if line and not line.startswith(("#", "set ", "cd "))]


def recipe_of(target: str) -> list[str]:
    found = re.search(rf"(?m)^{target}:[^\n]*\n((?:\t[^\n]*\n)+)", (ROOT / "Makefile").read_text())
    assert found is not None
    return [line.strip() for line in found[1].splitlines()]


def test_the_hosted_workflow_runs_what_the_script_runs() -> None:
    assert [step["run"] for step in STEPS if "run" in step] == commands_of(ROOT / ".ci" / "run")


def test_the_workflow_uses_actions_at_one_commit_and_may_only_read() -> None:
    for step in STEPS:
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"])
    assert WORKFLOW["permissions"] == {"contents": "read"}


def test_what_runs_before_a_commit_is_what_the_checks_run() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"]
    entries = {re.sub(r" --force-exclude$", "", hook["entry"]) for hook in hooks[0]["hooks"]}
    checks = {line.removesuffix(" .").replace(" --check", "") for line in recipe_of("check")}
    assert entries == checks


def test_the_floor_of_the_coverage_has_not_fallen_since_the_last_release() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "coverage-floor")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("version", "said"),
    [("next", "is no version"), ("9.9.9", r"'## 9\.9\.9 \(unreleased\)': write it first|not committed")],
)
def test_nothing_is_released_that_is_not_ready(version: str, said: str) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "release"), version]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert re.search(said, ended.stderr)
