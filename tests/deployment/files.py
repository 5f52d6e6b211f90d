"""The files that containers are made and started from, read as their programs read them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from gpumon.settings_sources import declarations

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
VARIABLES = {name for declaration in declarations().values() for name in declaration.variables}
_PART = re.compile(r"\$\{(?P<name>\w+)(?P<how>:[-+])?(?P<word>[^${}]*)\}")


def interpolated(text: str, given: Mapping[str, str]) -> str:
    """Put variables in as Compose does: `${A}`, `${A:-where it is empty}`, `${A:+where it is not}`, one in another."""

    def value(part: re.Match[str]) -> str:
        has = given.get(part["name"], "")
        return (part["word"] if has else "") if part["how"] == ":+" else has or part["word"]

    while _PART.search(text):
        text = _PART.sub(value, text)
    return text


def environment_of(service: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that a service gets where `given` stands in .env."""
    return {name: interpolated(str(value), given) for name, value in SERVICES[service].get("environment", {}).items()}


def mounts_of(service: str) -> dict[str, str]:
    """Return what is mounted by where it is, volumes by name and files by path."""
    return {mount.split(":")[1]: mount.split(":")[0] for mount in SERVICES[service].get("volumes", [])}


def instructions(word: str, text: str = DOCKERFILE) -> list[str]:
    """Return what follows a Dockerfile's instruction, each time that it stands there."""
    return [line.partition(" ")[2].strip() for line in text.splitlines() if line.startswith(f"{word} ")]
