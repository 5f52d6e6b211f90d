"""What shells complete, asked of real ones."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gpumon.cli.supervisor import gpumon_command
from tests.support import program_or_skip


def script(shell: str) -> str:
    return subprocess.run(
        gpumon_command("completion", shell), capture_output=True, text=True, check=True, timeout=60
    ).stdout


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script for bash."""
    path = tmp_path_factory.mktemp("completion") / "gpumon"
    path.write_text(script("bash"))
    return path


def completed(bash_script: Path, *words: str) -> list[str]:
    """Return what bash offers for the last of these words."""
    bash = program_or_skip("bash", "bash")
    asked = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; '
        'set -- $(complete -p gpumon | sed "s/.*-F \\([^ ]*\\).*/\\1/"); "$1"; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    told = subprocess.run(
        [bash, "-c", asked, "bash", str(bash_script), *words], capture_output=True, text=True, check=True, timeout=30
    )
    return told.stdout.split()


def test_bash_completes_subcommands_flags_and_choices(bash_script: Path) -> None:
    assert completed(bash_script, "gpumon", "do") == ["doctor"]
    assert completed(bash_script, "gpumon", "run", "--ti") == ["--timeout"]
    assert completed(bash_script, "gpumon", "user", "pas") == ["passwd"]
    assert completed(bash_script, "gpumon", "user", "add", "--role", "op") == ["operator"]
    assert "demo-workers" not in completed(bash_script, "gpumon", "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_take_their_scripts(shell: str, tmp_path: Path) -> None:
    path = tmp_path / "script"
    path.write_text(script(shell))
    assert "doctor" in path.read_text()
    program = program_or_skip(shell, shell)
    subprocess.run([program, "-n", str(path)], check=True, timeout=30)
