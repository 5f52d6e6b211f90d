"""Commands: what operators send to a worker, and what it answers (output as it is written, then one result)."""

from __future__ import annotations

import re
import secrets
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gpumon.errors import InvalidPayloadError
from gpumon.messages import Count, Label, Message, Text

DEFAULT_TIMEOUT_S = 60.0
MAX_TIMEOUT_S = 7 * 24 * 3600.0
MAX_COMMAND_BYTES = 64 * 1024
MAX_OUTPUT_BYTES = 1024 * 1024
RESULT_TAIL_BYTES = 64 * 1024

CommandState = Literal["finished", "timeout", "cancelled", "refused", "expired", "failed", "lost"]
Stream = Literal["stdout", "stderr"]
CommandId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}\Z")]
CommandText = Annotated[str, Meta(min_length=1, max_length=MAX_COMMAND_BYTES)]

# A command object begins with a brace and a quote; `{ ls; }` is shell text.
_LOOKS_LIKE_OBJECT = re.compile(rb'\s*\{\s*"')


class Command(Message, frozen=True):
    """Something to run: `command` is shell text for `/bin/sh -c`; `by` is for display alone."""

    id: CommandId
    command: CommandText
    timeout_s: Annotated[float, Meta(gt=0, le=MAX_TIMEOUT_S)] = DEFAULT_TIMEOUT_S
    expires_at: float | None = None
    by: Label | None = None


class Cancel(Message, frozen=True):
    """Ends the command with this id."""

    id: CommandId
    cancel: Literal[True] = True


class CommandOutput(Message, frozen=True):
    """A piece of output as it was written; `seq` counts from 0 over both streams."""

    id: CommandId
    seq: Count
    stream: Stream
    data: str


class CommandResult(Message, frozen=True):
    """How a command ended; `exit_code` is None unless the command itself ended (a signal is its negative number)."""

    id: CommandId
    command: str
    state: CommandState
    by: Label | None = None
    exit_code: int | None = None
    started: float | None = None
    duration_s: float | None = None
    output: str = ""
    stdout_bytes: Count = 0
    stderr_bytes: Count = 0
    truncated: bool = False
    problem: Text | None = None


class _CommandObject(Message, frozen=True):
    command: CommandText | None = None
    id: CommandId | None = None
    timeout_s: Annotated[float, Meta(gt=0, le=MAX_TIMEOUT_S)] = DEFAULT_TIMEOUT_S
    expires_at: float | None = None
    by: Label | None = None
    cancel: bool = False


_decoder = msgspec.json.Decoder(_CommandObject)


def new_command_id() -> str:
    """Return a fresh id, `c-` and 12 hexadecimal digits."""
    return f"c-{secrets.token_hex(6)}"


def parse_command(payload: bytes) -> Command | Cancel | None:
    """Read the payload of a `cmd` topic: a command object, a cancellation, plain shell text, or nothing (None).

    Raises InvalidPayloadError: for a payload that looks like an object and is no valid one, or is too long, or is no
    UTF-8.
    """
    if not payload.strip():
        return None
    if len(payload) > MAX_COMMAND_BYTES:
        raise InvalidPayloadError(f"command of {len(payload)} bytes: at most {MAX_COMMAND_BYTES} are taken")
    if not _LOOKS_LIKE_OBJECT.match(payload):
        return _plain_text(payload)
    try:
        parsed = _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidPayloadError(f"not a valid command object: {error}") from error
    if parsed.cancel:
        if parsed.id is None:
            raise InvalidPayloadError("a cancellation needs the id of the command to cancel")
        return Cancel(id=parsed.id)
    if parsed.command is None:
        raise InvalidPayloadError("a command object needs a command")
    return Command(
        id=parsed.id or new_command_id(),
        command=parsed.command,
        timeout_s=parsed.timeout_s,
        expires_at=parsed.expires_at,
        by=parsed.by,
    )


def _plain_text(payload: bytes) -> Command:
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        raise InvalidPayloadError(f"shell text must be UTF-8: {error}") from error
    if "\0" in text:
        raise InvalidPayloadError("shell text with a NUL byte cannot be run")
    return Command(id=new_command_id(), command=text)


class CommandAudit(Message, frozen=True):
    """The embedded broker's word on who published to a `cmd` topic; `command` is cut at 4096 characters."""

    time: float
    user: Label
    topic: str
    command: str
    address: Label | None = None
    id: CommandId | None = None
    v: Annotated[int, Meta(ge=1)] = 1
