"""What counts as a command, and what is refused."""

from __future__ import annotations

import re

import pytest

from gpumon.commands import MAX_COMMAND_BYTES, Cancel, Command, parse_command
from gpumon.errors import InvalidPayloadError


@pytest.mark.parametrize("text", ["nvidia-smi -L", "{ ls; }", "{ls}", " echo hi ", "echo 'ä'", "[1]", "{ 1"])
def test_anything_but_an_object_is_shell_text_and_gets_an_id(text: str) -> None:
    command = parse_command(text.encode())
    assert isinstance(command, Command)
    assert command.command == text
    assert re.fullmatch(r"c-[0-9a-f]{12}", command.id)


@pytest.mark.parametrize("payload", [b"", b" ", b"\n\t "])
def test_an_empty_payload_is_nothing(payload: bytes) -> None:
    assert parse_command(payload) is None


def test_a_command_object_needs_only_a_command() -> None:
    command = parse_command(b' { "command": "true"}')
    assert isinstance(command, Command)
    assert command.timeout_s == 60
    assert command.expires_at is None


def test_a_command_object_is_read_whole() -> None:
    payload = b'{"id":"c-81f3","command":"nvidia-smi -L","timeout_s":5,"expires_at":1766500060,"by":"research","new":1}'
    assert parse_command(payload) == Command(
        id="c-81f3", command="nvidia-smi -L", timeout_s=5, expires_at=1766500060, by="research"
    )


def test_a_cancellation_names_a_command() -> None:
    assert parse_command(b'{"id":"c-1","cancel":true}') == Cancel(id="c-1")
    with pytest.raises(InvalidPayloadError, match="id of the command"):
        parse_command(b'{"cancel":true}')


@pytest.mark.parametrize(
    "payload",
    [
        b'{"command": 1}',
        b'{"command": ""}',
        b'{"id": "c-1"}',
        b'{"command": "true", "id": "a/b"}',
        b'{"command": "true", "id": "a\\n"}',
        b'{"command": "true", "timeout_s": 0}',
        b'{"command": "true", "timeout_s": -1}',
        b'{"command": "true", "timeout_s": NaN}',
        b'{"command": "true"',
        b'{"command": "\xff"}',
        b"echo \xff",
        b"echo \0",
        b"x" * (MAX_COMMAND_BYTES + 1),
    ],
)
def test_a_payload_that_is_no_valid_command_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidPayloadError):
        parse_command(payload)
