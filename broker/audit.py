"""The broker's word to the master on who published a command."""

from __future__ import annotations

import msgspec

from gpumon.commands import Cancel, CommandAudit, parse_command
from gpumon.errors import InvalidPayloadError

MAX_COMMAND_CHARACTERS = 4096


class _Carried(msgspec.Struct):
    id: str | None = None


_decoder = msgspec.json.Decoder(_Carried)


def audit_of(user: str, address: str, topic: str, payload: bytes, now: float) -> CommandAudit:
    """Say who published this command, when (seconds since 1970-01-01 UTC) and from where.

    The command is empty for a cancellation, and the payload as it is where the agents will refuse it; the id is None
    where the payload carries none.
    """
    command_id = None
    try:
        command = parse_command(payload)
    except InvalidPayloadError:
        text = payload[: 4 * MAX_COMMAND_CHARACTERS].decode(errors="replace")
    else:
        text = "" if command is None or isinstance(command, Cancel) else command.command
        command_id = _carried_id(payload)
    return CommandAudit(
        time=now, user=user, address=address, topic=topic, id=command_id, command=text[:MAX_COMMAND_CHARACTERS]
    )


def _carried_id(payload: bytes) -> str | None:
    try:
        return _decoder.decode(payload).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # shell text
