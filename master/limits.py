"""The limit of an account to workers with certain labels: `all`, `none`, or `rack=3,site=a` (all of them)."""

from __future__ import annotations

from gpumon.errors import GpumonError
from gpumon.roles import Labels, Principal, Role

MOST_LABELS = 16
LONGEST_LABEL = 256


class LimitError(GpumonError):
    """A limit that cannot be used; the message says why."""

    see = "troubleshooting.md#an-account-cannot-be-changed"


def limit_for(role: Role, text: str | None) -> Labels | None:
    """Return the limit as the account keeps it (see `Principal.commands_on`); None is what the role has by itself.

    Raises LimitError: for text that is no limit, and one that the role cannot have.
    """
    if text is None:
        return None
    labels = None if text == "none" else () if text == "all" else _labels(text)
    if role is Role.INTEGRATION:
        return labels
    if role is not Role.OPERATOR:
        raise LimitError(f"commands can be limited for operators and integrations, not for role {role.value!r}")
    if labels is None:
        raise LimitError("an operator who may run no command is a viewer: give role viewer")
    return labels or None


def limit_text(principal: Principal) -> str:
    """Return on which workers this principal may run commands, in the form that `limit_for` reads."""
    if principal.may_command_all:
        return "all"
    return ",".join(f"{key}={value}" for key, value in principal.commands_on or ()) or "none"


def _labels(text: str) -> Labels:
    found: dict[str, str] = {}
    for item in text.split(","):
        key, sign, value = item.strip().partition("=")
        if not sign or not key or not value or key in found or not item.isprintable() or len(item) > LONGEST_LABEL:
            raise LimitError(f"{text[:LONGEST_LABEL]!r} is no limit: give all, none, or labels as KEY=VALUE,...")
        found[key] = value
    if len(found) > MOST_LABELS:
        raise LimitError(f"a limit has {MOST_LABELS} labels at most")
    return tuple(sorted(found.items()))
