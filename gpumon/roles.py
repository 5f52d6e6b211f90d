"""Roles: one set of names for people and workers, for the page and MQTT alike."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Role(str, Enum):
    """What an account is for; what each may publish and read is decided by the broker and the page."""

    WORKER = "worker"
    VIEWER = "viewer"
    OPERATOR = "operator"
    INTEGRATION = "integration"
    ADMIN = "admin"
    MASTER = "master"


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who has logged in: a person's name, or a worker's id, and the role."""

    name: str
    role: Role
