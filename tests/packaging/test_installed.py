"""The wheel, installed where there is no checkout: everything in one environment, the agent alone in another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import flask
import pytest
from packaging.markers import Marker

from tests.packaging.conftest import Distributions
from tests.packaging.smoke import clean_environment, try_everything

WEB = ("alembic", "amqtt", "argon2", "cryptography", "flask", "gunicorn", "sqlalchemy", "textual")


def needed_for(extra: str) -> set[str]:
    """The distributions that `gpumon[EXTRA]` brings, with all that those need here."""
    found: set[str] = set()
    waiting = [("gpumon", extra)]
    while waiting:
        name, asked = waiting.pop()
        for line in metadata.requires(name) or []:
            requirement, _, condition = line.partition(";")
            needed = re.match(r"[A-Za-z0-9._-]+", requirement)
            assert needed is not None
            if needed[0] not in found and holds(condition, asked):
                found.add(needed[0])
                waiting.append((needed[0], ""))
    return found


def holds(condition: str, extra: str) -> bool:
    """Tell whether a requirement's condition holds here."""
    return not condition.strip() or Marker(condition).evaluate({"extra": extra})


def installed(folder: Path, wheel: Path, distributions: set[str] | None) -> Path:
    """Install the wheel into a new environment, with the packages that are here (None: all), and return its program."""
    venv.create(folder, with_pip=False)
    (packages,) = folder.glob("lib/python3*/site-packages")
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
    how = ["--no-deps", "--no-index", "--disable-pip-version-check", "--no-compile"]
    subprocess.run([*pip, *how, str(wheel)], check=True, env={**os.environ, "PIP_CONSTRAINT": ""})
    if distributions is None:
        # Their folder is searched, but what makes the checkout importable from there is not taken over.
        (packages / "borrowed.pth").write_text(f"{Path(flask.__file__).parents[1]}\n")
        return folder / "bin" / "gpumon"
    for name in distributions:
        files = metadata.files(name) or []
        for top in {file.parts[0] for file in files if not file.parts[0].startswith((".", "__pycache__"))}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(str(metadata.distribution(name).locate_file(top))))
    return folder / "bin" / "gpumon"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, distributions: Distributions) -> Path:
    return installed(tmp_path_factory.mktemp("whole"), distributions.wheel, None)


@pytest.fixture(scope="module")
def agent_alone(tmp_path_factory: pytest.TempPathFactory, distributions: Distributions) -> Path:
    return installed(tmp_path_factory.mktemp("agent"), distributions.wheel, needed_for("agent"))


def said_by(program: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *words], capture_output=True, text=True, check=False, cwd="/", env=clean_environment(), timeout=60
    )


def test_the_installed_package_and_not_the_checkout_runs(whole: Path) -> None:
    where = said_by(whole.with_name("python"), "-c", "import gpumon, webui; print(gpumon.__file__, webui.__file__)")
    assert where.stdout.count(str(whole.parents[1])) == 2, where.stdout + where.stderr


def test_fleet_page_agent_and_doctor_work_from_the_wheel(whole: Path, agent_alone: Path) -> None:
    try_everything(str(whole), str(agent_alone))


def test_the_agents_extra_brings_nothing_of_the_master(agent_alone: Path) -> None:
    finds = f"import importlib.util as u; print([name for name in {WEB!r} if u.find_spec(name)])"
    assert said_by(agent_alone.with_name("python"), "-c", finds).stdout == "[]\n"
    refused = said_by(agent_alone, "up", "--demo")
    assert refused.returncode == 2
    assert "pip install 'gpumon[master]'" in refused.stderr
    assert refused.stderr.count("\n") == 2


@pytest.mark.parametrize("name", ["up", "restore", "install-service"])
def test_every_subcommand_says_what_it_takes(whole: Path, name: str) -> None:
    assert said_by(whole, name, "--help").stdout.startswith(f"usage: gpumon {name}")
