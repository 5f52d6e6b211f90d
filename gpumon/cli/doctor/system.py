"""The machine that doctor looks at: its files, and whether it is a container."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class System:
    """The machine that is looked at; tests give a folder in place of `/`."""

    root: Path = Path("/")

    def path(self, text: str) -> Path:
        """Return where a file of the machine is."""
        return self.root / text.lstrip("/")

    def read(self, text: str) -> str:
        """Return what a file of the machine holds, nothing where it cannot be read."""
        try:
            return self.path(text).read_text(errors="replace").strip()
        except OSError:
            return ""

    @property
    def is_container(self) -> bool:
        """Whether this runs in a container, as Docker, Podman, Kubernetes and systemd mark theirs."""
        marks = ("/.dockerenv", "/run/.containerenv", "/var/run/secrets/kubernetes.io", "/run/systemd/container")
        return any(self.path(mark).exists() for mark in marks)
